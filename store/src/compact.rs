//! Compaction: the many small segments of a span that is over become one.
//!
//! A merged segment names those it replaces, and from the moment it is there readers pass these by; then
//! they are deleted. A crash at any point leaves either them, or them and the merged one, or the merged one
//! alone: each gives the same answers, and the next compaction goes on from there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::catalog::Skipped;
use crate::error::{Error, IoContext, Result};
use crate::handle::Store;
use crate::model::{Keep, ProfileBuilder};
use crate::segment::{self, CHUNK_MS, LoadError, SegmentInfo};

/// Levels above 0, and the span that one segment of each holds.
const LEVELS: [(u8, i64); 2] = [(1, CHUNK_MS), (2, 3_600_000)];
/// A span counts as over this long after its end: its last window may still be on its way to the disk.
const GRACE_MS: i64 = 30_000;
/// Spans with more stay in smaller segments: merging holds all of it in memory, decoded ten times as large.
const MAX_MERGED_BYTES: u64 = 64 << 20;
/// The same, in rows of samples.
const MAX_MERGED_ROWS: u64 = 4 << 20;

/// What a compaction did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compaction {
    /// Segments that were merged.
    pub merged: usize,
    /// Segments that took their place.
    pub written: usize,
    /// Segments that could not be merged and stay as they are.
    pub skipped: Vec<Skipped>,
}

impl Store {
    /// Merges the segments of finished five minutes, then those of finished hours. Answers stay the same.
    ///
    /// # Errors
    /// When the store is open for reading only, or a segment cannot be written or deleted.
    pub fn compact(&self, now_ms: i64) -> Result<Compaction> {
        self.dir().require_writer()?;
        let _alone = self.maintenance();
        self.purge()?;
        let mut done = Compaction::default();
        for (level, span_ms) in LEVELS {
            let mut spans: BTreeMap<i64, Vec<Arc<SegmentInfo>>> = BTreeMap::new();
            for segment in self.snapshot(crate::TimeRange::ALL)?.segments {
                let start = segment.min_ms() - segment.min_ms().rem_euclid(span_ms);
                if segment.level() <= level && start + span_ms + GRACE_MS <= now_ms {
                    spans.entry(start).or_default().push(segment);
                }
            }
            for segments in spans.into_values().filter(|segments| is_worth_merging(segments)) {
                self.merge(&segments, level, &mut done)?;
                self.purge()?;
            }
        }
        Ok(done)
    }

    fn merge(&self, segments: &[Arc<SegmentInfo>], level: u8, done: &mut Compaction) -> Result<()> {
        let mut builder = ProfileBuilder::default();
        let mut replaces = BTreeSet::new();
        let (mut start_ms, mut end_ms) = (i64::MAX, i64::MIN);
        for segment in segments {
            // Past the cache, which is for what people look at.
            match segment::load(&segment.path, &segment.manifest) {
                Ok(profile) => {
                    builder.merge(&profile, Keep::ALL, i64::MIN..i64::MAX, |_| true);
                    (start_ms, end_ms) = (start_ms.min(profile.start_ms), end_ms.max(profile.end_ms));
                    replaces.insert(segment.id);
                }
                Err(LoadError::Vanished) => {}
                Err(LoadError::Bad(reason) | LoadError::Refused(reason)) => {
                    done.skipped.push(Skipped { path: segment.path.clone(), reason });
                }
            }
        }
        if replaces.len() < 2 {
            return Ok(());
        }
        let merged = replaces.len();
        match self.install(&builder.finish(start_ms, end_ms), level, replaces, |_| {}) {
            Ok(segment) => {
                // What it replaces may go only once it is sure to stay.
                segment::sync_folder(segment.path.parent().unwrap_or(&segment.path))?;
                done.merged += merged;
                done.written += 1;
            }
            Err(Error::Unstorable(reason)) => {
                let path = segments.first().map(|segment| segment.path.clone()).unwrap_or_default();
                done.skipped.push(Skipped { path, reason: format!("not merged: {reason}") });
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Deletes segments that others replace. It comes before anything that could delete those others: else
    /// what they replaced would count again.
    pub(crate) fn purge(&self) -> Result<()> {
        let replaced = {
            let mut state = self.state();
            state.catalog.refresh()?;
            state.catalog.replaced()
        };
        replaced.iter().try_for_each(|segment| {
            self.cache().remove(segment.id);
            self.remove_segment(&segment.path)
        })
    }

    /// Deletes a segment's folder, for readers at one moment, and the folder of its day if it is empty now.
    pub(crate) fn remove_segment(&self, path: &Path) -> Result<()> {
        let aside = self.dir().tmp().join(path.file_name().unwrap_or_default());
        fs::rename(path, &aside).context("remove", path)?;
        fs::remove_dir_all(&aside).context("remove", &aside)?;
        let Some(day) = path.parent() else { return Ok(()) };
        // Under the lock, so that no segment is on its way into it.
        let _state = self.state();
        match fs::remove_dir(day) {
            Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => {
                Err(error).context("remove", day)
            }
            _ => Ok(()),
        }
    }
}

fn is_worth_merging(segments: &[Arc<SegmentInfo>]) -> bool {
    segments.len() > 1
        && segments.iter().map(|segment| segment.bytes()).sum::<u64>() <= MAX_MERGED_BYTES
        && segments.iter().map(|segment| segment.rows()).sum::<u64>() <= MAX_MERGED_ROWS
}
