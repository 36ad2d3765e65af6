//! Unwind tables for the kernel program: built for the files of sampled processes, off the sampling path and most missed
//! first, kept within a budget of bytes, published per process.
//!
//! The order of every change keeps readers safe: words, then code mappings, then the process's entry; and what an entry
//! no longer leads to is free only when the kernel has waited for all runs of its program that may have seen it.

mod build;
mod disk;
mod files;
mod layout;
mod source;
mod space;

use std::{collections::VecDeque, sync::Arc, time::Instant};

use profiler_abi::{CodeKind, CodeMapping, MAPPINGS_MAX, PAGE_WORDS, ProcessTables, SLAB_PAGES, SLABS_MAX};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::{
    bpf::{BpfError, RawSample, TableMaps},
    processes::{BinaryHandle, CodeBacking, CodeRange, ProcessHandle, ProcessTable},
    room::give_back,
};
use build::Builder;
pub(crate) use build::Built;
use files::{Files, Placed, State};
use layout::Layout;
pub(crate) use source::{CacheOptions, FileTable, NoTable, SourceCounts, TableSource};
use space::{Part, Space};

/// Mappings of one process that are published: as many as a very large program has libraries, four times over.
const PROCESS_MAPPINGS_MAX: usize = 4096;
/// Of a process with more, this many of each file, so that one that is mapped again and again leaves room for the others.
const OF_EACH_FILE: usize = PROCESS_MAPPINGS_MAX / 8;
/// A process whose mappings change all the time takes a twentieth of a CPU for telling of them: it rests as often as long
/// as it took.
const REST: u32 = 19;

/// Counters, for /metrics.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TableCounts {
    /// Tables in the maps, their rows, and their bytes.
    pub(crate) tables: u64,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    /// Bytes of all maps of tables.
    pub(crate) map_bytes: u64,
    /// Files that stacks have gone through and whose tables are still to come.
    pub(crate) pending: u64,
    /// Tables given up for room, and of these, those that were placed again.
    pub(crate) evicted: u64,
    pub(crate) rebuilt: u64,
    /// Tables larger than half of the budget, those put off for lack of room, and those the kernel did not take.
    pub(crate) too_large: u64,
    pub(crate) put_off: u64,
    pub(crate) unplaced: u64,
    /// Processes without an entry for lack of room.
    pub(crate) refused: u64,
    /// Where tables come from.
    pub(crate) source: SourceCounts,
}

impl TableCounts {
    /// Files without a table, by reason.
    pub(crate) fn failed(&self) -> [(&'static str, u64); 5] {
        [
            ("unopened", self.source.unopened),
            ("unreadable", self.source.unreadable),
            ("refused", self.source.refused),
            ("too_large", self.too_large),
            ("unplaced", self.unplaced),
        ]
    }
}

struct Entry {
    process: ProcessHandle,
    version: u64,
    slots: Part,
    files: FxHashSet<BinaryHandle>,
    /// Its mappings may change, and are not told again before.
    rests_until: Instant,
}

/// All tables. Owned by the processor thread.
pub(crate) struct UnwindTables {
    maps: TableMaps,
    pages: Space,
    budget_pages: u32,
    slots: Space,
    files: Files,
    entries: FxHashMap<u32, Entry>,
    dirty: FxHashSet<u32>,
    /// Number of the last entry that was published.
    generation: u32,
    source: Arc<TableSource>,
    builder: Builder,
    /// What was built, and is not in the maps yet. The first may wait for its room to be settled.
    built: VecDeque<Built>,
    counts: TableCounts,
}

/// What came of an attempt to place a table.
enum Placing {
    Done(Part),
    /// There is room when what was given up is settled.
    Later,
    /// All others have come too lately to give way.
    PutOff,
    /// The kernel does not take it.
    Refused,
}

impl UnwindTables {
    /// Tables of at most `budget_bytes`, out of a source that is shared with naming. `done` is called on a thread of its
    /// own with each file that is built, which is to come back by [`UnwindTables::built`].
    pub(crate) fn new(
        maps: TableMaps,
        budget_bytes: u64,
        source: Arc<TableSource>,
        done: impl Fn(Built) -> Result<(), ()> + Send + 'static,
    ) -> std::io::Result<Self> {
        // Page 0 is never given out.
        let most = (SLAB_PAGES * SLABS_MAX) as u64 - 1;
        let budget_pages = (budget_bytes / (PAGE_WORDS as u64 * 8)).min(most) as u32;
        Ok(Self {
            maps,
            pages: Space::new(budget_pages + 1),
            budget_pages,
            slots: Space::new(MAPPINGS_MAX),
            files: Files::new(Instant::now()),
            entries: FxHashMap::default(),
            dirty: FxHashSet::default(),
            generation: 0,
            builder: Builder::start(source.clone(), done)?,
            source,
            built: VecDeque::new(),
            counts: TableCounts::default(),
        })
    }

    /// Looks at a sample: its process gets tables if it has none, or if its mappings changed.
    pub(crate) fn note(&mut self, sample: &RawSample, table: &ProcessTable) {
        let (entry, now) = (self.entries.get(&sample.pid), table.version(sample.pid));
        let published = entry.map(|entry| (entry.process, entry.version));
        if published.is_some() && published == now {
            return;
        }
        let rests = entry.is_some_and(|entry| {
            now.is_some_and(|(process, _)| process == entry.process) && entry.rests_until > Instant::now()
        });
        if !rests {
            self.dirty.insert(sample.pid);
        }
    }

    /// A stack went through a file: its table was used, or is missed.
    pub(crate) fn note_file(&mut self, binary: BinaryHandle, now: Instant) {
        self.files.note(binary, now);
    }

    /// A file was built; [`UnwindTables::update`] takes it in.
    pub(crate) fn built(&mut self, built: Built) {
        self.builder.taken_back();
        self.built.push_back(built);
    }

    /// Takes in what was built, publishes what changed, and hands out the next files to build. After each batch, and when
    /// a file was built.
    pub(crate) fn update(&mut self, table: &mut ProcessTable) {
        let now = Instant::now();
        self.settle(now);
        while let Some(built) = self.built.pop_front() {
            if let Some(later) = self.take_in(built, now) {
                self.built.push_front(later);
                break;
            }
        }
        for pid in std::mem::take(&mut self.dirty) {
            if let Err(error) = self.publish(pid, table, now) {
                tracing::warn!(pid, %error, "a process stays without unwind tables");
                self.counts.refused += 1;
                // What it had may lead to a table that was given up.
                self.withdraw(pid, now);
            }
        }
        self.order_next(now);
    }

    /// Frees what was given back before: no entry leads to it, and runs of the kernel program that may have seen one that
    /// did are over.
    fn settle(&mut self, now: Instant) {
        if !self.pages.has_waited(now) && !self.slots.has_waited(now) {
            return;
        }
        match self.maps.wait_for_readers() {
            Ok(()) => {
                self.pages.settle();
                self.slots.settle();
            }
            Err(error) => tracing::warn!(%error, "room of old unwind tables cannot be used again yet"),
        }
    }

    /// Takes entries of processes that are gone out of the maps, and tables that nobody maps any more.
    pub(crate) fn forget(&mut self, table: &ProcessTable) {
        let now = Instant::now();
        let gone: Vec<u32> = self
            .entries
            .iter()
            .filter(|(pid, entry)| table.version(**pid).map(|(process, _)| process) != Some(entry.process))
            .map(|(pid, _)| *pid)
            .collect();
        for pid in gone {
            self.withdraw(pid, now);
        }
        let mapped: FxHashSet<BinaryHandle> =
            self.entries.values().flat_map(|entry| entry.files.iter().copied()).collect();
        for placed in self.files.forget(&mapped, now) {
            self.release(&placed, now);
        }
    }

    /// Counters.
    pub(crate) fn counts(&self) -> TableCounts {
        TableCounts {
            map_bytes: self.maps.bytes(),
            bytes: self.pages.taken() * PAGE_WORDS as u64 * 8,
            pending: self.files.pending(),
            source: self.source.counts(),
            ..self.counts
        }
    }

    fn release(&mut self, placed: &Placed, now: Instant) {
        self.pages.give_back(placed.pages, now);
        self.counts.tables -= 1;
        self.counts.rows -= placed.rows;
    }

    fn withdraw(&mut self, pid: u32, now: Instant) {
        if let Some(entry) = self.entries.remove(&pid) {
            give_back(&mut self.entries);
            self.maps.withdraw(pid);
            self.slots.give_back(entry.slots, now);
        }
    }

    fn publish(&mut self, pid: u32, table: &mut ProcessTable, now: Instant) -> Result<(), BpfError> {
        let start = Instant::now();
        let Some(code) = table.code(pid) else {
            self.withdraw(pid, now);
            return Ok(());
        };
        let mut mappings = Vec::with_capacity(code.ranges.len());
        let mut files = FxHashSet::default();
        for range in few_of_each(&code.ranges) {
            let CodeBacking::File(binary, file) = &range.backing else {
                mappings.push((range.start, mapping(range.end, CodeKind::NoInformation)));
                continue;
            };
            files.insert(*binary);
            match &self.files.get_or_want(*binary, file, now).state {
                State::Without | State::Failed => {
                    mappings.push((range.start, mapping(range.end, CodeKind::NoInformation)));
                }
                State::Ready(placed) => {
                    let (start, end, offset) = (range.start, range.end, range.file_offset);
                    placed.layout.map(start, end, offset, placed.pages.start, &mut mappings);
                }
                State::Wanted | State::Building | State::TooLarge => {
                    mappings.push((range.start, mapping(range.end, CodeKind::Pending)));
                }
            }
        }
        if code.ended {
            // No more samples will come; its files are wanted all the same, for the next one like it.
            self.withdraw(pid, now);
            return Ok(());
        }
        mappings.truncate(PROCESS_MAPPINGS_MAX);
        let Some(slots) = self.slots.take(mappings.len() as u32) else {
            self.counts.refused += 1;
            self.withdraw(pid, now);
            return Ok(());
        };
        self.maps.write_mappings(slots.start, &mappings)?;
        self.generation = self.generation.wrapping_add(1);
        let tables = ProcessTables {
            pid,
            start_time_ns: code.identity.start_time_ns,
            exec_id: code.identity.exec_id,
            first: slots.start,
            count: slots.len,
            generation: self.generation,
            reserved: 0,
        };
        if !self.maps.publish(tables)? {
            self.counts.refused += 1;
            self.slots.give_back(slots, now);
            return Ok(());
        }
        let entry = Entry {
            process: code.process,
            version: code.version,
            slots,
            files,
            rests_until: Instant::now() + start.elapsed() * REST,
        };
        if let Some(old) = self.entries.insert(pid, entry) {
            self.slots.give_back(old.slots, now);
        }
        Ok(())
    }

    /// Takes in what the builder made; gives it back if it must wait for its room.
    fn take_in(&mut self, built: Built, now: Instant) -> Option<Built> {
        let binary = built.binary;
        match &built.table {
            Err(NoTable::Unreadable) => self.files.failed(binary, now),
            Err(_) => self.files.without(binary, now),
            Ok(file) => {
                let layout = Layout::of(file);
                // One that takes more than half of the room would push out all others for itself.
                if layout.pages() > self.budget_pages / 2 {
                    self.counts.too_large += 1;
                    self.files.too_large(binary, now);
                } else {
                    match self.place(&layout, file, now) {
                        Placing::Later => return Some(built),
                        Placing::Done(pages) => {
                            let rows = file.table.stats().rows;
                            self.counts.tables += 1;
                            self.counts.rows += rows;
                            let again = self.files.placed(binary, (pages, layout, rows), built.cost_ns, now);
                            self.counts.rebuilt += u64::from(again);
                        }
                        Placing::PutOff => {
                            self.counts.put_off += 1;
                            self.files.put_off(binary, built.cost_ns, now);
                        }
                        Placing::Refused => {
                            self.counts.unplaced += 1;
                            self.files.failed(binary, now);
                        }
                    }
                }
            }
        }
        self.republish(binary);
        None
    }

    /// Every process that maps the file gets a new entry.
    fn republish(&mut self, binary: BinaryHandle) {
        let users = self.entries.iter().filter(|(_, entry)| entry.files.contains(&binary));
        self.dirty.extend(users.map(|(pid, _)| *pid));
    }

    /// Room for a table, at the cost of those least recently used.
    fn place(&mut self, layout: &Layout, file: &FileTable, now: Instant) -> Placing {
        loop {
            if let Some(pages) = self.pages.take(layout.pages()) {
                if let Err(error) = self.clear_reused() {
                    tracing::warn!(%error, "what the kernel program keeps cannot be cleared");
                    self.pages.give_back(pages, now);
                    return Placing::Refused;
                }
                let words = Layout::words(&file.table);
                return match self.maps.write_words(pages.start * PAGE_WORDS as u32, words) {
                    Ok(()) => Placing::Done(pages),
                    Err(error) => {
                        tracing::warn!(%error, "an unwind table cannot be written");
                        self.pages.give_back(pages, now);
                        Placing::Refused
                    }
                };
            }
            if self.pages.will_have(layout.pages()) {
                return Placing::Later;
            }
            let Some((evicted, placed)) = self.files.evict(now) else { return Placing::PutOff };
            self.counts.evicted += 1;
            self.release(&placed, now);
            self.republish(evicted);
        }
    }

    /// Words that were another table's mean something else from now on.
    fn clear_reused(&mut self) -> Result<(), BpfError> {
        if self.pages.has_come_back() {
            self.maps.forget_kept_rules()?;
            self.pages.note_cleared();
        }
        Ok(())
    }

    /// The next files go to the builder, as far as it has room.
    fn order_next(&mut self, now: Instant) {
        // A quarter of the budget is kept for files that stacks do go through.
        let has_room = self.pages.taken() < u64::from(self.budget_pages) * 3 / 4;
        let room = if self.built.is_empty() { self.builder.room() } else { 0 };
        for (binary, file) in self.files.next(room, has_room, now) {
            self.builder.order(binary, file);
        }
    }
}

/// All ranges, or the first of each file if there are too many.
fn few_of_each(ranges: &[CodeRange]) -> impl Iterator<Item = &CodeRange> {
    let are_many = ranges.len() > PROCESS_MAPPINGS_MAX;
    let mut counts: FxHashMap<Option<BinaryHandle>, usize> = FxHashMap::default();
    ranges.iter().filter(move |range| {
        let file = match &range.backing {
            CodeBacking::File(binary, _) => Some(*binary),
            CodeBacking::Anonymous => None,
        };
        let count = counts.entry(file).or_default();
        *count += 1;
        !are_many || *count <= OF_EACH_FILE
    })
}

fn mapping(end: u64, kind: CodeKind) -> CodeMapping {
    CodeMapping { end, kind: kind as u32, ..CodeMapping::default() }
}
