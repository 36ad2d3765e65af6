//! `cargo xtask bench`: measurements, for docs/benchmarks.md. They take long and want a quiet machine, so no test runs
//! them; what they compute with is tested like all else.

mod oracle;
mod store;
mod symbols;
mod ui;
mod unwind;

use anyhow::Result;

const HELP: &str = "\
Measures Vesta, and its peers on the same work in the same run.

Usage: cargo xtask bench BENCH [OPTIONS]

Benches:
  store             profiles on disk: bytes a sample by level and resolution, speed of writing and merging
  symbols           names: how many frames have one, what they cost, storms of processes, very many mappings
  unwind            stacks of real programs: how many are whole, how many are kept, what they cost
  unwind-agreement  the same samples, walked by perf from copied stacks and by us
  unwind-build      CPU time and memory that compiling unwind tables takes
  kernel-stack      kernel stacks by the kernel's unwind tables and by bpf_get_stack: what each takes
  unwind-oracle     every row of the unwind tables of the system's files against gimli
  ui                the page in Chromium, beside other flame graphs: first frame, memory, frames per second

`cargo xtask bench BENCH --help` says more. Results are in docs/benchmarks.md.";

/// What can be asked for.
#[derive(Debug, PartialEq)]
pub(crate) enum Bench {
    Help(&'static str),
    Store(store::Options),
    Symbols(symbols::Options),
    Unwind(unwind::Options),
    UnwindAgreement(unwind::agreement::Options),
    UnwindBuild(unwind::build::Options),
    KernelStack(unwind::kernel_stack::Options),
    UnwindOracle(oracle::Options),
    Ui(ui::Options),
}

/// Reads the arguments after `cargo xtask bench`; the error is for the user.
pub(crate) fn parse(arguments: &[String]) -> Result<Bench, String> {
    let Some((name, rest)) = arguments.split_first() else {
        return Ok(Bench::Help(HELP));
    };
    let help = match name.as_str() {
        "help" | "--help" | "-h" => return Ok(Bench::Help(HELP)),
        "store" => store::HELP,
        "symbols" => symbols::HELP,
        "unwind" => unwind::HELP,
        "unwind-agreement" => unwind::agreement::HELP,
        "unwind-build" => unwind::build::HELP,
        "kernel-stack" => unwind::kernel_stack::HELP,
        "unwind-oracle" => oracle::HELP,
        "ui" => ui::HELP,
        _ => return Err(format!("no bench `{name}`; `cargo xtask bench --help` lists them")),
    };
    if rest.iter().any(|argument| argument == "--help" || argument == "-h") {
        return Ok(Bench::Help(help));
    }
    match name.as_str() {
        "store" => store::Options::parse(rest).map(Bench::Store),
        "symbols" => symbols::Options::parse(rest).map(Bench::Symbols),
        "unwind" => unwind::Options::parse(rest).map(Bench::Unwind),
        "unwind-agreement" => unwind::agreement::Options::parse(rest).map(Bench::UnwindAgreement),
        "unwind-build" => unwind::build::Options::parse(rest).map(Bench::UnwindBuild),
        "kernel-stack" => unwind::kernel_stack::Options::parse(rest).map(Bench::KernelStack),
        "ui" => ui::Options::parse(rest).map(Bench::Ui),
        _ => oracle::Options::parse(rest).map(Bench::UnwindOracle),
    }
}

/// Does what was asked.
pub(crate) fn run(bench: Bench) -> Result<()> {
    match bench {
        Bench::Help(text) => println!("{text}"),
        Bench::Store(options) => store::run(&options)?,
        Bench::Symbols(options) => symbols::run(&options)?,
        Bench::Unwind(options) => unwind::run(&options)?,
        Bench::UnwindAgreement(options) => unwind::agreement::run(&options)?,
        Bench::UnwindBuild(options) => unwind::build::run(&options)?,
        Bench::KernelStack(options) => unwind::kernel_stack::run(&options)?,
        Bench::UnwindOracle(options) => oracle::run(&options)?,
        Bench::Ui(options) => ui::run(&options)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 8] = [
        "store",
        "symbols",
        "unwind",
        "unwind-agreement",
        "unwind-build",
        "kernel-stack",
        "unwind-oracle",
        "ui",
    ];

    fn parsed(line: &str) -> Result<Bench, String> {
        parse(&line.split_whitespace().map(String::from).collect::<Vec<_>>())
    }

    #[test]
    fn every_bench_has_its_own_help() {
        for name in NAMES {
            let Ok(Bench::Help(text)) = parsed(&format!("{name} --help")) else {
                panic!("{name} has no help");
            };
            assert!(text.contains(&format!("cargo xtask bench {name}")), "{name}: {text}");
            assert!(HELP.contains(&format!("\n  {name} ")), "{name} is missing in the overview");
        }
    }

    #[test]
    fn what_is_not_understood_is_named() {
        assert!(parsed("unwnid").unwrap_err().contains("`unwnid`"));
        assert!(parsed("unwind --nonsense").unwrap_err().contains("`--nonsense`"));
    }
}
