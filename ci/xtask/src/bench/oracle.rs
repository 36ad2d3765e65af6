//! `cargo xtask bench unwind-oracle`: every row of the system's files against gimli.

use std::path::PathBuf;

use anyhow::Result;

use crate::process::{cargo, run as run_command};

pub(crate) const HELP: &str = "\
Compiles the unwind table of every program and library below some folders, and compares it, at the first, a middle and
the last address of every row, with what gimli evaluates there. Prints files, rows, bytes, the differences by reason,
time and memory; fails if a difference is not explained.

Usage: cargo xtask bench unwind-oracle [FOLDER]...

Without folders: /usr/bin, /usr/sbin and /usr/lib.";

/// What is compared.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    /// Absolute; empty for the system's.
    folders: Vec<PathBuf>,
}

impl Options {
    /// Reads the arguments after `bench unwind-oracle`; the error is for the user.
    pub(crate) fn parse(arguments: &[String]) -> Result<Options, String> {
        let folder = |argument: &String| {
            if argument.starts_with('-') {
                return Err(format!("unexpected `{argument}`; see `cargo xtask bench unwind-oracle --help`"));
            }
            // Cargo starts a bench in the folder of its package.
            std::path::absolute(argument).map_err(|error| format!("`{argument}`: {error}"))
        };
        Ok(Options { folders: arguments.iter().map(folder).collect::<Result<_, _>>()? })
    }
}

/// Builds and runs it. The work is in symbols/benches, beside the tests that it shares its oracle with.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut bench = cargo();
    bench.args(["bench", "--package", "symbols", "--bench", "unwind_oracle", "--"]).args(&options.folders);
    run_command(&mut bench)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_made_absolute_and_options_refused() {
        assert_eq!(Options::parse(&[]), Ok(Options { folders: Vec::new() }));
        let parsed = Options::parse(&["/opt".into(), "lib".into()]).unwrap();
        assert_eq!(parsed.folders[0], PathBuf::from("/opt"));
        assert!(parsed.folders[1].is_absolute() && parsed.folders[1].ends_with("lib"));
        assert!(Options::parse(&["--nonsense".into()]).unwrap_err().contains("`--nonsense`"));
    }
}
