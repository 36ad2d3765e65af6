//! The samples of a segment, or a rollup of them, read by column and by the part that a query needs.
//!
//! The file stays on disk: what is read are its footer, once, and the pages of the columns asked for.

use std::io;
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, RowGroupMetaData};
use parquet::file::statistics::Statistics;

use super::file::one_line;
use super::source::SharedFile;
use super::{Manifest, Table};

/// Rows decoded at once: some hundred kilobytes of columns, which stay in the CPU's cache.
const BATCH: usize = 32 * 1024;

/// Texts that repeat from row to row; read as small numbers and the texts behind them.
const TEXTS: [&str; 2] = ["thread", "status"];

/// An opened file of samples or of a rollup; nothing but its footer has been read.
pub(crate) struct SamplesFile {
    table: Table,
    file: SharedFile,
    metadata: ArrowReaderMetadata,
}

/// Which rows of a row group to read.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// Place of the row group.
    pub(crate) group: usize,
    /// Rows of it; all where none is given.
    pub(crate) rows: Option<RowSelection>,
}

/// A page of a column: how many rows it has and which values they have at least and at most, if that is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    pub(crate) rows: usize,
    pub(crate) bounds: Option<(i64, i64)>,
}

impl SamplesFile {
    /// Opens samples, or a rollup, of a segment's folder. The inner error says what is wrong with the file, its name first.
    pub(super) fn open(folder: &Path, table: Table, manifest: &Manifest) -> io::Result<Result<Self, String>> {
        let name = table.file_name();
        let file = SharedFile::open(&folder.join(name))?;
        Ok(Self::read_footer(file, table, manifest).map_err(|reason| format!("{name}: {reason}")))
    }

    fn read_footer(file: SharedFile, table: Table, manifest: &Manifest) -> Result<Self, String> {
        let options = ArrowReaderOptions::new()
            .with_skip_arrow_metadata(true)
            .with_page_index_policy(PageIndexPolicy::Optional);
        let plain = ArrowReaderMetadata::load(&file, options.clone()).map_err(|error| one_line(&error))?;
        check(&plain, table, manifest)?;
        let schema = options.with_schema(Arc::new(with_dictionaries(plain.schema())));
        let metadata = ArrowReaderMetadata::try_new(plain.metadata().clone(), schema);
        Ok(Self { table, file, metadata: metadata.map_err(|error| one_line(&error))? })
    }

    /// The name of the file.
    pub(crate) fn name(&self) -> &'static str {
        self.table.file_name()
    }

    /// Whether its rows may have samples later than the start of their buckets, by times of their own.
    pub(crate) fn has_exact_times(&self) -> bool {
        self.table == Table::Samples
    }

    /// Number of row groups.
    pub(crate) fn groups(&self) -> usize {
        self.metadata.metadata().num_row_groups()
    }

    /// Rows of a row group.
    pub(crate) fn rows(&self, group: usize) -> usize {
        usize::try_from(self.group(group).num_rows()).unwrap_or(0)
    }

    /// The least and the greatest value of a column of integers in a row group, if that is known.
    pub(crate) fn bounds(&self, group: usize, column: &str) -> Option<(i64, i64)> {
        match self.statistics(group, column)? {
            Statistics::Int32(s) => Some((i64::from(*s.min_opt()?), i64::from(*s.max_opt()?))),
            Statistics::Int64(s) => Some((*s.min_opt()?, *s.max_opt()?)),
            _ => None,
        }
    }

    /// The one text that all rows of a row group have in a column, if they have only one and it is known.
    pub(crate) fn only_text(&self, group: usize, column: &str) -> Option<&str> {
        let Statistics::ByteArray(s) = self.statistics(group, column)? else { return None };
        let (min, max) = (s.min_opt()?, s.max_opt()?);
        let sure = s.min_is_exact() && s.max_is_exact() && min.data() == max.data();
        std::str::from_utf8(sure.then(|| min.data())?).ok()
    }

    fn group(&self, group: usize) -> &RowGroupMetaData {
        self.metadata.metadata().row_group(group)
    }

    fn statistics(&self, group: usize, column: &str) -> Option<&Statistics> {
        let columns = self.group(group).columns();
        columns.iter().find(|chunk| chunk.column_path().string() == column)?.statistics()
    }

    /// The pages of a column of integers in a row group; none where the file has no index of them.
    pub(crate) fn pages(&self, group: usize, column: &str) -> Option<Vec<Page>> {
        let all = self.metadata.metadata();
        let (index, offsets) = (all.column_index()?, all.offset_index()?);
        let converter =
            StatisticsConverter::try_new(column, self.metadata.schema(), self.metadata.parquet_schema())
                .ok()?;
        let leaf = converter.parquet_column_index()?;
        // An index that is cut short would make the library reach beyond it.
        index.get(group)?.get(leaf)?;
        offsets.get(group)?.get(leaf).filter(|offset| !offset.page_locations().is_empty())?;
        let counts = converter.data_page_row_counts(offsets, all.row_groups(), [&group]).ok()??;
        let mins = converter.data_page_mins(index, offsets, [&group]).ok()?;
        let maxes = converter.data_page_maxes(index, offsets, [&group]).ok()?;
        let bounds = |i: usize| Some((integer(&mins, i)?, integer(&maxes, i)?));
        let page = |i: usize| Page { rows: counts.value(i) as usize, bounds: bounds(i) };
        let pages: Vec<_> = (0..counts.len()).map(page).collect();
        (pages.iter().map(|page| page.rows).sum::<usize>() == self.rows(group)).then_some(pages)
    }

    /// Calls `each` with the rows of a part, some thousand at a time, and these columns. It stops at the first
    /// error.
    pub(crate) fn read<E>(
        &self,
        part: &Part,
        columns: &[&str],
        mut each: impl FnMut(&RecordBatch) -> Result<(), E>,
        bad: impl Fn(String) -> E,
    ) -> Result<(), E> {
        let failed = |error: &ParquetError| bad(format!("{}: {}", self.name(), one_line(error)));
        let mask = ProjectionMask::columns(self.metadata.parquet_schema(), columns.iter().copied());
        let mut builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(self.file.clone(), self.metadata.clone())
                .with_batch_size(BATCH)
                .with_row_groups(vec![part.group])
                .with_projection(mask);
        if let Some(rows) = &part.rows {
            builder = builder.with_row_selection(rows.clone());
        }
        for batch in builder.build().map_err(|error| failed(&error))? {
            each(&batch.map_err(|error| failed(&error.into()))?)?;
        }
        Ok(())
    }
}

/// Whether the footer says the same as the manifest.
fn check(metadata: &ArrowReaderMetadata, table: Table, manifest: &Manifest) -> Result<(), String> {
    let footer = metadata.metadata().file_metadata();
    let rows = u64::try_from(footer.num_rows()).map_err(|_| "a negative number of rows")?;
    // The manifest knows how many rows the samples have.
    let known = if table == Table::Samples { rows } else { manifest.rows };
    let pairs = footer.key_value_metadata();
    let value = |key: &str| pairs?.iter().find(|pair| pair.key == key)?.value.clone();
    let own = Manifest::from_metadata(value, known)?;
    if own != (Manifest { files: own.files.clone(), ..manifest.clone() }) {
        return Err("its metadata contradicts the manifest".to_owned());
    }
    match rows > table.max_rows() as u64 {
        true => Err(format!("{rows} rows, at most {} are allowed", table.max_rows())),
        false => Ok(()),
    }
}

fn integer(values: &dyn Array, i: usize) -> Option<i64> {
    if values.is_null(i) {
        return None;
    }
    let int = values.as_primitive_opt::<Int32Type>().map(|ints| i64::from(ints.value(i)));
    int.or_else(|| values.as_primitive_opt::<Int64Type>().map(|longs| longs.value(i)))
}

/// The rows of the pages for which `take` says so.
pub(crate) fn rows_of(pages: &[Page], take: impl Fn(&Page) -> bool) -> RowSelection {
    let selectors = pages.iter().map(|page| match take(page) {
        true => RowSelector::select(page.rows),
        false => RowSelector::skip(page.rows),
    });
    RowSelection::from(selectors.collect::<Vec<_>>())
}

/// The schema with the texts that repeat as dictionaries, which is how they are stored.
fn with_dictionaries(schema: &Schema) -> Schema {
    let dictionary = || DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let fields = schema.fields().iter().map(|field| {
        let is_text = TEXTS.contains(&field.name().as_str()) && *field.data_type() == DataType::Utf8;
        if is_text {
            Arc::new(Field::new(field.name(), dictionary(), field.is_nullable()))
        } else {
            field.clone()
        }
    });
    Schema::new(fields.collect::<Vec<_>>())
}
