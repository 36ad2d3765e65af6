//! Merging to one profile: counts by stack node of each segment, then one tree of all.

use std::ops::Range;

use rustc_hash::FxHashMap;

use super::{Batch, Columns, Count, Fault, Merge};
use crate::model::{Counted, NodeId, Profile, ProfileBuilder, SeriesId, StringId, Who};

/// Statuses (with `threads`: threads) of one series that are counted in an array by node each; further ones in a
/// hash table. Statuses are about ten.
const MAX_DENSE: usize = 16;

/// Counts samples by series, stack and status, and by thread if that is asked for.
pub(crate) struct StackCounts {
    columns: Columns,
    nodes: usize,
    series: SeriesId,
    whos: Whos,
    /// By who: samples and values by node, of the current series.
    dense: Vec<Dense>,
    rest: FxHashMap<(u32, u32), Cell>,
    done: Vec<Counted>,
}

/// Samples, and their value.
#[derive(Clone, Copy, Default)]
struct Cell {
    samples: u64,
    value: i64,
}

#[derive(Default)]
struct Dense {
    cells: Vec<Cell>,
    touched: Vec<u32>,
}

/// Whose rows there are beside their series: texts as handles of the segment's own table.
#[derive(Default)]
struct Whos {
    index: FxHashMap<[u32; 4], u32>,
    all: Vec<Who>,
    last: Option<([u32; 4], u32)>,
}

impl StackCounts {
    pub(crate) fn new(tables: &Profile, columns: Columns) -> Self {
        Self {
            columns,
            nodes: tables.stacks.len(),
            series: SeriesId(0),
            whos: Whos::default(),
            dense: Vec::new(),
            rest: FxHashMap::default(),
            done: Vec::new(),
        }
    }

    fn enter(&mut self, series: SeriesId) {
        if self.series != series {
            self.flush();
            self.series = series;
        }
    }

    /// The current series is over.
    fn flush(&mut self) {
        let series = self.series;
        let counted = |who: u32, node: u32, Cell { samples, value }: Cell| Counted {
            series,
            who,
            node: NodeId(node),
            samples,
            value,
        };
        for (who, dense) in self.dense.iter_mut().enumerate() {
            dense.touched.sort_unstable();
            for node in dense.touched.drain(..) {
                let cell = std::mem::take(&mut dense.cells[node as usize]);
                self.done.push(counted(who as u32, node, cell));
            }
        }
        let mut rest: Vec<_> = self.rest.drain().collect();
        rest.sort_unstable_by_key(|(key, _)| *key);
        self.done.extend(rest.into_iter().map(|((who, node), cell)| counted(who, node, cell)));
    }

    fn count(&mut self, who: u32, node: u32, samples: i64, value: i64) {
        let cell = match self.dense.get_mut(who as usize) {
            Some(dense) => {
                // The scan has checked that all nodes are of the tree.
                let cell = &mut dense.cells[node as usize];
                if cell.samples == 0 {
                    dense.touched.push(node);
                }
                cell
            }
            None => self.rest.entry((who, node)).or_default(),
        };
        cell.samples = cell.samples.saturating_add(samples.cast_unsigned());
        cell.value = cell.value.saturating_add(value);
    }

    fn who(&mut self, batch: &Batch<'_>, row: usize) -> Result<u32, Fault> {
        let status = if self.columns.status { batch.status.get(row) } else { 0 };
        let key = match self.columns.threads {
            false => [0, 0, 0, status],
            true => {
                let id =
                    |id: i64| u32::try_from(id).map_err(|_| Fault::bad(format!("id {id} is out of range")));
                [id(batch.pid[row])?, id(batch.tid[row])?, batch.thread.get(row), status]
            }
        };
        let who = self.whos.place(key, batch);
        while self.dense.len() <= (who as usize).min(MAX_DENSE - 1) {
            self.dense.push(Dense { cells: vec![Cell::default(); self.nodes], touched: Vec::new() });
        }
        Ok(who)
    }
}

impl Whos {
    fn place(&mut self, key: [u32; 4], batch: &Batch<'_>) -> u32 {
        if let Some((last, place)) = self.last
            && last == key
        {
            return place;
        }
        let next = self.all.len() as u32;
        let place = *self.index.entry(key).or_insert(next);
        if place == next {
            let [pid, tid, thread, status] = key;
            let text = |code| batch.texts.get(StringId(code)).to_owned();
            self.all.push(Who { pid, tid, thread: text(thread), status: text(status) });
        }
        self.last = Some((key, place));
        place
    }
}

impl Count for StackCounts {
    fn add(&mut self, batch: &Batch<'_>) -> Result<(), Fault> {
        for run in batch.runs {
            self.enter(run.series);
            for row in run.rows.clone() {
                let who = self.who(batch, row)?;
                let value = if self.columns.value { batch.value[row] } else { 0 };
                self.count(who, batch.node[row].cast_unsigned(), batch.samples[row], value);
            }
        }
        Ok(())
    }

    fn finish(&mut self) {
        self.flush();
        self.dense = Vec::new();
        self.rest = FxHashMap::default();
        self.whos.index = FxHashMap::default();
    }

    fn bytes(&self) -> u64 {
        let dense = self.dense.len() * self.nodes * size_of::<Cell>()
            + self.dense.iter().map(|dense| dense.touched.capacity() * 4).sum::<usize>();
        let rest = self.rest.capacity() * (size_of::<((u32, u32), Cell)>() + 1);
        let whos = self.whos.all.len() * (size_of::<Who>() + 64);
        (dense + rest + whos + self.done.capacity() * size_of::<Counted>()) as u64
    }
}

/// The one profile.
pub(crate) struct Merged {
    pub(crate) builder: ProfileBuilder,
    range: Range<i64>,
    /// Start of the rows' bucket: tells apart what is merged into one builder.
    time_ms: i64,
}

impl Merged {
    pub(crate) fn new(range: Range<i64>) -> Self {
        Self { builder: ProfileBuilder::default(), range, time_ms: 0 }
    }

    /// The same with another bucket for its rows.
    pub(crate) fn at(self, time_ms: i64) -> Self {
        Self { time_ms, ..self }
    }
}

impl Merge<StackCounts> for Merged {
    fn merge(&mut self, tables: &Profile, counts: StackCounts) {
        self.builder.merge_counted(tables, &counts.whos.all, &counts.done, self.time_ms, &self.range);
    }

    fn bytes(&self) -> u64 {
        self.builder.bytes()
    }
}
