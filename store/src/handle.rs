//! The store: one data directory, open.

mod listing;
mod reading;
mod writing;

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rustc_hash::{FxHashMap, FxHashSet};
use ulid::Ulid;

use crate::cache::Cache;
use crate::catalog::{Catalog, DataDir};
use crate::dictionary::Dictionary;
use crate::elsewhere::Elsewhere;
use crate::error::Result;
use crate::inventory::Inventory;
use crate::log::{OpenLogs, Readers};
use crate::model::Profile;
use crate::query::{Limits, Offsets};
use crate::segment::Table;
pub(crate) use listing::Snapshot;
pub use listing::Stats;

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

    /// Whether it was opened for writing.
    pub fn is_writer(&self) -> bool {
        self.dir().is_writer()
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

    pub(crate) fn maintenance(&self) -> MutexGuard<'_, ()> {
        self.inner.maintenance.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
