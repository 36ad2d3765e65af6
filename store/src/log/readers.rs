//! Reading logs: each from where it was last read to.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ulid::Ulid;

use super::file::{self, HeaderError, LogFile, ReadError, Tail};
use super::part;
use crate::catalog::Skipped;
use crate::error::{IoContext, Result};
use crate::model::{Profile, ProfileBuilder};

/// The logs of a data directory as last seen.
#[derive(Debug)]
pub(crate) struct Readers {
    folder: PathBuf,
    logs: BTreeMap<Ulid, Replay>,
}

impl Readers {
    /// The logs in a folder, which may be missing; nothing is read yet.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, logs: BTreeMap::new() }
    }

    /// Looks for logs that came and went, and reads on in the others.
    pub(crate) fn refresh(&mut self) -> Result<()> {
        let ids = file::list(&self.folder).context("read", &self.folder)?.0;
        self.logs.retain(|id, _| ids.binary_search(id).is_ok());
        for id in ids {
            let log = self.logs.entry(id).or_insert_with(|| Replay::new(file::path(&self.folder, id)));
            match log.read_on() {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => drop(self.logs.remove(&id)),
                Err(error) => log.skip(error.to_string()),
            }
        }
        Ok(())
    }

    /// Whether none was deleted since: then no segment that is not known yet has what one of them has.
    pub(crate) fn are_still_there(&self) -> bool {
        self.logs.values().all(|log| fs::metadata(log.path()).is_ok())
    }

    /// The windows of all logs but those that are replaced.
    pub(crate) fn windows(&mut self, is_replaced: impl Fn(Ulid) -> bool) -> Vec<Arc<Profile>> {
        let logs = self.logs.iter_mut().filter(|(id, _)| !is_replaced(**id));
        logs.filter_map(|(_, log)| log.profile()).collect()
    }

    /// Logs that cannot be read, or not to their end.
    pub(crate) fn skipped(&self) -> Vec<Skipped> {
        let skipped =
            |log: &Replay| Some(Skipped { path: log.path().to_owned(), reason: log.skipped.clone()? });
        self.logs.values().filter_map(skipped).collect()
    }

    /// How many there are, and their bytes.
    pub(crate) fn usage(&self) -> (usize, u64) {
        let bytes = |log: &Replay| fs::metadata(log.path()).map_or(0, |file| file.len());
        (self.logs.len(), self.logs.values().map(bytes).sum())
    }
}

/// A window as its log tells it, so far.
pub(super) struct Replay {
    file: LogFile,
    window: ProfileBuilder,
    start_ms: Option<i64>,
    end_ms: i64,
    /// Records read.
    parts: u64,
    profile: Option<Arc<Profile>>,
    /// Why not all of it is read.
    pub(super) skipped: Option<String>,
    /// What is wrong with its header.
    pub(super) header: Option<HeaderError>,
}

impl std::fmt::Debug for Replay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replay").field("file", &self.file).field("parts", &self.parts).finish_non_exhaustive()
    }
}

impl Replay {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            file: LogFile::new(path),
            window: ProfileBuilder::default(),
            start_ms: None,
            end_ms: 0,
            parts: 0,
            profile: None,
            skipped: None,
            header: None,
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Reads what was added. What is wrong with the log's content is told by `skipped`.
    pub(super) fn read_on(&mut self) -> io::Result<()> {
        if !self.file.has_changed()? || self.skipped.is_some() {
            return Ok(());
        }
        let Self { file, window, start_ms, end_ms, parts, .. } = self;
        let before = *parts;
        let take = |content: &[u8]| {
            *end_ms = part::decode(content, window)?.max(*end_ms);
            *parts += 1;
            Ok(())
        };
        let tail = file.read(|start| *start_ms = Some(start), take)?;
        if self.parts > before {
            self.profile = None;
        }
        self.header = None;
        match tail {
            Ok(Tail::Clean | Tail::Torn) | Err(ReadError::Header(HeaderError::Torn)) => {}
            Ok(Tail::Damaged) => self.skip(format!("damaged after {} records", self.parts)),
            Err(ReadError::Record(reason)) => self.skip(format!("record {}: {reason}", self.parts + 1)),
            Err(ReadError::Header(error)) => {
                self.skip(match error {
                    HeaderError::Version(version) => format!(
                        "version {version} of the log; this version of Vesta reads {}",
                        super::LOG_VERSION
                    ),
                    _ => "not a log of Vesta, or damaged at its start".to_owned(),
                });
                self.header = Some(error);
            }
        }
        Ok(())
    }

    fn skip(&mut self, reason: String) {
        self.skipped = Some(reason);
    }

    /// The window; none while nothing was logged.
    pub(super) fn profile(&mut self) -> Option<Arc<Profile>> {
        let start_ms = self.start_ms.filter(|_| self.parts > 0)?;
        let finish = || Arc::new(self.window.clone().finish(start_ms, self.end_ms.max(start_ms)));
        Some(self.profile.get_or_insert_with(finish).clone())
    }
}
