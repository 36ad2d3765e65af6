//! The store: one data directory, open.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rustc_hash::{FxHashMap, FxHashSet, FxHasher};
use ulid::Ulid;

use crate::cache::{Cache, Depth};
use crate::catalog::{Catalog, DataDir, Skipped};
use crate::dictionary::{Dictionary, Known};
use crate::elsewhere::{Elsewhere, Lease};
use crate::error::{Error, IoContext, Result};
use crate::inventory::Inventory;
use crate::log::{OpenLogs, Readers};
use crate::model::Profile;
use crate::query::{Limits, Offsets, TimeRange};
use crate::segment::{self, LoadError, Manifest, SamplesFile, SegmentInfo, Table, Target};

/// Windows published but not yet on disk. The disk is that many windows behind before the oldest is given up.
const MAX_HEADS: usize = 30;
/// Listings of logs and segments before what was found is taken as it is.
const MAX_TRIES: usize = 16;
/// Starts of windows lately appended, to recognise a head that comes too late.
const MAX_APPENDED: usize = 64;

/// A data directory, open for reading or for writing. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
    /// Of queries by this clone.
    limits: Limits,
    /// Queries by this clone are about this part of every second only.
    offsets: Option<Offsets>,
}

struct Inner {
    dir: DataDir,
    state: Mutex<State>,
    cache: Mutex<Cache>,
    /// The tree of all stacks; another one once it has grown too large.
    dictionary: Mutex<Arc<Dictionary>>,
    /// One of compaction and retention at a time.
    maintenance: Mutex<()>,
    /// Locked before `state`.
    logs: Mutex<Readers>,
    open_logs: OpenLogs,
    /// Locked after all others.
    inventory: Mutex<Inventory>,
    /// What there is beside the data directory.
    elsewhere: OnceLock<Arc<dyn Elsewhere>>,
}

pub(crate) struct State {
    pub(crate) catalog: Catalog,
    /// Windows in memory by their start.
    heads: BTreeMap<i64, Arc<Profile>>,
    heads_dropped: u64,
    appended: VecDeque<i64>,
    /// Segments that turned out to be damaged, so that they are not read again for each query.
    bad: FxHashMap<Ulid, String>,
    /// Samples and rollups that had the right checksum when they were first read.
    verified: FxHashSet<(Ulid, Table)>,
    /// Segments with rollups that turned out to be damaged: their samples answer.
    bad_rollups: FxHashSet<Ulid>,
    /// Segments that have too many stacks to be merged with those after them.
    pub(crate) full: FxHashSet<Ulid>,
}

/// What the store holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Segments that queries read.
    pub segments: usize,
    /// Their bytes on disk.
    pub bytes: u64,
    /// What queries leave out, as far as known: damage inside a segment shows when it is first read.
    pub skipped: Vec<Skipped>,
    /// Windows that are logged, and no segments yet.
    pub logs: usize,
    /// Bytes of their logs.
    pub log_bytes: u64,
    /// Windows in memory only.
    pub heads: usize,
    /// Windows given up because the disk was too far behind.
    pub heads_dropped: u64,
    /// From when on times of samples are kept as they were taken, Unix milliseconds; none without segments.
    pub exact_from_ms: Option<i64>,
    /// Bytes of decoded segments in memory.
    pub cache_bytes: usize,
    /// Decoded segments put out for lack of room.
    pub cache_evicted: u64,
}

/// The segments and windows that a query reads, all of one moment.
pub(crate) struct Snapshot {
    pub(crate) segments: Vec<Arc<SegmentInfo>>,
    pub(crate) heads: Vec<Arc<Profile>>,
    pub(crate) skipped: Vec<Skipped>,
}

impl Store {
    /// Opens an existing data directory for reading. Another process may write to it meanwhile.
    ///
    /// # Errors
    /// When the directory is missing, cannot be read, or is not one of Vesta.
    pub fn open_reader(path: impl AsRef<Path>) -> Result<Self> {
        Self::open(DataDir::open(path.as_ref())?)
    }

    /// Opens a data directory as its one writer, and makes it if it does not exist.
    ///
    /// # Errors
    /// When another process writes to it, when it is not one of Vesta and not empty, or when the operating
    /// system refuses.
    pub fn open_writer(path: impl AsRef<Path>) -> Result<Self> {
        let store = Self::open(DataDir::open_for_writing(path.as_ref())?)?;
        store.purge()?;
        // What was logged can be read as it is, too: a disk that is full now is no reason not to start.
        match store.settle() {
            Ok(settled) if settled.windows > 0 => tracing::info!(?settled, "took over what was logged"),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "logs stay as they are for now"),
        }
        Ok(store)
    }

    fn open(dir: DataDir) -> Result<Self> {
        let mut catalog = Catalog::new(dir.segments());
        catalog.refresh()?;
        let state = State {
            catalog,
            heads: BTreeMap::new(),
            heads_dropped: 0,
            appended: VecDeque::new(),
            bad: FxHashMap::default(),
            verified: FxHashSet::default(),
            bad_rollups: FxHashSet::default(),
            full: FxHashSet::default(),
        };
        let logs = Mutex::new(Readers::new(dir.log()));
        let inner = Arc::new(Inner {
            dir,
            state: Mutex::new(state),
            cache: Mutex::default(),
            dictionary: Mutex::default(),
            maintenance: Mutex::new(()),
            logs,
            open_logs: OpenLogs::default(),
            inventory: Mutex::default(),
            elsewhere: OnceLock::new(),
        });
        Ok(Self { inner, limits: Limits::default(), offsets: None })
    }

    /// The same store with other limits for its queries.
    pub fn with_limits(&self, limits: Limits) -> Self {
        Self { inner: self.inner.clone(), limits, offsets: self.offsets.clone() }
    }

    /// The same store, whose queries are about these parts of seconds only: about samples whose exact times
    /// were kept. Accounts are of whole windows, as ever.
    pub fn with_offsets(&self, offsets: Option<Offsets>) -> Self {
        Self { offsets, ..self.clone() }
    }

    pub(crate) fn offsets(&self) -> Option<&Offsets> {
        self.offsets.as_ref()
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The data directory.
    pub fn path(&self) -> &Path {
        self.inner.dir.root()
    }

    /// Makes a window that is not on disk yet visible to queries of this process, in place of what was
    /// published before for the window of the same `start_ms`. None takes back all such windows.
    pub fn publish_head(&self, head: Option<Arc<Profile>>) {
        let mut state = self.state();
        let Some(head) = head else { return state.heads.clear() };
        if state.appended.contains(&head.start_ms) {
            return;
        }
        state.heads.insert(head.start_ms, head);
        if state.heads.len() > MAX_HEADS {
            state.heads.pop_first();
            state.heads_dropped += 1;
        }
    }

    /// Writes a window as a segment. The published head of the same `start_ms` gives way to it at one
    /// moment: a query sees one of them, never both and never none. After an error the head stays.
    ///
    /// # Errors
    /// When the store is open for reading only, the profile does not fit the format, or writing fails.
    pub fn append(&self, profile: &Profile) -> Result<SegmentInfo> {
        let write = |folder: &Path| segment::write(folder, profile, Target::default());
        let segment = self.install(write, |state| {
            state.heads.remove(&profile.start_ms);
            state.appended.push_back(profile.start_ms);
            if state.appended.len() > MAX_APPENDED {
                state.appended.pop_front();
            }
        })?;
        Ok(segment)
    }

    /// Writes a profile that is none of this agent's windows, as one of another tool, as a segment. Its samples
    /// may lie anywhere in time.
    ///
    /// # Errors
    /// As [`Store::append`].
    pub fn import(&self, profile: &Profile) -> Result<SegmentInfo> {
        self.install(|folder: &Path| segment::write(folder, profile, Target::default()), |_| {})
    }

    /// Span of all samples, of segments and of windows in memory; none while there are none.
    pub fn span(&self) -> Option<TimeRange> {
        let snapshot = self.snapshot_or_last(TimeRange::ALL);
        let segments = snapshot.segments.iter().map(|segment| (segment.min_ms(), segment.max_ms()));
        let heads = snapshot.heads.iter().map(|head| (head.start_ms, head.end_ms));
        let (from, until) = segments.chain(heads).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))?;
        TimeRange::new(from, until).ok()
    }

    /// What the store holds.
    pub fn stats(&self) -> Stats {
        let snapshot = self.snapshot_or_last(TimeRange::ALL);
        let (cache_bytes, cache_evicted) = self.cache().usage();
        let mut skipped = snapshot.skipped;
        let (logs, log_bytes) = self.logs().usage();
        let state = self.state();
        let (mut segments, mut bytes) = (0, 0);
        for segment in &snapshot.segments {
            match state.bad.get(&segment.id) {
                Some(reason) => {
                    skipped.push(Skipped { path: segment.path.clone(), reason: reason.clone() });
                }
                None => (segments, bytes) = (segments + 1, bytes + segment.bytes),
            }
        }
        Stats {
            segments,
            bytes,
            skipped,
            logs,
            log_bytes,
            exact_from_ms: exact_from_ms(&snapshot.segments),
            heads: state.heads.len(),
            heads_dropped: state.heads_dropped,
            cache_bytes,
            cache_evicted,
        }
    }

    /// All segments that queries read, oldest first.
    ///
    /// # Errors
    /// When the data directory cannot be listed.
    pub fn segments(&self) -> Result<Vec<SegmentInfo>> {
        let snapshot = self.snapshot(TimeRange::ALL)?;
        Ok(snapshot.segments.iter().map(|segment| SegmentInfo::clone(segment)).collect())
    }

    /// A number that changes when an answer about a range may change: none while that may happen at any moment,
    /// since windows of it are in memory only.
    ///
    /// # Errors
    /// When the data directory cannot be listed.
    pub fn fingerprint(&self, range: TimeRange) -> Result<Option<u64>> {
        let snapshot = self.snapshot(range)?;
        if snapshot.heads.iter().any(|head| range.overlaps(head.start_ms, head.end_ms)) {
            return Ok(None);
        }
        let mut hasher = FxHasher::default();
        let mut ids: Vec<Ulid> = snapshot.segments.iter().map(|segment| segment.id).collect();
        ids.sort_unstable();
        (ids, snapshot.skipped).hash(&mut hasher);
        let bad: Vec<_> = self.state().bad.keys().copied().collect();
        bad.len().hash(&mut hasher);
        Ok(Some(hasher.finish()))
    }

    /// How many segments a question about a range may read, and their bytes on disk.
    ///
    /// # Errors
    /// When the data directory cannot be listed.
    pub fn size_of(&self, range: TimeRange) -> Result<(usize, u64)> {
        let segments = self.snapshot(range)?.segments;
        Ok((segments.len(), segments.iter().map(|segment| segment.bytes).sum()))
    }

    /// Whether it was opened for writing.
    pub fn is_writer(&self) -> bool {
        self.dir().require_writer().is_ok()
    }

    /// Segments that others replace and that are still there.
    pub(crate) fn replaced(&self) -> Result<Vec<Arc<SegmentInfo>>> {
        let mut state = self.state();
        state.catalog.refresh()?;
        Ok(state.catalog.replaced())
    }

    /// What there is to read for a range, listed anew.
    pub(crate) fn snapshot(&self, range: TimeRange) -> Result<Snapshot> {
        let (mut logs, mut state) = (self.logs(), self.state());
        // A log goes only after its segment came: while all that were read are there, no segment was overlooked.
        for _ in 0..MAX_TRIES {
            logs.refresh()?;
            state.catalog.refresh()?;
            if logs.are_still_there() {
                break;
            }
        }
        Ok(state.select(range, &mut logs, self.elsewhere()))
    }

    /// The same, from what was last listed if it cannot be listed now.
    fn snapshot_or_last(&self, range: TimeRange) -> Snapshot {
        self.snapshot(range).unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot list the segments");
            let (mut logs, mut state) = (self.logs(), self.state());
            state.select(range, &mut logs, self.elsewhere())
        })
    }

    /// A segment's profile without rows; without stacks, too, if they are not asked for.
    pub(crate) fn tables(
        &self,
        segment: &SegmentInfo,
        depth: Depth,
    ) -> std::result::Result<Arc<Profile>, LoadError> {
        self.require_good(segment)?;
        if let Some(tables) = self.cache().get(segment.id, depth) {
            return Ok(tables);
        }
        type Load = fn(&Path, &Manifest) -> std::result::Result<Profile, LoadError>;
        let (load, files): (Load, &[Table]) = match depth {
            Depth::Series => (segment::load_series, &[Table::Series, Table::Accounts]),
            Depth::Stacks => (segment::load_all_but_samples, &Table::ALL_BUT_SAMPLES),
        };
        let _lease = self.fetch(segment, files)?;
        let tables = Arc::new(load(&segment.path, &segment.manifest)?);
        self.cache().insert(segment.id, depth, tables.clone());
        Ok(tables)
    }

    /// What the tree of all stacks knows of a segment.
    pub(crate) fn known(
        &self,
        segment: &SegmentInfo,
        dictionary: &Dictionary,
    ) -> std::result::Result<Option<Arc<Known>>, LoadError> {
        self.require_good(segment)?;
        Ok(dictionary.get(segment.id))
    }

    /// The tree of all stacks for a query: an empty one when the last has grown too large.
    pub(crate) fn dictionary(&self) -> Arc<Dictionary> {
        let mut dictionary = self.inner.dictionary.lock().unwrap_or_else(PoisonError::into_inner);
        if dictionary.beyond_its_share() > 0 {
            *dictionary = Arc::default();
        }
        dictionary.clone()
    }

    /// A segment's samples or one of its rollups, opened. Its checksum is looked at once.
    pub(crate) fn samples(
        &self,
        segment: &SegmentInfo,
        table: Table,
    ) -> std::result::Result<SamplesFile, LoadError> {
        let _lease = self.fetch(segment, &[table])?;
        let key = (segment.id, table);
        let is_verified = self.state().verified.contains(&key);
        let samples = segment::open_samples(&segment.path, table, &segment.manifest, is_verified)?;
        if !is_verified {
            self.state().verified.insert(key);
        }
        Ok(samples)
    }

    /// Whether a segment has a rollup that can be read, as far as known.
    pub(crate) fn has_rollup(&self, segment: &SegmentInfo, table: Table) -> bool {
        segment.manifest.files.contains_key(table.file_name())
            && !self.state().bad_rollups.contains(&segment.id)
    }

    /// Remembers that a segment's rollups cannot be read.
    pub(crate) fn mark_bad_rollups(&self, segment: &SegmentInfo, reason: &str) {
        if self.state().bad_rollups.insert(segment.id) {
            tracing::warn!(segment = %segment.path.display(), reason, "reading samples in place of rollups");
        }
    }

    /// Fails if a segment is known to be damaged.
    pub(crate) fn require_good(&self, segment: &SegmentInfo) -> std::result::Result<(), LoadError> {
        match self.state().bad.get(&segment.id) {
            Some(reason) => Err(LoadError::Bad(reason.clone())),
            None => Ok(()),
        }
    }

    /// Remembers that a segment cannot be read.
    pub(crate) fn mark_bad(&self, segment: &SegmentInfo, reason: &str) {
        if self.state().bad.insert(segment.id, reason.to_owned()).is_none() {
            tracing::warn!(segment = %segment.path.display(), reason, "skipping a segment");
        }
    }

    /// Writes a segment into a folder of its own and shows it to readers, at one moment with `at_once`.
    pub(crate) fn install<E: From<Error>>(
        &self,
        write: impl FnOnce(&Path) -> std::result::Result<(Manifest, u64), E>,
        at_once: impl FnOnce(&mut State),
    ) -> std::result::Result<SegmentInfo, E> {
        let dir = &self.inner.dir;
        dir.require_writer()?;
        let aside = dir.tmp().join(Ulid::new().to_string());
        let shown =
            write(&aside).and_then(|(manifest, bytes)| Ok(self.show(&aside, manifest, bytes, at_once)?));
        shown.inspect_err(|_| {
            // The error is what matters; leftovers go when the next writer starts.
            fs::remove_dir_all(&aside).unwrap_or_default();
        })
    }

    fn show(
        &self,
        aside: &Path,
        manifest: Manifest,
        bytes: u64,
        at_once: impl FnOnce(&mut State),
    ) -> Result<SegmentInfo> {
        let dir = &self.inner.dir;
        let outside = |_| Error::Unstorable(format!("time {} ms is out of range", manifest.min_ms));
        let start =
            u64::try_from(manifest.min_ms).map_err(|_| Error::Unstorable("time before 1970".into()))?;
        let id = Ulid::from_parts(start, Ulid::new().random());
        let day = jiff::Timestamp::from_millisecond(manifest.min_ms).map_err(outside)?.strftime("%Y-%m-%d");
        let day = dir.segments().join(format!("date={day}"));
        let path = day.join(format!("segment={id}"));
        {
            let mut state = self.state();
            // Again and again, since retention removes days that are empty.
            fs::create_dir_all(&day).context("create", &day)?;
            fs::rename(aside, &path).context("create", &path)?;
            at_once(&mut state);
        }
        self.note_in_inventory(&path);
        for folder in [&day, &dir.segments()] {
            // Readers see the segment already: an error here would make the caller write it again.
            if let Err(error) = segment::sync_folder(folder) {
                tracing::warn!(%error, "a segment may not survive a power failure");
            }
        }
        Ok(SegmentInfo { id, path, bytes, manifest })
    }

    /// Says what there is beside the data directory; once, before the first query.
    #[cfg(feature = "object-store")]
    pub(crate) fn set_elsewhere(&self, elsewhere: Arc<dyn Elsewhere>) {
        if self.inner.elsewhere.set(elsewhere).is_err() {
            tracing::error!("a second store beside the data directory is left out");
        }
    }

    pub(crate) fn elsewhere(&self) -> Option<&dyn Elsewhere> {
        self.inner.elsewhere.get().map(|elsewhere| &**elsewhere)
    }

    /// Brings tables of a segment into its folder, if they are elsewhere. They are there for as long as the lease is.
    pub(crate) fn fetch(
        &self,
        segment: &SegmentInfo,
        tables: &[Table],
    ) -> std::result::Result<Lease, LoadError> {
        self.elsewhere().map_or(Ok(None), |elsewhere| elsewhere.fetch(segment, tables))
    }

    /// The segments of the data directory that no other one there replaces.
    #[cfg(feature = "object-store")]
    pub(crate) fn local_segments(&self) -> Result<Vec<Arc<SegmentInfo>>> {
        let mut state = self.state();
        state.catalog.refresh()?;
        Ok(state.catalog.live())
    }

    pub(crate) fn dir(&self) -> &DataDir {
        &self.inner.dir
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn cache(&self) -> MutexGuard<'_, Cache> {
        self.inner.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn logs(&self) -> MutexGuard<'_, Readers> {
        self.inner.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn inventory(&self) -> &Mutex<Inventory> {
        &self.inner.inventory
    }

    pub(crate) fn open_logs(&self) -> &OpenLogs {
        &self.inner.open_logs
    }

    /// None while compaction or retention is at work.
    #[cfg(feature = "object-store")]
    pub(crate) fn try_maintenance(&self) -> Option<MutexGuard<'_, ()>> {
        match self.inner.maintenance.try_lock() {
            Ok(guard) => Some(guard),
            Err(std::sync::TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(std::sync::TryLockError::WouldBlock) => None,
        }
    }

    /// Nothing more is known of a segment that is gone.
    pub(crate) fn forget(&self, id: Ulid) {
        self.cache().remove(id);
        self.inner.dictionary.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    pub(crate) fn maintenance(&self) -> MutexGuard<'_, ()> {
        self.inner.maintenance.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end of the newest segment with coarser times, else the start of the first.
fn exact_from_ms(segments: &[Arc<SegmentInfo>]) -> Option<i64> {
    let coarse = segments.iter().filter(|segment| segment.resolution_ms() > 0);
    coarse.map(|segment| segment.max_ms()).max().or(segments.iter().map(|segment| segment.min_ms()).min())
}

impl State {
    fn select(
        &mut self,
        range: TimeRange,
        logs: &mut Readers,
        elsewhere: Option<&dyn Elsewhere>,
    ) -> Snapshot {
        let mut segments = self.catalog.live();
        if let Some(elsewhere) = elsewhere {
            segments = elsewhere.live(segments);
        }
        if !(self.bad.is_empty()
            && self.verified.is_empty()
            && self.bad_rollups.is_empty()
            && self.full.is_empty())
        {
            let live: FxHashSet<Ulid> = segments.iter().map(|segment| segment.id).collect();
            self.bad.retain(|id, _| live.contains(id));
            self.verified.retain(|(id, _)| live.contains(id));
            self.bad_rollups.retain(|id| live.contains(id));
            self.full.retain(|id| live.contains(id));
        }
        segments
            .retain(|segment| range.overlaps(segment.min_ms(), segment.max_ms().max(segment.min_ms() + 1)));
        let mut skipped = self.catalog.skipped();
        skipped.extend(logs.skipped());
        skipped.extend(elsewhere.and_then(Elsewhere::trouble));
        let mut heads = logs.windows(|id| self.catalog.replacement_of(id).is_some());
        heads.extend(self.heads.values().cloned());
        Snapshot { segments, heads, skipped }
    }
}
