//! One table as a Parquet file, to be read.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, Int32Array, Int64Array, ListArray, MapArray, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::statistics::Statistics;

use super::Table;
use super::columns::{REPEATED, repeated_text};
use super::source::Source;

/// What is found in a file, or what is wrong with it.
pub(super) type Checked<T> = std::result::Result<T, String>;

/// Rows decoded at once.
const BATCH: usize = 16 * 1024;

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
