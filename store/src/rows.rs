//! The rows of single segments: of samples, some at a time, and of rollups.

use std::ops::Range;

use crate::handle::Store;
use crate::model::Profile;
use crate::segment::{self, LoadError, SegmentInfo, Table};

impl Store {
    /// The rows of a segment that may have samples within a range of Unix milliseconds: profiles of its tables, each
    /// with some of its rows.
    pub(crate) fn scan<E: From<LoadError>>(
        &self,
        segment: &SegmentInfo,
        range: &Range<i64>,
        each: impl FnMut(&Profile) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        self.require_good(segment)?;
        let _lease = self.fetch(segment, &Table::ALL)?;
        segment::scan(&segment.path, &segment.manifest, range, each)
    }

    /// The samples of a segment by series, stack and status in steps of 5 minutes, an hour or a day (`step_ms`): what
    /// long ranges are answered from. None if the segment has no such rollup: it is short, or coarser itself.
    ///
    /// # Errors
    /// When the rollup cannot be read, with the reason.
    pub fn rollup(
        &self,
        segment: &SegmentInfo,
        step_ms: i64,
    ) -> std::result::Result<Option<Profile>, String> {
        let Some((table, _)) = segment::ROLLUPS.into_iter().find(|(_, step)| *step == step_ms) else {
            return Ok(None);
        };
        let tables: Vec<_> = Table::ALL_BUT_SAMPLES.into_iter().chain([table]).collect();
        let rollup = self
            .fetch(segment, &tables)
            .and_then(|_lease| segment::load_rollup(&segment.path, &segment.manifest, table));
        rollup.map_err(|error| match error {
            LoadError::Vanished => "it was removed while it was read".to_owned(),
            LoadError::Bad(reason) | LoadError::Refused(reason) => reason,
        })
    }
}
