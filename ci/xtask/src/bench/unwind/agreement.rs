//! `cargo xtask bench unwind-agreement`: the same samples walked by perf and by us.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::cgroup::{Cgroup, first_in_line};
use super::measure::{HZ, NICENESS};
use super::options::{seconds, workload};
use super::table::Table;
use super::workloads::{Need, WORKLOADS, Workload};
use super::{missing_packages, prepare, variables};
use crate::paths;
use crate::process::{cargo, is_root, line, run as run_command, say};

pub(crate) const HELP: &str = "\
Records real programs with `perf record --call-graph dwarf,65528`: registers and a copy of the stack with each sample.
Walks each of them twice, by perf and with our unwind tables and steps, and compares the lists of addresses from the
leaf to the root. Prints how many are the same, and the others by reason; fails if a difference has none. Needs root and
a cgroup v2 hierarchy.

Usage: cargo xtask bench unwind-agreement [OPTIONS]

Options:
  --seconds N       how long each program is recorded [default: 5]
  --workload NAME   only this one; may be given several times [default: all of `bench unwind` but the optional ones]
  --show N          print the first N differences of each program
  --keep            keep what was recorded, in target/bench
  --markdown        print the tables as docs/benchmarks.md has them";

/// About 900 samples on two CPUs, of up to 64 KiB.
const DEFAULT_SECONDS: u64 = 5;
/// The most that perf copies of a stack, in bytes.
const COPY_BYTES: u64 = 65_528;
/// Frames of a stack: as many as we walk.
const FRAMES: u64 = 1024;
/// How long perf may take to write what it has recorded.
const PERF_GRACE: Duration = Duration::from_secs(60);

/// What is compared.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    seconds: u64,
    workloads: Vec<&'static Workload>,
    show: u64,
    keep: bool,
    markdown: bool,
}

impl Options {
    /// Reads the arguments after `bench unwind-agreement`; the error is for the user.
    pub(crate) fn parse(arguments: &[String]) -> Result<Options, String> {
        let mut options = Options {
            seconds: DEFAULT_SECONDS,
            workloads: Vec::new(),
            show: 0,
            keep: false,
            markdown: false,
        };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("`{argument}` wants a value"));
            match argument.as_str() {
                "--seconds" => options.seconds = seconds(value()?)?,
                "--workload" => options.workloads.push(workload(value()?)?),
                "--show" => options.show = value()?.parse().map_err(|_| "`--show` wants a number")?,
                "--keep" => options.keep = true,
                "--markdown" => options.markdown = true,
                other => {
                    return Err(format!(
                        "unexpected `{other}`; see `cargo xtask bench unwind-agreement --help`"
                    ));
                }
            }
        }
        if options.workloads.is_empty() {
            options.workloads = WORKLOADS.iter().filter(|workload| !workload.optional).collect();
        }
        Ok(options)
    }
}

/// Runs the bench.
pub(crate) fn run(options: &Options) -> Result<()> {
    check(options)?;
    let folder = paths::target().join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let variables = variables(&folder)?;
    for workload in &options.workloads {
        prepare(workload, &variables)?;
    }
    run_command(comparison().arg("--no-run"))?;
    let (mut findings, mut failures) = (Vec::new(), 0);
    for workload in &options.workloads {
        match agreement(workload, options, &folder, &variables) {
            Ok(found) => {
                say(&format!("{}: {}", workload.name, found.line()));
                findings.push((workload.name, found));
            }
            Err(error) => {
                failures += 1;
                say(&format!("{}: {error:#}", workload.name));
            }
        }
    }
    for table in [agreed(&findings), reasons(&findings)] {
        println!("\n{}", if options.markdown { table.markdown() } else { table.text() });
    }
    let unexplained: u64 = findings.iter().map(|(_, found)| found.unexplained).sum();
    if failures > 0 || unexplained > 0 {
        bail!("{failures} programs failed; {unexplained} differences are unexplained");
    }
    Ok(())
}

fn check(options: &Options) -> Result<()> {
    if !is_root() {
        bail!(
            "recording needs root: sudo --preserve-env env PATH=\"$PATH\" cargo xtask bench unwind-agreement"
        );
    }
    const PERF: Need = Need { program: "perf", package: "linux-perf" };
    let needs = options.workloads.iter().flat_map(|workload| workload.needs);
    missing_packages(needs.chain([&PERF]))
}

/// The command that compares; the work is in symbols/benches, beside what it compares.
fn comparison() -> Command {
    let mut bench = cargo();
    bench.args(["bench", "--quiet", "--package", "symbols", "--bench", "perf_agreement"]);
    bench
}

fn agreement(
    workload: &Workload,
    options: &Options,
    folder: &Path,
    variables: &[(&str, String)],
) -> Result<Findings> {
    let file = |end: &str| folder.join(format!("agreement-{}.{end}", workload.name));
    let (data, script) = (file("data"), file("txt"));
    record(workload, Duration::from_secs(options.seconds), &data, variables)?;
    walk_by_perf(&data, &script)?;
    let mut compare = comparison();
    compare.arg("--").args([&data, &script]).arg(options.show.to_string());
    let output = compare.stderr(Stdio::inherit()).output().context("cannot start cargo")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("`{}` failed ({}): {text}", line(&compare), output.status);
    }
    if !options.keep {
        [&data, &script].into_iter().for_each(|file| drop(fs::remove_file(file)));
    }
    text.lines().filter(|line| line.starts_with(' ')).for_each(|line| println!("{line}"));
    Findings::read(&text)
}

/// Records the workload from its first process on, until its time is over; all of it is killed then.
fn record(workload: &Workload, time: Duration, data: &Path, variables: &[(&str, String)]) -> Result<()> {
    // perf would keep an earlier one under another name.
    let _ = fs::remove_file(data);
    let group = Cgroup::create()?;
    // perf takes the lowest place at which a process has a file, also from before its exec. Where addresses are the same
    // in all processes that is mostly right.
    let mut perf = first_in_line(NICENESS, "setarch");
    perf.args(["--addr-no-randomize", "perf"]);
    perf.args(["record", "--quiet", "--event", "cpu-clock", "--freq", &HZ.to_string(), "--call-graph"]);
    perf.arg(format!("dwarf,{COPY_BYTES}")).args(["--mmap-pages", "16M", "--no-buildid", "--output"]);
    perf.arg(data).arg("--").args(group.shell(workload.script));
    perf.envs(variables.iter().map(|(name, value)| (name, value)));
    perf.stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = perf.spawn().context("cannot start perf")?;
    sleep(time);
    if let Some(status) = child.try_wait()? {
        bail!("the workload ended by itself ({status}); run its script by hand to see why");
    }
    group.end()?;
    wait(&mut child, &perf)
}

fn wait(child: &mut Child, perf: &Command) -> Result<()> {
    let start = Instant::now();
    // How it ends is how the workload has ended: killed.
    while child.try_wait()?.is_none() {
        if start.elapsed() > PERF_GRACE {
            child.kill().and_then(|()| child.wait())?;
            bail!("`{}` does not end", line(perf));
        }
        sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Writes the stacks that perf finds.
fn walk_by_perf(data: &Path, script: &Path) -> Result<()> {
    let mut perf = Command::new("perf");
    perf.args(["script", "--no-inline", "--ns", "--fields", "pid,tid,time,ip,dso", "--max-stack"]);
    perf.arg(FRAMES.to_string()).arg("--input").arg(data);
    let out = File::create(script).with_context(|| format!("cannot write {}", script.display()))?;
    let status = perf.stdout(out).stderr(Stdio::null()).status().context("cannot start perf")?;
    if !status.success() {
        bail!("`{}` failed ({status})", line(&perf));
    }
    Ok(())
}

/// What the comparison says of one workload.
#[derive(Clone, Debug, Default, PartialEq)]
struct Findings {
    samples: u64,
    same: u64,
    unexplained: u64,
    /// Not compared: there is nothing to walk.
    left_out: u64,
    /// The other differences, by reason.
    reasons: BTreeMap<String, u64>,
}

impl Findings {
    /// Reads lines `COUNT NAME`.
    fn read(text: &str) -> Result<Findings> {
        let mut findings = Findings::default();
        for line in text.lines() {
            let Some((count, name)) = line.split_once(' ') else { continue };
            let Ok(count) = count.parse() else { continue };
            match name {
                "samples" => findings.samples = count,
                "the same" => findings.same = count,
                "unexplained" => findings.unexplained = count,
                "without a copy of the stack" | "that perf script does not print" => {
                    findings.left_out += count;
                }
                reason => drop(findings.reasons.insert(reason.to_owned(), count)),
            }
        }
        if findings.samples == 0 {
            bail!("no sample has a user stack: {text}");
        }
        Ok(findings)
    }

    fn percent(&self) -> f64 {
        self.same as f64 * 100.0 / self.samples as f64
    }

    fn line(&self) -> String {
        format!("{:.2} % of {} stacks are the same", self.percent(), self.samples)
    }
}

fn agreed(findings: &[(&str, Findings)]) -> Table {
    let row = |(name, found): &(&str, Findings)| {
        let explained: u64 = found.reasons.values().sum();
        let counts = [found.left_out, found.samples, found.same].map(|count| count.to_string());
        let rest = [format!("{:.2}", found.percent()), explained.to_string(), found.unexplained.to_string()];
        [(*name).to_owned()].into_iter().chain(counts).chain(rest).collect()
    };
    Table {
        title: "Stacks of perf's samples, walked by perf and by Vesta".into(),
        header: ["workload", "without a copy", "samples", "the same", "%", "explained", "unexplained"]
            .map(String::from)
            .into(),
        rows: findings.iter().map(row).collect(),
    }
}

fn reasons(findings: &[(&str, Findings)]) -> Table {
    let mut by_reason: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, found) in findings {
        for (reason, count) in &found.reasons {
            by_reason.entry(reason).or_default().push(format!("{name} {count}"));
        }
    }
    let row = |(reason, counts): (&str, Vec<String>)| vec![reason.to_owned(), counts.join(", ")];
    Table {
        title: "Differences, by reason".into(),
        header: ["reason", "samples"].map(String::from).into(),
        rows: by_reason.into_iter().map(row).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = " unexplained: thread 1\n   3 shown\n200 samples\n3 without a copy of the stack\n\
        0 that perf script does not print\n190 the same\n9 perf stops\n1 unexplained\n";

    #[test]
    fn what_the_comparison_says_is_read() {
        let found = Findings::read(TEXT).unwrap();
        let reasons = BTreeMap::from([("perf stops".to_owned(), 9)]);
        assert_eq!(found, Findings { samples: 200, same: 190, unexplained: 1, left_out: 3, reasons });
        assert_eq!(found.line(), "95.00 % of 200 stacks are the same");
        assert_eq!(agreed(&[("x", found.clone())]).rows, [["x", "3", "200", "190", "95.00", "9", "1"]]);
        assert_eq!(reasons_of(&[("x", found.clone()), ("y", found)]), [["perf stops", "x 9, y 9"]]);
        assert!(Findings::read("0 samples\n").is_err());
    }

    fn reasons_of(findings: &[(&str, Findings)]) -> Vec<Vec<String>> {
        reasons(findings).rows
    }

    #[test]
    fn all_but_the_optional_unless_told_which() {
        let parsed =
            |line: &str| Options::parse(&line.split_whitespace().map(String::from).collect::<Vec<_>>());
        assert!(parsed("").unwrap().workloads.iter().all(|workload| !workload.optional));
        let options = parsed("--workload java --seconds 3 --show 2 --keep").unwrap();
        assert_eq!((options.workloads.len(), options.seconds, options.show), (1, 3, 2));
        assert!(parsed("--show many").unwrap_err().contains("--show"));
        assert!(parsed("--nonsense").unwrap_err().contains("`--nonsense`"));
    }
}
