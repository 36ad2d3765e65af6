//! What a writer does now and then: reads the log, uploads what is finished here, commits it, and forgets what is gone.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use ulid::Ulid;

use super::error::{RemoteError, Result};
use super::state::{Added, Proposal};
use super::upload::Upload;
use super::{Known, Place, Remote};
use crate::handle::Store;
use crate::segment::{CHUNK_MS, SegmentInfo};

/// A segment as the agent wrote it waits for this long after the five minutes that it is in: until then it may be
/// merged with others, and one upload does for all of them.
const SETTLED_MS: i64 = 120_000;
/// Segments, and about how many bytes, that are uploaded before they are committed.
const BATCH: usize = 16;
const BATCH_BYTES: u64 = 64 << 20;
/// The log is read at least this often, and at most so often while someone asks.
const IDLE: Duration = Duration::from_secs(300);
const ASKED: Duration = Duration::from_secs(30);
/// Someone who asked within this time may ask again.
const STILL_ASKED: Duration = Duration::from_secs(300);
/// What is known of the store is written down at most this often: it may be megabytes.
const KEEP_EVERY: Duration = Duration::from_secs(600);
/// A writer whose clock is this far off does not say what is past its retention.
const MAX_AHEAD_MS: i64 = 3_600_000;

/// How to go about it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SyncOptions {
    /// Upload what may still be merged here, too.
    pub flush: bool,
    /// Segments of this writer, and of such that are gone, expire at this age. Milliseconds.
    pub max_age_ms: Option<i64>,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Synced {
    /// Segments that were uploaded and committed.
    pub uploaded: usize,
    /// Bytes of those.
    pub bytes: u64,
    /// Segments that were dropped, because others have merged or pinned what is in them, or because their samples were there
    /// already.
    pub refused: usize,
    /// Segments that expired.
    pub expired: usize,
    /// Segments that stay here for now because their files are damaged.
    pub damaged: usize,
}

/// What is kept from one time to the next.
#[derive(Default)]
pub(super) struct Work {
    /// Segments whose objects were deleted, which no commit says yet.
    pub(super) deleted: Vec<Ulid>,
    pub(super) swept: Option<Instant>,
    /// The last commit that what is known on disk has in it, and when it was written.
    kept: Option<(u64, Instant)>,
}

impl Remote {
    /// Brings the store up to date with the data directory. One that was interrupted goes on the next time.
    ///
    /// # Errors
    /// When the store was attached for reading only, cannot be reached, or refuses.
    pub fn sync(&self, store: &Store, how: SyncOptions, now_ms: i64) -> Result<Synced> {
        let inner = &self.inner;
        if !inner.is_writer {
            return Err(RemoteError::ReadOnly { url: inner.client.url().to_owned() });
        }
        let mut work = inner.working.lock().unwrap_or_else(PoisonError::into_inner);
        let mut done = Synced::default();
        self.note_replaced(&local(store)?)?;
        if self.is_due() || how.flush {
            inner.refresh()?;
            inner.settle()?;
        }
        self.forget(store, &mut done)?;
        let waiting = self.pending(&local(store)?, how.flush, now_ms);
        let first = !waiting.is_empty() || self.new_pins(store)?.is_some();
        if first && inner.known().refreshed.is_none() {
            inner.refresh()?;
            inner.settle()?;
        }
        for batch in batches(waiting) {
            self.upload_batch(store, &batch, &mut work, now_ms, &mut done)?;
        }
        self.expire(store, how, &mut work, now_ms, &mut done)?;
        inner.delete_removed(&mut work)?;
        inner.sweep(&mut work)?;
        self.keep_state(&mut work)?;
        self.pending(&local(store)?, true, now_ms);
        Ok(done)
    }

    /// Keeps what is known of the store, for a start without a network.
    fn keep_state(&self, work: &mut Work) -> Result<()> {
        let (sequence, store) = {
            let known = self.inner.known();
            (known.state.sequence, known.ours.store)
        };
        let is_kept = work.kept.is_some_and(|(kept, at)| kept == sequence || at.elapsed() < KEEP_EVERY);
        let Some(store) = store.filter(|_| !is_kept) else { return Ok(()) };
        let packed = self.inner.known().state.pack().map_err(RemoteError::Local)?;
        self.inner.notes.write_state(store, &packed)?;
        work.kept = Some((sequence, Instant::now()));
        Ok(())
    }

    fn is_due(&self) -> bool {
        let known = self.inner.known();
        let age = known.refreshed.map(|refreshed| refreshed.elapsed());
        let is_asked = known.asked.is_some_and(|asked| asked.elapsed() < STILL_ASKED);
        age.is_none_or(|age| age >= IDLE || (is_asked && age >= ASKED))
    }

    /// Remembers which segments in the store those here replace: by the time that they are committed nothing else may be
    /// known of them any more.
    fn note_replaced(&self, local: &[Arc<SegmentInfo>]) -> Result<()> {
        let ours = {
            let mut known = self.inner.known();
            let waiting = local.iter().filter(|segment| known.place(segment) == Place::Pending);
            let replaced: Vec<_> = waiting.flat_map(|segment| known.replaced_there(segment)).collect();
            let before = known.ours.committed.len();
            known.ours.committed.extend(replaced);
            (known.ours.committed.len() > before).then(|| known.ours.clone())
        };
        ours.map_or(Ok(()), |ours| self.inner.notes.write(&ours))
    }

    /// Removes copies of what is gone from the store, and what need not be remembered any more.
    fn forget(&self, store: &Store, done: &mut Synced) -> Result<()> {
        // A merge on its way may replace what would be forgotten: the next time, then.
        let Some(_alone) = store.try_maintenance() else { return Ok(()) };
        let local = local(store)?;
        let (gone, ours) = {
            let mut known = self.inner.known();
            if known.refreshed.is_none() {
                return Ok(());
            }
            let gone = local.iter().filter(|segment| known.place(segment) == Place::Gone);
            let gone: Vec<_> = gone.map(|segment| (segment.clone(), !known.was_there(segment.id))).collect();
            let here: BTreeSet<_> = local.iter().map(|segment| segment.id).collect();
            let replaced: BTreeSet<_> =
                local.iter().flat_map(|segment| segment.manifest.replaces.iter().copied()).collect();
            let Known { state, ours, .. } = &mut *known;
            let before = ours.committed.len();
            ours.committed.retain(|id| {
                state.live.contains_key(id)
                    || state.removed.contains_key(id)
                    || here.contains(id)
                    || replaced.contains(id)
            });
            (gone, (ours.committed.len() < before).then(|| ours.clone()))
        };
        for (segment, is_refused) in gone {
            if is_refused {
                tracing::warn!(segment = %segment.id, "its samples are in the store already, this copy of them is dropped");
                done.refused += 1;
                self.inner.counts.refused.fetch_add(1, Ordering::Relaxed);
            }
            store.remove_segment(&segment.path).map_err(|error| RemoteError::Local(error.to_string()))?;
        }
        ours.map_or(Ok(()), |ours| self.inner.notes.write(&ours))
    }

    /// What is to be uploaded by now, oldest first.
    fn pending(&self, local: &[Arc<SegmentInfo>], flush: bool, now_ms: i64) -> Vec<Arc<SegmentInfo>> {
        let mut known = self.inner.known();
        let waiting = local.iter().filter(|segment| known.place(segment) == Place::Pending);
        let waiting: Vec<_> = waiting.cloned().collect();
        known.pending = (waiting.len() as u64, waiting.iter().map(|segment| segment.bytes).sum());
        let is_finished = |segment: &SegmentInfo| {
            let end_ms = segment.min_ms() - segment.min_ms().rem_euclid(CHUNK_MS) + CHUNK_MS;
            flush || segment.level() > 0 || end_ms + SETTLED_MS <= now_ms
        };
        waiting.into_iter().filter(|segment| is_finished(segment)).collect()
    }

    /// Our pins, if the store does not know them.
    fn new_pins(&self, store: &Store) -> Result<Option<Vec<crate::Pin>>> {
        let pins = store.own_pins().map_err(|error| RemoteError::Local(error.to_string()))?;
        let known = self.inner.known();
        let there = known.state.writers.get(&known.ours.writer).map(|writer| &writer.pins[..]);
        Ok((there.unwrap_or_default() != pins).then_some(pins))
    }

    fn upload_batch(
        &self,
        store: &Store,
        batch: &[Arc<SegmentInfo>],
        work: &mut Work,
        now_ms: i64,
        done: &mut Synced,
    ) -> Result<()> {
        let inner = &self.inner;
        let mut added = Vec::with_capacity(batch.len());
        for segment in batch {
            match inner.upload(segment)? {
                Upload::There(entry) => {
                    let replaces = inner.known().replaced_there(segment);
                    added.push(Added { entry, replaces });
                }
                Upload::Vanished => {}
                Upload::Bad(reason) => {
                    done.damaged += 1;
                    tracing::warn!(segment = %segment.path.display(), reason, "a segment is not uploaded");
                }
            }
        }
        let sent: Vec<_> = added.iter().map(|added| (added.entry.id, added.entry.bytes)).collect();
        let refused = self.commit(store, Proposal { added, ..Proposal::default() }, work, now_ms)?;
        let kept = sent.iter().filter(|(id, _)| !refused.contains(id));
        done.uploaded += kept.clone().count();
        done.bytes += kept.map(|(_, bytes)| bytes).sum::<u64>();
        done.refused += refused.len();
        inner.counts.uploaded.fetch_add((sent.len() - refused.len()) as u64, Ordering::Relaxed);
        inner.counts.refused.fetch_add(refused.len() as u64, Ordering::Relaxed);
        let _alone = store.maintenance();
        for segment in batch.iter().filter(|segment| refused.contains(&segment.id)) {
            tracing::warn!(segment = %segment.id, "another writer has merged the same segments, ours is dropped");
            store.remove_segment(&segment.path).map_err(|error| RemoteError::Local(error.to_string()))?;
        }
        Ok(())
    }

    /// Commits, with what else there is to say.
    fn commit(&self, store: &Store, proposal: Proposal, work: &mut Work, now_ms: i64) -> Result<Vec<Ulid>> {
        let deleted = std::mem::take(&mut work.deleted);
        let proposal = Proposal { deleted: deleted.clone(), pins: self.new_pins(store)?, ..proposal };
        self.inner.commit(&proposal, now_ms).inspect_err(|_| work.deleted = deleted)
    }

    /// Takes what is past its retention out of the store, and tells it of new pins.
    fn expire(
        &self,
        store: &Store,
        how: SyncOptions,
        work: &mut Work,
        now_ms: i64,
        done: &mut Synced,
    ) -> Result<()> {
        let expired = {
            let known = self.inner.known();
            let Known { state, ours, .. } = &*known;
            let ahead_ms = state.writers.get(&ours.writer).map_or(0, |writer| writer.ahead_ms);
            match how.max_age_ms {
                Some(_) if ahead_ms.abs() > MAX_AHEAD_MS => {
                    tracing::warn!(
                        ahead_ms,
                        "this machine's clock is off by hours: nothing expires in the store"
                    );
                    Vec::new()
                }
                Some(age_ms) => {
                    let oldest = now_ms.saturating_sub(age_ms);
                    let live = state.live.values().filter(|live| {
                        live.entry.segment.max_ms <= oldest
                            && state.is_in_care_of(live, ours.writer)
                            && !state.is_pinned(&live.entry)
                    });
                    live.map(|live| live.entry.id).collect()
                }
                None => Vec::new(),
            }
        };
        if expired.is_empty() && self.new_pins(store)?.is_none() {
            return Ok(());
        }
        done.expired = expired.len();
        self.commit(store, Proposal { expired, ..Proposal::default() }, work, now_ms)?;
        self.forget(store, done)
    }
}

/// The segments of the data directory that no other one there replaces.
fn local(store: &Store) -> Result<Vec<Arc<SegmentInfo>>> {
    store.local_segments().map_err(|error| RemoteError::Local(error.to_string()))
}

/// Segments in their order, as many at once as are committed together.
fn batches(segments: Vec<Arc<SegmentInfo>>) -> Vec<Vec<Arc<SegmentInfo>>> {
    let mut batches: Vec<(u64, Vec<Arc<SegmentInfo>>)> = Vec::new();
    for segment in segments {
        match batches.last_mut() {
            Some((bytes, batch)) if batch.len() < BATCH && *bytes + segment.bytes <= BATCH_BYTES => {
                *bytes += segment.bytes;
                batch.push(segment);
            }
            _ => batches.push((segment.bytes, vec![segment])),
        }
    }
    batches.into_iter().map(|(_, batch)| batch).collect()
}
