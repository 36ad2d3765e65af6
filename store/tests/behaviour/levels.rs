//! Merging and coarsening change when, never how often: totals of each series and stack stay what they were, to the
//! sample, at every level, resolution and rollup.

use std::collections::BTreeMap;

use proptest::prelude::*;
use store::model::{Keep, Profile, ProfileBuilder};
use store::{Pace, Policy, Selector, Store, TimeRange};

use crate::common::{NOON, at_times, plain_frame, window};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
const MIDNIGHT: i64 = NOON - 12 * HOUR;

/// Samples and value by series, stack and status.
type Totals = BTreeMap<(String, Vec<String>, String), (u64, i64)>;

fn add_totals(totals: &mut Totals, p: &Profile) {
    for row in &p.rows {
        let series = p.series(row.key.series);
        let labels: Vec<_> = series.labels.iter().map(|(n, v)| (p.text(*n), p.text(*v))).collect();
        let stack = p.stacks.leaf_to_root(row.key.node).map(|id| plain_frame(p, p.frame(id))).collect();
        let key = (format!("{labels:?} {}", p.text(series.unit)), stack, p.text(row.key.status).to_owned());
        let sum = totals.entry(key).or_default();
        *sum = (sum.0 + row.samples, sum.1 + row.value);
    }
}

fn totals<'a>(profiles: impl IntoIterator<Item = &'a Profile>) -> Totals {
    let mut totals = Totals::new();
    profiles.into_iter().for_each(|profile| add_totals(&mut totals, profile));
    totals
}

fn stored(store: &Store) -> Profile {
    let answer = store.query(&Selector::all(), TimeRange::ALL, Keep::ALL).expect("an answer");
    assert_eq!(answer.skipped, []);
    answer.profile
}

fn counters(profiles: &[Profile]) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for account in profiles.iter().flat_map(|p| p.accounts.iter().map(move |a| (p.text(a.counter), a.value)))
    {
        *sums.entry(account.0.to_owned()).or_default() += account.1;
    }
    sums
}

/// Appended at once, or logged in parts and closed, or logged only and then settled.
fn keep(store: &Store, window: &Profile, way: usize) {
    if way.is_multiple_of(3) {
        return drop(store.append(window).expect("written"));
    }
    let mut open = ProfileBuilder::logged();
    let mut log = store.open_log(window.start_ms).expect("a log");
    let mut n = 0;
    for part in 0..3 {
        let accounts = if part == 0 { i64::MIN..i64::MAX } else { 0..0 };
        open.merge(window, Keep::ALL, accounts, |_| {
            n += 1;
            n % 3 == part
        });
        n = 0;
        log.append(&mut open, window.end_ms).expect("logged");
    }
    match way % 3 {
        1 => drop(log.close(store, &open.finish(window.start_ms, window.end_ms)).expect("written")),
        _ => {
            drop(log);
            assert_eq!(store.settle().expect("settled").windows, 1);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Windows at any times of three days, compacted at any times by any policy, some of them late.
    #[test]
    fn totals_are_the_same_at_every_level(
        seed in any::<u64>(),
        times in prop::collection::vec((0i64..3 * 8640, 0usize..25), 1..24),
        steps in prop::collection::vec(1i64..9 * DAY, 1..4),
        policy in prop::sample::select(vec![
            "exact", "24h=10s,7d=1m,90d=1h", "0s=10s,1d=1m,2d=1h,3d=1d", "1h=1m,6h=1h", "3d=1d",
        ]),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_writer(dir.path()).unwrap();
        let policy: Policy = policy.parse().unwrap();
        let windows: Vec<_> = times
            .iter()
            .enumerate()
            .map(|(n, (slot, rows))| window(seed.wrapping_add(n as u64), MIDNIGHT + slot * 10_000, *rows))
            .collect();
        let (mut now, mut written) = (MIDNIGHT, 0);
        for (n, step) in steps.iter().enumerate() {
            let until = if n + 1 == steps.len() { windows.len() } else { (written + 7).min(windows.len()) };
            windows[written..until].iter().enumerate().for_each(|(n, window)| keep(&store, window, n));
            written = until;
            now += step;
            let done = store.compact_by(&policy, &Pace::default(), now).unwrap();
            prop_assert_eq!(done.skipped, []);
            let all = stored(&store);
            prop_assert_eq!(totals([&all]), totals(&windows[..written]));
            prop_assert_eq!(counters(&[all]), counters(&windows[..written]));
            let check = store.check(|_| true).unwrap();
            prop_assert_eq!((check.segments, check.bad), (store.stats().segments, vec![]));
        }
        let again = store.compact_by(&policy, &Pace::default(), now).unwrap();
        prop_assert_eq!(again, store::Compaction::default());
        for segment in store.segments().unwrap() {
            let range = TimeRange::new(segment.min_ms(), segment.max_ms()).unwrap();
            let answer = store.query(&Selector::all(), range, Keep::ALL).unwrap();
            let alone = store.segments().unwrap().iter().filter(|s| s.min_ms() < segment.max_ms() && segment.min_ms() < s.max_ms()).count() == 1;
            for step in [HOUR / 12, HOUR, DAY] {
                let rollup = store.rollup(&segment, step).unwrap();
                prop_assert_eq!(rollup.is_some(), segment.level() >= 2 && step > segment.resolution_ms());
                if let Some(rollup) = rollup.filter(|_| alone) {
                    prop_assert_eq!(totals([&rollup]), totals([&answer.profile]));
                    prop_assert!(rollup.rows.iter().all(|row| row.key.time_ms % step == 0));
                }
            }
        }
    }
}

#[test]
fn age_decides_how_exact_times_are() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_writer(dir.path()).unwrap();
    let start = MIDNIGHT + 20_000;
    store.append(&at_times(start, "a", &[start + 1, start + 2_000])).unwrap();
    store.append(&at_times(start + 50_000, "a", &[start + 50_001])).unwrap();
    let mut seen = Vec::new();
    for age in [1, DAY, 2 * DAY - 1, 2 * DAY + 60_000, 9 * DAY, 100 * DAY] {
        store.compact_by(&Policy::default(), &Pace::default(), start + 60_000 + age).unwrap();
        let all = stored(&store);
        let times: Vec<_> = all.rows.iter().map(|row| row.key.time_ms - MIDNIGHT).collect();
        seen.push((times, all.exact.len(), all.rows.iter().map(|row| row.key.pid).max()));
        assert_eq!(all.samples(), 3);
    }
    let exact = (vec![20_000, 70_000], 3, Some(7));
    assert_eq!(
        seen,
        [
            exact.clone(),
            exact.clone(),
            exact,
            (vec![20_000, 70_000], 0, Some(0)),
            (vec![0, 60_000], 0, Some(0)),
            (vec![0], 0, Some(0)),
        ]
    );
    assert_eq!(store.segments().unwrap()[0].resolution_ms(), HOUR);
}

#[test]
fn a_sample_at_the_end_of_a_bucket_counts_in_the_step_it_was_taken_in() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_writer(dir.path()).unwrap();
    // Buckets that straddle the end of five minutes, and of the hour.
    for (bucket, times) in [(295_000, [299_999, 300_000]), (HOUR - 1_000, [HOUR - 1, HOUR])] {
        let at = |time| MIDNIGHT + time;
        store.append(&at_times(at(bucket), "a", &times.map(at))).unwrap();
    }
    store.compact(MIDNIGHT + 2 * HOUR).unwrap();
    let segments = store.segments().unwrap();
    assert_eq!((segments.len(), segments[0].level()), (1, 2));
    let steps = |step| {
        let rollup = store.rollup(&segments[0], step).unwrap().unwrap();
        let mut steps: Vec<_> = rollup.rows.iter().map(|r| (r.key.time_ms - MIDNIGHT, r.samples)).collect();
        steps.sort_unstable();
        steps
    };
    assert_eq!(steps(300_000), [(0, 1), (300_000, 1), (HOUR - 300_000, 1), (HOUR, 1)]);
    assert_eq!(steps(HOUR), [(0, 3), (HOUR, 1)]);
    assert_eq!(steps(DAY), [(0, 4)]);
}

#[test]
fn a_clock_that_goes_backwards_makes_nothing_coarser() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_writer(dir.path()).unwrap();
    store.append(&at_times(NOON, "a", &[NOON])).unwrap();
    for now in [0, -1, i64::MIN, NOON - 9 * DAY] {
        let done = store.compact_by(&Policy::default(), &Pace::default(), now).unwrap();
        assert_eq!(done, store::Compaction::default());
    }
}

/// The bytes of a segment's tables that say nothing of times.
fn timeless(store: &Store) -> Vec<Vec<u8>> {
    let segments = store.segments().expect("listed");
    assert_eq!(segments.len(), 1);
    let names = ["series", "stacks", "frames", "binaries"];
    names
        .map(|name| std::fs::read(segments[0].path().join(format!("{name}.parquet"))).expect("a table"))
        .into()
}

#[test]
fn tables_without_times_are_the_same_files_when_times_become_coarser() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_writer(dir.path()).unwrap();
    let windows: Vec<_> = (0..5).map(|n| window(n, MIDNIGHT + n as i64 * 1_000_000, 200)).collect();
    windows.iter().for_each(|window| drop(store.append(window).unwrap()));
    let coarser = |policy: &str| {
        let done = store.compact_by(&policy.parse().unwrap(), &Pace::default(), MIDNIGHT + 9 * DAY).unwrap();
        assert_eq!((done.written, done.skipped.len()), (1, 0), "{policy}");
    };
    // Two hours to a day, at once as coarse as their age says.
    store.compact(MIDNIGHT + 3 * HOUR).unwrap();
    coarser("1d=10s");
    let tables = timeless(&store);
    for (policy, step) in [("1d=1m", HOUR / 60), ("1d=1h", HOUR), ("1d=1d", DAY)] {
        coarser(policy);
        assert!(timeless(&store) == tables, "{policy}");
        let all = stored(&store);
        assert!(all.rows.iter().all(|row| row.key.time_ms % step == 0));
        assert!(all.accounts.iter().all(|account| account.time_ms % step == 0));
        assert_eq!(totals([&all]), totals(&windows));
        assert_eq!(counters(&[all]), counters(&windows));
        assert_eq!(store.check(|_| true).unwrap().bad, []);
    }
}

/// A window of one stack and so many threads, each with a sample.
fn of_threads(start_ms: i64, threads: u32) -> Profile {
    let mut b = ProfileBuilder::default();
    b.merge(&at_times(start_ms, "a", &[start_ms]), Keep::ALL, 0..0, |_| true);
    let mut p = b.finish(start_ms, start_ms + 10_000);
    let (row, exact) = (p.rows.remove(0), p.exact.remove(0));
    for thread in 0..threads {
        let mut row = row.clone();
        (row.key.tid, row.exact) = (thread, thread..thread + 1);
        p.rows.push(row);
        p.exact.push(exact);
    }
    p
}

#[test]
fn long_row_groups_end_with_their_chunk_and_are_passed_by() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_writer(dir.path()).unwrap();
    let chunk = |n: i64| MIDNIGHT + n * 300_000;
    (0..5).for_each(|n| drop(store.append(&of_threads(chunk(n), 40_000)).unwrap()));
    store.compact(MIDNIGHT + 2 * HOUR).unwrap();
    assert_eq!(store.segments().unwrap().len(), 1);
    // Three row groups: two chunks, two chunks, and the last.
    for (n, rows) in [(0, 80_000), (1, 80_000), (3, 80_000), (4, 40_000)] {
        let range = TimeRange::new(chunk(n), chunk(n) + 1).unwrap();
        let answer = store.query(&Selector::all(), range, Keep::ALL).unwrap();
        assert_eq!((answer.profile.samples(), answer.rows_read), (40_000, rows), "chunk {n}");
        let answer = store.query(&Selector::all(), range, Keep::STACKS).unwrap();
        assert_eq!(answer.profile.samples(), 40_000);
    }
    let all = stored(&store);
    assert_eq!((all.rows.len(), all.exact.len(), all.samples()), (200_000, 200_000, 200_000));
    assert_eq!(store.check(|_| true).unwrap().bad, []);
}
