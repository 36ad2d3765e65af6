//! The order of rows in the samples file.

use std::cmp::Ordering;

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

/// A group and a span of time.
pub(super) type Span = u64;

impl RowOrder {
    /// The order for tables that are in order, and rows of this resolution.
    pub(super) fn new(tables: &Profile, resolution_ms: i64) -> Self {
        Self { groups: tables.groups_of_series(), chunk_ms: chunk_ms(resolution_ms) }
    }

    pub(super) fn place(&self, key: &RowKey) -> Place {
        let group = self.groups.get(key.series.0 as usize).copied().unwrap_or(u32::MAX);
        // Times are within the years 1970 to 9999: chunks fit.
        let chunk = key.time_ms.div_euclid(self.chunk_ms) as u32;
        u128::from(group) << 96
            | u128::from(chunk) << 64
            | u128::from(key.node.0) << 32
            | u128::from(key.series.0)
    }

    /// Which of the spans of so many milliseconds, a whole number of chunks, a row of a group lies in; and a place that none
    /// of the rows there is before.
    pub(super) fn span(&self, key: &RowKey, span_ms: i64) -> (Span, Place) {
        let start_ms = key.time_ms - key.time_ms.rem_euclid(span_ms);
        let first = self.place(&RowKey { time_ms: start_ms, ..*key }) >> 64;
        (first as Span, first << 64)
    }
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
