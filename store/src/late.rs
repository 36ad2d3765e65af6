//! Late names: what was stored as a place in a file gets the names that were found for it since.
//!
//! A segment is not changed. Another one takes its place, as after merging: from the moment it is there readers pass
//! the old one by, and a crash at any point leaves the one or the other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::TimeRange;
use crate::error::Result;
use crate::handle::Store;
use crate::model::{LateNames, nameless};
use crate::pace::Pace;
use crate::segment::{self, LoadError, MergeError, SegmentInfo, Table, Target};

/// A file that frames without names lie in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamelessFile {
    /// GNU build ID in lower-case hex.
    pub build_id: String,
    /// Path as the process saw it.
    pub path: String,
}

/// Places without names, as ELF virtual addresses by file.
pub type Nameless = BTreeMap<NamelessFile, BTreeSet<u64>>;

impl Store {
    /// The segments of a range that can get late names: all but those that are on their way to or from object storage.
    ///
    /// # Errors
    /// When the data directory cannot be listed.
    pub fn nameable(&self, range: TimeRange) -> Result<Vec<Arc<SegmentInfo>>> {
        let mut segments = self.snapshot(range)?.segments;
        if let Some(elsewhere) = self.elsewhere() {
            segments.retain(|segment| elsewhere.party(segment).is_some());
        }
        Ok(segments)
    }

    /// What of a segment has no name and can get one. Nothing of one that is gone.
    ///
    /// # Errors
    /// When the segment cannot be read, with the reason.
    pub fn nameless(&self, segment: &SegmentInfo) -> std::result::Result<Nameless, String> {
        let tables = self
            .fetch(segment, &[Table::Frames, Table::Binaries])
            .and_then(|_lease| segment::load_frames(&segment.path, &segment.manifest));
        let tables = match tables {
            Ok(tables) => tables,
            Err(LoadError::Vanished) => return Ok(Nameless::new()),
            Err(LoadError::Bad(reason) | LoadError::Refused(reason)) => return Err(reason),
        };
        let mut found = Nameless::new();
        for frame in &tables.frames {
            if let Some(binary) = nameless(&tables, frame) {
                let file = NamelessFile {
                    build_id: tables.text(binary.build_id).to_owned(),
                    path: tables.text(binary.path).to_owned(),
                };
                found.entry(file).or_default().insert(frame.address);
            }
        }
        Ok(found)
    }

    /// Gives a segment late names, at a pace. Another one takes its place, which is returned; none if it is gone
    /// meanwhile, or the pace is over.
    ///
    /// # Errors
    /// When the store is open for reading only, the segment cannot be read, or the other one cannot be written.
    pub fn name_late(
        &self,
        segment: &Arc<SegmentInfo>,
        names: &LateNames,
        pace: &Pace,
    ) -> Result<Option<SegmentInfo>> {
        self.dir().require_writer()?;
        let _alone = self.maintenance();
        self.purge()?;
        let still_there = self.nameable(TimeRange::ALL)?.iter().any(|live| live.id == segment.id);
        if !still_there || pace.is_over() {
            return Ok(None);
        }
        let lease = self.fetch(segment, &Table::ALL);
        let segments = [segment.clone()];
        let replaces = self.state().catalog.same_as(&segments);
        let target = Target { level: segment.level(), resolution_ms: segment.resolution_ms(), replaces };
        let unreadable = |error: LoadError| match error {
            LoadError::Vanished => Ok(None),
            LoadError::Bad(reason) | LoadError::Refused(reason) => {
                let path = segment.path.display();
                Err(crate::Error::Unstorable(format!("{path} gets no names: {reason}")))
            }
        };
        let _lease = match lease {
            Ok(lease) => lease,
            Err(error) => return unreadable(error),
        };
        let write = |folder: &std::path::Path| segment::merge_naming(folder, &segments, target, names, pace);
        match self.install(write, |_| {}) {
            Ok(written) => {
                // What it replaces may go only once it is sure to stay.
                segment::sync_folder(written.path.parent().unwrap_or(&written.path))?;
                self.purge()?;
                Ok(Some(written))
            }
            Err(MergeError::Input(_, error)) => unreadable(error),
            // One alone is never too much.
            Err(MergeError::Full(_)) => Ok(None),
            Err(MergeError::Output(error)) => Err(error),
        }
    }
}
