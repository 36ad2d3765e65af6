//! Small lists beside the segments, as JSON with a checksum, replaced as a whole.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::error::{IoContext, Result};
use crate::handle::Store;
use crate::segment::{sync_folder, write_file};

#[derive(Serialize, Deserialize)]
struct Checked<T> {
    /// CRC-32 of the compact JSON of `items`.
    crc32: u32,
    items: T,
}

fn crc32<T: Serialize>(items: &[T]) -> serde_json::Result<u32> {
    Ok(crc32fast::hash(&serde_json::to_vec(items)?))
}

/// The bytes of a list.
pub(crate) fn to_checked<T: Serialize>(items: &[T]) -> serde_json::Result<Vec<u8>> {
    let mut json = serde_json::to_vec_pretty(&Checked { crc32: crc32(items)?, items })?;
    json.push(b'\n');
    Ok(json)
}

/// The list in a file; an empty one where there is no file. `help`: what to do with a damaged one.
pub(crate) fn read_checked<T: Serialize + DeserializeOwned>(
    path: &Path,
    max_bytes: u64,
    help: &str,
) -> io::Result<Vec<T>> {
    let mut json = Vec::new();
    match fs::File::open(path).and_then(|file| file.take(max_bytes).read_to_end(&mut json)) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    }
    let damaged = |reason: &dyn std::fmt::Display| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{reason} ({help})"))
    };
    let Checked { crc32: expected, items }: Checked<Vec<T>> =
        serde_json::from_slice(&json).map_err(|error| damaged(&error))?;
    match crc32(&items) {
        Ok(found) if found == expected => Ok(items),
        _ => Err(damaged(&"its checksum is wrong")),
    }
}

impl Store {
    /// Replaces a file of the data directory as a whole.
    pub(crate) fn replace(&self, name: &Path, bytes: &[u8]) -> Result<()> {
        let path = self.path().join(name);
        let aside = self.dir().tmp().join(Ulid::new().to_string());
        write_file(&aside, bytes)?;
        fs::rename(&aside, &path).context("write", &path)?;
        sync_folder(self.path())
    }
}
