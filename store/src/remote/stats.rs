//! Figures of a store, for people and for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Inner, Remote};

/// What was done so far.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) uploaded: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) given_up: AtomicU64,
    pub(super) given_up_bytes: AtomicU64,
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
    /// Segments that were dropped because others had merged the same, or because their samples were there already.
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
