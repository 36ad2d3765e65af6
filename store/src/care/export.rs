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

/// Memory for what is written as one segment, bytes: what is exported of a large one becomes several.
const MAX_PART_BYTES: u64 = 256 << 20;

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
    /// Segments written, with their samples and bytes.
    written: Vec<(PathBuf, u64, u64)>,
}

/// What is selected of a segment, until it is written.
#[derive(Default)]
struct Part {
    builder: ProfileBuilder,
    /// Unix milliseconds.
    start_ms: i64,
    end_ms: i64,
}

impl Part {
    fn add(&mut self, profile: &Profile, selector: &Selector, range: TimeRange) {
        let mut selected = Selected::new(profile, selector);
        self.builder.merge_within(profile, Keep::ALL, &range.as_range(), |row| selected.contains(row));
        self.start_ms = profile.start_ms.max(range.from_ms);
        self.end_ms = profile.end_ms.min(range.until_ms);
    }
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
            let mut part = Part::default();
            part.add(head, self.selector, self.range);
            self.write(part, &Target::default())?;
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
        let (level, resolution_ms) = (segment.level(), segment.resolution_ms());
        let target = Target { level, resolution_ms, ..Target::default() };
        let before = self.written.len();
        let mut part = Part::default();
        let from = self.from;
        let scanned = from.scan(segment, &self.range.as_range(), |profile| {
            part.add(profile, self.selector, self.range);
            if part.builder.bytes() < MAX_PART_BYTES {
                return Ok(());
            }
            Ok::<_, CopyError>(self.write(std::mem::take(&mut part), &target)?)
        });
        match scanned {
            Ok(()) => Ok(self.write(part, &target)?),
            Err(error) => {
                // What was written of it goes, too: it is left out as a whole.
                for (path, samples, bytes) in self.written.drain(before..) {
                    self.to.remove_segment(&path)?;
                    self.done.segments -= 1;
                    self.done.samples -= samples;
                    self.done.bytes -= bytes;
                }
                Err(error)
            }
        }
    }

    /// Writes what there is of a segment, or a window in memory.
    fn write(&mut self, part: Part, target: &Target) -> Result<()> {
        let part = part.builder.finish(part.start_ms, part.end_ms.max(part.start_ms));
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
        self.written.push((segment.path, samples, segment.bytes));
    }

    fn take_back(&mut self) -> Result<()> {
        self.written.drain(..).try_for_each(|(path, ..)| self.to.remove_segment(&path))
    }
}
