//! The processed profile format of the Firefox Profiler, as its docs-developer/processed-profile-format.md and
//! src/types/profile.ts have it, at version 61; newer versions of the profiler read it, too.
//!
//! Written by hand, for the published fxprof-processed-profile (0.8) has no place for inlined functions, source
//! files and lines, nor for names beside addresses.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Value, json};
use store::model::{FrameKind, NodeId, Profile, UNIT_NANOSECONDS};

use super::firefox_tables::Shared;
use super::period_ns;
use super::threads::{Moment, Thread, Threads};

/// The version of the format that is written.
const VERSION: u32 = 61;

/// Categories of frames, in the order of [`category`]; the first one must be grey.
const CATEGORIES: [(&str, &str); 6] = [
    ("Other", "grey"),
    ("User", "yellow"),
    ("Kernel", "orange"),
    ("JIT", "blue"),
    ("Interpreted", "green"),
    ("Missing callers", "red"),
];

/// A frame's place in [`CATEGORIES`]; an inlined function is what it is inlined into.
pub(super) fn category(kind: FrameKind) -> u32 {
    match kind {
        FrameKind::Native | FrameKind::Inlined => 1,
        FrameKind::Kernel => 2,
        FrameKind::Jit => 3,
        FrameKind::Interpreted => 4,
        FrameKind::Truncated => 5,
    }
}

/// Writes a profile: a track for each thread.
pub fn firefox(profile: &Profile, title: &str, out: &mut dyn Write) -> io::Result<()> {
    let threads = Threads::new(profile);
    let shared = Shared::new(profile);
    let libs = libs(profile);
    let tracks: Vec<_> = threads.all.iter().map(|thread| track(&threads, thread, profile)).collect();
    let file = File {
        meta: meta(profile, &threads, title),
        libs,
        shared,
        threads: tracks,
        pages: [],
        counters: [],
        profiler_overhead: [],
    };
    serde_json::to_writer(out, &file).map_err(io::Error::from)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct File {
    meta: Value,
    libs: Vec<Value>,
    shared: Shared,
    threads: Vec<Track>,
    pages: [(); 0],
    counters: [(); 0],
    profiler_overhead: [(); 0],
}

fn meta(profile: &Profile, threads: &Threads<'_>, title: &str) -> Value {
    let categories =
        CATEGORIES.map(|(name, color)| json!({ "name": name, "color": color, "subcategories": ["Other"] }));
    let mut meta = json!({
        "interval": period_ns(profile) as f64 / 1e6,
        "startTime": profile.start_ms,
        "profilingStartTime": 0,
        "profilingEndTime": profile.end_ms.saturating_sub(profile.start_ms),
        "processType": 0,
        "product": title,
        "importedFrom": "Vesta",
        "stackwalk": 1,
        "debug": false,
        "version": 24,
        "preprocessedProfileVersion": VERSION,
        "categories": categories,
        "markerSchema": [],
        "extensions": { "length": 0, "baseURL": [], "id": [], "name": [] },
        "sampleUnits": { "time": "ms", "eventDelay": "ms", "threadCPUDelta": "ns" },
        // Names are here already.
        "symbolicated": true,
        "usesOnlyOneStackType": true,
        "sourceCodeIsNotOnSearchfox": true,
        "extra": [{ "label": "Labels", "entries": labels(profile) }],
    });
    if !threads.all.is_empty() {
        meta["initialSelectedThreads"] = json!([0]);
    }
    meta
}

/// The labels that all samples share; the format has none of its own.
fn labels(profile: &Profile) -> Vec<Value> {
    let mut shared: BTreeMap<&str, Option<&str>> = BTreeMap::new();
    let mut first = true;
    for series in &profile.series {
        let labels: BTreeMap<_, _> =
            series.labels.iter().map(|(n, v)| (profile.text(*n), profile.text(*v))).collect();
        if first {
            shared.extend(labels.iter().map(|(name, value)| (*name, Some(*value))));
            first = false;
        }
        for (name, value) in &mut shared {
            if labels.get(name) != value.as_ref() {
                *value = None;
            }
        }
    }
    let shared = shared.into_iter().filter_map(|(name, value)| Some((name, value?)));
    shared.map(|(name, value)| json!({ "label": name, "format": "string", "value": value })).collect()
}

/// Binaries, in the order of the profile's.
fn libs(profile: &Profile) -> Vec<Value> {
    let lib = |binary: &store::model::Binary| {
        let (path, build_id) = (profile.text(binary.path), profile.text(binary.build_id));
        let name = path.rsplit('/').next().unwrap_or(path);
        json!({
            "arch": "", "name": name, "path": path, "debugName": name, "debugPath": path,
            "breakpadId": breakpad_id(build_id),
            "codeId": if build_id.is_empty() { Value::Null } else { build_id.into() },
        })
    };
    profile.binaries.iter().map(lib).collect()
}

/// The debug ID of a GNU build ID (`[0-9a-f]*`): its first 16 bytes as a GUID in little endian, then an age of 0.
fn breakpad_id(build_id: &str) -> String {
    let digits: String =
        build_id.chars().filter(char::is_ascii_hexdigit).chain("0".repeat(32).chars()).collect();
    let pair = |i: usize| &digits[2 * i..2 * i + 2];
    let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let guid: String = order.map(pair).concat();
    format!("{}0", guid.to_uppercase())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Track {
    process_type: &'static str,
    process_startup_time: i64,
    process_shutdown_time: Option<i64>,
    register_time: i64,
    unregister_time: Option<i64>,
    paused_ranges: [(); 0],
    name: String,
    is_main_thread: bool,
    process_name: String,
    pid: String,
    tid: String,
    samples: Samples,
    markers: Value,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Samples {
    length: usize,
    /// Nodes of the stack table; null for samples without a stack.
    stack: Vec<Option<u32>>,
    /// Milliseconds since the profile's start.
    time: Vec<i64>,
    weight: Vec<f64>,
    weight_type: &'static str,
    /// Nanoseconds of CPU time since the last sample, by which threads and their graphs are weighed.
    #[serde(rename = "threadCPUDelta", skip_serializing_if = "Option::is_none")]
    thread_cpu_delta: Option<Vec<i64>>,
}

fn track(threads: &Threads<'_>, thread: &Thread, profile: &Profile) -> Track {
    let key = &thread.key;
    let counted = profile.period_ns(key.series) > 0;
    let unit = threads.value_type(key).unit;
    let weight = |moment: &Moment| match unit {
        _ if counted => moment.samples as f64,
        UNIT_NANOSECONDS => moment.value as f64 / 1e6,
        _ => moment.value as f64,
    };
    let moments = &thread.moments;
    let name = threads.thread(key);
    Track {
        process_type: "default",
        process_startup_time: 0,
        process_shutdown_time: None,
        register_time: 0,
        unregister_time: None,
        paused_ranges: [],
        name,
        is_main_thread: key.pid == key.tid,
        process_name: threads.process(key),
        pid: threads.process_id(key),
        tid: key.tid.to_string(),
        samples: Samples {
            length: moments.len(),
            stack: moments.iter().map(|moment| row_of(moment.node)).collect(),
            time: moments.iter().map(|m| m.time_ms.saturating_sub(profile.start_ms)).collect(),
            weight: moments.iter().map(weight).collect(),
            weight_type: match unit {
                _ if counted => "samples",
                UNIT_NANOSECONDS => "tracing-ms",
                "bytes" => "bytes",
                _ => "samples",
            },
            thread_cpu_delta: counted.then(|| moments.iter().map(|moment| moment.value).collect()),
        },
        markers: json!({
            "length": 0, "data": [], "name": [], "startTime": [], "endTime": [], "phase": [], "category": [],
        }),
    }
}

/// The row of a node in the stack table, which has no root.
pub(super) fn row_of(node: NodeId) -> Option<u32> {
    node.0.checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_id_becomes_a_debug_id() {
        let id = breakpad_id("0123456789abcdef0123456789abcdef01234567");
        assert_eq!(id, "67452301AB89EFCD0123456789ABCDEF0");
        assert_eq!(breakpad_id(""), format!("{}0", "0".repeat(32)));
        assert_eq!(breakpad_id("é7").len(), 33);
    }
}
