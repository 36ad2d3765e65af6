//! The command line: its grammar, its help, and which function each command is.

use anyhow::Result;

use crate::bench::Bench;
use crate::setup::Scope;
use crate::test::Suite;
use crate::{bench, fuzz, lint, process, run, setup, test, tidy, vm};

const HELP: &str = "\
Builds, runs and checks Vesta.

Usage: cargo xtask COMMAND [OPTIONS]

Commands:
  run     install what is missing, build everything, start Vesta
  test    install what is missing, run every test suite
  setup   only install what is missing
  lint    formatting and lints of the Rust code and the page
  tidy    rules of the house: dependency arrows, file sizes, licences, the BPF object
  vm      Vesta on other kernels, in virtual machines
  fuzz    coverage-guided fuzzing of what reads hostile files
  bench   measurements of real programs, beside other profilers
  help    this text

`cargo xtask COMMAND --help` says more.";

const SETUP_HELP: &str = "\
Installs what is missing on a Debian-like machine that has rustup's stable toolchain, and says what and why.
Looks first: where nothing is missing it changes nothing and is done at once.

Usage: cargo xtask setup [--only build|test|vm] [--dry-run]

Options:
  --only build   only what building and running needs (no browser, Go, Python)
  --only test    everything, as without --only: tests need the build, too
  --only vm      what building and `cargo xtask vm` need
  --dry-run      print what would be installed, and the commands; change nothing

For the BPF program one of these is enough; setup installs the last if none is there:
  - VESTA_BPF_OBJECT=path of an object that was built elsewhere
  - rustup's nightly toolchain with rust-src, and bpf-linker on the PATH or as BPF_LINKER=path
  - the distribution's rustc with a core library for bpfel-unknown-none, and a bpf-linker that fits its LLVM,
    built into ${XDG_CACHE_HOME:-~/.cache}/vesta/toolchain";

const RUN_HELP: &str = "\
Installs what building needs, builds a release, and starts `vesta run` with the page on http://127.0.0.1:7171.
Ctrl-C ends it cleanly. Loading the BPF program needs root: sudo is used when you are not.

Usage: cargo xtask run [-- ARGUMENTS OF vesta run]

Example: cargo xtask run -- --listen 127.0.0.1:8000 --frequency 199";

const TEST_HELP: &str = "\
Installs what is missing, runs the test suites, all of them even if one fails, and sums up.

Usage: cargo xtask test [--only SUITE]...

Suites:
  rust   cargo test of every crate, with the end-to-end tests that load the BPF program
  bpf    only profiler-agent's part of `rust`
  page   unit tests of the page (vitest)
  fuzz   some seconds of `cargo xtask fuzz` for each of its targets
  e2e    a real `vesta run` under load, its page in headless Chromium; pictures in ci/artifacts

The tests that load BPF are run by sudo when you are not root; none is left out.";

const LINT_HELP: &str = "\
Formatting (cargo fmt --check), clippy with warnings denied, and the page's own check (types).

Usage: cargo xtask lint";

const TIDY_HELP: &str = "\
Checks rules that compilers do not: which crate may depend on which, licences, file sizes, forbidden attributes and
macros, that ARCHITECTURE.md names every folder, links in documents, package sources, and that the BPF object has none
of the instructions that crash some kernels' verifier (build profiler-agent first).

Usage: cargo xtask tidy";

/// What the command line asks for.
#[derive(Debug, PartialEq)]
pub(crate) enum Command {
    Help(&'static str),
    Setup {
        scope: Scope,
        dry_run: bool,
    },
    Run {
        arguments: Vec<String>,
    },
    Test {
        suites: Vec<Suite>,
    },
    Lint,
    Tidy,
    Vm(vm::Options),
    Fuzz(fuzz::Options),
    Bench(Bench),
    /// What cargo is told to run test programs with; for nobody to type.
    RunTestProgram {
        arguments: Vec<String>,
    },
}

/// Reads the arguments after `cargo xtask`; the error is for the user.
pub(crate) fn parse(arguments: &[String]) -> Result<Command, String> {
    let Some((name, rest)) = arguments.split_first() else {
        return Ok(Command::Help(HELP));
    };
    let help = match name.as_str() {
        "help" | "--help" | "-h" => return Ok(Command::Help(HELP)),
        "setup" => SETUP_HELP,
        "run" => RUN_HELP,
        "test" => TEST_HELP,
        "lint" => LINT_HELP,
        "tidy" => TIDY_HELP,
        "fuzz" => fuzz::HELP,
        "vm" => vm::HELP,
        "bench" => return bench::parse(rest).map(Command::Bench),
        test::RUNNER => return Ok(Command::RunTestProgram { arguments: rest.to_vec() }),
        _ => return Err(format!("no command `{name}`; `cargo xtask help` lists them")),
    };
    if rest.iter().take_while(|a| *a != "--").any(|a| a == "--help" || a == "-h") {
        return Ok(Command::Help(help));
    }
    match name.as_str() {
        "setup" => parse_setup(rest),
        "run" => parse_run(rest),
        "test" => parse_test(rest),
        "vm" => vm::Options::parse(rest).map(Command::Vm),
        "fuzz" => fuzz::Options::parse(rest).map(Command::Fuzz),
        "lint" => nothing_more(rest, name, Command::Lint),
        _ => nothing_more(rest, name, Command::Tidy),
    }
}

fn parse_setup(arguments: &[String]) -> Result<Command, String> {
    let (mut scope, mut dry_run) = (Scope::Test, false);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--dry-run" => dry_run = true,
            "--only" => {
                scope = match arguments.next().map(String::as_str) {
                    Some("build") => Scope::Build,
                    Some("test") => Scope::Test,
                    Some("vm") => Scope::Vm,
                    _ => return Err("`--only` wants `build`, `test` or `vm`".into()),
                }
            }
            other => return Err(unexpected(other, "setup")),
        }
    }
    Ok(Command::Setup { scope, dry_run })
}

fn parse_run(arguments: &[String]) -> Result<Command, String> {
    match arguments.split_first() {
        None => Ok(Command::Run { arguments: Vec::new() }),
        Some((first, rest)) if first == "--" => Ok(Command::Run { arguments: rest.to_vec() }),
        Some((first, _)) => Err(format!("{}; arguments for vesta go after `--`", unexpected(first, "run"))),
    }
}

fn parse_test(arguments: &[String]) -> Result<Command, String> {
    let mut suites = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if argument != "--only" {
            return Err(unexpected(argument, "test"));
        }
        let name = arguments.next().map_or("", String::as_str);
        let Some(suite) = Suite::from_name(name) else {
            return Err(format!("`--only` wants `rust`, `bpf`, `page`, `fuzz` or `e2e`, not `{name}`"));
        };
        if !suites.contains(&suite) {
            suites.push(suite);
        }
    }
    if suites.is_empty() {
        suites = Suite::EVERY.to_vec();
    }
    Ok(Command::Test { suites })
}

fn nothing_more(arguments: &[String], name: &str, command: Command) -> Result<Command, String> {
    match arguments.first() {
        Some(argument) => Err(unexpected(argument, name)),
        None => Ok(command),
    }
}

fn unexpected(argument: &str, command: &str) -> String {
    format!("unexpected `{argument}`; see `cargo xtask {command} --help`")
}

/// Does what was asked.
pub(crate) fn execute(command: Command) -> Result<()> {
    match command {
        Command::Help(text) => println!("{text}"),
        Command::Setup { scope, dry_run: true } => setup::explain(scope)?,
        Command::Setup { scope, dry_run: false } => {
            if !setup::ensure(scope)? {
                process::say("nothing is missing");
            }
        }
        Command::Run { arguments } => run::run(&arguments)?,
        Command::Test { suites } => test::test(&suites)?,
        Command::Lint => lint::lint()?,
        Command::Tidy => tidy::tidy()?,
        Command::Fuzz(options) => fuzz::run(&options)?,
        Command::Vm(options) => vm::run(&options)?,
        Command::Bench(bench) => bench::run(bench)?,
        Command::RunTestProgram { arguments } => test::run_test_program(&arguments)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(&line.split_whitespace().map(String::from).collect::<Vec<_>>())
    }

    #[test]
    fn every_command_has_its_own_help() {
        for name in ["setup", "run", "test", "lint", "tidy", "fuzz", "vm"] {
            let Ok(Command::Help(text)) = parsed(&format!("{name} --help")) else {
                panic!("{name} has no help");
            };
            assert!(text.contains(&format!("cargo xtask {name}")), "{name}: {text}");
            assert!(HELP.contains(&format!("\n  {name} ")), "{name} is missing in the overview");
        }
    }

    #[test]
    fn arguments_after_two_dashes_go_to_vesta_even_help() {
        let arguments = vec!["--help".to_owned()];
        assert_eq!(parsed("run -- --help"), Ok(Command::Run { arguments }));
        assert!(parsed("run --frequency 9").unwrap_err().contains("after `--`"));
    }

    #[test]
    fn test_runs_every_suite_unless_told_which() {
        assert_eq!(parsed("test"), Ok(Command::Test { suites: Suite::EVERY.to_vec() }));
        let suites = vec![Suite::Page, Suite::Bpf];
        assert_eq!(parsed("test --only page --only bpf --only page"), Ok(Command::Test { suites }));
        assert!(parsed("test --only nonsense").unwrap_err().contains("nonsense"));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        assert!(parsed("tset").unwrap_err().contains("`tset`"));
        assert!(parsed("lint --fix").unwrap_err().contains("`--fix`"));
        assert!(parsed("setup --only").unwrap_err().contains("build"));
    }
}
