//! Rollups: samples by group of series, stack and status in steps of five minutes, an hour and a day, for long ranges. Series
//! of a group differ in their host only, and are taken together: their rows have the first of them.

use std::collections::BTreeMap;
use std::ops::Range;

use super::functions::{Functions, Sum};
use super::order::span_of;
use super::{CHUNK_MS, Table, chunk_ms};
use crate::model::{Exact, NodeId, Profile, Row, RowKey, SeriesId, StringId};

/// The steps, finest first.
pub(crate) const STEPS: [(Table, i64); 3] =
    [(Table::Rollup5m, CHUNK_MS), (Table::Rollup1h, 3_600_000), (Table::Rollup1d, 86_400_000)];

/// Samples of a group of series, stack and status in one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RollupRow {
    pub(super) node: NodeId,
    /// The first one of the group.
    pub(super) series: SeriesId,
    pub(super) status: StringId,
    /// Start of the step, Unix milliseconds.
    pub(super) time_ms: i64,
    pub(super) sum: Sum,
}

impl RollupRow {
    fn key(&self) -> (NodeId, SeriesId, StringId, i64) {
        (self.node, self.series, self.status, self.time_ms)
    }
}

/// Takes the rows of a segment in their order, and hands out those of each rollup in theirs: by group of series, then
/// chunk (an hour for steps of five minutes, else a day), node, series, status and time.
#[derive(Debug)]
pub(super) struct Rollups {
    resolution_ms: i64,
    groups: Vec<u32>,
    /// By series, the first one of its group.
    firsts: Vec<SeriesId>,
    kinds: Vec<usize>,
    functions: Functions,
    group: u32,
    /// Times of the chunk of the last row.
    chunk: Range<i64>,
    last: Option<RollupRow>,
    hours: BTreeMap<i64, Vec<RollupRow>>,
    days: BTreeMap<i64, Vec<RollupRow>>,
}

impl Rollups {
    /// `kinds` has the type of values of each series.
    pub(super) fn new(tables: &Profile, resolution_ms: i64, kinds: Vec<usize>) -> Self {
        Self {
            resolution_ms,
            groups: tables.groups_of_series(),
            firsts: tables.firsts_of_series(),
            kinds,
            functions: Functions::new(tables),
            group: 0,
            chunk: 0..0,
            last: None,
            hours: BTreeMap::new(),
            days: BTreeMap::new(),
        }
    }

    /// The tables that a segment of this resolution has: those that are coarser than its samples.
    pub(super) fn tables(resolution_ms: i64) -> impl Iterator<Item = (Table, i64)> {
        STEPS.into_iter().filter(move |(_, step)| *step > resolution_ms)
    }

    /// Takes the next row.
    pub(super) fn push<E>(
        &mut self,
        row: &Row,
        exact: &[Exact],
        mut write: impl FnMut(Table, &[RollupRow]) -> Result<(), E>,
    ) -> Result<(), E> {
        let group = self.groups.get(row.key.series.0 as usize).copied().unwrap_or(0);
        if group != self.group {
            self.finish_group(&mut write)?;
            self.group = group;
        }
        let step = CHUNK_MS.max(self.resolution_ms);
        let start = floor(row.key.time_ms, step);
        // Times go back within a chunk, from stack to stack.
        if !self.chunk.contains(&row.key.time_ms) {
            self.chunk = span_of(row.key.time_ms, chunk_ms(self.resolution_ms));
            self.finish_hours(self.chunk.start, &mut write)?;
        }
        let end = start + step;
        let inside = exact.partition_point(|e| row.key.time_ms + i64::from(e.offset_ms) < end);
        if inside == exact.len() {
            self.add(&row.key, start, Sum { samples: row.samples, value: row.value });
            return Ok(());
        }
        // Some of its samples lie in the next step. Both parts have what queries of both steps would give them.
        let value = (i128::from(row.value) * inside as i128).div_euclid(exact.len() as i128) as i64;
        let parts = [(start, inside, value), (end, exact.len() - inside, row.value - value)];
        for (start, samples, value) in parts.into_iter().filter(|part| part.1 > 0) {
            self.add(&row.key, start, Sum { samples: samples as u64, value });
        }
        Ok(())
    }

    fn add(&mut self, key: &RowKey, time_ms: i64, sum: Sum) {
        let series = self.firsts.get(key.series.0 as usize).copied().unwrap_or(key.series);
        let row = RollupRow { node: key.node, series, status: key.status, time_ms, sum };
        match &mut self.last {
            Some(last) if last.key() == row.key() => last.sum.add(sum),
            _ => {
                self.keep_last();
                self.last = Some(row);
            }
        }
    }

    fn keep_last(&mut self) {
        if let Some(row) = self.last.take() {
            self.hours.entry(floor(row.time_ms, STEPS[1].1)).or_default().push(row);
        }
    }

    /// Writes the hours that end before `time_ms`, and keeps their sums for their days.
    fn finish_hours<E>(
        &mut self,
        time_ms: i64,
        write: &mut impl FnMut(Table, &[RollupRow]) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(hour) = self.hours.first_key_value().map(|(hour, _)| *hour)
            && hour + STEPS[1].1 <= time_ms
        {
            self.finish_hour(write)?;
        }
        Ok(())
    }

    fn finish_hour<E>(
        &mut self,
        write: &mut impl FnMut(Table, &[RollupRow]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.keep_last();
        let Some((hour, rows)) = self.hours.pop_first() else { return Ok(()) };
        let (rows, sums) = add_up(rows, STEPS[1].1);
        self.add_functions(&rows);
        if STEPS[0].1 > self.resolution_ms {
            write(Table::Rollup5m, &rows)?;
        }
        self.days.entry(floor(hour, STEPS[2].1)).or_default().extend(sums);
        Ok(())
    }

    /// Counts an hour's rows by function, one step after the other: within each, nodes come in their order.
    fn add_functions(&mut self, rows: &[RollupRow]) {
        let mut steps: BTreeMap<i64, Vec<&RollupRow>> = BTreeMap::new();
        for row in rows {
            steps.entry(row.time_ms).or_default().push(row);
        }
        for (time_ms, rows) in steps {
            for row in rows {
                let kind = self.kinds.get(row.series.0 as usize).copied().unwrap_or(0);
                self.functions.add(kind, time_ms, row.node, row.sum);
            }
        }
    }

    fn finish_group<E>(
        &mut self,
        write: &mut impl FnMut(Table, &[RollupRow]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.keep_last();
        while !self.hours.is_empty() {
            self.finish_hour(write)?;
        }
        while let Some((_, rows)) = self.days.pop_first() {
            let (rows, sums) = add_up(rows, STEPS[2].1);
            if STEPS[1].1 > self.resolution_ms {
                write(Table::Rollup1h, &rows)?;
            }
            write(Table::Rollup1d, &sums)?;
        }
        Ok(())
    }

    /// Hands out the rest, and what functions used.
    pub(super) fn finish<E>(
        mut self,
        mut write: impl FnMut(Table, &[RollupRow]) -> Result<(), E>,
    ) -> Result<Functions, E> {
        self.finish_group(&mut write)?;
        Ok(self.functions)
    }
}

fn floor(time_ms: i64, step_ms: i64) -> i64 {
    time_ms - time_ms.rem_euclid(step_ms)
}

/// The rows in order, equal ones added up; and their sums by the next step.
fn add_up(mut rows: Vec<RollupRow>, step_ms: i64) -> (Vec<RollupRow>, Vec<RollupRow>) {
    // Sorted runs one after the other, which a stable sort merges.
    rows.sort_by_key(RollupRow::key);
    let mut sums: Vec<RollupRow> = Vec::new();
    rows.dedup_by(|row, kept| {
        let is_same = row.key() == kept.key();
        if is_same {
            kept.sum.add(row.sum);
        }
        is_same
    });
    for row in &rows {
        let row = RollupRow { time_ms: floor(row.time_ms, step_ms), ..*row };
        match sums.last_mut() {
            Some(last) if last.key() == row.key() => last.sum.add(row.sum),
            _ => sums.push(row),
        }
    }
    (rows, sums)
}
