//! Queries: profiles, timelines and labels of a range of time.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::catalog::Skipped;
use crate::error::Result;
use crate::handle::Store;
use crate::model::{Keep, Profile, ProfileBuilder, StringId};
use crate::query::{ROW_LABELS, Selected, Selector, TimeRange, label_text};
use crate::segment::LoadError;
use crate::timeline::{Timeline, TimelineBuilder};

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
    /// Segments left out.
    pub skipped: Vec<Skipped>,
}

/// What was read for an answer.
struct Reading {
    segments_read: usize,
    skipped: Vec<Skipped>,
}

impl Store {
    /// The samples of a range, to the millisecond, that a selector selects. Answers for ranges that adjoin
    /// add up to that for the whole.
    ///
    /// # Errors
    /// When the data directory cannot be listed. Segments that cannot be read are named in the answer.
    pub fn query(&self, selector: &Selector, range: TimeRange, keep: Keep) -> Result<Answer> {
        let (builder, reading) = self.read(range, ProfileBuilder::default, |builder, profile| {
            let mut selected = Selected::new(profile, selector);
            builder.merge_within(profile, keep, &range.as_range(), |row| selected.contains(row));
        })?;
        let profile = builder.finish(range.from_ms, range.until_ms);
        Ok(Answer { profile, segments_read: reading.segments_read, skipped: reading.skipped })
    }

    /// Samples over time in buckets of `step_ms` (more if there were over 2,000), stacked by the label `by`:
    /// the `top` values with most samples, and the rest together.
    ///
    /// # Errors
    /// As [`Store::query`].
    pub fn timeline(
        &self,
        selector: &Selector,
        range: TimeRange,
        step_ms: i64,
        by: &str,
        top: usize,
    ) -> Result<Timeline> {
        let new = || TimelineBuilder::new(range, step_ms, by);
        let (builder, reading) = self.read(range, new, |builder, profile| builder.add(profile, selector))?;
        Ok(builder.finish(top, reading.segments_read, reading.skipped))
    }

    /// Names of the labels that the selected samples of a range have, sorted.
    ///
    /// # Errors
    /// As [`Store::query`].
    pub fn label_names(&self, selector: &Selector, range: TimeRange) -> Result<Vec<String>> {
        let (names, _) = self.read(range, FxHashSet::default, |names: &mut FxHashSet<String>, profile| {
            let mut seen: FxHashSet<StringId> = FxHashSet::default();
            let mut series = FxHashSet::default();
            each_selected(profile, selector, range, |row, _| {
                if series.insert(row.key.series) {
                    seen.extend(profile.series(row.key.series).labels.iter().map(|(name, _)| *name));
                }
            });
            names.extend(seen.iter().map(|name| profile.text(*name).to_owned()));
            if !series.is_empty() {
                names.extend(ROW_LABELS.map(str::to_owned));
            }
        })?;
        let mut names: Vec<_> = names.into_iter().collect();
        names.sort_unstable();
        Ok(names)
    }

    /// The values of a label and their samples, most samples first; samples without the label count for the
    /// empty value.
    ///
    /// # Errors
    /// As [`Store::query`].
    pub fn label_values(
        &self,
        name: &str,
        selector: &Selector,
        range: TimeRange,
    ) -> Result<Vec<(String, u64)>> {
        let (values, _) =
            self.read(range, FxHashMap::default, |values: &mut FxHashMap<String, u64>, profile| {
                each_selected(profile, selector, range, |row, samples| {
                    let value = label_text(profile, &row.key, name);
                    match values.get_mut(&*value) {
                        Some(sum) => *sum += samples,
                        None => {
                            values.insert(value.into_owned(), samples);
                        }
                    }
                });
            })?;
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        Ok(values)
    }

    /// Feeds every profile that overlaps a range to `add`, all from one moment of the store.
    fn read<T>(
        &self,
        range: TimeRange,
        new: impl Fn() -> T,
        add: impl Fn(&mut T, &Profile),
    ) -> Result<(T, Reading)> {
        let mut tries = 0;
        'again: loop {
            tries += 1;
            let snapshot = self.snapshot(range)?;
            let mut sum = new();
            let mut reading = Reading { segments_read: 0, skipped: snapshot.skipped };
            for segment in &snapshot.segments {
                let reason = match self.load(segment) {
                    Ok(profile) => {
                        add(&mut sum, &profile);
                        reading.segments_read += 1;
                        continue;
                    }
                    Err(LoadError::Vanished) if tries < MAX_TRIES => continue 'again,
                    Err(LoadError::Vanished) => "it was removed while it was read".to_owned(),
                    Err(LoadError::Bad(reason) | LoadError::Refused(reason)) => reason,
                };
                reading.skipped.push(Skipped { path: segment.path().to_owned(), reason });
            }
            for head in &snapshot.heads {
                add(&mut sum, head);
            }
            return Ok((sum, reading));
        }
    }
}

/// Calls `each` for every selected row with its samples within the range.
fn each_selected(
    profile: &Profile,
    selector: &Selector,
    range: TimeRange,
    mut each: impl FnMut(&crate::model::Row, u64),
) {
    let mut selected = Selected::new(profile, selector);
    for row in &profile.rows {
        let samples = profile.part_within(row, &range.as_range()).samples;
        if samples > 0 && selected.contains(row) {
            each(row, samples);
        }
    }
}
