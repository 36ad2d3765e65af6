//! Rows of samples by column, as operations see them: selected, and cut to the range.

use std::ops::Range;

use crate::model::{SeriesId, StringTable};
use crate::query::Offsets;

/// Which columns an operation needs, beside `series` and `samples`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Columns {
    /// Stacks.
    pub(crate) node: bool,
    /// Values.
    pub(crate) value: bool,
    /// Process and thread ids and names of threads.
    pub(crate) threads: bool,
    /// Whether, or why not, the stack is complete.
    pub(crate) status: bool,
    /// When: buckets, and exact times where they are kept.
    pub(crate) time: bool,
    /// On which CPU, where that is kept: only beside exact times.
    pub(crate) cpus: bool,
}

/// Some rows. A column that was not asked for is empty.
pub(crate) struct Batch<'a> {
    /// The rows that count, each with at least one sample, in runs of one series.
    pub(crate) runs: &'a [Run],
    /// Nodes of the segment's tree, all of them valid.
    pub(crate) node: &'a [i32],
    /// Starts of the rows' buckets, Unix milliseconds.
    pub(crate) time: &'a [i64],
    /// Samples within the range.
    pub(crate) samples: &'a [i64],
    /// The values of these samples.
    pub(crate) value: &'a [i64],
    /// Process ids.
    pub(crate) pid: &'a [i64],
    /// Thread ids.
    pub(crate) tid: &'a [i64],
    /// Names of threads, as handles of `texts`.
    pub(crate) thread: Codes<'a>,
    /// Statuses, as handles of `texts`.
    pub(crate) status: Codes<'a>,
    /// Texts of this segment's rows, the same for all its batches.
    pub(crate) texts: &'a StringTable,
    /// Exact times of all samples of a row, within the range or not; none where the row does not know them.
    pub(crate) exact: Option<Lists<'a>>,
    /// The CPUs of these samples, in the same order; none where the row does not know them.
    pub(crate) cpus: Option<Lists<'a>>,
    /// The range, Unix milliseconds.
    pub(crate) range: &'a Range<i64>,
    /// The parts of seconds that count; none for all of them.
    pub(crate) offsets: Option<&'a Offsets>,
}

/// Neighbouring rows of one series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) series: SeriesId,
    pub(crate) rows: Range<usize>,
}

/// A text for each row.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Codes<'a> {
    /// The same for all rows.
    One(u32),
    /// By row.
    Each(&'a [u32]),
}

impl Codes<'_> {
    pub(crate) fn get(self, row: usize) -> u32 {
        match self {
            Self::One(code) => code,
            Self::Each(codes) => codes[row],
        }
    }
}

/// A list of numbers for each row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lists<'a> {
    /// Where each row's list begins; one more entry than rows.
    pub(crate) starts: &'a [i32],
    /// All lists, one after the other.
    pub(crate) values: &'a [i32],
}

impl<'a> Lists<'a> {
    pub(crate) fn get(self, row: usize) -> &'a [i32] {
        &self.values[self.starts[row] as usize..self.starts[row + 1] as usize]
    }
}

impl Batch<'_> {
    /// Calls `each` with times and numbers of samples of a row, to the millisecond: exact times within the range
    /// where the row has them, else the start of its bucket with all its samples.
    pub(crate) fn each_time(&self, row: usize, mut each: impl FnMut(i64, u64)) {
        let offsets = self.exact.map_or(&[][..], |lists| lists.get(row));
        if offsets.is_empty() {
            // Statistics may have said falsely that it is within.
            if self.range.contains(&self.time[row]) {
                each(self.time[row], self.samples[row].cast_unsigned());
            }
            return;
        }
        for offset in offsets {
            let time = self.time[row].saturating_add(i64::from(*offset));
            if self.range.contains(&time) && self.offsets.is_none_or(|offsets| offsets.contains(time)) {
                each(time, 1);
            }
        }
    }

    /// The same with the CPU of each sample, where it is known.
    pub(crate) fn each_time_and_cpu(&self, row: usize, mut each: impl FnMut(i64, Option<u16>, u64)) {
        let cpus = self.cpus.map_or(&[][..], |lists| lists.get(row));
        let offsets = self.exact.map_or(&[][..], |lists| lists.get(row));
        if offsets.is_empty() || cpus.len() != offsets.len() {
            return self.each_time(row, |time, samples| each(time, None, samples));
        }
        for (offset, cpu) in offsets.iter().zip(cpus) {
            let time = self.time[row].saturating_add(i64::from(*offset));
            if self.range.contains(&time) && self.offsets.is_none_or(|offsets| offsets.contains(time)) {
                each(time, u16::try_from(*cpu).ok(), 1);
            }
        }
    }
}
