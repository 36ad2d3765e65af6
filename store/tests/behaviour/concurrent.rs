//! One writer and several readers at once, each in its own store as in its own process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use store::model::Keep;
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
