//! `cargo xtask bench unwind`: stacks of real programs, by Vesta and by its peers.

pub(crate) mod agreement;
pub(crate) mod build;
pub(super) mod cgroup;
mod ends;
pub(crate) mod kernel_stack;
mod machine;
pub(super) mod measure;
pub(super) mod options;
mod report;
pub(super) mod stacks;
pub(super) mod system;
pub(super) mod table;
mod tools;
pub(super) mod workloads;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use testprogs::{Program, Variant};

pub(crate) use options::{HELP, Options};

use crate::process::{cargo, is_root, line, run as run_command, say};
use crate::{page, paths};
use machine::Machine;
use measure::{Bench, Cell, HZ, WARM_HZ, cell};
use report::Report;
use tools::{Binaries, Tool};
use workloads::{Need, WORKLOADS, Workload};

/// Runs the bench.
pub(crate) fn run(options: &Options) -> Result<()> {
    if options.list {
        list();
        return Ok(());
    }
    let tools: Vec<Tool> = options.tools.iter().copied().filter(|tool| is_there(*tool, options)).collect();
    check(options, &tools)?;
    let binaries =
        Binaries { vesta: vesta(options.vesta.as_deref())?, lightswitch: options.lightswitch.clone() };
    let folder = paths::target().join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let variables = variables(&folder)?;
    for workload in &options.workloads {
        prepare(workload, &variables)?;
    }

    let statistics = machine::BpfStatistics::enable()?;
    machine::hurry()?;
    let machine = Machine::look(&tools, &binaries);
    let bench = Bench {
        binaries: &binaries,
        variables: &variables,
        folder: &folder,
        cpus: machine.cpus,
        time: Duration::from_secs(options.seconds),
    };
    let (cells, failures) = cells(&bench, options, &tools);
    drop(statistics);

    let report = Report { machine, seconds: options.seconds, cells };
    println!("\n{}", if options.markdown { report.markdown() } else { report.text() });
    if let Some(path) = &options.output {
        fs::write(path, format!("{:#}\n", report.json()))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    if failures > 0 {
        bail!("{failures} measurements failed");
    }
    Ok(())
}

/// Every workload under every tool; how many failed is said beside what came out.
fn cells(bench: &Bench<'_>, options: &Options, tools: &[Tool]) -> (Vec<Cell>, usize) {
    let (mut cells, mut failures) = (Vec::new(), 0);
    for (number, workload) in options.workloads.iter().copied().enumerate() {
        for (tool, hz) in turns(number, tools, options.warm) {
            match cell(bench, workload, tool, hz) {
                Ok(cell) => {
                    say(&report::line(&cell));
                    cells.push(cell);
                }
                Err(error) => {
                    failures += 1;
                    say(&format!("{} under {} at {hz} Hz: {error:#}", workload.name, tool.name()));
                }
            }
        }
    }
    (cells, failures)
}

/// Which tool runs when, and how often it samples: every other workload in reverse, so that none is always the first.
fn turns(number: usize, tools: &[Tool], warm: bool) -> Vec<(Tool, u64)> {
    let mut turns: Vec<(Tool, u64)> = tools.iter().map(|tool| (*tool, HZ)).collect();
    if warm {
        let in_bpf = tools.iter().filter(|tool| tool.samples_in_bpf());
        turns.extend(in_bpf.map(|tool| (*tool, WARM_HZ)));
    }
    if number % 2 == 1 {
        turns.reverse();
    }
    turns
}

/// Prints what there is, and what this machine lacks.
fn list() {
    println!("Workloads:");
    for workload in &WORKLOADS {
        let optional = if workload.optional { "optional; " } else { "" };
        let lacking = missing(workload.needs).join(", ");
        let lacking = if lacking.is_empty() { lacking } else { format!("; MISSING: {lacking}") };
        println!("  {:<12} {optional}{}{lacking}", workload.name, workload.what);
    }
    println!("Tools:");
    for tool in Tool::ALL {
        let lacking = missing(tool.needs()).join(", ");
        let lacking = if lacking.is_empty() { lacking } else { format!("; MISSING: {lacking}") };
        println!("  {:<12} {}{lacking}", tool.name(), tool.what());
    }
}

fn missing(needs: &[Need]) -> Vec<&'static str> {
    let missing = needs.iter().filter(|need| paths::program(need.program).is_none());
    missing.map(|need| need.package).collect()
}

/// lightswitch is in no package: without it, the others are compared.
fn is_there(tool: Tool, options: &Options) -> bool {
    tool != Tool::Lightswitch || options.lightswitch.is_some()
}

/// An error that names all that is missing.
fn check(options: &Options, tools: &[Tool]) -> Result<()> {
    if !is_root() {
        bail!(
            "profiling the whole machine needs root: sudo --preserve-env env PATH=\"$PATH\" cargo xtask bench unwind"
        );
    }
    let needs = options.workloads.iter().flat_map(|workload| workload.needs);
    let needs = needs.chain(tools.iter().flat_map(|tool| tool.needs()));
    missing_packages(needs.chain([&Need { program: "bpftool", package: "bpftool" }]))
}

/// An error that names the packages of all programs that are missing.
pub(super) fn missing_packages<'a>(needs: impl Iterator<Item = &'a Need>) -> Result<()> {
    let mut packages: Vec<&str> = needs.flat_map(|need| missing(std::slice::from_ref(need))).collect();
    if !Path::new("/usr/lib/debug/.build-id").is_dir() {
        // Without it nobody can tell libc's `clone3` and `start_thread`, where the stacks of threads end.
        packages.push("libc6-dbg");
    }
    packages.sort_unstable();
    packages.dedup();
    if !packages.is_empty() {
        bail!(
            "missing on this machine; type\n  apt-get install --no-install-recommends {}",
            packages.join(" ")
        );
    }
    Ok(())
}

/// The binary that was given, or a release built now.
pub(super) fn vesta(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = given {
        return Ok(path.to_owned());
    }
    if !page::is_given() {
        page::install()?;
    }
    run_command(cargo().args(["build", "--release", "--package", "profiler-agent"]))?;
    Ok(paths::target().join("release/vesta"))
}

/// What the scripts of the workloads are told.
pub(super) fn variables(folder: &Path) -> Result<Vec<(&'static str, String)>> {
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let cpus = std::thread::available_parallelism().context("cannot tell the number of CPUs")?;
    Ok(vec![
        ("CPUS", cpus.to_string()),
        ("DIR", text(folder.to_owned())),
        ("PORT", machine::free_port()?.to_string()),
        ("BENCH", text(paths::root().join("ci/bench"))),
        ("ZSTD_SOURCE", text(machine::source_of("zstd-sys")?.join("zstd"))),
        ("REGEX_SOURCE", text(machine::source_of("regex-syntax")?)),
        ("SHORT_LIVED", text(testprogs::build(Program::ShortLived, Variant::NoFramePointers))),
    ])
}

pub(super) fn prepare(workload: &Workload, variables: &[(&str, String)]) -> Result<()> {
    if workload.prepare.is_empty() {
        return Ok(());
    }
    let mut command = Command::new("sh");
    command.args(["-e", "-c", workload.prepare]);
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    let status = command.status().with_context(|| format!("cannot start `{}`", line(&command)))?;
    if !status.success() {
        bail!("{} could not be prepared ({status})", workload.name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_take_turns_in_being_first_and_warm_runs_are_for_bpf() {
        let tools = [Tool::Vesta, Tool::PerfFp];
        assert_eq!(turns(0, &tools, false), [(Tool::Vesta, HZ), (Tool::PerfFp, HZ)]);
        assert_eq!(turns(1, &tools, true), [(Tool::Vesta, WARM_HZ), (Tool::PerfFp, HZ), (Tool::Vesta, HZ)]);
    }
}
