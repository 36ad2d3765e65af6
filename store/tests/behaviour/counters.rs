//! Counters over time are what accounts say, of segments, of merged ones, and of windows in memory.

use store::model::{Profile, ProfileBuilder};
use store::{Error, Limits, Store, TimeRange};

use crate::common::NOON;

fn counted(start_ms: i64, host: &str, counters: &[(&str, u64)]) -> Profile {
    let mut builder = ProfileBuilder::default();
    let host = builder.string(host);
    for (counter, value) in counters {
        let counter = builder.string(counter);
        builder.account(start_ms, host, counter, *value);
    }
    builder.finish(start_ms, start_ms + 10_000)
}

fn series(store: &Store, prefix: &str, step_ms: i64) -> Vec<(String, String, Vec<u64>)> {
    let range = TimeRange::new(NOON, NOON + 30_000).expect("a range");
    let found = store.counters(prefix, range, step_ms).expect("counters are read");
    assert_eq!((found.from_ms, found.until_ms, found.step_ms), (NOON, NOON + 30_000, step_ms));
    assert_eq!(found.skipped, []);
    found.series.into_iter().map(|series| (series.host, series.counter, series.values)).collect()
}

#[test]
fn counters_are_told_by_host_name_and_bucket() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_writer(dir.path()).unwrap();
    store.append(&counted(NOON, "a", &[("runs_x", 5), ("runs_y", 7), ("other", 9)])).unwrap();
    store.append(&counted(NOON + 10_000, "a", &[("runs_x", 6), ("runs_y", 0)])).unwrap();
    store.append(&counted(NOON + 40_000, "a", &[("runs_x", 100)])).unwrap();
    store.publish_head(Some(counted(NOON + 20_000, "b", &[("runs_x", 8)]).into()));
    let row =
        |host: &str, counter: &str, values: &[u64]| (host.to_owned(), counter.to_owned(), values.to_vec());
    let expected =
        [row("a", "runs_x", &[5, 6, 0]), row("a", "runs_y", &[7, 0, 0]), row("b", "runs_x", &[0, 0, 8])];
    assert_eq!(series(&store, "runs_", 10_000), expected);
    assert_eq!(series(&store, "runs_y", 30_000), [row("a", "runs_y", &[7])]);
    assert_eq!(series(&store, "none", 10_000), []);
}

#[test]
fn a_question_of_counters_keeps_to_its_memory() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_writer(dir.path()).unwrap();
    let names: Vec<String> = (0..500).map(|n| format!("runs_{n}")).collect();
    let counters: Vec<_> = names.iter().map(|name| (&**name, 1)).collect();
    store.append(&counted(NOON, "a", &counters)).unwrap();
    let range = TimeRange::new(NOON, NOON + 30_000).expect("a range");
    let small = store.with_limits(Limits { memory_bytes: 100_000, ..Limits::default() });
    assert!(matches!(small.counters("runs_", range, 10), Err(Error::TooLarge { .. })));
    assert_eq!(small.counters("runs_1", range, 30_000).unwrap().series.len(), 111);
}
