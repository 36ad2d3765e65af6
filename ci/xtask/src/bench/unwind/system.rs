//! What the kernel tells of the machine, of a process, and of its BPF programs and maps.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::process::output;

/// `/proc` counts CPU time in these, whatever the kernel's own tick is.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU seconds that were not idle, of all CPUs since the machine started.
pub(in crate::bench) fn busy_seconds() -> Result<f64> {
    let text = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    busy(&text).context("/proc/stat has no line `cpu`")
}

/// user, nice, system, irq and softirq; not idle, iowait and what other machines took.
fn busy(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<f64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
    let sum: f64 = [0, 1, 2, 5, 6].into_iter().map(|at| ticks.get(at).copied().unwrap_or(0.0)).sum();
    Some(sum / TICKS_PER_SECOND)
}

/// CPU seconds and peak of resident bytes of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::bench) struct Usage {
    pub(in crate::bench) cpu_seconds: f64,
    pub(in crate::bench) resident_bytes: u64,
}

/// What a process has used so far; none if it is gone.
pub(in crate::bench) fn usage(pid: u32) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(Usage { cpu_seconds: cpu_seconds(&stat)?, resident_bytes: peak_resident(&status)? })
}

/// Of the process, and of the children it has waited for.
fn cpu_seconds(stat: &str) -> Option<f64> {
    // The name stands in parentheses, and may hold any character.
    let after_name = &stat[stat.rfind(')')? + 1..];
    let ticks = after_name.split_whitespace().skip(11).take(4).map(|word| word.parse::<f64>());
    Some(ticks.sum::<Result<f64, _>>().ok()? / TICKS_PER_SECOND)
}

fn peak_resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

/// Files with code in a process: what it has mapped.
pub(in crate::bench) fn mapped_files(pid: u32) -> BTreeSet<PathBuf> {
    let text = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let code = text.lines().filter(|line| line.split_whitespace().nth(1).is_some_and(|p| p.contains('x')));
    code.filter_map(|line| line.find('/').map(|at| PathBuf::from(&line[at..]))).collect()
}

/// Runs of the BPF programs that a process has attached to perf events, while `kernel.bpf_stats_enabled` is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::bench) struct BpfRuns {
    pub(in crate::bench) nanoseconds: u64,
    pub(in crate::bench) runs: u64,
}

impl BpfRuns {
    /// What was added since.
    pub(in crate::bench) fn since(self, before: BpfRuns) -> BpfRuns {
        BpfRuns {
            nanoseconds: self.nanoseconds.saturating_sub(before.nanoseconds),
            runs: self.runs.saturating_sub(before.runs),
        }
    }
}

/// What of BPF a process holds open.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::bench) struct BpfState {
    pub(in crate::bench) sampling: BpfRuns,
    /// Identifiers of maps.
    pub(in crate::bench) maps: BTreeSet<u64>,
    /// perf events.
    pub(in crate::bench) events: usize,
}

/// `BPF_PROG_TYPE_PERF_EVENT` of `linux/bpf.h`.
const PERF_EVENT: u64 = 7;

/// Looks through the open files of a process.
pub(in crate::bench) fn bpf_state(pid: u32) -> BpfState {
    let mut state = BpfState::default();
    let mut programs = BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
        let target = fs::read_link(entry.path()).unwrap_or_default();
        let info = || {
            let number = entry.file_name().to_string_lossy().into_owned();
            fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).unwrap_or_default()
        };
        match target.to_str() {
            Some("anon_inode:[perf_event]") => state.events += 1,
            Some("anon_inode:bpf-map") => state.maps.extend(field(&info(), "map_id")),
            Some("anon_inode:bpf-prog") => {
                let info = info();
                let number = |key| field(&info, key).unwrap_or_default();
                // A program may be open more than once.
                if number("prog_type") == PERF_EVENT && programs.insert(number("prog_id")) {
                    state.sampling.nanoseconds += number("run_time_ns");
                    state.sampling.runs += number("run_cnt");
                }
            }
            _ => {}
        }
    }
    state
}

fn field(info: &str, key: &str) -> Option<u64> {
    let mut fields = info.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(name, _)| *name == key)?.1.trim().parse().ok()
}

/// A BPF map of the machine.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::bench) struct Map {
    pub(in crate::bench) id: u64,
    pub(in crate::bench) name: String,
    pub(in crate::bench) bytes: u64,
}

/// All BPF maps of the machine, as bpftool lists them.
pub(in crate::bench) fn maps() -> Result<Vec<Map>> {
    let text =
        output(Command::new("bpftool").args(["-j", "map", "show"])).context("`bpftool map show` failed")?;
    let list: Value = serde_json::from_str(&text).context("`bpftool map show` prints no JSON")?;
    Ok(list.as_array().map_or(&[][..], Vec::as_slice).iter().filter_map(map).collect())
}

fn map(entry: &Value) -> Option<Map> {
    let name = entry["name"].as_str().unwrap_or_default().to_owned();
    Some(Map { id: entry["id"].as_u64()?, name, bytes: entry["bytes_memlock"].as_u64()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_and_stolen_time_is_not_busy() {
        assert_eq!(busy("cpu  100 20 30 9000 500 40 50 7000 0 0\ncpu0 1 1 1\n"), Some(2.4));
        assert_eq!(busy("intr 1\n"), None);
    }

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_shift_the_fields() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 1 2 3 4 150 50 10 5 20 0 1 0 100 1 1";
        assert_eq!(cpu_seconds(stat), Some(2.15));
        assert_eq!(cpu_seconds("42 (a"), None);
        assert_eq!(peak_resident("VmPeak:\t 9 kB\nVmHWM:\t  12 kB\n"), Some(12_288));
    }

    #[test]
    fn fields_of_open_files_are_read_by_their_whole_name() {
        let info = "prog_type:\t7\nrun_time_ns:\t1234\nrun_cnt:\t5\n";
        assert_eq!((field(info, "run_cnt"), field(info, "run_time"), field("", "x")), (Some(5), None, None));
    }

    #[test]
    fn maps_are_read_from_json() {
        let entry = serde_json::json!({"id": 3, "type": "array", "name": "SLABS", "bytes_memlock": 4096});
        assert_eq!(map(&entry), Some(Map { id: 3, name: "SLABS".into(), bytes: 4096 }));
        assert_eq!(map(&serde_json::json!({"id": 3})), None);
    }
}
