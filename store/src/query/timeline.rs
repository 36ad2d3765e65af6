//! Samples over time, stacked by a label.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::engine::{Batch, Columns, Count, Fault, Merge, Need, Query, Reading, Rough, Tables};
use super::groups::Groups;
use super::{Selector, TimeRange};
use crate::catalog::Skipped;
use crate::error::Result;
use crate::handle::Store;
use crate::model::{Profile, STATUS_COMPLETE, SeriesId, StringId};
use crate::segment::ROLLUPS;

/// At most this many buckets: more than a screen has columns.
pub(crate) const MAX_BUCKETS: i64 = 2000;

/// Samples over time; docs/api.md describes it as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    /// Start of the first bucket, Unix milliseconds.
    pub from_ms: i64,
    /// End of the range; the last bucket may be shorter than the others.
    pub until_ms: i64,
    /// Length of a bucket.
    pub step_ms: i64,
    /// CPU time one sample stands for, of the series with most samples; 0 without samples, or where they are not
    /// taken by time.
    pub period_ns: i64,
    /// The label that groups.
    pub by: String,
    /// The groups with most samples, in this order.
    pub groups: Vec<Group>,
    /// All other groups together.
    pub other: OtherGroups,
    /// Samples whose stack is complete, by bucket.
    pub complete: Vec<u64>,
    /// Samples lost, whatever the selector, in the bucket their window starts in.
    pub lost: Vec<u64>,
    /// How often samples were taken, from the first bucket with any on, and where that changed.
    #[serde(default)]
    pub rates: Vec<Rate>,
    /// Segments left out.
    pub skipped: Vec<Skipped>,
}

/// Samples with one value of the label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// The label's value; empty for samples without the label.
    pub value: String,
    /// All samples.
    pub total: u64,
    /// Samples by bucket.
    pub samples: Vec<u64>,
}

/// How often samples are taken from some time on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// Start of the bucket, Unix milliseconds.
    pub time_ms: i64,
    /// CPU time that one sample stands for.
    pub period_ns: i64,
}

/// Samples of all groups beyond the top ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherGroups {
    /// How many groups.
    pub groups: usize,
    /// All samples.
    pub total: u64,
    /// Samples by bucket.
    pub samples: Vec<u64>,
}

/// Equal buckets of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Buckets {
    range: TimeRange,
    pub(crate) step_ms: i64,
}

impl Buckets {
    /// Buckets of `step_ms`, or of more if there were too many.
    pub(crate) fn new(range: TimeRange, step_ms: i64) -> Self {
        let finest = range.len_ms().div_euclid(MAX_BUCKETS) + i64::from(range.len_ms() % MAX_BUCKETS != 0);
        Self { range, step_ms: step_ms.max(finest).max(1) }
    }

    pub(crate) fn range(self) -> TimeRange {
        self.range
    }

    pub(crate) fn len(self) -> usize {
        usize::try_from((self.range.len_ms().max(1) - 1) / self.step_ms + 1).unwrap_or(1)
    }

    /// The bucket of a time within the range.
    pub(crate) fn place(self, time_ms: i64) -> usize {
        // Steps of damaged rollups may lie anywhere.
        let place = time_ms.saturating_sub(self.range.from_ms) / self.step_ms;
        usize::try_from(place).unwrap_or(0).min(self.len() - 1)
    }

    /// Rollups do where their steps never lie in two buckets.
    pub(crate) fn rough(self, hosts: bool) -> Rough {
        let fits = |step: &i64| self.step_ms % step == 0 && self.range.from_ms % step == 0;
        let steps = ROLLUPS.into_iter().map(|(_, step)| step).filter(fits);
        Rough { step_ms: steps.max().unwrap_or(0), hosts }
    }
}

impl Store {
    /// Samples over time in buckets of `step_ms` (more if there were over 2,000), stacked by the label `by`:
    /// the `top` values with most samples, and the rest together.
    ///
    /// # Errors
    /// As [`Store::query`].
    pub fn timeline(
        &self,
        selector: &Selector,
        range: TimeRange,
        step_ms: i64,
        by: &str,
        top: usize,
    ) -> Result<Timeline> {
        let buckets = Buckets::new(range, step_ms);
        let columns = Columns { time: true, status: true, ..Groups::columns(by) };
        let rough = buckets.rough(by != "host");
        let query = Query { store: self, selector, range, columns, need: Need::Series, rough };
        let new = |tables: &Tables| TimeCounts::new(tables, by, buckets);
        let (merged, reading) = query.run(new, || Merged::new(buckets))?;
        Ok(merged.finish(by, top, reading))
    }
}

/// Samples of a segment by group and bucket.
struct TimeCounts {
    buckets: Buckets,
    groups: Groups,
    /// By series: which of `rates` it is sampled at.
    rate_of: Vec<usize>,
    rates: Vec<i64>,
    /// By rate: samples by bucket.
    by_rate: Vec<Vec<u64>>,
    /// The group and the rate that are being counted, by bucket, and the buckets in use.
    current: (u32, usize),
    dense: Vec<u64>,
    touched: Vec<u32>,
    /// Only buckets with samples: by process id there can be many thousand groups.
    counts: FxHashMap<(u32, u32), u64>,
    complete: Vec<u64>,
    by_series: Vec<u64>,
}

impl TimeCounts {
    fn new(tables: &Profile, by: &str, buckets: Buckets) -> Self {
        let mut rates = Vec::new();
        let mut rate = |id| {
            let period = tables.period_ns(SeriesId(id));
            rates.iter().position(|known| *known == period).unwrap_or_else(|| {
                rates.push(period);
                rates.len() - 1
            })
        };
        let rate_of = (0..tables.series.len() as u32).map(&mut rate).collect();
        Self {
            buckets,
            groups: Groups::new(tables, by),
            rate_of,
            by_rate: vec![vec![0; buckets.len()]; rates.len()],
            rates,
            current: (0, 0),
            dense: vec![0; buckets.len()],
            touched: Vec::new(),
            counts: FxHashMap::default(),
            complete: vec![0; buckets.len()],
            by_series: vec![0; tables.series.len()],
        }
    }

    fn flush(&mut self) {
        for bucket in self.touched.drain(..) {
            let samples = std::mem::take(&mut self.dense[bucket as usize]);
            *self.counts.entry((self.current.0, bucket)).or_default() += samples;
            let sum = &mut self.by_rate[self.current.1][bucket as usize];
            *sum = sum.saturating_add(samples);
        }
    }
}

impl Count for TimeCounts {
    fn add(&mut self, batch: &Batch<'_>) -> std::result::Result<(), Fault> {
        let complete = batch.texts.find(STATUS_COMPLETE).unwrap_or(StringId(u32::MAX));
        for run in batch.runs {
            for row in run.rows.clone() {
                let group = self.groups.place(batch, run.series, row)?;
                let place = (group, self.rate_of[run.series.0 as usize]);
                if place != self.current {
                    self.flush();
                    self.current = place;
                }
                let is_complete = batch.status.get(row) == complete.0;
                batch.each_time(row, |time, samples| {
                    let bucket = self.buckets.place(time);
                    let cell = &mut self.dense[bucket];
                    if *cell == 0 {
                        self.touched.push(bucket as u32);
                    }
                    *cell = cell.saturating_add(samples);
                    if is_complete {
                        self.complete[bucket] = self.complete[bucket].saturating_add(samples);
                    }
                });
                let sum = &mut self.by_series[run.series.0 as usize];
                *sum = sum.saturating_add(batch.samples[row].cast_unsigned());
            }
        }
        Ok(())
    }

    fn finish(&mut self) {
        self.flush();
    }

    fn bytes(&self) -> u64 {
        let buckets = self.buckets.len() * (20 + 8 * self.rates.len()) + self.by_series.len() * 16;
        (buckets + self.counts.capacity() * 17) as u64 + self.groups.bytes()
    }
}

/// Samples of all segments by group and bucket.
struct Merged {
    buckets: Buckets,
    groups: FxHashMap<String, u32>,
    counts: FxHashMap<(u32, u32), u64>,
    complete: Vec<u64>,
    lost: Vec<u64>,
    periods: FxHashMap<i64, u64>,
    /// Samples by rate and bucket.
    rates: BTreeMap<i64, Vec<u64>>,
}

impl Merged {
    fn new(buckets: Buckets) -> Self {
        Self {
            buckets,
            groups: FxHashMap::default(),
            counts: FxHashMap::default(),
            complete: vec![0; buckets.len()],
            lost: vec![0; buckets.len()],
            periods: FxHashMap::default(),
            rates: BTreeMap::new(),
        }
    }
}

impl Merge<TimeCounts> for Merged {
    fn merge(&mut self, tables: &Tables, part: TimeCounts) {
        let mut ours = vec![None; part.groups.names().len()];
        for ((group, bucket), samples) in part.counts {
            let place = &mut ours[group as usize];
            let ours = *place.get_or_insert_with(|| {
                let next = self.groups.len() as u32;
                *self.groups.entry(part.groups.names()[group as usize].clone()).or_insert(next)
            });
            let sum = self.counts.entry((ours, bucket)).or_default();
            *sum = sum.saturating_add(samples);
        }
        for (sum, samples) in self.complete.iter_mut().zip(part.complete) {
            *sum = sum.saturating_add(samples);
        }
        for (period, samples) in part.rates.into_iter().zip(part.by_rate) {
            if period == 0 || samples.iter().all(|samples| *samples == 0) {
                continue;
            }
            let sums = self.rates.entry(period).or_insert_with(|| vec![0; self.complete.len()]);
            sums.iter_mut().zip(samples).for_each(|(sum, samples)| *sum = sum.saturating_add(samples));
        }
        for (series, samples) in part.by_series.into_iter().enumerate().filter(|(_, samples)| *samples > 0) {
            let sum = self.periods.entry(tables.period_ns(SeriesId(series as u32))).or_default();
            *sum = sum.saturating_add(samples);
        }
        let range = self.buckets.range.as_range();
        let accounts = tables.with_accounts().into_iter().flat_map(|profile| &profile.accounts);
        for account in accounts.filter(|account| range.contains(&account.time_ms)) {
            if tables.text(account.counter).starts_with("lost_") {
                let sum = &mut self.lost[self.buckets.place(account.time_ms)];
                *sum = sum.saturating_add(account.value);
            }
        }
    }

    fn bytes(&self) -> u64 {
        let buckets = self.complete.len() * (16 + 8 * self.rates.len());
        (self.counts.capacity() * 17 + self.groups.len() * 96 + buckets) as u64
    }
}

/// Where the rate changed: where one is not used any more, and another one is. Several hosts may have several.
fn changes(rates: &BTreeMap<i64, Vec<u64>>, buckets: Buckets) -> Vec<Rate> {
    let mut changes: Vec<Rate> = Vec::new();
    for bucket in 0..buckets.len() {
        let used = |period: i64, bucket: usize| rates.get(&period).is_some_and(|samples| samples[bucket] > 0);
        if changes.last().is_some_and(|last| used(last.period_ns, bucket)) {
            continue;
        }
        let most = rates.iter().filter(|(_, samples)| samples[bucket] > 0);
        let Some((period, _)) = most.max_by_key(|(_, samples)| samples[bucket]) else { continue };
        // Both can be of the bucket in which it changed.
        let before = bucket.checked_sub(1).filter(|before| used(*period, *before)).unwrap_or(bucket);
        let time_ms = buckets.range.from_ms + before as i64 * buckets.step_ms;
        changes.push(Rate { time_ms, period_ns: *period });
    }
    changes
}

impl Merged {
    fn finish(self, by: &str, top: usize, reading: Reading) -> Timeline {
        let buckets = self.complete.len();
        let mut totals = vec![0u64; self.groups.len()];
        for ((group, _), samples) in &self.counts {
            totals[*group as usize] += samples;
        }
        let mut ranked: Vec<(String, u32)> = self.groups.into_iter().collect();
        ranked.sort_by(|a, b| totals[b.1 as usize].cmp(&totals[a.1 as usize]).then_with(|| a.0.cmp(&b.0)));
        let rest = ranked.split_off(top.min(ranked.len()));
        let mut place = vec![None; totals.len()];
        let mut groups = Vec::with_capacity(ranked.len());
        for (value, id) in ranked {
            place[id as usize] = Some(groups.len());
            groups.push(Group { value, total: totals[id as usize], samples: vec![0; buckets] });
        }
        let mut other = OtherGroups { groups: rest.len(), total: 0, samples: vec![0; buckets] };
        for ((group, bucket), samples) in self.counts {
            match place[group as usize] {
                Some(at) => groups[at].samples[bucket as usize] += samples,
                None => {
                    other.samples[bucket as usize] += samples;
                    other.total += samples;
                }
            }
        }
        let rates = changes(&self.rates, self.buckets);
        let period_ns = self.periods.into_iter().max_by_key(|(period, samples)| (*samples, *period));
        Timeline {
            from_ms: self.buckets.range.from_ms,
            until_ms: self.buckets.range.until_ms,
            step_ms: self.buckets.step_ms,
            period_ns: period_ns.map_or(0, |(period, _)| period),
            by: by.to_owned(),
            groups,
            other,
            complete: self.complete,
            lost: self.lost,
            rates,
            skipped: reading.skipped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_changes_where_it_is_used_no_more() {
        let range = TimeRange::new(1000, 9000).unwrap();
        let buckets = Buckets::new(range, 1000);
        let told = |rates: &[(i64, [u64; 8])]| {
            let rates = rates.iter().map(|(period, samples)| (*period, samples.to_vec())).collect();
            changes(&rates, buckets).iter().map(|rate| (rate.time_ms, rate.period_ns)).collect::<Vec<_>>()
        };
        assert_eq!(told(&[]), []);
        assert_eq!(told(&[(20, [0, 3, 0, 4, 5, 0, 0, 1])]), [(2000, 20)]);
        // Both are of the bucket in which it changed, and nothing is of the one after it.
        let changed = [(10, [0, 0, 0, 4, 0, 9, 9, 9]), (20, [5, 5, 5, 2, 0, 0, 0, 0])];
        assert_eq!(told(&changed), [(1000, 20), (6000, 10)]);
        let changed = [(10, [0, 0, 0, 4, 9, 9, 9, 9]), (20, [5, 5, 5, 2, 0, 0, 0, 0])];
        assert_eq!(told(&changed), [(1000, 20), (4000, 10)]);
        // Two hosts, each with its own: nothing changed.
        assert_eq!(told(&[(10, [9, 1, 9, 1, 9, 1, 9, 1]), (20, [5; 8])]), [(1000, 10)]);
    }
}
