//! The machine that is measured on: what it is, and how it is set for the time of a run.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::tools::{Binaries, Tool};
use crate::process::{cargo, output};

/// What figures depend on, in words that fit into a table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Machine {
    pub(super) cpus: usize,
    pub(super) model: String,
    pub(super) kernel: String,
    /// Day of the run, UTC.
    pub(super) date: String,
    /// The tools, with what they call their version.
    pub(super) tools: Vec<(Tool, String)>,
}

impl Machine {
    /// Looks at this one.
    pub(super) fn look(tools: &[Tool], binaries: &Binaries) -> Machine {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let date = output(Command::new("date").args(["--utc", "+%F"])).unwrap_or_default();
        Machine {
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            model: model(&cpuinfo),
            kernel: major_and_minor(kernel.trim()).to_owned(),
            date: date.trim().to_owned(),
            tools: tools.iter().map(|tool| (*tool, tool.version(binaries))).collect(),
        }
    }
}

fn model(cpuinfo: &str) -> String {
    let mut fields = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    let name = fields.find(|(key, _)| key.trim() == "model name").map_or("", |(_, value)| value.trim());
    let virtual_machine =
        cpuinfo.lines().any(|line| line.starts_with("flags") && line.contains(" hypervisor"));
    format!("{name}{}", if virtual_machine { ", virtual machine" } else { "" })
}

/// `6.18` of `6.18.44-something`.
fn major_and_minor(release: &str) -> &str {
    let second = release.match_indices(['.', '-']).nth(1);
    second.map_or(release, |(at, _)| &release[..at])
}

/// Has the kernel count the run time of BPF programs until it is dropped.
pub(super) struct BpfStatistics {
    before: String,
}

const BPF_STATISTICS: &str = "/proc/sys/kernel/bpf_stats_enabled";

impl BpfStatistics {
    /// Switches the counting on.
    pub(super) fn enable() -> Result<BpfStatistics> {
        let before = fs::read_to_string(BPF_STATISTICS)
            .with_context(|| format!("cannot read {BPF_STATISTICS}"))?
            .trim()
            .to_owned();
        fs::write(BPF_STATISTICS, "1").with_context(|| format!("cannot write {BPF_STATISTICS}"))?;
        Ok(BpfStatistics { before })
    }
}

impl Drop for BpfStatistics {
    fn drop(&mut self) {
        // Left on, it costs every BPF program some ten nanoseconds a run; there is nobody to tell.
        let _ = fs::write(BPF_STATISTICS, &self.before);
    }
}

/// Gives this process a priority above that of its neighbours: it has to see processes come and go.
pub(super) fn hurry() -> Result<()> {
    let us = std::process::id().to_string();
    output(Command::new("renice").args(["-n", "-20", "-p", &us])).context("`renice` failed").map(drop)
}

/// A port of the loopback address that nobody uses now.
pub(super) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("no port of the loopback address is free")?;
    Ok(listener.local_addr()?.port())
}

/// Where cargo keeps the source of a crate that the workspace depends on.
pub(super) fn source_of(crate_name: &str) -> Result<PathBuf> {
    let text = output(cargo().args(["metadata", "--format-version", "1", "--locked"]))
        .context("`cargo metadata` failed")?;
    let metadata: Value = serde_json::from_str(&text).context("`cargo metadata` prints no JSON")?;
    manifest(&metadata, crate_name)
        .and_then(|path| Some(path.parent()?.to_owned()))
        .with_context(|| format!("the workspace does not depend on {crate_name}"))
}

fn manifest(metadata: &Value, crate_name: &str) -> Option<PathBuf> {
    let package = metadata["packages"].as_array()?.iter().find(|package| package["name"] == crate_name)?;
    package["manifest_path"].as_str().map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_told_in_few_words() {
        let cpuinfo = "processor : 0\nmodel name\t: Some CPU @ 2 GHz\nflags\t\t: fpu hypervisor sse\n";
        assert_eq!(model(cpuinfo), "Some CPU @ 2 GHz, virtual machine");
        assert_eq!(model("model name : X\nflags : fpu\n"), "X");
        for (release, short) in [("6.18.44-generic", "6.18"), ("6.1-rc1", "6.1"), ("6", "6")] {
            assert_eq!(major_and_minor(release), short);
        }
    }

    #[test]
    fn a_crate_is_found_by_its_whole_name() {
        let metadata = serde_json::json!({"packages": [
            {"name": "zstd-sys-2", "manifest_path": "/x/Cargo.toml"},
            {"name": "zstd-sys", "manifest_path": "/y/Cargo.toml"},
        ]});
        assert_eq!(manifest(&metadata, "zstd-sys"), Some(PathBuf::from("/y/Cargo.toml")));
        assert_eq!(manifest(&metadata, "zstd"), None);
    }
}
