//! Verifying all that is stored.

use std::path::{Path, PathBuf};

use crate::catalog::Skipped;
use crate::error::Result;
use crate::handle::Store;
use crate::log;
use crate::query::TimeRange;
use crate::segment::{self, LoadError};

/// What was verified, and what is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Check {
    /// Segments that are whole.
    pub segments: usize,
    /// Their bytes on disk.
    pub bytes: u64,
    /// Their rows of samples.
    pub rows: u64,
    /// Logs of windows that are no segments yet, all whole but for those that are named.
    pub logs: usize,
    /// What cannot be read, or contradicts itself.
    pub bad: Vec<Skipped>,
    /// What a later version wrote: it cannot be read, and nothing is wrong with it.
    pub later: Vec<Skipped>,
}

impl Store {
    /// Reads every segment and log, compares checksums, and what different files say of the same samples. `done` is
    /// called after each segment; false ends the check early.
    ///
    /// # Errors
    /// When the data directory cannot be listed.
    pub fn check(&self, mut done: impl FnMut(&Check) -> bool) -> Result<Check> {
        let snapshot = self.snapshot(TimeRange::ALL)?;
        let mut check = Check { logs: self.stats().logs, ..Check::default() };
        for skipped in snapshot.skipped {
            let path = &skipped.path;
            let is_later = segment::is_of_later_version(path) || log::is_of_later_version(path);
            if is_later { check.later.push(skipped) } else { check.bad.push(skipped) }
        }
        let lists = [
            ("pins.json", self.pins().err()),
            ("annotations.json", self.annotations(TimeRange::ALL).err()),
            ("links.json", self.links().err()),
        ];
        for (name, error) in lists.into_iter().filter_map(|(name, error)| Some((name, error?))) {
            check.bad.push(Skipped { path: self.path().join(name), reason: error.to_string() });
        }
        check.bad.extend(self.missing()?);
        for segment in snapshot.segments {
            match segment::verify(&segment.path, &segment.manifest) {
                Ok(()) if segment.manifest.files.is_empty() => {
                    let reason = "it is missing or damaged: the segment is read without it, but nothing says whether its files are whole".to_owned();
                    check.bad.push(Skipped { path: segment.path.join(segment::MANIFEST), reason });
                }
                Ok(()) => {
                    check.segments += 1;
                    check.bytes += segment.bytes;
                    check.rows += segment.rows();
                }
                // It was merged, or is past its retention.
                Err(LoadError::Vanished) => {}
                Err(LoadError::Bad(reason) | LoadError::Refused(reason)) => {
                    check.bad.push(Skipped { path: segment.path.clone(), reason });
                }
            }
            if !done(&check) {
                break;
            }
        }
        Ok(check)
    }

    /// Moves segments and logs that are bad into `quarantine`: nothing is deleted, and nobody reads them any more. Those whose
    /// folders are gone are not missed any more. What
    /// is neither a segment nor a log stays. Returns where each is now.
    ///
    /// # Errors
    /// When the store is open for reading only, or one cannot be moved.
    pub fn quarantine(&self, bad: &[Skipped]) -> Result<Vec<PathBuf>> {
        self.dir().require_writer()?;
        let _alone = self.maintenance();
        // What a bad segment replaces must not count again.
        self.purge()?;
        let ours = bad.iter().filter(|bad| self.is_ours(&bad.path));
        let (there, gone): (Vec<_>, Vec<_>) = ours.partition(|bad| bad.path.exists());
        // What is gone is named once.
        there.iter().chain(&gone).for_each(|bad| self.strike_from_inventory(&bad.path));
        there.into_iter().map(|bad| self.dir().put_in_quarantine(&bad.path)).collect()
    }

    fn is_ours(&self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_segment = name.starts_with("segment=") && path.starts_with(self.dir().segments());
        is_segment || (name.ends_with(".log") && path.parent() == Some(&*self.dir().log()))
    }
}
