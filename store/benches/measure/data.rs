//! Stores to ask: days of made-up hosts, written window by window and merged as `vesta run` does it.

use std::fs;
use std::path::{Path, PathBuf};

use store::{Pace, Policy, Store};

use crate::fleet::Fleet;
use crate::{DAY_MS, Result, START_MS};

/// What is in a store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) hosts: u32,
    /// On each host.
    pub(crate) samples_per_second: u64,
    /// Length of a window.
    pub(crate) window_ms: i64,
    /// A window begins every so many milliseconds; between them nothing was sampled.
    pub(crate) every_ms: i64,
}

impl Shape {
    /// Minutes of a day that were sampled.
    pub(crate) fn minutes_a_day(&self) -> i64 {
        DAY_MS / self.every_ms * self.window_ms / 60_000
    }
}

/// A store that grows by days.
pub(crate) struct Days {
    pub(crate) store: Store,
    shape: Shape,
    fleet: Fleet,
    dir: PathBuf,
    days: i64,
    samples: u64,
    _temporary: Option<tempfile::TempDir>,
}

/// Beside the segments of a kept store: how many days it has, and samples.
const MARK: &str = "bench-days";

impl Days {
    /// A store without days; or in `keep` under `name`, with those that an earlier run left there.
    pub(crate) fn open(shape: Shape, keep: Option<&Path>, name: &str) -> Result<Self> {
        let (dir, temporary) = match keep {
            Some(keep) => (keep.join(name), None),
            None => {
                let temporary = tempfile::tempdir()?;
                (temporary.path().join(name), Some(temporary))
            }
        };
        fs::create_dir_all(&dir)?;
        let (mut days, mut samples) = (0, 0);
        if let Ok(mark) = fs::read_to_string(dir.join(MARK)) {
            let (a, b) = mark.trim().split_once(' ').ok_or("a damaged mark of days")?;
            (days, samples) = (a.parse()?, b.parse()?);
        }
        let store = Store::open_writer(dir.join("data"))?;
        let fleet = Fleet::new(shape.hosts, shape.samples_per_second);
        Ok(Self { store, shape, fleet, dir, days, samples, _temporary: temporary })
    }

    pub(crate) fn samples(&self) -> u64 {
        self.samples
    }

    pub(crate) fn end_ms(&self) -> i64 {
        START_MS + self.days * DAY_MS
    }

    /// The files of samples, as a pattern.
    pub(crate) fn samples_files(&self) -> String {
        self.dir.join("data/segments/*/*/samples.parquet").to_string_lossy().into_owned()
    }

    /// Adds days until there are so many, each merged by the policy that `vesta run` has by default when it is over.
    pub(crate) fn grow_to(&mut self, days: i64) -> Result<()> {
        while self.days < days {
            let start = self.end_ms();
            for n in 0..DAY_MS / self.shape.every_ms {
                let drawn = self.fleet.draw(self.shape.window_ms);
                let at = start + n * self.shape.every_ms;
                let window = self.fleet.window(&drawn, at, self.shape.window_ms);
                self.samples += window.samples();
                self.store.append(&window)?;
            }
            self.days += 1;
            let done = self.store.compact_by(&Policy::default(), &Pace::default(), self.end_ms() + 60_000)?;
            for skipped in &done.skipped {
                println!("skipped {}: {}", skipped.path.display(), skipped.reason);
            }
            fs::write(self.dir.join(MARK), format!("{} {}", self.days, self.samples))?;
        }
        Ok(())
    }
}
