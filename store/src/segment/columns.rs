//! The schema: which columns each table has, and how they are encoded.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, Schema};
use parquet::basic::Encoding;

use super::{PROMOTED, Table};

/// Functions of one type of values that have a row of their own in a slot of time; all others share one. Whatever
/// takes more than a half percent of a machine is among so many.
pub(super) const FUNCTIONS_PER_SLOT: usize = 256;

/// The columns of a table, as they are written.
pub(crate) fn schema(table: Table) -> Schema {
    let int = |name: &str| Field::new(name, DataType::Int32, false);
    let long = |name: &str| Field::new(name, DataType::Int64, false);
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    let repeated = |name: &str| Field::new(name, repeated_text(), false);
    let ints = |name: &str| Field::new_list(name, list_item(), false);
    Schema::new(match table {
        Table::Samples => vec![
            int("series"),
            int("node"),
            long("time"),
            long("pid"),
            long("tid"),
            repeated("thread"),
            repeated("status"),
            long("samples"),
            long("value"),
            ints("offsets_ms"),
            ints("cpus"),
        ],
        Table::Rollup5m | Table::Rollup1h | Table::Rollup1d => {
            // A value that is samples times the series' period says nothing: it is left out.
            let value = Field::new("value", DataType::Int64, true);
            vec![int("series"), int("node"), long("time"), repeated("status"), long("samples"), value]
        }
        Table::Functions => vec![
            text("event"),
            text("unit"),
            Field::new("function", DataType::Utf8, true),
            long("time"),
            int("functions"),
            long("self_samples"),
            long("self_value"),
            long("total_samples"),
            long("total_value"),
        ],
        Table::Series => {
            let mut fields =
                vec![int("series"), text("unit"), long("period"), text("period_event"), text("period_unit")];
            fields.extend(PROMOTED.map(|label| Field::new(label, DataType::Utf8, true)));
            fields.push(Field::new("labels", map_type(), false));
            fields
        }
        Table::Stacks => vec![
            int("node"),
            int("parent"),
            Field::new("frame", DataType::Int32, true),
            int("subtree"),
            int("depth"),
        ],
        Table::Frames => vec![
            int("frame"),
            text("kind"),
            text("unwound"),
            text("function"),
            text("system_name"),
            text("file"),
            long("line"),
            Field::new("binary", DataType::Int32, true),
            long("address"),
        ],
        Table::Binaries => vec![int("binary"), text("path"), text("build_id")],
        Table::Accounts => vec![long("time"), text("host"), text("counter"), long("value")],
    })
}

/// A text that repeats from row to row, handed over as numbers and the texts behind them. In the file it is a string.
pub(super) fn repeated_text() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

/// The columns of rows of samples that are such texts.
pub(super) const REPEATED: [&str; 2] = ["thread", "status"];

/// The element of a list column, named as the Parquet specification asks.
pub(super) fn list_item() -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Int32, false))
}

pub(super) fn map_key() -> Arc<Field> {
    Arc::new(Field::new("key", DataType::Utf8, false))
}

pub(super) fn map_value() -> Arc<Field> {
    Arc::new(Field::new("value", DataType::Utf8, false))
}

fn map_type() -> DataType {
    let entries = DataType::Struct(Fields::from(vec![map_key(), map_value()]));
    DataType::Map(Arc::new(Field::new("key_value", entries, false)), false)
}

/// How columns are written that a dictionary does not suit. Only encodings that readers of years ago know.
pub(super) fn encodings(table: Table) -> &'static [(&'static [&'static str], Encoding)] {
    use Encoding::{DELTA_BINARY_PACKED as DELTA, DELTA_BYTE_ARRAY as PREFIX, PLAIN};
    match table {
        // Runs, ramps or noise: bit-packed differences are shortest.
        Table::Samples => &[(&["node"], DELTA), (&["offsets_ms", "list", "element"], DELTA)],
        Table::Rollup5m | Table::Rollup1h | Table::Rollup1d => &[(&["node"], DELTA)],
        Table::Functions => &[],
        Table::Series => &[(&["series"], DELTA)],
        // Numbers without an order, in which zstd finds what repeats as long as bytes stand where they stood.
        // Depths mostly count up.
        Table::Stacks => &[
            (&["node"], DELTA),
            (&["parent"], PLAIN),
            (&["frame"], PLAIN),
            (&["subtree"], PLAIN),
            (&["depth"], DELTA),
        ],
        // Names are sorted: each is the beginning of the one before and a rest.
        Table::Frames => &[
            (&["frame"], DELTA),
            (&["function"], PREFIX),
            (&["system_name"], PREFIX),
            (&["line"], PLAIN),
            (&["address"], PLAIN),
        ],
        Table::Binaries => &[(&["binary"], DELTA)],
        Table::Accounts => &[(&["value"], DELTA)],
    }
}

/// Columns whose values repeat, in tables of many rows.
pub(super) fn repeated_columns(table: Table) -> &'static [&'static str] {
    match table {
        Table::Samples => &["series", "time", "pid", "tid", "thread", "status", "samples", "value"],
        Table::Rollup5m | Table::Rollup1h | Table::Rollup1d => &["series", "time", "status", "samples"],
        _ => &[],
    }
}

/// The level of zstd for a table in segments of a level. Those of level 0 live for minutes. Level 9 saves another sixteenth of what stacks
/// and symbols take; at level 1 it would be a fifth of the CPU time of merging, of hours and days there are few.
pub(super) fn zstd_level(table: Table, level: u8) -> i32 {
    match (table, level) {
        (_, 0) => 1,
        (Table::Stacks | Table::Frames, 2..) => 9,
        _ => 3,
    }
}

/// Columns by which readers skip pages.
pub(super) fn indexed_columns(table: Table) -> &'static [&'static str] {
    match table {
        Table::Samples | Table::Rollup5m | Table::Rollup1h | Table::Rollup1d => &["series", "node", "time"],
        Table::Functions => &["function", "time"],
        _ => &[],
    }
}

/// Columns whose least and greatest values nobody asks for: finding them takes time with each value.
pub(super) fn unbounded_columns(table: Table) -> &'static [&'static [&'static str]] {
    match table {
        Table::Samples => {
            &[&["offsets_ms", "list", "element"], &["cpus", "list", "element"], &["samples"], &["value"]]
        }
        Table::Rollup5m | Table::Rollup1h | Table::Rollup1d => &[&["samples"], &["value"]],
        Table::Frames => &[&["system_name"], &["file"], &["line"], &["address"]],
        Table::Stacks => &[&["parent"], &["subtree"], &["depth"]],
        _ => &[],
    }
}
