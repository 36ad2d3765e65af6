//! Compaction and retention: fewer segments, the same answers, and nothing that should be gone.

use std::fs;
use std::path::{Path, PathBuf};

use store::model::Keep;
use store::{Error, Retention, Selector, Store, TimeRange};

use crate::common::{NOON, Random, at_times, plain, window};

const HOUR: i64 = 3_600_000;
const LATER: i64 = NOON + 10 * HOUR;

/// Windows all over an hour, with one written twice over as after a restart, and one beyond the hour.
fn filled(dir: &Path) -> Store {
    let store = Store::open_writer(dir).expect("a new directory");
    for n in 0..14 {
        store.append(&window(n, NOON + n as i64 * 250_000, 30)).expect("written");
    }
    store.append(&window(77, NOON + 10_000, 30)).expect("written");
    store.append(&window(0, NOON, 30)).expect("written");
    store.append(&window(78, NOON + HOUR + 10_000, 30)).expect("written");
    store
}

/// The answers to many queries, in words.
fn answers(store: &Store) -> Vec<String> {
    let mut random = Random(7);
    let mut answers = Vec::new();
    for selector in ["", r#"process="nginx""#, r#"status!="complete", pid=~"4.*""#] {
        let selector = Selector::parse(selector).expect("a selector");
        for _ in 0..12 {
            let from = NOON + random.below(HOUR as u64) as i64;
            let range = TimeRange::new(from, from + 1 + random.below(900_000) as i64).expect("not empty");
            for keep in [Keep::ALL, Keep::STACKS] {
                let answer = store.query(&selector, range, keep).expect("an answer");
                assert_eq!(answer.skipped, []);
                answers.extend(plain(&answer.profile));
            }
            let line = store.timeline(&selector, range, 3_333, "thread", 3).expect("a timeline");
            answers.push(format!("{:?} {:?} {:?} {:?}", line.groups, line.other, line.complete, line.lost));
            answers.push(format!("{:?}", store.label_values("process", &selector, range)));
        }
    }
    answers
}

/// Shows the first difference only: the whole would fill many screens.
fn assert_same(left: &[String], right: &[String]) {
    assert_eq!(left.len(), right.len());
    for (left, right) in left.iter().zip(right) {
        assert_eq!(left, right);
    }
}

fn folders(dir: &Path) -> Vec<PathBuf> {
    let days = fs::read_dir(dir.join("segments")).expect("segments");
    let days = days.map(|day| day.expect("a day").path());
    days.flat_map(|day| fs::read_dir(day).expect("a day").map(|entry| entry.expect("a segment").path()))
        .collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("created");
    for file in fs::read_dir(from).expect("a folder") {
        let file = file.expect("a file");
        fs::copy(file.path(), to.join(file.file_name())).expect("copied");
    }
}

#[test]
fn compaction_changes_no_answer() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    let before = answers(&store);
    assert_eq!(store.stats().segments, 16, "what was written twice is there once");

    let done = store.compact(NOON + 3 * 300_000).unwrap();
    assert_eq!((done.merged, done.written), (3, 1), "of three finished chunks one has several windows");
    assert_same(&answers(&store), &before);

    store.compact(LATER).unwrap();
    let levels: Vec<_> = store.segments().unwrap().iter().map(|segment| segment.level()).collect();
    assert_eq!(levels, [2, 0], "one hour, and a lone window; the day is not over");
    assert_same(&answers(&store), &before);
    assert_same(&answers(&Store::open_reader(dir.path()).unwrap()), &before);
    assert_eq!(folders(dir.path()).len(), 2);

    assert_eq!(store.compact(LATER).unwrap(), store::Compaction::default(), "nothing is left to do");
}

#[test]
fn a_window_that_comes_late_joins_its_hour() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    store.compact(LATER).unwrap();
    store.append(&window(90, NOON + 20_000, 30)).unwrap();
    let before = answers(&store);
    store.compact(LATER).unwrap();
    assert_eq!(store.stats().segments, 2);
    assert_same(&answers(&store), &before);
}

#[test]
fn a_crash_before_replaced_segments_are_deleted_changes_no_answer() {
    let dir = tempfile::tempdir().unwrap();
    let before = answers(&filled(dir.path()));
    // First windows to chunks, with the hour not over yet, then chunks to the hour.
    for (now, left) in [(NOON + HOUR, 12), (LATER, 2)] {
        let aside = tempfile::tempdir().unwrap();
        let originals = folders(dir.path());
        for folder in &originals {
            copy(folder, &aside.path().join(folder.file_name().unwrap()));
        }
        Store::open_writer(dir.path()).unwrap().compact(now).unwrap();
        for folder in originals.iter().filter(|folder| !folder.exists()) {
            copy(&aside.path().join(folder.file_name().unwrap()), folder);
        }
        assert!(folders(dir.path()).len() > left);
        assert_same(&answers(&Store::open_reader(dir.path()).unwrap()), &before);
        let writer = Store::open_writer(dir.path()).unwrap();
        assert_eq!(folders(dir.path()).len(), left);
        assert_same(&answers(&writer), &before);
    }
}

#[test]
fn a_damaged_segment_is_left_out_of_a_merge_and_stays() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_writer(dir.path()).unwrap();
    for n in 0..3 {
        store.append(&at_times(NOON + n * 10_000, "a", &[NOON + n * 10_000])).unwrap();
    }
    let broken = store.segments().unwrap()[1].path().to_owned();
    fs::write(broken.join("frames.parquet"), "PAR1").unwrap();
    let done = store.compact(LATER).unwrap();
    assert_eq!((done.merged, done.written), (2, 1));
    assert_eq!(done.skipped[0].path, broken);
    assert!(broken.exists());
    let answer = store.query(&Selector::all(), TimeRange::ALL, Keep::ALL).unwrap();
    assert_eq!(answer.profile.samples(), 2);
    assert_eq!(answer.skipped.len(), 1);
}

#[test]
fn retention_by_age_deletes_what_is_wholly_older() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_writer(dir.path()).unwrap();
    for n in 0..4 {
        store.append(&at_times(NOON + n * 10_000, "a", &[NOON + n * 10_000])).unwrap();
    }
    let age = |max_age_ms| Retention { max_age_ms: Some(max_age_ms), max_bytes: None };
    assert_eq!(store.retain(age(HOUR), NOON + HOUR).unwrap().segments, 0);
    let removed = store.retain(age(HOUR), NOON + HOUR + 25_000).unwrap();
    assert_eq!(removed.segments, 2);
    assert!(removed.bytes > 0);
    assert_eq!(store.span(), Some(TimeRange::new(NOON + 20_000, NOON + 40_000).unwrap()));
    assert_eq!(store.retain(age(HOUR), LATER).unwrap().segments, 2);
    assert_eq!(store.span(), None);
    assert_eq!(fs::read_dir(dir.path().join("segments")).unwrap().count(), 0, "empty days go, too");
    store.append(&at_times(NOON, "a", &[NOON])).unwrap();
}

#[test]
fn retention_by_bytes_deletes_the_oldest_until_the_rest_fits() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_writer(dir.path()).unwrap();
    for n in 0..4 {
        store.append(&at_times(NOON + n * 10_000, "a", &[NOON + n * 10_000])).unwrap();
    }
    let total = store.stats().bytes;
    let keep = |bytes| Retention { max_age_ms: None, max_bytes: Some(bytes) };
    assert_eq!(store.retain(keep(total), LATER).unwrap().segments, 0);
    assert_eq!(store.retain(keep(total - 1), LATER).unwrap().segments, 1);
    let kept: Vec<_> = store.segments().unwrap().iter().map(|segment| segment.min_ms()).collect();
    assert_eq!(kept, [NOON + 10_000, NOON + 20_000, NOON + 30_000]);
    let both = Retention { max_age_ms: Some(LATER - NOON - 15_000), max_bytes: Some(total) };
    assert_eq!(store.retain(both, LATER).unwrap().segments, 0);
    assert_eq!(store.retain(keep(0), LATER).unwrap().segments, 3);
}

#[test]
fn retention_deletes_damaged_segments_and_leaves_other_files_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_writer(dir.path()).unwrap();
    store.append(&at_times(NOON, "a", &[NOON])).unwrap();
    let segment = store.segments().unwrap()[0].path().to_owned();
    for file in fs::read_dir(&segment).unwrap() {
        fs::write(file.unwrap().path(), "none of ours").unwrap();
    }
    let letter = segment.parent().unwrap().join("letter.txt");
    fs::write(&letter, "hello").unwrap();
    let store = {
        drop(store);
        Store::open_writer(dir.path()).unwrap()
    };
    assert_eq!(store.stats().segments, 0);
    let limits = Retention { max_age_ms: Some(HOUR), max_bytes: None };
    assert_eq!(store.retain(limits, LATER).unwrap().segments, 1);
    assert!(!segment.exists());
    assert!(letter.exists());
}

#[test]
fn a_reader_can_neither_compact_nor_delete() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path()));
    let reader = Store::open_reader(dir.path()).unwrap();
    assert!(matches!(reader.compact(LATER), Err(Error::ReadOnly(_))));
    assert!(matches!(reader.retain(Retention::default(), LATER), Err(Error::ReadOnly(_))));
}
