//! A part of a store as a data directory of its own.

use std::path::{Path, PathBuf};

use crate::cache::Depth;
use crate::catalog::Skipped;
use crate::error::Result;
use crate::handle::Store;
use crate::model::{Keep, Profile, ProfileBuilder};
use crate::query::{Selected, Selector, TimeRange};
use crate::segment::{self, CopyError, LoadError, SegmentInfo, Target};

/// Times that an export begins again because segments were merged meanwhile.
const MAX_TRIES: usize = 8;

/// What was exported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Segments written.
    pub segments: usize,
    /// Samples in them.
    pub samples: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// What could not be read, and is not in it.
    pub skipped: Vec<Skipped>,
}

/// An export under way.
struct Export<'a> {
    from: &'a Store,
    to: &'a Store,
    selector: &'a Selector,
    range: TimeRange,
    done: Exported,
    written: Vec<PathBuf>,
}

impl Store {
    /// Writes the selected samples of a range into another store, which is empty, at their levels and resolutions.
    /// Segments that go there whole are copied as they are.
    ///
    /// # Errors
    /// When the data directory cannot be listed, or the other one cannot be written; then nothing is left in it.
    pub fn export(&self, selector: &Selector, range: TimeRange, to: &Self) -> Result<Exported> {
        let mut tries = 0;
        loop {
            tries += 1;
            let mut export =
                Export { from: self, to, selector, range, done: Exported::default(), written: Vec::new() };
            match export.run(tries == MAX_TRIES) {
                Ok(true) => return Ok(export.done),
                Ok(false) => export.take_back()?,
                Err(error) => {
                    export.take_back().unwrap_or_default();
                    return Err(error);
                }
            }
        }
    }
}

impl Export<'_> {
    /// False if a segment was merged or deleted meanwhile, so that the export has to begin again.
    fn run(&mut self, is_last_try: bool) -> Result<bool> {
        let snapshot = self.from.snapshot(self.range)?;
        self.done.skipped = snapshot.skipped;
        for head in &snapshot.heads {
            self.add_part(head, &Target::default())?;
        }
        for segment in &snapshot.segments {
            let error = match self.add(segment) {
                Ok(()) => continue,
                Err(CopyError::Output(error)) => return Err(error),
                Err(CopyError::Input(error)) => error,
            };
            let reason = match error {
                LoadError::Vanished if !is_last_try => return Ok(false),
                LoadError::Vanished => "it was removed while it was read".to_owned(),
                LoadError::Bad(reason) | LoadError::Refused(reason) => reason,
            };
            self.done.skipped.push(Skipped { path: segment.path.clone(), reason });
        }
        Ok(true)
    }

    fn add(&mut self, segment: &SegmentInfo) -> std::result::Result<(), CopyError> {
        let tables = self.from.tables(segment, Depth::Stacks).map_err(CopyError::Input)?;
        let selected = Selected::new(&tables, self.selector);
        if selected.by_series().iter().all(|decided| *decided == Some(false)) {
            return Ok(());
        }
        let all = selected.by_series().iter().all(|decided| *decided == Some(true));
        let within = self.range.from_ms <= segment.min_ms() && segment.max_ms() <= self.range.until_ms;
        if let Some(statistics) = segment.manifest.statistics.as_ref().filter(|_| all && within) {
            let samples = statistics.samples;
            let copy = |folder: &Path| segment::copy(&segment.path, &segment.manifest, folder);
            let copied = self.to.install(copy, |_| {})?;
            self.count(copied, samples);
            return Ok(());
        }
        let profile = self.from.load(segment).map_err(CopyError::Input)?;
        let (level, resolution_ms) = (segment.level(), segment.resolution_ms());
        let target = Target { level, resolution_ms, ..Target::default() };
        Ok(self.add_part(&profile, &target)?)
    }

    fn add_part(&mut self, profile: &Profile, target: &Target) -> Result<()> {
        let mut builder = ProfileBuilder::default();
        let mut selected = Selected::new(profile, self.selector);
        builder.merge_within(profile, Keep::ALL, &self.range.as_range(), |row| selected.contains(row));
        let start_ms = profile.start_ms.max(self.range.from_ms);
        let part = builder.finish(start_ms, profile.end_ms.min(self.range.until_ms).max(start_ms));
        if part.rows.is_empty() {
            return Ok(());
        }
        let write = |folder: &Path| segment::write(folder, &part, target.clone());
        let written = self.to.install(write, |_| {})?;
        self.count(written, part.samples());
        Ok(())
    }

    fn count(&mut self, segment: SegmentInfo, samples: u64) {
        self.done.segments += 1;
        self.done.samples += samples;
        self.done.bytes += segment.bytes;
        self.written.push(segment.path);
    }

    fn take_back(&mut self) -> Result<()> {
        self.written.drain(..).try_for_each(|path| self.to.remove_segment(&path))
    }
}
