//! A writer that logs, closes windows, merges and deletes, and is killed at random moments, hundreds of times.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use store::model::{Keep, ProfileBuilder};
use store::{Pace, Policy, Retention, Selector, Store, TimeRange};

use crate::common::{NOON, Random, at_times};

const DATA_DIR: &str = "VESTA_TEST_KILLED_LOGGER";
const KILLS: u64 = 520;
/// Data directories, each with a writer that is killed: one for each of a small machine's CPUs.
const LINES: u64 = 2;

/// Sample n is taken at this time.
fn time_of(n: i64) -> i64 {
    NOON + n * 500
}

/// Samples that are logged at once, and those of a window.
const PART: i64 = 4;
const WINDOW: i64 = 20;
/// Retention: samples that are kept at least.
const KEPT: i64 = 1500;

/// Samples that were acknowledged: survives the process, as it is written into the file.
struct Acknowledged(File);

impl Acknowledged {
    fn open(dir: &Path) -> Self {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        Self(options.open(dir.join("acknowledged")).expect("a file"))
    }

    fn set(&self, n: i64) {
        self.0.write_all_at(&n.to_le_bytes(), 0).expect("written");
    }

    fn get(&self) -> i64 {
        let mut bytes = [0; 8];
        if self.0.read_exact_at(&mut bytes, 0).is_ok() { i64::from_le_bytes(bytes) } else { 0 }
    }
}

/// The numbers of all samples, each as often as it is found.
fn found(store: &Store) -> Vec<i64> {
    let answer = store.query(&Selector::all(), TimeRange::ALL, Keep::ALL).expect("an answer");
    assert_eq!(answer.skipped, []);
    let profile = &answer.profile;
    let times = profile.rows.iter().flat_map(|row| {
        profile.exact_of(row).iter().map(|exact| row.key.time_ms + i64::from(exact.offset_ms))
    });
    let mut found: Vec<_> = times.map(|time| (time - NOON) / 500).collect();
    assert_eq!(found.len() as u64, profile.samples());
    found.sort_unstable();
    found
}

/// Goes on where the last one stopped, until it is killed.
fn write_until_killed(dir: &Path) {
    let store = Store::open_writer(dir.join("data")).expect("the lock of the killed writer is gone");
    let acknowledged = Acknowledged::open(dir);
    let mut next = found(&store).last().map_or(0, |last| last + 1);
    acknowledged.set(next);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        let first = next - next % WINDOW;
        let mut window = ProfileBuilder::logged();
        let mut log = store.open_log(time_of(first)).expect("a log");
        while next < first + WINDOW {
            let times: Vec<_> = (next..(next + PART).min(first + WINDOW)).map(time_of).collect();
            next += times.len() as i64;
            window.merge(&at_times(time_of(first), "a", &times), Keep::ALL, 0..0, |_| true);
            log.append(&mut window, time_of(next)).expect("logged");
            acknowledged.set(next);
        }
        log.close(&store, &window.finish(time_of(first), time_of(next))).expect("a segment");
        let limits = Retention { max_age_ms: Some(KEPT * 500), max_bytes: None };
        store.retain(limits, time_of(next)).expect("deleted");
        // As if an hour later, so that spans are over as soon as they end.
        store.compact_by(&Policy::exact(), &Pace::default(), time_of(next) + 40_000).expect("merged");
    }
}

struct Writer(Child);

impl Writer {
    fn start(dir: &Path) -> Self {
        let writer = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "kills::a_writer_killed_at_any_moment_loses_nothing_that_was_logged"])
            .env(DATA_DIR, dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(writer.expect("started"))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.kill().expect("killed");
        self.0.wait().expect("gone");
    }
}

/// Kills writers of one data directory.
fn kill_again_and_again(line: u64, kills: u64) {
    let dir = tempfile::tempdir().expect("a folder");
    let mut random = Random(line);
    let acknowledged = Acknowledged::open(dir.path());
    let mut before = 0;
    for kill in 0..kills {
        let mut writer = Writer::start(dir.path());
        let waited = Instant::now();
        // Some while they open the directory, most at work.
        let at_work = random.below(5) > 0;
        while at_work && acknowledged.get() < before + PART {
            assert!(writer.0.try_wait().expect("a state").is_none(), "the writer gave up");
            assert!(waited.elapsed() < Duration::from_secs(60), "the writer makes no progress");
            thread::sleep(Duration::from_micros(500));
        }
        thread::sleep(Duration::from_micros(random.below(15_000)));
        drop(writer);
        let least = acknowledged.get();
        let Ok(store) = Store::open_reader(dir.path().join("data")) else {
            assert_eq!(least, 0, "kill {kill}: what was there cannot be opened");
            continue;
        };
        let numbers = found(&store);
        let (first, end) = numbers.first().map_or((0, 0), |first| (*first, numbers[numbers.len() - 1] + 1));
        let expected: Vec<_> = (first..end).collect();
        assert_eq!(numbers, expected, "kill {kill}: each sample once");
        assert!((least..=least + PART).contains(&end), "kill {kill}: {end} of {least} acknowledged");
        assert!(first <= 0.max(end - KEPT), "kill {kill}: {first} is the first of {end}");
        before = end;
    }
    assert!(before > kills as i64 * PART / 2, "{before} samples in {kills} lives");
}

#[test]
fn a_writer_killed_at_any_moment_loses_nothing_that_was_logged() {
    if let Some(dir) = std::env::var_os(DATA_DIR) {
        return write_until_killed(Path::new(&dir));
    }
    thread::scope(|scope| {
        for line in 0..LINES {
            scope.spawn(move || kill_again_and_again(line, KILLS / LINES));
        }
    });
}
