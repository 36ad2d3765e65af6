//! `cargo xtask fuzz`: coverage-guided fuzzing of what reads hostile files into unwind tables, and of the walk.
//!
//! libFuzzer is linked in (libfuzzer-sys), and LLVM's instrumentation is asked for by flags that a stable compiler takes:
//! the same that cargo-fuzz gives where no sanitizer is wanted. Safe Rust has little use for one.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::lint::clippy_in_place_of_compiler;
use crate::process::{cargo, line, run as run_command, say};
use crate::{paths, test};

pub(crate) const HELP: &str = "\
Builds the fuzz targets in symbols/fuzz with instrumentation, and runs them one after the other. What an input that
fails did is shown, and the input is kept in ci/artifacts/fuzz; put it into symbols/fuzz/seeds, which every run starts
with. Inputs that reached something new are kept in target/fuzz/found.

Usage: cargo xtask fuzz [--seconds N] [TARGET]...
       cargo xtask fuzz --write-seeds

Targets (all, if none is named):
  elf                     a file, to its unwind table
  call_frame_information  the same, where only the call frame information is not to be trusted
  stored_table            a table that was stored
  walk                    rules, tables, registers and memory, to the next frame

Options:
  --seconds N     how long each target runs (default: 60)
  --write-seeds   make the seeds again, from the test programs";

/// The targets; symbols/fuzz/targets has a file for each.
const TARGETS: [&str; 4] = ["elf", "call_frame_information", "stored_table", "walk"];
/// Seconds for each target, where nothing else is said, and as a part of all tests.
const DEFAULT_SECONDS: u64 = 60;
const SECONDS_AS_TEST: u64 = 6;

/// What an input may cost: a table may be made from 128 MiB of unpacked call frame information.
const MEMORY_MIB: u32 = 1024;
const SECONDS_PER_INPUT: u32 = 20;

/// Counters of edges, compared values, and a table of places, all through the compiler's own pass.
const INSTRUMENTATION: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing";

/// Lines of a failed run that are shown.
const LINES_SHOWN: usize = 40;

/// What is asked for.
#[derive(Debug, PartialEq)]
pub(crate) enum Options {
    Run { seconds: u64, targets: Vec<&'static str> },
    WriteSeeds,
}

impl Options {
    /// Reads the arguments after `cargo xtask fuzz`; the error is for the user.
    pub(crate) fn parse(arguments: &[String]) -> Result<Options, String> {
        if arguments == ["--write-seeds"] {
            return Ok(Options::WriteSeeds);
        }
        let (mut seconds, mut targets) = (DEFAULT_SECONDS, Vec::new());
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            if argument == "--seconds" {
                let number = arguments.next().and_then(|number| number.parse().ok());
                seconds = number.filter(|&number| number > 0).ok_or("`--seconds` wants a number above 0")?;
                continue;
            }
            let target = TARGETS.into_iter().find(|target| *target == argument);
            targets.push(
                target.ok_or_else(|| format!("no target `{argument}`; see `cargo xtask fuzz --help`"))?,
            );
        }
        if targets.is_empty() {
            targets = TARGETS.to_vec();
        }
        Ok(Options::Run { seconds, targets })
    }

    /// A short run of everything.
    pub(crate) fn as_test() -> Options {
        Options::Run { seconds: SECONDS_AS_TEST, targets: TARGETS.to_vec() }
    }
}

/// Does what was asked; an error if an input failed.
pub(crate) fn run(options: &Options) -> Result<()> {
    let Options::Run { seconds, targets } = options else { return write_seeds() };
    let programs = build()?;
    let failed: Vec<&str> = targets
        .iter()
        .copied()
        .filter(|target| fuzz(&programs, target, *seconds).map_err(tell).is_err())
        .collect();
    if !failed.is_empty() {
        bail!("inputs failed: {}", failed.join(", "));
    }
    Ok(())
}

fn tell(error: anyhow::Error) {
    say(&format!("{error:#}"));
}

fn package() -> PathBuf {
    paths::root().join("symbols/fuzz")
}

fn target_folder() -> PathBuf {
    paths::target().join("fuzz")
}

/// A cargo command for the package, which is a workspace of its own.
fn cargo_in_package(command: &str) -> Command {
    let mut cargo = cargo();
    cargo.args([command, "--manifest-path"]).arg(package().join("Cargo.toml"));
    if command != "fmt" {
        cargo.args(["--release", "--target-dir"]).arg(target_folder());
    }
    cargo
}

/// Formatting and lints of the package. Clippy is the compiler of its own code in a build like that of [`build`], whose dependencies are there
/// when tests have been run.
pub(crate) fn lint() -> Result<()> {
    run_command(cargo_in_package("fmt").arg("--check"))?;
    let mut clippy = instrumented_build()?;
    clippy_in_place_of_compiler(&mut clippy);
    run_command(&mut clippy)
}

/// Builds all targets and says where they are.
fn build() -> Result<PathBuf> {
    run_command(&mut instrumented_build()?)?;
    Ok(target_folder().join(host()?).join("release"))
}

fn host() -> Result<String> {
    test::host_triple().context("`rustc -vV` does not say for which machine it compiles")
}

fn instrumented_build() -> Result<Command> {
    let mut build = cargo_in_package("build");
    // With a target of their own flags do not reach build scripts and macros, which run in the compiler.
    build.args(["--bins", "--target", &host()?]);
    build.env("RUSTFLAGS", INSTRUMENTATION).env_remove("CARGO_ENCODED_RUSTFLAGS");
    Ok(build)
}

fn fuzz(programs: &Path, target: &str, seconds: u64) -> Result<()> {
    let (found, failed) = (target_folder().join("found").join(target), paths::artifacts().join("fuzz"));
    for folder in [&found, &failed] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let log = failed.join(format!("{target}.log"));
    let mut command = Command::new(programs.join(target));
    command.args([format!("-max_total_time={seconds}"), format!("-timeout={SECONDS_PER_INPUT}")]);
    command.args([format!("-rss_limit_mb={MEMORY_MIB}"), "-print_final_stats=1".to_owned()]);
    command.arg(format!("-artifact_prefix={}/{target}-", failed.display()));
    command.arg(found).arg(package().join("seeds").join(target));
    command.stderr(File::create(&log).with_context(|| format!("cannot write {}", log.display()))?);
    println!("  $ {}", line(&command));
    let status = command.status().with_context(|| format!("cannot start `{}`", line(&command)))?;
    let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    if !status.success() {
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let shown = lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n");
        bail!("{target}: an input failed ({status}); the end of {}:\n{shown}", log.display());
    }
    println!("  {target}: {}", summary(&text));
    Ok(())
}

/// Inputs, coverage and memory, out of what libFuzzer writes.
fn summary(log: &str) -> String {
    let after = |mark: &str| {
        let text = log.rsplit_once(mark).map_or("", |(_, text)| text);
        text.split_whitespace().next().unwrap_or("?").to_owned()
    };
    format!(
        "{} inputs, {} edges and {} features reached, at most {} MiB",
        after("stat::number_of_executed_units:"),
        after(" cov: "),
        after(" ft: "),
        after("stat::peak_rss_mb:")
    )
}

/// Makes the seeds again.
fn write_seeds() -> Result<()> {
    let mut seeds = cargo();
    seeds.args(["run", "--package", "symbols", "--example", "fuzz_seeds", "--"]).arg(package().join("seeds"));
    run_command(&mut seeds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options, String> {
        Options::parse(&line.split_whitespace().map(String::from).collect::<Vec<_>>())
    }

    #[test]
    fn all_targets_are_run_unless_told_which() {
        assert_eq!(parsed(""), Ok(Options::Run { seconds: DEFAULT_SECONDS, targets: TARGETS.to_vec() }));
        assert_eq!(parsed("--seconds 7 walk"), Ok(Options::Run { seconds: 7, targets: vec!["walk"] }));
        assert_eq!(parsed("--write-seeds"), Ok(Options::WriteSeeds));
        assert!(parsed("wlak").unwrap_err().contains("`wlak`"));
        assert!(parsed("--seconds 0").is_err() && parsed("--seconds").is_err());
    }

    #[test]
    fn every_target_has_a_source_seeds_and_a_line_in_the_help() {
        for target in TARGETS {
            assert!(package().join(format!("targets/{target}.rs")).is_file(), "{target}");
            assert!(fs::read_dir(package().join("seeds").join(target)).unwrap().count() > 3, "{target}");
            assert!(HELP.contains(&format!("\n  {target} ")), "{target}");
        }
    }

    #[test]
    fn the_summary_is_of_the_last_figures() {
        let log = "#2\tINITED cov: 7 ft: 9 corp: 1/1b\n#9\tDONE   cov: 70 ft: 90 corp: 2/2b\n\
            stat::number_of_executed_units: 9\nstat::peak_rss_mb:              31\n";
        assert_eq!(summary(log), "9 inputs, 70 edges and 90 features reached, at most 31 MiB");
        assert!(summary("").starts_with("? inputs"));
    }
}
