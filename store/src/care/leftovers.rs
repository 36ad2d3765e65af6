//! What nobody needs any more.

use std::fs;
use std::io;
use std::path::Path;

use crate::catalog::DataDir;
use crate::error::{IoContext, Result};
use crate::handle::Store;

/// What a writer that ended early left behind. Opening a data directory for writing removes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Segments half written or half deleted, and other temporary files.
    pub unfinished: usize,
    /// Segments that others replace.
    pub replaced: usize,
    /// Logs of windows that are closed, or were never: those become segments.
    pub logs: usize,
    /// Bytes of all of these.
    pub bytes: u64,
    /// Damaged segments and logs that were put aside. They stay.
    pub quarantined: usize,
    /// Their bytes.
    pub quarantined_bytes: u64,
}

/// What lies in a data directory and is not needed. Of one in use, some of it is work that is under way.
///
/// # Errors
/// When it is no data directory, or cannot be read.
pub fn leftovers(path: &Path) -> Result<Leftovers> {
    let dir = DataDir::open(path)?;
    let mut found = Leftovers::default();
    let mut bytes = 0;
    found.unfinished = count(&dir.tmp(), &mut bytes)?;
    found.logs = count(&dir.log(), &mut bytes)?;
    for segment in Store::open_reader(path)?.replaced()? {
        found.replaced += 1;
        bytes += segment.bytes();
    }
    found.bytes = bytes;
    found.quarantined = count(&dir.quarantine(), &mut found.quarantined_bytes)?;
    Ok(found)
}

/// Entries of a folder, and the bytes of all files below; nothing if it is missing.
fn count(folder: &Path, bytes: &mut u64) -> Result<usize> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries.context("read", folder)?,
    };
    let mut found = 0;
    for entry in entries {
        let path = entry.context("read", folder)?.path();
        found += 1;
        // What vanishes meanwhile has no size.
        match fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_dir() => drop(count(&path, bytes)?),
            Ok(meta) => *bytes += meta.len(),
            Err(_) => {}
        }
    }
    Ok(found)
}
