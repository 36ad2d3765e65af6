//! What is known of one process: its mappings, and when they may be read again.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    ProcessHandle, ProcessIdentity, ProcessLabels,
    binaries::{Binaries, BinaryHandle, MappedAt, MappedFile},
    code::ProcessCode,
    mappings::{Backing, FileKey, Mapping, Mappings},
};
use crate::jit::{self, JitProcess};

/// A process that keeps missing has its maps read this often: nothing tells that mappings were moved (mremap).
const MAPS_READ_INTERVAL: Duration = Duration::from_secs(1);
/// Earlier, too, as long as all such readings together take no more than a hundredth of a CPU. Reading takes the process's
/// mmap lock, so that each process rests as often as long as its own reading took, whatever the interval.
pub(super) const MAPS_REST: u32 = 99;

/// A process.
pub(super) struct Process {
    pub(super) handle: ProcessHandle,
    /// Set by the first sample.
    pub(super) identity: Option<ProcessIdentity>,
    /// Changes with its mappings.
    pub(super) version: u64,
    pub(super) labels: Option<Arc<ProcessLabels>>,
    pub(super) mappings: Mappings,
    /// All its mappings are known from records, or from a read of its maps.
    pub(super) complete: bool,
    /// When its maps were read last; none if records were lost since then.
    pub(super) maps_read: Option<Instant>,
    /// Until when they are not read again, whatever was lost: a process that makes mappings by the thousand loses records
    /// for as long as it does.
    pub(super) maps_rest_until: Option<Instant>,
    pub(super) ended: Option<Instant>,
    /// Its first thread has ended, and others go on.
    pub(super) headless: bool,
    /// All its code, as of `version`, or of somewhat earlier where it is very much.
    pub(super) code: Option<Arc<ProcessCode>>,
    /// Until then code that is very much is not collected again.
    pub(super) code_rests_until: Instant,
    /// Binaries already asked for, by start of their mapping.
    pub(super) resolved: Resolved,
    /// Names of its code made at run time, once a sample went through such code.
    pub(super) jit: Option<Arc<JitProcess>>,
    /// Where it has mapped a jitdump file that nobody was told of.
    pub(super) dump: Option<Mapping>,
}

impl Process {
    pub(super) fn new(next: &mut u32, mappings: Mappings, complete: bool) -> Self {
        let handle = ProcessHandle(*next);
        *next += 1;
        Self {
            handle,
            identity: None,
            version: 0,
            labels: None,
            mappings,
            complete,
            maps_read: None,
            maps_rest_until: None,
            ended: None,
            headless: false,
            code: None,
            code_rests_until: Instant::now(),
            resolved: Resolved::new(),
            jit: None,
            dump: None,
        }
    }

    /// Whether a sample of this identity is of another process or program than those before. Records tell of exec by themselves, and
    /// a moment before the kernel counts it: what is sampled in between has the number of the program before, and what was mapped by
    /// then is the new one's.
    pub(super) fn is_another(&self, identity: ProcessIdentity) -> bool {
        self.identity.is_some_and(|known| {
            known.start_time_ns != identity.start_time_ns || known != identity && !self.complete
        })
    }

    /// Whether its maps are to be read for an address, which is `missing` in what is known of them or not, and may be none of
    /// code at all if it is a `guess`; `all_rest_until` holds for the readings of all processes.
    pub(super) fn wants_maps(&self, missing: bool, guess: bool, all_rest_until: Option<Instant>) -> bool {
        let now = Instant::now();
        let rests = |until: Option<Instant>| until.is_some_and(|until| until > now);
        let is_unread = !self.complete && self.maps_read.is_none();
        let is_due = self.maps_read.is_none_or(|at| now.duration_since(at) >= MAPS_READ_INTERVAL);
        let is_missed = missing && !(guess && self.complete);
        !rests(self.maps_rest_until) && (is_unread || is_missed && (is_due || !rests(all_rest_until)))
    }

    pub(super) fn note_dump(&mut self, mapping: &Mapping) {
        if matches!(&mapping.backing, Backing::File { path, .. } if jit::is_dump(path)) {
            self.dump = Some(mapping.clone());
        }
    }
}

pub(super) type Resolved = BTreeMap<u64, (BinaryHandle, MappedFile)>;

/// Other mappings take the place of those that begin between these addresses.
pub(super) fn forget_resolved(resolved: &mut Resolved, start: u64, end: u64) {
    // A range would be refused if it ended before it began.
    while let Some(at) = resolved.range(start..end.max(start)).next().map(|(at, _)| *at) {
        resolved.remove(&at);
    }
}

/// The binary of a mapping, asked for once.
pub(super) fn resolve(
    binaries: &mut Binaries,
    resolved: &mut Resolved,
    pid: u32,
    mapping: &Mapping,
    key: FileKey,
    path: &Arc<str>,
) -> (BinaryHandle, MappedFile) {
    let at = MappedAt { pid, start: mapping.start, end: mapping.end };
    resolved.entry(mapping.start).or_insert_with(|| binaries.get(key, path, at)).clone()
}
