//! Files of segments that were fetched, on the local disk: bounded in bytes, the least recently used go first.
//!
//! A file is only used when its checksum has been found right by this process: after it was fetched, or found from an
//! earlier run. Files that someone reads at the moment stay, even if they are more than the bound.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rustc_hash::FxHashMap;
use ulid::Ulid;

use super::error::{RemoteError, Result};
use crate::segment::{FileSum, Table};

/// Which file.
type Key = (Ulid, Table);

/// The cache of one process.
pub(super) struct FileCache {
    root: PathBuf,
    limit: u64,
    inner: Mutex<Inner>,
    /// A file is there, or is not coming.
    changed: Condvar,
    pub(super) counts: CacheCounts,
    /// Another process has the folder of this name: this one goes at the end.
    is_temporary: bool,
    _lock: File,
}

/// What the cache did so far.
#[derive(Debug, Default)]
pub(super) struct CacheCounts {
    pub(super) hits: AtomicU64,
    pub(super) misses: AtomicU64,
    pub(super) evicted: AtomicU64,
    pub(super) damaged: AtomicU64,
}

#[derive(Default)]
struct Inner {
    files: FxHashMap<Key, Cached>,
    bytes: u64,
    clock: u64,
}

struct Cached {
    state: CacheState,
    bytes: u64,
    used: u64,
    held: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum CacheState {
    /// From an earlier process; not looked at yet.
    Found,
    /// Someone is on it.
    Coming,
    /// There, and right.
    Ready,
}

/// Files that are in use: they stay until this is dropped.
pub(super) struct Held {
    cache: Arc<FileCache>,
    keys: Vec<Key>,
}

/// What a caller has to bring, and what it holds.
pub(super) struct Claim {
    pub(super) missing: Vec<(Table, FileSum)>,
    pub(super) held: Held,
}

impl FileCache {
    /// Opens the folder, or one of its own beside it if another process has it.
    pub(super) fn open(folder: &Path, limit: u64) -> Result<Self> {
        let failed = |path: &Path, error: &io::Error| {
            RemoteError::Local(format!("the cache {} cannot be used: {error}", path.display()))
        };
        let mut root = folder.to_owned();
        let mut is_temporary = false;
        let lock = loop {
            fs::create_dir_all(&root).map_err(|error| failed(&root, &error))?;
            let path = root.join("lock");
            let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
            let file = file.map_err(|error| failed(&path, &error))?;
            match file.try_lock() {
                Ok(()) => break file,
                Err(TryLockError::WouldBlock) if !is_temporary => {
                    let mut name = folder.file_name().unwrap_or_default().to_owned();
                    name.push(format!(".{}", Ulid::new()));
                    root = folder.with_file_name(name);
                    is_temporary = true;
                }
                Err(error) => return Err(failed(&path, &error.into())),
            }
        };
        let inner = Mutex::new(Inner::found(&root).map_err(|error| failed(&root, &error))?);
        let (changed, counts) = (Condvar::new(), CacheCounts::default());
        let cache = Self { root, limit, inner, changed, counts, is_temporary, _lock: lock };
        cache.evict(&mut cache.lock());
        Ok(cache)
    }

    /// The folder of a segment's files.
    pub(super) fn folder(&self, id: Ulid) -> PathBuf {
        self.root.join(format!("segment={id}"))
    }

    /// Whether a folder is one of the cache.
    pub(super) fn is_ours(&self, folder: &Path) -> bool {
        folder.parent() == Some(&self.root)
    }

    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    /// Holds files of a segment. Those that are not there are the caller's to bring: by [`Self::find`], or
    /// [`Self::fill`], and whatever happens by [`Self::done`] at the end.
    pub(super) fn claim(self: &Arc<Self>, id: Ulid, wanted: &[(Table, FileSum)]) -> Claim {
        let mut inner = self.lock();
        let (mut missing, mut keys) = (Vec::new(), Vec::with_capacity(wanted.len()));
        for (table, sum) in wanted {
            let key = (id, *table);
            inner.clock += 1;
            let used = inner.clock;
            let new = Cached { state: CacheState::Found, bytes: 0, used, held: 0 };
            let file = inner.files.entry(key).or_insert(new);
            (file.used, file.held) = (used, file.held + 1);
            keys.push(key);
            match file.state {
                CacheState::Ready => add(&self.counts.hits),
                CacheState::Coming => {}
                CacheState::Found => {
                    file.state = CacheState::Coming;
                    missing.push((*table, *sum));
                }
            }
        }
        Claim { missing, held: Held { cache: self.clone(), keys } }
    }

    /// Whether a file of an earlier process is there, and right.
    pub(super) fn find(&self, id: Ulid, table: Table, sum: FileSum) -> bool {
        let path = self.folder(id).join(table.file_name());
        let Ok(bytes) = fs::read(&path) else {
            add(&self.counts.misses);
            return false;
        };
        let found = FileSum { bytes: bytes.len() as u64, crc32: crc32fast::hash(&bytes) };
        if found == sum {
            add(&self.counts.hits);
            self.ready((id, table), sum.bytes);
            return true;
        }
        add(&self.counts.damaged);
        tracing::warn!(path = %path.display(), "a file of the cache has been changed, it is fetched anew");
        false
    }

    /// Puts a file in its place.
    pub(super) fn fill(&self, id: Ulid, table: Table, bytes: &[u8]) -> io::Result<()> {
        let folder = self.folder(id);
        fs::create_dir_all(&folder)?;
        let aside = self.root.join(format!("{id}-{}", table.file_name()));
        fs::write(&aside, bytes)?;
        fs::rename(&aside, folder.join(table.file_name()))?;
        self.ready((id, table), bytes.len() as u64);
        Ok(())
    }

    fn ready(&self, key: Key, bytes: u64) {
        let mut inner = self.lock();
        if let Some(file) = inner.files.get_mut(&key) {
            file.state = CacheState::Ready;
            let before = std::mem::replace(&mut file.bytes, bytes);
            inner.bytes = inner.bytes.saturating_sub(before) + bytes;
        }
        self.evict(&mut inner);
        self.changed.notify_all();
    }

    /// The caller of [`Self::claim`] has brought what it could: what is still missing is another's to try.
    pub(super) fn done(&self, id: Ulid, missing: &[(Table, FileSum)]) {
        let mut inner = self.lock();
        for (table, _) in missing {
            if let Some(file) = inner.files.get_mut(&(id, *table))
                && file.state == CacheState::Coming
            {
                file.state = CacheState::Found;
            }
        }
        self.changed.notify_all();
    }

    /// Waits until all files are there that others bring; false if one is not coming.
    pub(super) fn wait(&self, held: &Held) -> bool {
        let mut inner = self.lock();
        loop {
            let states = held.keys.iter().filter_map(|key| inner.files.get(key)).map(|file| file.state);
            let worst = states.min_by_key(|state| match state {
                CacheState::Found => 0,
                CacheState::Coming => 1,
                CacheState::Ready => 2,
            });
            match worst {
                Some(CacheState::Coming) => {
                    inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
                }
                worst => return worst != Some(CacheState::Found),
            }
        }
    }

    fn evict(&self, inner: &mut Inner) {
        while inner.bytes > self.limit {
            let free = inner
                .files
                .iter()
                .filter(|(_, file)| file.held == 0 && file.bytes > 0 && file.state != CacheState::Coming);
            let Some(key) = free.min_by_key(|(_, file)| file.used).map(|(key, _)| *key) else { return };
            let Some(file) = inner.files.remove(&key) else { return };
            inner.bytes = inner.bytes.saturating_sub(file.bytes);
            add(&self.counts.evicted);
            let folder = self.folder(key.0);
            if let Err(error) = fs::remove_file(folder.join(key.1.file_name()))
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(%error, folder = %folder.display(), "a file of the cache cannot be removed");
            }
            // Fails while others are in it.
            fs::remove_dir(&folder).unwrap_or_default();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Files of earlier processes, the oldest the least recently used; halves of files go.
    fn found(root: &Path) -> io::Result<Self> {
        let mut files = Vec::new();
        for entry in fs::read_dir(root)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let id = name.strip_prefix("segment=").and_then(|id| Ulid::from_string(id).ok());
            match id {
                Some(id) => {
                    let there = Table::EVERY.into_iter().filter_map(|table| {
                        let meta = fs::metadata(entry.path().join(table.file_name())).ok()?;
                        Some(((id, table), meta.len(), meta.modified().ok()?))
                    });
                    files.extend(there);
                }
                None if name.ends_with(".parquet") => fs::remove_file(entry.path())?,
                None => {}
            }
        }
        files.sort_by_key(|(_, _, modified)| *modified);
        let mut inner = Self::default();
        for (key, bytes, _) in files {
            inner.clock += 1;
            inner.bytes += bytes;
            let file = Cached { state: CacheState::Found, bytes, used: inner.clock, held: 0 };
            inner.files.insert(key, file);
        }
        Ok(inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut inner = self.cache.lock();
        for key in &self.keys {
            if let Some(file) = inner.files.get_mut(key) {
                file.held -= 1;
                if file.held == 0 && file.state == CacheState::Found && file.bytes == 0 {
                    inner.files.remove(key);
                }
            }
        }
        self.cache.evict(&mut inner);
    }
}

impl Drop for FileCache {
    fn drop(&mut self) {
        if self.is_temporary
            && let Err(error) = fs::remove_dir_all(&self.root)
        {
            tracing::warn!(%error, path = %self.root.display(), "a cache is left behind");
        }
    }
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
