//! A writer that is killed, and a disk that fails.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use store::model::Keep;
use store::{Selector, Store, TimeRange};

use crate::common::{NOON, at_times};

const DATA_DIR: &str = "VESTA_TEST_KILLED_WRITER";

fn times(store: &Store) -> Vec<i64> {
    let answer = store.query(&Selector::all(), TimeRange::ALL, Keep::ALL).expect("an answer");
    assert_eq!(answer.skipped, []);
    let mut times: Vec<_> = answer.profile.rows.iter().map(|row| row.key.time_ms).collect();
    times.sort_unstable();
    times
}

/// Far longer than needed, so that nothing hangs for ever if a test fails.
const LIMIT: Duration = Duration::from_secs(60);

/// A process that is killed when it goes out of scope, whatever happens.
struct Writer(Child);

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.kill().expect("killed");
        self.0.wait().expect("gone");
    }
}

/// Appends windows where the last writer stopped, and merges, until it is killed.
fn write_until_killed(dir: &Path) {
    let store = Store::open_writer(dir).expect("the lock of the killed writer is gone");
    let mut next = times(&store).last().map_or(NOON, |last| last + 10_000);
    let start = Instant::now();
    while start.elapsed() < LIMIT {
        store.append(&at_times(next, "a", &[next])).expect("written");
        store.compact(next).expect("merged");
        next += 10_000;
    }
}

#[test]
fn a_killed_writer_leaves_whole_windows_each_once() {
    if let Some(dir) = std::env::var_os(DATA_DIR) {
        return write_until_killed(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let mut written = 0;
    for round in 0..6 {
        let writer = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::a_killed_writer_leaves_whole_windows_each_once"])
            .env(DATA_DIR, dir.path())
            .stdout(Stdio::null())
            .spawn();
        let writer = Writer(writer.unwrap());
        let start = Instant::now();
        let count = |dir: &Path| Store::open_reader(dir).map_or(0, |store| times(&store).len());
        while count(dir.path()) < written + 25 {
            assert!(start.elapsed() < LIMIT, "the writer makes no progress");
            thread::sleep(Duration::from_millis(3 + round * 7));
        }
        drop(writer);
        let found = times(&Store::open_reader(dir.path()).unwrap());
        let expected: Vec<_> = (0..found.len() as i64).map(|n| NOON + n * 10_000).collect();
        assert_eq!(found, expected);
        written = found.len();
    }
    let writer = Store::open_writer(dir.path()).unwrap();
    assert_eq!(std::fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
    writer.compact(NOON * 2).unwrap();
    assert_eq!(times(&writer).len(), written);
    assert_eq!(
        writer.stats().segments,
        written.div_ceil(12 * 360),
        "one for each day, of which half was left"
    );
}

#[test]
fn a_window_that_cannot_be_written_stays_in_memory_until_it_can() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_writer(dir.path()).unwrap();
    let window = Arc::new(at_times(NOON, "a", &[NOON, NOON + 1]));
    store.publish_head(Some(window.clone()));
    std::fs::remove_dir(dir.path().join("tmp")).unwrap();
    let error = store.append(&window).unwrap_err().to_string();
    assert!(error.contains("cannot create ") && error.contains("tmp"), "{error}");
    let answer = store.query(&Selector::all(), TimeRange::ALL, Keep::STACKS).unwrap();
    assert_eq!((answer.profile.samples(), answer.segments_read), (2, 0));
    std::fs::create_dir(dir.path().join("tmp")).unwrap();
    store.append(&window).unwrap();
    let answer = store.query(&Selector::all(), TimeRange::ALL, Keep::STACKS).unwrap();
    assert_eq!((answer.profile.samples(), answer.segments_read), (2, 1));
}

#[test]
fn windows_beyond_what_memory_may_hold_are_given_up_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_writer(dir.path()).unwrap();
    for n in 0..40 {
        let start = NOON + n * 10_000;
        store.publish_head(Some(Arc::new(at_times(start, "a", &[start]))));
    }
    let stats = store.stats();
    assert_eq!((stats.heads, stats.heads_dropped), (30, 10));
    assert_eq!(times(&store).first(), Some(&(NOON + 100_000)), "the oldest went");
}
