//! The store as it is known here, and where that leaves a segment of the data directory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use ulid::Ulid;

use super::cache::FileCache;
use super::format::{Commit, Entry, State};
use super::ours::Ours;
use super::state::content_of;
use crate::segment::SegmentInfo;

/// The store as it is known here.
pub(super) struct Known {
    pub(super) state: State,
    /// Its live segments, as queries see them.
    pub(super) infos: BTreeMap<Ulid, Arc<SegmentInfo>>,
    /// Their contents.
    pub(super) contents: BTreeMap<u64, Ulid>,
    pub(super) ours: Ours,
    /// Which store it is has been read in this process.
    pub(super) is_identified: bool,
    pub(super) refreshed: Option<Instant>,
    /// The writer of the data directory has committed more than has been read here.
    pub(super) is_behind: bool,
    /// Why it could not be, the last time.
    pub(super) trouble: Option<String>,
    /// When a query last read it.
    pub(super) asked: Option<Instant>,
    /// Segments and bytes that are not uploaded yet.
    pub(super) pending: (u64, u64),
}

/// Where a segment of the data directory stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Here alone.
    Pending,
    /// In the store, and here a copy.
    Live,
    /// It was in the store, as it is or under another id; its samples are in another segment now, or past their retention.
    Gone,
}

impl Known {
    /// Where a segment stands. Until the log has been read in this process, what was committed counts as live: what has
    /// been kept of the store may be older than that.
    pub(super) fn place(&self, segment: &SegmentInfo) -> Place {
        let id = segment.id;
        if self.state.live.contains_key(&id) {
            Place::Live
        } else if self.state.removed.contains_key(&id) {
            Place::Gone
        } else if self.ours.committed.contains(&id) {
            if self.refreshed.is_some() && !self.is_behind { Place::Gone } else { Place::Live }
        } else if self.is_there_otherwise(segment) {
            Place::Gone
        } else {
            Place::Pending
        }
    }

    /// Whether the same samples are in the store under another id, or in another segment.
    fn is_there_otherwise(&self, segment: &SegmentInfo) -> bool {
        let content = content_of(&segment.manifest);
        content.is_some_and(|content| {
            self.state.merged.contains_key(&content) || self.contents.contains_key(&content)
        })
    }

    /// Whether a segment is, or was, in the store under this id, as far as is known.
    pub(super) fn was_there(&self, id: Ulid) -> bool {
        let Self { state, ours, .. } = self;
        state.live.contains_key(&id) || state.removed.contains_key(&id) || ours.committed.contains(&id)
    }

    /// Segments that this one replaces and that are, or were, in the store.
    pub(super) fn replaced_there(&self, segment: &SegmentInfo) -> Vec<Ulid> {
        segment.manifest.replaces.iter().filter(|id| self.was_there(**id)).copied().collect()
    }

    pub(super) fn apply(&mut self, commit: Commit, at_ms: i64, cache: &FileCache) {
        for id in commit.replaced.iter().chain(&commit.expired) {
            if let Some(content) = self.infos.remove(id).and_then(|info| content_of(&info.manifest)) {
                self.contents.remove(&content);
            }
        }
        self.contents
            .extend(commit.added.iter().filter_map(|entry| Some((content_of(&entry.segment)?, entry.id))));
        self.infos.extend(commit.added.iter().map(|entry| (entry.id, info(entry, cache))));
        self.state.apply(commit, at_ms);
    }

    pub(super) fn reset(&mut self, state: State, cache: &FileCache) {
        self.infos = state.live.values().map(|live| (live.entry.id, info(&live.entry, cache))).collect();
        let contents = self.infos.values().filter_map(|info| Some((content_of(&info.manifest)?, info.id)));
        self.contents = contents.collect();
        self.state = state;
    }
}

/// A segment of the store, as queries see it: as if its folder in the cache were filled.
fn info(entry: &Entry, cache: &FileCache) -> Arc<SegmentInfo> {
    let Entry { id, bytes, segment } = entry.clone();
    Arc::new(SegmentInfo { id, path: cache.folder(id), bytes, manifest: segment })
}
