//! One table as a Parquet file.

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, Int32Array, Int64Array, ListArray, MapArray, RecordBatch, StringArray};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::columns::delta_columns;
use super::{MAX_ROWS, Table};

/// Rows of a row group: small enough to skip by series and chunk, large enough for its columns to compress.
const ROW_GROUP: usize = 128 * 1024;
/// Rows decoded at once.
const BATCH: usize = 16 * 1024;

/// The bytes of a Parquet file with these rows and this key-value metadata.
pub(super) fn to_parquet(
    table: Table,
    rows: &RecordBatch,
    metadata: &[(&'static str, String)],
) -> Result<Vec<u8>, ParquetError> {
    let metadata = metadata.iter().map(|(key, value)| KeyValue::new((*key).to_owned(), value.clone()));
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("vesta ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_max_row_group_row_count(Some(ROW_GROUP))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .set_key_value_metadata(Some(metadata.collect()));
    for path in delta_columns(table) {
        let path = ColumnPath::new(path.iter().map(|part| (*part).to_owned()).collect());
        properties = properties
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
    }
    // Without the Arrow schema: other readers see plain Parquet types, and ours trusts nothing else.
    let options =
        ArrowWriterOptions::new().with_properties(properties.build()).with_skip_arrow_metadata(true);
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new_with_options(&mut bytes, rows.schema(), options)?;
    writer.write(rows)?;
    writer.close()?;
    Ok(bytes)
}

/// An opened Parquet file; nothing but its footer has been read.
pub(super) struct TableFile {
    table: Table,
    version: u32,
    bytes: Bytes,
    metadata: ArrowReaderMetadata,
}

impl TableFile {
    /// Opens a file. `Err` says what is wrong with it, its name first.
    pub(super) fn open(table: Table, bytes: Bytes) -> Result<Self, String> {
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = ArrowReaderMetadata::load(&bytes, options)
            .map_err(|error| format!("{}: {}", table.file_name(), one_line(&error)))?;
        let mut file = Self { table, version: 0, bytes, metadata };
        let version = file.metadata("vesta.schema_version");
        let version = version.ok_or_else(|| file.bad("not a file of Vesta (it has no schema version)"))?;
        file.version = version.parse().map_err(|_| file.bad(format!("schema version `{version}`")))?;
        super::manifest::check_version(file.version).map_err(|reason| file.bad(reason))?;
        let rows = file.metadata.metadata().file_metadata().num_rows();
        if !(0..=MAX_ROWS as i64).contains(&rows) {
            return Err(file.bad(format!("{rows} rows, at most {MAX_ROWS} are allowed")));
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
    pub(super) fn read(
        &self,
        mut each: impl FnMut(usize, &Rows<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        let reader =
            ParquetRecordBatchReaderBuilder::new_with_metadata(self.bytes.clone(), self.metadata.clone())
                .with_batch_size(BATCH)
                .build()
                .map_err(|error| self.bad(one_line(&error)))?;
        let mut done = 0;
        for batch in reader {
            let batch = batch.map_err(|error| self.bad(one_line(&error)))?;
            if done + batch.num_rows() > self.rows() {
                return Err(self.bad("more rows than its footer says"));
            }
            each(done, &Rows { file: self, batch: &batch })?;
            done += batch.num_rows();
        }
        if done == self.rows() { Ok(()) } else { Err(self.bad("fewer rows than its footer says")) }
    }
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

    /// The version of the schema that the file was written with.
    pub(super) fn version(&self) -> u32 {
        self.file.version
    }

    pub(super) fn bad(&self, reason: impl std::fmt::Display) -> String {
        self.file.bad(reason)
    }

    pub(super) fn ints(&self, name: &str) -> Result<&'a Int32Array, String> {
        self.filled(name, |column| column.as_primitive_opt::<Int32Type>())
    }

    pub(super) fn longs(&self, name: &str) -> Result<&'a Int64Array, String> {
        self.filled(name, |column| column.as_primitive_opt::<Int64Type>())
    }

    pub(super) fn texts(&self, name: &str) -> Result<&'a StringArray, String> {
        self.filled(name, |column| column.as_string_opt::<i32>())
    }

    pub(super) fn nullable_ints(&self, name: &str) -> Result<&'a Int32Array, String> {
        self.column(name, |column| column.as_primitive_opt::<Int32Type>())
    }

    pub(super) fn nullable_texts(&self, name: &str) -> Result<&'a StringArray, String> {
        self.column(name, |column| column.as_string_opt::<i32>())
    }

    /// A list column and all its elements.
    pub(super) fn int_lists(&self, name: &str) -> Result<(&'a ListArray, &'a Int32Array), String> {
        let lists = self.filled(name, |column| column.as_list_opt::<i32>())?;
        let values = lists.values().as_primitive_opt::<Int32Type>();
        match values.filter(|values| values.null_count() == 0) {
            Some(values) => Ok((lists, values)),
            None => Err(self.bad(format!("column {name} is not a list of integers"))),
        }
    }

    /// A map column, its keys and its values.
    pub(super) fn text_maps(
        &self,
        name: &str,
    ) -> Result<(&'a MapArray, &'a StringArray, &'a StringArray), String> {
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
    ) -> Result<&'a T, String> {
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
    ) -> Result<&'a T, String> {
        let column = self.batch.column_by_name(name);
        let column = column.ok_or_else(|| self.bad(format!("column {name} is missing")))?;
        cast(column.as_ref())
            .ok_or_else(|| self.bad(format!("column {name} has type {}", column.data_type())))
    }
}
