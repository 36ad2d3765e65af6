//! Pinned ranges outlive retention, and stay exact.

use std::fs;

use store::model::Keep;
use store::{Error, Pace, Policy, Retention, Selector, Store, TimeRange};

use crate::common::{NOON, at_times, plain};

const HOUR: i64 = 3_600_000;
const YEAR: i64 = 365 * 24 * HOUR;

fn filled(dir: &std::path::Path) -> Store {
    let store = Store::open_writer(dir).expect("a new directory");
    for n in 0..4 {
        let start = NOON + n * HOUR;
        store.append(&at_times(start, "a", &[start + 7, start + 9])).expect("written");
    }
    store
}

fn range(from: i64, until: i64) -> TimeRange {
    TimeRange::new(from, until).expect("not empty")
}

#[test]
fn what_is_pinned_is_not_deleted_until_it_is_unpinned() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    let pin = store.pin(range(NOON + HOUR + 1, NOON + 2 * HOUR + 1), "the incident").unwrap();
    let everything = Retention { max_age_ms: Some(0), max_bytes: Some(0) };
    assert_eq!(store.retain(everything, NOON + YEAR).unwrap().segments, 2);
    let left: Vec<_> = store.segments().unwrap().iter().map(|segment| segment.min_ms()).collect();
    assert_eq!(left, [NOON + HOUR, NOON + 2 * HOUR]);

    let reader = Store::open_reader(dir.path()).unwrap();
    assert_eq!(reader.pins().unwrap(), std::slice::from_ref(&pin));
    assert_eq!(
        (pin.from_ms, pin.until_ms, &*pin.note),
        (NOON + HOUR + 1, NOON + 2 * HOUR + 1, "the incident")
    );
    assert!(matches!(reader.unpin(&pin.id), Err(Error::ReadOnly(_))));

    assert!(!store.unpin("another").unwrap());
    assert!(store.unpin(&pin.id).unwrap());
    assert_eq!(store.retain(everything, NOON + YEAR).unwrap().segments, 2);
    assert_eq!(store.segments().unwrap().len(), 0);
}

#[test]
fn what_is_pinned_stays_exact_while_its_neighbours_become_coarse() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    store.pin(range(NOON + HOUR, NOON + HOUR + 10_000), "look at this").unwrap();
    let query = |from| {
        let answer = store.query(&Selector::all(), range(from, from + HOUR), Keep::ALL).unwrap();
        plain(&answer.profile)
    };
    let (pinned, other) = (query(NOON + HOUR), query(NOON));
    let done = store.compact_by(&Policy::default(), &Pace::default(), NOON + YEAR).unwrap();
    assert_eq!((done.merged, done.written), (3, 1));
    assert_eq!(query(NOON + HOUR), pinned);
    assert_ne!(query(NOON), other);
    let again = store.compact_by(&Policy::default(), &Pace::default(), NOON + YEAR).unwrap();
    assert_eq!(again, store::Compaction::default(), "nothing is left to do");
}

#[test]
fn nothing_is_deleted_while_the_pins_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    store.pin(range(NOON, NOON + HOUR), "precious").unwrap();
    let path = dir.path().join("pins.json");
    let json = fs::read_to_string(&path).unwrap();
    for damaged in [json.replace("precious", "previous"), json[..json.len() / 2].to_owned(), String::new()] {
        fs::write(&path, damaged).unwrap();
        let error =
            store.retain(Retention { max_age_ms: Some(0), max_bytes: None }, NOON + YEAR).unwrap_err();
        assert!(error.to_string().contains("pins.json"), "{error}");
        assert!(store.compact_by(&Policy::default(), &Pace::default(), NOON + YEAR).is_err());
        assert_eq!(store.segments().unwrap().len(), 4);
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(
        store.retain(Retention { max_age_ms: Some(0), max_bytes: None }, NOON + YEAR).unwrap().segments,
        4
    );
}

#[test]
fn there_is_a_limit_to_notes() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    assert!(store.pin(range(NOON, NOON + 1), &"x".repeat(1025)).is_err());
    assert!(store.pin(range(NOON, NOON + 1), &"x".repeat(1024)).is_ok());
}
