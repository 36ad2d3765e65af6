//! Threads or CPUs over time: who ran when, and where.

use std::fmt;
use std::str::FromStr;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::engine::{Batch, Columns, Count, Fault, Merge, Need, Query, Reading, Rough, Tables};
use super::timeline::Buckets;
use super::{Selector, TimeRange};
use crate::catalog::Skipped;
use crate::error::Result;
use crate::handle::Store;
use crate::model::{Profile, SeriesId, StringId};

/// What a lane is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LanesBy {
    /// A thread of a process.
    #[default]
    Thread,
    /// A CPU of a host.
    Cpu,
}

/// Neither of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are lanes by thread and by cpu")]
pub struct BadLanes;

impl FromStr for LanesBy {
    type Err = BadLanes;

    fn from_str(name: &str) -> std::result::Result<Self, BadLanes> {
        match name {
            "thread" => Ok(Self::Thread),
            "cpu" => Ok(Self::Cpu),
            _ => Err(BadLanes),
        }
    }
}

impl fmt::Display for LanesBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Thread => "thread",
            Self::Cpu => "cpu",
        })
    }
}

/// Samples by lane and bucket; docs/api.md describes it as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lanes {
    /// Start of the first bucket, Unix milliseconds.
    pub from_ms: i64,
    /// End of the range; the last bucket may be shorter than the others.
    pub until_ms: i64,
    /// Length of a bucket.
    pub step_ms: i64,
    /// As of a [`Timeline`](super::Timeline).
    pub period_ns: i64,
    /// `thread` or `cpu`.
    pub by: String,
    /// Threads with most samples first; CPUs in the order of hosts and numbers.
    pub lanes: Vec<Lane>,
    /// All others together.
    pub other: OtherLanes,
    /// Segments left out.
    pub skipped: Vec<Skipped>,
}

/// A thread, or a CPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    /// The host it is of.
    pub host: String,
    /// Of a thread, the process' name; empty for a CPU.
    pub process: String,
    /// The thread's name; the last one, if it had several.
    pub thread: String,
    /// Process id; 0 for a CPU.
    pub pid: u32,
    /// Thread id; 0 for a CPU.
    pub tid: u32,
    /// The CPU's number; none for a thread, and for samples whose CPU was not kept.
    pub cpu: Option<u16>,
    /// All samples.
    pub total: u64,
    /// Samples by bucket.
    pub samples: Vec<u64>,
}

/// The lanes beyond those asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherLanes {
    /// How many.
    pub lanes: usize,
    /// All samples.
    pub total: u64,
}

impl Store {
    /// Samples of each thread or CPU in buckets of `step_ms` (more if there were over 2,000): the `top` lanes with
    /// most samples, and how many more there are.
    ///
    /// # Errors
    /// As [`Store::query`].
    pub fn lanes(
        &self,
        selector: &Selector,
        range: TimeRange,
        step_ms: i64,
        by: LanesBy,
        top: usize,
    ) -> Result<Lanes> {
        let buckets = Buckets::new(range, step_ms);
        let is_cpu = by == LanesBy::Cpu;
        let columns = Columns { time: true, threads: !is_cpu, cpus: is_cpu, ..Columns::default() };
        let (need, rough) = (Need::Series, Rough::NO);
        let query = Query { store: self, selector, range, columns, need, rough };
        let new = |tables: &Tables| LaneCounts::new(tables, by, buckets);
        let (merged, reading) = query.run(new, || Merged::new(buckets))?;
        Ok(merged.finish(by, top, reading))
    }
}

/// What tells lanes of a segment apart: places of host and process among its own, process and thread id or CPU.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Place {
    owner: u32,
    pid: u32,
    tid: u32,
    cpu: Option<u16>,
}

/// What tells lanes of all segments apart.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key {
    host: String,
    process: String,
    pid: u32,
    tid: u32,
    cpu: Option<u16>,
}

/// Samples of a segment by lane and bucket.
struct LaneCounts {
    by: LanesBy,
    buckets: Buckets,
    /// Host and process by place, and the place by series.
    owners: Vec<(String, String)>,
    by_series: Vec<u32>,
    index: FxHashMap<Place, u32>,
    lanes: Vec<(Place, String)>,
    counts: FxHashMap<(u32, u32), u64>,
    series_samples: Vec<u64>,
}

impl LaneCounts {
    fn new(tables: &Profile, by: LanesBy, buckets: Buckets) -> Self {
        let mut owners = Vec::new();
        let mut places = FxHashMap::default();
        let mut owner = |series| {
            let text = |label| tables.label(SeriesId(series), label).unwrap_or("").to_owned();
            let process = if by == LanesBy::Thread { text("process") } else { String::new() };
            let owner = (text("host"), process);
            *places.entry(owner.clone()).or_insert_with(|| {
                owners.push(owner);
                owners.len() as u32 - 1
            })
        };
        let by_series = (0..tables.series.len() as u32).map(&mut owner).collect();
        let series_samples = vec![0; tables.series.len()];
        let (index, lanes, counts) = Default::default();
        Self { by, buckets, owners, by_series, index, lanes, counts, series_samples }
    }

    fn lane(&mut self, place: Place) -> u32 {
        *self.index.entry(place).or_insert_with(|| {
            self.lanes.push((place, String::new()));
            self.lanes.len() as u32 - 1
        })
    }

    fn count(&mut self, lane: u32, time_ms: i64, samples: u64) {
        let sum = self.counts.entry((lane, self.buckets.place(time_ms) as u32)).or_default();
        *sum = sum.saturating_add(samples);
    }

    fn add_row(&mut self, batch: &Batch<'_>, series: SeriesId, row: usize) -> std::result::Result<(), Fault> {
        let owner = self.by_series[series.0 as usize];
        if self.by == LanesBy::Cpu {
            batch.each_time_and_cpu(row, |time, cpu, samples| {
                let lane = self.lane(Place { owner, pid: 0, tid: 0, cpu });
                self.count(lane, time, samples);
            });
            return Ok(());
        }
        let id = |id: i64| u32::try_from(id).map_err(|_| Fault::bad(format_args!("id {id} is out of range")));
        let lane = self.lane(Place { owner, pid: id(batch.pid[row])?, tid: id(batch.tid[row])?, cpu: None });
        let (name, known) =
            (batch.texts.get(StringId(batch.thread.get(row))), &mut self.lanes[lane as usize].1);
        if known != name {
            name.clone_into(known);
        }
        batch.each_time(row, |time, samples| self.count(lane, time, samples));
        Ok(())
    }
}

impl Count for LaneCounts {
    fn add(&mut self, batch: &Batch<'_>) -> std::result::Result<(), Fault> {
        for run in batch.runs {
            for row in run.rows.clone() {
                self.add_row(batch, run.series, row)?;
                let sum = &mut self.series_samples[run.series.0 as usize];
                *sum = sum.saturating_add(batch.samples[row].cast_unsigned());
            }
        }
        Ok(())
    }

    fn bytes(&self) -> u64 {
        let lanes = self.lanes.len() * 96 + self.owners.len() * 96 + self.by_series.len() * 12;
        (lanes + self.counts.capacity() * 17) as u64
    }
}

/// Samples of all segments by lane and bucket.
struct Merged {
    buckets: Buckets,
    index: FxHashMap<Key, u32>,
    names: Vec<String>,
    counts: FxHashMap<(u32, u32), u64>,
    periods: FxHashMap<i64, u64>,
}

impl Merged {
    fn new(buckets: Buckets) -> Self {
        let (index, names, counts, periods) = Default::default();
        Self { buckets, index, names, counts, periods }
    }

    fn finish(self, by: LanesBy, top: usize, reading: Reading) -> Lanes {
        let buckets = self.buckets.len();
        let mut totals = vec![0u64; self.names.len()];
        for ((lane, _), samples) in &self.counts {
            totals[*lane as usize] = totals[*lane as usize].saturating_add(*samples);
        }
        let mut ranked: Vec<(Key, u32)> = self.index.into_iter().collect();
        ranked.sort_by(|a, b| totals[b.1 as usize].cmp(&totals[a.1 as usize]).then_with(|| a.0.cmp(&b.0)));
        let rest = ranked.split_off(top.min(ranked.len()));
        let other =
            OtherLanes { lanes: rest.len(), total: rest.iter().map(|(_, id)| totals[*id as usize]).sum() };
        if by == LanesBy::Cpu {
            ranked.sort();
        }
        let mut place = vec![None; totals.len()];
        let mut lanes = Vec::with_capacity(ranked.len());
        for (Key { host, process, pid, tid, cpu }, id) in ranked {
            place[id as usize] = Some(lanes.len());
            let (thread, total) = (self.names[id as usize].clone(), totals[id as usize]);
            lanes.push(Lane { host, process, thread, pid, tid, cpu, total, samples: vec![0; buckets] });
        }
        for ((lane, bucket), samples) in self.counts {
            if let Some(at) = place[lane as usize] {
                lanes[at].samples[bucket as usize] = samples;
            }
        }
        let period = self.periods.into_iter().max_by_key(|(period, samples)| (*samples, *period));
        Lanes {
            from_ms: self.buckets.range().from_ms,
            until_ms: self.buckets.range().until_ms,
            step_ms: self.buckets.step_ms,
            period_ns: period.map_or(0, |(period, _)| period),
            by: by.to_string(),
            lanes,
            other,
            skipped: reading.skipped,
        }
    }
}

impl Merge<LaneCounts> for Merged {
    fn merge(&mut self, tables: &Tables, part: LaneCounts) {
        let mut ours = Vec::with_capacity(part.lanes.len());
        for (Place { owner, pid, tid, cpu }, name) in part.lanes {
            let (host, process) = part.owners[owner as usize].clone();
            let next = self.names.len() as u32;
            let id = *self.index.entry(Key { host, process, pid, tid, cpu }).or_insert(next);
            match self.names.get_mut(id as usize) {
                Some(known) => *known = name,
                None => self.names.push(name),
            }
            ours.push(id);
        }
        for ((lane, bucket), samples) in part.counts {
            let sum = self.counts.entry((ours[lane as usize], bucket)).or_default();
            *sum = sum.saturating_add(samples);
        }
        for (series, samples) in
            part.series_samples.into_iter().enumerate().filter(|(_, samples)| *samples > 0)
        {
            let sum = self.periods.entry(tables.period_ns(SeriesId(series as u32))).or_default();
            *sum = sum.saturating_add(samples);
        }
    }

    fn bytes(&self) -> u64 {
        (self.counts.capacity() * 17 + self.index.capacity() * 96 + self.names.len() * 48) as u64
    }
}
