//! `cargo xtask bench store`: bytes a sample on disk, and the speed of writing, merging and asking.

use std::path::PathBuf;

use anyhow::Result;

use crate::process::{cargo, run as run_command};

pub(crate) const HELP: &str = "\
Writes profiles to stores, merges them level by level, makes them coarser, and asks for flame graphs. Prints bytes a sample
by table against gzip pprof files of ten seconds, CPU time of each step, times of questions beside DuckDB's, and memory,
each with its goal. Works in folders of its own, which are gone afterwards.

Usage: cargo xtask bench store [OPTIONS] [PART…]

Parts, all of them by default:
  sizes     a generated day of 20 hosts with 20 services each at 100 samples/s a host
  day       a day of one host, 17 million samples: a flame graph beside DuckDB's GROUP BY node
  growing   the same questions with 1, 7 and 30 days in the store
  month     30 days of 20 hosts: a flame graph from rollups, and memory

Options:
  --minutes N      how much of the day of 20 hosts [default: 60; all of it: 1440]
  --data-dir DIR   what `vesta run` left in DIR, in place of all parts; DIR stays as it is
  --keep DIR       leave the stores of `day` and `month` in DIR, and ask those that an earlier run left there";

const PARTS: [&str; 4] = ["sizes", "day", "growing", "month"];

/// What is measured.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Options {
    /// Made-up hosts.
    Generated { parts: Vec<&'static str>, minutes: u32, keep: Option<PathBuf> },
    /// A data directory, absolute.
    Recorded(PathBuf),
}

/// Cargo starts a bench in the folder of its package.
fn absolute(folder: &str) -> Result<PathBuf, String> {
    std::path::absolute(folder).map_err(|error| format!("`{folder}`: {error}"))
}

impl Options {
    /// Reads the arguments after `bench store`; the error is for the user.
    pub(crate) fn parse(arguments: &[String]) -> Result<Options, String> {
        let (mut parts, mut minutes, mut keep) = (Vec::new(), 60, None);
        let mut rest = arguments.iter().map(String::as_str);
        while let Some(argument) = rest.next() {
            let mut value = || rest.next().ok_or_else(|| format!("`{argument}` needs a value"));
            match argument {
                "--minutes" => {
                    let text = value()?;
                    let known = text.parse().ok().filter(|minutes| (1..=1440).contains(minutes));
                    minutes =
                        known.ok_or_else(|| format!("`{text}` is no number of minutes from 1 to 1440"))?;
                }
                "--keep" => keep = Some(absolute(value()?)?),
                "--data-dir" => {
                    let folder = absolute(value()?)?;
                    return match arguments.len() {
                        2 => Ok(Options::Recorded(folder)),
                        _ => Err("`--data-dir` goes with nothing else".to_owned()),
                    };
                }
                part => match PARTS.into_iter().find(|known| *known == part) {
                    Some(part) => parts.push(part),
                    None => return Err(format!("unexpected `{part}`; see `cargo xtask bench store --help`")),
                },
            }
        }
        if parts.is_empty() {
            parts = PARTS.to_vec();
        }
        Ok(Options::Generated { parts, minutes, keep })
    }
}

/// Builds and runs it. The work is in store/benches.
pub(crate) fn run(options: &Options) -> Result<()> {
    let bench = |arguments: &[&std::ffi::OsStr]| {
        let mut bench = cargo();
        bench.args(["bench", "--package", "store", "--bench", "measure", "--"]).args(arguments);
        run_command(&mut bench)
    };
    let (parts, minutes, keep) = match options {
        Options::Recorded(folder) => return bench(&["recorded".as_ref(), folder.as_os_str()]),
        Options::Generated { parts, minutes, keep } => (parts, minutes.to_string(), keep),
    };
    for part in parts {
        match (*part, keep) {
            ("sizes", _) => bench(&["generated".as_ref(), minutes.as_ref()])?,
            (part, Some(keep)) => bench(&[part.as_ref(), keep.as_os_str()])?,
            (part, None) => bench(&[part.as_ref()])?,
        }
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
    fn parts_minutes_and_folders() {
        let all = Options::Generated { parts: PARTS.to_vec(), minutes: 60, keep: None };
        assert_eq!(parsed(""), Ok(all));
        let Ok(Options::Generated { parts, minutes, keep }) = parsed("--minutes 5 day month --keep kept")
        else {
            panic!("not parsed")
        };
        assert_eq!((parts, minutes), (vec!["day", "month"], 5));
        assert!(keep.is_some_and(|folder| folder.is_absolute() && folder.ends_with("kept")));
        let Ok(Options::Recorded(folder)) = parsed("--data-dir data") else { panic!("no folder") };
        assert!(folder.is_absolute() && folder.ends_with("data"));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        assert!(parsed("--minutes 0").unwrap_err().contains("`0`"));
        assert!(parsed("--minutes").unwrap_err().contains("`--minutes`"));
        assert!(parsed("--nonsense 1").unwrap_err().contains("`--nonsense`"));
        assert!(parsed("--data-dir a day").unwrap_err().contains("nothing else"));
    }
}
