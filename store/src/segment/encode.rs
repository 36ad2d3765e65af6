//! From a profile to the columns of its tables.

use std::sync::Arc;

use arrow_array::builder::{MapBuilder, MapFieldNames, StringBuilder};
use arrow_array::{ArrayRef, DictionaryArray, Int32Array, Int64Array, ListArray, RecordBatch, StringArray};
use arrow_buffer::OffsetBuffer;
use arrow_schema::ArrowError;
use rustc_hash::FxHashMap;

use super::columns::{list_item, map_key, map_value, schema};
use super::rollup::RollupRow;
use super::{PROMOTED, Table};
use crate::model::{Exact, Profile, Row, SeriesId, StringId, StringTable};

/// The rows of a table other than those of samples.
pub(crate) fn encode(profile: &Profile, table: Table) -> Result<RecordBatch, ArrowError> {
    let columns = match table {
        Table::Series => series(profile)?,
        Table::Stacks => stacks(profile),
        Table::Frames => frames(profile),
        Table::Binaries => binaries(profile),
        Table::Accounts => accounts(profile),
        Table::Samples | Table::Rollup5m | Table::Rollup1h | Table::Rollup1d | Table::Functions => Vec::new(),
    };
    RecordBatch::try_new(Arc::new(schema(table)), columns)
}

/// Handles and counts as a column.
pub(super) fn ints(values: impl Iterator<Item = u32>) -> ArrayRef {
    // All are indices below MAX_ROWS, which the caller has checked.
    Arc::new(Int32Array::from_iter_values(values.map(|value| value as i32)))
}

fn longs(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

fn texts<'a>(profile: &'a Profile, values: impl Iterator<Item = StringId>) -> ArrayRef {
    let texts: StringArray = values.map(|id| Some(profile.text(id) as &'a str)).collect();
    Arc::new(texts)
}

/// Texts that repeat, as numbers and the texts behind them.
fn repeated(ids: &[StringId], strings: &StringTable) -> ArrayRef {
    let mut places: FxHashMap<StringId, i32> = FxHashMap::default();
    let mut texts = Vec::new();
    let mut place = |id: StringId| {
        *places.entry(id).or_insert_with(|| {
            texts.push(strings.get(id));
            texts.len() as i32 - 1
        })
    };
    // Neighbours mostly agree.
    let mut last = None;
    let keys = ids.iter().map(|id| match last {
        Some((known, place)) if known == *id => place,
        _ => last.insert((*id, place(*id))).1,
    });
    let keys = Int32Array::from_iter_values(keys);
    let texts: StringArray = texts.into_iter().map(Some).collect();
    Arc::new(DictionaryArray::new(keys, Arc::new(texts)))
}

fn taken(values: &mut Vec<i64>) -> ArrayRef {
    Arc::new(Int64Array::from(std::mem::take(values)))
}

fn taken_ints(values: &mut Vec<i32>) -> ArrayRef {
    Arc::new(Int32Array::from(std::mem::take(values)))
}

/// Rows of samples, by column.
#[derive(Debug, Default)]
pub(crate) struct SampleColumns {
    series: Vec<i32>,
    node: Vec<i32>,
    time: Vec<i64>,
    pid: Vec<i64>,
    tid: Vec<i64>,
    thread: Vec<StringId>,
    status: Vec<StringId>,
    samples: Vec<i64>,
    value: Vec<i64>,
    exact: Vec<usize>,
    offsets: Vec<i32>,
    cpus: Vec<i32>,
}

impl SampleColumns {
    pub(super) fn len(&self) -> usize {
        self.series.len()
    }

    pub(crate) fn push(&mut self, row: &Row, exact: &[Exact]) {
        let key = &row.key;
        self.series.push(key.series.0 as i32);
        self.node.push(key.node.0 as i32);
        self.time.push(key.time_ms);
        self.pid.push(i64::from(key.pid));
        self.tid.push(i64::from(key.tid));
        self.thread.push(key.thread);
        self.status.push(key.status);
        self.samples.push(row.samples as i64);
        self.value.push(row.value);
        self.exact.push(exact.len());
        self.offsets.extend(exact.iter().map(|exact| i32::from(exact.offset_ms)));
        self.cpus.extend(exact.iter().map(|exact| i32::from(exact.cpu)));
    }

    /// What was pushed, which is gone then.
    pub(crate) fn take(&mut self, strings: &StringTable) -> RecordBatch {
        let lengths = OffsetBuffer::from_lengths(std::mem::take(&mut self.exact));
        let list = |values: &mut Vec<i32>| -> ArrayRef {
            Arc::new(ListArray::new(list_item(), lengths.clone(), taken_ints(values), None))
        };
        let columns = vec![
            taken_ints(&mut self.series),
            taken_ints(&mut self.node),
            taken(&mut self.time),
            taken(&mut self.pid),
            taken(&mut self.tid),
            repeated(&std::mem::take(&mut self.thread), strings),
            repeated(&std::mem::take(&mut self.status), strings),
            taken(&mut self.samples),
            taken(&mut self.value),
            list(&mut self.offsets),
            list(&mut self.cpus),
        ];
        batch(Table::Samples, columns)
    }
}

/// Rows of a rollup, by column.
#[derive(Debug, Default)]
pub(super) struct RollupColumns {
    series: Vec<i32>,
    node: Vec<i32>,
    time: Vec<i64>,
    status: Vec<StringId>,
    samples: Vec<i64>,
    value: Vec<Option<i64>>,
}

impl RollupColumns {
    pub(super) fn len(&self) -> usize {
        self.series.len()
    }

    /// `period` is that of the row's series: so much is the value of each of its samples, where it is not said.
    pub(super) fn push(&mut self, row: &RollupRow, period: i64) {
        self.series.push(row.series.0 as i32);
        self.node.push(row.node.0 as i32);
        self.time.push(row.time_ms);
        self.status.push(row.status);
        self.samples.push(row.sum.samples as i64);
        let expected = (row.sum.samples as i64).checked_mul(period);
        self.value.push((expected != Some(row.sum.value)).then_some(row.sum.value));
    }

    /// What was pushed, which is gone then.
    pub(super) fn take(&mut self, strings: &StringTable) -> RecordBatch {
        let columns = vec![
            taken_ints(&mut self.series),
            taken_ints(&mut self.node),
            taken(&mut self.time),
            repeated(&std::mem::take(&mut self.status), strings),
            taken(&mut self.samples),
            Arc::new(Int64Array::from(std::mem::take(&mut self.value))),
        ];
        // All rollups have the same columns.
        batch(Table::Rollup5m, columns)
    }
}

/// Columns that are made for the schema, and equally long.
fn batch(table: Table, columns: Vec<ArrayRef>) -> RecordBatch {
    let schema = Arc::new(schema(table));
    RecordBatch::try_new(schema.clone(), columns).unwrap_or_else(|_| RecordBatch::new_empty(schema))
}

fn series(profile: &Profile) -> Result<Vec<ArrayRef>, ArrowError> {
    let names = MapFieldNames { entry: "key_value".into(), key: "key".into(), value: "value".into() };
    let mut rest = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new())
        .with_keys_field(map_key())
        .with_values_field(map_value());
    for series in &profile.series {
        for (name, value) in &series.labels {
            let name = profile.text(*name);
            if !PROMOTED.contains(&name) {
                rest.keys().append_value(name);
                rest.values().append_value(profile.text(*value));
            }
        }
        rest.append(true)?;
    }
    let mut columns = vec![
        ints(0..profile.series.len() as u32),
        texts(profile, profile.series.iter().map(|series| series.unit)),
        longs(profile.series.iter().map(|series| series.period.every)),
        texts(profile, profile.series.iter().map(|series| series.period.event)),
        texts(profile, profile.series.iter().map(|series| series.period.unit)),
    ];
    for label in PROMOTED {
        let ids = (0..profile.series.len() as u32).map(SeriesId);
        let values: StringArray = ids.map(|id| profile.label(id, label)).collect();
        columns.push(Arc::new(values));
    }
    columns.push(Arc::new(rest.finish()));
    Ok(columns)
}

fn stacks(profile: &Profile) -> Vec<ArrayRef> {
    let tree = &profile.stacks;
    let frames: Int32Array = tree.nodes().map(|v| tree.frame(v).map(|frame| frame.0 as i32)).collect();
    vec![
        ints(tree.nodes().map(|v| v.0)),
        ints(tree.nodes().map(|v| v.0 - tree.parent(v).0)),
        Arc::new(frames),
        ints(tree.nodes().map(|v| tree.subtree(v))),
        ints(tree.nodes().map(|v| tree.depth(v))),
    ]
}

fn frames(profile: &Profile) -> Vec<ArrayRef> {
    let all = || profile.frames.iter();
    let kinds: StringArray = all().map(|frame| Some(frame.kind.name())).collect();
    let ways: StringArray = all().map(|frame| Some(frame.unwound.name())).collect();
    let binaries: Int32Array = all().map(|frame| frame.binary.map(|binary| binary.0 as i32)).collect();
    vec![
        ints(0..profile.frames.len() as u32),
        Arc::new(kinds),
        Arc::new(ways),
        texts(profile, all().map(|frame| frame.function)),
        texts(profile, all().map(|frame| frame.system_name)),
        texts(profile, all().map(|frame| frame.file)),
        longs(all().map(|frame| i64::from(frame.line))),
        Arc::new(binaries),
        longs(all().map(|frame| frame.address.cast_signed())),
    ]
}

fn binaries(profile: &Profile) -> Vec<ArrayRef> {
    vec![
        ints(0..profile.binaries.len() as u32),
        texts(profile, profile.binaries.iter().map(|binary| binary.path)),
        texts(profile, profile.binaries.iter().map(|binary| binary.build_id)),
    ]
}

fn accounts(profile: &Profile) -> Vec<ArrayRef> {
    let all = || profile.accounts.iter();
    vec![
        longs(all().map(|account| account.time_ms)),
        texts(profile, all().map(|account| account.host)),
        texts(profile, all().map(|account| account.counter)),
        longs(all().map(|account| i64::try_from(account.value).unwrap_or(i64::MAX))),
    ]
}
