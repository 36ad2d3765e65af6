//! Writing the log of an open window.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ulid::Ulid;

use super::part::{self, Marks};
use super::{MAX_LOG_BYTES, MAX_LOGS, file};
use crate::error::{Error, IoContext, Result};
use crate::handle::Store;
use crate::model::{Profile, ProfileBuilder};
use crate::segment::{self, SegmentInfo, Target, sync_folder};

/// Logs of windows that this process has open.
#[derive(Clone, Debug, Default)]
pub(crate) struct OpenLogs(Arc<Mutex<BTreeSet<Ulid>>>);

impl OpenLogs {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<Ulid>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a window is still open.
    pub(crate) fn contains(&self, id: Ulid) -> bool {
        self.lock().contains(&id)
    }
}

/// The log of an open window. What was added to the window before [`WindowLog::append`] is on disk when it returns,
/// and in the answers to queries, of this process and of others.
///
/// A log that is dropped without [`WindowLog::close`] stays, and becomes a segment by [`Store::settle`] or when the
/// data directory is next opened for writing.
#[derive(Debug)]
pub struct WindowLog {
    folder: PathBuf,
    start_ms: i64,
    id: Ulid,
    open: OpenLogs,
    file: Option<File>,
    /// Bytes of whole records, and of the header.
    bytes: u64,
    marks: Marks,
    buffer: Vec<u8>,
    /// Why nothing can be added any more.
    broken: Option<String>,
}

impl Store {
    /// Opens a log for the window that starts at `start_ms`, Unix time. Nothing is written before there is something to
    /// log.
    ///
    /// # Errors
    /// When the store is open for reading only, or too many logs wait to become segments.
    pub fn open_log(&self, start_ms: i64) -> Result<WindowLog> {
        self.dir().require_writer()?;
        let folder = self.dir().log();
        let waiting = file::list(&folder).context("read", &folder)?.0.len();
        if waiting >= MAX_LOGS {
            return Err(Error::Unstorable(format!("{waiting} logs wait to become segments")));
        }
        let start = u64::try_from(start_ms).map_err(|_| Error::Unstorable("time before 1970".into()))?;
        let id = Ulid::from_parts(start, Ulid::new().random());
        let open = self.open_logs().clone();
        open.lock().insert(id);
        Ok(WindowLog {
            folder,
            start_ms,
            id,
            open,
            file: None,
            bytes: 0,
            marks: Marks::default(),
            buffer: Vec::new(),
            broken: None,
        })
    }
}

impl WindowLog {
    /// Start of its window, Unix milliseconds.
    pub fn start_ms(&self) -> i64 {
        self.start_ms
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Brings to disk what was added to `window`, a [`ProfileBuilder::logged`] that is always the same, since the last
    /// time that this succeeded. The window covers the time up to `end_ms` by now.
    ///
    /// # Errors
    /// When the operating system refuses, or the log is full. What was not logged is logged the next time; after
    /// an error in bringing it to disk nothing more is, since nobody knows then what is there.
    pub fn append(&mut self, window: &mut ProfileBuilder, end_ms: i64) -> Result<()> {
        if let Some(reason) = &self.broken {
            return Err(Error::Unstorable(format!("its log takes no more: {reason}")));
        }
        self.buffer.clear();
        if self.file.is_none() {
            self.buffer.extend(file::header(self.start_ms));
        }
        let at = file::begin_record(&mut self.buffer);
        let Some(marks) = part::encode(window, self.marks, end_ms, &mut self.buffer) else { return Ok(()) };
        let bytes = self.bytes + self.buffer.len() as u64;
        if bytes > MAX_LOG_BYTES {
            return Err(Error::Unstorable(format!("the log of a window has {MAX_LOG_BYTES} bytes at most")));
        }
        file::end_record(&mut self.buffer, at);
        self.write()?;
        self.bytes = bytes;
        self.marks = marks;
        window.clear_journal();
        Ok(())
    }

    fn write(&mut self) -> Result<()> {
        let path = file::path(&self.folder, self.id);
        let is_new = self.file.is_none();
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                fs::create_dir_all(&self.folder).context("create", &self.folder)?;
                let created = OpenOptions::new().append(true).create_new(true).open(&path);
                self.file.insert(created.context("create", &path)?)
            }
        };
        if let Err(error) = file.write_all(&self.buffer) {
            self.take_back(&path);
            return Err(error).context("write", &path);
        }
        let synced = if is_new {
            let parent = self.folder.parent().unwrap_or(&self.folder);
            let folders =
                || File::open(&self.folder)?.sync_all().and_then(|()| File::open(parent)?.sync_all());
            file.sync_all().and_then(|()| folders())
        } else {
            file.sync_data()
        };
        synced.context("bring to disk", &path).inspect_err(|error| self.broken = Some(error.to_string()))
    }

    /// Cuts off half a record: what follows it could not be read.
    fn take_back(&mut self, path: &Path) {
        let cut = match &self.file {
            Some(file) if self.bytes > 0 => file.set_len(self.bytes),
            // Not even the header is sure to be there.
            _ => fs::remove_file(path).map(|()| self.file = None),
        };
        if let Err(error) = cut {
            self.broken = Some(format!("half a record cannot be cut off: {error}"));
        }
    }

    /// Writes the window as a segment, to which its log gives way: a query sees one of them, never both and never none.
    ///
    /// # Errors
    /// When the profile does not fit the format, or writing fails. What was logged stays.
    pub fn close(self, store: &Store, profile: &Profile) -> Result<SegmentInfo> {
        let replaces = BTreeSet::from([self.id]);
        let write = |folder: &Path| segment::write(folder, profile, Target { replaces, ..Target::default() });
        let segment = store.install(write, |_| {})?;
        if self.file.is_some() {
            // The samples are there once; the next purge tries again.
            if let Err(error) = store.remove_log(self.id, &segment) {
                tracing::warn!(%error, "a log stays beside its segment for now");
            }
        }
        Ok(segment)
    }
}

impl Drop for WindowLog {
    fn drop(&mut self) {
        self.open.lock().remove(&self.id);
    }
}

impl Store {
    /// Deletes a log once the segment that replaces it is sure to stay.
    pub(crate) fn remove_log(&self, id: Ulid, segment: &SegmentInfo) -> Result<()> {
        sync_folder(segment.path.parent().unwrap_or(&segment.path))?;
        sync_folder(&self.dir().segments())?;
        self.delete_log(id)
    }

    pub(super) fn delete_log(&self, id: Ulid) -> Result<()> {
        let folder = self.dir().log();
        let path = file::path(&folder, id);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).context("remove", &path),
            _ => sync_folder(&folder),
        }
    }

    /// Deletes the logs that segments replace. It comes before anything that could delete these segments, and on disk,
    /// too: else what they replaced would count again.
    pub(crate) fn purge_logs(&self) -> Result<()> {
        let folder = self.dir().log();
        let logs = file::list(&folder).context("read", &folder)?.0;
        if logs.is_empty() {
            return Ok(());
        }
        let replaced: Vec<_> = {
            let state = self.state();
            logs.into_iter().filter_map(|id| Some((id, state.catalog.replacement_of(id)?))).collect()
        };
        replaced.into_iter().try_for_each(|(id, segment)| self.remove_log(id, &segment))
    }
}
