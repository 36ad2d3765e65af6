//! The agent's figures as Prometheus text. Names and meanings are documented in docs/operations.md.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::atomic::{AtomicU64, Ordering},
};

use ui::truth::reasons;

use crate::{
    account::{self, Resident, Totals},
    debuginfod::DebuginfodCounts,
    jit::JitCounts,
    kubernetes::PodCounts,
    late::LateCounts,
    unwind_tables::TableCounts,
};

pub(crate) struct Text(pub(crate) String);

impl Text {
    pub(crate) fn metric(&mut self, kind: &str, name: &str, help: &str, values: &[(String, f64)]) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in values {
            let _ = writeln!(self.0, "{name}{labels} {value}");
        }
    }

    pub(crate) fn counter(&mut self, name: &str, help: &str, value: f64) {
        self.metric("counter", name, help, &[(String::new(), value)]);
    }

    pub(crate) fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.metric("gauge", name, help, &[(String::new(), value)]);
    }
}

/// All figures, as of the last window that was stored. Values are far below 2^53, so that `f64` holds them exactly.
pub(crate) fn prometheus(totals: &Totals, uptime_s: f64) -> String {
    let mut text = Text(String::new());
    text.counter(
        "vesta_samples_taken_total",
        "Samples taken: stored and lost ones add up to it.",
        totals.samples_taken as f64,
    );
    text.counter(
        "vesta_samples_stored_total",
        "Samples that are in the store.",
        totals.samples_stored as f64,
    );
    let by_reason = |counts: &mut dyn Iterator<Item = (&&'static str, &u64)>| -> Vec<(String, f64)> {
        counts.map(|(reason, count)| (format!("{{reason=\"{reason}\"}}"), *count as f64)).collect()
    };
    let lost = by_reason(&mut totals.lost.iter());
    text.metric("counter", "vesta_samples_lost_total", "Samples lost, by reason.", &lost);
    text.counter(
        "vesta_user_stacks_total",
        "Stored samples with a user stack.",
        totals.tally.user_stacks as f64,
    );
    text.counter(
        "vesta_stacks_complete_total",
        "User stacks whose end is proven and that miss no caller.",
        totals.tally.complete as f64,
    );
    // A counter that appears with its first event hides that event from rate().
    let none = reasons::INCOMPLETE.iter().map(|reason| (reason.code, 0));
    let incomplete: BTreeMap<_, _> = none.chain(totals.tally.incomplete.clone()).collect();
    let incomplete = by_reason(&mut incomplete.iter());
    text.metric("counter", "vesta_stacks_incomplete_total", "Other user stacks, by reason.", &incomplete);
    text.counter("vesta_agent_cpu_seconds_total", "CPU time of this process.", account::cpu_seconds());
    if let Some(ns) = totals.bpf_ns {
        text.counter(
            "vesta_bpf_seconds_total",
            "Time in the BPF program, all CPUs together.",
            ns as f64 / 1e9,
        );
    }
    if let Some(missed) = totals.missed_ticks {
        text.counter(
            "vesta_missed_ticks_total",
            "Ticks of the clock that never came, of idle CPUs too.",
            missed as f64,
        );
    }
    text.counter(
        "vesta_kernel_walks_handed_over_total",
        "Kernel stacks that the kernel's own, slower walk was asked for.",
        totals.kernel_walks_handed_over as f64,
    );
    let resident = Resident::now();
    for (name, help, value) in [
        ("vesta_agent_resident_bytes", "Resident memory of this process.", resident.all),
        ("vesta_agent_resident_own_bytes", "Of this, its heap and stacks.", resident.own()),
        (
            "vesta_agent_resident_shared_bytes",
            "Of this, pages of files and buffers shared with the kernel.",
            resident.shared,
        ),
    ] {
        text.gauge(name, help, value as f64);
    }
    text.gauge("vesta_processes", "Processes known.", totals.processes.known as f64);
    text.counter(
        "vesta_proc_maps_reads_total",
        "Reads of /proc/PID/maps.",
        totals.processes.maps_reads as f64,
    );
    text.counter(
        "vesta_proc_maps_read_seconds_total",
        "Time for reading them.",
        totals.processes.maps_read_ns as f64 / 1e9,
    );
    text.counter(
        "vesta_files_unopened_total",
        "Mapped files that could not be opened; their functions have no names.",
        totals.processes.unopened_files as f64,
    );
    text.counter(
        "vesta_processes_forgotten_total",
        "Processes forgotten for lack of room.",
        totals.processes.forgotten as f64,
    );
    jit(&mut text, &totals.processes.jit);
    unwind_tables(&mut text, &totals.tables);
    text.counter(
        "vesta_process_events_lost_total",
        "Process events that did not fit perf's rings.",
        totals.process_events_lost as f64,
    );
    text.counter(
        "vesta_cache_evictions_total",
        "Times a cache of names or unwind information was emptied for lack of room.",
        totals.cache_evictions as f64,
    );
    text.counter("vesta_windows_total", "Windows of samples that were closed.", totals.windows as f64);
    text.counter(
        "vesta_log_failures_total",
        "Times that samples could not be logged before their window closed.",
        totals.log_failures as f64,
    );
    text.gauge("vesta_uptime_seconds", "Time since the agent started.", uptime_s);
    text.0
}

/// Late names, and fetched debug info.
pub(crate) fn names(late: &LateCounts, fetched: Option<&DebuginfodCounts>) -> String {
    let mut text = Text(String::new());
    let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
    text.counter("vesta_late_names_total", "Stored places that got names late.", value(&late.named));
    text.counter(
        "vesta_segments_named_late_total",
        "Segments that others with late names took the place of.",
        value(&late.renamed),
    );
    let Some(counts) = fetched else { return text.0 };
    for (name, help, counter) in [
        ("vesta_debuginfod_fetched_total", "Files of debug info that were fetched.", &counts.fetched),
        ("vesta_debuginfod_unknown_total", "Build IDs that no server has.", &counts.unknown),
        ("vesta_debuginfod_failed_total", "Servers' errors, and answers that were refused.", &counts.failed),
        ("vesta_debuginfod_dropped_total", "Build IDs not asked for, as too many waited.", &counts.dropped),
        ("vesta_debuginfod_removed_total", "Fetched files removed for lack of room.", &counts.removed),
    ] {
        text.counter(name, help, value(counter));
    }
    text.0
}

/// What was asked of Kubernetes.
pub(crate) fn pods(counts: &PodCounts) -> String {
    let mut text = Text(String::new());
    let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
    text.counter("vesta_kubernetes_lists_total", "Lists of this node's pods.", value(&counts.lists));
    text.counter(
        "vesta_kubernetes_failed_total",
        "Errors of the API server, and answers that were none.",
        value(&counts.failed),
    );
    text.gauge("vesta_kubernetes_pods", "Pods that are known.", value(&counts.pods));
    text.gauge(
        "vesta_kubernetes_unknown",
        "Sampled containers that the API server does not know.",
        value(&counts.unknown),
    );
    text.0
}

fn jit(text: &mut Text, jit: &JitCounts) {
    for (name, help, value) in [
        ("vesta_jit_processes", "Processes whose perf maps or jitdump files are read.", jit.followed),
        ("vesta_jit_names", "Names of code made at run time.", jit.names),
        ("vesta_jit_name_bytes", "Bytes of these names.", jit.bytes),
    ] {
        text.gauge(name, help, value as f64);
    }
    for (name, help, value) in [
        ("vesta_jit_garbage_total", "Lines and records of these files that were skipped.", jit.garbage),
        ("vesta_jit_files_refused_total", "Times such a file was not a process's own, or none.", jit.refused),
        ("vesta_jit_names_dropped_total", "Names of such code dropped for lack of room.", jit.dropped),
    ] {
        text.counter(name, help, value as f64);
    }
}

fn unwind_tables(text: &mut Text, tables: &TableCounts) {
    let source = &tables.source;
    for (name, help, value) in [
        ("vesta_unwind_tables", "Files whose unwind table is in the kernel.", tables.tables),
        ("vesta_unwind_rows", "Rows of these tables.", tables.rows),
        ("vesta_unwind_table_bytes", "Bytes of these tables.", tables.bytes),
        ("vesta_unwind_map_bytes", "Bytes of all maps that tables lie in.", tables.map_bytes),
        ("vesta_unwind_tables_pending", "Files that samples wait for the table of.", tables.pending),
        ("vesta_unwind_cache_bytes", "Bytes of unwind tables on disk.", source.disk.bytes),
    ] {
        text.gauge(name, help, value as f64);
    }
    for (name, help, value) in [
        ("vesta_unwind_tables_built_total", "Unwind tables that were compiled.", source.built),
        (
            "vesta_unwind_tables_from_cache_total",
            "Unwind tables that were read from disk instead.",
            source.from_cache,
        ),
        (
            "vesta_unwind_tables_evicted_total",
            "Unwind tables given up for room; they come back when missed.",
            tables.evicted,
        ),
        ("vesta_unwind_tables_rebuilt_total", "Evicted tables that came back.", tables.rebuilt),
        (
            "vesta_unwind_tables_put_off_total",
            "Times a table waited, as all others had only just come.",
            tables.put_off,
        ),
    ] {
        text.counter(name, help, value as f64);
    }
    let by_reason = |reasons: &[(&str, u64)]| -> Vec<(String, f64)> {
        reasons.iter().map(|(reason, count)| (format!("{{reason=\"{reason}\"}}"), *count as f64)).collect()
    };
    let failed = by_reason(&tables.failed());
    let help = "Times a file got no unwind table, by reason.";
    text.metric("counter", "vesta_unwind_tables_failed_total", help, &failed);
    text.counter(
        "vesta_unwind_build_cpu_seconds_total",
        "CPU time for compiling unwind tables and reading them from disk.",
        source.cpu_ns as f64 / 1e9,
    );
    let removed = by_reason(&[("room", source.disk.removed), ("damaged", source.disk.corrupt)]);
    let help = "Unwind tables removed from disk, by reason.";
    text.metric("counter", "vesta_unwind_cache_removed_total", help, &removed);
    text.counter(
        "vesta_unwind_cache_errors_total",
        "Times the disk refused an unwind table.",
        source.disk.errors as f64,
    );
    text.counter(
        "vesta_unwind_processes_refused_total",
        "Times a process got no unwind tables for lack of room.",
        tables.refused as f64,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_there_from_the_start_and_has_words() {
        let mut totals = Totals::default();
        totals.tally.incomplete.insert("depth_limit", 7);
        let text = prometheus(&totals, 1.5);
        let lost = |code: &str| (format!("vesta_samples_lost_total{{reason=\"{code}\"}}"), 0);
        let incomplete = |code: &str| {
            let samples = if code == "depth_limit" { 7 } else { 0 };
            (format!("vesta_stacks_incomplete_total{{reason=\"{code}\"}}"), samples)
        };
        let expected: BTreeMap<_, _> = reasons::LOST
            .iter()
            .map(|reason| lost(reason.code))
            .chain(reasons::INCOMPLETE.iter().map(|reason| incomplete(reason.code)))
            .collect();
        let found: BTreeMap<_, _> = text
            .lines()
            .filter(|line| {
                ["vesta_samples_lost_total{", "vesta_stacks_incomplete_total{"]
                    .iter()
                    .any(|name| line.starts_with(name))
            })
            .filter_map(|line| line.rsplit_once(' '))
            .map(|(name, value)| (name.to_owned(), value.parse::<u64>().unwrap()))
            .collect();
        assert_eq!(found, expected, "each reason that is counted has words, and each with words is counted");
        assert!(text.contains("\nvesta_uptime_seconds 1.5\n"));
    }
}
