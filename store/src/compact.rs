//! Compaction: the many small segments of a span that is over become one, and what is old becomes coarser.
//!
//! A merged segment names those it replaces, and from the moment it is there readers pass these by; then they are
//! deleted. A crash at any point leaves either them, or them and the merged one, or the merged one alone: each gives
//! the same answers, and the next compaction goes on from there.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustc_hash::FxHashSet;
use ulid::Ulid;

use crate::catalog::Skipped;
use crate::elsewhere::Party;
use crate::error::{Error, IoContext, Result};
use crate::handle::Store;
use crate::pace::Pace;
use crate::pins::{Pin, is_pinned};
use crate::policy::Policy;
use crate::segment::{self, CHUNK_MS, LoadError, MergeError, SegmentInfo, Table, Target};

const DAY_MS: i64 = 86_400_000;
/// Levels above 0, and the span that one segment of each holds.
const LEVELS: [(u8, i64); 3] = [(1, CHUNK_MS), (2, 3_600_000), (DAY_LEVEL, DAY_MS)];
const DAY_LEVEL: u8 = 3;
/// A span counts as over this long after its end: its last window may still be on its way to the disk.
const GRACE_MS: i64 = 30_000;
/// Days are merged when they are no longer exact, so that all of it is written once, but no later than this.
const MAX_DAY_GRACE_MS: i64 = 2 * DAY_MS;
/// What goes into one segment; a span with more is several. Rows pass by, and are no matter of memory: a segment is to be
/// written anew in minutes. A day of 20 hosts at 100 samples a second each has 173 Mi.
const MAX_MERGED_BYTES: u64 = 1 << 30;
/// The same where segments go to object storage: objects are sent, and fetched, as a whole.
const MAX_SENT_BYTES: u64 = 128 << 20;
const MAX_MERGED_ROWS: u64 = 256 << 20;
/// Samples that lose their exact times take so many times less room, in what is expected of them.
const COARSER: u64 = 4;
/// Segments merged at once. Of each some thousand rows are held, and its nodes' places.
const MAX_INPUTS: usize = 64;

/// What a compaction did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compaction {
    /// Segments that were merged, or made coarser.
    pub merged: usize,
    /// Segments that took their place.
    pub written: usize,
    /// Rows of samples that were read for it.
    pub rows: u64,
    /// Segments that could not be merged and stay as they are.
    pub skipped: Vec<Skipped>,
}

/// Segments that may be merged with each other.
struct Mergeable {
    segments: Vec<Arc<SegmentInfo>>,
    /// Times of others that will be among them soon: their spans are merged then, and not twice. Unix milliseconds.
    awaited: Vec<i64>,
}

/// What decides how many segments become one.
struct MergeLimits {
    /// Of one segment, as expected.
    bytes: u64,
    /// Segments that are known to have too many stacks to be merged with those after them.
    full: FxHashSet<Ulid>,
}

/// Segments that become one.
struct Merge {
    segments: Vec<Arc<SegmentInfo>>,
    level: u8,
    resolution_ms: i64,
}

impl Store {
    /// Merges the segments of finished five minutes, hours and days, without making anything coarser.
    ///
    /// # Errors
    /// When the store is open for reading only, or a segment cannot be written or deleted.
    pub fn compact(&self, now_ms: i64) -> Result<Compaction> {
        self.compact_by(&Policy::exact(), &Pace::default(), now_ms)
    }

    /// Merges the segments of finished five minutes, hours and days, and makes coarser what `policy` no longer keeps
    /// exact. Totals stay the same; pinned segments stay exact. It works at a pace, and ends early when that is over.
    ///
    /// # Errors
    /// When the store is open for reading only, the pins cannot be read, or a segment cannot be written or deleted.
    pub fn compact_by(&self, policy: &Policy, pace: &Pace, now_ms: i64) -> Result<Compaction> {
        self.dir().require_writer()?;
        let _alone = self.maintenance();
        self.purge()?;
        let pins = self.pins()?;
        let mut done = Compaction::default();
        for (level, span_ms) in LEVELS {
            for Mergeable { segments, awaited } in self.parties()? {
                let max_bytes = if self.elsewhere().is_some() { MAX_SENT_BYTES } else { MAX_MERGED_BYTES };
                let limits = MergeLimits { bytes: max_bytes, full: self.state().full.clone() };
                for merge in merges_of_level(segments, (level, span_ms), policy, &pins, &limits, now_ms) {
                    let span = |ms: i64| ms.div_euclid(span_ms);
                    let start = merge.segments.first().map(|segment| span(segment.min_ms()));
                    if awaited.iter().all(|ms| Some(span(*ms)) != start) {
                        self.merge(merge, pace, &mut done)?;
                    }
                }
            }
        }
        let segments = self.parties()?.into_iter().flat_map(|party| party.segments);
        for merge in segments.filter_map(|segment| coarser(segment, policy, &pins, now_ms)) {
            self.merge(merge, pace, &mut done)?;
        }
        Ok(done)
    }

    /// The segments that may be merged, apart from those that may not be merged with them.
    fn parties(&self) -> Result<Vec<Mergeable>> {
        let segments = self.snapshot(crate::TimeRange::ALL)?.segments;
        let Some(elsewhere) = self.elsewhere() else {
            return Ok(vec![Mergeable { segments, awaited: Vec::new() }]);
        };
        let only_here = segments.iter().filter(|segment| elsewhere.is_only_here(segment));
        let only_here: Vec<_> = only_here.map(|segment| segment.min_ms()).collect();
        let mut parties: BTreeMap<Party, Mergeable> = BTreeMap::new();
        for segment in segments {
            if let Some(party) = elsewhere.party(&segment) {
                let awaited = || if party == Party::Elsewhere { only_here.clone() } else { Vec::new() };
                let new = || Mergeable { segments: Vec::new(), awaited: awaited() };
                parties.entry(party).or_insert_with(new).segments.push(segment);
            }
        }
        Ok(parties.into_values().collect())
    }

    fn merge(&self, merge: Merge, pace: &Pace, done: &mut Compaction) -> Result<()> {
        let Merge { mut segments, level, resolution_ms } = merge;
        if pace.is_over() {
            return Ok(());
        }
        let fewest = segments.len().min(2);
        let mut leases = Vec::new();
        segments.retain(|segment| match self.fetch(segment, &Table::ALL) {
            Ok(lease) => {
                leases.push(lease);
                true
            }
            Err(error) => {
                done.skipped.extend(skipped(segment, error));
                false
            }
        });
        while segments.len() >= fewest && !segments.is_empty() {
            let replaces = self.state().catalog.same_as(&segments);
            let target = Target { level, resolution_ms, replaces };
            // Past the cache, which is for what people look at.
            let write = |folder: &Path| segment::merge(folder, &segments, target, pace);
            match self.install(write, |_| {}) {
                Ok(segment) => {
                    // What it replaces may go only once it is sure to stay.
                    segment::sync_folder(segment.path.parent().unwrap_or(&segment.path))?;
                    done.merged += segments.len();
                    done.written += 1;
                    done.rows += segments.iter().map(|segment| segment.rows()).sum::<u64>();
                    return self.purge();
                }
                Err(MergeError::Input(i, error)) => {
                    let segment = segments.remove(i);
                    done.skipped.extend(skipped(&segment, error));
                }
                Err(MergeError::Full(fitting)) if fitting >= fewest => segments.truncate(fitting),
                Err(MergeError::Full(_)) => {
                    // Until this process ends: to find out again would take as long as merging.
                    self.state().full.extend(segments.first().map(|segment| segment.id));
                    return Ok(());
                }
                Err(MergeError::Output(Error::Unstorable(reason))) => {
                    let path = segments.first().map(|segment| segment.path.clone()).unwrap_or_default();
                    done.skipped.push(Skipped { path, reason: format!("not merged: {reason}") });
                    return Ok(());
                }
                Err(MergeError::Output(error)) => return Err(error),
            }
        }
        Ok(())
    }

    /// Deletes logs and segments that others replace. It comes before anything that could delete those others: else
    /// what they replaced would count again.
    pub(crate) fn purge(&self) -> Result<()> {
        let replaced = {
            let mut state = self.state();
            state.catalog.refresh()?;
            state.catalog.replaced()
        };
        self.purge_logs()?;
        replaced.iter().try_for_each(|segment| {
            self.forget(segment.id);
            self.remove_segment(&segment.path)
        })
    }

    /// Deletes a segment's folder, for readers at one moment, and the folder of its day if it is empty now.
    pub(crate) fn remove_segment(&self, path: &Path) -> Result<()> {
        self.strike_from_inventory(path);
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

/// What is said of a segment that cannot be merged; nothing if it is gone.
fn skipped(segment: &SegmentInfo, error: LoadError) -> Option<Skipped> {
    match error {
        LoadError::Bad(reason) | LoadError::Refused(reason) => {
            Some(Skipped { path: segment.path.clone(), reason })
        }
        LoadError::Vanished => None,
    }
}

/// What is to be merged to a level: the segments of each span that is over, as many at once as fit into one.
fn merges_of_level(
    segments: Vec<Arc<SegmentInfo>>,
    (level, span_ms): (u8, i64),
    policy: &Policy,
    pins: &[Pin],
    limits: &MergeLimits,
    now_ms: i64,
) -> Vec<Merge> {
    let grace_ms = match policy.exact_for_ms() {
        Some(exact_ms) if level == DAY_LEVEL => exact_ms.clamp(GRACE_MS, MAX_DAY_GRACE_MS),
        _ => GRACE_MS,
    };
    let mut spans: BTreeMap<i64, Vec<Arc<SegmentInfo>>> = BTreeMap::new();
    for segment in segments.into_iter().filter(|segment| segment.level() <= level) {
        let start = segment.min_ms() - segment.min_ms().rem_euclid(span_ms);
        if start.saturating_add(span_ms).saturating_add(grace_ms) <= now_ms {
            spans.entry(start).or_default().push(segment);
        }
    }
    let mut merges = Vec::new();
    for (start, mut segments) in spans {
        let by_age = policy.resolution_ms(now_ms.saturating_sub(start).saturating_sub(span_ms));
        let finest = segments.iter().map(|segment| segment.resolution_ms()).max().unwrap_or(0);
        let resolution_ms = by_age.max(finest);
        segments.retain(|segment| {
            segment.resolution_ms() >= resolution_ms || !is_pinned(pins, segment.min_ms(), segment.max_ms())
        });
        let fitting =
            in_parts_that_fit(segments, resolution_ms, limits).into_iter().filter(|part| part.len() > 1);
        merges.extend(fitting.map(|segments| Merge { segments, level, resolution_ms }));
    }
    merges
}

/// Segments in their order, cut where more would not fit into one of this resolution.
fn in_parts_that_fit(
    segments: Vec<Arc<SegmentInfo>>,
    resolution_ms: i64,
    limits: &MergeLimits,
) -> Vec<Vec<Arc<SegmentInfo>>> {
    let mut parts: Vec<Vec<Arc<SegmentInfo>>> = Vec::new();
    let mut room = (0, 0);
    for segment in segments {
        let loses_times = segment.resolution_ms() == 0 && resolution_ms > 0;
        let bytes = segment.bytes() / if loses_times { COARSER } else { 1 };
        let needed = (segment.rows(), bytes);
        match parts.last_mut() {
            Some(part)
                if needed.0 <= room.0
                    && needed.1 <= room.1
                    && part.len() < MAX_INPUTS
                    && part.last().is_some_and(|last| !limits.full.contains(&last.id)) =>
            {
                room = (room.0 - needed.0, room.1 - needed.1);
                part.push(segment);
            }
            _ => {
                room = (MAX_MERGED_ROWS.saturating_sub(needed.0), limits.bytes.saturating_sub(needed.1));
                parts.push(vec![segment]);
            }
        }
    }
    parts
}

/// A segment that is finer than its age allows. One that is not a day's yet has a day longer to become part of one.
fn coarser(segment: Arc<SegmentInfo>, policy: &Policy, pins: &[Pin], now_ms: i64) -> Option<Merge> {
    let wait_ms = if segment.level() < DAY_LEVEL { DAY_MS } else { 0 };
    let age_ms = now_ms.saturating_sub(segment.max_ms()).saturating_sub(wait_ms);
    let resolution_ms = policy.resolution_ms(age_ms);
    let is_due = age_ms >= 0
        && resolution_ms > segment.resolution_ms()
        && !is_pinned(pins, segment.min_ms(), segment.max_ms());
    is_due.then(|| Merge { level: segment.level(), segments: vec![segment], resolution_ms })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TimeRange;
    use crate::model::{Frame, FrameKind, Keep, NodeId, ProfileBuilder, RowKey, StringId, Unwound};
    use crate::query::Selector;

    const START_MS: i64 = 1_769_860_800_000;

    /// A window of so many stacks that no other has.
    fn window(n: i64, stacks: usize) -> crate::model::Profile {
        let mut b = ProfileBuilder::default();
        let event = (b.string("event"), b.string("cpu"));
        let series = b.cpu_series(vec![event], 1);
        let status = b.string("complete");
        let time_ms = START_MS + n * 10_000;
        for stack in 0..stacks {
            let function = b.string(&format!("function_{n}_{stack}"));
            let frame = b.frame(Frame {
                kind: FrameKind::Native,
                unwound: Unwound::Table,
                function,
                system_name: StringId::EMPTY,
                file: StringId::EMPTY,
                line: 0,
                binary: None,
                address: 0,
            });
            let node = b.child(NodeId::ROOT, frame);
            let thread = StringId::EMPTY;
            b.add(RowKey { series, node, pid: 1, tid: 1, thread, status, time_ms }, 1, 1, &[]);
        }
        b.finish(time_ms, time_ms + 10_000)
    }

    #[test]
    fn segments_that_have_too_many_stacks_together_become_several() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_writer(dir.path()).unwrap();
        for n in 0..5 {
            store.append(&window(n, 400)).unwrap();
        }
        let samples =
            || store.query(&Selector::all(), TimeRange::ALL, Keep::STACKS).unwrap().profile.samples();
        // The first two; then no third one fits, and that is known; then the two after them.
        for (merged, segments) in [(2, 4), (0, 4), (2, 3), (0, 3), (0, 3)] {
            let done = store.compact(START_MS + DAY_MS / 24).unwrap();
            assert_eq!((done.merged, done.skipped.len()), (merged, 0));
            assert_eq!((store.segments().unwrap().len(), samples()), (segments, 2000));
        }
    }
}
