//! What stays as it is when nothing but the times of a segment becomes coarser: those files are copied.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use parquet::errors::ParquetError;
use parquet::file::metadata::{
    FileMetaData, FooterTail, KeyValue, PageIndexPolicy, ParquetMetaData, ParquetMetaDataBuilder,
    ParquetMetaDataOptions, ParquetMetaDataReader, ParquetMetaDataWriter,
};
use parquet::file::reader::Length;

use super::file::one_line;
use super::folder::{CopyError, LoadError, guarded, refused, verify_sum};
use super::manifest::FileSum;
use super::rollup::Rollups;
use super::source::SharedFile;
use super::table_writer::SummedFile;
use super::{CHUNK_MS, ROLLUP_LEVEL, SCHEMA_VERSION, SegmentInfo, Table, Target};
use crate::error::{Error, IoContext};
use crate::pace::Pace;

/// Bytes at the end of a Parquet file that say how long its footer is.
const TAIL_BYTES: u64 = 8;

/// The one segment that another is made of, with tables that are those of the other, too.
pub(super) struct Same<'a> {
    pub(super) segment: &'a SegmentInfo,
    /// Rollups, and functions over time, that hold for the other as they are. They name the segment that they are in, so
    /// their footers are new.
    pub(super) rollups: Vec<Table>,
}

impl<'a> Same<'a> {
    /// None if there are several segments, or the one has other tables than what becomes of it. `is_renamed` says that
    /// its stacks get names.
    pub(super) fn of(segments: &'a [Arc<SegmentInfo>], target: &Target, is_renamed: bool) -> Option<Self> {
        // Version 1 had tables in the order of arrival.
        let [segment] = segments else { return None };
        if segment.manifest.schema_version == 1 || is_renamed {
            return None;
        }
        Some(Self { segment, rollups: rollups_that_stay(segment, target) })
    }
}

/// All rollups that the coarser segment is to have, if the segment's own are the same; else none.
///
/// They are where no sample changes its step: where the samples' times, old and new, are within steps of five minutes. Exact
/// times are not, as a row's may lie in two of them. A damaged one is not copied, but made anew from samples.
fn rollups_that_stay(segment: &SegmentInfo, target: &Target) -> Vec<Table> {
    let manifest = &segment.manifest;
    let (own_ms, new_ms) = (manifest.resolution_ms, target.resolution_ms);
    let is_within = own_ms > 0 && new_ms > 0 && new_ms % own_ms == 0 && CHUNK_MS % new_ms == 0;
    let has_rollups = manifest.level.min(target.level) >= ROLLUP_LEVEL;
    if manifest.schema_version != SCHEMA_VERSION || !is_within || !has_rollups {
        return Vec::new();
    }
    let tables: Vec<_> = Rollups::tables(new_ms).map(|(table, _)| table).chain([Table::Functions]).collect();
    let is_whole = |table: &Table| {
        manifest.files.contains_key(table.file_name()) && verify_sum(&segment.path, manifest, *table).is_ok()
    };
    if tables.iter().all(is_whole) { tables } else { Vec::new() }
}

/// Copies a table's file into a folder, with this key-value metadata in its footer, and brings it to disk. Its pages stay
/// where they are.
pub(super) fn copy_with_metadata(
    segment: &SegmentInfo,
    table: Table,
    folder: &Path,
    metadata: &[(&'static str, String)],
    pace: &Pace,
) -> Result<FileSum, CopyError> {
    let name = table.file_name();
    let (from, to) = (segment.path.join(name), folder.join(name));
    let unreadable = |error: &io::Error| CopyError::Input(refused(&segment.path, name, error));
    let bad = |reason: String| CopyError::Input(LoadError::Bad(format!("{name}: {reason}")));
    let source = SharedFile::open(&from).map_err(|error| unreadable(&error))?;
    let known = guarded(|| read_footer(&source).map_err(|error| format!("{name}: {}", one_line(&error))))?;
    let mut pages = File::open(&from).map_err(|error| unreadable(&error))?.take(known.1);
    let mut target = SummedFile::create(&to, pace)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match pages.read(&mut buffer).map_err(|error| unreadable(&error))? {
            0 => break,
            read => target.write_all(&buffer[..read]).context("write", &to)?,
        }
    }
    if target.bytes() != known.1 {
        return Err(bad("shorter than it was".to_owned()));
    }
    let footer = with_metadata(&known.0, metadata);
    let written = ParquetMetaDataWriter::new(&mut target, &footer).finish();
    written.map_err(|error| Error::Unstorable(format!("{table:?}: {error}")))?;
    Ok(target.finish(&to)?)
}

/// A file's footer, without what it says of pages, and where it begins.
fn read_footer(source: &SharedFile) -> Result<(ParquetMetaData, u64), ParquetError> {
    let len = source.len();
    let mut tail = [0; TAIL_BYTES as usize];
    source.read_exact_at(&mut tail, len.saturating_sub(TAIL_BYTES))?;
    let footer_bytes = FooterTail::try_new(&tail)?.metadata_length() as u64 + TAIL_BYTES;
    let start = len.checked_sub(footer_bytes).ok_or_else(|| ParquetError::EOF("no footer".to_owned()))?;
    // All that it says of encodings, which readers do not need but writers have to repeat.
    let options = ParquetMetaDataOptions::new().with_encoding_stats_as_mask(false);
    let reader = ParquetMetaDataReader::new()
        .with_page_index_policy(PageIndexPolicy::Skip)
        .with_metadata_options(Some(options));
    Ok((reader.parse_and_finish(source)?, start))
}

/// A footer with other key-value metadata.
fn with_metadata(known: &ParquetMetaData, metadata: &[(&'static str, String)]) -> ParquetMetaData {
    let own = known.file_metadata();
    let pairs = metadata.iter().map(|(key, value)| KeyValue::new((*key).to_owned(), value.clone()));
    let own = FileMetaData::new(
        own.version(),
        own.num_rows(),
        own.created_by().map(str::to_owned),
        Some(pairs.collect()),
        own.schema_descr_ptr(),
        own.column_orders().cloned(),
    );
    ParquetMetaDataBuilder::new(own).set_row_groups(known.row_groups().to_vec()).build()
}
