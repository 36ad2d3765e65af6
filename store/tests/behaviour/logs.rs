//! The log of an open window: what was logged is there, once, whatever happens to the writer.

use std::fs;
use std::path::{Path, PathBuf};

use store::model::{Keep, Profile, ProfileBuilder};
use store::{Error, Selector, Store, TimeRange, WindowLog};

use crate::common::{NOON, plain, window};

/// An open window, and what was logged of it.
struct Open {
    builder: ProfileBuilder,
    log: WindowLog,
}

impl Open {
    fn new(store: &Store, start_ms: i64) -> Self {
        Self { builder: ProfileBuilder::logged(), log: store.open_log(start_ms).expect("a log") }
    }

    /// Samples come, and are logged.
    fn part(&mut self, seed: u64) {
        self.add(seed);
        let end = self.log.start_ms() + 10_000;
        self.log.append(&mut self.builder, end).expect("logged");
    }

    fn add(&mut self, seed: u64) {
        let part = window(seed, self.log.start_ms(), 20);
        self.builder.merge(&part, Keep::ALL, i64::MIN..i64::MAX, |_| true);
    }

    fn profile(&self) -> Profile {
        self.builder.clone().finish(self.log.start_ms(), self.log.start_ms() + 10_000)
    }

    fn close(self, store: &Store) {
        let profile = self.profile();
        self.log.close(store, &profile).expect("a segment");
    }
}

fn all(store: &Store) -> Vec<String> {
    let answer = store.query(&Selector::all(), TimeRange::ALL, Keep::ALL).expect("an answer");
    assert_eq!(answer.skipped, []);
    plain(&answer.profile)
}

fn logs(dir: &Path) -> Vec<PathBuf> {
    let Ok(files) = fs::read_dir(dir.join("log")) else { return Vec::new() };
    files.map(|file| file.expect("a file").path()).collect()
}

#[test]
fn what_is_logged_is_seen_by_everyone_and_once_when_it_becomes_a_segment() {
    let dir = tempfile::tempdir().unwrap();
    let writer = Store::open_writer(dir.path()).unwrap();
    let reader = Store::open_reader(dir.path()).unwrap();
    let mut open = Open::new(&writer, NOON);
    assert_eq!(logs(dir.path()).len(), 0, "nothing is written before there is something");
    for n in 0..5 {
        open.part(n);
        let expected = plain(&open.profile());
        assert_eq!(all(&writer), expected);
        assert_eq!(all(&reader), expected);
        assert_eq!(all(&Store::open_reader(dir.path()).unwrap()), expected);
    }
    assert_eq!((writer.stats().logs, writer.stats().segments), (1, 0));
    assert!(writer.stats().log_bytes > 1000);
    open.add(9);
    let whole = plain(&open.profile());
    open.close(&writer);
    assert_eq!(logs(dir.path()).len(), 0);
    assert_eq!((all(&writer), all(&reader)), (whole.clone(), whole));
    assert_eq!((reader.stats().logs, reader.stats().segments), (0, 1));
}

#[test]
fn a_writer_that_is_gone_leaves_its_log_to_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let writer = Store::open_writer(dir.path()).unwrap();
    let mut first = Open::new(&writer, NOON);
    first.part(1);
    let mut second = Open::new(&writer, NOON + 10_000);
    second.part(2);
    second.part(3);
    let before = all(&writer);
    // As a kill leaves it: nothing is closed.
    drop((first, second, writer));
    assert_eq!(all(&Store::open_reader(dir.path()).unwrap()), before);
    for _ in 0..2 {
        let writer = Store::open_writer(dir.path()).unwrap();
        assert_eq!((all(&writer), writer.stats().segments, logs(dir.path()).len()), (before.clone(), 2, 0));
    }
}

#[test]
fn a_log_whose_segment_is_there_already_does_not_count_again() {
    let dir = tempfile::tempdir().unwrap();
    let writer = Store::open_writer(dir.path()).unwrap();
    let mut open = Open::new(&writer, NOON);
    open.part(1);
    let log = logs(dir.path()).remove(0);
    let bytes = fs::read(&log).unwrap();
    open.close(&writer);
    let whole = all(&writer);
    // As a crash between the two leaves it.
    fs::write(&log, &bytes).unwrap();
    assert_eq!(all(&Store::open_reader(dir.path()).unwrap()), whole);
    assert_eq!(all(&writer), whole);
    // Nor when its segment is merged, or deleted.
    let mut next = Open::new(&writer, NOON + 10_000);
    next.part(2);
    next.close(&writer);
    let both = all(&writer);
    assert_eq!(writer.compact(NOON + 86_400_000).unwrap().written, 1);
    assert!(!log.exists());
    assert_eq!(all(&writer), both);
    drop(writer);
    fs::remove_dir_all(dir.path().join("log")).unwrap();
    assert_eq!(all(&Store::open_writer(dir.path()).unwrap()), both);
}

#[test]
fn wherever_a_log_is_torn_the_whole_parts_before_are_there() {
    let dir = tempfile::tempdir().unwrap();
    let writer = Store::open_writer(dir.path()).unwrap();
    let mut open = Open::new(&writer, NOON);
    let mut parts = vec![(0, Vec::new())];
    for n in 0..3 {
        open.part(n);
        parts.push((open.log.bytes(), plain(&open.profile())));
    }
    let log = logs(dir.path()).remove(0);
    let bytes = fs::read(&log).unwrap();
    drop((open, writer));
    let step = 1.max(bytes.len() / 150);
    for cut in (0..bytes.len()).step_by(step).chain(parts.iter().map(|(end, _)| *end as usize)) {
        fs::write(&log, &bytes[..cut]).unwrap();
        let expected = &parts.iter().rev().find(|(end, _)| *end as usize <= cut).unwrap().1;
        assert_eq!(all(&Store::open_reader(dir.path()).unwrap()), *expected, "cut at {cut}");
        if cut % 5 == 0 {
            let writer = Store::open_writer(dir.path()).unwrap();
            assert_eq!((&all(&writer), logs(dir.path()).len()), (expected, 0), "cut at {cut}");
            for segment in writer.segments().unwrap() {
                fs::remove_dir_all(segment.path()).unwrap();
            }
        }
    }
}

#[test]
fn a_window_that_cannot_be_written_stays_in_its_log_until_it_can() {
    let dir = tempfile::tempdir().unwrap();
    let writer = Store::open_writer(dir.path()).unwrap();
    let mut open = Open::new(&writer, NOON);
    open.part(1);
    let whole = all(&writer);
    let profile = open.profile();
    fs::remove_dir(dir.path().join("tmp")).unwrap();
    let error = open.log.close(&writer, &profile).unwrap_err().to_string();
    assert!(error.contains("cannot create ") && error.contains("tmp"), "{error}");
    assert!(writer.settle().is_err());
    assert_eq!((all(&writer), writer.stats().segments), (whole, 0));
    fs::create_dir(dir.path().join("tmp")).unwrap();
    // One that is open is left alone.
    let mut next = Open::new(&writer, NOON + 10_000);
    next.part(2);
    let settled = writer.settle().unwrap();
    assert_eq!((settled.windows, settled.samples, settled.skipped.len()), (1, profile.samples(), 0));
    assert_eq!((writer.stats().segments, writer.stats().logs), (1, 1));
    next.close(&writer);
    assert_eq!(writer.stats().segments, 2);
}

#[test]
fn what_could_not_be_logged_is_logged_the_next_time() {
    let dir = tempfile::tempdir().unwrap();
    let writer = Store::open_writer(dir.path()).unwrap();
    let mut open = Open::new(&writer, NOON);
    fs::write(dir.path().join("log"), "in the way").unwrap();
    open.add(1);
    let error = open.log.append(&mut open.builder, NOON + 1).unwrap_err().to_string();
    assert!(error.contains("log"), "{error}");
    fs::remove_file(dir.path().join("log")).unwrap();
    open.part(2);
    assert_eq!(all(&Store::open_reader(dir.path()).unwrap()), plain(&open.profile()));
}

#[test]
fn damage_within_a_log_is_named_and_kept_and_what_stands_before_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let writer = Store::open_writer(dir.path()).unwrap();
    let mut open = Open::new(&writer, NOON);
    open.part(1);
    let (first, end) = (all(&writer), open.log.bytes() as usize);
    open.part(2);
    open.part(3);
    drop((open, writer));
    let log = logs(dir.path()).remove(0);
    let mut bytes = fs::read(&log).unwrap();
    bytes[end + 20] ^= 1;
    fs::write(&log, &bytes).unwrap();
    let reader = Store::open_reader(dir.path()).unwrap();
    let answer = reader.query(&Selector::all(), TimeRange::ALL, Keep::ALL).unwrap();
    assert_eq!(plain(&answer.profile), first);
    assert_eq!((answer.skipped.len(), &answer.skipped[0].path), (1, &log));
    assert!(answer.skipped[0].reason.contains("after 1 records"), "{:?}", answer.skipped);
    let writer = Store::open_writer(dir.path()).unwrap();
    assert_eq!(all(&writer), first);
    let kept = dir.path().join("quarantine").join(log.file_name().unwrap());
    assert_eq!(fs::read(kept).unwrap(), bytes);
}

#[test]
fn a_log_of_a_later_version_is_left_alone_and_one_that_is_none_is_put_aside() {
    let dir = tempfile::tempdir().unwrap();
    let writer = Store::open_writer(dir.path()).unwrap();
    let mut open = Open::new(&writer, NOON);
    open.part(1);
    drop((open, writer));
    let log = logs(dir.path()).remove(0);
    let mut bytes = fs::read(&log).unwrap();
    bytes[8] = 2;
    let crc32 = crc32fast::hash(&bytes[..20]).to_le_bytes();
    bytes[20..24].copy_from_slice(&crc32);
    fs::write(&log, &bytes).unwrap();
    let other = log.with_file_name("01J00000000000000000000000.log");
    fs::write(&other, "this is a letter to my aunt in Hamburg").unwrap();
    let skipped = |store: &Store| {
        let answer = store.query(&Selector::all(), TimeRange::ALL, Keep::ALL).unwrap();
        assert_eq!(answer.profile.samples(), 0);
        answer.skipped.into_iter().map(|skipped| skipped.reason).collect::<Vec<_>>().join("; ")
    };
    let told = skipped(&Store::open_reader(dir.path()).unwrap());
    assert!(told.contains("version 2") && told.contains("not a log of Vesta"), "{told}");
    let writer = Store::open_writer(dir.path()).unwrap();
    assert!(log.exists() && !other.exists());
    assert_eq!(fs::read_dir(dir.path().join("quarantine")).unwrap().count(), 1);
    let told = skipped(&writer);
    assert!(told.contains("version 2") && !told.contains("not a log"), "{told}");
    let check = writer.check(|_| true).unwrap();
    assert_eq!((check.bad, check.later.len()), (vec![], 1));
}

#[test]
fn readers_have_no_log_and_too_many_of_them_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let writer = Store::open_writer(dir.path()).unwrap();
    let reader = Store::open_reader(dir.path()).unwrap();
    assert!(matches!(reader.open_log(NOON), Err(Error::ReadOnly(_))));
    assert!(matches!(reader.settle(), Err(Error::ReadOnly(_))));
    for n in 0..64 {
        Open::new(&writer, NOON + n).part(1);
    }
    let error = writer.open_log(NOON).unwrap_err().to_string();
    assert!(error.contains("64 logs"), "{error}");
    assert_eq!(writer.settle().unwrap().windows, 64);
    writer.open_log(NOON).unwrap();
}
