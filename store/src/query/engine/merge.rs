//! Merging to one profile: counts by stack node of each segment, then sums by the nodes of the tree of all segments.

mod tree;

use std::ops::Range;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::{Batch, Columns, Count, Fault, Merge, Tables};
use crate::dictionary::Dictionary;
use crate::model::{NodeCount, NodeId, Profile, ProfileBuilder, RowKey, SeriesId, StringId, Who};

/// Rows kept as they come before they are added up by node. Rollups mostly have each stack once.
const FEWEST_PENDING: usize = 1 << 16;

/// Rows of all segments kept before they are added up by node: 6 MiB, about what an array by node takes of a day's stacks.
const MOST_PENDING: usize = if cfg!(test) { 64 } else { 1 << 18 };

/// Counts samples by lane, stack and status, and by thread if that is asked for. A lane is a series, or all series
/// that have the same value of a label, and count the same.
pub(crate) struct StackCounts {
    columns: Columns,
    /// By series: its lane, as the first series of it. Rows of a lane mostly stand together.
    lanes: Vec<u32>,
    whos: Whos,
    pairs: Pairs,
    /// Rows as they came, neighbours of the same key added up.
    pending: Vec<NodeCount>,
    most_pending: usize,
    nodes: usize,
    sums: Sums,
}

/// Lanes and whos that came together, by place.
#[derive(Default)]
struct Pairs {
    index: FxHashMap<(u32, u32), u32>,
    all: Vec<(u32, u32)>,
    last: Option<((u32, u32), u32)>,
}

impl Pairs {
    fn place(&mut self, pair: (u32, u32)) -> u32 {
        if let Some((last, place)) = self.last
            && last == pair
        {
            return place;
        }
        let next = self.all.len() as u32;
        let place = *self.index.entry(pair).or_insert(next);
        if place == next {
            self.all.push(pair);
        }
        self.last = Some((pair, place));
        place
    }
}

/// Sums by node. Most nodes have samples of one lane and one status only: those are in an array, all others in a hash
/// table.
#[derive(Default)]
struct Sums {
    /// By node: place + 1 among `cells`. A small number for each, since there are many times more nodes than have samples in
    /// an hour; and zeros cost nothing until they are used.
    first: Vec<u32>,
    cells: Vec<NodeCount>,
    /// By node, as bits: whether it has any.
    touched: Vec<u64>,
    more: FxHashMap<(u32, u32), (u64, i64)>,
}

impl Sums {
    fn grow_to(&mut self, nodes: usize) {
        if self.first.is_empty() {
            self.first = vec![0; nodes];
        } else if self.first.len() < nodes {
            self.first.resize(nodes + nodes / 8, 0);
        }
        self.touched.resize(self.first.len().div_ceil(64), 0);
    }

    /// All nodes are below what it was grown to.
    fn add(&mut self, counted: NodeCount) {
        let NodeCount { pair, node, samples, value } = counted;
        let place = &mut self.first[node as usize];
        let Some(sum) = (*place as usize).checked_sub(1).map(|at| &mut self.cells[at]) else {
            self.cells.push(counted);
            *place = self.cells.len() as u32;
            self.touched[node as usize / 64] |= 1 << (node % 64);
            return;
        };
        if sum.pair == pair {
            sum.samples = sum.samples.saturating_add(samples);
            sum.value = sum.value.saturating_add(value);
        } else {
            let sum = self.more.entry((node, pair)).or_default();
            *sum = (sum.0.saturating_add(samples), sum.1.saturating_add(value));
        }
    }

    fn each(&self, mut each: impl FnMut(NodeCount)) {
        for (at, word) in self.touched.iter().enumerate() {
            let mut left = *word;
            while left != 0 {
                let node = at * 64 + left.trailing_zeros() as usize;
                left &= left - 1;
                each(self.cells[self.first[node] as usize - 1]);
            }
        }
        let mut more: Vec<_> = self.more.iter().collect();
        more.sort_unstable_by_key(|(key, _)| **key);
        for ((node, pair), (samples, value)) in more {
            each(NodeCount { pair: *pair, node: *node, samples: *samples, value: *value });
        }
    }

    fn len(&self) -> usize {
        self.cells.len() + self.more.len()
    }

    fn bytes(&self) -> u64 {
        let nodes = self.first.capacity() * size_of::<u32>() + self.touched.capacity() * size_of::<u64>();
        (nodes + self.cells.capacity() * size_of::<NodeCount>() + self.more.capacity() * 25) as u64
    }
}

/// Whose rows there are beside their series: texts as handles of the segment's own table.
#[derive(Default)]
struct Whos {
    index: FxHashMap<[u32; 4], u32>,
    all: Vec<Who>,
    last: Option<([u32; 4], u32)>,
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

impl StackCounts {
    /// `by`: the label whose values make lanes; none keeps every series apart.
    pub(crate) fn new(tables: &Tables, columns: Columns, by: Option<&str>) -> Self {
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
            lanes: (0..tables.series.len() as u32).map(&mut lane).collect(),
            whos: Whos::default(),
            pairs: Pairs::default(),
            pending: Vec::new(),
            most_pending: tables.nodes.max(FEWEST_PENDING),
            nodes: tables.nodes,
            sums: Sums::default(),
        }
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

    /// Adds up what is pending.
    fn flush(&mut self) {
        self.sums.grow_to(self.nodes);
        self.pending.drain(..).for_each(|counted| self.sums.add(counted));
    }
}

impl Count for StackCounts {
    fn add(&mut self, batch: &Batch<'_>) -> Result<(), Fault> {
        for run in batch.runs {
            let lane = self.lanes[run.series.0 as usize];
            for row in run.rows.clone() {
                let who = self.who(batch, row)?;
                let pair = self.pairs.place((lane, who));
                let (samples, node) = (batch.samples[row].cast_unsigned(), batch.node[row].cast_unsigned());
                let value = if self.columns.value { batch.value[row] } else { 0 };
                match self.pending.last_mut() {
                    Some(last) if (last.pair, last.node) == (pair, node) => {
                        last.samples = last.samples.saturating_add(samples);
                        last.value = last.value.saturating_add(value);
                    }
                    _ => {
                        if self.pending.len() >= self.most_pending {
                            self.flush();
                        }
                        self.pending.push(NodeCount { pair, node, samples, value });
                    }
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self) {
        if self.sums.first.is_empty() {
            return;
        }
        self.flush();
        let sums = std::mem::take(&mut self.sums);
        sums.each(|counted| self.pending.push(counted));
    }

    fn bytes(&self) -> u64 {
        let whos = self.whos.all.len() * (size_of::<Who>() + 64) + self.pairs.all.len() * 32;
        (whos + self.pending.capacity() * size_of::<NodeCount>()) as u64 + self.sums.bytes()
    }
}

/// Sums of all segments by stack, lane and who.
pub(crate) struct Merged {
    dictionary: Arc<Dictionary>,
    /// Texts, series and accounts; no rows.
    head: ProfileBuilder,
    /// The keys of rows but for their nodes, by place.
    keys: Vec<RowKey>,
    index: FxHashMap<RowKey, u32>,
    /// The first rows as they came: of an hour that is all, and an array by node is many times larger.
    pending: Vec<NodeCount>,
    sums: Sums,
    range: Range<i64>,
    /// Start of the rows' bucket: tells apart what is merged into one profile.
    time_ms: i64,
    /// The only label that series keep, where lanes are of its values.
    by: Option<String>,
}

impl Merged {
    pub(crate) fn new(dictionary: Arc<Dictionary>, range: Range<i64>, by: Option<&str>) -> Self {
        Self {
            dictionary,
            head: ProfileBuilder::default(),
            keys: Vec::new(),
            index: FxHashMap::default(),
            pending: Vec::new(),
            sums: Sums::default(),
            range,
            time_ms: 0,
            by: by.map(str::to_owned),
        }
    }

    /// The same with another bucket for its rows.
    pub(crate) fn at(self, time_ms: i64) -> Self {
        Self { time_ms, ..self }
    }

    /// The profile of all, covering `start_ms..end_ms`.
    pub(crate) fn finish(mut self, start_ms: i64, end_ms: i64) -> Profile {
        self.flush(0);
        let mut counts = Vec::with_capacity(self.sums.len());
        self.sums.each(|counted| counts.push(counted));
        drop(self.sums);
        // Others may make the tree grow meanwhile; the nodes of these rows are in it by now.
        let preorder = self.dictionary.preorder();
        let all = self.dictionary.read();
        self.head.finish_over((&all.all, preorder.as_deref()), &self.keys, counts, (start_ms, end_ms))
    }

    /// Adds up what is pending; so many more rows come.
    fn flush(&mut self, more: usize) {
        self.sums.grow_to(self.dictionary.read().all.nodes());
        if self.sums.cells.is_empty() {
            // Of the first segments most rows are new, of others few.
            self.sums.cells.reserve(self.pending.len() + more);
        }
        std::mem::take(&mut self.pending).into_iter().for_each(|counted| self.sums.add(counted));
    }

    /// All counts; some of one node and key may come one by one.
    fn each(&self, mut each: impl FnMut(NodeCount)) {
        self.pending.iter().copied().for_each(&mut each);
        self.sums.each(each);
    }

    /// The places of a segment's pairs among the keys of rows.
    fn places_of(&mut self, tables: &Tables, counts: &StackCounts) -> Vec<u32> {
        let lanes = counts.pairs.all.iter().map(|(lane, _)| SeriesId(*lane));
        let series = self.head.add_series(tables, lanes, self.by.as_deref());
        let whos: Vec<_> = counts
            .whos
            .all
            .iter()
            .map(|who| (who.pid, who.tid, self.head.string(&who.thread), self.head.string(&who.status)))
            .collect();
        let mut place = |(series, (_, who)): (SeriesId, &(u32, u32))| {
            let (pid, tid, thread, status) = whos[*who as usize];
            let key = RowKey { series, node: NodeId::ROOT, pid, tid, thread, status, time_ms: self.time_ms };
            let next = self.keys.len() as u32;
            let place = *self.index.entry(key).or_insert(next);
            if place == next {
                self.keys.push(key);
            }
            place
        };
        series.into_iter().zip(&counts.pairs.all).map(&mut place).collect()
    }
}

impl Merge<StackCounts> for Merged {
    fn merge(&mut self, tables: &Tables, counts: StackCounts) {
        if let Some(profile) = tables.with_accounts() {
            self.head.add_accounts(profile, &self.range);
        }
        if counts.pending.is_empty() {
            return;
        }
        let pairs = self.places_of(tables, &counts);
        let known = tables.known(&self.dictionary);
        let mut hint = 0;
        let placed = counts.pending.into_iter().map(|counted| {
            let pair = pairs[counted.pair as usize];
            // The scan has checked that all nodes are of the segment's tree.
            NodeCount { pair, node: known.places.get(counted.node, &mut hint), ..counted }
        });
        if self.sums.cells.is_empty() && self.pending.len() + placed.len() <= MOST_PENDING {
            self.pending.extend(placed);
            return;
        }
        self.flush(placed.len());
        placed.for_each(|counted| self.sums.add(counted));
    }

    fn bytes(&self) -> u64 {
        let keys = self.keys.len() * (2 * size_of::<RowKey>() + 8);
        let pending = self.pending.capacity() * size_of::<NodeCount>();
        pending as u64
            + self.sums.bytes()
            + self.head.bytes()
            + keys as u64
            + self.dictionary.beyond_its_share()
    }
}
