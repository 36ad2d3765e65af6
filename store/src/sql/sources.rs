//! What a statement reads: the segments and windows of one moment, each with the number by which ids of stacks name it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use rustc_hash::{FxHashMap, FxHashSet};
use ulid::Ulid;

use crate::cache::{Depth, size_of_profile};
use crate::catalog::Skipped;
use crate::handle::Store;
use crate::model::{Frame, FrameKind, NodeId, Profile};
use crate::query::{FunctionName, TimeRange};
use crate::segment::{LoadError, MAX_ROWS, SamplesFile, SegmentInfo, Table};

/// The low bits of a stack's id are its node, the others tell the segment. Together they are whole numbers that
/// JSON and JavaScript keep exact.
const NODE_BITS: u32 = 23;
const KEY_BITS: u32 = 30;
const _: () = assert!(MAX_ROWS <= 1 << NODE_BITS && NODE_BITS + KEY_BITS <= 53);

/// Which stack in which segment: stable as long as the segment is there.
pub(super) type StackId = i64;

/// The part of an id that tells the segment.
pub(super) fn key_of(id: StackId) -> Option<u32> {
    u32::try_from(id >> NODE_BITS).ok()
}

/// The part of an id that tells the node.
pub(super) fn node_of(id: StackId) -> NodeId {
    NodeId((id & ((1 << NODE_BITS) - 1)) as u32)
}

/// A segment, or a window in memory.
#[derive(Debug)]
pub(super) struct Source {
    /// The segment's id, or `memory-` and the start of the window.
    pub(super) name: String,
    pub(super) origin: Origin,
    key: u32,
}

#[derive(Debug)]
pub(super) enum Origin {
    Segment(Arc<SegmentInfo>),
    Window(Arc<Profile>),
}

impl Source {
    /// The id of the stack at a node.
    pub(super) fn stack_id(&self, node: i32) -> StackId {
        (i64::from(self.key) << NODE_BITS) | i64::from(node)
    }

    pub(super) fn segment(&self) -> Option<&SegmentInfo> {
        match &self.origin {
            Origin::Segment(segment) => Some(segment),
            Origin::Window(_) => None,
        }
    }

    /// The span that holds all of its samples and accounts, Unix milliseconds, half-open.
    pub(super) fn span(&self) -> (i64, i64) {
        match &self.origin {
            Origin::Segment(segment) => (segment.min_ms(), segment.max_ms().max(segment.min_ms() + 1)),
            Origin::Window(window) => (window.start_ms, window.end_ms.max(window.start_ms + 1)),
        }
    }
}

/// All that one statement reads.
pub(super) struct Sources {
    store: Store,
    list: Vec<Source>,
    by_key: FxHashMap<u32, usize>,
    /// What the answer does without, by path.
    skipped: Mutex<BTreeMap<Skipped, Option<Ulid>>>,
    /// The statement has to be run anew: a segment whose rows were already counted turned out to be unreadable.
    restart: AtomicBool,
    is_last_try: bool,
    pool: Arc<dyn MemoryPool>,
    held: Mutex<Held>,
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sources({})", self.list.len())
    }
}

/// Segments that cannot be read, known from an earlier try.
pub(super) type Unreadable = BTreeMap<Skipped, Option<Ulid>>;

impl Sources {
    /// What there is now, without what is known to be unreadable.
    pub(super) fn new(
        store: &Store,
        pool: Arc<dyn MemoryPool>,
        unreadable: &Unreadable,
        is_last_try: bool,
    ) -> crate::error::Result<Self> {
        let snapshot = store.snapshot(TimeRange::ALL)?;
        let left_out: FxHashSet<Ulid> = unreadable.values().flatten().copied().collect();
        let segments = snapshot.segments.into_iter().filter(|segment| !left_out.contains(&segment.id));
        let mut skipped = unreadable.clone();
        skipped.extend(snapshot.skipped.into_iter().map(|skipped| (skipped, None)));
        let mut keys = Keys::default();
        let mut list: Vec<Source> = segments
            .map(|segment| Source {
                name: segment.id.to_string(),
                // The last bits of a ULID are random.
                key: keys.take(segment.id.0 as u32),
                origin: Origin::Segment(segment),
            })
            .collect();
        // A window that could not be stored either has no ids for all of its stacks.
        let windows = snapshot.heads.into_iter().filter(|window| window.stacks.len() <= 1 << NODE_BITS);
        list.extend(windows.map(|window| Source {
            name: format!("memory-{}", window.start_ms),
            key: keys.take(window.start_ms as u32),
            origin: Origin::Window(window),
        }));
        let by_key = list.iter().enumerate().map(|(place, source)| (source.key, place)).collect();
        let budget = usize::try_from(store.limits().memory_bytes / HELD_SHARE).unwrap_or(usize::MAX);
        let held = Held::new(budget, MemoryConsumer::new("stacks of functions").register(&pool));
        Ok(Self {
            store: store.clone(),
            list,
            by_key,
            skipped: Mutex::new(skipped),
            restart: AtomicBool::new(false),
            is_last_try,
            pool,
            held: Mutex::new(held),
        })
    }

    pub(super) fn list(&self) -> &[Source] {
        &self.list
    }

    pub(super) fn get(&self, place: usize) -> Option<&Source> {
        self.list.get(place)
    }

    /// Ends a statement that nobody waits for.
    pub(super) fn check(&self) -> Result<()> {
        self.store.limits().cancel.check().map_err(external)
    }

    /// Memory for a part of the statement's work, as yet none.
    pub(super) fn reservation(&self, of: &'static str) -> MemoryReservation {
        MemoryConsumer::new(of).register(&self.pool)
    }

    /// Series, stacks, frames and accounts of a source; none if they cannot be read.
    pub(super) fn tables(&self, source: &Source) -> Result<Option<Arc<Profile>>> {
        match &source.origin {
            Origin::Window(window) => Ok(Some(window.clone())),
            Origin::Segment(segment) => {
                self.readable(segment, false, || self.store.tables(segment, Depth::Stacks))
            }
        }
    }

    /// The samples of a segment, opened; none if they cannot be read.
    pub(super) fn samples(&self, segment: &SegmentInfo) -> Result<Option<SamplesFile>> {
        self.readable(segment, false, || self.store.samples(segment, Table::Samples))
    }

    /// Runs what reads a segment. None if it cannot be read and nothing of it is in the answer yet.
    ///
    /// # Errors
    /// When the statement has to be run anew.
    pub(super) fn readable<T>(
        &self,
        segment: &SegmentInfo,
        is_begun: bool,
        read: impl FnOnce() -> std::result::Result<T, LoadError>,
    ) -> Result<Option<T>> {
        // The Parquet reader panics on some damaged files that come without checksums.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(read));
        let result =
            result.unwrap_or_else(|_| Err(LoadError::Bad("the Parquet reader gave up on it".into())));
        let reason = match result {
            Ok(value) => return Ok(Some(value)),
            Err(LoadError::Vanished) if !self.is_last_try => return Err(self.again()),
            Err(LoadError::Vanished) => "it was removed while it was read".to_owned(),
            Err(LoadError::Refused(reason)) => reason,
            Err(LoadError::Bad(reason)) => {
                self.store.mark_bad(segment, &reason);
                reason
            }
        };
        let skipped = Skipped { path: segment.path().to_owned(), reason };
        self.skipped().insert(skipped, Some(segment.id));
        if is_begun { Err(self.again()) } else { Ok(None) }
    }

    fn again(&self) -> DataFusionError {
        self.restart.store(true, Ordering::Relaxed);
        DataFusionError::Execution("a segment went away while it was read".to_owned())
    }

    /// Whether the statement has to be run anew.
    pub(super) fn must_restart(&self) -> bool {
        self.restart.load(Ordering::Relaxed)
    }

    /// What could not be read.
    pub(super) fn skipped(&self) -> MutexGuard<'_, Unreadable> {
        self.skipped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tables of the source that ids with this key name, held for the next call; none if there is no such source.
    pub(super) fn by_key(&self, key: u32) -> Result<Option<Arc<Profile>>> {
        let Some(source) = self.by_key.get(&key).and_then(|place| self.get(*place)) else { return Ok(None) };
        if let Some(Kept::Tables(tables)) = self.held().get(key, "") {
            return Ok(Some(tables));
        }
        let Some(tables) = self.tables(source)? else { return Ok(None) };
        self.held().insert(key, "", Kept::Tables(tables.clone()))?;
        Ok(Some(tables))
    }

    /// Which nodes of these tables have a frame of a function on their way to the root, by node; `name` as
    /// [`FunctionName::parse`] takes it.
    pub(super) fn nodes_with(
        &self,
        key: u32,
        tables: &Profile,
        name: &str,
        function: &FunctionName,
    ) -> Result<Arc<Vec<bool>>> {
        if let Some(Kept::Nodes(nodes)) = self.held().get(key, name) {
            return Ok(nodes);
        }
        // Many frames share a name, and a regular expression is slow.
        let mut hits = vec![None; tables.strings.len()];
        let mut is_it = |frame: &Frame| {
            let text = tables.text(frame.function);
            let hit = &mut hits[frame.function.0 as usize];
            frame.kind != FrameKind::Truncated && *hit.get_or_insert_with(|| function.contains(text))
        };
        let frames: Vec<bool> = tables.frames.iter().map(&mut is_it).collect();
        let tree = &tables.stacks;
        let mut nodes = vec![false; tree.len()];
        for node in tree.nodes().skip(1) {
            let own = tree.frame(node).is_some_and(|frame| frames[frame.0 as usize]);
            nodes[node.0 as usize] = own || nodes[tree.parent(node).0 as usize];
        }
        let nodes = Arc::new(nodes);
        self.held().insert(key, name, Kept::Nodes(nodes.clone()))?;
        Ok(nodes)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An error of ours on its way through the engine.
pub(super) fn external(error: crate::error::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// Numbers of sources, each once.
#[derive(Default)]
struct Keys(FxHashSet<u32>);

impl Keys {
    /// The number wished for, or the next free one. Those who come first get theirs: with ten thousand segments the
    /// chance that any two wish for the same is one in twenty, and then the younger one's ids may change once.
    fn take(&mut self, wish: u32) -> u32 {
        let mask = (1 << KEY_BITS) - 1;
        let mut key = wish & mask;
        while !self.0.insert(key) {
            key = (key + 1) & mask;
        }
        key
    }
}

/// Functions may hold this part of the memory; the rest is for the statement's own work.
const HELD_SHARE: u64 = 4;

/// What functions have used lately.
struct Held {
    budget: usize,
    bytes: usize,
    /// By key, and name of a function where it is about one. The one used last comes last.
    entries: Vec<(u32, String, Kept, usize)>,
    reservation: MemoryReservation,
}

#[derive(Clone)]
enum Kept {
    Tables(Arc<Profile>),
    Nodes(Arc<Vec<bool>>),
}

impl Held {
    fn new(budget: usize, reservation: MemoryReservation) -> Self {
        Self { budget, bytes: 0, entries: Vec::new(), reservation }
    }

    fn get(&mut self, key: u32, name: &str) -> Option<Kept> {
        let place = self.entries.iter().rposition(|(of, about, ..)| *of == key && about == name)?;
        let entry = self.entries.remove(place);
        let kept = entry.2.clone();
        self.entries.push(entry);
        Some(kept)
    }

    fn insert(&mut self, key: u32, name: &str, kept: Kept) -> Result<()> {
        let bytes = match &kept {
            Kept::Tables(tables) => size_of_profile(tables),
            Kept::Nodes(nodes) => nodes.len(),
        };
        let mut gone = 0;
        while gone < self.entries.len() && self.bytes + bytes > self.budget {
            self.bytes -= self.entries[gone].3;
            gone += 1;
        }
        self.entries.drain(..gone);
        self.bytes += bytes;
        self.entries.push((key, name.to_owned(), kept, bytes));
        self.reservation.try_resize(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_exact_in_json_and_lead_back() {
        let window = Arc::new(Profile::default());
        let source = Source { name: String::new(), origin: Origin::Window(window), key: (1 << KEY_BITS) - 1 };
        let node = (1 << NODE_BITS) - 1;
        let id = source.stack_id(node);
        assert!(id < 1 << 53);
        assert_eq!((key_of(id), node_of(id)), (Some(source.key), NodeId(node.cast_unsigned())));
        assert_eq!(key_of(-1), None);
        assert_eq!(key_of(i64::MAX).and_then(|key| (key < 1 << KEY_BITS).then_some(key)), None);
    }

    #[test]
    fn two_that_wish_for_one_number_get_two() {
        let mut keys = Keys::default();
        assert_eq!(
            [7, 7, 8, u32::MAX, u32::MAX].map(|wish| keys.take(wish)),
            [7, 8, 9, (1 << KEY_BITS) - 1, 0]
        );
    }
}
