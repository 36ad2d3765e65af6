//! `cargo xtask vm`: Vesta on other kernels, in virtual machines. Each kernel's verifier is another one; what it accepts
//! here is what this command is for.

mod image;
mod kernels;
mod machine;
mod report;
mod work;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::paths;
use crate::process::{cargo, quoted, run as run_command, say};
use crate::setup::{self, Scope};
use image::Program;
use kernels::Wanted;
use machine::{Accelerator, Console, Machine};
use report::Report;

pub(crate) const HELP: &str = "\
Boots kernels of Debian in QEMU, as they come, and runs Vesta in them: the verifier has to accept the BPF program, and
the stacks of test programs have to be the known ones. Prints a line for each, with the instructions that the verifier
looked at.

Usage: cargo xtask vm [KERNEL]... [--json] [--append WORDS] [-- COMMAND]

  KERNEL    6.1, 6.12.107 or the like: the newest one whose version begins so
            newest: the newest there is
            a path with a `/`: a kernel image of your own
            [default: 6.1 6.12 6.18 newest]
  --json    results as one line of JSON, the last line of standard output
  --append  more words for the kernel's command line, such as lockdown=confidentiality
  COMMAND   run this in the machine instead, with this terminal as its console. `vesta`, the test programs `shares`,
            `syscalls` and `jit`, busybox and files that the command names by absolute path are there.

Kernels come from the Debian archive that this machine's package sources name, and are kept in
${XDG_CACHE_HOME:-~/.cache}/vesta/kernels. KVM is used where it works, else QEMU's emulation (about a minute a kernel).

Examples: cargo xtask vm 6.1
          cargo xtask vm 6.12 -- vesta doctor
          cargo xtask vm 6.18 -- sh";

/// What is tested unless it is said otherwise: the oldest kernel that is supported here, long-term ones, and what is
/// coming.
const MATRIX: [&str; 4] = ["6.1", "6.12", "6.18", "newest"];
/// Emulated on a busy machine, the work takes a minute or two.
const WORK_LIMIT: Duration = Duration::from_secs(5 * 60);
/// How often a kernel is booted whose programs had too little CPU: others may want this machine's, too.
const TRIES: u32 = 3;
/// For a command, which may be a shell with somebody at it.
const COMMAND_LIMIT: Duration = Duration::from_secs(12 * 60 * 60);

/// What can be asked for.
#[derive(Debug, PartialEq)]
pub(crate) struct Options {
    kernels: Vec<Wanted>,
    json: bool,
    /// More of the kernel's command line.
    append: String,
    /// Run in each machine instead of the checks.
    command: Vec<String>,
}

impl Options {
    /// Reads the arguments after `cargo xtask vm`; the error is for the user.
    pub(crate) fn parse(arguments: &[String]) -> Result<Options, String> {
        let end = arguments.iter().position(|argument| argument == "--").unwrap_or(arguments.len());
        let command = arguments.get(end + 1..).unwrap_or_default().to_vec();
        let (mut names, mut json) = (Vec::new(), false);
        let mut append = String::new();
        let mut arguments_before = arguments[..end].iter();
        while let Some(argument) = arguments_before.next() {
            match argument.as_str() {
                "--json" => json = true,
                "--append" => {
                    append.clone_from(arguments_before.next().ok_or("`--append` wants words")?);
                }
                name => names.push(name),
            }
        }
        if end < arguments.len() && command.is_empty() {
            return Err("no command after `--`".into());
        }
        if names.is_empty() {
            names = MATRIX.to_vec();
        }
        let kernel = |name: &&str| {
            Wanted::from_argument(name)
                .ok_or_else(|| format!("`{name}` is no kernel; see `cargo xtask vm --help`"))
        };
        Ok(Options { kernels: names.iter().map(kernel).collect::<Result<_, _>>()?, json, append, command })
    }
}

/// Boots every kernel that was asked for, also after one has failed.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::ensure(Scope::Vm)?;
    let cache = paths::cache().context("neither XDG_CACHE_HOME nor HOME says where to keep kernels")?;
    let kernels = kernels::images(&options.kernels, &cache)?;
    say("building Vesta");
    run_command(cargo().args(["build", "--package", "profiler-agent"]))?;
    // By process: two at once are two sets of machines.
    let folder = paths::target().join(format!("vm/{}", std::process::id()));
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let outcome = boot_all(options, &kernels, &folder);
    let removed = fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()));
    outcome.and(removed)
}

fn boot_all(options: &Options, kernels: &[PathBuf], folder: &Path) -> Result<()> {
    let work = if options.command.is_empty() { work::script() } else { command_script(&options.command) };
    let initrd = image::build(folder, &programs(folder, &options.command)?, &work)?;
    let accelerator = Accelerator::usable();
    let mut reports = Vec::new();
    for (wanted, kernel) in options.kernels.iter().zip(kernels) {
        say(&format!("booting {} ({})", wanted.name(), accelerator.name()));
        let mut machine = Machine {
            kernel,
            initrd: &initrd,
            append: &options.append,
            folder,
            accelerator,
            console: Console::Kept,
            limit: WORK_LIMIT,
        };
        if !options.command.is_empty() {
            (machine.console, machine.limit) = (Console::Terminal, COMMAND_LIMIT);
            succeeded(&machine.run()?)?;
            continue;
        }
        reports.push(report(&machine, wanted));
    }
    if options.command.is_empty() { conclude(&reports, options.json) } else { Ok(()) }
}

/// Runs the checks in a machine, again where it was starved.
fn report(machine: &Machine<'_>, wanted: &Wanted) -> Report {
    let mut tries = 0;
    loop {
        tries += 1;
        let start = Instant::now();
        let answers = machine.run();
        let (name, took) = (wanted.name(), start.elapsed());
        let report = match answers {
            Ok(answers) => Report::judge(name, took, &answers),
            Err(error) => Report::failed(name, took, format!("{error:#}")),
        };
        if !report.is_starved() || tries == TRIES {
            return report;
        }
        say(&format!("{} had too little CPU to be judged; booting it again", report.title()));
    }
}

/// What goes into each machine.
fn programs(folder: &Path, command: &[String]) -> Result<Vec<Program>> {
    let vesta = folder.join("vesta");
    // A third of its size is debug info that nobody reads there.
    let mut strip = Command::new("strip");
    run_command(strip.arg("-o").arg(&vesta).arg(paths::target().join("debug/vesta")))?;
    let mut programs = vec![Program { from: vesta, to: "/bin/vesta".into() }];
    programs.extend(work::CASES.iter().map(|case| Program {
        from: testprogs::build(case.program, case.variant),
        to: format!("/bin/{}", case.program.name()),
    }));
    let named = command.iter().filter(|word| word.starts_with('/') && Path::new(word).is_file());
    programs.extend(named.map(|word| Program { from: word.into(), to: word.clone() }));
    Ok(programs)
}

/// Runs the command on the console, and tells how it ended.
fn command_script(command: &[String]) -> String {
    let words: Vec<String> = command.iter().map(|word| quoted(word)).collect();
    format!("{}\necho command.exit $? >&3", words.join(" "))
}

fn succeeded(answers: &str) -> Result<()> {
    match answers.trim() {
        "command.exit 0" => Ok(()),
        other => bail!("the command failed ({})", other.trim_start_matches("command.exit ")),
    }
}

fn conclude(reports: &[Report], json: bool) -> Result<()> {
    println!("\n{}", report::table(reports));
    for report in reports.iter().filter(|report| !report.is_good()) {
        println!("\n{} FAILED:", report.title());
        report.failures().iter().for_each(|failure| println!("  {failure}"));
    }
    if json {
        println!("{}", serde_json::Value::from_iter(reports.iter().map(Report::json)));
    }
    let failed = reports.iter().filter(|report| !report.is_good()).count();
    if failed > 0 {
        bail!("{failed} of {} kernels failed", reports.len());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options, String> {
        Options::parse(&line.split_whitespace().map(String::from).collect::<Vec<_>>())
    }

    #[test]
    fn without_kernels_the_matrix_is_run() {
        let options = parsed("--json").unwrap();
        assert_eq!(options.kernels.len(), MATRIX.len());
        assert!(options.json && options.command.is_empty());
        for name in MATRIX {
            assert!(HELP.contains(name), "{name}");
        }
    }

    #[test]
    fn a_command_keeps_its_own_options() {
        let options = parsed("6.1 -- vesta doctor --json").unwrap();
        assert_eq!(options.kernels, [Wanted::Version(vec![6, 1])]);
        assert_eq!(options.command, ["vesta", "doctor", "--json"]);
        assert!(!options.json);
        assert_eq!(parsed("6.1 --append lockdown=integrity -- true").unwrap().append, "lockdown=integrity");
        assert!(parsed("6.1 --append").unwrap_err().contains("--append"));
        assert!(parsed("6.1 --").unwrap_err().contains("`--`"));
    }

    #[test]
    fn what_is_no_kernel_is_named() {
        assert!(parsed("6.1 latest").unwrap_err().contains("`latest`"));
        assert!(parsed("--nonsense").unwrap_err().contains("`--nonsense`"));
    }

    #[test]
    fn a_command_is_quoted_and_its_exit_code_is_ours() {
        let words = ["sh", "-c", "exit 3"].map(str::to_owned);
        assert_eq!(command_script(&words), "sh -c 'exit 3'\necho command.exit $? >&3");
        assert!(succeeded("command.exit 0\n").is_ok());
        assert!(succeeded("command.exit 3\n").unwrap_err().to_string().contains('3'));
    }
}
