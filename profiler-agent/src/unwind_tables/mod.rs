//! Unwind tables for the kernel program: built for the files of sampled processes, off the sampling path and most missed
//! first, kept within a budget of bytes, published per process.
//!
//! The order of every change keeps readers safe: words, then code mappings, then the process's entry; and what an entry
//! no longer leads to is given back only after a grace (`space`).

mod build;
mod layout;
mod space;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use profiler_abi::{
    CodeKind, CodeMapping, MAPPINGS_MAX, PAGE_WORDS, PROCESSES_MAX, ProcessTables, SLAB_PAGES, SLABS_MAX,
};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::{
    bpf::{BpfError, RawSample, TableMaps},
    processes::{BinaryHandle, CodeBacking, MappedFile, ProcessHandle, ProcessTable},
};
use build::{Builder, Built, Outcome};
use layout::Layout;
use space::{Part, Space};

/// How long a file whose table could not be built is left alone.
const RETRY: Duration = Duration::from_secs(10);
/// How long a table is kept that no process maps.
const KEEP_UNUSED: Duration = Duration::from_secs(120);
/// Mappings of one process that are published: as many as a very large program has libraries, four times over.
const PROCESS_MAPPINGS_MAX: usize = 4096;

/// Counters, for /metrics.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TableCounts {
    /// Tables in the maps, their rows, and their bytes.
    pub(crate) tables: u64,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    /// Bytes of all maps of tables.
    pub(crate) map_bytes: u64,
    /// Tables built, and given up for room.
    pub(crate) built: u64,
    pub(crate) evicted: u64,
    /// Files without a table for an error, processes without an entry for lack of room.
    pub(crate) failed: u64,
    pub(crate) refused: u64,
}

enum FileState {
    /// To be built; misses so far.
    Wanted {
        misses: u64,
        since: Instant,
    },
    /// With the builder.
    Building,
    /// In the maps.
    Ready(Placed),
    /// There is nothing to build from.
    NoInformation {
        since: Instant,
    },
    Failed {
        at: Instant,
    },
}

impl FileState {
    /// Whether a file that no process maps may be forgotten.
    fn is_stale(&self, now: Instant) -> bool {
        let since = match self {
            Self::Building => return false,
            Self::Wanted { since, .. } | Self::NoInformation { since } => *since,
            Self::Failed { at } => *at,
            Self::Ready(placed) => placed.used,
        };
        now.duration_since(since) >= KEEP_UNUSED
    }
}

struct Placed {
    pages: Part,
    layout: Arc<Layout>,
    rows: u64,
    used: Instant,
}

struct Entry {
    process: ProcessHandle,
    version: u64,
    slots: Part,
    files: FxHashSet<BinaryHandle>,
}

/// All tables. Owned by the processor thread.
pub(crate) struct UnwindTables {
    maps: TableMaps,
    pages: Space,
    budget_pages: u64,
    slots: Space,
    files: FxHashMap<BinaryHandle, (FileState, MappedFile)>,
    entries: FxHashMap<u32, Entry>,
    dirty: FxHashSet<u32>,
    builder: Builder,
    counts: TableCounts,
}

impl UnwindTables {
    /// Tables of at most `budget_bytes`.
    pub(crate) fn new(maps: TableMaps, budget_bytes: u64) -> std::io::Result<Self> {
        let pages = (SLAB_PAGES * SLABS_MAX) as u32;
        Ok(Self {
            maps,
            pages: Space::new(pages),
            budget_pages: (budget_bytes / (PAGE_WORDS as u64 * 8)).min(u64::from(pages) - 1),
            slots: Space::new(MAPPINGS_MAX),
            files: FxHashMap::default(),
            entries: FxHashMap::default(),
            dirty: FxHashSet::default(),
            builder: Builder::start()?,
            counts: TableCounts::default(),
        })
    }

    /// Looks at a sample: its process gets tables if it has none, or if its mappings changed.
    pub(crate) fn note(&mut self, sample: &RawSample, table: &ProcessTable) {
        let published = self.entries.get(&sample.pid).map(|entry| (entry.process, entry.version));
        let current = published.is_some() && published == table.version(sample.pid);
        if !current {
            self.dirty.insert(sample.pid);
        }
    }

    /// A stack went through a file by its table, or missed it.
    pub(crate) fn note_file(&mut self, binary: BinaryHandle, missed: bool, now: Instant) {
        match self.files.get_mut(&binary) {
            Some((FileState::Ready(placed), _)) => placed.used = now,
            Some((FileState::Wanted { misses, .. }, _)) => *misses += u64::from(missed),
            _ => {}
        }
    }

    /// Takes in what was built, publishes what changed, and hands out the next files to build. After each batch.
    pub(crate) fn update(&mut self, table: &mut ProcessTable) {
        let now = Instant::now();
        while let Some(built) = self.builder.done() {
            self.take_in(built, now);
        }
        for pid in std::mem::take(&mut self.dirty) {
            if let Err(error) = self.publish(pid, table, now) {
                tracing::warn!(pid, %error, "a process stays without unwind tables");
                self.counts.refused += 1;
            }
        }
        self.order_next(now);
    }

    /// Takes entries of processes that are gone out of the maps.
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
        let used: FxHashSet<BinaryHandle> =
            self.entries.values().flat_map(|entry| entry.files.iter().copied()).collect();
        // Processes that come and go share their files: a table outlives the last of them a little.
        let unused: Vec<BinaryHandle> = self
            .files
            .iter()
            .filter(|(file, (state, _))| !used.contains(file) && state.is_stale(now))
            .map(|(file, _)| *file)
            .collect();
        for file in unused {
            if let Some((FileState::Ready(placed), _)) = self.files.remove(&file) {
                self.release(&placed, now);
            }
        }
    }

    /// Counters.
    pub(crate) fn counts(&self) -> TableCounts {
        TableCounts {
            map_bytes: self.maps.bytes(),
            bytes: self.pages.taken() * PAGE_WORDS as u64 * 8,
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
            self.maps.withdraw(pid);
            self.slots.give_back(entry.slots, now);
        }
    }

    fn publish(&mut self, pid: u32, table: &mut ProcessTable, now: Instant) -> Result<(), BpfError> {
        let Some(code) = table.code(pid) else {
            self.withdraw(pid, now);
            return Ok(());
        };
        let mut mappings = Vec::with_capacity(code.ranges.len());
        let mut files = FxHashSet::default();
        for range in &code.ranges {
            let CodeBacking::File(binary, file) = &range.backing else {
                mappings.push((range.start, mapping(range.end, CodeKind::NoInformation)));
                continue;
            };
            files.insert(*binary);
            let wanted = || (FileState::Wanted { misses: 0, since: now }, file.clone());
            match &self.files.entry(*binary).or_insert_with(wanted).0 {
                FileState::NoInformation { .. } => {
                    mappings.push((range.start, mapping(range.end, CodeKind::NoInformation)));
                }
                FileState::Ready(placed) => {
                    let (start, end, offset) = (range.start, range.end, range.file_offset);
                    placed.layout.map(start, end, offset, placed.pages.start, &mut mappings);
                }
                _ => mappings.push((range.start, mapping(range.end, CodeKind::Pending))),
            }
        }
        if code.ended {
            // No more samples will come; its files are wanted all the same, for the next one like it.
            self.withdraw(pid, now);
            return Ok(());
        }
        mappings.truncate(PROCESS_MAPPINGS_MAX);
        let room = self.entries.len() < PROCESSES_MAX as usize || self.entries.contains_key(&pid);
        let slots = if room { self.slots.take(mappings.len() as u32, now) } else { None };
        let Some(slots) = slots else {
            self.counts.refused += 1;
            self.withdraw(pid, now);
            return Ok(());
        };
        self.maps.write_mappings(slots.start, &mappings)?;
        let tables = ProcessTables {
            start_time_ns: code.identity.start_time_ns,
            exec_id: code.identity.exec_id,
            first: slots.start,
            count: slots.len,
            reserved: 0,
        };
        self.maps.publish(pid, tables)?;
        let entry = Entry { process: code.process, version: code.version, slots, files };
        if let Some(old) = self.entries.insert(pid, entry) {
            self.slots.give_back(old.slots, now);
        }
        Ok(())
    }

    fn take_in(&mut self, built: Built, now: Instant) {
        let state = match built.outcome {
            Outcome::NoInformation => FileState::NoInformation { since: now },
            Outcome::Failed => {
                self.counts.failed += 1;
                FileState::Failed { at: now }
            }
            Outcome::Table { words, layout, rows } => {
                self.counts.built += 1;
                match self.place(&words, now) {
                    Some(pages) => {
                        self.counts.tables += 1;
                        self.counts.rows += rows;
                        FileState::Ready(Placed { pages, layout: Arc::new(layout), rows, used: now })
                    }
                    None => {
                        self.counts.failed += 1;
                        FileState::Failed { at: now }
                    }
                }
            }
        };
        if let Some(file) = self.files.get_mut(&built.binary) {
            file.0 = state;
            self.republish(built.binary);
        }
    }

    /// Every process that maps the file gets a new entry.
    fn republish(&mut self, binary: BinaryHandle) {
        let users = self.entries.iter().filter(|(_, entry)| entry.files.contains(&binary));
        self.dirty.extend(users.map(|(pid, _)| *pid));
    }

    /// Room for a table, at the cost of those least recently used.
    fn place(&mut self, words: &[u64], now: Instant) -> Option<Part> {
        let len = words.len().div_ceil(PAGE_WORDS) as u32;
        while self.pages.taken() + u64::from(len) > self.budget_pages {
            self.evict(now)?;
        }
        let pages = self.pages.take(len, now)?;
        match self.maps.write_words(pages.start * PAGE_WORDS as u32, words) {
            Ok(()) => Some(pages),
            Err(error) => {
                tracing::warn!(%error, "an unwind table cannot be written");
                self.pages.give_back(pages, now);
                None
            }
        }
    }

    fn evict(&mut self, now: Instant) -> Option<()> {
        let oldest = self
            .files
            .iter()
            .filter_map(|(file, (state, _))| match state {
                FileState::Ready(placed) => Some((placed.used, *file)),
                _ => None,
            })
            .min()?
            .1;
        let (state, _) = self.files.get_mut(&oldest)?;
        if let FileState::Ready(placed) = std::mem::replace(state, FileState::Failed { at: now }) {
            self.release(&placed, now);
            self.counts.evicted += 1;
            self.republish(oldest);
        }
        Some(())
    }

    /// The most missed files go to the builder, as far as it has room.
    fn order_next(&mut self, now: Instant) {
        let room = self.builder.room();
        if room == 0 {
            return;
        }
        let mut wanted = Vec::new();
        for (binary, (state, _)) in &mut self.files {
            if matches!(state, FileState::Failed { at } if now.duration_since(*at) >= RETRY) {
                *state = FileState::Wanted { misses: 0, since: now };
            }
            if let FileState::Wanted { misses, .. } = state {
                wanted.push((std::cmp::Reverse(*misses), *binary));
            }
        }
        wanted.sort_unstable();
        for (_, binary) in wanted.into_iter().take(room) {
            if let Some((state, file)) = self.files.get_mut(&binary) {
                self.builder.order(binary, file.clone());
                *state = FileState::Building;
            }
        }
    }
}

fn mapping(end: u64, kind: CodeKind) -> CodeMapping {
    CodeMapping { end, kind: kind as u32, ..CodeMapping::default() }
}
