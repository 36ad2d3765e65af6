//! `cargo xtask bench ui`: the page in headless Chromium, beside other flame graphs.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::page::{install, npm};
use crate::paths;
use crate::process::run as run_command;

pub(crate) const HELP: &str = "\
Measures the page in headless Chromium with a made-up profile: from its last byte to the first frame, memory of the
tab, frames per second while the graph is zoomed and panned, time to draw, a tree of a million nodes; and beside it
d3-flame-graph, @grafana/flamegraph and speedscope with the same profile. Fetches these by npm into the target folder
(some 600 MB), never into the page.

Usage: cargo xtask bench ui [--nodes N] [--runs N] [--no-peers] [--url URL] [--output FILE]

  --nodes N      nodes of the profile [default: 100000]
  --runs N       how often each is opened; medians are shown [default: 5]
  --no-peers     the page alone
  --url URL      also a running Vesta with a day of data: navigation, and going to another hour
  --output FILE  the figures as JSON";

/// What is measured.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    nodes: u32,
    runs: u32,
    peers: bool,
    url: Option<String>,
    /// Absolute: the measurement runs in the page's folder.
    output: Option<PathBuf>,
}

impl Options {
    /// Reads the arguments after `bench ui`; the error is for the user.
    pub(crate) fn parse(arguments: &[String]) -> Result<Options, String> {
        let mut options = Options { nodes: 100_000, runs: 5, peers: true, url: None, output: None };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let mut value = || rest.next().ok_or_else(|| format!("`{argument}` needs a value"));
            match argument.as_str() {
                "--no-peers" => options.peers = false,
                "--nodes" => options.nodes = number(value()?, 1_000, 5_000_000)?,
                "--runs" => options.runs = number(value()?, 1, 1_000)?,
                "--url" => options.url = Some(value()?.clone()),
                "--output" => {
                    let path = std::path::absolute(value()?).map_err(|error| format!("--output: {error}"))?;
                    options.output = Some(path);
                }
                _ => return Err(format!("unexpected `{argument}`; see `cargo xtask bench ui --help`")),
            }
        }
        Ok(options)
    }

    /// The arguments of the program that measures.
    fn arguments(&self, peers: &str) -> Vec<String> {
        let mut all =
            vec!["--nodes".to_owned(), self.nodes.to_string(), "--runs".to_owned(), self.runs.to_string()];
        let mut add = |name: &str, value: &str| all.extend([name.to_owned(), value.to_owned()]);
        if self.peers {
            add("--peers", peers);
        }
        if let Some(url) = &self.url {
            add("--url", url);
        }
        if let Some(output) = &self.output {
            add("--output", &output.to_string_lossy());
        }
        all
    }
}

fn number(text: &str, least: u32, most: u32) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("`{text}` is not a whole number from {least} to {most}"))
}

/// Builds the page, fetches the peers, and measures.
pub(crate) fn run(options: &Options) -> Result<()> {
    install()?;
    run_command(&mut npm(&["run", "--silent", "build"]))?;
    let peers = paths::target().join("bench-ui");
    if options.peers {
        fs::create_dir_all(&peers).with_context(|| format!("cannot create {}", peers.display()))?;
        let manifest = paths::page().join("bench/peers/package.json");
        fs::copy(&manifest, peers.join("package.json"))
            .with_context(|| format!("cannot copy {}", manifest.display()))?;
        // Their peers' peers do not agree on versions, and none of their scripts is needed.
        let install = ["install", "--no-audit", "--no-fund", "--legacy-peer-deps", "--ignore-scripts"];
        run_command(npm(&install).current_dir(&peers))?;
    }
    let mut bench = npm(&["run", "--silent", "bench", "--"]);
    bench.args(options.arguments(&peers.to_string_lossy()));
    run_command(&mut bench)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options, String> {
        Options::parse(&line.split_whitespace().map(String::from).collect::<Vec<_>>())
    }

    #[test]
    fn options_become_the_arguments_of_the_measurement() {
        let options =
            parsed("--nodes 5000 --runs 2 --url http://127.0.0.1:7171 --output /tmp/ui.json").unwrap();
        let line = options.arguments("/peers").join(" ");
        let expected =
            "--nodes 5000 --runs 2 --peers /peers --url http://127.0.0.1:7171 --output /tmp/ui.json";
        assert_eq!(line, expected);
        assert_eq!(parsed("--no-peers").unwrap().arguments("/peers").join(" "), "--nodes 100000 --runs 5");
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (line, named) in [("--nodes 3", "`3`"), ("--runs", "`--runs`"), ("--fast", "`--fast`")] {
            assert!(parsed(line).unwrap_err().contains(named), "{line}");
        }
    }
}
