//! The command line of `cargo xtask bench unwind`.

use std::path::PathBuf;

use super::tools::Tool;
use super::workloads::{WORKLOADS, Workload};

pub(crate) const HELP: &str = "\
Runs real programs under Vesta and its peers, one after the other, and compares: broken stacks, samples kept,
time in BPF per sample, bytes of unwind tables, CPU time and memory. Needs root, a cgroup v2 hierarchy, and
the programs; what is missing is named first, with the packages to install. An idle machine measures best: the
programs run at a high priority, so that what else runs disturbs them little.

Usage: cargo xtask bench unwind [OPTIONS]

Options:
  --list               workloads and tools, and what this machine lacks of them; run nothing
  --seconds N          how long each program runs under each tool [default: 10]
  --workload NAME      only this one; may be given several times [default: all but the optional ones]
  --tool NAME          only this one; may be given several times [default: all that are there]
  --warm               also measure at 4999 Hz, where caches are warm
  --vesta FILE         the binary [default: target/release/vesta, built first]
  --lightswitch FILE   a lightswitch binary built elsewhere; without it this peer is left out
  --output FILE        write the figures as JSON, too
  --markdown           print the tables as docs/benchmarks.md has them";

/// How long each program runs under each tool when nobody says, in seconds: about 1,900 samples on two CPUs.
const DEFAULT_SECONDS: u64 = 10;

/// What is measured, and how.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    pub(super) list: bool,
    pub(super) seconds: u64,
    pub(super) workloads: Vec<&'static Workload>,
    pub(super) tools: Vec<Tool>,
    pub(super) warm: bool,
    pub(super) vesta: Option<PathBuf>,
    pub(super) lightswitch: Option<PathBuf>,
    pub(super) output: Option<PathBuf>,
    pub(super) markdown: bool,
}

impl Options {
    /// Reads the arguments after `bench unwind`; the error is for the user.
    pub(crate) fn parse(arguments: &[String]) -> Result<Options, String> {
        let mut options = Options {
            list: false,
            seconds: DEFAULT_SECONDS,
            workloads: Vec::new(),
            tools: Vec::new(),
            warm: false,
            vesta: None,
            lightswitch: None,
            output: None,
            markdown: false,
        };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("`{argument}` wants a value"));
            match argument.as_str() {
                "--list" => options.list = true,
                "--warm" => options.warm = true,
                "--markdown" => options.markdown = true,
                "--seconds" => options.seconds = seconds(value()?)?,
                "--workload" => options.workloads.push(workload(value()?)?),
                "--tool" => options.tools.push(tool(value()?)?),
                "--vesta" => options.vesta = Some(value()?.into()),
                "--lightswitch" => options.lightswitch = Some(value()?.into()),
                "--output" => options.output = Some(value()?.into()),
                other => return Err(format!("unexpected `{other}`; see `cargo xtask bench unwind --help`")),
            }
        }
        if options.workloads.is_empty() {
            options.workloads = WORKLOADS.iter().filter(|workload| !workload.optional).collect();
        }
        if options.tools.is_empty() {
            options.tools = Tool::ALL.to_vec();
        }
        Ok(options)
    }
}

pub(in crate::bench) fn seconds(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(seconds @ 2..=600) => Ok(seconds),
        _ => Err(format!("`--seconds` wants a whole number from 2 to 600, not `{text}`")),
    }
}

pub(in crate::bench) fn workload(name: &str) -> Result<&'static Workload, String> {
    let found = WORKLOADS.iter().find(|workload| workload.name == name);
    found.ok_or_else(|| format!("no workload `{name}`; `cargo xtask bench unwind --list` lists them"))
}

fn tool(name: &str) -> Result<Tool, String> {
    let found = Tool::ALL.into_iter().find(|tool| tool.name() == name);
    found.ok_or_else(|| format!("no tool `{name}`; `cargo xtask bench unwind --list` lists them"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options, String> {
        Options::parse(&line.split_whitespace().map(String::from).collect::<Vec<_>>())
    }

    #[test]
    fn all_but_the_optional_unless_told_which() {
        let options = parsed("").unwrap();
        assert!(options.workloads.len() >= 9 && options.workloads.iter().all(|workload| !workload.optional));
        assert_eq!(options.tools, Tool::ALL);
        let options = parsed("--workload node --workload sqlite --tool vesta --seconds 3").unwrap();
        assert_eq!(
            options.workloads.iter().map(|workload| workload.name).collect::<Vec<_>>(),
            ["node", "sqlite"]
        );
        assert_eq!((options.tools, options.seconds), (vec![Tool::Vesta], 3));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (line, named) in [
            ("--workload emacs", "`emacs`"),
            ("--tool gprof", "`gprof`"),
            ("--seconds 1", "`1`"),
            ("--seconds", "`--seconds`"),
            ("node", "`node`"),
        ] {
            assert!(parsed(line).unwrap_err().contains(named), "{line}");
        }
    }
}
