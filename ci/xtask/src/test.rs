//! `cargo xtask test`: every suite, and a sum at the end.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use testprogs::Program;

use crate::process::{as_root, cargo, is_root, output, run, say};
use crate::setup::{self, Scope};
use crate::{e2e, fuzz, page, paths};

/// A set of tests that can be run alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Suite {
    /// Every crate.
    Rust,
    /// The crate whose tests load BPF programs; a part of [`Suite::Rust`].
    Bpf,
    /// Unit tests of the page.
    Page,
    /// What reads hostile files, on inputs that coverage leads to.
    Fuzz,
    /// Vesta and its page in a browser.
    E2e,
}

impl Suite {
    /// The suites that together are all tests.
    pub(crate) const EVERY: [Suite; 4] = [Suite::Rust, Suite::Page, Suite::Fuzz, Suite::E2e];

    const NAMES: [(&str, Suite); 5] = [
        ("rust", Suite::Rust),
        ("bpf", Suite::Bpf),
        ("page", Suite::Page),
        ("fuzz", Suite::Fuzz),
        ("e2e", Suite::E2e),
    ];

    /// The suite that users call so.
    pub(crate) fn from_name(name: &str) -> Option<Suite> {
        Suite::NAMES.into_iter().find(|(known, _)| *known == name).map(|(_, suite)| suite)
    }

    fn name(self) -> &'static str {
        Suite::NAMES.into_iter().find(|(_, suite)| *suite == self).map_or("", |(name, _)| name)
    }

    fn run(self) -> Result<()> {
        match self {
            Suite::Rust => run(cargo_test().arg("--no-fail-fast")),
            Suite::Bpf => run(cargo_test().args(["--no-fail-fast", "--package", "profiler-agent"])),
            Suite::Page => run(&mut page::npm(&["test"])),
            Suite::Fuzz => fuzz::run(&fuzz::Options::as_test()),
            Suite::E2e => run(cargo_test().arg("--no-run")).and_then(|()| e2e::test()),
        }
    }
}

/// How a suite went.
struct Outcome {
    suite: Suite,
    took: Duration,
    failure: Option<String>,
}

/// Runs the suites, all of them; an error if one failed.
pub(crate) fn test(suites: &[Suite]) -> Result<()> {
    setup::ensure(Scope::Test)?;
    page::install()?;
    if !is_root() {
        build_test_programs();
    }
    let mut outcomes = Vec::new();
    for &suite in suites {
        say(&format!("suite {}", suite.name()));
        let start = Instant::now();
        let failure = suite.run().err().map(|error| format!("{error:#}"));
        outcomes.push(Outcome { suite, took: start.elapsed(), failure });
    }
    println!("\n{}", summary(&outcomes));
    let failed = outcomes.iter().filter(|outcome| outcome.failure.is_some()).count();
    if failed > 0 {
        bail!("{failed} of {} suites failed", outcomes.len());
    }
    Ok(())
}

/// Builds what tests would build on first use, so that those run by sudo leave nothing of root's in `target`.
fn build_test_programs() {
    for program in Program::ALL {
        for &variant in program.variants() {
            testprogs::build(program, variant);
        }
    }
}

fn summary(outcomes: &[Outcome]) -> String {
    let lines = outcomes.iter().map(|Outcome { suite, took, failure }| {
        let result = if failure.is_some() { "FAILED" } else { "passed" };
        let reason = failure.as_deref().and_then(|text| text.lines().next()).unwrap_or_default();
        format!("  {:<5} {result} {:>5} s  {reason}", suite.name(), took.as_secs()).trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// `cargo test`, told where the tests' Python is, and to run by sudo what loads BPF programs.
fn cargo_test() -> Command {
    let mut command = cargo();
    command.env("VESTA_TEST_PYTHON", paths::venv().join("bin/python"));
    if !is_root()
        && let Some(host) = host_triple()
    {
        // Not by `current_exe`: cargo may replace the file that we were started from.
        command.args(["--config", &runner_setting(&host, &paths::target().join("debug/xtask"))]);
    }
    command.arg("test");
    command
}

/// What the compiler makes programs for, unless told otherwise.
pub(crate) fn host_triple() -> Option<String> {
    let text = output(Command::new("rustc").arg("-vV"))?;
    text.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned)
}

/// Makes cargo start test programs by way of [`run_test_program`], which alone knows what each of them needs.
fn runner_setting(host: &str, xtask: &Path) -> String {
    let runner = serde_json::json!([xtask, RUNNER]);
    format!("target.{host}.runner={runner}")
}

/// The hidden command that cargo runs test programs with.
pub(crate) const RUNNER: &str = "run-test-program";

/// Runs one test program as cargo asks: those of profiler-agent by sudo, the others as they are.
pub(crate) fn run_test_program(arguments: &[String]) -> Result<()> {
    let Some((program, rest)) = arguments.split_first() else {
        bail!("no test program was named");
    };
    let needs_root = std::env::var("CARGO_PKG_NAME").is_ok_and(|name| name == "profiler-agent");
    let mut command = if needs_root && !is_root() {
        // sudo replaces these two even where it keeps the rest; tests find rustc and go by them.
        let kept = ["PATH", "HOME"].map(|name| format!("{name}={}", std::env::var(name).unwrap_or_default()));
        let mut environment = as_root("env");
        environment.args(kept).arg(program);
        environment
    } else {
        Command::new(program)
    };
    Err(command.args(rest).exec().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_has_a_name_that_leads_back_to_it() {
        for suite in [Suite::Rust, Suite::Bpf, Suite::Page, Suite::Fuzz, Suite::E2e] {
            assert_eq!(Suite::from_name(suite.name()), Some(suite));
        }
    }

    #[test]
    fn the_summary_names_each_suite_its_result_and_its_time() {
        let outcomes = [
            Outcome { suite: Suite::Rust, took: Duration::from_secs(61), failure: None },
            Outcome {
                suite: Suite::Page,
                took: Duration::from_secs(7),
                failure: Some("`npm test` failed\nmore".into()),
            },
        ];
        let expected = "  rust  passed    61 s\n  page  FAILED     7 s  `npm test` failed";
        assert_eq!(summary(&outcomes), expected);
    }

    #[test]
    fn the_runner_setting_is_valid_for_paths_with_spaces() {
        let setting = runner_setting("x86_64-unknown-linux-gnu", Path::new("/a b/xtask"));
        assert_eq!(setting, r#"target.x86_64-unknown-linux-gnu.runner=["/a b/xtask","run-test-program"]"#);
    }
}
