//! Retention: whole segments are deleted, oldest first, by age and by the bytes they take together.

use std::path::PathBuf;

use crate::error::Result;
use crate::handle::Store;
use crate::pins::is_pinned;

/// How long and how much is kept; what exceeds either goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Segments whose last sample is older than this are deleted. Milliseconds.
    pub max_age_ms: Option<i64>,
    /// Bytes that all segments may take on disk.
    pub max_bytes: Option<u64>,
}

/// What was deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Segments.
    pub segments: usize,
    /// Their bytes on disk.
    pub bytes: u64,
}

/// A segment, whether it can be read or not.
struct Candidate {
    path: PathBuf,
    min_ms: i64,
    max_ms: i64,
    bytes: u64,
    /// Deleting it is for good.
    is_only_here: bool,
}

impl Store {
    /// Deletes what exceeds the limits, except what is pinned. Damaged segments age like all others; files that are no
    /// segments are left alone.
    ///
    /// # Errors
    /// When the store is open for reading only, the pins cannot be read, or a segment cannot be deleted.
    pub fn retain(&self, limits: Retention, now_ms: i64) -> Result<Removed> {
        self.dir().require_writer()?;
        let _alone = self.maintenance();
        self.purge()?;
        let candidates = self.candidates()?;
        let pins = self.pins()?;
        let oldest = limits.max_age_ms.map_or(i64::MIN, |age| now_ms.saturating_sub(age));
        let mut total: u64 = candidates.iter().map(|candidate| candidate.bytes).sum();
        let mut removed = Removed::default();
        for candidate in candidates {
            let too_old = candidate.max_ms <= oldest;
            let too_many = limits.max_bytes.is_some_and(|limit| total > limit);
            let is_kept = is_pinned(&pins, candidate.min_ms, candidate.max_ms.max(candidate.min_ms + 1));
            // A copy of what is elsewhere may go whatever is pinned.
            if (too_old || too_many) && !(is_kept && candidate.is_only_here) {
                self.remove_segment(&candidate.path)?;
                if too_many
                    && !too_old
                    && candidate.is_only_here
                    && let Some(elsewhere) = self.elsewhere()
                {
                    elsewhere.gave_up(candidate.bytes);
                }
                total -= candidate.bytes;
                removed.segments += 1;
                removed.bytes += candidate.bytes;
            }
        }
        Ok(removed)
    }

    /// All segments of the data directory, in the order in which they go: oldest first.
    fn candidates(&self) -> Result<Vec<Candidate>> {
        let mut state = self.state();
        state.catalog.refresh()?;
        let live = state.catalog.live();
        let readable = live.iter().map(|segment| Candidate {
            path: segment.path.clone(),
            min_ms: segment.min_ms(),
            max_ms: segment.max_ms(),
            bytes: segment.bytes(),
            is_only_here: self.elsewhere().is_none_or(|elsewhere| elsewhere.is_only_here(segment)),
        });
        let damaged = state.catalog.damaged().into_iter();
        let damaged = damaged.map(|(path, ms, bytes)| Candidate {
            path,
            min_ms: ms,
            max_ms: ms,
            bytes,
            is_only_here: true,
        });
        let mut all: Vec<_> = readable.chain(damaged).collect();
        // Copies first: they are fetched again when they are needed.
        all.sort_by_key(|candidate| (candidate.is_only_here, candidate.max_ms));
        Ok(all)
    }
}
