//! A segment's folder: written aside and whole, read with its checksums.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use bytes::Bytes;

use super::file::TableFile;
use super::manifest::{self, FileSum};
use super::samples::SamplesFile;
use super::source::{SharedFile, Source};
use super::{MAX_FILE_BYTES, Manifest, SCHEMA_VERSION, Table, decode};
use crate::error::{Error, IoContext, Result};
use crate::model::Profile;

/// Why a segment could not be read.
#[derive(Debug)]
pub(crate) enum LoadError {
    /// Its folder is gone: merged into another segment, or past its retention.
    Vanished,
    /// It is damaged, foreign or of an unknown version, and will stay so.
    Bad(String),
    /// The operating system refused; it may not the next time.
    Refused(String),
}

/// Writes a file and brings it to disk.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = File::create_new(path).context("create", path)?;
    file.write_all(bytes).context("write", path)?;
    file.sync_all().context("bring to disk", path)
}

/// Brings a folder's entries to disk.
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|file| file.sync_all()).context("bring to disk", folder)
}

/// Reads a segment's manifest, or makes one from the samples file. With it come the bytes of all files.
pub(crate) fn read_manifest(folder: &Path) -> std::result::Result<(Manifest, u64), LoadError> {
    let json = read_file(folder, manifest::FILE_NAME, manifest::MAX_BYTES);
    let known = match json {
        Ok(json) => Manifest::from_json(&json),
        Err(LoadError::Bad(_)) => None,
        Err(error) => return Err(error),
    };
    let manifest = match known {
        Some(manifest) => manifest,
        None => {
            tracing::debug!(segment = %folder.display(), "no manifest, reading the samples file");
            let name = Table::Samples.file_name();
            let file = SharedFile::open(&folder.join(name)).map_err(|error| refused(folder, name, &error))?;
            guarded(|| {
                let file = TableFile::open(Table::Samples, Source::Disk(file))?;
                Manifest::from_metadata(|key| file.metadata(key), file.rows() as u64)
                    .map_err(|reason| file.bad(reason))
            })?
        }
    };
    manifest.check().map_err(LoadError::Bad)?;
    let size = |name: &str| fs::metadata(folder.join(name)).map_or(0, |meta| meta.len());
    let bytes =
        Table::EVERY.iter().map(|table| size(table.file_name())).sum::<u64>() + size(manifest::FILE_NAME);
    Ok((manifest, bytes))
}

/// Whether a later version of Vesta wrote a segment that cannot be read: then it is not damaged.
pub(crate) fn is_of_later_version(folder: &Path) -> bool {
    let Ok(json) = read_file(folder, manifest::FILE_NAME, manifest::MAX_BYTES) else { return false };
    let manifest: Option<serde_json::Value> = serde_json::from_slice(&json).ok();
    let version = manifest.and_then(|manifest| manifest["segment"]["schema_version"].as_u64());
    version.is_some_and(|version| version > u64::from(SCHEMA_VERSION))
}

/// Copies a segment's files into the new folder `to`, verifying their checksums, and brings them to disk. Returns the
/// manifest and the bytes written.
pub(crate) fn copy(
    from: &Path,
    manifest: &Manifest,
    to: &Path,
) -> std::result::Result<(Manifest, u64), CopyError> {
    fs::create_dir(to).context("create", to)?;
    let mut total = 0;
    for table in Table::EVERY.into_iter().filter(|table| manifest.files.contains_key(table.file_name())) {
        total += copy_file(from, manifest, table, &to.join(table.file_name()))?;
    }
    let json = manifest.to_json().map_err(|error| Error::Unstorable(error.to_string()))?;
    write_file(&to.join(manifest::FILE_NAME), &json)?;
    sync_folder(to)?;
    Ok((manifest.clone(), total + json.len() as u64))
}

/// Copies a table's file, which need not fit into memory, and brings it to disk. Returns its length.
pub(super) fn copy_file(
    from: &Path,
    manifest: &Manifest,
    table: Table,
    to: &Path,
) -> std::result::Result<u64, CopyError> {
    let name = table.file_name();
    let unreadable = |error: &io::Error| CopyError::Input(refused(from, name, error));
    let mut source = File::open(from.join(name)).map_err(|error| unreadable(&error))?;
    let mut target = File::create_new(to).context("create", to)?;
    let mut hasher = crc32fast::Hasher::new();
    let mut bytes = 0;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) => return Err(unreadable(&error)),
        };
        hasher.update(&buffer[..read]);
        target.write_all(&buffer[..read]).context("write", to)?;
        bytes += read as u64;
    }
    let sum = FileSum { bytes, crc32: hasher.finalize() };
    compare_sums(manifest, table, sum).map_err(|reason| CopyError::Input(LoadError::Bad(reason)))?;
    target.sync_all().context("bring to disk", to)?;
    Ok(bytes)
}

/// Why a segment was not copied.
#[derive(Debug)]
pub(crate) enum CopyError {
    /// It cannot be read.
    Input(LoadError),
    /// The copy cannot be written.
    Output(Error),
}

impl From<LoadError> for CopyError {
    fn from(error: LoadError) -> Self {
        Self::Input(error)
    }
}

impl From<Error> for CopyError {
    fn from(error: Error) -> Self {
        Self::Output(error)
    }
}

/// Reads a rollup of a segment, with its tables: rows have the start of their step as their time, and neither
/// processes nor threads. None if the segment does not have it.
pub(crate) fn load_rollup(
    folder: &Path,
    manifest: &Manifest,
    table: Table,
) -> std::result::Result<Option<Profile>, LoadError> {
    if !manifest.files.contains_key(table.file_name()) {
        return Ok(None);
    }
    let rollup = source_of(folder, manifest, table)?;
    let files = read_tables(folder, manifest, &Table::ALL_BUT_SAMPLES)?;
    guarded(|| decode::decode_rollup(manifest, table, rollup, |table| bytes_of(&files, table))).map(Some)
}

/// Reads a segment's series and accounts: who was sampled, without any stacks.
pub(crate) fn load_series(folder: &Path, manifest: &Manifest) -> std::result::Result<Profile, LoadError> {
    let files = read_tables(folder, manifest, &[Table::Series, Table::Accounts])?;
    guarded(|| decode::decode_series(manifest, |table| bytes_of(&files, table)))
}

/// The frames of the segment in `folder`, and the binaries they lie in; nothing else.
pub(crate) fn load_frames(folder: &Path, manifest: &Manifest) -> std::result::Result<Profile, LoadError> {
    let files = read_tables(folder, manifest, &[Table::Frames, Table::Binaries])?;
    guarded(|| decode::decode_frames(manifest, |table| bytes_of(&files, table)))
}

/// Reads a segment without the rows of its samples.
pub(crate) fn load_all_but_samples(
    folder: &Path,
    manifest: &Manifest,
) -> std::result::Result<Profile, LoadError> {
    let files = read_tables(folder, manifest, &Table::ALL_BUT_SAMPLES)?;
    guarded(|| decode::decode_all_but_samples(manifest, |table| bytes_of(&files, table)))
}

/// Opens a segment's samples, or a rollup. `is_verified` says that its checksum has been found right before.
pub(crate) fn open_samples(
    folder: &Path,
    table: Table,
    manifest: &Manifest,
    is_verified: bool,
) -> std::result::Result<SamplesFile, LoadError> {
    let name = table.file_name();
    if !is_verified {
        verify_sum(folder, manifest, table)?;
    }
    let opened = catch_unwind(|| SamplesFile::open(folder, table, manifest));
    let opened = opened.unwrap_or_else(|_| Ok(Err(GAVE_UP.to_owned())));
    opened.map_err(|error| refused(folder, name, &error))?.map_err(LoadError::Bad)
}

/// Longest file of samples that is read at once.
const MAX_AT_ONCE: u64 = 8 << 20;

/// A table of a segment, its checksum verified: one of samples or a rollup stays on disk if it is large.
pub(super) fn source_of(
    folder: &Path,
    manifest: &Manifest,
    table: Table,
) -> std::result::Result<Source, LoadError> {
    let name = table.file_name();
    let path = folder.join(name);
    let len = fs::metadata(&path).map_err(|error| refused(folder, name, &error))?.len();
    if !table.is_long() || len <= MAX_AT_ONCE {
        let files = read_tables(folder, manifest, &[table])?;
        return Ok(bytes_of(&files, table).into());
    }
    if len > table.max_bytes() {
        return Err(LoadError::Bad(format!("{name}: longer than {} bytes", table.max_bytes())));
    }
    verify_sum(folder, manifest, table)?;
    SharedFile::open(&path).map(Source::Disk).map_err(|error| refused(folder, name, &error))
}

/// Reads files of a segment and verifies their checksums.
pub(super) fn read_tables(
    folder: &Path,
    manifest: &Manifest,
    tables: &[Table],
) -> std::result::Result<Vec<(Table, Bytes)>, LoadError> {
    let mut files = Vec::with_capacity(tables.len());
    for &table in tables {
        let bytes = read_file(folder, table.file_name(), MAX_FILE_BYTES)?;
        let sum = FileSum { bytes: bytes.len() as u64, crc32: crc32fast::hash(&bytes) };
        compare_sums(manifest, table, sum).map_err(LoadError::Bad)?;
        files.push((table, bytes));
    }
    Ok(files)
}

pub(super) fn bytes_of(files: &[(Table, Bytes)], table: Table) -> Bytes {
    files.iter().find(|(t, _)| *t == table).map_or_else(Bytes::new, |(_, bytes)| bytes.clone())
}

/// Whether a table's file has its checksum.
pub(super) fn verify_sum(
    folder: &Path,
    manifest: &Manifest,
    table: Table,
) -> std::result::Result<(), LoadError> {
    let name = table.file_name();
    let sum = file_sum(&folder.join(name)).map_err(|error| refused(folder, name, &error))?;
    compare_sums(manifest, table, sum).map_err(LoadError::Bad)
}

/// Length and checksum of a file, which need not fit into memory.
fn file_sum(path: &Path) -> io::Result<FileSum> {
    let mut file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a file"));
    }
    let mut hasher = crc32fast::Hasher::new();
    let mut bytes = 0;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(FileSum { bytes, crc32: hasher.finalize() }),
            read => {
                hasher.update(&buffer[..read]);
                bytes += read as u64;
            }
        }
    }
}

fn compare_sums(manifest: &Manifest, table: Table, found: FileSum) -> std::result::Result<(), String> {
    let name = table.file_name();
    let Some(expected) = manifest.files.get(name) else {
        // Made from metadata: no checksums, every value is checked all the same.
        return if manifest.files.is_empty() { Ok(()) } else { Err(format!("{name}: not in the manifest")) };
    };
    if found.bytes != expected.bytes {
        return Err(format!("{name}: {} bytes long, it was written with {}", found.bytes, expected.bytes));
    }
    if found.crc32 != expected.crc32 {
        return Err(format!("{name}: its checksum is wrong, the file has been changed"));
    }
    Ok(())
}

/// Why there is no answer from a file on which the Parquet reader panics.
const GAVE_UP: &str = "the Parquet reader gave up on it";

/// Runs the decoder. The Parquet reader panics on some damaged files that come without checksums.
pub(super) fn guarded<T>(
    decode: impl FnOnce() -> std::result::Result<T, String>,
) -> std::result::Result<T, LoadError> {
    let result = catch_unwind(AssertUnwindSafe(decode));
    result.unwrap_or_else(|_| Err(GAVE_UP.to_owned())).map_err(LoadError::Bad)
}

fn read_file(folder: &Path, name: &str, limit: u64) -> std::result::Result<Bytes, LoadError> {
    let path = folder.join(name);
    let read = || -> io::Result<Vec<u8>> {
        let file = File::open(&path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("not a file"));
        }
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) if bytes.len() as u64 > limit => {
            Err(LoadError::Bad(format!("{name}: longer than {limit} bytes")))
        }
        Ok(bytes) => Ok(Bytes::from(bytes)),
        Err(error) => Err(refused(folder, name, &error)),
    }
}

/// What an error with one of a segment's files means.
pub(super) fn refused(folder: &Path, name: &str, error: &io::Error) -> LoadError {
    if error.kind() != io::ErrorKind::NotFound {
        return LoadError::Refused(format!("{name}: {error}"));
    }
    match fs::metadata(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => LoadError::Vanished,
        _ => LoadError::Bad(format!("{name}: the file is missing")),
    }
}
