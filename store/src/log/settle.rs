//! What becomes of the logs of windows that nobody has open any more.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use ulid::Ulid;

use super::file::{self, HeaderError};
use super::readers::Replay;
use crate::catalog::Skipped;
use crate::error::{Error, IoContext, Result};
use crate::handle::Store;
use crate::segment::{self, Target};

/// What became of logs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Logs that are segments now.
    pub windows: usize,
    /// Their samples.
    pub samples: u64,
    /// Logs, or ends of logs, that cannot be read. They are in `quarantine`, but for those of a later version.
    pub skipped: Vec<Skipped>,
}

impl Store {
    /// Makes segments of the logs of windows that nobody has open any more: of a process that was killed, or of
    /// windows that could not be written when they closed.
    ///
    /// # Errors
    /// When the store is open for reading only, or the operating system refuses. Logs stay until they are segments.
    pub fn settle(&self) -> Result<Settled> {
        self.dir().require_writer()?;
        let _alone = self.maintenance();
        self.purge()?;
        let folder = self.dir().log();
        let mut settled = Settled::default();
        let (ids, strays) = file::list(&folder).context("read", &folder)?;
        let strays = strays.into_iter().map(|path| Skipped { path, reason: "not a log of Vesta".to_owned() });
        settled.skipped.extend(strays);
        for id in ids {
            if !self.open_logs().contains(id) && !self.is_replaced(id)? {
                self.settle_log(id, &file::path(&folder, id), &mut settled)?;
            }
        }
        Ok(settled)
    }

    /// Asked after it is known that nobody has the window open: whoever had may have written its segment meanwhile.
    fn is_replaced(&self, log: Ulid) -> Result<bool> {
        let mut state = self.state();
        state.catalog.refresh()?;
        Ok(state.catalog.replacement_of(log).is_some())
    }

    fn settle_log(&self, id: Ulid, path: &Path, settled: &mut Settled) -> Result<()> {
        let mut log = Replay::new(path.to_owned());
        match log.read_on() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            read => read.context("read", path)?,
        }
        let mut reason = log.skipped.take();
        let is_later = matches!(log.header, Some(HeaderError::Version(_)));
        let profile = log.profile();
        drop(log);
        if let Some(profile) = profile {
            let replaces = BTreeSet::from([id]);
            let write =
                |folder: &Path| segment::write(folder, &profile, Target { replaces, ..Target::default() });
            match self.install(write, |_| {}) {
                Ok(segment) => {
                    settled.windows += 1;
                    settled.samples += profile.samples();
                    if reason.is_none() {
                        return self.remove_log(id, &segment);
                    }
                }
                Err(Error::Unstorable(error)) => reason = Some(error),
                Err(error) => return Err(error),
            }
        }
        let Some(reason) = reason else { return self.delete_log(id) };
        let path = match is_later {
            true => path.to_owned(),
            false => self.dir().put_in_quarantine(path)?,
        };
        tracing::warn!(log = %path.display(), reason, "a log cannot be read to its end");
        settled.skipped.push(Skipped { path, reason });
        Ok(())
    }
}
