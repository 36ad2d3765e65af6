//! Segments, slices of large ones, and windows in memory, on their way from counting to merging.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::limits::{Budget, Share};
use super::{Merge, Reading, Tables};
use crate::catalog::Skipped;
use crate::error::{Error, Result};
use crate::handle::Snapshot;

/// Rows of a segment's samples for each slice of it: fewer are counted in less time than threads and their counts take.
const SLICE_ROWS: u64 = if cfg!(test) { 64 } else { 1 << 20 };

/// What is counted by one thread, by its place in the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Segment(usize, Slice),
    Head(usize),
}

/// Every so manieth row group of a segment's tables. All of a segment are merged, or none: a bad one spoils the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slice {
    at: usize,
    of: usize,
}

impl Slice {
    /// Those of a segment with so many rows for so many threads.
    fn all(rows: u64, threads: usize) -> impl Iterator<Item = Self> {
        let of = usize::try_from(rows / SLICE_ROWS).unwrap_or(usize::MAX).clamp(1, threads.max(1));
        (0..of).map(move |at| Self { at, of })
    }

    /// Whether there is no other.
    pub(super) fn is_whole(self) -> bool {
        self.of == 1
    }

    pub(super) fn is_first(self) -> bool {
        self.at == 0
    }

    fn is_last(self) -> bool {
        self.at + 1 == self.of
    }

    /// Its row groups of so many.
    pub(super) fn of(self, groups: usize) -> impl Iterator<Item = usize> {
        (self.at..groups).step_by(self.of)
    }
}

/// The counts of one source.
pub(super) struct Counted<C> {
    pub(super) tables: Tables,
    pub(super) counts: C,
    pub(super) rows: u64,
    pub(super) rollup_rows: u64,
}

/// What became of a source.
pub(super) enum Outcome<'a, C> {
    Counted(Counted<C>, Share<'a>),
    Skipped(Option<Skipped>),
}

/// All sources, taken by threads one after the other and merged in their order.
pub(super) struct Line<'a, C, M> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) budget: &'a Budget,
    sources: Vec<Source>,
    taken: AtomicUsize,
    /// The query ended early.
    stopped: AtomicBool,
    merging: Mutex<Merging<'a, C, M>>,
    moved: Condvar,
}

struct Merging<'a, C, M> {
    /// Place of the one to merge next.
    next: usize,
    ready: BTreeMap<usize, Outcome<'a, C>>,
    /// Slices of a segment whose last one is still to come.
    slices: Vec<Outcome<'a, C>>,
    whole: M,
    /// Memory of `whole`.
    share: Share<'a>,
    reading: Reading,
    error: Option<Error>,
}

impl<'a, C, M: Merge<C>> Line<'a, C, M> {
    pub(super) fn new(snapshot: &'a Snapshot, whole: M, budget: &'a Budget, threads: usize) -> Self {
        let reading = Reading { skipped: snapshot.skipped.clone(), ..Reading::default() };
        let segments = snapshot.segments.iter().enumerate().flat_map(|(place, segment)| {
            Slice::all(segment.manifest.rows, threads).map(move |slice| Source::Segment(place, slice))
        });
        Self {
            snapshot,
            budget,
            sources: segments.chain((0..snapshot.heads.len()).map(Source::Head)).collect(),
            taken: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            merging: Mutex::new(Merging {
                next: 0,
                ready: BTreeMap::new(),
                slices: Vec::new(),
                whole,
                share: budget.share(),
                reading,
                error: None,
            }),
            moved: Condvar::new(),
        }
    }

    /// How many sources there are.
    pub(super) fn len(&self) -> usize {
        self.sources.len()
    }

    /// The next one to count, and its place.
    pub(super) fn next(&self) -> Option<(usize, Source)> {
        let place = self.taken.fetch_add(1, Ordering::Relaxed);
        let source = *self.sources.get(place)?;
        (!self.stopped.load(Ordering::Relaxed)).then_some((place, source))
    }

    /// Merges what is its turn, and waits while too much else is ready.
    pub(super) fn hand_in(&self, place: usize, outcome: Outcome<'a, C>, ahead: usize) {
        let mut merging = self.lock();
        while place >= merging.next + ahead && !self.stopped.load(Ordering::Relaxed) {
            merging = self.moved.wait(merging).unwrap_or_else(PoisonError::into_inner);
        }
        merging.ready.insert(place, outcome);
        while let Some((outcome, source)) = {
            let next = merging.next;
            merging.ready.remove(&next).zip(self.sources.get(next))
        } {
            merging.next += 1;
            if let Err(error) = merging.take(*source, outcome) {
                drop(merging);
                return self.stop(Some(error));
            }
        }
        self.moved.notify_all();
    }

    /// Ends the query, for an error or because it has to start over.
    pub(super) fn stop(&self, error: Option<Error>) {
        let mut merging = self.lock();
        self.stopped.store(true, Ordering::Relaxed);
        merging.error = merging.error.take().or(error);
        self.moved.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Merging<'a, C, M>> {
        self.merging.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer; none when the query has to start over.
    pub(super) fn finish(self) -> Result<Option<(M, Reading)>> {
        let merging = self.merging.into_inner().unwrap_or_else(PoisonError::into_inner);
        match merging.error {
            Some(error) => Err(error),
            None if self.stopped.into_inner() => Ok(None),
            None => Ok(Some((merging.whole, merging.reading))),
        }
    }
}

impl<'a, C, M: Merge<C>> Merging<'a, C, M> {
    fn take(&mut self, source: Source, outcome: Outcome<'a, C>) -> Result<()> {
        self.slices.push(outcome);
        match source {
            Source::Segment(_, slice) if !slice.is_last() => return Ok(()),
            Source::Segment(..) | Source::Head(_) => {}
        }
        let slices = std::mem::take(&mut self.slices);
        let mut counted = Vec::new();
        for slice in slices {
            match slice {
                Outcome::Counted(slice, share) => counted.push((slice, share)),
                Outcome::Skipped(skipped) => {
                    self.reading.skipped.extend(skipped);
                    return Ok(());
                }
            }
        }
        self.reading.segments += usize::from(matches!(source, Source::Segment(..)));
        counted.into_iter().try_for_each(|(slice, _share)| self.merge(slice))
    }

    fn merge(&mut self, Counted { tables, counts, rows, rollup_rows }: Counted<C>) -> Result<()> {
        self.whole.merge(&tables, counts);
        self.reading.rows += rows;
        self.reading.rollup_rows += rollup_rows;
        self.share.set(self.whole.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handle::Store;
    use crate::model::{
        Exact, Frame, FrameKind, Keep, NodeId, Profile, ProfileBuilder, RowKey, StringId, Unwound,
    };
    use crate::query::{Limits, Selector, TimeRange};
    use crate::segment::Table;

    #[test]
    fn slices_have_every_row_group_once() {
        for (rows, threads, expected) in
            [(0, 8, 1), (SLICE_ROWS - 1, 8, 1), (3 * SLICE_ROWS, 8, 3), (u64::MAX, 8, 8), (u64::MAX, 0, 1)]
        {
            let slices: Vec<Slice> = Slice::all(rows, threads).collect();
            assert_eq!(slices.len(), expected, "{rows} rows, {threads} threads");
            let mut groups: Vec<usize> = slices.iter().flat_map(|slice| slice.of(7)).collect();
            groups.sort_unstable();
            assert_eq!(groups, [0, 1, 2, 3, 4, 5, 6]);
            assert!(slices[0].is_first() && slices[expected - 1].is_last());
            assert_eq!(slices[0].is_whole(), expected == 1);
        }
    }

    /// An hour of samples of a few stacks, with a loss each minute.
    fn hour() -> Profile {
        let mut b = ProfileBuilder::default();
        let labels = vec![(b.string("host"), b.string("a")), (b.string("process"), b.string("app"))];
        let series = b.cpu_series(labels, 10);
        let (host, lost) = (b.string("a"), b.string("lost_ring_full"));
        let nodes: Vec<NodeId> = (0..7)
            .map(|number| {
                let function = b.string(&format!("f{number}"));
                let frame = b.frame(Frame {
                    kind: FrameKind::Native,
                    unwound: Unwound::Leaf,
                    function,
                    system_name: StringId::EMPTY,
                    file: StringId::EMPTY,
                    line: 0,
                    binary: None,
                    address: number,
                });
                b.child(NodeId::ROOT, frame)
            })
            .collect();
        for second in 0..3600 {
            let key = RowKey {
                series,
                node: nodes[second as usize % 7],
                time_ms: second * 1000,
                ..RowKey::default()
            };
            b.add(key, 2, 20, &[Exact { offset_ms: 1, cpu: 0 }, Exact { offset_ms: 999, cpu: 1 }]);
            if second % 60 == 0 {
                b.account(second * 1000, host, lost, 3);
            }
        }
        b.finish(0, 3_600_000)
    }

    fn with_threads(store: &Store, threads: usize) -> Store {
        store.with_limits(Limits { threads, ..Limits::default() })
    }

    #[test]
    fn a_large_segment_is_counted_by_several_threads_as_by_one() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_writer(folder.path().join("data")).unwrap();
        store.append(&hour()).unwrap();
        let all = Selector::parse("").unwrap();
        // Seconds that begin before the range and end in it, too.
        let range = TimeRange { from_ms: 500, until_ms: 3_000_500 };
        let lines = |threads| {
            let store = with_threads(&store, threads);
            let profile = store.query(&all, range, Keep::ALL).unwrap();
            let rows: u64 = profile.profile.rows.iter().map(|row| row.samples).sum();
            let accounts: u64 = profile.profile.accounts.iter().map(|account| account.value).sum();
            let timeline = store.timeline(&all, range, 60_000, "process", 3).unwrap();
            (rows, accounts, profile.segments_read, profile.rows_read, timeline)
        };
        let one = lines(1);
        assert_eq!((one.0, one.1, one.2), (6000, 50 * 3, 1));
        assert_eq!(lines(4), one);
        let snapshot = store.snapshot(range).unwrap();
        let slices = Slice::all(snapshot.segments[0].manifest.rows, 4).count();
        let file = store.samples(&snapshot.segments[0], Table::Samples).unwrap();
        assert!(slices == 4 && file.groups() >= 4, "{slices} slices of {} row groups", file.groups());
    }

    #[test]
    fn a_segment_with_a_bad_slice_is_left_out_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        Store::open_writer(&data).unwrap().append(&hour()).unwrap();
        let path = Store::open_reader(&data).unwrap().snapshot(TimeRange::ALL).unwrap().segments[0]
            .path()
            .to_owned();
        let samples = path.join("samples.parquet");
        let mut bytes = std::fs::read(&samples).unwrap();
        // Within the first row group; the others can be read.
        bytes[20..60].fill(0xff);
        std::fs::write(&samples, bytes).unwrap();
        let store = with_threads(&Store::open_reader(&data).unwrap(), 4);
        let answer = store.query(&Selector::parse("").unwrap(), TimeRange::ALL, Keep::ALL).unwrap();
        assert_eq!(answer.profile.rows, []);
        assert_eq!((answer.skipped.len(), answer.segments_read), (1, 0), "{:?}", answer.skipped);
    }
}
