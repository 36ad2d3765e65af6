//! One table being written as a Parquet file.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::Schema;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{
    ArrowColumnWriter, ArrowRowGroupWriterFactory, ArrowWriterOptions, compute_leaves,
};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnDescPtr, ColumnPath};
use zstd::bulk::Compressor;

use super::Table;
use super::columns::{encodings, indexed_columns, repeated_columns, schema, unbounded_columns, zstd_level};
use super::manifest::FileSum;
use super::repeated::{Bounds, RepeatedColumn};
use crate::error::{Error, IoContext, Result};
use crate::pace::Pace;

/// Rows of a row group at most: bounds what a writer holds of it.
const ROW_GROUP: usize = 1 << 20;
/// Rows of a row group that ends with its chunk: small enough to skip by series and chunk, large enough for its columns to
/// compress. Its times are those of one chunk, if the chunk is large, and take few bits.
const SHORT_ROW_GROUP: usize = if cfg!(test) { 256 } else { 64 * 1024 };
/// Rows of a page, by which readers skip. Smaller pages compress worse.
const PAGE: usize = 16 * 1024;

/// A table being written to a file.
pub(super) struct TableWriter<'a> {
    table: Table,
    path: PathBuf,
    file: SerializedFileWriter<SummedFile<'a>>,
    schema: Arc<Schema>,
    factory: ArrowRowGroupWriterFactory,
    zstd: Compressor<'static>,
    compression: Compression,
    group: Option<RowGroup>,
    groups: usize,
    pace: &'a Pace,
}

/// A row group that is being written.
struct RowGroup {
    columns: Vec<Column>,
    rows: usize,
}

/// A leaf of the schema.
enum Column {
    Repeated(Box<RepeatedColumn>),
    Other(Box<ArrowColumnWriter>),
}

impl<'a> TableWriter<'a> {
    /// Makes a table's file in the folder of a segment of this level.
    pub(super) fn create(folder: &Path, table: Table, level: u8, pace: &'a Pace) -> Result<Self> {
        let path = folder.join(table.file_name());
        let file = SummedFile::create(&path, pace)?;
        let schema = Arc::new(schema(table));
        let level = zstd_level(table, level);
        let opened = || {
            let compression = Compression::ZSTD(ZstdLevel::try_new(level)?);
            // Without the Arrow schema: other readers see plain Parquet types, and ours trusts nothing else.
            let options = ArrowWriterOptions::new()
                .with_properties(properties(table, compression))
                .with_skip_arrow_metadata(true);
            let writer = ArrowWriter::try_new_with_options(file, schema.clone(), options)?;
            let (file, factory) = writer.into_serialized_writer()?;
            let zstd = Compressor::new(level)?;
            let path = path.clone();
            Ok(Self { table, path, file, schema, factory, zstd, compression, group: None, groups: 0, pace })
        };
        opened().map_err(|error| failed(table, &path, error))
    }

    /// Adds rows.
    pub(super) fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        let mut rest = rows.clone();
        while rest.num_rows() > 0 {
            let room = ROW_GROUP - self.rows();
            let now = rest.slice(0, rest.num_rows().min(room));
            rest = rest.slice(now.num_rows(), rest.num_rows() - now.num_rows());
            self.write_to_group(&now).map_err(|error| failed(self.table, &self.path, error))?;
            if self.rows() == ROW_GROUP {
                self.end_row_group()?;
            }
        }
        self.pace.rest(0);
        Ok(())
    }

    /// Rows of the row group that is being written.
    fn rows(&self) -> usize {
        self.group.as_ref().map_or(0, |group| group.rows)
    }

    fn write_to_group(&mut self, rows: &RecordBatch) -> std::result::Result<(), ParquetError> {
        if self.group.is_none() {
            self.group = Some(RowGroup { columns: self.new_columns()?, rows: 0 });
        }
        let Some(group) = &mut self.group else { return Ok(()) };
        group.rows += rows.num_rows();
        let mut columns = group.columns.iter_mut();
        for (field, array) in self.schema.fields().iter().zip(rows.columns()) {
            if repeated_columns(self.table).contains(&field.name().as_str()) {
                if let Some(Column::Repeated(column)) = columns.next() {
                    column.push(array, &mut self.zstd)?;
                }
                continue;
            }
            for leaf in compute_leaves(field, array)? {
                if let Some(Column::Other(column)) = columns.next() {
                    column.write(&leaf)?;
                }
            }
        }
        Ok(())
    }

    fn new_columns(&self) -> std::result::Result<Vec<Column>, ParquetError> {
        let others = self.factory.create_column_writers(self.groups)?;
        let columns = self.file.schema_descr().columns().iter().zip(others);
        let is_repeated = |name: &str| repeated_columns(self.table).contains(&name);
        let column = |(column, other): (&ColumnDescPtr, ArrowColumnWriter)| {
            let name = column.path().string();
            if !is_repeated(&name) {
                return Column::Other(Box::new(other));
            }
            let bounds = match () {
                () if indexed_columns(self.table).contains(&name.as_str()) => Bounds::Page,
                () if unbounded_columns(self.table).contains(&&[name.as_str()][..]) => Bounds::None,
                () => Bounds::Chunk,
            };
            Column::Repeated(Box::new(RepeatedColumn::new(column.clone(), self.compression, bounds, PAGE)))
        };
        Ok(columns.map(column).collect())
    }

    /// Whether the row group that is being written, with so many more rows, is long enough to end where its chunk does.
    pub(super) fn is_long_with(&self, more: usize) -> bool {
        self.rows() + more >= SHORT_ROW_GROUP
    }

    /// Ends the row group.
    pub(super) fn end_row_group(&mut self) -> Result<()> {
        let Some(group) = self.group.take() else { return Ok(()) };
        self.groups += 1;
        let zstd = &mut self.zstd;
        let write = || {
            let mut to = self.file.next_row_group()?;
            for column in group.columns {
                match column {
                    Column::Repeated(column) => {
                        let (bytes, closed) = column.close(zstd)?;
                        to.append_column(&bytes, closed)?;
                    }
                    Column::Other(column) => column.close()?.append_to_row_group(&mut to)?,
                }
            }
            to.close().map(|_| ())
        };
        write().map_err(|error| failed(self.table, &self.path, error))
    }

    /// Writes the footer with this key-value metadata, and brings the file to disk.
    pub(super) fn finish(mut self, metadata: &[(&'static str, String)]) -> Result<FileSum> {
        self.end_row_group()?;
        for (key, value) in metadata {
            self.file.append_key_value_metadata(KeyValue::new((*key).to_owned(), value.clone()));
        }
        let file = self.file.into_inner().map_err(|error| failed(self.table, &self.path, error))?;
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

fn properties(table: Table, compression: Compression) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("vesta ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(compression)
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
    properties.build()
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

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;
    use arrow_array::types::{Int32Type, Int64Type};
    use bytes::Bytes;

    use super::super::encode::SampleColumns;
    use super::super::file::TableFile;
    use super::*;
    use crate::model::{Exact, NodeId, Row, RowKey, SeriesId, StringTable};

    /// Every number and text of some rows.
    fn content(rows: &RecordBatch) -> Vec<Vec<String>> {
        let text = |array: &arrow_array::ArrayRef| -> Vec<String> {
            if let Some(ints) = array.as_primitive_opt::<Int32Type>() {
                return ints.values().iter().map(i32::to_string).collect();
            }
            if let Some(longs) = array.as_primitive_opt::<Int64Type>() {
                return longs.values().iter().map(i64::to_string).collect();
            }
            if let Some(lists) = array.as_list_opt::<i32>() {
                return lists.iter().map(|list| format!("{list:?}")).collect();
            }
            let texts = array.as_dictionary::<Int32Type>();
            let values = texts.values().as_string::<i32>();
            texts.keys().values().iter().map(|key| values.value(*key as usize).to_owned()).collect()
        };
        rows.columns().iter().map(text).collect()
    }

    #[test]
    fn rows_are_read_as_they_were_written_whether_their_values_repeat_or_not() {
        const ROWS: u32 = 150_000;
        let dir = tempfile::tempdir().unwrap();
        let pace = Pace::default();
        let mut strings = StringTable::default();
        let mut writer = TableWriter::create(dir.path(), Table::Samples, 1, &pace).unwrap();
        let mut columns = SampleColumns::default();
        let mut expected: Vec<Vec<String>> = vec![Vec::new(); 11];
        for n in 0..ROWS {
            let key = RowKey {
                series: SeriesId(n / 100 % 7),
                node: NodeId(n % 1000),
                pid: if n < 70_000 { 1 } else { n % 3 },
                tid: n % 300,
                // Some are longer than bounds may be.
                thread: strings.intern(&"x".repeat((n / 20_000 * 25) as usize)),
                status: strings.intern(if n % 1000 < 3 { "complete" } else { "no_table" }),
                time_ms: i64::from(n / 9) * 10_000,
            };
            // All of them are different: no dictionary is for them.
            let value = i64::from(n.wrapping_mul(2_654_435_761)) - (1 << 31);
            let exact = vec![Exact { offset_ms: 7, cpu: 1 }; (n % 3) as usize];
            columns.push(&Row { key, samples: 1 + u64::from(n % 2), value, exact: 0..0 }, &exact);
            if columns.len() == 30_000 {
                let batch = columns.take(&strings);
                content(&batch).into_iter().zip(&mut expected).for_each(|(own, all)| all.extend(own));
                writer.write(&batch).unwrap();
            }
            // A row group of more than one page and one of many, the second with what no dictionary takes.
            if n == 29_999 {
                writer.end_row_group().unwrap();
            }
        }
        let sum = writer.finish(&[("vesta.schema_version", "3".to_owned())]).unwrap();
        let bytes = std::fs::read(dir.path().join("samples.parquet")).unwrap();
        assert_eq!((sum.bytes, sum.crc32), (bytes.len() as u64, crc32fast::hash(&bytes)));
        let file = TableFile::open(Table::Samples, Bytes::from(bytes.clone())).unwrap();
        let mut batches = file.batches().unwrap();
        let mut found: Vec<Vec<String>> = vec![Vec::new(); 11];
        while let Some((_, batch)) = batches.next(&file).unwrap() {
            content(&batch).into_iter().zip(&mut found).for_each(|(own, all)| all.extend(own));
        }
        assert!(found == expected, "read differently");

        let reader = parquet::file::metadata::ParquetMetaDataReader::new()
            .with_page_index_policy(parquet::file::metadata::PageIndexPolicy::Required);
        let metadata = reader.parse_and_finish(&Bytes::from(bytes)).unwrap();
        let column = |group: usize, name: &str| {
            let columns = metadata.row_group(group).columns();
            columns.iter().find(|column| column.column_path().string() == name).unwrap()
        };
        assert_eq!(metadata.num_row_groups(), 2);
        let bounds = |group, name| column(group, name).statistics().map(|found| found.to_string());
        let of_times = bounds(1, "time").unwrap();
        assert!(of_times.contains("min: 33330000, max: 166660000"), "{of_times}");
        assert!(bounds(0, "status").unwrap().contains("null_count: 0"));
        assert!(column(0, "thread").statistics().is_some() && column(1, "thread").statistics().is_none());
        assert!(column(0, "value").statistics().is_none());
        let pages = |group: usize| metadata.offset_index().unwrap()[group][2].page_locations().len();
        assert_eq!((pages(0), pages(1)), (2, 8));
    }
}
