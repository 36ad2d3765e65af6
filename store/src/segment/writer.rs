//! Writing a segment: rows come in their order, one by one, and go to disk as they come.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};

use super::columns::schema;
use super::encode::{self, RollupColumns, SampleColumns};
use super::folder::CopyError;
use super::functions::{FunctionRow, Functions};
use super::manifest::{self, Manifest};
use super::order::span_of;
use super::rollup::{RollupRow, Rollups};
use super::rows::Batch;
use super::same::{Same, copy_with_metadata};
use super::statistics::{self, Counter};
use super::table_writer::TableWriter;
use super::{MAX_ROWS, MAX_SUM, ROLLUP_LEVEL, SCHEMA_VERSION, Table, chunk_ms};
use crate::error::{Error, IoContext, Result};
use crate::model::{Exact, Profile, Row, StringTable};
use crate::pace::Pace;

/// Rows encoded at once.
const BATCH: usize = 32 * 1024;

/// What a segment is to be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Target {
    pub(crate) level: u8,
    /// Length of the time buckets; 0 keeps times as they are.
    pub(crate) resolution_ms: i64,
    pub(crate) replaces: std::collections::BTreeSet<ulid::Ulid>,
}

/// The rollups being written.
struct RollupWriters<'a> {
    /// With rows that are not yet encoded.
    tables: BTreeMap<Table, (TableWriter<'a>, RollupColumns)>,
    /// By series.
    periods: Vec<i64>,
}

impl RollupWriters<'_> {
    /// Takes rows that stand together: an hour or a day of a group of series.
    fn write(&mut self, table: Table, rows: &[RollupRow], strings: &StringTable) -> Result<()> {
        let Some((writer, columns)) = self.tables.get_mut(&table) else { return Ok(()) };
        for row in rows {
            columns.push(row, self.periods.get(row.series.0 as usize).copied().unwrap_or(0));
            if columns.len() >= BATCH {
                writer.write(&columns.take(strings))?;
            }
        }
        if writer.is_long_with(columns.len()) {
            writer.write(&columns.take(strings))?;
            writer.end_row_group()?;
        }
        Ok(())
    }
}

/// A segment being written into a folder of its own.
pub(super) struct SegmentWriter<'a> {
    folder: PathBuf,
    target: Target,
    pace: &'a Pace,
    same: Option<&'a Same<'a>>,
    samples: TableWriter<'a>,
    columns: SampleColumns,
    rollups: Option<(Rollups, RollupWriters<'a>)>,
    counter: Counter,
    /// Times of the chunk of the last row.
    chunk: Range<i64>,
    rows: usize,
    sums: (u64, u64),
    span: (i64, i64),
}

impl<'a> SegmentWriter<'a> {
    /// Makes the folder. `tables` are in order; those that `same` has are copied from it.
    pub(super) fn create(
        folder: &Path,
        target: Target,
        tables: &Profile,
        same: Option<&'a Same<'a>>,
        pace: &'a Pace,
    ) -> Result<Self> {
        std::fs::create_dir(folder).context("create", folder)?;
        let create = |table| TableWriter::create(folder, table, target.level, pace);
        let are_copied = same.is_some_and(|same| !same.rollups.is_empty());
        let rollups = if target.level >= ROLLUP_LEVEL && !are_copied {
            let (kinds, _) = statistics::kinds(tables);
            let rollups = Rollups::new(tables, target.resolution_ms, kinds);
            let writers = Rollups::tables(target.resolution_ms)
                .map(|(table, _)| Ok((table, (create(table)?, RollupColumns::default()))));
            let periods = tables.series.iter().map(|series| series.period.every).collect();
            Some((rollups, RollupWriters { tables: writers.collect::<Result<_>>()?, periods }))
        } else {
            None
        };
        Ok(Self {
            folder: folder.to_owned(),
            samples: create(Table::Samples)?,
            target,
            pace,
            same,
            columns: SampleColumns::default(),
            rollups,
            counter: Counter::new(tables),
            chunk: 0..0,
            rows: 0,
            sums: (0, 0),
            span: (i64::MAX, i64::MIN),
        })
    }

    /// Takes the next row.
    pub(super) fn push(&mut self, row: &Row, exact: &[Exact], strings: &StringTable) -> Result<()> {
        self.check(row, exact)?;
        self.counter.add(row, strings);
        // Rows of a chunk go through the hosts of a group again and again; a new group begins with an earlier chunk, or
        // follows within one.
        if !self.chunk.contains(&row.key.time_ms) {
            self.chunk = span_of(row.key.time_ms, chunk_ms(self.target.resolution_ms));
            if self.samples.is_long_with(self.columns.len()) {
                self.samples.write(&self.columns.take(strings))?;
                self.samples.end_row_group()?;
            }
        }
        self.columns.push(row, exact);
        if self.columns.len() >= BATCH {
            self.samples.write(&self.columns.take(strings))?;
        }
        if let Some((rollups, writers)) = &mut self.rollups {
            rollups.push(row, exact, |table, rows| writers.write(table, rows, strings))?;
        }
        Ok(())
    }

    /// What would be refused when read must not be written.
    fn check(&mut self, row: &Row, exact: &[Exact]) -> Result<()> {
        self.rows += 1;
        let last = exact.last().map_or(0, |exact| i64::from(exact.offset_ms));
        self.span.0 = self.span.0.min(row.key.time_ms);
        self.span.1 =
            self.span.1.max(row.key.time_ms.saturating_add(last.max(self.target.resolution_ms - 1) + 1));
        self.sums.0 = self.sums.0.saturating_add(row.samples);
        self.sums.1 = self.sums.1.saturating_add(row.value.unsigned_abs());
        let unstorable = |text| Err(Error::Unstorable(text));
        if self.rows > Table::Samples.max_rows() {
            return unstorable(format!("more than {} rows", Table::Samples.max_rows()));
        }
        if self.sums.0.max(self.sums.1) > MAX_SUM.unsigned_abs() {
            let (samples, value) = self.sums;
            return unstorable(format!(
                "{samples} samples of together {value}, at most {MAX_SUM} are allowed"
            ));
        }
        Ok(())
    }

    /// Writes the rest and brings all to disk. `tables` are those it was made with, and have the span that was
    /// profiled. Returns the manifest and the bytes written.
    pub(super) fn finish(mut self, tables: &Profile) -> std::result::Result<(Manifest, u64), CopyError> {
        check_counts(tables)?;
        let strings = &tables.strings;
        if self.columns.len() > 0 {
            self.samples.write(&self.columns.take(strings))?;
        }
        let mut manifest = self.manifest(tables);
        manifest.check().map_err(Error::Unstorable)?;
        let (metadata, short) = (manifest.to_metadata(), manifest.to_short_metadata());
        let (folder, pace, level) = (self.folder, self.pace, self.target.level);
        let mut finished = vec![(Table::Samples, self.samples)];
        if let Some((rollups, mut writers)) = self.rollups {
            let functions = rollups.finish(|table, rows| writers.write(table, rows, strings))?;
            for (table, (mut writer, mut columns)) in writers.tables {
                writer.write(&columns.take(strings))?;
                finished.push((table, writer));
            }
            let mut writer = TableWriter::create(&folder, Table::Functions, level, pace)?;
            writer.write(&functions_batch(functions, tables)?)?;
            finished.push((Table::Functions, writer));
        }
        let mut total = 0;
        for table in self.same.iter().flat_map(|same| &same.rollups) {
            let Some(same) = self.same else { break };
            let sum = copy_with_metadata(same.segment, *table, &folder, &metadata, pace)?;
            total += sum.bytes;
            manifest.files.insert(table.file_name().to_owned(), sum);
        }
        for table in Table::ALL_BUT_SAMPLES {
            if let Some(same) = self.same.filter(|_| table != Table::Accounts).map(|same| same.segment)
                && let Some(sum) = same.manifest.files.get(table.file_name())
            {
                let to = folder.join(table.file_name());
                total += super::folder::copy_file(&same.path, &same.manifest, table, &to)?;
                pace.rest(sum.bytes);
                manifest.files.insert(table.file_name().to_owned(), *sum);
                continue;
            }
            let mut writer = TableWriter::create(&folder, table, level, pace)?;
            let rows = encode::encode(tables, table);
            writer.write(&rows.map_err(|error| Error::Unstorable(format!("{table:?}: {error}")))?)?;
            finished.push((table, writer));
        }
        for (table, writer) in finished {
            let is_of_rows = table.is_long() || table == Table::Functions;
            let sum = writer.finish(if is_of_rows { &metadata } else { &short })?;
            if sum.bytes > table.max_bytes() {
                let (bytes, most) = (sum.bytes, table.max_bytes());
                let reason = format!("{table:?}: {bytes} bytes, at most {most} are allowed");
                return Err(Error::Unstorable(reason).into());
            }
            total += sum.bytes;
            manifest.files.insert(table.file_name().to_owned(), sum);
        }
        let json = manifest.to_json().map_err(|error| Error::Unstorable(error.to_string()))?;
        super::folder::write_file(&folder.join(manifest::FILE_NAME), &json)?;
        super::folder::sync_folder(&folder)?;
        Ok((manifest, total + json.len() as u64))
    }

    fn manifest(&mut self, tables: &Profile) -> Manifest {
        let (mut min_ms, mut max_ms) = self.span;
        min_ms = min_ms.min(tables.start_ms);
        max_ms = max_ms.max(tables.end_ms.max(tables.start_ms));
        for account in &tables.accounts {
            min_ms = min_ms.min(account.time_ms);
            max_ms = max_ms.max(account.time_ms.saturating_add(1));
        }
        let counter = std::mem::replace(&mut self.counter, Counter::new(&Profile::default()));
        Manifest {
            schema_version: SCHEMA_VERSION,
            start_ms: tables.start_ms,
            end_ms: tables.end_ms,
            min_ms,
            max_ms,
            level: self.target.level,
            rows: self.rows as u64,
            replaces: self.target.replaces.clone(),
            files: BTreeMap::new(),
            resolution_ms: self.target.resolution_ms,
            statistics: Some(counter.finish(tables)),
        }
    }
}

/// Writes a profile into the new folder `folder` and brings it to disk. Returns the finished manifest and the bytes
/// written. The caller renames the folder to where readers look.
pub(crate) fn write(folder: &Path, profile: &Profile, target: Target) -> Result<(Manifest, u64)> {
    let pace = Pace::default();
    let mut tables = profile.clone_tables();
    let moves = tables.put_tables_in_order();
    let mut batch = Batch { rows: profile.rows.clone(), exact: profile.exact.clone() };
    for row in &mut batch.rows {
        row.key.series = moves.series[row.key.series.0 as usize];
        row.key.node = moves.nodes[row.key.node.0 as usize];
    }
    let order = super::order::RowOrder::new(&tables, target.resolution_ms);
    batch.sort(&order, &tables.strings);
    let mut writer = SegmentWriter::create(folder, target, &tables, None, &pace)?;
    for row in &batch.rows {
        writer.push(row, batch.exact_of(row), &tables.strings)?;
    }
    writer.finish(&tables).map_err(|error| match error {
        CopyError::Output(error) => error,
        // Nothing is copied.
        CopyError::Input(_) => Error::Unstorable("a table cannot be copied".to_owned()),
    })
}

fn check_counts(tables: &Profile) -> Result<()> {
    let counts = [
        ("series", tables.series.len()),
        ("stack nodes", tables.stacks.len()),
        ("frames", tables.frames.len()),
        ("binaries", tables.binaries.len()),
        ("accounts", tables.accounts.len()),
    ];
    match counts.into_iter().find(|(_, count)| *count > MAX_ROWS) {
        Some((what, count)) => {
            Err(Error::Unstorable(format!("{count} {what}, at most {MAX_ROWS} are allowed")))
        }
        None => Ok(()),
    }
}

fn functions_batch(functions: Functions, tables: &Profile) -> Result<RecordBatch> {
    let (_, kinds) = statistics::kinds(tables);
    let mut rows = functions.finish();
    rows.sort_by(|a, b| {
        let name = |row: &FunctionRow| row.function.map(|function| tables.text(function));
        (a.kind, name(a), a.slot_ms).cmp(&(b.kind, name(b), b.slot_ms))
    });
    let kind = |row: &FunctionRow| kinds.get(row.kind).map_or(("", ""), |(event, unit)| (event, unit));
    let events: StringArray = rows.iter().map(|row| Some(kind(row).0)).collect();
    let units: StringArray = rows.iter().map(|row| Some(kind(row).1)).collect();
    let names: StringArray = rows.iter().map(|row| row.function.map(|id| tables.text(id))).collect();
    let longs = |of: fn(&FunctionRow) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(rows.iter().map(of)))
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(events),
        Arc::new(units),
        Arc::new(names),
        longs(|row| row.slot_ms),
        encode::ints(rows.iter().map(|row| row.functions)),
        longs(|row| row.usage.own.samples as i64),
        longs(|row| row.usage.own.value),
        longs(|row| row.usage.total.samples as i64),
        longs(|row| row.usage.total.value),
    ];
    let batch = RecordBatch::try_new(Arc::new(schema(Table::Functions)), columns);
    batch.map_err(|error| Error::Unstorable(format!("functions: {error}")))
}
