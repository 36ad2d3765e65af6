//! The query engine gives the answers that a slow look at every row gives.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use store::model::{Keep, Profile, ProfileBuilder, Row, STATUS_COMPLETE};
use store::{
    Cancel, Error, FunctionName, LanesBy, Limits, OtherLanes, Progress, Selector, Side, Store, TimeRange,
    label_text,
};

use crate::common::{NOON, Random, at_times, plain, window};

const SELECTORS: [&str; 9] = [
    "",
    r#"process="nginx""#,
    r#"process=~"redis.*|nginx""#,
    r#"status!="complete""#,
    r#"process="nginx" and pid="4711" or status="depth_limit""#,
    r#"thread=~".*o.*", process!="""#,
    r#"tid!~"4.*""#,
    r#"nosuch="", zone=~"z[12]""#,
    r#"process="nobody""#,
];

/// A store of several segments, some of them merged, and a window in memory.
fn filled(seed: u64) -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().expect("a store");
    let store = Store::open_writer(dir.path()).expect("a store");
    let mut random = Random(seed);
    let windows = 3 + random.below(5) as i64;
    for n in 0..windows {
        let rows = 20 + random.below(300) as usize;
        store.append(&window(random.below(u64::MAX), NOON + n * 10_000, rows)).expect("a store");
        if n == windows / 2 && random.below(2) == 0 {
            store.compact(NOON + 3_600_000).expect("a store");
        }
    }
    let head = window(random.below(u64::MAX), NOON + windows * 10_000, 50);
    store.publish_head(Some(head.into()));
    (dir, store)
}

fn range(from_ms: i64, until_ms: i64) -> TimeRange {
    TimeRange::new(from_ms, until_ms).expect("a range")
}

/// Every row of a range as it is stored.
fn rows(store: &Store, selector: &Selector, range: TimeRange) -> Profile {
    store.query(selector, range, Keep::ALL).expect("a store").profile
}

fn threads_of(store: &Store, threads: usize) -> Store {
    store.with_limits(Limits { threads, ..Limits::default() })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn counting_by_stack_is_the_same_as_merging_every_row(
        seed in any::<u64>(),
        from in -1_000i64..80_000,
        length in 1i64..90_000,
        threads in any::<bool>(),
    ) {
        let (_dir, store) = filled(seed);
        for from_ms in [NOON + from, NOON + from - from.rem_euclid(10_000)] {
            let range = range(from_ms, from_ms + length);
            for text in SELECTORS {
                let selector = Selector::parse(text).unwrap();
                let keep = Keep { threads, ..Keep::STACKS };
                let mut slow = ProfileBuilder::default();
                slow.merge(&rows(&store, &selector, range), keep, range.as_range(), |_| true);
                let slow = plain(&slow.finish(range.from_ms, range.until_ms));
                for workers in [1, 3] {
                    let fast = threads_of(&store, workers).query(&selector, range, keep).unwrap();
                    prop_assert_eq!(&plain(&fast.profile), &slow, "{} {:?}", text, range);
                    prop_assert!(fast.skipped.is_empty());
                }
            }
        }
    }

    #[test]
    fn counting_by_a_label_keeps_every_sample_and_no_other_label(seed in any::<u64>(), from in 0i64..60_000) {
        let (_dir, store) = filled(seed);
        let range = range(NOON + from, NOON + 70_000);
        for by in ["process", "zone", "nosuch", "thread", "status"] {
            let found = store.query_by(&Selector::all(), range, by).unwrap().profile;
            let all = rows(&store, &Selector::all(), range);
            let lines = |p: &Profile| {
                let mut sums: BTreeMap<String, (u64, i64)> = BTreeMap::new();
                for row in &p.rows {
                    let stack: Vec<_> =
                        p.stacks.leaf_to_root(row.key.node).map(|id| p.text(p.frame(id).function)).collect();
                    let key = format!("{} {} {stack:?}", label_text(p, &row.key, by), p.text(row.key.status));
                    let sum = sums.entry(key).or_default();
                    *sum = (sum.0 + row.samples, sum.1 + row.value);
                }
                sums
            };
            prop_assert_eq!(lines(&found), lines(&all), "{}", by);
            let labels = found.series.iter().flat_map(|series| &series.labels);
            prop_assert!(labels.map(|(name, _)| found.text(*name)).all(|name| name == by || name == "event"));
        }
    }

    #[test]
    fn timelines_and_label_values_are_the_sums_of_every_row(
        seed in any::<u64>(),
        from in -1_000i64..80_000,
        length in 1i64..90_000,
        step in 1i64..40_000,
    ) {
        let (_dir, store) = filled(seed);
        let range = range(NOON + from, NOON + from + length);
        for text in SELECTORS {
            let selector = Selector::parse(text).unwrap();
            let all = rows(&store, &selector, range);
            for by in ["process", "pid", "thread", "status", "zone", "nosuch"] {
                let timeline = store.timeline(&selector, range, step, by, usize::MAX).unwrap();
                let mut sums: BTreeMap<String, Vec<u64>> = BTreeMap::new();
                let mut complete = vec![0; timeline.complete.len()];
                each_sample(&all, |row, time, samples| {
                    let bucket = ((time - range.from_ms) / timeline.step_ms) as usize;
                    let value = label_text(&all, &row.key, by).into_owned();
                    sums.entry(value).or_insert_with(|| vec![0; complete.len()])[bucket] += samples;
                    if all.text(row.key.status) == STATUS_COMPLETE {
                        complete[bucket] += samples;
                    }
                });
                let found: BTreeMap<_, _> =
                    timeline.groups.iter().map(|group| (group.value.clone(), group.samples.clone())).collect();
                prop_assert_eq!(&found, &sums, "{} {}", text, by);
                prop_assert_eq!(&timeline.complete, &complete);
                let values: BTreeMap<_, _> = store.label_values(by, &selector, range).unwrap().into_iter().collect();
                let totals: BTreeMap<_, u64> = sums.iter().map(|(v, s)| (v.clone(), s.iter().sum())).collect();
                prop_assert_eq!(values, totals);
            }
        }
    }
}

/// Calls `each` with the time and number of samples of each row: one by one where exact times are kept.
fn each_sample(profile: &Profile, mut each: impl FnMut(&store::model::Row, i64, u64)) {
    for row in &profile.rows {
        match profile.exact_of(row) {
            [] => each(row, row.key.time_ms, row.samples),
            exact => exact.iter().for_each(|e| each(row, row.key.time_ms + i64::from(e.offset_ms), 1)),
        }
    }
}

#[test]
fn what_lies_outside_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_writer(dir.path()).unwrap();
    for n in 0..30 {
        store.append(&window(n as u64, NOON + n * 10_000, 100)).unwrap();
    }
    let read = |text: &str, from: i64, until: i64| {
        let selector = Selector::parse(text).unwrap();
        let answer = store.query(&selector, range(NOON + from, NOON + until), Keep::STACKS).unwrap();
        (answer.segments_read, answer.rows_read)
    };
    let whole = read("", 0, 300_000);
    assert_eq!(whole.0, 30);
    let one = read("", 100_000, 110_000);
    assert_eq!(one.0, 1);
    assert!(one.1 * 20 < whole.1, "{one:?} of {whole:?}");
    assert_eq!(read(r#"process="nobody""#, 0, 300_000), (30, 0));
}

#[test]
fn a_query_beyond_its_memory_says_so() {
    let (_dir, store) = filled(7);
    let small = store.with_limits(Limits { memory_bytes: 10_000, ..Limits::default() });
    for keep in [Keep::STACKS, Keep::ALL] {
        let error = small.query(&Selector::all(), TimeRange::ALL, keep).unwrap_err();
        assert!(matches!(error, Error::TooLarge { limit: 10_000 }), "{error}");
        assert!(error.to_string().contains("ask for a shorter range"), "{error}");
        assert!(store.query(&Selector::all(), TimeRange::ALL, keep).is_ok());
    }
}

#[test]
fn a_query_counts_the_segments_that_it_has_read() {
    let (_dir, store) = filled(9);
    let progress = Progress::default();
    let store = store.with_limits(Limits { progress: progress.clone(), ..Limits::default() });
    assert_eq!(progress.segments(), (0, 0));
    store.timeline(&Selector::all(), TimeRange::ALL, 1000, "process", 5).unwrap();
    let (read, segments) = progress.segments();
    assert!(read > 0 && read == segments, "{read} of {segments}");
    store.timeline(&Selector::all(), TimeRange::ALL, 1000, "process", 5).unwrap();
    assert_eq!(progress.segments(), (2 * read, 2 * segments));
}

#[test]
fn a_cancelled_query_ends() {
    let (_dir, store) = filled(8);
    let cancel = Cancel::default();
    let store = store.with_limits(Limits { cancel: cancel.clone(), ..Limits::default() });
    assert!(store.query(&Selector::all(), TimeRange::ALL, Keep::STACKS).is_ok());
    cancel.cancel();
    for result in [
        store.query(&Selector::all(), TimeRange::ALL, Keep::STACKS).map(drop),
        store.query(&Selector::all(), TimeRange::ALL, Keep::ALL).map(drop),
        store.timeline(&Selector::all(), TimeRange::ALL, 1000, "process", 5).map(drop),
        store.label_values("process", &Selector::all(), TimeRange::ALL).map(drop),
    ] {
        assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
    }
}

#[test]
fn an_answer_does_not_hang_on_the_number_of_threads() {
    let (_dir, store) = filled(9);
    let folded = |threads| {
        let answer =
            threads_of(&store, threads).query(&Selector::all(), TimeRange::ALL, Keep::STACKS).unwrap();
        format!("{:?}", answer.profile.rows)
    };
    let one = folded(1);
    for threads in [2, 4, 64] {
        assert_eq!(folded(threads), one);
    }
}

#[test]
fn a_sample_at_the_edge_is_in_one_of_two_ranges() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_writer(dir.path()).unwrap();
    store.append(&at_times(NOON, "x", &[NOON, NOON + 999, NOON + 1000, NOON + 9_999])).unwrap();
    let samples = |from, until| {
        let answer = store.query(&Selector::all(), range(NOON + from, NOON + until), Keep::STACKS).unwrap();
        answer.profile.samples()
    };
    assert_eq!((samples(0, 999), samples(999, 1000), samples(1000, 10_000)), (1, 1, 2));
    assert_eq!((samples(9_999, 10_000), samples(10_000, 20_000)), (1, 0));
}

/// Self and total of a function, by bucket.
type OwnAndTotal = (Vec<u64>, Vec<u64>);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn the_history_of_functions_is_the_sum_of_every_stack(
        seed in any::<u64>(),
        from in -1_000i64..80_000,
        length in 1i64..90_000,
        step in 1i64..40_000,
    ) {
        let (_dir, store) = filled(seed);
        let range = range(NOON + from, NOON + from + length);
        for (text, pattern) in [("namespace::function_3<T, U>", None), ("~function_1", Some("function_1")), ("~nosuch", Some("nosuch"))] {
            let name = FunctionName::parse(text).unwrap();
            let is_asked = |found: &str| pattern.map_or(found == text, |pattern| found.contains(pattern));
            for selector in ["", r#"status="complete""#] {
                let selector = Selector::parse(selector).unwrap();
                let found = store.function_history(&selector, range, step, &name, usize::MAX).unwrap();
                let all = rows(&store, &selector, range);
                let buckets = found.samples.len();
                let mut samples = vec![0; buckets];
                let mut sums: BTreeMap<(String, String, String), OwnAndTotal> = BTreeMap::new();
                each_sample(&all, |row, time, n| {
                    let bucket = ((time - range.from_ms) / found.step_ms) as usize;
                    samples[bucket] += n;
                    let key = |id| {
                        let frame = all.frame(id);
                        let binary = frame.binary.map_or("", |binary| all.text(all.binary(binary).path));
                        (all.text(frame.function).to_owned(), frame.kind.name().to_owned(), binary.to_owned())
                    };
                    let stack: Vec<_> = all.stacks.leaf_to_root(row.key.node).map(key).collect();
                    let mut seen = BTreeSet::new();
                    for (depth, key) in stack.iter().enumerate() {
                        if !is_asked(&key.0) || key.1 == "truncated" || !seen.insert(key.clone()) {
                            continue;
                        }
                        let sum = sums.entry(key.clone()).or_insert_with(|| (vec![0; buckets], vec![0; buckets]));
                        sum.1[bucket] += n;
                        sum.0[bucket] += if depth == 0 { n } else { 0 };
                    }
                });
                prop_assert_eq!(&found.samples, &samples);
                prop_assert_eq!(found.found, sums.len());
                let found: BTreeMap<_, _> = found.functions.into_iter()
                    .map(|f| ((f.function, f.kind, f.binary), (f.own, f.total)))
                    .collect();
                prop_assert_eq!(found, sums);
            }
        }
    }

    #[test]
    fn the_heat_map_has_every_exact_time_in_its_cell(
        seed in any::<u64>(),
        from in -1_000i64..80_000,
        length in 1i64..90_000,
        column in 1i64..3_000,
        row in 1i64..300,
    ) {
        let (_dir, store) = filled(seed);
        let range = range(NOON + from, NOON + from + length);
        let map = store.heat_map(&Selector::all(), range, column, row).unwrap();
        let mut columns: Vec<Vec<u32>> = map.columns.iter().map(|column| vec![0; column.len()]).collect();
        let mut without_times = 0;
        let all = rows(&store, &Selector::all(), range);
        for row in &all.rows {
            let exact = all.exact_of(row);
            without_times += if exact.is_empty() { row.samples } else { 0 };
            for e in exact {
                let time = row.key.time_ms + i64::from(e.offset_ms) - map.from_ms;
                columns[(time / map.column_ms) as usize][(time % map.column_ms / map.row_ms) as usize] += 1;
            }
        }
        prop_assert_eq!(&map.columns, &columns);
        prop_assert_eq!(map.without_times, without_times);
        prop_assert!(map.from_ms % map.column_ms == 0 && map.column_ms % column == 0);
    }

    #[test]
    fn lanes_hold_every_sample_of_their_thread_or_cpu(
        seed in any::<u64>(),
        from in -1_000i64..80_000,
        length in 1i64..90_000,
        step in 1i64..20_000,
    ) {
        let (_dir, store) = filled(seed);
        let range = range(NOON + from, NOON + from + length);
        let selector = Selector::parse(SELECTORS[(seed % 9) as usize]).unwrap();
        let all = rows(&store, &selector, range);
        for by in [LanesBy::Thread, LanesBy::Cpu] {
            let found = store.lanes(&selector, range, step, by, usize::MAX).unwrap();
            let mut sums: BTreeMap<_, BTreeMap<usize, u64>> = BTreeMap::new();
            let mut add = |row: &Row, cpu, time: i64, n| {
                let process = all.label(row.key.series, "process").unwrap_or("").to_owned();
                let key = match by {
                    LanesBy::Thread => (process, row.key.pid, row.key.tid, None),
                    LanesBy::Cpu => (String::new(), 0, 0, cpu),
                };
                let bucket = ((time - range.from_ms) / found.step_ms) as usize;
                *sums.entry(key).or_default().entry(bucket).or_default() += n;
            };
            for row in &all.rows {
                match all.exact_of(row) {
                    [] => add(row, None, row.key.time_ms, row.samples),
                    exact => exact.iter().for_each(|e| add(row, Some(e.cpu), row.key.time_ms + i64::from(e.offset_ms), 1)),
                }
            }
            let lanes: BTreeMap<_, _> = found.lanes.iter().map(|lane| {
                let samples = lane.samples.iter().copied().enumerate().filter(|(_, n)| *n > 0).collect();
                ((lane.process.clone(), lane.pid, lane.tid, lane.cpu), samples)
            }).collect();
            prop_assert_eq!(&lanes, &sums);
            prop_assert_eq!(found.other, OtherLanes::default());
            prop_assert!(found.lanes.iter().all(|lane| lane.total == lane.samples.iter().sum::<u64>()));
            let few = store.lanes(&selector, range, step, by, 2).unwrap();
            let kept: u64 = few.lanes.iter().map(|lane| lane.total).sum();
            prop_assert_eq!(kept + few.other.total, all.samples());
            prop_assert_eq!(few.lanes.len() + few.other.lanes, found.lanes.len());
        }
    }

    #[test]
    fn a_comparison_holds_both_sides_whole(seed in any::<u64>(), cut in 1i64..60_000) {
        let (_dir, store) = filled(seed);
        let sides = [range(NOON, NOON + cut), range(NOON + cut, NOON + 100_000)];
        let selectors = ["", r#"process!="nginx""#].map(|text| Selector::parse(text).unwrap());
        let asked = [(&selectors[0], sides[0]), (&selectors[1], sides[1])];
        let by = ["process", "thread", "zone"][(cut % 3) as usize];
        let both = store.compare(asked[0], asked[1], by).unwrap();
        let keep = Keep { threads: true, ..Keep::STACKS };
        for ((selector, range), side) in asked.into_iter().zip([Side::Before, Side::After]) {
            let mut own = ProfileBuilder::default();
            own.merge(&both.profile, keep, 0..0, |row| both.side(row) == side);
            let mut alone = ProfileBuilder::default();
            alone.merge(&store.query_by(selector, range, by).unwrap().profile, keep, 0..0, |_| true);
            prop_assert_eq!(plain(&own.finish(0, 1)), plain(&alone.finish(0, 1)));
        }
    }
}

#[test]
fn names_of_functions_are_bounded_and_their_errors_told() {
    for (text, error) in [
        ("", "the name of a function is empty"),
        ("~(", "bad regular expression: unclosed group"),
        (r"~\w{1000}{1000}", "the regular expression takes more than 1048576 bytes"),
    ] {
        assert_eq!(FunctionName::parse(text).unwrap_err(), error);
    }
}

#[test]
fn a_segment_that_was_changed_is_left_out_of_counts_and_named() {
    let (dir, store) = two_segments();
    let victim = dir.path().join("segments");
    let samples = find(&victim, "samples.parquet");
    let mut bytes = std::fs::read(&samples).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&samples, bytes).unwrap();
    let answer = store.query(&Selector::all(), TimeRange::ALL, Keep::STACKS).unwrap();
    assert_eq!((answer.segments_read, answer.skipped.len()), (1, 1));
    assert!(
        answer.skipped[0].reason.starts_with("samples.parquet: its checksum is wrong"),
        "{:?}",
        answer.skipped
    );
    let timeline = store.timeline(&Selector::all(), TimeRange::ALL, 1000, "process", 5).unwrap();
    assert_eq!(timeline.skipped, answer.skipped, "and it is remembered");
}

#[test]
fn flipped_bits_without_checksums_never_break_the_rest_of_a_count() {
    let (dir, store) = two_segments();
    let samples = find(&dir.path().join("segments"), "samples.parquet");
    std::fs::remove_file(samples.with_file_name("_manifest.json")).unwrap();
    let good = std::fs::read(&samples).unwrap();
    let other = at_times(NOON + 3_600_000, "y", &[NOON + 3_600_000]).samples();
    let name = FunctionName::parse("~.").unwrap();
    let (mut skipped, mut random) = (0, Random(5));
    for _ in 0..300 {
        let mut bytes = good.clone();
        let at = random.below(bytes.len() as u64) as usize;
        bytes[at] ^= 1 << random.below(8);
        std::fs::write(&samples, &bytes).unwrap();
        let store = Store::open_reader(store.path()).unwrap();
        for from in [0, NOON + 3] {
            let range = range(from, NOON + 7_200_000);
            let answer = store.query(&Selector::all(), range, Keep::STACKS).unwrap();
            assert!(answer.profile.samples() >= other);
            skipped += answer.skipped.len();
            store.timeline(&Selector::all(), range, 1000, "thread", 5).unwrap();
            store.function_history(&Selector::all(), range, 1000, &name, 5).unwrap();
        }
    }
    assert!(skipped > 50, "{skipped}");
}

/// A segment of many rows, and one of a single row an hour later.
fn two_segments() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Store::open_writer(dir.path()).expect("a store");
    store.append(&window(1, NOON, 200)).expect("a segment");
    store.append(&at_times(NOON + 3_600_000, "y", &[NOON + 3_600_000])).expect("a segment");
    (dir, store)
}

/// The first file of this name below a folder, by the order of names.
fn find(folder: &std::path::Path, name: &str) -> std::path::PathBuf {
    let mut folder = folder.to_owned();
    while !folder.join(name).exists() {
        let mut inner: Vec<_> = std::fs::read_dir(&folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        inner.sort();
        folder = inner.swap_remove(0);
    }
    folder.join(name)
}
