//! A segment's files on their way to the store.

use std::fs;
use std::io;
use std::path::Path;

use bytes::Bytes;
use ulid::Ulid;

use super::error::{RemoteError, Result};
use super::format::Entry;
use super::{Inner, folder_of};
use crate::segment::{FileSum, MANIFEST, SegmentInfo, Table};

/// Files up to this size are sent together, larger ones one by one: they are held in memory.
const SMALL: usize = 4 << 20;

/// What became of a segment that was to be uploaded.
pub(super) enum Upload {
    /// Its objects are there, and this is what a commit says of it.
    There(Entry),
    /// It was merged or has expired meanwhile.
    Vanished,
    /// Its files are not what was written.
    Bad(String),
}

impl Inner {
    /// Sends a segment's files. Until a commit names them they do not count.
    pub(super) fn upload(&self, segment: &SegmentInfo) -> Result<Upload> {
        let files = match read(&segment.path, segment) {
            Ok(Ok(files)) => files,
            Ok(Err(reason)) => return Ok(Upload::Bad(reason)),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !segment.path.exists() => {
                return Ok(Upload::Vanished);
            }
            Err(error) => {
                return Err(RemoteError::Local(format!("{}: {error}", segment.path.display())));
            }
        };
        let mut manifest = segment.manifest.clone();
        let sum = |bytes: &Bytes| FileSum { bytes: bytes.len() as u64, crc32: crc32fast::hash(bytes) };
        manifest.files =
            files.iter().map(|(table, bytes)| (table.file_name().to_owned(), sum(bytes))).collect();
        let json = manifest.to_json().map_err(|error| RemoteError::Local(error.to_string()))?;
        let total = files.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>() + json.len() as u64;
        let entry = Entry { id: segment.id, bytes: total, segment: manifest };

        let folder = folder_of(segment.id, segment.min_ms());
        let name = |file: &str| format!("{folder}/{file}");
        let (small, large): (Vec<_>, Vec<_>) = files.into_iter().partition(|(_, bytes)| bytes.len() <= SMALL);
        for (table, bytes) in large {
            self.client.put(&name(table.file_name()), bytes)?;
        }
        self.client
            .put_all(small.into_iter().map(|(table, bytes)| (name(table.file_name()), bytes)).collect())?;
        // Last: a folder with a manifest has everything else.
        self.client.put(&name(MANIFEST), json.into())?;
        Ok(Upload::There(entry))
    }
}

/// A segment's files, if they are what its manifest says.
fn read(
    folder: &Path,
    segment: &SegmentInfo,
) -> io::Result<std::result::Result<Vec<(Table, Bytes)>, String>> {
    let files = &segment.manifest.files;
    let mut read = Vec::new();
    for table in Table::EVERY {
        let name = table.file_name();
        let path = folder.join(name);
        // One whose manifest was made from its metadata names no files.
        let is_its = if files.is_empty() { path.exists() } else { files.contains_key(name) };
        if !is_its {
            continue;
        }
        let bytes = Bytes::from(fs::read(&path)?);
        if let Some(sum) = files.get(name)
            && (sum.bytes != bytes.len() as u64 || sum.crc32 != crc32fast::hash(&bytes))
        {
            return Ok(Err(format!("{name}: its checksum is wrong, the file has been changed")));
        }
        read.push((table, bytes));
    }
    Ok(Ok(read))
}

/// Names of all objects that a segment may have.
pub(super) fn objects_of(id: Ulid, min_ms: i64) -> impl Iterator<Item = String> {
    let folder = folder_of(id, min_ms);
    // The manifest first: what is left of the folder after a crash is none.
    let files = std::iter::once(MANIFEST).chain(Table::EVERY.into_iter().map(Table::file_name));
    files.map(move |file| format!("{folder}/{file}"))
}
