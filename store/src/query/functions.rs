//! When functions used CPU: their self and total samples over time.

use regex::Regex;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::engine::{Batch, Columns, Count, Fault, Merge, Need, Query, Reading, Tables};
use super::timeline::Buckets;
use super::{Selector, TimeRange, parse};
use crate::catalog::Skipped;
use crate::error::Result;
use crate::handle::Store;
use crate::model::{FrameKind, Profile, SeriesId};

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
        let (need, rough) = (Need::Stacks, buckets.rough(true));
        let query = Query { store: self, selector, range, columns, need, rough };
        let new = |tables: &Tables| FunctionCounts::new(tables, name, buckets);
        let (merged, reading) = query.run(new, || Merged::new(buckets))?;
        Ok(merged.finish(top, reading))
    }
}

/// No function at all.
const NONE: u32 = u32::MAX;

/// Which of the functions asked for lie on each stack of a tree.
struct Paths {
    /// By node: the function it ends in.
    own: Vec<u32>,
    /// By node: the set of functions on its path.
    set: Vec<u32>,
    /// By set: the smaller set and the function that together make it; set 0 is empty.
    sets: Vec<(u32, u32)>,
}

impl Paths {
    /// `functions`: by frame, the function it is of.
    fn new(tables: &Profile, functions: &[u32]) -> Self {
        let tree = &tables.stacks;
        let mut paths = Self { own: vec![NONE; tree.len()], set: vec![0; tree.len()], sets: vec![(0, NONE)] };
        let mut index: FxHashMap<(u32, u32), u32> = FxHashMap::default();
        for node in tree.nodes().skip(1) {
            let at = node.0 as usize;
            let function = tree.frame(node).map_or(NONE, |frame| functions[frame.0 as usize]);
            let above = paths.set[tree.parent(node).0 as usize];
            paths.own[at] = function;
            paths.set[at] = match function == NONE || paths.functions(above).any(|f| f == function) {
                true => above,
                false => *index.entry((above, function)).or_insert_with(|| {
                    paths.sets.push((above, function));
                    paths.sets.len() as u32 - 1
                }),
            };
        }
        paths
    }

    fn functions(&self, set: u32) -> impl Iterator<Item = u32> + '_ {
        std::iter::successors(Some(set), |set| (*set != 0).then(|| self.sets[*set as usize].0))
            .take_while(|set| *set != 0)
            .map(|set| self.sets[set as usize].1)
    }
}

/// Name, kind and binary of a function.
type Key = (String, FrameKind, String);

/// Samples of a segment by function and bucket.
struct FunctionCounts {
    buckets: Buckets,
    keys: Vec<Key>,
    paths: Paths,
    /// By set of functions and bucket.
    by_set: FxHashMap<(u32, u32), u64>,
    by_own: FxHashMap<(u32, u32), u64>,
    samples: Vec<u64>,
    by_series: Vec<u64>,
}

impl FunctionCounts {
    fn new(tables: &Profile, name: &FunctionName, buckets: Buckets) -> Self {
        let mut keys = Vec::new();
        let mut index = FxHashMap::default();
        // Many frames share a name, and a regular expression is slow.
        let mut hits = vec![None; tables.strings.len()];
        let mut function_of = |frame: &crate::model::Frame| {
            let text = tables.text(frame.function);
            let hit = *hits[frame.function.0 as usize].get_or_insert_with(|| name.contains(text));
            if !hit || frame.kind == FrameKind::Truncated {
                return NONE;
            }
            let binary = frame.binary.map_or("", |binary| tables.text(tables.binary(binary).path));
            *index.entry((frame.function, frame.kind, binary)).or_insert_with(|| {
                keys.push((text.to_owned(), frame.kind, binary.to_owned()));
                keys.len() as u32 - 1
            })
        };
        let functions: Vec<u32> = tables.frames.iter().map(&mut function_of).collect();
        Self {
            buckets,
            paths: Paths::new(tables, &functions),
            keys,
            by_set: FxHashMap::default(),
            by_own: FxHashMap::default(),
            samples: vec![0; buckets.len()],
            by_series: vec![0; tables.series.len()],
        }
    }
}

impl Count for FunctionCounts {
    fn add(&mut self, batch: &Batch<'_>) -> std::result::Result<(), Fault> {
        for run in batch.runs {
            for row in run.rows.clone() {
                let node = batch.node[row].cast_unsigned() as usize;
                let (set, own) = (self.paths.set[node], self.paths.own[node]);
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
        let paths = self.paths.own.len() * 8 + self.paths.sets.len() * 32;
        (maps + paths + self.keys.len() * 160 + self.samples.len() * 8 + self.by_series.len() * 8) as u64
    }
}

/// Samples of all segments by function and bucket.
struct Merged {
    buckets: Buckets,
    keys: FxHashMap<Key, u32>,
    /// By function and bucket: self and total.
    counts: FxHashMap<(u32, u32), (u64, u64)>,
    samples: Vec<u64>,
    periods: FxHashMap<i64, u64>,
}

impl Merged {
    fn new(buckets: Buckets) -> Self {
        Self {
            buckets,
            keys: FxHashMap::default(),
            counts: FxHashMap::default(),
            samples: vec![0; buckets.len()],
            periods: FxHashMap::default(),
        }
    }

    fn finish(self, top: usize, reading: Reading) -> FunctionHistory {
        let mut totals = vec![0u64; self.keys.len()];
        for ((function, _), (_, total)) in &self.counts {
            totals[*function as usize] = totals[*function as usize].saturating_add(*total);
        }
        let mut ranked: Vec<_> = self.keys.into_iter().filter(|(_, id)| totals[*id as usize] > 0).collect();
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

impl Merge<FunctionCounts> for Merged {
    fn merge(&mut self, tables: &Tables, part: FunctionCounts) {
        let mut ours = |key: &Key| {
            let next = self.keys.len() as u32;
            *self.keys.entry(key.clone()).or_insert(next)
        };
        let ours: Vec<u32> = part.keys.iter().map(&mut ours).collect();
        for ((set, bucket), samples) in &part.by_set {
            for function in part.paths.functions(*set) {
                let (_, total) = self.counts.entry((ours[function as usize], *bucket)).or_default();
                *total = total.saturating_add(*samples);
            }
        }
        for ((function, bucket), samples) in &part.by_own {
            let (own, _) = self.counts.entry((ours[*function as usize], *bucket)).or_default();
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
        (self.counts.capacity() * 25 + self.keys.len() * 200 + self.samples.len() * 8) as u64
    }
}
