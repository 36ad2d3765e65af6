//! One table as a Parquet file.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, Int32Array, Int64Array, ListArray, MapArray, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, KeyValue, RowGroupMetaData};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnPath;

use super::Table;
use super::columns::{
    REPEATED, encodings, indexed_columns, repeated_text, schema, unbounded_columns, zstd_level,
};
use super::manifest::FileSum;
use super::source::Source;
use crate::error::{Error, IoContext, Result};
use crate::pace::Pace;

/// What is found in a file, or what is wrong with it.
pub(super) type Checked<T> = std::result::Result<T, String>;

/// Rows of a row group at most: bounds what a writer holds of it.
const ROW_GROUP: usize = 1 << 20;
/// Rows of a row group that ends with its chunk: small enough to skip by series and chunk, large enough for its columns to
/// compress. Its times are those of one chunk, if the chunk is large, and take few bits.
const SHORT_ROW_GROUP: usize = if cfg!(test) { 256 } else { 64 * 1024 };
/// Rows decoded at once.
const BATCH: usize = 16 * 1024;

/// Rows of a page, by which readers skip. Smaller pages compress worse.
const PAGE: usize = 16 * 1024;

/// A table being written to a file.
pub(super) struct TableWriter<'a> {
    table: Table,
    path: PathBuf,
    writer: ArrowWriter<SummedFile<'a>>,
}

impl<'a> TableWriter<'a> {
    /// Makes a table's file in the folder of a segment of this level.
    pub(super) fn create(folder: &Path, table: Table, level: u8, pace: &'a Pace) -> Result<Self> {
        let path = folder.join(table.file_name());
        let file = SummedFile::create(&path, pace)?;
        // Without the Arrow schema: other readers see plain Parquet types, and ours trusts nothing else.
        let writer = properties(table, level).and_then(|properties| {
            let options =
                ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
            ArrowWriter::try_new_with_options(file, Arc::new(schema(table)), options)
        });
        match writer {
            Ok(writer) => Ok(Self { table, path, writer }),
            Err(error) => Err(failed(table, &path, error)),
        }
    }

    /// Adds rows.
    pub(super) fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        self.writer.write(rows).map_err(|error| failed(self.table, &self.path, error))?;
        self.writer.inner().pace.rest(0);
        Ok(())
    }

    /// Whether the row group that is being written, with so many more rows, is long enough to end where its chunk does.
    pub(super) fn is_long_with(&self, more: usize) -> bool {
        self.writer.in_progress_rows() + more >= SHORT_ROW_GROUP
    }

    /// Ends the row group.
    pub(super) fn end_row_group(&mut self) -> Result<()> {
        self.writer.flush().map_err(|error| failed(self.table, &self.path, error))
    }

    /// Writes the footer with this key-value metadata, and brings the file to disk.
    pub(super) fn finish(mut self, metadata: &[(&'static str, String)]) -> Result<FileSum> {
        for (key, value) in metadata {
            self.writer.append_key_value_metadata(KeyValue::new((*key).to_owned(), value.clone()));
        }
        let file = self.writer.into_inner().map_err(|error| failed(self.table, &self.path, error))?;
        file.finish(&self.path)
    }
}

/// A file that knows its checksum.
pub(super) struct SummedFile<'a> {
    file: File,
    hasher: crc32fast::Hasher,
    bytes: u64,
    pace: &'a Pace,
}

impl<'a> SummedFile<'a> {
    /// A new file.
    pub(super) fn create(path: &Path, pace: &'a Pace) -> Result<Self> {
        let file = File::create_new(path).context("create", path)?;
        Ok(Self { file, hasher: crc32fast::Hasher::new(), bytes: 0, pace })
    }

    /// Bytes written so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Brings it to disk.
    pub(super) fn finish(self, path: &Path) -> Result<FileSum> {
        self.file.sync_all().context("bring to disk", path)?;
        Ok(FileSum { bytes: self.bytes, crc32: self.hasher.finalize() })
    }
}

impl Write for SummedFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.bytes += written as u64;
        self.pace.rest(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn properties(table: Table, level: u8) -> std::result::Result<WriterProperties, ParquetError> {
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("vesta ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(zstd_level(level))?))
        .set_max_row_group_row_count(Some(ROW_GROUP))
        .set_data_page_row_count_limit(PAGE)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(indexed_columns(table).is_empty());
    for name in indexed_columns(table) {
        let path = ColumnPath::new(vec![(*name).to_owned()]);
        properties = properties.set_column_statistics_enabled(path, EnabledStatistics::Page);
    }
    let path = |parts: &[&str]| ColumnPath::new(parts.iter().map(|part| (*part).to_owned()).collect());
    for column in unbounded_columns(table) {
        properties = properties.set_column_statistics_enabled(path(column), EnabledStatistics::None);
    }
    for (column, encoding) in encodings(table) {
        let path = path(column);
        properties = properties
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path, *encoding);
    }
    Ok(properties.build())
}

/// A disk that refuses is one thing, rows that do not fit the format another.
fn failed(table: Table, path: &Path, error: ParquetError) -> Error {
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(source) => Error::Io { action: "write", path: path.to_owned(), source: *source },
            Err(source) => Error::Unstorable(format!("{table:?}: {source}")),
        },
        error => Error::Unstorable(format!("{table:?}: {error}")),
    }
}

/// An opened Parquet file; nothing but its footer has been read.
pub(super) struct TableFile {
    table: Table,
    version: u32,
    source: Source,
    metadata: ArrowReaderMetadata,
}

impl TableFile {
    /// Opens a file. `Err` says what is wrong with it, its name first.
    pub(super) fn open(table: Table, source: impl Into<Source>) -> Checked<Self> {
        let source = source.into();
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let bad = |error: &ParquetError| format!("{}: {}", table.file_name(), one_line(error));
        let mut metadata =
            ArrowReaderMetadata::load(&source, options.clone()).map_err(|error| bad(&error))?;
        if let Some(schema) = with_repeated_texts(metadata.schema()) {
            let options = options.with_schema(Arc::new(schema));
            metadata = ArrowReaderMetadata::try_new(metadata.metadata().clone(), options)
                .map_err(|error| bad(&error))?;
        }
        let mut file = Self { table, version: 0, source, metadata };
        let version = file.metadata("vesta.schema_version");
        let version = version.ok_or_else(|| file.bad("not a file of Vesta (it has no schema version)"))?;
        file.version = version.parse().map_err(|_| file.bad(format!("schema version `{version}`")))?;
        super::manifest::check_version(file.version).map_err(|reason| file.bad(reason))?;
        let rows = file.metadata.metadata().file_metadata().num_rows();
        if !(0..=table.max_rows() as i64).contains(&rows) {
            return Err(file.bad(format!("{rows} rows, at most {} are allowed", table.max_rows())));
        }
        Ok(file)
    }

    /// A reason with the file's name.
    pub(super) fn bad(&self, reason: impl std::fmt::Display) -> String {
        format!("{}: {reason}", self.table.file_name())
    }

    /// Number of rows, as the footer has it.
    pub(super) fn rows(&self) -> usize {
        usize::try_from(self.metadata.metadata().file_metadata().num_rows()).unwrap_or(0)
    }

    /// A value of the key-value metadata.
    pub(super) fn metadata(&self, key: &str) -> Option<String> {
        let all = self.metadata.metadata().file_metadata().key_value_metadata()?;
        all.iter().find(|entry| entry.key == key).and_then(|entry| entry.value.clone())
    }

    /// Calls `each` with all rows, some thousand at a time, and with the number of rows before them.
    pub(super) fn read(&self, mut each: impl FnMut(usize, &Rows<'_>) -> Checked<()>) -> Checked<()> {
        let mut batches = self.batches()?;
        while let Some((done, batch)) = batches.next(self)? {
            each(done, &self.rows_of(&batch))?;
        }
        Ok(())
    }

    /// All rows, some thousand at a time.
    pub(super) fn batches(&self) -> Checked<Batches> {
        self.batches_of((0..self.metadata.metadata().num_row_groups()).collect())
    }

    /// Row groups whose rows may lie within a range of times (half-open, Unix milliseconds), by their statistics; `reach`
    /// is how long after its time a row can have samples.
    pub(super) fn groups_within(&self, range: &std::ops::Range<i64>, reach: i64) -> Vec<usize> {
        let groups = self.metadata.metadata().row_groups().iter().enumerate();
        let is_outside = |group: &RowGroupMetaData| {
            let time = group.columns().iter().find(|chunk| chunk.column_path().string() == "time");
            let Some(Statistics::Int64(times)) = time.and_then(ColumnChunkMetaData::statistics) else {
                return false;
            };
            times.min_opt().is_some_and(|first| *first >= range.end)
                || times.max_opt().is_some_and(|last| last.saturating_add(reach) < range.start)
        };
        groups.filter(|(_, group)| !is_outside(group)).map(|(place, _)| place).collect()
    }

    /// The rows of these row groups.
    pub(super) fn batches_of(&self, groups: Vec<usize>) -> Checked<Batches> {
        let rows = groups.iter().map(|group| self.metadata.metadata().row_group(*group).num_rows());
        let rows = usize::try_from(rows.sum::<i64>()).unwrap_or(0);
        let builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(self.source.clone(), self.metadata.clone());
        let builder = builder.with_batch_size(BATCH).with_row_groups(groups);
        let reader = builder.build().map_err(|error| self.bad(one_line(&error)))?;
        Ok(Batches { reader, done: 0, rows })
    }

    /// Some rows by column.
    pub(super) fn rows_of<'a>(&'a self, batch: &'a RecordBatch) -> Rows<'a> {
        Rows { file: self, batch }
    }
}

/// The rows of a file, batch by batch.
pub(super) struct Batches {
    reader: ParquetRecordBatchReader,
    done: usize,
    /// So many there are to be.
    rows: usize,
}

impl Batches {
    /// The next rows of `file`, and how many there were before.
    pub(super) fn next(&mut self, file: &TableFile) -> Checked<Option<(usize, RecordBatch)>> {
        let Some(batch) = self.reader.next() else {
            return if self.done == self.rows {
                Ok(None)
            } else {
                Err(file.bad("fewer rows than its footer says"))
            };
        };
        let batch = batch.map_err(|error| file.bad(one_line(&error)))?;
        let before = self.done;
        self.done += batch.num_rows();
        if self.done > self.rows {
            return Err(file.bad("more rows than its footer says"));
        }
        Ok(Some((before, batch)))
    }
}

/// The schema with texts that repeat read as they are stored, numbers and the texts behind them; none if there are none.
fn with_repeated_texts(schema: &Schema) -> Option<Schema> {
    let is_repeated =
        |field: &Field| REPEATED.contains(&field.name().as_str()) && *field.data_type() == DataType::Utf8;
    schema.fields().iter().any(|field| is_repeated(field)).then(|| {
        let fields = schema.fields().iter().map(|field| match is_repeated(field) {
            true => Arc::new(Field::new(field.name(), repeated_text(), field.is_nullable())),
            false => field.clone(),
        });
        Schema::new(fields.collect::<Vec<_>>())
    })
}

pub(super) fn one_line(error: &dyn std::fmt::Display) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// Some rows of a table, by column.
pub(super) struct Rows<'a> {
    file: &'a TableFile,
    batch: &'a RecordBatch,
}

impl<'a> Rows<'a> {
    pub(super) fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// Whether these are rows of a table.
    pub(super) fn is_of(&self, table: Table) -> bool {
        self.file.table == table
    }

    /// The version of the schema that the file was written with.
    pub(super) fn version(&self) -> u32 {
        self.file.version
    }

    pub(super) fn bad(&self, reason: impl std::fmt::Display) -> String {
        self.file.bad(reason)
    }

    pub(super) fn ints(&self, name: &str) -> Checked<&'a Int32Array> {
        self.filled(name, |column| column.as_primitive_opt::<Int32Type>())
    }

    pub(super) fn longs(&self, name: &str) -> Checked<&'a Int64Array> {
        self.filled(name, |column| column.as_primitive_opt::<Int64Type>())
    }

    pub(super) fn texts(&self, name: &str) -> Checked<&'a StringArray> {
        self.filled(name, |column| column.as_string_opt::<i32>())
    }

    /// Texts that repeat: numbers, and the texts behind them.
    pub(super) fn repeated(&self, name: &str) -> Checked<(&'a Int32Array, &'a StringArray)> {
        let texts = self.filled(name, |column| column.as_dictionary_opt::<Int32Type>())?;
        match texts.values().as_string_opt::<i32>().filter(|values| values.null_count() == 0) {
            Some(values) => Ok((texts.keys(), values)),
            None => Err(self.bad(format!("column {name} is not one of texts"))),
        }
    }

    pub(super) fn nullable_ints(&self, name: &str) -> Checked<&'a Int32Array> {
        self.column(name, |column| column.as_primitive_opt::<Int32Type>())
    }

    pub(super) fn nullable_longs(&self, name: &str) -> Checked<&'a Int64Array> {
        self.column(name, |column| column.as_primitive_opt::<Int64Type>())
    }

    pub(super) fn nullable_texts(&self, name: &str) -> Checked<&'a StringArray> {
        self.column(name, |column| column.as_string_opt::<i32>())
    }

    /// A list column and all its elements.
    pub(super) fn int_lists(&self, name: &str) -> Checked<(&'a ListArray, &'a Int32Array)> {
        let lists = self.filled(name, |column| column.as_list_opt::<i32>())?;
        let values = lists.values().as_primitive_opt::<Int32Type>();
        match values.filter(|values| values.null_count() == 0) {
            Some(values) => Ok((lists, values)),
            None => Err(self.bad(format!("column {name} is not a list of integers"))),
        }
    }

    /// A map column, its keys and its values.
    pub(super) fn text_maps(&self, name: &str) -> Checked<(&'a MapArray, &'a StringArray, &'a StringArray)> {
        let maps = self.filled(name, |column| column.as_map_opt())?;
        let (keys, values) = (maps.keys().as_string_opt::<i32>(), maps.values().as_string_opt::<i32>());
        match (keys, values) {
            (Some(keys), Some(values)) if keys.null_count() + values.null_count() == 0 => {
                Ok((maps, keys, values))
            }
            _ => Err(self.bad(format!("column {name} is not a map of strings"))),
        }
    }

    fn filled<T: Array>(
        &self,
        name: &str,
        cast: impl FnOnce(&'a dyn Array) -> Option<&'a T>,
    ) -> Checked<&'a T> {
        let column = self.column(name, cast)?;
        match column.null_count() {
            0 => Ok(column),
            _ => Err(self.bad(format!("column {name} has empty places"))),
        }
    }

    fn column<T: Array>(
        &self,
        name: &str,
        cast: impl FnOnce(&'a dyn Array) -> Option<&'a T>,
    ) -> Checked<&'a T> {
        let column = self.batch.column_by_name(name);
        let column = column.ok_or_else(|| self.bad(format!("column {name} is missing")))?;
        cast(column.as_ref())
            .ok_or_else(|| self.bad(format!("column {name} has type {}", column.data_type())))
    }
}
