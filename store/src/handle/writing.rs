//! Windows on their way into the store: in memory, and as segments.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use ulid::Ulid;

use super::{State, Store};
use crate::error::{Error, IoContext, Result};
use crate::model::Profile;
use crate::segment::{self, Manifest, SegmentInfo, Target};

/// Windows published but not yet on disk. The disk is that many windows behind before the oldest is given up.
const MAX_HEADS: usize = 30;
/// Starts of windows lately appended, to recognise a head that comes too late.
const MAX_APPENDED: usize = 64;

impl Store {
    /// Makes a window that is not on disk yet visible to queries of this process, in place of what was
    /// published before for the window of the same `start_ms`. None takes back all such windows.
    pub fn publish_head(&self, head: Option<Arc<Profile>>) {
        let mut state = self.state();
        let Some(head) = head else { return state.heads.clear() };
        if state.appended.contains(&head.start_ms) {
            return;
        }
        state.heads.insert(head.start_ms, head);
        if state.heads.len() > MAX_HEADS {
            state.heads.pop_first();
            state.heads_dropped += 1;
        }
    }

    /// Writes a window as a segment. The published head of the same `start_ms` gives way to it at one
    /// moment: a query sees one of them, never both and never none. After an error the head stays.
    ///
    /// # Errors
    /// When the store is open for reading only, the profile does not fit the format, or writing fails.
    pub fn append(&self, profile: &Profile) -> Result<SegmentInfo> {
        let write = |folder: &Path| segment::write(folder, profile, Target::default());
        let segment = self.install(write, |state| {
            state.heads.remove(&profile.start_ms);
            state.appended.push_back(profile.start_ms);
            if state.appended.len() > MAX_APPENDED {
                state.appended.pop_front();
            }
        })?;
        Ok(segment)
    }

    /// Writes a profile that is none of this agent's windows, as one of another tool, as a segment. Its samples
    /// may lie anywhere in time.
    ///
    /// # Errors
    /// As [`Store::append`].
    pub fn import(&self, profile: &Profile) -> Result<SegmentInfo> {
        self.install(|folder: &Path| segment::write(folder, profile, Target::default()), |_| {})
    }

    /// Writes a segment into a folder of its own and shows it to readers, at one moment with `at_once`.
    pub(crate) fn install<E: From<Error>>(
        &self,
        write: impl FnOnce(&Path) -> std::result::Result<(Manifest, u64), E>,
        at_once: impl FnOnce(&mut State),
    ) -> std::result::Result<SegmentInfo, E> {
        let dir = &self.inner.dir;
        dir.require_writer()?;
        let aside = dir.tmp().join(Ulid::new().to_string());
        let shown =
            write(&aside).and_then(|(manifest, bytes)| Ok(self.show(&aside, manifest, bytes, at_once)?));
        shown.inspect_err(|_| {
            // The error is what matters; leftovers go when the next writer starts.
            fs::remove_dir_all(&aside).unwrap_or_default();
        })
    }

    fn show(
        &self,
        aside: &Path,
        manifest: Manifest,
        bytes: u64,
        at_once: impl FnOnce(&mut State),
    ) -> Result<SegmentInfo> {
        let dir = &self.inner.dir;
        let outside = |_| Error::Unstorable(format!("time {} ms is out of range", manifest.min_ms));
        let start =
            u64::try_from(manifest.min_ms).map_err(|_| Error::Unstorable("time before 1970".into()))?;
        let id = Ulid::from_parts(start, Ulid::new().random());
        let day = jiff::Timestamp::from_millisecond(manifest.min_ms).map_err(outside)?.strftime("%Y-%m-%d");
        let day = dir.segments().join(format!("date={day}"));
        let path = day.join(format!("segment={id}"));
        {
            let mut state = self.state();
            // Again and again, since retention removes days that are empty.
            fs::create_dir_all(&day).context("create", &day)?;
            fs::rename(aside, &path).context("create", &path)?;
            at_once(&mut state);
        }
        self.note_in_inventory(&path);
        for folder in [&day, &dir.segments()] {
            // Readers see the segment already: an error here would make the caller write it again.
            if let Err(error) = segment::sync_folder(folder) {
                tracing::warn!(%error, "a segment may not survive a power failure");
            }
        }
        Ok(SegmentInfo { id, path, bytes, manifest })
    }
}
