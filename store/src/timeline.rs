//! Samples over time, stacked by a label.

use rustc_hash::FxHashMap;
use serde::Serialize;

use crate::catalog::Skipped;
use crate::model::{Profile, Row, STATUS_COMPLETE};
use crate::query::{Selected, Selector, TimeRange, label_text};

/// At most this many buckets: more than a screen has columns.
pub(crate) const MAX_BUCKETS: i64 = 2000;

/// Samples over time; docs/api.md describes it as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
    /// Segments read.
    pub segments_read: usize,
    /// Segments left out.
    pub skipped: Vec<Skipped>,
}

/// Samples with one value of the label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// The label's value; empty for samples without the label.
    pub value: String,
    /// All samples.
    pub total: u64,
    /// Samples by bucket.
    pub samples: Vec<u64>,
}

/// Samples of all groups beyond the top ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OtherGroups {
    /// How many groups.
    pub groups: usize,
    /// All samples.
    pub total: u64,
    /// Samples by bucket.
    pub samples: Vec<u64>,
}

/// A timeline under construction.
pub(crate) struct TimelineBuilder {
    range: TimeRange,
    step_ms: i64,
    by: String,
    groups: FxHashMap<String, u32>,
    /// Only buckets with samples: by process id there can be many thousand groups.
    counts: FxHashMap<(u32, u32), u64>,
    complete: Vec<u64>,
    lost: Vec<u64>,
    periods: FxHashMap<i64, u64>,
}

impl TimelineBuilder {
    pub(crate) fn new(range: TimeRange, step_ms: i64, by: &str) -> Self {
        let finest = range.len_ms().div_euclid(MAX_BUCKETS) + i64::from(range.len_ms() % MAX_BUCKETS != 0);
        let step_ms = step_ms.max(finest).max(1);
        let buckets = (range.len_ms().max(1) - 1) / step_ms + 1;
        let empty = vec![0; usize::try_from(buckets).unwrap_or(1)];
        Self {
            range,
            step_ms,
            by: by.to_owned(),
            groups: FxHashMap::default(),
            counts: FxHashMap::default(),
            complete: empty.clone(),
            lost: empty,
            periods: FxHashMap::default(),
        }
    }

    pub(crate) fn add(&mut self, profile: &Profile, selector: &Selector) {
        let range = self.range.as_range();
        let mut selected = Selected::new(profile, selector);
        let mut known = FxHashMap::default();
        for row in &profile.rows {
            let part = profile.part_within(row, &range);
            if part.samples == 0 || !selected.contains(row) {
                continue;
            }
            let key = (row.key.series, self.row_part(row));
            let group = *known.entry(key).or_insert_with(|| {
                let value = label_text(profile, &row.key, &self.by);
                let next = self.groups.len() as u32;
                *self.groups.entry(value.into_owned()).or_insert(next)
            });
            let complete = profile.text(row.key.status) == STATUS_COMPLETE;
            *self.periods.entry(profile.period_ns(row.key.series)).or_default() += part.samples;
            if part.exact.is_empty() {
                self.count(group, complete, row.key.time_ms, part.samples);
            }
            for exact in part.exact {
                self.count(group, complete, row.key.time_ms + i64::from(exact.offset_ms), 1);
            }
        }
        for account in profile.accounts.iter().filter(|account| range.contains(&account.time_ms)) {
            if profile.text(account.counter).starts_with("lost_") {
                let bucket = self.bucket(account.time_ms) as usize;
                self.lost[bucket] = self.lost[bucket].saturating_add(account.value);
            }
        }
    }

    /// What of a row's key, beside the series, decides its group.
    fn row_part(&self, row: &Row) -> u32 {
        match self.by.as_str() {
            "pid" => row.key.pid,
            "tid" => row.key.tid,
            "thread" => row.key.thread.0,
            "status" => row.key.status.0,
            _ => 0,
        }
    }

    fn bucket(&self, time_ms: i64) -> u32 {
        // Within the range, hence among the at most MAX_BUCKETS buckets.
        ((time_ms - self.range.from_ms) / self.step_ms) as u32
    }

    fn count(&mut self, group: u32, complete: bool, time_ms: i64, samples: u64) {
        let bucket = self.bucket(time_ms);
        *self.counts.entry((group, bucket)).or_default() += samples;
        if complete {
            self.complete[bucket as usize] += samples;
        }
    }

    pub(crate) fn finish(self, top: usize, segments_read: usize, skipped: Vec<Skipped>) -> Timeline {
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
        let period_ns = self.periods.into_iter().max_by_key(|(period, samples)| (*samples, *period));
        Timeline {
            from_ms: self.range.from_ms,
            until_ms: self.range.until_ms,
            step_ms: self.step_ms,
            period_ns: period_ns.map_or(0, |(period, _)| period),
            by: self.by,
            groups,
            other,
            complete: self.complete,
            lost: self.lost,
            segments_read,
            skipped,
        }
    }
}
