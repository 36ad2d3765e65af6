//! What a store holds after its commits, and which commits are allowed: pure, so that it is tested without one.

use std::collections::{BTreeMap, BTreeSet};

use ulid::Ulid;

use super::format::{Commit, Entry, LAYOUT, Live, Removed, State, Writer};
use super::log::CHECKPOINT_EVERY;
use crate::pins::{Pin, is_pinned};
use crate::segment::Manifest;

/// A writer that has not committed for this long is gone: others may merge and expire what it left. Its own commits
/// are refused then where they would count anything twice.
pub(super) const GONE_AFTER_MS: i64 = 2 * 86_400_000;

/// Contents of merged segments are known for this long: some 300 a day of each host, of 14 bytes in a checkpoint. Whoever
/// sends something again (notes that were lost, a backup that was played back) mostly does it soon.
const MERGED_KEPT_MS: i64 = 7 * 86_400_000;

/// A number for the content of a segment, the same wherever and whenever it is made (FNV-1a); none where the sums of its
/// files are not known.
pub(super) fn content_of(manifest: &Manifest) -> Option<u64> {
    let (start_ms, end_ms, files) = manifest.content()?;
    let of_files = files.iter().flat_map(|sum| [sum.bytes, u64::from(sum.crc32)]);
    let numbers = [start_ms.cast_unsigned(), end_ms.cast_unsigned()].into_iter().chain(of_files);
    let bytes = numbers.flat_map(u64::to_le_bytes);
    Some(bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    }))
}

/// What a writer would like to commit; the rest of a commit hangs on the state that it meets.
#[derive(Clone, Debug, Default)]
pub(super) struct Proposal {
    pub(super) added: Vec<Added>,
    pub(super) expired: Vec<Ulid>,
    pub(super) deleted: Vec<Ulid>,
    pub(super) pins: Option<Vec<Pin>>,
}

/// A segment to be added, whose objects are there.
#[derive(Clone, Debug)]
pub(super) struct Added {
    pub(super) entry: Entry,
    /// Segments in it that are known to have been in the store.
    pub(super) replaces: Vec<Ulid>,
}

/// What of a proposal can be committed.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    pub(super) added: Vec<Entry>,
    pub(super) replaced: Vec<Ulid>,
    pub(super) expired: Vec<Ulid>,
    pub(super) deleted: Vec<Ulid>,
    pub(super) pins: Option<Vec<Pin>>,
    /// Segments that must not be added: what they were merged from is in others now, or has been pinned.
    pub(super) refused: Vec<Ulid>,
}

impl Prepared {
    /// Whether there is nothing to commit.
    pub(super) fn is_empty(&self) -> bool {
        let Self { added, replaced, expired, deleted, pins, refused: _ } = self;
        added.is_empty() && replaced.is_empty() && expired.is_empty() && deleted.is_empty() && pins.is_none()
    }
}

impl State {
    /// A store without any commit.
    pub(super) fn empty() -> Self {
        Self { layout: LAYOUT, ..Self::default() }
    }

    /// Takes in the next commit; `at_ms` is when the store got it, by its own clock. Whoever could write it has
    /// checked it; all the same nothing is counted twice by one that removes what is not there.
    pub(super) fn apply(&mut self, commit: Commit, at_ms: i64) {
        self.sequence = commit.sequence;
        self.now_ms = self.now_ms.max(at_ms);
        let gone = commit.replaced.iter().map(|id| (id, true));
        for (id, is_replaced) in gone.chain(commit.expired.iter().map(|id| (id, false))) {
            if let Some(live) = self.live.remove(id) {
                let min_ms = live.entry.segment.min_ms;
                if is_replaced && let Some(content) = content_of(&live.entry.segment) {
                    self.merged.insert(content, at_ms);
                }
                self.removed.insert(*id, Removed { writer: commit.writer, at_ms, min_ms, is_replaced });
            }
        }
        for id in &commit.deleted {
            self.removed.remove(id);
        }
        for entry in commit.added {
            self.live.insert(entry.id, Live { writer: commit.writer, entry });
        }
        let writer = self.writers.entry(commit.writer).or_default();
        let pins = commit.pins.unwrap_or_else(|| std::mem::take(&mut writer.pins));
        *writer = Writer {
            host: commit.host,
            commit: commit.id,
            at_ms,
            ahead_ms: commit.time_ms.saturating_sub(at_ms),
            pins,
        };
        if self.sequence.is_multiple_of(CHECKPOINT_EVERY) {
            let oldest = self.now_ms.saturating_sub(MERGED_KEPT_MS);
            self.merged.retain(|_, at_ms| *at_ms > oldest);
        }
    }

    /// What of a proposal fits this state. A segment that is there, or was, is not added again; one whose parts are
    /// in others by now is refused, as is one whose samples are there under another id or have been merged; what has
    /// expired or gone otherwise is left out.
    pub(super) fn prepare(&self, proposal: &Proposal) -> Prepared {
        let mut prepared = Prepared { pins: proposal.pins.clone(), ..Prepared::default() };
        let mut replaced = BTreeSet::new();
        let mut there: BTreeSet<u64> = match proposal.added.is_empty() {
            true => BTreeSet::new(),
            false => self.live.values().filter_map(|live| content_of(&live.entry.segment)).collect(),
        };
        for Added { entry, replaces } in &proposal.added {
            if self.live.contains_key(&entry.id) || self.removed.contains_key(&entry.id) {
                continue;
            }
            let content = content_of(&entry.segment);
            if content.is_some_and(|content| self.merged.contains_key(&content) || !there.insert(content)) {
                prepared.refused.push(entry.id);
                continue;
            }
            match self.parts(entry, replaces, &replaced) {
                Some(parts) => {
                    replaced.extend(parts);
                    prepared.added.push(entry.clone());
                }
                None => prepared.refused.push(entry.id),
            }
        }
        let is_expired = |id: &&Ulid| {
            let live = self.live.get(id).filter(|_| !replaced.contains(*id));
            live.is_some_and(|live| !self.is_pinned(&live.entry))
        };
        prepared.expired = proposal.expired.iter().filter(is_expired).copied().collect();
        let is_left = |id: &&Ulid| self.removed.contains_key(id);
        prepared.deleted = proposal.deleted.iter().filter(is_left).copied().collect();
        prepared.replaced = replaced.into_iter().collect();
        prepared
    }

    /// The live segments that a new one takes the place of; none if it must not.
    fn parts(&self, entry: &Entry, replaces: &[Ulid], taken: &BTreeSet<Ulid>) -> Option<Vec<Ulid>> {
        let mut parts = Vec::new();
        for id in replaces {
            match (self.live.get(id), self.removed.get(id)) {
                (Some(live), _) if !taken.contains(id) => {
                    let is_coarser = entry.segment.resolution_ms > live.entry.segment.resolution_ms;
                    if is_coarser && self.is_pinned(&live.entry) {
                        return None;
                    }
                    parts.push(*id);
                }
                // Its retention is over; the new one's will be soon.
                (None, Some(removed)) if !removed.is_replaced => {}
                // Replaced by another, perhaps so long ago that nothing is known of it any more.
                _ => return None,
            }
        }
        Some(parts)
    }

    /// Whether anyone has pinned a segment's time.
    pub(super) fn is_pinned(&self, entry: &Entry) -> bool {
        let (min_ms, max_ms) = (entry.segment.min_ms, entry.segment.max_ms);
        self.writers.values().any(|writer| is_pinned(&writer.pins, min_ms, max_ms.max(min_ms + 1)))
    }

    /// Whether a segment is `writer`'s to merge and to expire: its own, or left by one that is gone.
    pub(super) fn is_in_care_of(&self, live: &Live, writer: Ulid) -> bool {
        live.writer == writer || self.is_gone(live.writer)
    }

    /// Whether a writer has not been heard of for long.
    pub(super) fn is_gone(&self, writer: Ulid) -> bool {
        let last_ms = self.writers.get(&writer).map_or(i64::MIN, |writer| writer.at_ms);
        self.now_ms.saturating_sub(last_ms) > GONE_AFTER_MS
    }

    /// Removed segments whose objects `writer` is to delete by now.
    pub(super) fn to_delete(&self, writer: Ulid, grace_ms: i64) -> BTreeMap<Ulid, i64> {
        let is_due = |removed: &Removed| {
            self.now_ms.saturating_sub(removed.at_ms) > grace_ms
                && (removed.writer == writer || self.is_gone(removed.writer))
        };
        let due = self.removed.iter().filter(|(_, removed)| is_due(removed));
        due.map(|(id, removed)| (*id, removed.min_ms)).collect()
    }
}
