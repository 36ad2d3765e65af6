//! Debug info from debuginfod servers. Off unless someone names a server. Asked on a thread of its own: naming goes on
//! without, and names what comes later when it comes.
//!
//! What a server sends is not trusted: it is bounded in bytes and time, must be an ELF file of the build ID that was asked
//! for, and is read as files of unknown origin are.
//!
//! Protocol: debuginfod(8) of elfutils: `GET URL/buildid/ID/debuginfo`.

mod cache;
mod client;

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
};

pub(crate) use cache::is_build_id;
use cache::{Cache, Known};
pub(crate) use client::is_usable;
use client::{Answer, Client};

/// Build IDs that wait to be asked for: more than a large desktop runs in a minute. Others are wanted again with their
/// next samples.
const WAITING_MAX: usize = 256;
/// Build IDs whose fate is remembered, some 100 bytes each. Beyond it all are forgotten; the disk remembers.
const ASKED_MAX: usize = 65_536;

/// Where debug info is fetched from, and where it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DebuginfodOptions {
    /// `http://` or `https://`, asked in this order.
    pub(crate) urls: Vec<String>,
    /// A folder laid out as packages lay out theirs: `.build-id/ab/cdef….debug`.
    pub(crate) folder: PathBuf,
    /// Bytes of all files in it.
    pub(crate) limit_bytes: u64,
}

/// What happened so far.
#[derive(Debug, Default)]
pub(crate) struct DebuginfodCounts {
    /// Files that came.
    pub(crate) fetched: AtomicU64,
    /// Build IDs that no server knows.
    pub(crate) unknown: AtomicU64,
    /// Answers that were none: errors, timeouts, bodies that were too long or of something else.
    pub(crate) failed: AtomicU64,
    /// Build IDs that were not asked for, as too many waited.
    pub(crate) dropped: AtomicU64,
    /// Files removed from disk for lack of room.
    pub(crate) removed: AtomicU64,
}

/// What became of a build ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It was there, from before.
    Kept,
    /// It was fetched now.
    Fetched,
    /// No server has it.
    Unknown,
    /// It may be had later.
    Failed,
}

/// Asks servers, one build ID after the other, and waits for each.
pub(crate) struct Debuginfod {
    client: Client,
    cache: Cache,
    counts: Arc<DebuginfodCounts>,
}

impl Debuginfod {
    /// Opens the folder, which is made if need be.
    pub(crate) fn new(options: &DebuginfodOptions, counts: Arc<DebuginfodCounts>) -> io::Result<Self> {
        let cache = Cache::open(&options.folder, options.limit_bytes)?;
        Ok(Self { client: Client::new(&options.urls)?, cache, counts })
    }

    /// Sees to it that the debug info of a build ID is in the folder, if a server has it.
    pub(crate) fn get(&mut self, build_id: &str) -> Fate {
        match self.cache.look_up(build_id) {
            Known::Here => return Fate::Kept,
            Known::NotThere => return Fate::Unknown,
            Known::Nothing => {}
        }
        let removed = self.cache.removed;
        let fate = match self.client.fetch(build_id, &mut self.cache) {
            Answer::File => {
                self.counts.fetched.fetch_add(1, Ordering::Relaxed);
                Fate::Fetched
            }
            Answer::NotThere => {
                self.counts.unknown.fetch_add(1, Ordering::Relaxed);
                self.cache.note_missing(build_id);
                Fate::Unknown
            }
            Answer::Failed => {
                self.counts.failed.fetch_add(1, Ordering::Relaxed);
                Fate::Failed
            }
        };
        self.counts.removed.fetch_add(self.cache.removed - removed, Ordering::Relaxed);
        fate
    }
}

/// The thread that asks, as the rest of the agent sees it. It ends with the last of these.
#[derive(Clone, Debug)]
pub(crate) struct Fetcher {
    queue: SyncSender<String>,
    asked: Arc<Mutex<BTreeSet<String>>>,
    counts: Arc<DebuginfodCounts>,
    folder: Arc<Path>,
}

impl Fetcher {
    /// Starts it.
    pub(crate) fn start(options: &DebuginfodOptions) -> io::Result<Self> {
        let counts = Arc::new(DebuginfodCounts::default());
        let debuginfod = Debuginfod::new(options, counts.clone())?;
        let (queue, wanted) = sync_channel(WAITING_MAX);
        let asked = Arc::new(Mutex::new(BTreeSet::new()));
        let known = asked.clone();
        thread::Builder::new()
            .name("vesta-debuginf".into())
            .spawn(move || fetch(&wanted, debuginfod, &known))?;
        Ok(Self { queue, asked, counts, folder: Arc::from(&*options.folder) })
    }

    /// Asks for the debug info of a build ID, unless it was asked for before. Never waits.
    pub(crate) fn want(&self, build_id: &str) {
        if !is_build_id(build_id) {
            return;
        }
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.len() >= ASKED_MAX {
            asked.clear();
        }
        if asked.contains(build_id) {
            return;
        }
        match self.queue.try_send(build_id.to_owned()) {
            Ok(()) => {
                asked.insert(build_id.to_owned());
            }
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.counts.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// How many files came so far: when it grows there are names to be found.
    pub(crate) fn fetched(&self) -> u64 {
        self.counts.fetched.load(Ordering::Relaxed)
    }

    /// Where they are.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Counters.
    pub(crate) fn counts(&self) -> &DebuginfodCounts {
        &self.counts
    }
}

fn fetch(wanted: &Receiver<String>, mut debuginfod: Debuginfod, asked: &Mutex<BTreeSet<String>>) {
    while let Ok(build_id) = wanted.recv() {
        if debuginfod.get(&build_id) == Fate::Failed {
            // Whoever wants it again may have more luck; servers that fail are left alone for a while.
            asked.lock().unwrap_or_else(PoisonError::into_inner).remove(&build_id);
        }
    }
}

#[cfg(test)]
mod tests;
