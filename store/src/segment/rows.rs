//! Rows on their way into a segment, in the order of the samples file.

use super::order::{Place, RowOrder, compare_within};
use crate::model::{Exact, Row, RowKey, StringId, StringTable};

/// Rows and the exact times that they refer to.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) rows: Vec<Row>,
    pub(super) exact: Vec<Exact>,
}

impl Batch {
    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.exact.clear();
    }

    pub(super) fn exact_of(&self, row: &Row) -> &[Exact] {
        self.exact.get(row.exact.start as usize..row.exact.end as usize).unwrap_or(&[])
    }

    pub(super) fn push(&mut self, row: &Row, exact: &[Exact]) {
        let first = self.exact.len() as u32;
        self.exact.extend_from_slice(exact);
        self.rows.push(Row { exact: first..self.exact.len() as u32, ..row.clone() });
    }

    /// Puts the rows in order, and returns their places.
    pub(super) fn sort(&mut self, order: &RowOrder, strings: &StringTable) -> Vec<Place> {
        // Places are sorted, not rows, which are more than twice as long.
        let rows = std::mem::take(&mut self.rows);
        let mut placed: Vec<_> =
            order.places(&rows).enumerate().map(|(i, place)| (place, i as u32)).collect();
        let row = |i: u32| &rows[i as usize];
        placed.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| compare_within(strings, row(a.1), row(b.1))));
        self.rows = placed.iter().map(|(_, i)| row(*i).clone()).collect();
        placed.into_iter().map(|(place, _)| place).collect()
    }

    pub(super) fn places(&self, order: &RowOrder) -> Vec<Place> {
        order.places(&self.rows).collect()
    }
}

/// What is left of a row at a resolution: from the first step on, neither exact times nor threads.
pub(super) fn coarse(key: RowKey, resolution_ms: i64) -> RowKey {
    if resolution_ms == 0 {
        return key;
    }
    let time_ms = key.time_ms - key.time_ms.rem_euclid(resolution_ms);
    RowKey { time_ms, ..coarse_but_time(key) }
}

fn coarse_but_time(key: RowKey) -> RowKey {
    RowKey { pid: 0, tid: 0, thread: StringId::EMPTY, ..key }
}

/// Adds up rows of the same key, which come one after the other. Samples with exact times stay apart from those
/// without, so that a row never claims to know the times of samples it does not know.
#[derive(Debug)]
pub(super) struct Adder {
    resolution_ms: i64,
    key: Option<RowKey>,
    plain: (u64, i64),
    exact_value: i64,
    exact: Vec<Exact>,
}

impl Adder {
    /// An adder that makes rows of this resolution.
    pub(super) fn new(resolution_ms: i64) -> Self {
        Self { resolution_ms, key: None, plain: (0, 0), exact_value: 0, exact: Vec::new() }
    }

    /// Takes a row. What is finished by it goes to `done`.
    pub(super) fn push<E>(
        &mut self,
        row: &Row,
        exact: &[Exact],
        done: impl FnMut(&Row, &[Exact]) -> Result<(), E>,
    ) -> Result<(), E> {
        let key = match self.key {
            // Most rows come with those of the same time, and are coarse already.
            Some(last) if last.time_ms == row.key.time_ms && self.resolution_ms > 0 => {
                coarse_but_time(row.key)
            }
            _ => coarse(row.key, self.resolution_ms),
        };
        if self.key != Some(key) {
            self.finish(done)?;
            self.key = Some(key);
        }
        // Saturating: sums of stored values may be hostile.
        if self.resolution_ms == 0 && !exact.is_empty() {
            self.exact_value = self.exact_value.saturating_add(row.value);
            self.exact.extend_from_slice(exact);
        } else {
            self.plain.0 = self.plain.0.saturating_add(row.samples);
            self.plain.1 = self.plain.1.saturating_add(row.value);
        }
        Ok(())
    }

    /// Hands out what is not yet finished.
    pub(super) fn finish<E>(
        &mut self,
        mut done: impl FnMut(&Row, &[Exact]) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(key) = self.key.take() else { return Ok(()) };
        let (samples, value) = std::mem::take(&mut self.plain);
        if samples > 0 || value != 0 || self.exact.is_empty() {
            done(&Row { key, samples, value, exact: 0..0 }, &[])?;
        }
        if !self.exact.is_empty() {
            self.exact.sort_unstable();
            let (samples, len) = (self.exact.len() as u64, self.exact.len() as u32);
            let row = Row { key, samples, value: std::mem::take(&mut self.exact_value), exact: 0..len };
            done(&row, &self.exact)?;
            self.exact.clear();
        }
        Ok(())
    }
}
