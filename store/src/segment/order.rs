//! The order of rows in the samples file.

use std::cmp::Ordering;
use std::ops::Range;

use super::chunk_ms;
use crate::model::{Profile, Row, RowKey, StringId, StringTable};

/// Rows are sorted by group of series, chunk of time, node and series, packed into one number; then by status, time,
/// process and thread. Equal stacks of many hosts stand together, and a chunk can be skipped.
#[derive(Debug)]
pub(super) struct RowOrder {
    groups: Vec<u32>,
    chunk_ms: i64,
}

/// A row's place as far as integers tell: group, chunk, node, series.
pub(super) type Place = u128;

impl RowOrder {
    /// The order for tables that are in order, and rows of this resolution.
    pub(super) fn new(tables: &Profile, resolution_ms: i64) -> Self {
        Self { groups: tables.groups_of_series(), chunk_ms: chunk_ms(resolution_ms) }
    }

    /// The group of a row's series.
    pub(super) fn group(&self, key: &RowKey) -> u32 {
        self.groups.get(key.series.0 as usize).copied().unwrap_or(u32::MAX)
    }

    pub(super) fn place(&self, key: &RowKey) -> Place {
        // Times are within the years 1970 to 9999: chunks fit.
        self.place_in(key, key.time_ms.div_euclid(self.chunk_ms) as u32)
    }

    fn place_in(&self, key: &RowKey, chunk: u32) -> Place {
        u128::from(self.group(key)) << 96
            | u128::from(chunk) << 64
            | u128::from(key.node.0) << 32
            | u128::from(key.series.0)
    }

    /// The places of rows, in their order. Neighbours are mostly of the same chunk, which need not be divided for then.
    pub(super) fn places<'a>(&'a self, rows: &'a [Row]) -> impl Iterator<Item = Place> + 'a {
        let mut times = 0..0;
        let mut chunk = 0;
        rows.iter().map(move |row| {
            if !times.contains(&row.key.time_ms) {
                times = span_of(row.key.time_ms, self.chunk_ms);
                chunk = times.start.div_euclid(self.chunk_ms) as u32;
            }
            self.place_in(&row.key, chunk)
        })
    }

    /// A place that none of the rows of a key's group and span of times, a whole number of chunks, is before.
    pub(super) fn start_of_span(&self, key: &RowKey, span_ms: i64) -> Place {
        let time_ms = span_of(key.time_ms, span_ms).start;
        self.place(&RowKey { time_ms, ..*key }) >> 64 << 64
    }
}

/// The span of so many milliseconds that a time lies in.
pub(super) fn span_of(time_ms: i64, span_ms: i64) -> Range<i64> {
    let start = time_ms.saturating_sub(time_ms.rem_euclid(span_ms));
    start..start.saturating_add(span_ms)
}

/// The order of rows with the same place.
pub(super) fn compare_within(strings: &StringTable, a: &Row, b: &Row) -> Ordering {
    let text = |a: StringId, b: StringId| {
        if a == b { Ordering::Equal } else { strings.get(a).cmp(strings.get(b)) }
    };
    let numbers = |row: &Row| (row.key.time_ms, row.key.pid, row.key.tid);
    text(a.key.status, b.key.status)
        .then_with(|| numbers(a).cmp(&numbers(b)))
        .then_with(|| text(a.key.thread, b.key.thread))
        .then_with(|| a.exact.is_empty().cmp(&b.exact.is_empty()).reverse())
}
