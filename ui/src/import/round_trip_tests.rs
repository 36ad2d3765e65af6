//! What is exported and imported again is the same profile.

use std::collections::BTreeMap;

use proptest::prelude::*;
use store::model::{
    Binary, Frame, FrameId, FrameKind, NodeId, Period, Profile, ProfileBuilder, RowKey, Series, StringId,
    Unwound,
};

use super::{Options, read};
use crate::render::{Format, RenderOptions};

const START_MS: i64 = 1_700_000_000_000;
const PERIOD_NS: i64 = 10_101_010;

/// A physical frame and the functions inlined into it, outermost first.
#[derive(Clone, Debug)]
struct Place {
    kind: FrameKind,
    binary: Option<(String, String)>,
    address: u64,
    functions: Vec<Function>,
}

#[derive(Clone, Debug)]
struct Function {
    name: String,
    system_name: String,
    file: String,
    line: u32,
}

#[derive(Clone, Debug)]
struct Sample {
    places: Vec<Place>,
    labels: BTreeMap<String, String>,
    ids: (u32, u32),
    thread: String,
    /// The reason of an incomplete stack, whose mark stands at its outer end.
    reason: Option<&'static str>,
    samples: u64,
    /// Bytes allocated instead of CPU time.
    bytes: Option<i64>,
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z_]{1,8}",
        Just("std::vec<int; 3>::push back(int) const".to_owned()),
        Just("<&T as Fn(u8)>::call".to_owned()),
        Just("🔥 x\n7".to_owned()),
        "\\PC{1,12}",
    ]
}

fn function() -> impl Strategy<Value = Function> {
    let file = prop_oneof![Just(String::new()), "/src/[a-z]{1,5}\\.(c|rs)"];
    (name(), prop_oneof![Just(String::new()), "_Z[a-z0-9]{1,9}"], file, 0u32..5000)
        .prop_map(|(name, system_name, file, line)| Function { name, system_name, file, line })
}

fn place() -> impl Strategy<Value = Place> {
    let id = prop_oneof![Just(String::new()), "[0-9a-f]{40}"];
    let file = ("/usr/(bin|lib)/[a-z]{1,6}( \\(deleted\\))?", id);
    let spot = prop_oneof![
        (file, 0u64..0x8000_0000).prop_map(|(binary, at)| (FrameKind::Native, Some(binary), at)),
        ("[0-9a-f]{40}", (1u64 << 63)..u64::MAX).prop_map(|(id, at)| (
            FrameKind::Kernel,
            Some(("[kernel]".to_owned(), id)),
            at
        )),
        (1u64..1 << 47).prop_map(|at| (FrameKind::Jit, None, at)),
        (0u64..9).prop_map(|at| (FrameKind::Interpreted, None, at)),
        (1u64..1 << 47).prop_map(|at| (FrameKind::Native, None, at)),
    ];
    (spot, prop::collection::vec(function(), 1..4)).prop_map(|((kind, binary, address), functions)| Place {
        kind,
        binary,
        address,
        functions,
    })
}

fn sample() -> impl Strategy<Value = Sample> {
    let labels = prop::collection::btree_map("(process|exe|host|cgroup|team|k8s\\.pod)", "\\PC{1,10}", 0..5);
    let reason = prop::option::of(prop_oneof![Just("no_frame_pointer"), Just("depth_limit")]);
    let who = (labels, any::<(u32, u32)>(), "\\PC{0,10}", reason);
    (prop::collection::vec(place(), 0..8), who, 1u64..1_000_000, prop::option::of(1i64..1 << 40)).prop_map(
        |(places, (labels, ids, thread, reason), samples, bytes)| Sample {
            places,
            labels,
            ids,
            thread,
            reason,
            samples,
            bytes,
        },
    )
}

fn push(b: &mut ProfileBuilder, node: NodeId, place: &Place) -> NodeId {
    let binary = place.binary.as_ref().map(|(path, id)| {
        let (path, build_id) = (b.string(path), b.string(id));
        b.binary(Binary { path, build_id })
    });
    place.functions.iter().enumerate().fold(node, |node, (depth, f)| {
        let frame = Frame {
            kind: if depth > 0 { FrameKind::Inlined } else { place.kind },
            unwound: Unwound::Synthetic,
            function: b.string(&f.name),
            system_name: b.string(&f.system_name),
            file: b.string(&f.file),
            line: f.line,
            binary,
            address: place.address,
        };
        let frame = b.frame(frame);
        b.child(node, frame)
    })
}

fn build(samples: &[Sample]) -> Profile {
    let mut b = ProfileBuilder::default();
    for sample in samples {
        let mut node = NodeId::ROOT;
        if let Some(reason) = sample.reason {
            let mark = super::frames::mark(&mut b, &format!("[{}]", reason.replace('_', " ")));
            node = b.child(node, mark);
        }
        for place in &sample.places {
            node = push(&mut b, node, place);
        }
        let mut labels: Vec<_> = sample.labels.iter().map(|(n, v)| (b.string(n), b.string(v))).collect();
        let event = if sample.bytes.is_some() { "alloc_space" } else { "cpu" };
        labels.push((b.string("event"), b.string(event)));
        let series = match sample.bytes {
            None => b.cpu_series(labels, PERIOD_NS),
            Some(_) => {
                let unit = b.string("bytes");
                b.series(Series { labels, unit, period: Period::default() })
            }
        };
        let status = b.string(sample.reason.unwrap_or("complete"));
        let (pid, tid) = sample.ids;
        let key =
            RowKey { series, node, pid, tid, thread: b.string(&sample.thread), status, time_ms: START_MS };
        b.add(key, sample.samples, sample.bytes.unwrap_or(sample.samples as i64 * PERIOD_NS), &[]);
    }
    b.finish(START_MS, START_MS + 10_000)
}

/// A profile as text without handles: everything that the format can tell.
fn told(profile: &Profile) -> BTreeMap<String, (u64, i64)> {
    let text = |id: StringId| profile.text(id);
    let frame = |id: FrameId| {
        let f = profile.frame(id);
        let binary = f.binary.map(|id| profile.binary(id)).map(|b| (text(b.path), text(b.build_id)));
        let names = [f.function, f.system_name, f.file].map(text);
        format!("{:?} {names:?} {} {binary:?} {:x}", f.kind, f.line, f.address)
    };
    let mut told = BTreeMap::new();
    for row in &profile.rows {
        let key = &row.key;
        let series = profile.series(key.series);
        let labels: BTreeMap<_, _> = series.labels.iter().map(|(n, v)| (text(*n), text(*v))).collect();
        let period = (series.period.every, text(series.period.event), text(series.period.unit));
        let frames: Vec<_> = profile.stacks.leaf_to_root(key.node).map(frame).collect();
        let ids = (key.pid, key.tid, text(key.thread), text(key.status), key.time_ms);
        let line = format!("{labels:?} {} {period:?} {ids:?} {frames:#?}", text(series.unit));
        let sum: &mut (u64, i64) = told.entry(line).or_default();
        *sum = (sum.0 + row.samples, sum.1 + row.value);
    }
    told
}

fn written(format: Format, profile: &Profile) -> Vec<u8> {
    let mut bytes = Vec::new();
    format.write(profile, &RenderOptions::default(), &mut bytes).unwrap();
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pprof_keeps_all_but_times(samples in prop::collection::vec(sample(), 1..12)) {
        let profile = build(&samples);
        let again = read(&*written(Format::Pprof, &profile), &Options::default()).unwrap();
        prop_assert_eq!(told(&again), told(&profile));
        prop_assert_eq!((again.start_ms, again.end_ms), (profile.start_ms, profile.end_ms));
        // And what was read is written alike.
        let twice = read(&*written(Format::Pprof, &again), &Options::default()).unwrap();
        prop_assert_eq!(told(&twice), told(&profile));
    }

    #[test]
    fn perf_script_and_folded_stacks_keep_every_sample(samples in prop::collection::vec(sample(), 1..6)) {
        let samples: Vec<_> =
            samples.into_iter().map(|s| Sample { samples: s.samples % 50 + 1, bytes: None, ..s }).collect();
        let profile = build(&samples);
        for format in [Format::PerfScript, Format::Folded] {
            let again = read(&*written(format, &profile), &Options::default()).unwrap();
            prop_assert_eq!(again.samples(), profile.samples());
        }
        let again = read(&*written(Format::PerfScript, &profile), &Options::default()).unwrap();
        let value = |p: &Profile| p.rows.iter().map(|row| row.value).sum::<i64>();
        prop_assert_eq!(value(&again), value(&profile));
        prop_assert_eq!(again.start_ms, START_MS);
    }
}

#[test]
fn perf_script_keeps_times_places_and_inlined_functions() {
    let function =
        |name: &str| Function { name: name.into(), system_name: "".into(), file: "".into(), line: 0 };
    let app = |address, functions: &[&str]| Place {
        kind: FrameKind::Native,
        binary: Some(("/usr/bin/app".to_owned(), String::new())),
        address,
        functions: functions.iter().map(|name| function(name)).collect(),
    };
    let kernel = Place {
        kind: FrameKind::Kernel,
        binary: Some(("[kernel]".to_owned(), String::new())),
        address: 0xffff_ffff_8100_0000,
        functions: vec![function("do_syscall_64")],
    };
    let sample = Sample {
        places: vec![app(0x1000, &["main"]), app(0x2000, &["outer", "inner (of it)"]), kernel],
        labels: BTreeMap::from([("process".to_owned(), "app 7".to_owned())]),
        ids: (12, 12),
        thread: "app 7".to_owned(),
        reason: Some("no_frame_pointer"),
        samples: 2,
        bytes: None,
    };
    let profile = build(&[sample]);
    let mut bytes = written(Format::PerfScript, &profile);
    let again = read(&*bytes, &Options::default()).unwrap();
    let stacks = |p: &Profile| {
        told(p).into_keys().map(|line| line.split_once('}').unwrap().1.to_owned()).collect::<Vec<_>>()
    };
    // Only the event is called as perf calls it.
    assert_eq!(stacks(&again), stacks(&profile));
    assert_eq!(again.label(again.rows[0].key.series, "event"), Some("cpu-clock"));
    assert_eq!(again.label(again.rows[0].key.series, "process"), Some("app 7"));
    assert_eq!(again.exact_of(&again.rows[0]).len(), 2);
    // Cut within its stacks, it is fewer samples or an error.
    while bytes.pop().is_some() && bytes.len() > 80 {
        if let Ok(part) = read(&*bytes, &Options::default()) {
            assert!(part.samples() <= 2);
        }
    }
}
