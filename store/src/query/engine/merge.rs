//! Merging to one profile: counts by stack node of each segment, then one tree of all.

use std::ops::Range;

use rustc_hash::FxHashMap;

use super::{Batch, Columns, Count, Fault, Merge};
use crate::model::{Counted, CountedKeep, NodeId, Profile, ProfileBuilder, SeriesId, StringId, Who};

/// Arrays by node in use at once, each for one lane and status (with `threads`: and thread). Statuses are about ten,
/// of which few are frequent.
const MAX_DENSE: usize = 8;
/// After so many rows arrays are emptied for others; sooner, what has none is counted in a hash table.
const WORTHWHILE: u64 = 4096;

/// Counts samples by lane, stack and status, and by thread if that is asked for. A lane is a series, or all series
/// that have the same value of a label, and count the same.
pub(crate) struct StackCounts {
    columns: Columns,
    nodes: usize,
    /// By series: its lane, as the first series of it. Rows of a lane mostly stand together.
    lanes: Vec<u32>,
    whos: Whos,
    dense: Vec<Dense>,
    /// Rows since arrays were given to others.
    rows: u64,
    rest: FxHashMap<Key, Cell>,
    done: Vec<Counted>,
}

/// Lane, who and node.
type Key = (u32, u32, u32);

/// Samples, and their value.
#[derive(Clone, Copy, Default)]
struct Cell {
    samples: u64,
    value: i64,
}

/// Samples of a lane and a who, by node.
struct Dense {
    lane: u32,
    who: u32,
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
    /// `by`: the label whose values make lanes; none keeps every series apart.
    pub(crate) fn new(tables: &Profile, columns: Columns, by: Option<&str>) -> Self {
        let mut first = FxHashMap::default();
        let mut lane = |id: u32| {
            let Some(by) = by else { return id };
            let series = tables.series(SeriesId(id));
            let label = |name| tables.label(SeriesId(id), name).unwrap_or("");
            let key = (label(by), label("event"), series.unit, series.period);
            *first.entry(key).or_insert(id)
        };
        Self {
            columns,
            nodes: tables.stacks.len(),
            lanes: (0..tables.series.len() as u32).map(&mut lane).collect(),
            whos: Whos::default(),
            dense: Vec::new(),
            rows: 0,
            rest: FxHashMap::default(),
            done: Vec::new(),
        }
    }

    /// Empties all arrays.
    fn flush(&mut self) {
        for Dense { lane, who, cells, touched } in &mut self.dense {
            touched.sort_unstable();
            for node in touched.drain(..) {
                let cell = std::mem::take(&mut cells[node as usize]);
                self.done.push(counted((*lane, *who, node), cell));
            }
        }
        self.rows = 0;
    }

    /// The array of a lane and a who, if it can have one.
    fn array(&mut self, lane: u32, who: u32) -> Option<usize> {
        let known = self.dense.iter().position(|dense| (dense.lane, dense.who) == (lane, who));
        if known.is_some() {
            return known;
        }
        if self.dense.len() < MAX_DENSE {
            let cells = vec![Cell::default(); self.nodes];
            self.dense.push(Dense { lane, who, cells, touched: Vec::new() });
            return Some(self.dense.len() - 1);
        }
        if self.rows < WORTHWHILE {
            return None;
        }
        self.flush();
        // Those of other lanes first: their rows are over.
        let place = self.dense.iter().position(|dense| dense.lane != lane).unwrap_or(0);
        (self.dense[place].lane, self.dense[place].who) = (lane, who);
        Some(place)
    }

    fn who(&mut self, batch: &Batch<'_>, row: usize) -> Result<u32, Fault> {
        let status = if self.columns.status { batch.status.get(row) } else { 0 };
        let key = match self.columns.threads {
            false => [0, 0, 0, status],
            true => {
                let id = |id: i64| {
                    u32::try_from(id).map_err(|_| Fault::bad(format_args!("id {id} is out of range")))
                };
                [id(batch.pid[row])?, id(batch.tid[row])?, batch.thread.get(row), status]
            }
        };
        Ok(self.whos.place(key, batch))
    }
}

impl Cell {
    fn add(&mut self, samples: i64, value: i64) {
        self.samples = self.samples.saturating_add(samples.cast_unsigned());
        self.value = self.value.saturating_add(value);
    }
}

fn counted((lane, who, node): Key, Cell { samples, value }: Cell) -> Counted {
    Counted { series: SeriesId(lane), who, node: NodeId(node), samples, value }
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
        let mut last = None;
        for run in batch.runs {
            let lane = self.lanes[run.series.0 as usize];
            for row in run.rows.clone() {
                let who = self.who(batch, row)?;
                let array = match last {
                    Some((key, array)) if key == (lane, who) => array,
                    _ => {
                        let array = self.array(lane, who);
                        last = Some(((lane, who), array));
                        array
                    }
                };
                let (samples, node) = (batch.samples[row], batch.node[row].cast_unsigned());
                let value = if self.columns.value { batch.value[row] } else { 0 };
                match array {
                    Some(array) => {
                        let Dense { cells, touched, .. } = &mut self.dense[array];
                        // The scan has checked that all nodes are of the tree.
                        let cell = &mut cells[node as usize];
                        if cell.samples == 0 {
                            touched.push(node);
                        }
                        cell.add(samples, value);
                    }
                    None => self.rest.entry((lane, who, node)).or_default().add(samples, value),
                }
                self.rows += 1;
            }
        }
        Ok(())
    }

    fn finish(&mut self) {
        self.flush();
        let mut rest: Vec<_> = self.rest.drain().collect();
        rest.sort_unstable_by_key(|(key, _)| *key);
        self.done.extend(rest.into_iter().map(|(key, cell)| counted(key, cell)));
        (self.dense, self.rest, self.whos.index) = (Vec::new(), FxHashMap::default(), FxHashMap::default());
    }

    fn bytes(&self) -> u64 {
        let dense = self.dense.len() * self.nodes * size_of::<Cell>()
            + self.dense.iter().map(|dense| dense.touched.capacity() * 4).sum::<usize>();
        let rest = self.rest.capacity() * (size_of::<(Key, Cell)>() + 1);
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
    /// The only label that series keep, where lanes are of its values.
    by: Option<String>,
}

impl Merged {
    pub(crate) fn new(range: Range<i64>, by: Option<&str>) -> Self {
        Self { builder: ProfileBuilder::default(), range, time_ms: 0, by: by.map(str::to_owned) }
    }

    /// The same with another bucket for its rows.
    pub(crate) fn at(self, time_ms: i64) -> Self {
        Self { time_ms, ..self }
    }
}

impl Merge<StackCounts> for Merged {
    fn merge(&mut self, tables: &Profile, counts: StackCounts) {
        let keep =
            CountedKeep { time_ms: self.time_ms, only_label: self.by.as_deref(), accounts: &self.range };
        self.builder.merge_counted(tables, &counts.whos.all, &counts.done, keep);
    }

    fn bytes(&self) -> u64 {
        self.builder.bytes()
    }
}
