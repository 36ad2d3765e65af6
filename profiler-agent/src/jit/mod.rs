//! Names of code made at run time: who is to be followed, and what was found. The reading is done by a thread of its
//! own ([`follow`]): files of watched processes may lie on file systems that never answer.

mod follow;
mod open;

use std::{
    fs::File,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use symbols::jit::CodeNames;

pub(crate) use open::open_memory;

use crate::processes::ProcessIdentity;

/// Names of one process: some 60,000 functions, of which the largest Java servers have half.
const PROCESS_NAME_BYTES: usize = 16 << 20;
/// Processes that wait to be followed; one that does not fit is asked for with its next sample.
const WAITING_MAX: usize = 256;

/// A process with code made at run time, and the names of that code as far as they are known. Kept by whoever still
/// has samples of it.
pub(crate) struct JitProcess {
    pid: u32,
    identity: ProcessIdentity,
    names: Mutex<CodeNames>,
    dump: Mutex<Option<Arc<File>>>,
    /// What was written before this time is known, Unix milliseconds.
    looked_ms: AtomicI64,
}

impl JitProcess {
    fn new(pid: u32, identity: ProcessIdentity) -> Self {
        Self {
            pid,
            identity,
            names: Mutex::new(CodeNames::new(PROCESS_NAME_BYTES)),
            dump: Mutex::new(None),
            looked_ms: AtomicI64::new(i64::MIN),
        }
    }

    /// The names known by now.
    pub(crate) fn names(&self) -> MutexGuard<'_, CodeNames> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process has mapped this jitdump file.
    pub(crate) fn set_dump(&self, file: Arc<File>) {
        *self.dump.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
    }

    fn take_dump(&self) -> Option<Arc<File>> {
        self.dump.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Waits until all is known that was written before a time (Unix milliseconds), but not beyond the deadline.
    pub(crate) fn settle(&self, until_ms: i64, deadline: Instant) {
        while self.looked_ms.load(Ordering::Acquire) < until_ms && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// What was found, for /metrics.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct JitCounts {
    /// Processes whose maps or dumps are open.
    pub(crate) followed: u64,
    pub(crate) names: u64,
    pub(crate) bytes: u64,
    /// Lines and records that say nothing that is understood.
    pub(crate) garbage: u64,
    /// Files that are not the process's own, no plain files, or no dumps.
    pub(crate) refused: u64,
    /// Names dropped for lack of room.
    pub(crate) dropped: u64,
}

#[derive(Debug, Default)]
struct Shared {
    followed: AtomicU64,
    names: AtomicU64,
    bytes: AtomicU64,
    garbage: AtomicU64,
    refused: AtomicU64,
    dropped: AtomicU64,
}

/// Has processes followed.
pub(crate) struct JitFollower {
    wanted: SyncSender<Arc<JitProcess>>,
    shared: Arc<Shared>,
}

impl JitFollower {
    /// Starts the thread. It ends when neither this nor any process is held by anyone.
    pub(crate) fn start() -> io::Result<Self> {
        let (wanted, work) = sync_channel(WAITING_MAX);
        let shared = Arc::new(Shared::default());
        let for_thread = shared.clone();
        thread::Builder::new().name("vesta-jit".into()).spawn(move || follow::follow(&work, &for_thread))?;
        Ok(Self { wanted, shared })
    }

    /// Follows what the process writes from now on, and reads what it wrote before. None while many others wait.
    pub(crate) fn follow(&self, pid: u32, identity: ProcessIdentity) -> Option<Arc<JitProcess>> {
        let process = Arc::new(JitProcess::new(pid, identity));
        self.wanted.try_send(process.clone()).ok()?;
        Some(process)
    }

    /// What was found so far.
    pub(crate) fn counts(&self) -> JitCounts {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        JitCounts {
            followed: get(&self.shared.followed),
            names: get(&self.shared.names),
            bytes: get(&self.shared.bytes),
            garbage: get(&self.shared.garbage),
            refused: get(&self.shared.refused),
            dropped: get(&self.shared.dropped),
        }
    }
}

/// Whether a mapped file of this path is a jitdump file, which a process maps so that profilers find it.
pub(crate) fn is_dump(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let number = name.strip_prefix("jit-").and_then(|rest| rest.strip_suffix(".dump"));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()))
}
