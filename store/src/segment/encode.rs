//! From a profile to the columns of its tables.

use std::sync::Arc;

use arrow_array::builder::{Int32Builder, ListBuilder, MapBuilder, MapFieldNames, StringBuilder};
use arrow_array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::ArrowError;

use super::columns::{list_item, map_key, map_value, schema};
use super::{CHUNK_MS, PROMOTED, Table};
use crate::model::{Exact, Profile, Row, SeriesId, StringId};

/// The rows of one table.
pub(super) fn encode(profile: &Profile, table: Table) -> Result<RecordBatch, ArrowError> {
    let columns = match table {
        Table::Samples => samples(profile),
        Table::Series => series(profile)?,
        Table::Stacks => stacks(profile),
        Table::Frames => frames(profile),
        Table::Binaries => binaries(profile),
        Table::Accounts => accounts(profile),
    };
    RecordBatch::try_new(Arc::new(schema(table)), columns)
}

fn ints(values: impl Iterator<Item = u32>) -> ArrayRef {
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

/// Start of the chunk a time lies in, in milliseconds.
pub(super) fn chunk_of(time_ms: i64) -> i64 {
    time_ms - time_ms.rem_euclid(CHUNK_MS)
}

fn samples(profile: &Profile) -> Vec<ArrayRef> {
    let mut rows: Vec<&Row> = profile.rows.iter().collect();
    // By series, chunk and stack: half the size of an order by time, and still a chunk can be skipped.
    rows.sort_by_key(|row| (row.key.series, chunk_of(row.key.time_ms), row.key.node));
    let list = |value: fn(&Exact) -> u16| -> ArrayRef {
        let mut lists = ListBuilder::new(Int32Builder::new()).with_field(list_item());
        for row in &rows {
            lists.append_value(profile.exact_of(row).iter().map(|exact| Some(i32::from(value(exact)))));
        }
        Arc::new(lists.finish())
    };
    vec![
        ints(rows.iter().map(|row| row.key.series.0)),
        longs(rows.iter().map(|row| chunk_of(row.key.time_ms) / 1000)),
        ints(rows.iter().map(|row| row.key.node.0)),
        longs(rows.iter().map(|row| row.key.time_ms)),
        longs(rows.iter().map(|row| i64::from(row.key.pid))),
        longs(rows.iter().map(|row| i64::from(row.key.tid))),
        texts(profile, rows.iter().map(|row| row.key.thread)),
        texts(profile, rows.iter().map(|row| row.key.status)),
        longs(rows.iter().map(|row| row.samples as i64)),
        longs(rows.iter().map(|row| row.value)),
        list(|exact| exact.offset_ms),
        list(|exact| exact.cpu),
    ]
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
