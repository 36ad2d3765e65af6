//! What a recording says of itself.

use std::{collections::BTreeMap, fmt::Write, path::PathBuf};

use serde::Serialize;
use ui::{
    render::{TopTable, percent_of_all},
    truth::{Behind, Incomplete, Truth},
};

use crate::{bpf::PartSummary, roles::query::is_stdout, unwind_tables::TableCounts};

/// The summary; its keys are documented in docs/operations.md and do not change.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    pub(super) samples_taken: u64,
    pub(super) samples_stored: u64,
    pub(super) lost: BTreeMap<&'static str, u64>,
    pub(super) user_stacks: u64,
    pub(super) complete: u64,
    pub(super) incomplete: BTreeMap<&'static str, u64>,
    pub(super) incomplete_binaries: BTreeMap<String, Vec<Behind>>,
    pub(super) duration_s: f64,
    pub(super) agent_cpu_s: f64,
    pub(super) maps_reads: u64,
    pub(super) maps_read_s: f64,
    pub(super) bpf_ns_per_sample: Option<u64>,
    pub(super) bpf_parts: Vec<PartSummary>,
    pub(super) rss_bytes: u64,
    pub(super) missed_ticks: Option<u64>,
    pub(super) frequency_hz: u64,
    pub(super) event: &'static str,
    pub(super) cpus: usize,
    pub(super) unwind_tables: UnwindTablesSummary,
    pub(super) output: Option<PathBuf>,
    pub(super) command_exit: Option<String>,
    pub(super) top: TopTable,
}

/// The share of ticks beyond which it is told that they did not come: less than chance makes of a short recording.
const TOLD_MISSED: f64 = 0.005;

/// What became of unwind tables.
#[derive(Debug, Default, Serialize)]
pub(super) struct UnwindTablesSummary {
    tables: u64,
    rows: u64,
    bytes: u64,
    pending: u64,
    built: u64,
    from_cache: u64,
    evicted: u64,
    rebuilt: u64,
    put_off: u64,
    failed: BTreeMap<&'static str, u64>,
    cache_damaged: u64,
    build_cpu_s: f64,
}

impl UnwindTablesSummary {
    pub(super) fn new(counts: &TableCounts) -> Self {
        Self {
            tables: counts.tables,
            rows: counts.rows,
            bytes: counts.bytes,
            pending: counts.pending,
            built: counts.source.built,
            from_cache: counts.source.from_cache,
            evicted: counts.evicted,
            rebuilt: counts.rebuilt,
            put_off: counts.put_off,
            failed: BTreeMap::from(counts.failed()),
            cache_damaged: counts.source.disk.corrupt,
            build_cpu_s: super::round(counts.source.cpu_ns as f64 / 1e9),
        }
    }
}

/// The files behind incomplete stacks, by reason.
pub(super) fn binaries(truth: &Truth) -> BTreeMap<String, Vec<Behind>> {
    truth.reasons.iter().map(|reason| (reason.reason.code.clone(), reason.binaries.clone())).collect()
}

impl Summary {
    /// The summary for people.
    pub(super) fn told(&self, truth: &Truth) -> String {
        // Writing to a String cannot fail.
        let mut text = String::new();
        self.write_samples(&mut text);
        self.write_stacks(&mut text, truth);
        let bpf = self
            .bpf_ns_per_sample
            .map_or_else(|| "unknown".into(), |ns| format!("{:.1} µs", ns as f64 / 1e3));
        let _ = writeln!(
            text,
            "cost: {bpf} of BPF per sample, {:.2} s CPU and {:.0} MB of memory for the agent",
            self.agent_cpu_s,
            self.rss_bytes as f64 / 1e6
        );
        for part in &self.bpf_parts {
            let PartSummary { part, runs, ns_per_run, frames_per_run } = part;
            let us = *ns_per_run as f64 / 1e3;
            let _ = writeln!(
                text,
                "  {}: {us:.2} µs, {runs} times, {frames_per_run:.1} frames a time",
                part.replace('_', " ")
            );
        }
        if let Some(exit) = &self.command_exit {
            let _ = writeln!(text, "the command ended with {exit}");
        }
        let _ = write!(text, "\n{}", self.top);
        match &self.output {
            Some(path) if is_stdout(path) => {}
            Some(path) => {
                let _ = writeln!(text, "\nwritten to {}", path.display());
            }
            None => text.push_str("\nnothing is written; `--output profile.pb.gz` keeps the profile\n"),
        }
        text
    }

    fn write_samples(&self, text: &mut String) {
        let _ = writeln!(
            text,
            "{} samples in {:.1} s ({} Hz {} on {} CPUs), {} lost",
            self.samples_stored,
            self.duration_s,
            self.frequency_hz,
            self.event,
            self.cpus,
            self.lost.values().sum::<u64>(),
        );
        for (reason, lost) in self.lost.iter().filter(|(_, lost)| **lost > 0) {
            let _ = writeln!(text, "  lost, {}: {lost}", reason.replace('_', " "));
        }
        let due = self.duration_s * (self.frequency_hz * self.cpus as u64) as f64;
        let missed = self.missed_ticks.unwrap_or(0);
        if missed as f64 > due * TOLD_MISSED {
            let share = missed as f64 * 100.0 / due;
            let _ = writeln!(
                text,
                "  {missed} ticks of the clock ({share:.1} %) never came: the hypervisor had the CPU, or interrupts were off"
            );
        }
    }

    /// How many stacks are complete; of the others why not, what helps, and the files behind it.
    fn write_stacks(&self, text: &mut String, truth: &Truth) {
        let all = self.user_stacks;
        if all == 0 {
            return;
        }
        let _ = writeln!(text, "{} % of {all} user stacks complete", percent_of_all(self.complete, all));
        let mut reasons: Vec<_> = self.incomplete.iter().collect();
        reasons.sort_by_key(|(_, samples)| std::cmp::Reverse(**samples));
        for (code, samples) in reasons {
            let share = percent(*samples, all);
            let _ = writeln!(text, "  incomplete, {}: {samples} ({share:.1} %)", code.replace('_', " "));
            if let Some(reason) = truth.reasons.iter().find(|reason| reason.reason.code == *code) {
                write_reason(text, reason);
            }
        }
    }
}

fn write_reason(text: &mut String, reason: &Incomplete) {
    for sentence in [reason.reason.text, reason.reason.advice].iter().filter(|text| !text.is_empty()) {
        let _ = writeln!(text, "    {sentence}");
    }
    for file in &reason.binaries {
        let _ = writeln!(text, "{:>10} {file}", file.samples);
    }
    if reason.other.binaries > 0 {
        let _ = writeln!(text, "{:>10} in {} more files", reason.other.samples, reason.other.binaries);
    }
}

fn percent(part: u64, whole: u64) -> f64 {
    part as f64 * 100.0 / whole as f64
}

#[cfg(test)]
mod tests {
    use store::model::{Frame, FrameKind, NodeId, ProfileBuilder, RowKey, StringId, Unwound};

    use super::*;

    /// Stacks of one function each that end in `no_unwind_row`: (path of the file, function, samples).
    fn profile(stacks: &[(&str, &str, u64)]) -> store::model::Profile {
        let mut b = ProfileBuilder::default();
        let labels = vec![(b.string("process"), b.string("app"))];
        let series = b.cpu_series(labels, 10);
        let status = b.string("no_unwind_row");
        for (path, function, samples) in stacks {
            let path = b.string(path);
            let binary = b.binary(store::model::Binary { path, build_id: StringId::EMPTY });
            let plain = Frame {
                kind: FrameKind::Native,
                unwound: Unwound::Leaf,
                function: b.string(function),
                system_name: StringId::EMPTY,
                file: StringId::EMPTY,
                line: 0,
                binary: Some(binary),
                address: 0,
            };
            let function = b.string("[no unwind row]");
            let mark = b.frame(Frame { kind: FrameKind::Truncated, function, binary: None, ..plain });
            let (mark, frame) = (b.child(NodeId::ROOT, mark), b.frame(plain));
            let node = b.child(mark, frame);
            b.add(RowKey { series, node, status, ..RowKey::default() }, *samples, 0, &[]);
        }
        b.finish(0, 1000)
    }

    #[test]
    fn incomplete_stacks_are_told_with_reason_remedy_and_the_files_behind_them() {
        let files = ["/l/a.so", "/l/b.so", "/l/c.so", "/l/d.so", "/l/e.so", "/l/f.so", "/l/g.so"];
        let stacks: Vec<_> =
            files.iter().enumerate().map(|(i, path)| (*path, "step", 20 - i as u64)).collect();
        let profile = profile(&stacks);
        let truth = Truth::new(&profile, 5);
        let summary = Summary {
            samples_taken: 1000,
            samples_stored: 1000,
            lost: BTreeMap::new(),
            user_stacks: 500,
            complete: 376,
            incomplete: BTreeMap::from([("no_registers", 5), ("no_unwind_row", 119)]),
            incomplete_binaries: binaries(&truth),
            duration_s: 1.0,
            agent_cpu_s: 0.1,
            maps_reads: 1,
            maps_read_s: 0.01,
            bpf_ns_per_sample: None,
            bpf_parts: Vec::new(),
            rss_bytes: 1,
            missed_ticks: Some(2),
            frequency_hz: 99,
            event: "cpu-clock",
            cpus: 2,
            unwind_tables: UnwindTablesSummary::default(),
            output: None,
            command_exit: None,
            top: TopTable::new(&profile, 3),
        };
        let reason = ui::truth::reasons::known("no_unwind_row", &ui::truth::reasons::INCOMPLETE).unwrap();
        let expected = format!(
            "75.2 % of 500 user stacks complete\n  incomplete, no unwind row: 119 (23.8 %)\n    {}\n    {}\n\
            \x20       20 in a.so, at step, of app\n        19 in b.so, at step, of app\n\
            \x20       18 in c.so, at step, of app\n        17 in d.so, at step, of app\n\
            \x20       16 in e.so, at step, of app\n        29 in 2 more files\n\
            \x20 incomplete, no registers: 5 (1.0 %)\n",
            reason.text, reason.advice
        );
        let told = summary.told(&truth);
        assert!(told.contains(&expected), "{told}");
        assert!(told.contains("  2 ticks of the clock (1.0 %) never came"), "{told}");
        let json = serde_json::to_value(&summary).unwrap();
        let behind = &json["incomplete_binaries"]["no_unwind_row"];
        assert_eq!(behind.as_array().unwrap().len(), 5);
        assert_eq!((&behind[0]["binary"], &behind[0]["samples"]), (&"/l/a.so".into(), &20.into()));
    }
}
