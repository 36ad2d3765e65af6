//! What there is to read: segments and windows of one moment, and figures of all of them.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use rustc_hash::{FxHashSet, FxHasher};
use ulid::Ulid;

use super::{State, Store};
use crate::catalog::Skipped;
use crate::elsewhere::Elsewhere;
use crate::error::Result;
use crate::log::Readers;
use crate::model::Profile;
use crate::query::TimeRange;
use crate::segment::SegmentInfo;

/// Listings of logs and segments before what was found is taken as it is.
const MAX_TRIES: usize = 16;

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

    /// The segments of the data directory that no other one there replaces.
    #[cfg(feature = "object-store")]
    pub(crate) fn local_segments(&self) -> Result<Vec<Arc<SegmentInfo>>> {
        let mut state = self.state();
        state.catalog.refresh()?;
        Ok(state.catalog.live())
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
