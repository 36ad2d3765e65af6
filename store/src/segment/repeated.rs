//! Columns whose values repeat, as Parquet has them: a dictionary, and numbers into it.
//!
//! The library's writer finds each value in its dictionary by a hash of its bytes. That was a large part of what writing rows took: here
//! neighbours, which mostly agree, are compared, and texts that came as numbers stay numbers.

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef};
use bytes::Bytes;
use parquet::basic::{Compression, Encoding, PageType, Type};
use parquet::column::page::{CompressedPage, Page, PageWriteSpec, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::ByteArray;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{
    ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder, PageEncodingStats,
};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::statistics::{Statistics, ValueStatistics};
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;
use rustc_hash::FxHashMap;
use zstd::bulk::Compressor;

use super::hybrid;

/// Bytes of a dictionary, beyond which values are written as they are: as the library has it.
const MAX_DICTIONARY_BYTES: usize = 1 << 20;
/// Longest texts that a column's bounds are known of.
const MAX_BOUND_BYTES: usize = 64;

/// What readers are told of a column's least and greatest values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bounds {
    None,
    /// Of a row group.
    Chunk,
    /// And of each page.
    Page,
}

/// The values of one column in one row group.
pub(super) struct RepeatedColumn {
    column: ColumnDescPtr,
    compression: Compression,
    bounds: Bounds,
    rows_of_page: usize,
    /// Texts by number, where the column has texts. Its values are these numbers then.
    texts: Texts,
    /// The values of the page that is being filled.
    values: Vec<i64>,
    /// Places in the dictionary by value.
    places: FxHashMap<i64, u32>,
    /// By place.
    dictionary: Vec<i64>,
    dictionary_bytes: usize,
    /// The dictionary has grown too large for more values.
    is_full: bool,
    /// Pages with their headers, but for the dictionary.
    pages: Vec<u8>,
    written: Vec<WrittenPage>,
}

/// Texts that were met, by number.
#[derive(Default)]
struct Texts {
    numbers: FxHashMap<Box<str>, i64>,
    texts: Vec<Box<str>>,
}

impl Texts {
    fn number(&mut self, text: &str) -> i64 {
        if let Some(known) = self.numbers.get(text) {
            return *known;
        }
        let number = self.texts.len() as i64;
        self.numbers.insert(text.into(), number);
        self.texts.push(text.into());
        number
    }
}

/// A page that is among the bytes of all pages.
struct WrittenPage {
    spec: PageWriteSpec,
    rows: usize,
    encoding: Encoding,
    bounds: (i64, i64),
}

impl RepeatedColumn {
    pub(super) fn new(
        column: ColumnDescPtr,
        compression: Compression,
        bounds: Bounds,
        rows_of_page: usize,
    ) -> Self {
        Self {
            column,
            compression,
            bounds,
            rows_of_page,
            texts: Texts::default(),
            values: Vec::with_capacity(rows_of_page),
            places: FxHashMap::default(),
            dictionary: Vec::new(),
            dictionary_bytes: 0,
            is_full: false,
            pages: Vec::new(),
            written: Vec::new(),
        }
    }

    /// Adds values: numbers, or texts by numbers.
    pub(super) fn push(&mut self, array: &ArrayRef, zstd: &mut Compressor<'_>) -> Result<()> {
        if array.null_count() > 0 {
            return Err(ParquetError::General(format!("{} has empty places", self.column.name())));
        }
        if let Some(ints) = array.as_primitive_opt::<Int32Type>() {
            self.extend(ints.values(), |value| i64::from(*value), zstd)
        } else if let Some(longs) = array.as_primitive_opt::<Int64Type>() {
            self.extend(longs.values(), |value| *value, zstd)
        } else {
            let dictionary = array.as_dictionary_opt::<Int32Type>();
            let texts =
                dictionary.and_then(|array| Some((array.keys(), array.values().as_string_opt::<i32>()?)));
            let (keys, texts) = texts.ok_or_else(|| {
                ParquetError::General(format!("{} has type {}", self.column.name(), array.data_type()))
            })?;
            let numbers: Vec<_> = (0..texts.len()).map(|i| self.texts.number(texts.value(i))).collect();
            self.extend(keys.values(), |key| numbers[*key as usize], zstd)
        }
    }

    fn extend<T>(
        &mut self,
        mut rest: &[T],
        value: impl Fn(&T) -> i64,
        zstd: &mut Compressor<'_>,
    ) -> Result<()> {
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(self.rows_of_page - self.values.len()));
            self.values.extend(now.iter().map(&value));
            rest = later;
            if self.values.len() == self.rows_of_page {
                self.end_page(zstd)?;
            }
        }
        Ok(())
    }

    fn end_page(&mut self, zstd: &mut Compressor<'_>) -> Result<()> {
        let values = std::mem::take(&mut self.values);
        let (bytes, encoding) = match self.places_of(&values) {
            Some(places) => {
                // As many bits as the dictionary needs by now.
                let width = hybrid::width_of(self.dictionary.len().saturating_sub(1) as u32);
                let mut bytes = vec![width];
                hybrid::encode(&places, width, &mut bytes);
                (bytes, Encoding::RLE_DICTIONARY)
            }
            None => (self.plain(&values), Encoding::PLAIN),
        };
        let page = Page::DataPage {
            buf: zstd.compress(&bytes)?.into(),
            num_values: values.len() as u32,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let spec = append(&mut self.pages, CompressedPage::new(page, bytes.len()))?;
        let bounds = match self.bounds {
            Bounds::None => (0, 0),
            Bounds::Chunk | Bounds::Page => values
                .iter()
                .fold((i64::MAX, i64::MIN), |(min, max), value| (min.min(*value), max.max(*value))),
        };
        self.written.push(WrittenPage { spec, rows: values.len(), encoding, bounds });
        // Its memory is for the next page.
        self.values = values;
        self.values.clear();
        Ok(())
    }

    /// Places of values in the dictionary, which takes up new ones; none when it has become too large for that.
    fn places_of(&mut self, values: &[i64]) -> Option<Vec<u32>> {
        if self.is_full {
            return None;
        }
        let before = (self.dictionary.len(), self.dictionary_bytes);
        let mut places = Vec::with_capacity(values.len());
        let mut last: Option<(i64, u32)> = None;
        for &value in values {
            let place = match last {
                Some((known, place)) if known == value => place,
                _ => self.place_of(value),
            };
            last = Some((value, place));
            places.push(place);
        }
        if self.dictionary_bytes <= MAX_DICTIONARY_BYTES {
            return Some(places);
        }
        self.is_full = true;
        (self.dictionary_bytes, self.places) = (before.1, FxHashMap::default());
        self.dictionary.truncate(before.0);
        None
    }

    fn place_of(&mut self, value: i64) -> u32 {
        let next = self.dictionary.len() as u32;
        let place = *self.places.entry(value).or_insert(next);
        if place == next {
            self.dictionary.push(value);
            self.dictionary_bytes += match self.column.physical_type() {
                Type::INT32 => 4,
                Type::INT64 => 8,
                _ => 4 + self.text(value).len(),
            };
        }
        place
    }

    fn text(&self, number: i64) -> &str {
        usize::try_from(number).ok().and_then(|number| self.texts.texts.get(number)).map_or("", |text| text)
    }

    /// Values as they are.
    fn plain(&self, values: &[i64]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(values.len() * 8);
        match self.column.physical_type() {
            Type::INT32 => values.iter().for_each(|value| bytes.extend((*value as i32).to_le_bytes())),
            Type::INT64 => values.iter().for_each(|value| bytes.extend(value.to_le_bytes())),
            _ => {
                for text in values.iter().map(|value| self.text(*value)) {
                    bytes.extend((text.len() as u32).to_le_bytes());
                    bytes.extend(text.as_bytes());
                }
            }
        }
        bytes
    }

    /// The column's bytes, and what the footer says of them.
    pub(super) fn close(mut self, zstd: &mut Compressor<'_>) -> Result<(Bytes, ColumnCloseResult)> {
        if !self.values.is_empty() {
            self.end_page(zstd)?;
        }
        let mut bytes = Vec::with_capacity(self.pages.len() + 1024);
        let dictionary = self.plain(&self.dictionary);
        let page = Page::DictionaryPage {
            buf: zstd.compress(&dictionary)?.into(),
            num_values: self.dictionary.len() as u32,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        };
        let dictionary = append(&mut bytes, CompressedPage::new(page, dictionary.len()))?;
        let first = bytes.len() as u64;
        bytes.append(&mut self.pages);
        let (rows, uncompressed) =
            self.written.iter().fold((0, dictionary.uncompressed_size), |sum, page| {
                (sum.0 + page.rows, sum.1 + page.spec.uncompressed_size)
            });
        let mut metadata = ColumnChunkMetaData::builder(self.column.clone())
            .set_compression(self.compression)
            .set_encodings(vec![Encoding::RLE, Encoding::PLAIN, Encoding::RLE_DICTIONARY])
            .set_page_encoding_stats(self.page_encodings())
            .set_total_compressed_size(bytes.len() as i64)
            .set_total_uncompressed_size(uncompressed as i64)
            .set_num_values(rows as i64)
            .set_dictionary_page_offset(Some(0))
            .set_data_page_offset(first as i64);
        if let Some(statistics) = self.statistics() {
            metadata = metadata.set_statistics(statistics);
        }
        let mut offsets = OffsetIndexBuilder::new();
        for page in &self.written {
            offsets.append_row_count(page.rows as i64);
            offsets
                .append_offset_and_size((page.spec.offset + first) as i64, page.spec.compressed_size as i32);
        }
        let closed = ColumnCloseResult {
            bytes_written: bytes.len() as u64,
            rows_written: rows as u64,
            metadata: metadata.build()?,
            bloom_filter: None,
            column_index: self.column_index()?,
            offset_index: Some(offsets.build()),
        };
        Ok((bytes.into(), closed))
    }

    fn page_encodings(&self) -> Vec<PageEncodingStats> {
        let count = |encoding| self.written.iter().filter(|page| page.encoding == encoding).count() as i32;
        let pages = [
            (PageType::DICTIONARY_PAGE, Encoding::PLAIN, 1),
            (PageType::DATA_PAGE, Encoding::RLE_DICTIONARY, count(Encoding::RLE_DICTIONARY)),
            (PageType::DATA_PAGE, Encoding::PLAIN, count(Encoding::PLAIN)),
        ];
        let known = pages.into_iter().filter(|(.., count)| *count > 0);
        known.map(|(page_type, encoding, count)| PageEncodingStats { page_type, encoding, count }).collect()
    }

    fn statistics(&self) -> Option<Statistics> {
        if self.bounds == Bounds::None {
            return None;
        }
        if self.column.physical_type() == Type::BYTE_ARRAY {
            // All texts that were met are in this row group.
            let texts = || self.texts.texts.iter();
            let bounds = texts().min().zip(texts().max());
            let (min, max) = bounds.filter(|(a, b)| a.len().max(b.len()) <= MAX_BOUND_BYTES)?;
            let bytes = |text: &str| Some(ByteArray::from(text));
            return Some(ValueStatistics::new(bytes(min), bytes(max), None, Some(0), false).into());
        }
        let bounds = self.written.iter().map(|page| page.bounds);
        let (min, max) = bounds.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))?;
        // Numbers with a sign have bounds that readers of long ago find, too.
        Some(match self.column.physical_type() {
            Type::INT32 => ValueStatistics::new(Some(min as i32), Some(max as i32), None, Some(0), false)
                .with_backwards_compatible_min_max(true)
                .into(),
            _ => ValueStatistics::new(Some(min), Some(max), None, Some(0), false)
                .with_backwards_compatible_min_max(true)
                .into(),
        })
    }

    fn column_index(&self) -> Result<Option<ColumnIndexMetaData>> {
        let physical = self.column.physical_type();
        if self.bounds != Bounds::Page || physical == Type::BYTE_ARRAY {
            return Ok(None);
        }
        let mut index = ColumnIndexBuilder::new(physical);
        for (min, max) in self.written.iter().map(|page| page.bounds) {
            let bytes = |value: i64| match physical {
                Type::INT32 => (value as i32).to_le_bytes().to_vec(),
                _ => value.to_le_bytes().to_vec(),
            };
            index.append(false, bytes(min), bytes(max), 0);
        }
        index.build().map(Some)
    }
}

/// Adds a page with its header.
fn append(pages: &mut Vec<u8>, page: CompressedPage) -> Result<PageWriteSpec> {
    let before = pages.len() as u64;
    let mut sink = TrackedWrite::new(pages);
    let mut spec = SerializedPageWriter::new(&mut sink).write_page(page)?;
    std::io::Write::flush(&mut sink)?;
    spec.offset += before;
    Ok(spec)
}
