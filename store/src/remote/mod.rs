//! Segments on object storage: the data directory is where they are written first, and a cache; the store is where
//! they stay, and where those of other hosts are.
//!
//! A segment is uploaded, and then made visible by a commit: an object with the next number, which only one writer can
//! make ([`log`]). What the store holds is what its commits say ([`state`]); objects that no commit names do not
//! count. Which segments queries read is decided here, so that none counts twice. docs/adr/0015 has the reasons.

mod cache;
mod client;
mod collect;
mod error;
mod format;
mod location;
mod log;
mod ours;
mod state;
mod sync;
#[cfg(test)]
mod tests;
mod upload;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

#[cfg(test)]
use object_store::ObjectStore;
use ulid::Ulid;

use crate::catalog::Skipped;
use crate::elsewhere::{Elsewhere, FOLDER, Lease, Party};
use crate::handle::Store;
use crate::pins::Pin;
use crate::segment::{FileSum, LoadError, SegmentInfo, Table};
use cache::FileCache;
use client::Client;
pub use error::{RemoteError, Result};
pub use format::LAYOUT;
use format::{Commit, Entry, State};
use location::Location;
use ours::{Notes, Ours};
pub use sync::{SyncOptions, Synced};

/// How long the objects of a removed segment stay: a reader that began before has finished by then, or asks anew.
const GRACE: Duration = Duration::from_secs(15 * 60);

/// Where a store is, and what it may take here.
#[derive(Clone, Debug)]
pub struct RemoteOptions {
    /// `s3://bucket/prefix`, or `file:///folder`.
    pub url: String,
    /// Folder for files that were fetched.
    pub cache_dir: PathBuf,
    /// Bytes of it.
    pub cache_bytes: u64,
    /// Whether this process writes to the store; then it must be the writer of the data directory, too.
    pub is_writer: bool,
    /// Settings of S3 by the names of their variables, such as AWS_REGION, where they are not those of the environment.
    pub settings: Vec<(String, String)>,
}

/// Segments on object storage, attached to an open store. Clones are one.
#[derive(Clone)]
pub struct Remote {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    cache: Arc<FileCache>,
    notes: Notes,
    host: String,
    is_writer: bool,
    grace: Duration,
    known: Mutex<Known>,
    /// Whoever reads or writes the log.
    following: Mutex<()>,
    /// Whoever uploads.
    working: Mutex<sync::Work>,
    conflicts: AtomicU64,
    counts: Counts,
}

/// What was done so far.
#[derive(Debug, Default)]
struct Counts {
    uploaded: AtomicU64,
    refused: AtomicU64,
    given_up: AtomicU64,
    given_up_bytes: AtomicU64,
}

/// The store as it is known here.
struct Known {
    state: State,
    /// Its live segments, as queries see them.
    infos: BTreeMap<Ulid, Arc<SegmentInfo>>,
    ours: Ours,
    /// Which store it is has been read in this process.
    is_identified: bool,
    refreshed: Option<Instant>,
    /// The writer of the data directory has committed more than has been read here.
    is_behind: bool,
    /// Why it could not be, the last time.
    trouble: Option<String>,
    /// When a query last read it.
    asked: Option<Instant>,
    /// Segments and bytes that are not uploaded yet.
    pending: (u64, u64),
}

/// Figures of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteStats {
    /// Segments that queries read, of all writers, and their bytes.
    pub segments: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// Hosts that ever committed.
    pub writers: u64,
    /// The last commit known.
    pub sequence: u64,
    /// Segments here that are not in the store yet.
    pub pending_segments: u64,
    /// Bytes of those.
    pub pending_bytes: u64,
    /// Segments that were uploaded and committed.
    pub uploaded: u64,
    /// Merged segments that were dropped because others had merged the same.
    pub refused: u64,
    /// Segments that were deleted before they could be uploaded, for lack of room.
    pub given_up: u64,
    /// Bytes of those.
    pub given_up_bytes: u64,
    /// Commits for which another writer was quicker.
    pub conflicts: u64,
    /// Requests by kind: put, get, list, delete.
    pub requests: [(&'static str, u64); 4],
    /// Requests that failed.
    pub requests_failed: u64,
    /// Bytes sent, and bytes received.
    pub bytes_up: u64,
    /// Bytes received.
    pub bytes_down: u64,
    /// Bytes of fetched files on disk.
    pub cache_bytes: u64,
    /// Files that were there when they were needed, that were not, that had to go, and that had been changed.
    pub cache_hits: u64,
    /// Files that had to be fetched.
    pub cache_misses: u64,
    /// Files that were put out for lack of room.
    pub cache_evicted: u64,
    /// Files that had been changed on disk.
    pub cache_damaged: u64,
    /// Seconds since the log was last read to its end; none if it never was.
    pub age_s: Option<u64>,
}

impl Remote {
    /// Attaches a store to a data directory: from now on queries read both. Nothing is asked of the store yet, so that
    /// it works without a network; [`Remote::refresh`] and [`Remote::sync`] do.
    ///
    /// # Errors
    /// When the address or the settings make no sense, or a file beside the data directory cannot be read or written.
    pub fn attach(store: &Store, options: &RemoteOptions) -> Result<Self> {
        let location = Location::parse(&options.url)?;
        let (objects, base) = location.connect(&options.settings)?;
        let client = Client::new(objects, base, location.url)?;
        Self::attach_client(store, client, options, GRACE)
    }

    fn attach_client(
        store: &Store,
        client: Client,
        options: &RemoteOptions,
        grace: Duration,
    ) -> Result<Self> {
        let cache = Arc::new(FileCache::open(&options.cache_dir, options.cache_bytes)?);
        let notes = Notes::new(store.path().join(FOLDER));
        let ours = notes.read()?;
        let state = notes.read_state(ours.store).unwrap_or_else(State::empty);
        let mut known = Known {
            state: State::empty(),
            infos: BTreeMap::new(),
            ours,
            is_identified: false,
            refreshed: None,
            is_behind: false,
            trouble: None,
            asked: None,
            pending: (0, 0),
        };
        known.reset(state, &cache);
        let inner = Inner {
            client,
            cache,
            notes,
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            is_writer: options.is_writer,
            grace,
            known: Mutex::new(known),
            following: Mutex::new(()),
            working: Mutex::new(sync::Work::default()),
            conflicts: AtomicU64::new(0),
            counts: Counts::default(),
        };
        let remote = Self { inner: Arc::new(inner) };
        store.set_elsewhere(remote.inner.clone());
        Ok(remote)
    }

    /// Reads what has been committed since the last time.
    ///
    /// # Errors
    /// When the store cannot be reached or read.
    pub fn refresh(&self) -> Result<()> {
        self.inner.refresh()
    }

    /// The store's address.
    pub fn url(&self) -> &str {
        self.inner.client.url()
    }

    /// Figures of the store, as far as it is known here.
    pub fn stats(&self) -> RemoteStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Inner { client, cache, counts, conflicts, .. } = &*self.inner;
        let (requests, cached) = (&client.requests, &cache.counts);
        let known = self.inner.known();
        RemoteStats {
            segments: known.infos.len() as u64,
            bytes: known.infos.values().map(|info| info.bytes).sum(),
            writers: known.state.writers.len() as u64,
            sequence: known.state.sequence,
            pending_segments: known.pending.0,
            pending_bytes: known.pending.1,
            uploaded: get(&counts.uploaded),
            refused: get(&counts.refused),
            given_up: get(&counts.given_up),
            given_up_bytes: get(&counts.given_up_bytes),
            conflicts: get(conflicts),
            requests: [
                ("put", get(&requests.puts)),
                ("get", get(&requests.gets)),
                ("list", get(&requests.lists)),
                ("delete", get(&requests.deletes)),
            ],
            requests_failed: get(&requests.failed),
            bytes_up: get(&requests.bytes_up),
            bytes_down: get(&requests.bytes_down),
            cache_bytes: cache.bytes(),
            cache_hits: get(&cached.hits),
            cache_misses: get(&cached.misses),
            cache_evicted: get(&cached.evicted),
            cache_damaged: get(&cached.damaged),
            age_s: known.refreshed.map(|refreshed| refreshed.elapsed().as_secs()),
        }
    }
}

/// Where a segment of the data directory stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Here alone.
    Pending,
    /// In the store, and here a copy.
    Live,
    /// It was in the store; its samples are in another segment now, or past their retention.
    Gone,
}

impl Known {
    /// Where a segment stands. Until the log has been read in this process, what was committed counts as live: what has
    /// been kept of the store may be older than that.
    fn place(&self, id: Ulid) -> Place {
        if self.state.live.contains_key(&id) {
            Place::Live
        } else if self.state.removed.contains_key(&id) {
            Place::Gone
        } else if self.ours.committed.contains(&id) {
            if self.refreshed.is_some() && !self.is_behind { Place::Gone } else { Place::Live }
        } else {
            Place::Pending
        }
    }

    /// Segments that this one replaces and that are, or were, in the store.
    fn replaced_there(&self, segment: &SegmentInfo) -> Vec<Ulid> {
        let is_there = |id: &&Ulid| {
            let Self { state, ours, .. } = self;
            state.live.contains_key(*id) || state.removed.contains_key(*id) || ours.committed.contains(*id)
        };
        segment.manifest.replaces.iter().filter(is_there).copied().collect()
    }

    fn apply(&mut self, commit: Commit, at_ms: i64, cache: &FileCache) {
        for id in commit.replaced.iter().chain(&commit.expired) {
            self.infos.remove(id);
        }
        self.infos.extend(commit.added.iter().map(|entry| (entry.id, info(entry, cache))));
        self.state.apply(commit, at_ms);
    }

    fn reset(&mut self, state: State, cache: &FileCache) {
        self.infos = state.live.values().map(|live| (live.entry.id, info(&live.entry, cache))).collect();
        self.state = state;
    }
}

/// A segment of the store, as queries see it: as if its folder in the cache were filled.
fn info(entry: &Entry, cache: &FileCache) -> Arc<SegmentInfo> {
    let Entry { id, bytes, segment } = entry.clone();
    Arc::new(SegmentInfo { id, path: cache.folder(id), bytes, manifest: segment })
}

/// The folder of a segment's objects.
fn folder_of(id: Ulid, min_ms: i64) -> String {
    let day = jiff::Timestamp::from_millisecond(min_ms).unwrap_or_default().strftime("%Y-%m-%d");
    format!("segments/date={day}/segment={id}")
}

impl Inner {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another process may write to the data directory: what it committed and merged since we read the log would count
    /// beside what it was merged from.
    fn catch_up(&self, local: &[Arc<SegmentInfo>]) {
        if self.is_writer {
            return;
        }
        match self.notes.read() {
            Ok(ours) if self.known().ours.store == ours.store => self.known().ours = ours,
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "what is in the store already is not known"),
        }
        let is_behind = {
            let known = self.known();
            let is_missed = |id: &Ulid| {
                let Known { state, ours, .. } = &*known;
                let is_known = state.live.contains_key(id) || state.removed.contains_key(id);
                !is_known && ours.committed.contains(id)
            };
            local
                .iter()
                .any(|segment| is_missed(&segment.id) || segment.manifest.replaces.iter().any(is_missed))
        };
        let caught_up = !is_behind || self.refresh().is_ok();
        self.known().is_behind = !caught_up;
    }

    fn bring(
        &self,
        segment: &SegmentInfo,
        missing: &[(Table, FileSum)],
    ) -> std::result::Result<(), LoadError> {
        let id = segment.id;
        let fetch: Vec<_> =
            missing.iter().filter(|(table, sum)| !self.cache.find(id, *table, *sum)).collect();
        if !fetch.is_empty()
            && let Some(error) = self.client.is_down()
        {
            return Err(LoadError::Refused(error.to_string()));
        }
        let folder = folder_of(id, segment.min_ms());
        let name = |table: Table| format!("{folder}/{}", table.file_name());
        let names: Vec<_> = fetch.iter().map(|(table, sum)| (name(*table), sum.bytes)).collect();
        for ((table, sum), bytes) in fetch.iter().zip(self.client.get_all(&names)) {
            let mut bytes = bytes.map_err(|error| self.unavailable(id, &error))?;
            let is_right =
                |bytes: &[u8]| bytes.len() as u64 == sum.bytes && crc32fast::hash(bytes) == sum.crc32;
            if !is_right(&bytes) {
                // It may have been damaged on its way.
                bytes = self
                    .client
                    .get(&name(*table), sum.bytes)
                    .map_err(|error| self.unavailable(id, &error))?;
            }
            if !is_right(&bytes) {
                let reason = "its checksum is wrong, the object has been changed";
                return Err(LoadError::Bad(self.client.damaged(&name(*table), reason).to_string()));
            }
            self.cache.fill(id, *table, &bytes).map_err(|error| {
                LoadError::Refused(format!("{}: not kept in the cache: {error}", table.file_name()))
            })?;
        }
        Ok(())
    }

    /// What it means that a segment's object cannot be read.
    fn unavailable(&self, id: Ulid, error: &RemoteError) -> LoadError {
        match error {
            RemoteError::Missing { .. } => match self.refresh() {
                Ok(()) if !self.known().state.live.contains_key(&id) => LoadError::Vanished,
                Ok(()) => LoadError::Bad(error.to_string()),
                Err(error) => LoadError::Refused(error.to_string()),
            },
            RemoteError::Damaged { .. } => LoadError::Bad(error.to_string()),
            error => LoadError::Refused(error.to_string()),
        }
    }
}

impl Elsewhere for Inner {
    fn live(&self, local: Vec<Arc<SegmentInfo>>) -> Vec<Arc<SegmentInfo>> {
        self.catch_up(&local);
        let mut known = self.known();
        known.asked = Some(Instant::now());
        let (mut here, mut hidden) = (BTreeSet::new(), BTreeSet::new());
        let mut live = Vec::with_capacity(local.len());
        let mut pending = (0, 0);
        for segment in local {
            match known.place(segment.id) {
                Place::Gone => continue,
                Place::Pending => pending = (pending.0 + 1, pending.1 + segment.bytes),
                Place::Live => {}
            }
            if !known.state.live.contains_key(&segment.id) {
                hidden.extend(segment.manifest.replaces.iter().copied());
            }
            here.insert(segment.id);
            live.push(segment);
        }
        known.pending = pending;
        let is_read = |id: &&Ulid| !here.contains(*id) && !hidden.contains(*id);
        let there = known.infos.iter().filter(|(id, _)| is_read(id)).map(|(_, info)| info.clone());
        live.extend(there);
        live.sort_by_key(|segment| (segment.manifest.min_ms, segment.id));
        live
    }

    fn trouble(&self) -> Option<Skipped> {
        let known = self.known();
        let reason = match (&known.trouble, known.refreshed) {
            (Some(trouble), _) => trouble.clone(),
            (None, Some(_)) => return None,
            (None, None) => "it has not been read yet".to_owned(),
        };
        let reason = format!("{reason}; what it got lately may be missing");
        Some(Skipped { path: PathBuf::from(self.client.url()), reason })
    }

    fn fetch(&self, segment: &SegmentInfo, tables: &[Table]) -> std::result::Result<Lease, LoadError> {
        if !self.cache.is_ours(&segment.path) {
            return Ok(None);
        }
        let files = &segment.manifest.files;
        let wanted = tables.iter().filter_map(|table| Some((*table, *files.get(table.file_name())?)));
        let wanted: Vec<_> = wanted.collect();
        // As often as others may fail to bring what they were to.
        for _ in 0..8 {
            let claim = self.cache.claim(segment.id, &wanted);
            let brought = self.bring(segment, &claim.missing);
            self.cache.done(segment.id, &claim.missing);
            brought?;
            if self.cache.wait(&claim.held) {
                return Ok(Some(Box::new(claim.held)));
            }
        }
        Err(LoadError::Refused("its files were not kept in the cache".to_owned()))
    }

    fn party(&self, segment: &SegmentInfo) -> Option<Party> {
        let known = self.known();
        match (known.state.live.get(&segment.id), known.place(segment.id)) {
            (Some(live), _) => known.state.is_in_care_of(live, known.ours.writer).then_some(Party::Elsewhere),
            (None, Place::Pending) => known.replaced_there(segment).is_empty().then_some(Party::Here),
            (None, _) => None,
        }
    }

    fn pins(&self) -> Vec<Pin> {
        self.known().state.writers.values().flat_map(|writer| writer.pins.iter().cloned()).collect()
    }

    fn is_only_here(&self, segment: &SegmentInfo) -> bool {
        self.known().place(segment.id) == Place::Pending
    }

    fn gave_up(&self, bytes: u64) {
        self.counts.given_up.fetch_add(1, Ordering::Relaxed);
        self.counts.given_up_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// The store's client by other means than its address, for tests.
#[cfg(test)]
fn client_of(objects: Arc<dyn ObjectStore>, url: &str) -> Result<Client> {
    Client::new(objects, object_store::path::Path::default(), url.to_owned())
}

/// Where a command without a data directory of its own keeps a store's files, in a folder for caches.
pub fn cache_folder(caches: &Path, url: &str) -> PathBuf {
    let name: String =
        url.trim_end_matches('/').chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    caches.join("stores").join(format!("{name}-{:08x}", crc32fast::hash(url.as_bytes())))
}
