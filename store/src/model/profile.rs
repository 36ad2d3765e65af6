//! A profile: samples of a span of time.

use std::ops::Range;

use super::{Binary, BinaryId, Frame, FrameId, NodeId, StackTree, StringId, StringTable};

/// The status of a stack whose end is proven. Every other status is the reason why it is not.
pub const STATUS_COMPLETE: &str = "complete";

/// The unit of CPU time and of other times.
pub const UNIT_NANOSECONDS: &str = "nanoseconds";

/// The event of samples taken by CPU time.
pub const EVENT_CPU: &str = "cpu";

/// Handle of a series in its profile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesId(pub u32);

/// A label set and what its values mean. Labels of high churn (pid, tid, thread, status) are not here but in
/// [`RowKey`].
///
/// A series has values of one type, named by its label `event`: `cpu`, `off_cpu`, `alloc_space`, …. What has
/// several, as a heap profile's objects and bytes, is several series that share all other labels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Series {
    /// (name, value), sorted by name's text, each name once: `event`, `host`, `process`, `exe`, `cgroup`, ….
    pub labels: Vec<(StringId, StringId)>,
    /// Unit of the rows' values, in the words of pprof: `nanoseconds`, `bytes`, `count`, ….
    pub unit: StringId,
    /// How often samples are taken.
    pub period: Period,
}

/// One sample is taken each time so much has happened; pprof and OTLP say the same by `period` and
/// `period_type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Period {
    /// How much, in `unit`; 0 when unknown, or when every event is a sample.
    pub every: i64,
    /// Of what: `cpu`, `space`, …; empty when unknown.
    pub event: StringId,
    /// In which unit.
    pub unit: StringId,
}

/// What tells one row of samples from another. A query that does not ask for a part sets it to 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowKey {
    /// Whose samples.
    pub series: SeriesId,
    /// Which stack.
    pub node: NodeId,
    /// Process (thread group) id; 0 for kernel threads' group or when not asked for.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// Thread name.
    pub thread: StringId,
    /// [`STATUS_COMPLETE`] or the reason why the stack is incomplete, in `snake_case`.
    pub status: StringId,
    /// Start of the row's time bucket, Unix time in milliseconds.
    pub time_ms: i64,
}

impl Default for NodeId {
    fn default() -> Self {
        Self::ROOT
    }
}

/// One sample within its row: when, and on which CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exact {
    /// Milliseconds since the row's `time_ms`.
    pub offset_ms: u16,
    /// CPU number.
    pub cpu: u16,
}

/// Samples with the same key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What they share.
    pub key: RowKey,
    /// How many.
    pub samples: u64,
    /// Their value in the series' unit (`nanoseconds` for `cpu`).
    pub value: i64,
    /// Their exact times, as a range of [`Profile::exact`]; empty when not kept.
    pub exact: Range<u32>,
}

/// The part of a row that lies within a range of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowPart<'a> {
    /// How many samples.
    pub samples: u64,
    /// Their value.
    pub value: i64,
    /// Their exact times, relative to the row's `time_ms`; empty when not kept.
    pub exact: &'a [Exact],
}

impl<'a> RowPart<'a> {
    /// The whole row.
    pub fn whole(profile: &'a Profile, row: &Row) -> Self {
        Self { samples: row.samples, value: row.value, exact: profile.exact_of(row) }
    }
}

/// A counter of the agent over one window: samples taken, stored, lost by reason, its own cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Account {
    /// Start of the window, Unix time in milliseconds.
    pub time_ms: i64,
    /// Host that counted.
    pub host: StringId,
    /// `samples_taken`, `samples_stored`, `lost_<reason>`, `agent_cpu_ns`, `bpf_ns`, ….
    pub counter: StringId,
    /// How many within the window.
    pub value: u64,
}

/// Samples of a span of time, immutable. Built and merged by [`super::ProfileBuilder`].
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// First millisecond covered, Unix time.
    pub start_ms: i64,
    /// First millisecond no longer covered.
    pub end_ms: i64,
    /// All strings.
    pub strings: StringTable,
    /// Binaries by [`BinaryId`].
    pub binaries: Vec<Binary>,
    /// Frames by [`FrameId`].
    pub frames: Vec<Frame>,
    /// Stacks.
    pub stacks: StackTree,
    /// Label sets by [`SeriesId`].
    pub series: Vec<Series>,
    /// Samples, sorted by key. A key comes twice when some of its samples have exact times and some do not.
    pub rows: Vec<Row>,
    /// Exact times of the rows' samples, sorted within each row.
    pub exact: Vec<Exact>,
    /// The agent's account of the span, sorted.
    pub accounts: Vec<Account>,
}

impl Profile {
    /// The same without rows.
    pub(crate) fn clone_tables(&self) -> Self {
        Self {
            start_ms: self.start_ms,
            end_ms: self.end_ms,
            strings: self.strings.clone(),
            binaries: self.binaries.clone(),
            frames: self.frames.clone(),
            stacks: self.stacks.clone(),
            series: self.series.clone(),
            rows: Vec::new(),
            exact: Vec::new(),
            accounts: self.accounts.clone(),
        }
    }

    /// Its series and accounts alone, with the handles of series that they have.
    pub(crate) fn series_only(&self) -> Self {
        let mut strings = StringTable::default();
        let mut own = |id: StringId| strings.intern(self.strings.get(id));
        let series = self.series.iter().map(|series| Series {
            labels: series.labels.iter().map(|(name, value)| (own(*name), own(*value))).collect(),
            unit: own(series.unit),
            period: Period {
                every: series.period.every,
                event: own(series.period.event),
                unit: own(series.period.unit),
            },
        });
        let series = series.collect();
        let accounts = self.accounts.iter();
        let accounts = accounts.map(|account| Account {
            host: own(account.host),
            counter: own(account.counter),
            ..*account
        });
        let accounts = accounts.collect();
        Self { start_ms: self.start_ms, end_ms: self.end_ms, strings, series, accounts, ..Self::default() }
    }

    /// The text of a handle.
    pub fn text(&self, id: StringId) -> &str {
        self.strings.get(id)
    }

    /// The frame of a handle.
    pub fn frame(&self, id: FrameId) -> &Frame {
        &self.frames[id.0 as usize]
    }

    /// The binary of a handle.
    pub fn binary(&self, id: BinaryId) -> &Binary {
        &self.binaries[id.0 as usize]
    }

    /// The series of a handle.
    pub fn series(&self, id: SeriesId) -> &Series {
        &self.series[id.0 as usize]
    }

    /// A label's value in a series.
    pub fn label(&self, series: SeriesId, name: &str) -> Option<&str> {
        let name = self.strings.find(name)?;
        let labels = &self.series(series).labels;
        labels.iter().find(|(n, _)| *n == name).map(|(_, value)| self.text(*value))
    }

    /// Time that one sample of a series stands for, in nanoseconds; 0 where samples are not taken by time.
    pub fn period_ns(&self, series: SeriesId) -> i64 {
        let period = self.series(series).period;
        if self.text(period.unit) == UNIT_NANOSECONDS { period.every } else { 0 }
    }

    /// All samples.
    pub fn samples(&self) -> u64 {
        self.rows.iter().map(|row| row.samples).sum()
    }

    /// Samples whose stack is complete.
    pub fn complete_samples(&self) -> u64 {
        let Some(complete) = self.strings.find(STATUS_COMPLETE) else { return 0 };
        self.rows.iter().filter(|row| row.key.status == complete).map(|row| row.samples).sum()
    }

    /// The exact times of a row.
    pub fn exact_of(&self, row: &Row) -> &[Exact] {
        self.exact.get(row.exact.start as usize..row.exact.end as usize).unwrap_or(&[])
    }
    /// The part of a row within a half-open range of Unix milliseconds, to the sample: by the exact times
    /// where they are kept, else all samples count at the start of the row's bucket. Parts of ranges that
    /// adjoin add up to the row, in value, too: it is shared equally among the samples, without a remainder.
    pub fn part_within(&self, row: &Row, range: &Range<i64>) -> RowPart<'_> {
        let exact = self.exact_of(row);
        if exact.is_empty() || exact.len() as u64 != row.samples {
            let inside = range.contains(&row.key.time_ms);
            let (samples, value) = if inside { (row.samples, row.value) } else { (0, 0) };
            return RowPart { samples, value, exact: &[] };
        }
        let before = |limit: i64| {
            exact.partition_point(|e| row.key.time_ms.saturating_add(i64::from(e.offset_ms)) < limit)
        };
        let (first, last) = (before(range.start), before(range.end).max(before(range.start)));
        let value_of = |n: usize| (i128::from(row.value) * n as i128).div_euclid(exact.len() as i128) as i64;
        RowPart {
            samples: (last - first) as u64,
            value: value_of(last) - value_of(first),
            exact: &exact[first..last],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row_of(times: &[u16], value: i64) -> Profile {
        let exact: Vec<_> = times.iter().map(|ms| Exact { offset_ms: *ms, cpu: 0 }).collect();
        let key = RowKey { time_ms: 1000, ..RowKey::default() };
        let row = Row { key, samples: exact.len() as u64, value, exact: 0..exact.len() as u32 };
        Profile { rows: vec![row], exact, ..Profile::default() }
    }

    #[test]
    fn parts_of_adjoining_ranges_add_up_even_where_the_value_does_not_divide() {
        for value in [10, -10, 1, 0, i64::MAX, i64::MIN] {
            let profile = row_of(&[0, 3, 3, 700, 9_999], value);
            for cut in 999..11_001 {
                let parts = [i64::MIN..cut, cut..i64::MAX].map(|r| profile.part_within(&profile.rows[0], &r));
                assert_eq!(parts[0].samples + parts[1].samples, 5);
                assert_eq!(parts[0].value + parts[1].value, value);
                assert_eq!(parts[0].exact.len() as u64, parts[0].samples);
            }
        }
    }

    #[test]
    fn a_row_without_exact_times_belongs_to_the_start_of_its_bucket() {
        let mut profile = row_of(&[5], 7);
        profile.rows[0].exact = 0..0;
        let part = |range| profile.part_within(&profile.rows[0], &range);
        assert_eq!((part(1000..1001).samples, part(1000..1001).value), (1, 7));
        assert_eq!((part(1001..9000).samples, part(1001..9000).value), (0, 0));
        assert_eq!(part(500..1000).samples, 0);
    }

    #[test]
    fn a_range_that_ends_before_it_starts_has_no_part() {
        let profile = row_of(&[5, 6], 7);
        let backwards = std::ops::Range { start: 1006, end: 1000 };
        assert_eq!(profile.part_within(&profile.rows[0], &backwards).samples, 0);
    }
}
