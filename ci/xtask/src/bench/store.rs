//! `cargo xtask bench store`: bytes a sample on disk, and the speed of writing and merging.

use std::path::PathBuf;

use anyhow::Result;

use crate::process::{cargo, run as run_command};

pub(crate) const HELP: &str = "\
Writes profiles to a store and merges them level by level, makes them coarser, and prints bytes a sample by table, against
gzip pprof files of ten seconds, with CPU time of each step. Works in a folder of its own, which is gone afterwards.

Usage: cargo xtask bench store [OPTIONS]

Options:
  --minutes N      how much of the generated day, of 20 hosts with 20 services each at 100 samples/s a host [default: 60;
                   all of it: 1440]
  --data-dir DIR   what `vesta run` left in DIR, instead; DIR stays as it is";

/// What is measured.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Options {
    /// Minutes of the generated day.
    Generated(u32),
    /// A data directory, absolute.
    Recorded(PathBuf),
}

impl Options {
    /// Reads the arguments after `bench store`; the error is for the user.
    pub(crate) fn parse(arguments: &[String]) -> Result<Options, String> {
        match arguments {
            [] => Ok(Options::Generated(60)),
            [flag, minutes] if flag == "--minutes" => match minutes.parse() {
                Ok(minutes @ 1..=1440) => Ok(Options::Generated(minutes)),
                _ => Err(format!("`{minutes}` is no number of minutes from 1 to 1440")),
            },
            [flag, folder] if flag == "--data-dir" => {
                // Cargo starts a bench in the folder of its package.
                let folder = std::path::absolute(folder).map_err(|error| format!("`{folder}`: {error}"))?;
                Ok(Options::Recorded(folder))
            }
            [other, ..] => Err(format!("unexpected `{other}`; see `cargo xtask bench store --help`")),
        }
    }
}

/// Builds and runs it. The work is in store/benches.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut bench = cargo();
    bench.args(["bench", "--package", "store", "--bench", "store_size", "--"]);
    match options {
        Options::Generated(minutes) => bench.args(["generated", &minutes.to_string()]),
        Options::Recorded(folder) => bench.arg("recorded").arg(folder),
    };
    run_command(&mut bench)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options, String> {
        Options::parse(&line.split_whitespace().map(String::from).collect::<Vec<_>>())
    }

    #[test]
    fn minutes_or_a_folder() {
        assert_eq!(parsed(""), Ok(Options::Generated(60)));
        assert_eq!(parsed("--minutes 5"), Ok(Options::Generated(5)));
        let Ok(Options::Recorded(folder)) = parsed("--data-dir data") else { panic!("no folder") };
        assert!(folder.is_absolute() && folder.ends_with("data"));
        assert!(parsed("--minutes 0").unwrap_err().contains("`0`"));
        assert!(parsed("--minutes").unwrap_err().contains("`--minutes`"));
        assert!(parsed("--nonsense 1").unwrap_err().contains("`--nonsense`"));
    }
}
