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
mod known;
mod location;
mod log;
mod ours;
mod reading;
mod state;
mod stats;
mod sync;
#[cfg(test)]
mod tests;
mod upload;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[cfg(test)]
use object_store::ObjectStore;
use ulid::Ulid;

use crate::elsewhere::FOLDER;
use crate::handle::Store;
use cache::FileCache;
use client::Client;
pub use error::{RemoteError, Result};
pub use format::LAYOUT;
use format::State;
use known::{Known, Place};
use location::Location;
use ours::Notes;
use stats::Counts;
pub use stats::RemoteStats;
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
            contents: BTreeMap::new(),
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
