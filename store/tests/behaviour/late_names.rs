//! Names that come after the samples: they change names, and nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use store::model::*;
use store::{Nameless, Pace, Selector, Store, TimeRange};

use crate::common::{NOON, Random};

const BUILD_ID: &str = "00112233445566778899aabbccddeeff00112233";

/// A window of stacks that go through places without names, and others.
fn window(start_ms: i64, host: &str) -> Profile {
    let mut b = ProfileBuilder::default();
    let mut random = Random(start_ms as u64);
    let binary = |b: &mut ProfileBuilder, build_id: &str| {
        let (path, build_id) = (b.string("/usr/bin/bare"), b.string(build_id));
        b.binary(Binary { path, build_id })
    };
    let (known, unknown) = (binary(&mut b, BUILD_ID), binary(&mut b, ""));
    let mut frames = Vec::new();
    for (name, system_name, binary, address) in [
        ("main", "main", known, 0x100),
        ("[bare+0x200]", "", known, 0x200),
        ("[bare+0x300]", "", known, 0x300),
        ("[bare+0x400]", "", known, 0x400),
        ("[bare+0x500]", "", unknown, 0x500),
        ("[jit]", "", known, 0x600),
        ("zebra", "zebra", known, 0x700),
    ] {
        let (function, system_name) = (b.string(name), b.string(system_name));
        frames.push(b.frame(Frame {
            kind: FrameKind::Native,
            unwound: Unwound::Table,
            function,
            system_name,
            file: StringId::EMPTY,
            line: 0,
            binary: Some(binary),
            address,
        }));
    }
    let labels = vec![(b.string("host"), b.string(host)), (b.string("process"), b.string("bare"))];
    let series = b.cpu_series(labels, 10);
    let status = b.string(STATUS_COMPLETE);
    for _ in 0..60 {
        let mut node = NodeId::ROOT;
        for _ in 0..1 + random.below(6) {
            node = b.child(node, *random.pick(&frames));
        }
        let time_ms = start_ms + random.below(10) as i64 * 1000;
        let key = RowKey { series, node, pid: 7, tid: 7, thread: StringId::EMPTY, status, time_ms };
        let offset_ms = random.below(1000) as u16;
        b.add(key, 1, 10, &[Exact { offset_ms, cpu: 0 }]);
    }
    b.finish(start_ms, start_ms + 10_000)
}

fn filled(dir: &Path) -> Store {
    let store = Store::open_writer(dir).expect("a store");
    for n in 0..3 {
        store.append(&window(NOON + n * 10_000, "a")).expect("a segment");
    }
    store
}

fn late() -> LateNames {
    let name = |function: &str, inlined| LateName {
        function: function.to_owned(),
        system_name: format!("_{function}"),
        file: "bare.c".to_owned(),
        line: 7,
        inlined,
    };
    let mut late = LateNames::default();
    // Names that come before and after all others in the order of frames.
    late.insert(
        BUILD_ID,
        0x200,
        vec![name("aa_inner", true), name("zz_middle", true), name("aa_outer", false)],
    );
    late.insert(BUILD_ID, 0x300, vec![name("zzz", false)]);
    late.insert(BUILD_ID, 0x100, vec![name("not_asked_for", false)]);
    late.insert("ff", 0x400, vec![name("of_another_build", false)]);
    late.insert(BUILD_ID, 0x400, Vec::new());
    late
}

/// Samples by stack, time and exact times, with late names spelled as places again if `undo`.
fn samples(store: &Store, undo: bool) -> BTreeMap<String, u64> {
    let answer = store.query(&Selector::all(), TimeRange::ALL, Keep::ALL).expect("an answer");
    assert_eq!(answer.skipped, []);
    let profile = &answer.profile;
    let mut samples = BTreeMap::new();
    for row in &profile.rows {
        let frames = profile.stacks.leaf_to_root(row.key.node).map(|id| profile.frame(id));
        let mut names: Vec<String> = Vec::new();
        for frame in frames {
            let name = profile.text(frame.function);
            match name {
                "aa_inner" | "zz_middle" if undo => assert_eq!(frame.kind, FrameKind::Inlined),
                "aa_outer" if undo => names.push("[bare+0x200]".to_owned()),
                "zzz" if undo => names.push("[bare+0x300]".to_owned()),
                name => names.push(name.to_owned()),
            }
        }
        let times: Vec<_> = profile.exact_of(row).iter().map(|exact| exact.offset_ms).collect();
        let key = format!("{} {:?} {}", row.key.time_ms, times, names.join(";"));
        *samples.entry(key).or_default() += row.samples;
    }
    samples
}

fn name_all(store: &Store) -> usize {
    let segments = store.nameable(TimeRange::ALL).expect("segments");
    let pace = Pace::default();
    segments
        .iter()
        .filter(|segment| store.name_late(segment, &late(), &pace).expect("names").is_some())
        .count()
}

#[test]
fn only_places_of_files_with_a_build_id_are_nameless() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    let segment = &store.nameable(TimeRange::ALL).unwrap()[0];
    let nameless: Nameless = store.nameless(segment).unwrap();
    assert_eq!(nameless.len(), 1);
    let (file, places) = nameless.first_key_value().unwrap();
    assert_eq!((&*file.build_id, &*file.path), (BUILD_ID, "/usr/bin/bare"));
    assert_eq!(places.iter().copied().collect::<Vec<_>>(), [0x200, 0x300, 0x400]);
}

#[test]
fn names_go_to_their_places_and_samples_stay_what_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    let before = samples(&store, false);
    assert_eq!(name_all(&store), 3);
    let named = samples(&store, false);
    assert!(named.keys().any(|stack| stack.contains("aa_inner;zz_middle;aa_outer")), "innermost first");
    assert!(!named.keys().any(|stack| stack.contains("[bare+0x200]") || stack.contains("not_asked_for")));
    assert!(named.keys().any(|stack| stack.contains("[bare+0x400]") && !stack.contains("another")));
    assert_eq!(samples(&store, true), before);
    assert_eq!(samples(&Store::open_reader(dir.path()).unwrap(), true), before);
    assert_eq!(store.check(|_| true).unwrap().bad, [], "rows are in their order, and all sums are right");
    assert_eq!(store.segments().unwrap().len(), 3);
}

#[test]
fn merging_goes_on_with_names_and_merged_segments_get_some() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (store, later) = (filled(dir.path()), filled(other.path()));
    for store in [&store, &later] {
        for n in 0..3 {
            store.append(&window(NOON + n * 300_000, "b")).unwrap();
        }
    }
    let now = NOON + 3 * 3_600_000;
    name_all(&store);
    store.compact(now).unwrap();
    later.compact(now).unwrap();
    assert_eq!(name_all(&later), later.segments().unwrap().len());
    assert_eq!(samples(&store, false), samples(&later, false), "before or after merging");
    for store in [&store, &later] {
        assert_eq!(store.check(|_| true).unwrap().bad, []);
        assert!(
            store.segments().unwrap().iter().any(|segment| segment.level() == 2),
            "an hour, with rollups"
        );
        let step = store.segments().unwrap()[0].clone();
        let rollup = store.rollup(&step, 300_000).unwrap().expect("an hour has one");
        assert!(rollup.strings.find("aa_outer").is_some());
    }
}

#[test]
fn a_crash_before_the_old_segment_is_deleted_changes_no_answer() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    let segment = store.nameable(TimeRange::ALL).unwrap()[1].clone();
    let aside = tempfile::tempdir().unwrap();
    for file in fs::read_dir(segment.path()).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), aside.path().join(file.file_name())).unwrap();
    }
    store.name_late(&segment, &late(), &Pace::default()).unwrap().expect("another one");
    let named = samples(&store, false);
    drop(store);
    fs::create_dir_all(segment.path()).unwrap();
    for file in fs::read_dir(aside.path()).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), segment.path().join(file.file_name())).unwrap();
    }
    assert_eq!(samples(&Store::open_reader(dir.path()).unwrap(), false), named);
    let writer = Store::open_writer(dir.path()).unwrap();
    assert!(!segment.path().exists(), "the next writer deletes it");
    assert_eq!(samples(&writer, false), named);
}

#[test]
fn a_segment_that_is_gone_gets_no_names_and_a_reader_writes_none() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    let segment = store.nameable(TimeRange::ALL).unwrap()[0].clone();
    let pace = Pace::default();
    store.name_late(&segment, &late(), &pace).unwrap().expect("another one");
    assert!(store.name_late(&segment, &late(), &pace).unwrap().is_none());
    assert_eq!(store.nameless(&segment).unwrap(), Nameless::new());
    let over = Pace::default().until(|| true);
    let next = store.nameable(TimeRange::ALL).unwrap()[1].clone();
    assert!(store.name_late(&next, &late(), &over).unwrap().is_none(), "nothing is begun at the end");
    drop(store);
    assert!(Store::open_reader(dir.path()).unwrap().name_late(&next, &late(), &pace).is_err());
}
