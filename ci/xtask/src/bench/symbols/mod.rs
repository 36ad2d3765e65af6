//! `cargo xtask bench symbols`: how many frames have names, what finding them costs, and what keeping track of processes
//! and mappings costs.

mod agent;
mod cost;
mod lookup;
mod mapped;
mod named;
mod storms;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::unwind::options::{seconds, workload};
use super::unwind::table::Table;
use super::unwind::workloads::{WORKLOADS, Workload};
use super::unwind::{vesta, workloads::Need};
use crate::paths;
use crate::process::is_root;

pub(crate) const HELP: &str = "\
Measures names: how many frames of real programs have one, what looking them up costs beside other symbolizers, and what
storms of processes, very many mappings, and an hour's minute of redis cost the agent. Each figure stands beside its goal.
Needs root, a cgroup v2 hierarchy, and the programs; what is missing is named first.

Usage: cargo xtask bench symbols [OPTIONS] [PART…]

Parts, all of them by default:
  named     the share of frames with a name, by workload of `bench unwind`, and of node and Java with perf maps
  lookup    10,000 addresses of the C library with inlined functions, beside blazecli and llvm-symbolizer
  storms    40 processes of 30 ms and 500 of 1 ms each second: whose samples are they, CPU time, memory before and after
  mappings  a process with 100,000 mappings: what it waits for because of us, and what it costs us
  cost      redis under load: user CPU time of the agent per sample, from the start and later, and memory

Options:
  --seconds N        how long each workload, storm and load runs [default: 60; 12 for each workload of `named`]
  --workload NAME    only this one of `named`; may be given several times
  --vesta FILE       the binary [default: target/release/vesta, built first]
  --blazecli FILE    blazesym's own command line tool, built elsewhere [default: installed to target/bench/tools by cargo]
  --markdown         print the tables as docs/benchmarks.md has them";

const PARTS: [&str; 5] = ["named", "lookup", "storms", "mappings", "cost"];
/// As long as the goals say.
const DEFAULT_SECONDS: u64 = 60;
/// Of a workload whose frames are counted: some thousand samples on two CPUs.
const NAMED_SECONDS: u64 = 12;

/// What is measured, and how.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    parts: Vec<&'static str>,
    seconds: Option<u64>,
    workloads: Vec<&'static Workload>,
    vesta: Option<PathBuf>,
    blazecli: Option<PathBuf>,
    markdown: bool,
}

impl Options {
    /// Reads the arguments after `bench symbols`; the error is for the user.
    pub(crate) fn parse(arguments: &[String]) -> Result<Options, String> {
        let mut options = Options {
            parts: Vec::new(),
            seconds: None,
            workloads: Vec::new(),
            vesta: None,
            blazecli: None,
            markdown: false,
        };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("`{argument}` wants a value"));
            match argument.as_str() {
                "--seconds" => options.seconds = Some(seconds(value()?)?),
                "--workload" => options.workloads.push(workload(value()?)?),
                "--vesta" => options.vesta = Some(value()?.into()),
                "--blazecli" => options.blazecli = Some(value()?.into()),
                "--markdown" => options.markdown = true,
                part => match PARTS.into_iter().find(|known| *known == part) {
                    Some(part) => options.parts.push(part),
                    None => {
                        return Err(format!("unexpected `{part}`; see `cargo xtask bench symbols --help`"));
                    }
                },
            }
        }
        if options.parts.is_empty() {
            options.parts = PARTS.to_vec();
        }
        if options.workloads.is_empty() {
            let all = WORKLOADS.iter();
            options.workloads =
                all.filter(|workload| !workload.optional || workload.name == "java").collect();
        }
        Ok(options)
    }

    fn needs(&self) -> Vec<Need> {
        const fn need(program: &'static str, package: &'static str) -> Need {
            Need { program, package }
        }
        let mut needs = vec![need("go", "golang-go")];
        if self.parts.contains(&"lookup") {
            needs.push(need("llvm-symbolizer", "llvm"));
        }
        if self.parts.contains(&"cost") {
            needs.extend([need("redis-server", "redis-server"), need("redis-benchmark", "redis-tools")]);
        }
        needs
    }
}

/// What all parts share.
struct Bench<'a> {
    vesta: PathBuf,
    folder: &'a Path,
    variables: Vec<(&'static str, String)>,
}

/// Runs the bench.
pub(crate) fn run(options: &Options) -> Result<()> {
    if !is_root() {
        bail!("sampling needs root: sudo --preserve-env env PATH=\"$PATH\" cargo xtask bench symbols");
    }
    let needs = options.needs();
    let named = options.parts.contains(&"named");
    let of_workloads = options.workloads.iter().filter(|_| named).flat_map(|workload| workload.needs);
    super::unwind::missing_packages(needs.iter().chain(of_workloads))?;
    let folder = paths::target().join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let variables = super::unwind::variables(&folder)?;
    let bench = Bench { vesta: vesta(options.vesta.as_deref())?, folder: &folder, variables };
    let mut failed = 0;
    for part in &options.parts {
        let seconds = options.seconds.unwrap_or(DEFAULT_SECONDS);
        let table = match *part {
            "named" => named::measure(&bench, &options.workloads, options.seconds.unwrap_or(NAMED_SECONDS)),
            "lookup" => lookup::measure(&bench, options.blazecli.as_deref()),
            "storms" => storms::measure(&bench, seconds),
            "mappings" => mapped::measure(&bench, seconds.min(20)),
            _ => cost::measure(&bench, seconds),
        };
        match table {
            Ok(table) => println!("\n{}", if options.markdown { table.markdown() } else { table.text() }),
            Err(error) => {
                failed += 1;
                println!("\n{part}: {error:#}");
            }
        }
    }
    if failed > 0 {
        bail!("{failed} parts could not be measured");
    }
    Ok(())
}

/// A table of figures with their goals: what, measured, goal, and whether it is met.
fn goals(title: String, rows: Vec<Goal>) -> Table {
    let header = ["", "measured", "goal", ""].map(str::to_owned).to_vec();
    let rows = rows.into_iter().map(|goal| {
        let verdict = match goal.met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "",
        };
        vec![goal.what, goal.measured, goal.goal, verdict.to_owned()]
    });
    Table { title, header, rows: rows.collect() }
}

/// One figure.
struct Goal {
    what: String,
    measured: String,
    goal: String,
    met: Option<bool>,
}

impl Goal {
    /// A figure without a goal.
    fn plain(what: impl Into<String>, measured: impl Into<String>) -> Goal {
        Goal { what: what.into(), measured: measured.into(), goal: String::new(), met: None }
    }

    /// A figure that is to be at most `most`.
    fn at_most(what: impl Into<String>, value: f64, most: f64, unit: &str, digits: usize) -> Goal {
        let shown = |value: f64| format!("{value:.digits$}{unit}");
        Goal {
            what: what.into(),
            measured: shown(value),
            goal: format!("≤ {}", shown(most)),
            met: Some(value <= most),
        }
    }

    /// A figure that is to be at least `least`.
    fn at_least(what: impl Into<String>, value: f64, least: f64, unit: &str, digits: usize) -> Goal {
        let shown = |value: f64| format!("{value:.digits$}{unit}");
        Goal {
            what: what.into(),
            measured: shown(value),
            goal: format!("≥ {}", shown(least)),
            met: Some(value >= least),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options, String> {
        Options::parse(&line.split_whitespace().map(String::from).collect::<Vec<_>>())
    }

    #[test]
    fn parts_and_options_are_read() {
        let all = parsed("").unwrap();
        assert_eq!(all.parts, PARTS);
        assert!(all.workloads.iter().any(|workload| workload.name == "java"));
        let some = parsed("storms cost --seconds 5 --workload node --vesta v --markdown").unwrap();
        assert_eq!((some.parts, some.seconds), (vec!["storms", "cost"], Some(5)));
        assert_eq!(some.workloads[0].name, "node");
        assert!(some.markdown && some.vesta == Some("v".into()));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (line, named) in
            [("--seconds", "`--seconds`"), ("nonsense", "`nonsense`"), ("--workload x", "`x`")]
        {
            assert!(parsed(line).unwrap_err().contains(named), "{line}");
        }
    }

    #[test]
    fn goals_say_whether_they_are_met() {
        let rows = vec![Goal::at_most("a", 1.25, 1.5, " s", 1), Goal::at_least("b", 98.0, 99.0, " %", 0)];
        let table = goals(String::new(), rows);
        assert_eq!(table.rows[0], ["a", "1.2 s", "≤ 1.5 s", "met"]);
        assert_eq!(table.rows[1], ["b", "98 %", "≥ 99 %", "MISSED"]);
    }
}
