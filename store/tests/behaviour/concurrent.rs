//! One writer and several readers at once, each in its own store as in its own process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use store::model::{Keep, ProfileBuilder};
use store::{Retention, Selector, Store, TimeRange};

use crate::common::{NOON, at_times};

const WINDOWS: i64 = 120;

fn window_at(n: i64) -> i64 {
    NOON + n * 10_000
}

#[test]
fn readers_never_see_a_window_twice_or_not_at_all_while_the_writer_appends_and_merges() {
    let dir = tempfile::tempdir().unwrap();
    let writer = Store::open_writer(dir.path()).unwrap();
    // Windows of which `append` has returned. A reader must find at least those before its query, and no
    // more than those after it and the one on its way.
    let (written, done) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for reader in [Store::open_reader(dir.path()).unwrap(), writer.clone()] {
            let (written, done) = (&written, &done);
            scope.spawn(move || {
                let mut queries = 0;
                while !done.load(Ordering::Acquire) || queries == 0 {
                    let least = written.load(Ordering::Acquire);
                    let answer = reader.query(&Selector::all(), TimeRange::ALL, Keep::ALL).unwrap();
                    let most = written.load(Ordering::Acquire) + 1;
                    assert_eq!(answer.skipped, []);
                    let found = answer.profile.samples();
                    assert!((least..=most).contains(&found), "{least} <= {found} <= {most}");
                    let mut times: Vec<_> = answer.profile.rows.iter().map(|row| row.key.time_ms).collect();
                    times.sort_unstable();
                    let expected: Vec<_> = (0..found as i64).map(window_at).collect();
                    assert_eq!(times, expected);
                    queries += 1;
                }
            });
        }
        for n in 0..WINDOWS {
            let window = Arc::new(at_times(window_at(n), "a", &[window_at(n)]));
            writer.publish_head(Some(window.clone()));
            writer.append(&window).unwrap();
            written.store(n as u64 + 1, Ordering::Release);
            writer.compact(window_at(n)).unwrap();
        }
        writer.compact(NOON + 86_400_000).unwrap();
        done.store(true, Ordering::Release);
    });
    assert_eq!(writer.stats().segments, 1);
}

#[test]
fn readers_get_answers_while_old_segments_are_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let writer = Store::open_writer(dir.path()).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = Store::open_reader(dir.path()).unwrap();
        let done = &done;
        scope.spawn(move || {
            while !done.load(Ordering::Acquire) {
                let answer = reader.query(&Selector::all(), TimeRange::ALL, Keep::ALL).unwrap();
                assert_eq!(answer.skipped, []);
                let mut times: Vec<_> = answer.profile.rows.iter().map(|row| row.key.time_ms).collect();
                times.sort_unstable();
                assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 10_000), "a gap: {times:?}");
            }
        });
        let limits = Retention { max_age_ms: Some(100_000), max_bytes: None };
        for n in 0..WINDOWS {
            writer.append(&at_times(window_at(n), "a", &[window_at(n)])).unwrap();
            writer.retain(limits, window_at(n + 1)).unwrap();
        }
        done.store(true, Ordering::Release);
    });
    assert_eq!(writer.stats().segments, 10);
}

/// Sample n is taken at this time; these many are logged at once, make a window, and are kept at least.
fn time_of(n: i64) -> i64 {
    NOON + n * 1_000
}
const PART: i64 = 3;
const WINDOW: i64 = 10;
const KEPT: i64 = 400;

fn look(reader: &Store, logged: &AtomicU64, done: &AtomicBool) {
    while !done.load(Ordering::Acquire) {
        let least = logged.load(Ordering::Acquire) as i64;
        let answer = reader.query(&Selector::all(), TimeRange::ALL, Keep::ALL).expect("an answer");
        let most = logged.load(Ordering::Acquire) as i64 + PART;
        assert_eq!(answer.skipped, []);
        let profile = &answer.profile;
        let times = profile.rows.iter().flat_map(|row| {
            profile.exact_of(row).iter().map(|exact| row.key.time_ms + i64::from(exact.offset_ms))
        });
        let mut numbers: Vec<_> = times.map(|time| (time - NOON) / 1_000).collect();
        numbers.sort_unstable();
        let first = numbers.first().copied().unwrap_or(0);
        let end = numbers.last().map_or(0, |last| last + 1);
        assert_eq!(numbers, (first..end).collect::<Vec<_>>(), "each sample once");
        assert!((least..=most).contains(&end), "{least} <= {end} <= {most}");
        assert!(first <= (end - KEPT).max(0), "{first}..{end}");
    }
}

#[test]
fn readers_see_each_sample_once_while_it_is_logged_written_merged_and_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let writer = Store::open_writer(dir.path()).unwrap();
    let (logged, done) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let readers = [1, 2].map(|_| Store::open_reader(dir.path()).unwrap());
        for reader in readers.into_iter().chain([writer.clone()]) {
            let (logged, done) = (&logged, &done);
            scope.spawn(move || look(&reader, logged, done));
        }
        let mut next = 0;
        for n in 0..90 {
            let mut window = ProfileBuilder::logged();
            let mut log = writer.open_log(time_of(n * WINDOW)).unwrap();
            while next < (n + 1) * WINDOW {
                let times: Vec<_> = (next..(next + PART).min((n + 1) * WINDOW)).map(time_of).collect();
                next += times.len() as i64;
                window.merge(&at_times(time_of(n * WINDOW), "a", &times), Keep::ALL, 0..0, |_| true);
                log.append(&mut window, time_of(next)).unwrap();
                logged.store(next as u64, Ordering::Release);
            }
            log.close(&writer, &window.finish(time_of(n * WINDOW), time_of(next))).unwrap();
            writer
                .retain(Retention { max_age_ms: Some(KEPT * 1_000), max_bytes: None }, time_of(next))
                .unwrap();
            // As if later, so that spans are over as soon as they end.
            writer.compact(time_of(next) + 30_000).unwrap();
        }
        done.store(true, Ordering::Release);
    });
    assert!(writer.stats().segments < 40, "{:?}", writer.stats());
}
