//! Long ranges are answered from rollups where these say the same as samples, and from samples elsewhere: the answers are
//! those of a slow look at every row.

use std::collections::BTreeMap;

use proptest::prelude::*;
use store::model::{Keep, Profile, ProfileBuilder};
use store::{FunctionName, Pace, Policy, Selector, Store, TimeRange, label_text};

use crate::common::{NOON, PERIOD, Random, at_times, plain, window_of};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const MIDNIGHT: i64 = NOON - 12 * HOUR;

const SELECTORS: [&str; 6] = [
    "",
    r#"process="nginx""#,
    r#"status!="complete", event="cpu-clock""#,
    r#"host="web-02""#,
    r#"pid="4711" or process="java""#,
    r#"process="nobody""#,
];

/// Two days of some hosts, merged by a policy.
fn merged(seed: u64, hosts: u64, policy: &str) -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Store::open_writer(dir.path()).expect("a store");
    let mut random = Random(seed);
    for n in 0..30 {
        // Some straddle the end of five minutes, of an hour or of the day.
        let slot = if n % 3 == 0 { 360 * (1 + random.below(47)) - 1 } else { random.below(17_280) };
        let shift = random.below(2) * 5_000;
        let host = format!("web-{:02}", 1 + random.below(hosts));
        let start = MIDNIGHT + (slot * 10_000 + shift) as i64;
        let rows = 1 + random.below(60) as usize;
        store.append(&window_of(&host, random.below(u64::MAX), start, rows)).expect("a segment");
    }
    let policy: Policy = policy.parse().expect("a policy");
    store.compact_by(&policy, &Pace::default(), MIDNIGHT + 3 * DAY).expect("merged");
    (dir, store)
}

/// Every row of a range as it is stored.
fn rows(store: &Store, selector: &Selector, range: TimeRange) -> Profile {
    store.query(selector, range, Keep::ALL).expect("a store").profile
}

/// A range from one time to another, either of them at the start of a step or anywhere.
fn range() -> impl Strategy<Value = TimeRange> {
    let grain = prop::sample::select(vec![1, 10_000, 5 * MINUTE, HOUR, DAY]);
    (0..2 * DAY, 1..2 * DAY, grain.clone(), grain).prop_filter_map("empty", |(from, length, a, b)| {
        let (start, end) = (MIDNIGHT + from, MIDNIGHT + from + length);
        TimeRange::new(start - start.rem_euclid(a), end - end.rem_euclid(b)).ok()
    })
}

fn of_policy() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["exact", "1d=10s", "12h=1m,1d=1h", "1d=1d"])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn stacks_are_those_of_samples(
        seed in any::<u64>(),
        hosts in 1u64..4,
        policy in of_policy(),
        ranges in prop::collection::vec(range(), 2),
    ) {
        let (_dir, store) = merged(seed, hosts, policy);
        for range in ranges {
            for text in SELECTORS {
                let selector = Selector::parse(text).unwrap();
                let all = rows(&store, &selector, range);
                let mut slow = ProfileBuilder::default();
                slow.merge(&all, Keep::STACKS, range.as_range(), |_| true);
                let slow = plain(&slow.finish(range.from_ms, range.until_ms));
                let fast = store.query(&selector, range, Keep::STACKS).unwrap();
                prop_assert_eq!(&plain(&fast.profile), &slow, "{} {:?}", text, range);
                for by in ["process", "host", "thread", "status", "zone"] {
                    let fast = store.query_by(&selector, range, by).unwrap().profile;
                    prop_assert_eq!(by_label(&fast, by), by_label(&all, by), "{} {:?} {}", text, range, by);
                }
            }
        }
    }

    #[test]
    fn times_labels_and_functions_are_those_of_samples(
        seed in any::<u64>(),
        hosts in 1u64..4,
        policy in of_policy(),
        range in range(),
        step in prop::sample::select(vec![MINUTE, 5 * MINUTE, 10 * MINUTE, HOUR, DAY]),
    ) {
        let (_dir, store) = merged(seed, hosts, policy);
        for text in SELECTORS {
            let selector = Selector::parse(text).unwrap();
            let all = rows(&store, &selector, range);
            for by in ["process", "host", "pid", "status"] {
                let timeline = store.timeline(&selector, range, step, by, usize::MAX).unwrap();
                let mut sums: BTreeMap<String, Vec<u64>> = BTreeMap::new();
                for (at, time, samples) in times(&all) {
                    let sum = sums.entry(label_text(&all, &all.rows[at].key, by).into_owned()).or_default();
                    sum.resize(timeline.complete.len(), 0);
                    sum[((time - range.from_ms) / timeline.step_ms) as usize] += samples;
                }
                let found: BTreeMap<_, _> =
                    timeline.groups.into_iter().map(|group| (group.value, group.samples)).collect();
                prop_assert_eq!(found, sums, "{} {:?} {}", text, range, by);
                let mut values: BTreeMap<_, u64> = BTreeMap::new();
                for row in &all.rows {
                    *values.entry(label_text(&all, &row.key, by).into_owned()).or_default() += row.samples;
                }
                let found: BTreeMap<_, _> =
                    store.label_values(by, &selector, range).unwrap().into_iter().collect();
                prop_assert_eq!(found, values, "{} {:?} {}", text, range, by);
            }
            let name = FunctionName::parse("~function_1").unwrap();
            let history = store.function_history(&selector, range, step, &name, usize::MAX).unwrap();
            prop_assert_eq!(history.samples.iter().sum::<u64>(), all.samples());
            let with = |row: &&store::model::Row| {
                let stack = all.stacks.leaf_to_root(row.key.node);
                let mut frames = stack.map(|id| all.frame(id));
                frames.any(|frame| {
                    frame.kind != store::model::FrameKind::Truncated
                        && all.text(frame.function).contains("function_1")
                })
            };
            let most = all.rows.iter().filter(with).map(|row| row.samples).sum::<u64>();
            let total: u64 = history.functions.iter().flat_map(|function| &function.total).sum();
            prop_assert!(total >= most && (total > 0) == (most > 0));
        }
    }
}

/// Samples and value by a label, status and stack.
fn by_label(p: &Profile, by: &str) -> BTreeMap<String, (u64, i64)> {
    let mut sums: BTreeMap<String, (u64, i64)> = BTreeMap::new();
    for row in &p.rows {
        let frames = p.stacks.leaf_to_root(row.key.node).map(|id| p.frame(id));
        let stack: Vec<_> = frames.map(|frame| (p.text(frame.function), frame.address)).collect();
        let key = format!("{} {} {stack:?}", label_text(p, &row.key, by), p.text(row.key.status));
        let sum = sums.entry(key).or_default();
        *sum = (sum.0 + row.samples, sum.1 + row.value);
    }
    sums
}

/// Row, time and number of samples, as far as times are known.
fn times(p: &Profile) -> Vec<(usize, i64, u64)> {
    let mut times = Vec::new();
    for (at, row) in p.rows.iter().enumerate() {
        match p.exact_of(row) {
            [] => times.push((at, row.key.time_ms, row.samples)),
            exact => times.extend(exact.iter().map(|e| (at, row.key.time_ms + i64::from(e.offset_ms), 1))),
        }
    }
    times
}

/// A day of one process on a host: a sample each ten seconds.
fn quiet_day(host: &str) -> Profile {
    let mut day = ProfileBuilder::default();
    for n in 0..8_640 {
        let at = MIDNIGHT + n * 10_000;
        day.merge(&at_times(at, host, &[at + 1]), Keep::ALL, 0..0, |_| true);
    }
    day.finish(MIDNIGHT, MIDNIGHT + DAY)
}

#[test]
fn rollups_are_read_for_whole_steps_and_samples_at_the_edges() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_writer(dir.path()).unwrap();
    store.append(&quiet_day("a")).unwrap();
    store.append(&at_times(NOON, "a", &[NOON])).unwrap();
    store.compact(MIDNIGHT + 3 * DAY).unwrap();
    assert_eq!(store.segments().unwrap().len(), 1);
    let read = |from: i64, until: i64| {
        let range = TimeRange::new(MIDNIGHT + from, MIDNIGHT + until).unwrap();
        let answer = store.query_by(&Selector::all(), range, "process").unwrap();
        (answer.profile.samples(), answer.rows_read, answer.rollup_rows_read)
    };
    assert_eq!(read(0, DAY), (8_641, 1, 1));
    let edges = read(7 * MINUTE, 20 * HOUR);
    assert_eq!(edges.0, 8_640 * 5 / 6 - 42 + 1);
    assert!(edges.2 > 20 && edges.2 < 500, "{edges:?}");
    // By thread there are only samples.
    let range = TimeRange::new(MIDNIGHT, MIDNIGHT + DAY).unwrap();
    let answer = store.query_by(&Selector::parse(r#"tid="8""#).unwrap(), range, "process").unwrap();
    assert_eq!((answer.profile.samples(), answer.rollup_rows_read), (8_641, 0));
    assert!(answer.rows_read > 8_000);
}

#[test]
fn a_damaged_rollup_is_made_up_for_by_samples() {
    let (dir, store) = merged(3, 1, "exact");
    let answer = |store: &Store| {
        let answer = store.query_by(&Selector::all(), TimeRange::ALL, "process").unwrap();
        assert_eq!(answer.skipped, []);
        (plain(&answer.profile), answer.rollup_rows_read)
    };
    let (whole, from_rollups) = answer(&store);
    assert!(from_rollups > 0);
    for segment in store.segments().unwrap() {
        let path = segment.path().join("rollup_1d.parquet");
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }
    let again = Store::open_reader(dir.path()).unwrap();
    for _ in 0..2 {
        assert_eq!(answer(&again), (whole.clone(), 0));
    }
}

#[test]
fn values_that_are_not_samples_times_period_are_kept_in_rollups() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_writer(dir.path()).unwrap();
    // As the period says, half of it, and more samples of the first stack with a value of their own.
    for (n, odd) in [0, -7, 1 << 40].into_iter().enumerate() {
        let start = NOON + n as i64 * 600_000;
        let mut p = at_times(start, "a", &[start, start + 5]);
        p.rows[0].value += odd;
        store.append(&p).unwrap();
    }
    store.compact(NOON + 3 * HOUR).unwrap();
    let segments = store.segments().unwrap();
    assert_eq!((segments.len(), segments[0].level()), (1, 2));
    let all = rows(&store, &Selector::all(), TimeRange::ALL);
    let sum = |p: &Profile| (p.samples(), p.rows.iter().map(|row| row.value).sum::<i64>());
    assert_eq!(sum(&all), (6, 6 * PERIOD - 7 + (1 << 40)));
    for step in [5 * MINUTE, HOUR, DAY] {
        assert_eq!(sum(&store.rollup(&segments[0], step).unwrap().unwrap()), sum(&all), "{step}");
    }
    for (until, expected) in [(5, 2 * PERIOD), (15, 4 * PERIOD - 7), (60, 6 * PERIOD - 7 + (1 << 40))] {
        let range = TimeRange::new(NOON, NOON + until * MINUTE).unwrap();
        let answer = store.query_by(&Selector::all(), range, "process").unwrap();
        assert_eq!(answer.rollup_rows_read, answer.rows_read);
        assert_eq!(sum(&answer.profile).1, expected, "{until}");
    }
    assert_eq!(store.check(|_| true).unwrap().bad, []);
}

/// The bytes of a Parquet file before its footer, and the length of that.
fn pages(path: &std::path::Path) -> (Vec<u8>, usize) {
    let mut bytes = std::fs::read(path).expect("the file can be read");
    let tail = *bytes.last_chunk::<8>().expect("it has a footer");
    let footer = u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]) as usize;
    bytes.truncate(bytes.len() - 8 - footer);
    (bytes, footer)
}

/// What [`plain`] says of rows; accounts become coarse as times do.
fn plain_rows(p: &Profile) -> Vec<String> {
    plain(&Profile { accounts: Vec::new(), ..p.clone() })
}

/// Makes all segments coarser.
fn coarsen(store: &Store, policy: &str) {
    let policy = policy.parse().expect("it is a policy");
    let done =
        store.compact_by(&policy, &Pace::default(), MIDNIGHT + 6 * DAY).expect("segments can be merged");
    assert!(done.merged > 0 && done.skipped.is_empty(), "{done:?}");
}

#[test]
fn rollups_stay_as_they_are_when_no_sample_leaves_its_step() {
    let (_dir, store) = merged(5, 3, "1d=10s");
    let files = |names: &[&str]| -> (Vec<Vec<u8>>, Vec<usize>) {
        let segments = store.segments().unwrap();
        let paths = segments.iter().flat_map(|segment| names.iter().map(|name| segment.path().join(name)));
        paths.map(|path| pages(&path)).unzip()
    };
    let answer = || {
        let by_process = store.query_by(&Selector::all(), TimeRange::ALL, "process").unwrap();
        assert!(by_process.rollup_rows_read > 0 && by_process.rollup_rows_read == by_process.rows_read);
        plain_rows(&by_process.profile)
    };
    let all = ["rollup_5m.parquet", "rollup_1h.parquet", "rollup_1d.parquet", "func_5m.parquet"];
    let (before, known) = (files(&all).0, answer());
    coarsen(&store, "0s=1m");
    assert_eq!(files(&all).0, before);
    assert_eq!((store.check(|_| true).unwrap().bad, answer()), (vec![], known.clone()));
    // One of them is gone then, and samples are in steps as long as its were.
    let (before, footers) = files(&all[1..]);
    coarsen(&store, "0s=5m");
    let (after, new_footers) = files(&all[1..]);
    assert_eq!(after, before);
    // What is new in a footer are a resolution, an id and times.
    let is_alike = |(a, b): (&usize, &usize)| a.abs_diff(*b) < 16;
    assert!(footers.iter().zip(&new_footers).all(is_alike), "{footers:?} {new_footers:?}");
    assert_eq!((store.check(|_| true).unwrap().bad, answer()), (vec![], known.clone()));
    // Functions have longer steps from here on: all are made anew.
    coarsen(&store, "0s=1h");
    assert_eq!((store.check(|_| true).unwrap().bad, answer()), (vec![], known));
}

#[test]
fn a_damaged_rollup_is_not_copied_but_made_anew() {
    let (_dir, store) = merged(6, 2, "1d=10s");
    let rollups = || -> Vec<Profile> {
        let segments = store.segments().unwrap();
        segments.iter().map(|segment| store.rollup(segment, HOUR).unwrap().unwrap()).collect()
    };
    let before: Vec<_> = rollups().iter().map(plain_rows).collect();
    for segment in store.segments().unwrap() {
        let path = segment.path().join("rollup_1h.parquet");
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }
    coarsen(&store, "0s=1m");
    assert_eq!(rollups().iter().map(plain_rows).collect::<Vec<_>>(), before);
    assert_eq!(store.check(|_| true).unwrap().bad, []);
}
