//! Counters of agents over time: what their accounts say of each window, without reading a sample.

use std::collections::BTreeMap;

use super::TimeRange;
use super::engine::Budget;
use super::timeline::Buckets;
use crate::cache::Depth;
use crate::catalog::Skipped;
use crate::error::Result;
use crate::handle::Store;
use crate::model::Profile;
use crate::segment::LoadError;

/// The question starts over when a segment vanishes under it (merged or past its retention), at most this often.
const MAX_TRIES: usize = 8;

/// Counters of a range in buckets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters {
    /// Start of the first bucket, Unix milliseconds.
    pub from_ms: i64,
    /// End of the range.
    pub until_ms: i64,
    /// Length of a bucket, milliseconds.
    pub step_ms: i64,
    /// Those that counted anything, by host and name.
    pub series: Vec<CounterSeries>,
    /// Segments left out.
    pub skipped: Vec<Skipped>,
}

/// One counter of one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterSeries {
    /// Who counted.
    pub host: String,
    /// Its name, as docs/formats.md lists them.
    pub counter: String,
    /// How many by bucket, each window in the bucket that it starts in.
    pub values: Vec<u64>,
}

/// By host and counter: values by bucket.
type Sums = BTreeMap<(String, String), Vec<u64>>;

impl Store {
    /// The counters whose names start with `prefix`, in buckets of `step_ms` (more if there were over 2,000).
    ///
    /// # Errors
    /// When the segments cannot be listed, the query is ended, or the counters need more memory than it may take.
    pub fn counters(&self, prefix: &str, range: TimeRange, step_ms: i64) -> Result<Counters> {
        let buckets = Buckets::new(range, step_ms);
        'again: for tries in 1.. {
            let snapshot = self.snapshot(range)?;
            let mut skipped = snapshot.skipped;
            let mut sums = Sums::new();
            let budget = Budget::new(self.limits().memory_bytes);
            let mut memory = budget.share();
            for segment in &snapshot.segments {
                self.limits().cancel.check()?;
                let reason = match self.tables(segment, Depth::Series) {
                    Ok(tables) => {
                        add(&mut sums, &tables, prefix, buckets);
                        memory.set(bytes(&sums, buckets))?;
                        continue;
                    }
                    Err(LoadError::Vanished) if tries < MAX_TRIES => continue 'again,
                    Err(LoadError::Vanished) => "it was removed while it was read".to_owned(),
                    Err(LoadError::Bad(reason)) => {
                        self.mark_bad(segment, &reason);
                        reason
                    }
                    Err(LoadError::Refused(reason)) => reason,
                };
                skipped.push(Skipped { path: segment.path().to_owned(), reason });
            }
            for head in &snapshot.heads {
                add(&mut sums, head, prefix, buckets);
                memory.set(bytes(&sums, buckets))?;
            }
            let series =
                sums.into_iter().map(|((host, counter), values)| CounterSeries { host, counter, values });
            let (from_ms, until_ms) = (range.from_ms, range.until_ms);
            let series = series.collect();
            return Ok(Counters { from_ms, until_ms, step_ms: buckets.step_ms, series, skipped });
        }
        unreachable!("the last try always answers")
    }
}

fn add(sums: &mut Sums, profile: &Profile, prefix: &str, buckets: Buckets) {
    let range = buckets.range().as_range();
    for account in profile.accounts.iter().filter(|account| range.contains(&account.time_ms)) {
        let counter = profile.text(account.counter);
        if account.value == 0 || !counter.starts_with(prefix) {
            continue;
        }
        let name = (profile.text(account.host).to_owned(), counter.to_owned());
        let values = sums.entry(name).or_insert_with(|| vec![0; buckets.len()]);
        let sum = &mut values[buckets.place(account.time_ms)];
        *sum = sum.saturating_add(account.value);
    }
}

fn bytes(sums: &Sums, buckets: Buckets) -> u64 {
    let names: usize = sums.keys().map(|(host, counter)| host.len() + counter.len()).sum();
    (names + sums.len() * (buckets.len() * 8 + 128)) as u64
}
