//! The samples of a range as one profile.

use super::engine::{Budget, Columns, Fault, Merged, Need, Query, Reading, Rough, StackCounts, Tables};
use super::groups::Groups;
use super::{Selected, Selector, TimeRange};
use crate::catalog::Skipped;
use crate::error::Result;
use crate::handle::Store;
use crate::model::{FunctionTree, Keep, Profile, ProfileBuilder, Row};
use crate::segment::LoadError;

/// A query starts over when a segment vanishes under it (merged or past its retention), at most this often.
const MAX_TRIES: usize = 8;

/// The answer to a query.
#[derive(Clone, Debug)]
pub struct Answer {
    /// All selected samples, merged; it covers the range that was asked for. Where the range begins within a
    /// bucket, that bucket's rows start before it, and their exact times lie within it.
    pub profile: Profile,
    /// Segments read.
    pub segments_read: usize,
    /// Rows of samples and rollups read: those that could not be passed by.
    pub rows_read: u64,
    /// How many of them are of rollups.
    pub rollup_rows_read: u64,
    /// Segments left out.
    pub skipped: Vec<Skipped>,
}

impl Answer {
    fn new(profile: Profile, Reading { segments, rows, rollup_rows, skipped }: Reading) -> Self {
        Self { profile, segments_read: segments, rows_read: rows, rollup_rows_read: rollup_rows, skipped }
    }
}

impl Store {
    /// The samples of a range, to the millisecond, that a selector selects. Answers for ranges that adjoin
    /// add up to that for the whole.
    ///
    /// Without times (`keep.bucket_ms` is none) samples are counted by stack as they are read, within the limits.
    /// With times all rows are held, which fits the limits for short ranges: that is for exports and for tests.
    ///
    /// # Errors
    /// When the data directory cannot be listed, when the limits are reached, or when the query is cancelled.
    /// Segments that cannot be read are named in the answer.
    pub fn query(&self, selector: &Selector, range: TimeRange, keep: Keep) -> Result<Answer> {
        if keep.bucket_ms.is_some() {
            return self.all_rows(selector, range, keep);
        }
        let columns =
            Columns { node: true, value: true, threads: keep.threads, status: true, ..Columns::default() };
        self.counted(selector, range, columns, None)
    }

    /// The samples of a range by stack, status and the value of one label of series: the answer's series have no
    /// other but `event`. It is what flame graphs and tables show, and takes a fraction of [`Store::query`] where there are many
    /// series.
    ///
    /// # Errors
    /// As [`Store::query`].
    pub fn query_by(&self, selector: &Selector, range: TimeRange, label: &str) -> Result<Answer> {
        let columns = Columns { node: true, value: true, status: true, ..Groups::columns(label) };
        self.counted(selector, range, columns, Some(label))
    }

    /// The same by function, with the largest nodes alone, at most `most` of them with the root: what a flame graph shows. `by_value` says of
    /// what the samples are of whether they weigh what their values say.
    ///
    /// Neither a profile nor names are made of what is not shown, which takes a fraction of [`Store::query_by`].
    ///
    /// # Errors
    /// As [`Store::query`].
    pub fn function_tree(
        &self,
        selector: &Selector,
        range: TimeRange,
        label: &str,
        most: usize,
        by_value: impl FnOnce(&Profile) -> bool,
    ) -> Result<(FunctionTree, Reading)> {
        let columns = Columns { node: true, value: true, status: true, ..Groups::columns(label) };
        let (merged, reading) = self.merged(selector, range, columns, Some(label))?;
        Ok((merged.finish_tree((range.from_ms, range.until_ms), label, most, by_value), reading))
    }

    fn counted(
        &self,
        selector: &Selector,
        range: TimeRange,
        columns: Columns,
        by: Option<&str>,
    ) -> Result<Answer> {
        let (merged, reading) = self.merged(selector, range, columns, by)?;
        Ok(Answer::new(merged.finish(range.from_ms, range.until_ms), reading))
    }

    fn merged(
        &self,
        selector: &Selector,
        range: TimeRange,
        columns: Columns,
        by: Option<&str>,
    ) -> Result<(Merged, Reading)> {
        let dictionary = self.dictionary();
        let rough = Rough::without_times(by.is_some_and(|by| by != "host"));
        let need = Need::Places(dictionary.clone());
        let query = Query { store: self, selector, range, columns, need, rough };
        let new = |tables: &Tables| StackCounts::new(tables, columns, by);
        query.run(new, || Merged::new(dictionary.clone(), range.as_range(), by))
    }

    /// Every selected row of a range, some hundred thousand at a time.
    fn all_rows(&self, selector: &Selector, range: TimeRange, keep: Keep) -> Result<Answer> {
        let mut tries = 0;
        'again: loop {
            tries += 1;
            let snapshot = self.snapshot(range)?;
            let mut builder = ProfileBuilder::default();
            let budget = Budget::new(self.limits().memory_bytes);
            let mut memory = budget.share();
            let mut reading = Reading { skipped: snapshot.skipped, ..Reading::default() };
            let mut add = |profile: &Profile| {
                let mut selected = Selected::new(profile, selector);
                let range = range.as_range();
                let mut select = |row: &Row| selected.contains(row);
                match self.offsets() {
                    Some(offsets) => builder.merge_picked(profile, keep, &range, offsets, &mut select),
                    None => builder.merge_within(profile, keep, &range, &mut select),
                }
                memory.set(builder.bytes())
            };
            for segment in &snapshot.segments {
                let mut rows = 0;
                let read = self.scan(segment, &range.as_range(), |profile| {
                    self.limits().cancel.check()?;
                    rows += profile.rows.len() as u64;
                    Ok::<_, Fault>(add(profile)?)
                });
                let error = match read {
                    Ok(()) => {
                        reading.segments += 1;
                        reading.rows += rows;
                        continue;
                    }
                    Err(Fault::Stop(error)) => return Err(error),
                    Err(Fault::Load(error)) => error,
                };
                let reason = match error {
                    LoadError::Vanished if tries < MAX_TRIES => continue 'again,
                    LoadError::Vanished => "it was removed while it was read".to_owned(),
                    LoadError::Bad(reason) => {
                        self.mark_bad(segment, &reason);
                        // What was taken of it goes, too: it is left out as a whole.
                        if rows > 0 {
                            continue 'again;
                        }
                        reason
                    }
                    LoadError::Refused(reason) => reason,
                };
                reading.skipped.push(Skipped { path: segment.path().to_owned(), reason });
            }
            snapshot.heads.iter().try_for_each(|head| add(head))?;
            let profile = builder.finish(range.from_ms, range.until_ms);
            return Ok(Answer::new(profile, reading));
        }
    }
}
