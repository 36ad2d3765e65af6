//! The rows of a segment within a range, some hundred thousand at a time, as profiles.

use std::ops::Range;
use std::path::Path;

use super::decode::{self, RowDecoder};
use super::folder::{LoadError, bytes_of, guarded, read_tables, source_of};
use super::rows::Batch;
use super::{Manifest, Table};
use crate::model::Profile;

/// Rows handed over at once: some 20 MB, and enough that what comes with each profile does not count.
const AT_ONCE: usize = 256 * 1024;
/// A sample is at most so long after the time of its row.
const REACH_MS: i64 = u16::MAX as i64;

/// Calls `each` with profiles of the segment's tables, each with other rows of it: all that may have samples within
/// `range` (half-open, Unix milliseconds), and others that were stored with them. At least one, whatever the range.
pub(crate) fn scan<E: From<LoadError>>(
    folder: &Path,
    manifest: &Manifest,
    range: &Range<i64>,
    mut each: impl FnMut(&Profile) -> Result<(), E>,
) -> Result<(), E> {
    let files = read_tables(folder, manifest, &Table::ALL_BUT_SAMPLES)?;
    let mut profile = guarded(|| decode::decode_all_but_samples(manifest, |table| bytes_of(&files, table)))?;
    drop(files);
    let source = source_of(folder, manifest, Table::Samples)?;
    let (file, mut batches) = guarded(|| {
        let file = decode::open_samples(manifest, source)?;
        let batches = file.batches_of(file.groups_within(range, REACH_MS))?;
        Ok((file, batches))
    })?;
    let mut decoder = RowDecoder::new(&profile);
    let mut batch = Batch::default();
    let mut is_first = true;
    loop {
        batch.clear();
        let more = guarded(|| {
            while batch.rows.len() < AT_ONCE {
                let Some((_, rows)) = batches.next(&file)? else { return Ok(false) };
                decoder.decode(&file.rows_of(&rows), manifest, &mut profile.strings, &mut batch)?;
            }
            Ok(true)
        })?;
        if is_first || !batch.rows.is_empty() {
            std::mem::swap(&mut profile.rows, &mut batch.rows);
            std::mem::swap(&mut profile.exact, &mut batch.exact);
            decode::sort_rows(&mut profile);
            each(&profile)?;
            std::mem::swap(&mut profile.rows, &mut batch.rows);
            std::mem::swap(&mut profile.exact, &mut batch.exact);
            // Accounts count once.
            profile.accounts.clear();
            is_first = false;
        }
        if !more {
            return Ok(());
        }
    }
}
