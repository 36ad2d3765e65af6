//! `cargo xtask bench kernel-stack`: the two ways to take a kernel stack.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::cgroup::Cgroup;
use super::measure::{HZ, NICENESS};
use super::options::{seconds, workload};
use super::table::Table;
use super::workloads::Workload;
use super::{missing_packages, prepare, variables, vesta};
use crate::paths;
use crate::process::{is_root, line, output, say};

pub(crate) const HELP: &str = "\
Takes every kernel stack in both ways, by the kernel's unwind tables and by bpf_get_stack, each first in every other
sample, while a program keeps the CPUs busy: `vesta debug kernel-stack`. Prints what each takes where it comes first, so
that caches are as a sample finds them, and whether the frames are the same. Needs root and a cgroup v2 hierarchy.

Usage: cargo xtask bench kernel-stack [OPTIONS]

Options:
  --seconds N       for how long [default: 20]
  --workload NAME   only this one of `bench unwind`; may be given several times [default: redis nginx gcc]
  --vesta FILE      the binary [default: target/release/vesta, built first]
  --markdown        print the table as docs/benchmarks.md has it";

const DEFAULT_SECONDS: u64 = 20;
/// Two that are mostly in the kernel, and one that is so for its page faults.
const DEFAULT_WORKLOADS: [&str; 3] = ["redis", "nginx", "gcc"];

/// What is measured.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    seconds: u64,
    workloads: Vec<&'static Workload>,
    vesta: Option<PathBuf>,
    markdown: bool,
}

impl Options {
    /// Reads the arguments after `bench kernel-stack`; the error is for the user.
    pub(crate) fn parse(arguments: &[String]) -> Result<Options, String> {
        let mut options =
            Options { seconds: DEFAULT_SECONDS, workloads: Vec::new(), vesta: None, markdown: false };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("`{argument}` wants a value"));
            match argument.as_str() {
                "--seconds" => options.seconds = seconds(value()?)?,
                "--workload" => options.workloads.push(workload(value()?)?),
                "--vesta" => options.vesta = Some(value()?.into()),
                "--markdown" => options.markdown = true,
                other => {
                    return Err(format!("unexpected `{other}`; see `cargo xtask bench kernel-stack --help`"));
                }
            }
        }
        if options.workloads.is_empty() {
            options.workloads = DEFAULT_WORKLOADS.into_iter().map(workload).collect::<Result<_, _>>()?;
        }
        Ok(options)
    }
}

/// Runs the bench.
pub(crate) fn run(options: &Options) -> Result<()> {
    if !is_root() {
        bail!("sampling needs root: sudo --preserve-env env PATH=\"$PATH\" cargo xtask bench kernel-stack");
    }
    missing_packages(options.workloads.iter().flat_map(|workload| workload.needs))?;
    let vesta = vesta(options.vesta.as_deref())?;
    let folder = paths::target().join("bench");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let variables = variables(&folder)?;
    let mut rows = Vec::new();
    for workload in &options.workloads {
        prepare(workload, &variables)?;
        say(workload.name);
        let group = Cgroup::create()?;
        let mut shell = group.start(workload.script, NICENESS, &variables)?;
        let mut compare = Command::new(&vesta);
        compare.args(["debug", "kernel-stack", "--json", "--frequency", &HZ.to_string(), "--duration"]);
        let text = output(compare.arg(format!("{}s", options.seconds)));
        let text = text.with_context(|| format!("`{}` failed", line(&compare)))?;
        if let Some(status) = shell.try_wait()? {
            bail!("the workload ended by itself ({status}); run its script by hand to see why");
        }
        group.end()?;
        let _killed = shell.wait();
        rows.push(
            cells(workload.name, &text).with_context(|| format!("`{}` printed {text}", line(&compare)))?,
        );
    }
    let header = [
        "workload",
        "samples",
        "frames each",
        "whole, %",
        "different",
        "by tables: p50, ns",
        "p90",
        "mean",
        "bpf_get_stack: p50, ns",
        "p90",
        "mean",
    ];
    let header = header.map(String::from).into();
    let table = Table { title: "Kernel stacks, taken in two ways".into(), header, rows };
    println!("\n{}", if options.markdown { table.markdown() } else { table.text() });
    Ok(())
}

/// A row of the table, of what `vesta debug kernel-stack --json` prints.
fn cells(name: &str, text: &str) -> Option<Vec<String>> {
    let found: Value = serde_json::from_str(text).ok()?;
    let number = |key: &str| found[key].as_u64();
    let (samples, whole) = (number("samples")?, number("whole")?);
    let mut cells = vec![
        name.to_owned(),
        samples.to_string(),
        format!("{:.1}", found["frames_per_sample"].as_f64()?),
        format!("{:.1}", whole as f64 * 100.0 / samples.max(1) as f64),
        number("different")?.to_string(),
    ];
    for way in ["by_tables_ns", "by_kernel_ns"] {
        // None where no sample was taken in that way first.
        let times = ["p50", "p90", "mean"].map(|key| found[way][key].as_u64());
        cells.extend(times.map(|ns| ns.map_or_else(|| "?".to_owned(), |ns| ns.to_string())));
    }
    Some(cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_that_are_in_the_kernel_unless_told_which() {
        let parsed =
            |line: &str| Options::parse(&line.split_whitespace().map(String::from).collect::<Vec<_>>());
        let names = |options: Options| -> Vec<&str> { options.workloads.iter().map(|w| w.name).collect() };
        assert_eq!(names(parsed("").unwrap()), DEFAULT_WORKLOADS);
        assert_eq!(names(parsed("--workload zstd --seconds 5").unwrap()), ["zstd"]);
        assert!(parsed("--workload emacs").unwrap_err().contains("`emacs`"));
        assert!(parsed("--nonsense").unwrap_err().contains("`--nonsense`"));
    }

    #[test]
    fn what_vesta_prints_becomes_a_row() {
        let text = r#"{"samples":200,"frames_per_sample":8.25,"whole":199,"different":1,"ends":{"complete":199},
            "by_tables_ns":{"p50":4000,"p90":9000,"mean":5000},"by_kernel_ns":{"p50":null,"p90":null,"mean":0}}"#;
        let row = ["redis", "200", "8.2", "99.5", "1", "4000", "9000", "5000", "?", "?", "0"];
        assert_eq!(cells("redis", text).unwrap(), row);
        assert_eq!(cells("redis", "{}"), None);
    }
}
