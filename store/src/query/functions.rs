//! When functions used CPU: their self and total samples over time.

use std::sync::{Mutex, MutexGuard, PoisonError};

use regex::Regex;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::engine::{Batch, Columns, Count, Fault, Merge, Need, Query, Reading, Tables};
use super::function_paths::{NONE, Paths};
use super::timeline::Buckets;
use super::{Selector, TimeRange, parse};
use crate::catalog::Skipped;
use crate::dictionary::Dictionary;
use crate::error::Result;
use crate::handle::Store;
use crate::model::SeriesId;

/// Which functions, by name.
#[derive(Clone, Debug)]
pub enum FunctionName {
    /// Those of exactly this name.
    Is(String),
    /// Those whose name contains a match.
    Matches(Regex),
}

impl FunctionName {
    /// A name, or after a `~` a regular expression that is searched for in names.
    ///
    /// # Errors
    /// When the regular expression is bad or too large, or the text is empty.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        match text.strip_prefix('~') {
            Some(pattern) => parse::bounded_regex(pattern).map(Self::Matches),
            None if text.is_empty() => Err("the name of a function is empty".to_owned()),
            None => Ok(Self::Is(text.to_owned())),
        }
    }

    /// Whether a function of this name is one of them.
    pub(crate) fn contains(&self, name: &str) -> bool {
        match self {
            Self::Is(only) => only == name,
            Self::Matches(regex) => regex.is_match(name),
        }
    }
}

/// Functions over time; docs/api.md describes it as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionHistory {
    /// Start of the first bucket, Unix milliseconds.
    pub from_ms: i64,
    /// End of the range; the last bucket may be shorter than the others.
    pub until_ms: i64,
    /// Length of a bucket.
    pub step_ms: i64,
    /// CPU time one sample stands for, of the series with most samples; 0 without samples, or where they are not
    /// taken by time.
    pub period_ns: i64,
    /// All selected samples, by bucket.
    pub samples: Vec<u64>,
    /// Functions that were found, those left out of `functions` included.
    pub found: usize,
    /// The functions with most samples in total, in this order.
    pub functions: Vec<FunctionTimes>,
    /// Segments left out.
    pub skipped: Vec<Skipped>,
}

/// One function over time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionTimes {
    /// Its name.
    pub function: String,
    /// Kind of its frames.
    pub kind: String,
    /// Path of its binary; empty when there is none.
    pub binary: String,
    /// Samples that ended in it, by bucket.
    #[serde(rename = "self")]
    pub own: Vec<u64>,
    /// Samples with it anywhere on the stack, by bucket; a stack in which it recurs counts once.
    pub total: Vec<u64>,
}

impl Store {
    /// Self and total samples over time of functions by name: the `top` ones with most samples.
    ///
    /// # Errors
    /// As [`Store::query`].
    pub fn function_history(
        &self,
        selector: &Selector,
        range: TimeRange,
        step_ms: i64,
        name: &FunctionName,
        top: usize,
    ) -> Result<FunctionHistory> {
        let buckets = Buckets::new(range, step_ms);
        let columns = Columns { node: true, time: true, ..Columns::default() };
        let dictionary = self.dictionary();
        let (need, rough) = (Need::Places(dictionary.clone()), buckets.rough(true));
        let query = Query { store: self, selector, range, columns, need, rough };
        let paths = Mutex::new(Paths::new(name.clone()));
        let new = |tables: &Tables| FunctionCounts::new(tables, &dictionary, &paths, buckets);
        let (merged, reading) = query.run(new, || Merged::new(&dictionary, &paths, buckets))?;
        Ok(merged.finish(top, reading))
    }
}

/// Samples of a segment by function and bucket.
struct FunctionCounts {
    buckets: Buckets,
    /// By the segment's own nodes: the function it ends in, and the set of those on its path.
    nodes: Vec<(u32, u32)>,
    /// By set of functions and bucket.
    by_set: FxHashMap<(u32, u32), u64>,
    by_own: FxHashMap<(u32, u32), u64>,
    samples: Vec<u64>,
    by_series: Vec<u64>,
}

impl FunctionCounts {
    fn new(tables: &Tables, dictionary: &Dictionary, paths: &Mutex<Paths>, buckets: Buckets) -> Self {
        let known = tables.known(dictionary);
        let mut paths = lock(paths);
        paths.grow(&dictionary.read().all.tables());
        Self {
            buckets,
            nodes: known.places.iter().map(|node| paths.of(node.0)).collect(),
            by_set: FxHashMap::default(),
            by_own: FxHashMap::default(),
            samples: vec![0; buckets.len()],
            by_series: vec![0; tables.series.len()],
        }
    }
}

fn lock(paths: &Mutex<Paths>) -> MutexGuard<'_, Paths> {
    paths.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Count for FunctionCounts {
    fn add(&mut self, batch: &Batch<'_>) -> std::result::Result<(), Fault> {
        for run in batch.runs {
            for row in run.rows.clone() {
                let node = batch.node[row].cast_unsigned() as usize;
                let (own, set) = self.nodes[node];
                batch.each_time(row, |time, samples| {
                    let bucket = self.buckets.place(time);
                    self.samples[bucket] = self.samples[bucket].saturating_add(samples);
                    if set != 0 {
                        *self.by_set.entry((set, bucket as u32)).or_default() += samples;
                    }
                    if own != NONE {
                        *self.by_own.entry((own, bucket as u32)).or_default() += samples;
                    }
                });
                let sum = &mut self.by_series[run.series.0 as usize];
                *sum = sum.saturating_add(batch.samples[row].cast_unsigned());
            }
        }
        Ok(())
    }

    fn bytes(&self) -> u64 {
        let maps = (self.by_set.capacity() + self.by_own.capacity()) * 17;
        (maps + self.nodes.len() * 8 + self.samples.len() * 8 + self.by_series.len() * 8) as u64
    }
}

/// Samples of all segments by function and bucket.
struct Merged<'a> {
    dictionary: &'a Dictionary,
    paths: &'a Mutex<Paths>,
    buckets: Buckets,
    /// By function and bucket: self and total.
    counts: FxHashMap<(u32, u32), (u64, u64)>,
    samples: Vec<u64>,
    periods: FxHashMap<i64, u64>,
}

impl<'a> Merged<'a> {
    fn new(dictionary: &'a Dictionary, paths: &'a Mutex<Paths>, buckets: Buckets) -> Self {
        Self {
            dictionary,
            paths,
            buckets,
            counts: FxHashMap::default(),
            samples: vec![0; buckets.len()],
            periods: FxHashMap::default(),
        }
    }

    fn finish(self, top: usize, reading: Reading) -> FunctionHistory {
        let paths = lock(self.paths);
        let mut totals = vec![0u64; paths.keys().len()];
        for ((function, _), (_, total)) in &self.counts {
            totals[*function as usize] = totals[*function as usize].saturating_add(*total);
        }
        let keys = paths.keys().iter().cloned().zip(0u32..);
        let mut ranked: Vec<_> = keys.filter(|(_, id)| totals[*id as usize] > 0).collect();
        ranked.sort_by(|a, b| totals[b.1 as usize].cmp(&totals[a.1 as usize]).then_with(|| a.0.cmp(&b.0)));
        let found = ranked.len();
        ranked.truncate(top);
        let times = vec![0; self.samples.len()];
        let mut place = vec![None; totals.len()];
        let mut functions = Vec::with_capacity(ranked.len());
        for ((function, kind, binary), id) in ranked {
            place[id as usize] = Some(functions.len());
            let (kind, own, total) = (kind.name().to_owned(), times.clone(), times.clone());
            functions.push(FunctionTimes { function, kind, binary, own, total });
        }
        for ((function, bucket), (own, total)) in self.counts {
            if let Some(at) = place[function as usize] {
                functions[at].own[bucket as usize] = own;
                functions[at].total[bucket as usize] = total;
            }
        }
        let period_ns = self.periods.into_iter().max_by_key(|(period, samples)| (*samples, *period));
        FunctionHistory {
            from_ms: self.buckets.range().from_ms,
            until_ms: self.buckets.range().until_ms,
            step_ms: self.buckets.step_ms,
            period_ns: period_ns.map_or(0, |(period, _)| period),
            samples: self.samples,
            found,
            functions,
            skipped: reading.skipped,
        }
    }
}

impl Merge<FunctionCounts> for Merged<'_> {
    fn merge(&mut self, tables: &Tables, part: FunctionCounts) {
        let paths = lock(self.paths);
        for ((set, bucket), samples) in &part.by_set {
            for function in paths.functions(*set) {
                let (_, total) = self.counts.entry((function, *bucket)).or_default();
                *total = total.saturating_add(*samples);
            }
        }
        for ((function, bucket), samples) in &part.by_own {
            let (own, _) = self.counts.entry((*function, *bucket)).or_default();
            *own = own.saturating_add(*samples);
        }
        for (sum, samples) in self.samples.iter_mut().zip(&part.samples) {
            *sum = sum.saturating_add(*samples);
        }
        for (series, samples) in part.by_series.iter().enumerate().filter(|(_, samples)| **samples > 0) {
            let sum = self.periods.entry(tables.period_ns(SeriesId(series as u32))).or_default();
            *sum = sum.saturating_add(*samples);
        }
    }

    fn bytes(&self) -> u64 {
        let own = self.counts.capacity() * 25 + self.samples.len() * 8;
        own as u64 + lock(self.paths).bytes() + self.dictionary.beyond_its_share()
    }
}
