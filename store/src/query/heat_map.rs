//! The sub-second heat map: samples by column of time and by place within the column.

use serde::{Deserialize, Serialize};

use super::engine::{Batch, Columns, Count, Fault, Merge, Need, Query, Rough, Tables};
use super::{MAX_TIME_MS, Selector, TimeRange};
use crate::catalog::Skipped;
use crate::error::Result;
use crate::handle::Store;

/// At most this many columns: an hour of seconds.
const MAX_COLUMNS: i64 = 3_600;
/// At most this many rows of a column.
const MAX_ROWS: i64 = 100;

/// Samples by their exact times; docs/api.md describes it as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeatMap {
    /// Start of the first column, Unix milliseconds: a multiple of `column_ms`, at or before the range.
    pub from_ms: i64,
    /// End of the range.
    pub until_ms: i64,
    /// Time that a column covers.
    pub column_ms: i64,
    /// Time that a cell covers.
    pub row_ms: i64,
    /// Samples by column, and in it by row from the column's start.
    pub columns: Vec<Vec<u32>>,
    /// Samples that are not in the map, for their exact times were not kept.
    pub without_times: u64,
    /// Segments left out.
    pub skipped: Vec<Skipped>,
}

impl Store {
    /// Samples of a range by columns of `column_ms` and in them by cells of `row_ms`, both made longer where
    /// there would be more than 3,600 columns or 100 rows.
    ///
    /// # Errors
    /// As [`Store::query`].
    pub fn heat_map(
        &self,
        selector: &Selector,
        range: TimeRange,
        column_ms: i64,
        row_ms: i64,
    ) -> Result<HeatMap> {
        let grid = Grid::new(range, column_ms, row_ms);
        let columns = Columns { time: true, ..Columns::default() };
        let query = Query { store: self, selector, range, columns, need: Need::Series, rough: Rough::NO };
        let (cells, reading) = query.run(|_| Cells::new(grid), || Cells::new(grid))?;
        Ok(HeatMap {
            from_ms: grid.from_ms,
            until_ms: range.until_ms,
            column_ms: grid.column_ms,
            row_ms: grid.row_ms,
            columns: cells.cells.chunks(grid.rows()).map(<[u32]>::to_vec).collect(),
            without_times: cells.without_times,
            skipped: reading.skipped,
        })
    }
}

#[derive(Clone, Copy, Debug)]
struct Grid {
    from_ms: i64,
    columns: usize,
    column_ms: i64,
    row_ms: i64,
}

impl Grid {
    fn new(range: TimeRange, column_ms: i64, row_ms: i64) -> Self {
        // One more than fit, as the first and the last may lie partly outside.
        let finest = range.len_ms() / (MAX_COLUMNS - 1) + 1;
        let column_ms = match column_ms.clamp(1, MAX_TIME_MS) {
            asked if asked >= finest => asked,
            asked => (finest.saturating_add(asked - 1) / asked).saturating_mul(asked),
        };
        let row_ms = row_ms.clamp(1, column_ms).max((column_ms + MAX_ROWS - 1) / MAX_ROWS);
        let from_ms = range.from_ms - range.from_ms.rem_euclid(column_ms);
        let columns = (range.until_ms - 1 - from_ms) / column_ms + 1;
        Self { from_ms, columns: usize::try_from(columns).unwrap_or(1), column_ms, row_ms }
    }

    fn rows(self) -> usize {
        usize::try_from((self.column_ms - 1) / self.row_ms + 1).unwrap_or(1)
    }

    fn place(self, time_ms: i64) -> usize {
        let (column, within) =
            ((time_ms - self.from_ms) / self.column_ms, (time_ms - self.from_ms) % self.column_ms);
        usize::try_from(column).unwrap_or(0) * self.rows()
            + usize::try_from(within / self.row_ms).unwrap_or(0)
    }
}

struct Cells {
    grid: Grid,
    cells: Vec<u32>,
    without_times: u64,
}

impl Cells {
    fn new(grid: Grid) -> Self {
        Self { grid, cells: vec![0; grid.columns * grid.rows()], without_times: 0 }
    }
}

impl Count for Cells {
    fn add(&mut self, batch: &Batch<'_>) -> std::result::Result<(), Fault> {
        for row in batch.runs.iter().flat_map(|run| run.rows.clone()) {
            if batch.exact.is_none_or(|lists| lists.get(row).is_empty()) {
                self.without_times = self.without_times.saturating_add(batch.samples[row].cast_unsigned());
                continue;
            }
            batch.each_time(row, |time, _| {
                let cell = &mut self.cells[self.grid.place(time)];
                *cell = cell.saturating_add(1);
            });
        }
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.cells.len() as u64 * 4
    }
}

impl Merge<Cells> for Cells {
    fn merge(&mut self, _tables: &Tables, other: Cells) {
        for (sum, samples) in self.cells.iter_mut().zip(other.cells) {
            *sum = sum.saturating_add(samples);
        }
        self.without_times = self.without_times.saturating_add(other.without_times);
    }

    fn bytes(&self) -> u64 {
        self.cells.len() as u64 * 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(from_ms: i64, until_ms: i64, column_ms: i64, row_ms: i64) -> Grid {
        Grid::new(TimeRange { from_ms, until_ms }, column_ms, row_ms)
    }

    #[test]
    fn columns_start_at_whole_seconds_and_cover_the_range() {
        let grid = grid(1_500, 3_001, 1_000, 20);
        assert_eq!((grid.from_ms, grid.columns, grid.rows()), (1_000, 3, 50));
        assert_eq!(grid.place(1_500), 25);
        assert_eq!(grid.place(3_000), 100);
    }

    #[test]
    fn a_map_has_a_bounded_number_of_cells_whatever_is_asked_for() {
        let longest = TimeRange::ALL.until_ms;
        for (from, until, column, row) in [
            (0, longest, 1, 1),
            (5, longest, i64::MAX, 1),
            (0, 1, 1, 1),
            (0, 3_600_000, 1_000, 1),
            (999, 3_601_001, 7, 900),
        ] {
            let grid = grid(from, until, column, row);
            assert!(grid.columns <= MAX_COLUMNS as usize && grid.rows() <= MAX_ROWS as usize, "{grid:?}");
            assert!(grid.place(until - 1) < grid.columns * grid.rows(), "{grid:?}");
            assert!(grid.from_ms <= from);
        }
    }
}
