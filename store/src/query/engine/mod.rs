//! How queries run: a plan for each segment, its rows counted by as many threads as allowed, those of a large one by several, and the
//! counts merged in the order of the segments, so that an answer never hangs on who was faster.
//!
//! Only the columns and pages that a query needs are read ([`plan`], [`scan`]); exact times only where a range
//! cuts rows, or where the question is about times.

mod batch;
mod cover;
mod limits;
mod line;
mod merge;
mod plan;
mod scan;

use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

pub(crate) use batch::{Batch, Columns};
pub(crate) use limits::Budget;
use limits::Share;
pub use limits::{Cancel, Limits, Progress};
use line::{Counted, Line, Outcome, Slice, Source};
pub(crate) use merge::{Merged, StackCounts};
#[cfg(feature = "sql")]
pub(crate) use plan::{Wanted, pieces};
pub(crate) use scan::Fault;
use scan::{Request, scan_head, scan_segment};

use self::cover::Shape;

use super::{ROW_LABELS, Selector, TimeRange};
use crate::cache::Depth;
use crate::catalog::Skipped;
use crate::dictionary::{Dictionary, Known};
use crate::error::Result;
use crate::handle::{Snapshot, Store};
use crate::model::{Profile, StringTable};
use crate::segment::{LoadError, SegmentInfo, Table};

/// A query starts over when a segment vanishes under it (merged or past its retention), at most this often.
const MAX_TRIES: usize = 8;
/// Sources counted but not yet merged, for each thread: a slow one must not make the others wait at once.
const AHEAD: usize = 4;

/// Counts the rows of one segment.
pub(crate) trait Count: Send {
    /// Counts rows.
    fn add(&mut self, batch: &Batch<'_>) -> std::result::Result<(), Fault>;
    /// All rows have been counted: what is not needed for merging can go.
    fn finish(&mut self) {}
    /// Memory that it takes, bytes.
    fn bytes(&self) -> u64;
}

/// What becomes of the counts of all segments.
pub(crate) trait Merge<C>: Send {
    /// Takes in the counts of one segment.
    fn merge(&mut self, tables: &Tables, counts: C);
    /// Memory that it takes, bytes.
    fn bytes(&self) -> u64;
}

/// What a question needs of a segment's tables.
#[derive(Clone)]
pub(crate) enum Need {
    /// Series and accounts.
    Series,
    /// How many nodes there are, and for merging their places in the tree of all.
    Places(Arc<Dictionary>),
}

/// How far rollups may stand for samples.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rough {
    /// The longest steps that times may be rounded down to, milliseconds.
    pub(crate) step_ms: i64,
    /// Whether samples of different hosts may be taken together.
    pub(crate) hosts: bool,
}

impl Rough {
    /// Nothing but samples will do.
    pub(crate) const NO: Self = Self { step_ms: 0, hosts: false };
    /// A question that does not ask when.
    pub(crate) fn without_times(hosts: bool) -> Self {
        Self { step_ms: i64::MAX, hosts }
    }
}

/// The tables of a segment, or of a window in memory, as far as a question needs them.
pub(crate) struct Tables {
    /// Series and accounts at least.
    profile: Arc<Profile>,
    /// Number of stack nodes; none are allowed where they are not needed.
    pub(crate) nodes: usize,
    /// Its segment; none for windows in memory.
    id: Option<ulid::Ulid>,
    /// Its accounts go with another slice of the segment.
    is_more: bool,
    known: Option<Arc<Known>>,
}

impl Deref for Tables {
    type Target = Profile;

    fn deref(&self) -> &Profile {
        &self.profile
    }
}

impl Tables {
    /// The places of its nodes in a tree of all, in which it is taken in now if it was not before.
    pub(crate) fn known(&self, dictionary: &Dictionary) -> Arc<Known> {
        self.known.clone().unwrap_or_else(|| dictionary.add(self.id, &self.profile))
    }

    fn of(profile: Arc<Profile>, id: Option<ulid::Ulid>) -> Self {
        Self { nodes: profile.stacks.len(), profile, id, is_more: false, known: None }
    }

    /// The profile whose accounts go with these rows; none if they go with others of the segment.
    pub(crate) fn with_accounts(&self) -> Option<&Profile> {
        Some(&*self.profile).filter(|_| !self.is_more)
    }
}

/// What was read for an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Segments read.
    pub segments: usize,
    /// Rows of samples and rollups read: those that could not be passed by as a whole.
    pub rows: u64,
    /// How many of them are of rollups.
    pub rollup_rows: u64,
    /// Segments left out.
    pub skipped: Vec<Skipped>,
}

/// One query on its way.
pub(crate) struct Query<'a> {
    pub(crate) store: &'a Store,
    pub(crate) selector: &'a Selector,
    pub(crate) range: TimeRange,
    pub(crate) columns: Columns,
    pub(crate) need: Need,
    pub(crate) rough: Rough,
}

impl Query<'_> {
    /// Counts all selected samples: `new` makes the counter of a segment, `whole` what all are merged into.
    pub(crate) fn run<C: Count, M: Merge<C>>(
        &self,
        new: impl Fn(&Tables) -> C + Sync,
        whole: impl Fn() -> M,
    ) -> Result<(M, Reading)> {
        for tries in 1.. {
            let snapshot = self.store.snapshot(self.range)?;
            let budget = Budget::new(self.store.limits().memory_bytes);
            let threads = self.store.limits().threads.max(1);
            let line = Line::new(&snapshot, whole(), &budget, threads);
            let is_last = tries == MAX_TRIES;
            self.store.limits().progress.begin(line.len());
            let threads = threads.min(line.len().max(1));
            std::thread::scope(|scope| {
                for _ in 1..threads {
                    scope.spawn(|| self.work(&line, &new, is_last, threads));
                }
                self.work(&line, &new, is_last, threads);
            });
            if let Some(answer) = line.finish()? {
                return Ok(answer);
            }
        }
        unreachable!("the last try always answers")
    }

    /// Counts one source after the other, until none is left.
    fn work<C: Count, M: Merge<C>>(
        &self,
        line: &Line<'_, C, M>,
        new: &(impl Fn(&Tables) -> C + Sync),
        is_last_try: bool,
        threads: usize,
    ) {
        while let Some((place, source)) = line.next() {
            let mut share = line.budget.share();
            let counted =
                catch_unwind(AssertUnwindSafe(|| self.count(line.snapshot, source, new, &mut share)));
            // The Parquet reader panics on some damaged files that come without checksums.
            let gave_up = || LoadError::Bad("the Parquet reader gave up on it".to_owned());
            let outcome = match counted.unwrap_or_else(|_| Err(Fault::Load(gave_up()))) {
                Ok(done) => Outcome::Counted(done, share),
                Err(Fault::Stop(error)) => return line.stop(Some(error)),
                Err(Fault::Load(LoadError::Vanished)) if !is_last_try => return line.stop(None),
                Err(Fault::Load(error)) => Outcome::Skipped(self.reason(line.snapshot, source, error)),
            };
            self.store.limits().progress.step();
            line.hand_in(place, outcome, threads * AHEAD);
        }
    }

    fn count<C: Count>(
        &self,
        snapshot: &Snapshot,
        source: Source,
        new: &impl Fn(&Tables) -> C,
        share: &mut Share<'_>,
    ) -> std::result::Result<Counted<C>, Fault> {
        self.store.limits().cancel.check()?;
        let (place, slice) = match source {
            Source::Segment(place, slice) => (place, slice),
            Source::Head(place) => {
                let head = Tables::of(snapshot.heads[place].clone(), None);
                return self.count_parts(None, head, new, share).map_err(|(fault, _)| fault);
            }
        };
        let segment = &snapshot.segments[place];
        let tables = self.tables(segment, slice).map_err(Fault::Load)?;
        match self.count_parts(Some((segment, slice, self.rough)), tables, new, share) {
            // The samples are still there.
            Err((
                Fault::Load(LoadError::Bad(reason)),
                Table::Rollup5m | Table::Rollup1h | Table::Rollup1d,
            )) => {
                self.store.mark_bad_rollups(segment, &reason);
                if !slice.is_whole() {
                    // The other slices are of the rollups, so that all have to be counted again.
                    return Err(Fault::Load(LoadError::Vanished));
                }
                let tables = self.tables(segment, slice).map_err(Fault::Load)?;
                let again = self.count_parts(Some((segment, slice, Rough::NO)), tables, new, share);
                again.map_err(|(fault, _)| fault)
            }
            counted => counted.map_err(|(fault, _)| fault),
        }
    }

    /// Whether a segment may have samples that are selected, by its statistics.
    fn may_select(&self, segment: &SegmentInfo) -> bool {
        let Some(statistics) = &segment.manifest.statistics else { return true };
        let values = |label: &str| match ROW_LABELS.contains(&label) {
            true => None,
            false => statistics.values_of(label),
        };
        self.selector.may_select(&values)
    }

    fn tables(&self, segment: &SegmentInfo, slice: Slice) -> std::result::Result<Tables, LoadError> {
        let is_more = !slice.is_first();
        if !self.may_select(segment) {
            // For its accounts alone.
            return Ok(Tables { is_more, ..Tables::of(self.store.tables(segment, Depth::Series)?, None) });
        }
        let depth = match &self.need {
            Need::Series => Depth::Series,
            Need::Places(dictionary) => match self.store.known(segment, dictionary)? {
                Some(known) => {
                    let (profile, nodes) = (known.series.clone(), known.places.len());
                    return Ok(Tables { profile, nodes, id: Some(segment.id), is_more, known: Some(known) });
                }
                None => Depth::Stacks,
            },
        };
        Ok(Tables { is_more, ..Tables::of(self.store.tables(segment, depth)?, Some(segment.id)) })
    }

    /// Counts a slice of a segment, or a window in memory. With a fault comes the table that it is of.
    fn count_parts<C: Count>(
        &self,
        segment: Option<(&SegmentInfo, Slice, Rough)>,
        tables: Tables,
        new: &impl Fn(&Tables) -> C,
        share: &mut Share<'_>,
    ) -> std::result::Result<Counted<C>, (Fault, Table)> {
        let request = |range| Request {
            selector: self.selector,
            range,
            offsets: self.store.offsets(),
            columns: self.columns,
            cancel: &self.store.limits().cancel,
        };
        let of_samples = |fault: Fault| (fault, Table::Samples);
        let of_tables = crate::cache::size_of_profile(&tables) as u64;
        share.set(of_tables).map_err(|error| of_samples(error.into()))?;
        let mut counts = new(&tables);
        let mut take = |batch: &Batch<'_>| {
            counts.add(batch)?;
            Ok(share.set(of_tables + counts.bytes())?)
        };
        let (mut rows, mut rollup_rows) = (0, 0);
        let Some((segment, slice, rough)) = segment else {
            let rows = scan_head(&request(self.range.as_range()), &tables, &mut take).map_err(of_samples)?;
            counts.finish();
            return Ok(Counted { tables, counts, rows, rollup_rows });
        };
        let mut texts = StringTable::default();
        for (table, range) in self.cover(segment, rough, &tables) {
            let of_table = |fault: Fault| (fault, table);
            let file = self.store.samples(segment, table).map_err(|error| of_table(Fault::Load(error)))?;
            let groups = slice.of(file.groups());
            let read = scan_segment(&request(range), &tables, (&file, groups), &mut texts, &mut take);
            let read = read.map_err(of_table)?;
            rows += read;
            rollup_rows += if table == Table::Samples { 0 } else { read };
        }
        counts.finish();
        share.set(of_tables + counts.bytes()).map_err(|error| of_samples(error.into()))?;
        Ok(Counted { tables, counts, rows, rollup_rows })
    }

    /// Which tables of a segment answer for which part of the range.
    fn cover(&self, segment: &SegmentInfo, rough: Rough, tables: &Profile) -> Vec<cover::Part> {
        if !self.may_select(segment) {
            return Vec::new();
        }
        let asks_for = |label: &&str| self.selector.asks_for(label);
        let asks_for_times = self.store.offsets().is_some() || self.columns.cpus;
        let asks_for_threads = self.columns.threads || ["pid", "tid", "thread"].iter().any(asks_for);
        let tells_hosts = !rough.hosts || self.selector.asks_for("host");
        // Rows of rollups are of all hosts that share the rest of a series.
        let has_no_rollups =
            asks_for_times || asks_for_threads || (tells_hosts && tables.has_groups_of_series());
        let step_ms = if has_no_rollups { 0 } else { rough.step_ms };
        let has = |table| self.store.has_rollup(segment, table);
        let span = segment.min_ms()..segment.max_ms().max(segment.min_ms() + 1);
        Shape::new(span, step_ms, has).cover(&self.range.as_range())
    }

    fn reason(&self, snapshot: &Snapshot, source: Source, error: LoadError) -> Option<Skipped> {
        let Source::Segment(place, _) = source else { return None };
        let segment: &SegmentInfo = snapshot.segments.get(place)?;
        let reason = match error {
            LoadError::Vanished => "it was removed while it was read".to_owned(),
            LoadError::Refused(reason) => reason,
            LoadError::Bad(reason) => {
                self.store.mark_bad(segment, &reason);
                reason
            }
        };
        Some(Skipped { path: segment.path().to_owned(), reason })
    }
}
