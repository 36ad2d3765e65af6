//! What is exported and imported again is the same profile.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use pprof::protos;
use proptest::prelude::*;
use prost::Message;
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
    /// Values of another type than CPU time: which one, and how much.
    other: Option<(usize, i64)>,
}

/// Types of values beside CPU time: event and unit.
const OTHERS: [(&str, &str); 4] =
    [("alloc_space", "bytes"), ("off_cpu", "nanoseconds"), ("alloc_objects", "count"), ("io", "seconds")];

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
    let other = (0..OTHERS.len(), prop_oneof![1i64..1 << 40, Just(1i64 << 56), -1000i64..0]);
    (prop::collection::vec(place(), 0..8), who, 1u64..1_000_000, prop::option::of(other)).prop_map(
        |(places, (labels, ids, thread, reason), samples, other)| Sample {
            places,
            labels,
            ids,
            thread,
            reason,
            samples,
            other,
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
        let event = sample.other.map_or("cpu", |(of, _)| OTHERS[of].0);
        labels.push((b.string("event"), b.string(event)));
        let series = match sample.other {
            None => b.cpu_series(labels, PERIOD_NS),
            Some((of, _)) => {
                let unit = b.string(OTHERS[of].1);
                b.series(Series { labels, unit, period: Period::default() })
            }
        };
        let status = b.string(sample.reason.unwrap_or("complete"));
        let (pid, tid) = sample.ids;
        let key =
            RowKey { series, node, pid, tid, thread: b.string(&sample.thread), status, time_ms: START_MS };
        let value = sample.other.map_or(sample.samples as i64 * PERIOD_NS, |(_, value)| value);
        b.add(key, sample.samples, value, &[]);
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
        *sum = (sum.0 + row.samples, sum.1.wrapping_add(row.value));
    }
    told
}

fn written(format: Format, profile: &Profile) -> Vec<u8> {
    let mut bytes = Vec::new();
    format.write(profile, &RenderOptions::default(), &mut bytes).unwrap();
    bytes
}

/// What a file says of samples and values by stack, read by its protocol alone.
fn raw(file: &[u8]) -> BTreeMap<String, (i64, i64)> {
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(file).read_to_end(&mut bytes).unwrap();
    let profile = protos::Profile::decode(&*bytes).unwrap();
    let text = |id: i64| profile.string_table[id as usize].as_str();
    assert_eq!(text(0), "");
    // Ids are places, counted from 1.
    for (place, id) in profile.mapping.iter().map(|of| of.id).enumerate() {
        assert_eq!(id, place as u64 + 1);
    }
    let frames = |id: &u64| -> Vec<String> {
        let location = &profile.location[*id as usize - 1];
        let mapping = location.mapping_id.checked_sub(1).map(|place| &profile.mapping[place as usize]);
        let file = mapping.map_or(("", ""), |of| (text(of.filename), text(of.build_id)));
        // Addresses are the file's own: subtracting where it is mapped changes nothing.
        assert!(mapping.is_none_or(|of| (of.memory_start, of.file_offset) == (0, 0)));
        let line = |line: &protos::Line| {
            let function = &profile.function[line.function_id as usize - 1];
            let names = [function.name, function.system_name, function.filename].map(text);
            format!("{names:?} {} {file:?} {:x}", line.line, location.address)
        };
        location.line.iter().map(line).collect()
    };
    let mut found = BTreeMap::new();
    for sample in &profile.sample {
        let label = |label: &protos::Label| match label.str {
            0 => format!("{}={}", text(label.key), label.num),
            value => format!("{}={}", text(label.key), text(value)),
        };
        let labels: BTreeSet<_> = sample.label.iter().map(label).collect();
        let stack: Vec<_> = sample.location_id.iter().flat_map(frames).collect();
        for (of, value) in profile.sample_type.iter().zip(&sample.value).skip(1) {
            if *value != 0 {
                let line = format!("{} {} {labels:?} {stack:#?}", text(of.ty), text(of.unit));
                let sum: &mut (i64, i64) = found.entry(line).or_default();
                *sum = (sum.0 + sample.value[0], sum.1.wrapping_add(*value));
            }
        }
    }
    found
}

/// The same of a profile.
fn expected(profile: &Profile) -> BTreeMap<String, (i64, i64)> {
    let text = |id: StringId| profile.text(id);
    let mut found = BTreeMap::new();
    for row in &profile.rows {
        let key = &row.key;
        let series = profile.series(key.series);
        let own = series.labels.iter().map(|(name, value)| (text(*name), text(*value).to_owned()));
        let ids = [("pid", key.pid), ("tid", key.tid)].map(|(name, id)| (name, id.to_string()));
        let row_labels = [("thread", text(key.thread).to_owned()), ("status", text(key.status).to_owned())];
        let labels = own.chain(row_labels).chain(ids.into_iter().filter(|(_, id)| id != "0"));
        let labels = labels.filter(|(_, value)| !value.is_empty());
        let labels: BTreeSet<_> = labels.map(|(name, value)| format!("{name}={value}")).collect();
        let frame = |id: FrameId| {
            let frame = profile.frame(id);
            // What is inlined lies where the function that it is inlined into does.
            let file = match (frame.binary.map(|id| profile.binary(id)), frame.kind) {
                (Some(binary), _) => (text(binary.path), text(binary.build_id)),
                (None, FrameKind::Jit) => ("[jit]", ""),
                (None, FrameKind::Interpreted) => ("[interpreted]", ""),
                (None, _) => ("", ""),
            };
            let names = [frame.function, frame.system_name, frame.file].map(text);
            (frame.kind, format!("{names:?} {}", frame.line), file, frame.address)
        };
        let mut stack: Vec<_> = profile.stacks.leaf_to_root(key.node).map(frame).collect();
        for at in (1..stack.len()).rev() {
            let (file, address) = (stack[at].2, stack[at].3);
            if stack[at - 1].0 == FrameKind::Inlined && stack[at - 1].3 == address {
                stack[at - 1].2 = file;
            }
        }
        let stack = stack.into_iter().map(|(_, line, file, address)| format!("{line} {file:?} {address:x}"));
        let mut stack: Vec<_> = stack.collect();
        if stack.is_empty() {
            stack.push(format!("{:?} 0 {:?} 0", ["[no stack]", "[no stack]", ""], ("", "")));
        }
        let (name, unit) = (profile.label(key.series, "event").unwrap(), text(series.unit));
        let line = format!("{name} {unit} {labels:?} {stack:#?}");
        let sum: &mut (i64, i64) = found.entry(line).or_default();
        *sum = (sum.0 + row.samples as i64, sum.1.wrapping_add(row.value));
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pprof_keeps_all_but_times(samples in prop::collection::vec(sample(), 1..12)) {
        let profile = build(&samples);
        let file = written(Format::Pprof, &profile);
        prop_assert_eq!(raw(&file), expected(&profile));
        let again = read(&*file, &Options::default()).unwrap();
        prop_assert_eq!(told(&again), told(&profile));
        prop_assert_eq!((again.start_ms, again.end_ms), (profile.start_ms, profile.end_ms));
        // And what was read is written alike.
        let twice = read(&*written(Format::Pprof, &again), &Options::default()).unwrap();
        prop_assert_eq!(told(&twice), told(&profile));
    }

    #[test]
    fn perf_script_and_folded_stacks_keep_every_sample(samples in prop::collection::vec(sample(), 1..6)) {
        let samples: Vec<_> =
            samples.into_iter().map(|s| Sample { samples: s.samples % 50 + 1, other: None, ..s }).collect();
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
        other: None,
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
