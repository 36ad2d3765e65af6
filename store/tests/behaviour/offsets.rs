//! A part of every second: each sample with an exact time is in exactly one of parts that adjoin.

use proptest::prelude::*;
use store::model::{Keep, Profile};
use store::{Offsets, Selector, Store, TimeRange};

use crate::common::{NOON, at_times, window};

fn offsets(from_ms: i64, until_ms: i64) -> Option<Offsets> {
    Some(Offsets::new(from_ms, until_ms).expect("a part of a second"))
}

fn samples(profile: &Profile) -> u64 {
    profile.rows.iter().map(|row| row.samples).sum()
}

#[test]
fn only_samples_of_the_part_are_counted_whatever_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_writer(dir.path()).unwrap();
    let times = [100, 250, 999, 1_100, 2_399, 2_400, 9_200].map(|ms| NOON + ms);
    store.append(&at_times(NOON, "a", &times)).unwrap();
    let range = TimeRange::new(NOON, NOON + 9_000).unwrap();
    let part = store.with_offsets(offsets(100, 400));
    let all = Selector::all();
    let exact = part.query(&all, range, Keep::ALL).unwrap().profile;
    let found: Vec<_> = exact
        .rows
        .iter()
        .flat_map(|row| {
            exact.exact_of(row).iter().map(|exact| row.key.time_ms + i64::from(exact.offset_ms) - NOON)
        })
        .collect();
    assert_eq!(found, [100, 250, 1_100, 2_399]);
    assert_eq!(samples(&part.query_by(&all, range, "process").unwrap().profile), 4);
    let timeline = part.timeline(&all, range, 1000, "process", 8).unwrap();
    assert_eq!(timeline.groups[0].samples, [2, 1, 1, 0, 0, 0, 0, 0, 0]);
    let map = part.heat_map(&all, range, 1000, 100).unwrap();
    assert_eq!((&map.columns[0][..4], &map.columns[2][..5]), (&[0, 1, 1, 0][..], &[0, 0, 0, 1, 0][..]));
    // A window in memory is no different.
    store.publish_head(Some(at_times(NOON + 10_000, "a", &[NOON + 10_100, NOON + 10_400]).into()));
    let later = TimeRange::new(NOON + 10_000, NOON + 20_000).unwrap();
    assert_eq!(samples(&part.query_by(&all, later, "process").unwrap().profile), 1);
}

#[test]
fn samples_of_several_rectangles_count_once_each() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_writer(dir.path()).unwrap();
    let times = [100, 250, 999, 1_100, 1_450, 2_399, 2_400, 3_050, 9_200].map(|ms| NOON + ms);
    store.append(&at_times(NOON, "a", &times)).unwrap();
    let range = TimeRange::new(NOON, NOON + 9_000).unwrap();
    let span = |from, until| TimeRange::new(NOON + from, NOON + until).unwrap();
    // Two that overlap in the second second, and one beyond the range.
    let rectangles =
        [(span(0, 2_000), 100, 500), (span(1_000, 3_000), 300, 1000), (span(9_000, 10_000), 0, 1000)];
    let parts = store.with_offsets(Some(Offsets::rectangles(&rectangles).unwrap()));
    let all = Selector::all();
    let found = parts.query(&all, range, Keep::ALL).unwrap().profile;
    assert_eq!(samples(&found), 6, "100, 250, 1100, 1450, 2399, 2400");
    assert_eq!(samples(&parts.query_by(&all, range, "process").unwrap().profile), 6);
    let timeline = parts.timeline(&all, range, 1000, "process", 8).unwrap();
    assert_eq!(timeline.groups[0].samples, [2, 2, 2, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn a_fingerprint_changes_with_the_segments_of_its_range_only() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_writer(dir.path()).unwrap();
    store.append(&at_times(NOON, "a", &[NOON + 5])).unwrap();
    let range = TimeRange::new(NOON, NOON + 10_000).unwrap();
    let first = store.fingerprint(range).unwrap().unwrap();
    store.append(&at_times(NOON + 60_000, "a", &[NOON + 60_005])).unwrap();
    assert_eq!(store.fingerprint(range).unwrap(), Some(first));
    store.import(&at_times(NOON, "b", &[NOON + 7])).unwrap();
    let second = store.fingerprint(range).unwrap().unwrap();
    assert_ne!(second, first);
    store.publish_head(Some(at_times(NOON + 9_000, "a", &[NOON + 9_005]).into()));
    assert_eq!(store.fingerprint(range).unwrap(), None, "a window in memory still grows");
    assert!(matches!(store.size_of(range).unwrap(), (2, bytes) if bytes > 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn parts_that_adjoin_hold_every_sample_with_a_time_once(seed in any::<u64>(), cut in 1i64..1000, from in 0i64..9_000) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_writer(dir.path()).unwrap();
        store.append(&window(seed, NOON, 200)).unwrap();
        store.append(&window(seed ^ 1, NOON + 10_000, 200)).unwrap();
        let range = TimeRange::new(NOON + from, NOON + 15_500).unwrap();
        let selector = Selector::parse(r#"process!="nginx""#).unwrap();
        let count = |part| {
            let store = store.with_offsets(part);
            let rows = samples(&store.query(&selector, range, Keep::ALL).unwrap().profile);
            let counted = samples(&store.query_by(&selector, range, "process").unwrap().profile);
            let map = store.heat_map(&selector, range, 1000, 10).unwrap();
            (rows, counted, map.columns.iter().flatten().map(|n| u64::from(*n)).sum::<u64>(), map.without_times)
        };
        let (low, high) = (count(offsets(0, cut)), count(offsets(cut, 1000)));
        let whole = count(None);
        prop_assert_eq!(low.0 + high.0, whole.0 - whole.3);
        prop_assert_eq!((low.0, high.0), (low.1, high.1));
        prop_assert_eq!((low.0, high.0), (low.2, high.2));
        prop_assert_eq!((low.3, high.3), (0, 0));
    }
}
