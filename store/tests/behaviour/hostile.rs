//! Damaged and foreign files among the segments: skipped, named, with the rest of the answer intact.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::KeyValue;
use store::model::Keep;
use store::{Selector, Skipped, Store, TimeRange};

use crate::common::{NOON, Random, at_times, plain, window};

const FILES: [&str; 6] = [
    "samples.parquet",
    "series.parquet",
    "stacks.parquet",
    "frames.parquet",
    "binaries.parquet",
    "accounts.parquet",
];

/// A data directory with two segments; the tests damage the first, and the second must stay.
struct Victim {
    dir: tempfile::TempDir,
    segment: PathBuf,
    good: Vec<String>,
    whole: Vec<String>,
}

impl Victim {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open_writer(dir.path()).expect("a store");
        let segment = store.append(&window(1, NOON, 40)).expect("written").path().to_owned();
        let whole = plain(&window(1, NOON, 40));
        store.append(&at_times(NOON + 10_000, "a", &[NOON + 10_000])).expect("written");
        let good = plain(&at_times(NOON + 10_000, "a", &[NOON + 10_000]));
        Self { dir, segment, good, whole }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.segment.join(name)
    }

    fn without_manifest(self) -> Self {
        fs::remove_file(self.file("_manifest.json")).expect("removed");
        self
    }

    /// What a fresh reader finds and what it skips.
    fn read(&self) -> (Vec<String>, Vec<Skipped>) {
        let store = Store::open_reader(self.dir.path()).expect("opened");
        let answer = store.query(&Selector::all(), TimeRange::ALL, Keep::ALL).expect("an answer");
        (plain(&answer.profile), answer.skipped)
    }

    /// The reason why the first segment is skipped, having checked that the second is not.
    fn reason(&self) -> String {
        let (found, skipped) = self.read();
        assert_eq!(found, self.good);
        assert_eq!(skipped.len(), 1, "{skipped:?}");
        assert_eq!(skipped[0].path, self.segment);
        skipped[0].reason.clone()
    }

    /// Either the segment is skipped, or it reads exactly as it was written.
    fn check_nothing_false_is_read(&self) -> bool {
        let (found, skipped) = self.read();
        if skipped.is_empty() {
            let mut both = [&self.good[..], &self.whole].concat();
            both.sort();
            assert_eq!(found, both);
        } else {
            assert_eq!(found, self.good);
        }
        !skipped.is_empty()
    }
}

/// Writes a file anew with some rows changed; the footer keeps the metadata of the original.
fn rewrite(path: &Path, change: impl Fn(RecordBatch) -> RecordBatch) {
    rewrite_with(path, change, |_| {});
}

fn rewrite_with(
    path: &Path,
    change: impl Fn(RecordBatch) -> RecordBatch,
    mut metadata: impl FnMut(&mut KeyValue),
) {
    let reader =
        ParquetRecordBatchReaderBuilder::try_new(fs::File::open(path).expect("a file")).expect("Parquet");
    let mut values = reader.metadata().file_metadata().key_value_metadata().cloned().unwrap_or_default();
    values.retain(|value| value.key.starts_with("vesta."));
    let rows = reader.build().expect("Parquet").next().expect("rows").expect("rows");
    let rows = change(rows);
    let file = fs::File::create(path).expect("created");
    let mut writer = ArrowWriter::try_new(file, rows.schema(), None).expect("a schema");
    writer.write(&rows).expect("written");
    for mut value in values {
        metadata(&mut value);
        writer.append_key_value_metadata(value);
    }
    writer.close().expect("written");
}

fn with_column(rows: RecordBatch, name: &str, column: ArrayRef) -> RecordBatch {
    let mut columns = rows.columns().to_vec();
    let at = rows.schema().index_of(name).expect("a column");
    let mut fields: Vec<Field> = rows.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    fields[at] =
        Field::new(name, column.data_type().clone(), column.null_count() > 0 || fields[at].is_nullable());
    columns[at] = column;
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("rows")
}

/// Puts one value into the last row of a column.
fn with_last(rows: RecordBatch, name: &str, value: i64) -> RecordBatch {
    let column = rows.column_by_name(name).expect("a column").clone();
    let any = column.as_any();
    let last = rows.num_rows() - 1;
    let column: ArrayRef = if let Some(ints) = any.downcast_ref::<Int32Array>() {
        let value = i32::try_from(value).expect("fits");
        Arc::new(
            (0..=last)
                .map(|i| if i == last { Some(value) } else { ints.iter().nth(i)? })
                .collect::<Int32Array>(),
        )
    } else {
        let longs = any.downcast_ref::<Int64Array>().expect("integers");
        Arc::new(
            (0..=last)
                .map(|i| if i == last { Some(value) } else { longs.iter().nth(i)? })
                .collect::<Int64Array>(),
        )
    };
    with_column(rows, name, column)
}

#[test]
fn a_segment_without_manifest_is_read_by_its_footers() {
    let victim = Victim::new().without_manifest();
    assert!(!victim.check_nothing_false_is_read());
    let store = Store::open_reader(victim.dir.path()).unwrap();
    assert_eq!(store.span(), Some(TimeRange::new(NOON, NOON + 20_000).unwrap()));
}

#[test]
fn a_file_cut_short_anywhere_is_skipped_and_named() {
    for name in FILES {
        for victim in [Victim::new(), Victim::new().without_manifest()] {
            let path = victim.file(name);
            let bytes = fs::read(&path).unwrap();
            let cuts = [0, 1, 4, 8, 12, bytes.len() / 3, bytes.len() / 2, bytes.len() - 9, bytes.len() - 8];
            for cut in cuts.into_iter().chain([bytes.len() - 1]) {
                fs::write(&path, &bytes[..cut]).unwrap();
                let reason = victim.reason();
                assert!(reason.starts_with(&format!("{name}: ")), "{reason}");
            }
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_is_found_by_checksum() {
    let victim = Victim::new();
    let mut random = Random(3);
    for name in FILES {
        let path = victim.file(name);
        let bytes = fs::read(&path).unwrap();
        for _ in 0..30 {
            let mut damaged = bytes.clone();
            damaged[random.below(bytes.len() as u64) as usize] ^= 1 << random.below(8);
            fs::write(&path, &damaged).unwrap();
            let reason = victim.reason();
            assert!(reason.starts_with(&format!("{name}: its checksum is wrong")), "{reason}");
        }
        fs::write(&path, &bytes).unwrap();
    }
    assert!(!victim.check_nothing_false_is_read());
}

#[test]
fn flipped_bits_without_checksums_never_break_the_rest_of_an_answer() {
    let victim = Victim::new().without_manifest();
    let mut random = Random(4);
    let mut skipped = 0;
    for name in FILES {
        let path = victim.file(name);
        let bytes = fs::read(&path).unwrap();
        for _ in 0..60 {
            let mut damaged = bytes.clone();
            damaged[random.below(bytes.len() as u64) as usize] ^= 1 << random.below(8);
            fs::write(&path, &damaged).unwrap();
            // A changed value cannot be told from a true one; a changed handle, length or structure can.
            let (found, reasons) = victim.read();
            assert!(victim.good.iter().all(|line| found.contains(line)));
            skipped += reasons.len();
        }
        fs::write(&path, &bytes).unwrap();
    }
    assert!(skipped > 50, "{skipped}");
}

#[test]
fn a_damaged_manifest_gives_way_to_the_footers() {
    let victim = Victim::new();
    let path = victim.file("_manifest.json");
    let json = fs::read_to_string(&path).unwrap();
    let moved = json.replace(&(NOON + 10_000).to_string(), &(NOON + 10_001).to_string());
    assert_ne!(moved, json);
    for damaged in ["", "{}", "\u{0}\u{1}", &json[..json.len() / 2], &moved, &"[".repeat(100_000)] {
        fs::write(&path, damaged).unwrap();
        assert!(!victim.check_nothing_false_is_read());
    }
}

#[test]
fn a_missing_file_is_named() {
    for name in FILES {
        let victim = Victim::new();
        fs::remove_file(victim.file(name)).unwrap();
        assert_eq!(victim.reason(), format!("{name}: the file is missing"));
        fs::create_dir(victim.file(name)).unwrap();
        assert_eq!(victim.reason(), format!("{name}: not a file"));
    }
}

#[test]
fn foreign_parquet_is_told_from_ours() {
    let foreign = tempfile::NamedTempFile::new().unwrap();
    let column: ArrayRef = Arc::new(Int32Array::from(vec![1, 2, 3]));
    let rows = RecordBatch::try_from_iter([("a", column)]).unwrap();
    let mut writer = ArrowWriter::try_new(foreign.reopen().unwrap(), rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
    for name in FILES {
        let victim = Victim::new().without_manifest();
        fs::copy(foreign.path(), victim.file(name)).unwrap();
        let reason = victim.reason();
        assert!(
            reason.starts_with(&format!("{name}: ")) && reason.contains("not a file of Vesta"),
            "{reason}"
        );
    }
    // One of our own files in the place of another.
    let victim = Victim::new().without_manifest();
    fs::copy(victim.file("frames.parquet"), victim.file("binaries.parquet")).unwrap();
    let reason = victim.reason();
    assert!(reason.starts_with("binaries.parquet: "), "{reason}");
}

#[test]
fn a_version_from_the_future_is_skipped_and_named() {
    let victim = Victim::new().without_manifest();
    rewrite_with(
        &victim.file("samples.parquet"),
        |rows| rows,
        |value| {
            if value.key == "vesta.schema_version" {
                value.value = Some("4".to_owned());
            }
        },
    );
    let reason = victim.reason();
    assert!(reason.contains("schema version 4; this version of Vesta reads [1, 2, 3]"), "{reason}");
}

#[test]
fn metadata_that_makes_no_sense_is_refused() {
    let cases = [
        ("vesta.min_ms", "-1", "outside the years"),
        ("vesta.max_ms", "9223372036854775807", "outside the years"),
        ("vesta.min_ms", "soon", "not a number"),
        ("vesta.replaces", "me", "not a segment"),
        ("vesta.max_ms", "5", "before its first"),
        ("vesta.schema_version", "one", "schema version `one`"),
        ("vesta.level", "700", "not a number"),
    ];
    for (key, text, expected) in cases {
        let victim = Victim::new().without_manifest();
        rewrite_with(
            &victim.file("samples.parquet"),
            |rows| rows,
            |value| {
                if value.key == key {
                    value.value = Some(text.to_owned());
                }
            },
        );
        let reason = victim.reason();
        assert!(reason.contains(expected), "{key}={text}: {reason}");
    }
}

#[test]
fn handles_lengths_and_times_out_of_range_are_refused() {
    let cases: [(&str, &str, i64, &str); 22] = [
        ("samples", "series", 5, "series 5 is not among the 5"),
        ("samples", "series", -1, "series -1"),
        ("samples", "node", 1 << 30, "node 1073741824 is not among"),
        ("samples", "time", NOON - 1, "outside the segment's own span"),
        ("samples", "time", i64::MAX, "outside the segment's own span"),
        ("samples", "pid", -1, "pid -1 is out of range"),
        ("samples", "tid", 1 << 32, "tid 4294967296 is out of range"),
        ("samples", "samples", -1, "a row of -1 samples"),
        ("samples", "value", i64::MIN, "add up to more"),
        ("stacks", "node", 0, "column node does not count up"),
        ("stacks", "frame", 40, "frame 40 is not among the"),
        ("stacks", "frame", i32::MIN as i64, "frame -2147483648"),
        ("stacks", "parent", 0, "not in preorder"),
        ("stacks", "parent", i32::MAX as i64, "not in preorder"),
        ("stacks", "subtree", 2, "wrong subtree or depth"),
        ("stacks", "depth", 999, "wrong subtree or depth"),
        ("frames", "binary", 3, "binary 3 is not among the 3"),
        ("frames", "line", -7, "line -7 is out of range"),
        ("series", "series", 9, "column series does not count up"),
        ("binaries", "binary", -1, "column binary does not count up"),
        ("accounts", "value", -1, "a counter is negative"),
        ("accounts", "time", 0, "outside the segment's own span"),
    ];
    for (table, column, value, expected) in cases {
        let victim = Victim::new().without_manifest();
        let name = format!("{table}.parquet");
        rewrite(&victim.file(&name), |rows| with_last(rows, column, value));
        let reason = victim.reason();
        assert!(reason.starts_with(&name) && reason.contains(expected), "{table}.{column}={value}: {reason}");
    }
}

#[test]
fn columns_of_other_types_or_with_empty_places_are_refused() {
    let len = |rows: &RecordBatch| rows.num_rows();
    type Change = fn(usize) -> ArrayRef;
    let cases: [(&str, &str, Change, &str); 6] = [
        ("samples", "node", |n| Arc::new(Int64Array::from(vec![0; n])), "column node has type Int64"),
        ("samples", "offsets_ms", |n| Arc::new(Int32Array::from(vec![0; n])), "column offsets_ms has type"),
        ("samples", "status", |n| Arc::new(StringArray::new_null(n)), "column status has empty places"),
        ("frames", "kind", |n| Arc::new(StringArray::from(vec!["magic"; n])), "unknown kind `magic`"),
        ("frames", "unwound", |n| Arc::new(StringArray::from(vec!["\n"; n])), "unknown unwound `\\n`"),
        ("series", "labels", |n| Arc::new(StringArray::from(vec![""; n])), "column labels has type"),
    ];
    for (table, column, change, expected) in cases {
        let victim = Victim::new().without_manifest();
        let name = format!("{table}.parquet");
        rewrite(&victim.file(&name), |rows| {
            let n = len(&rows);
            with_column(rows, column, change(n))
        });
        let reason = victim.reason();
        assert!(reason.starts_with(&name) && reason.contains(expected), "{table}.{column}: {reason}");
    }
}

#[test]
fn a_stack_without_root_and_a_missing_column_are_refused() {
    let victim = Victim::new().without_manifest();
    rewrite(&victim.file("stacks.parquet"), |rows| rows.slice(0, 0));
    assert_eq!(victim.reason(), "stacks.parquet: it has no root");

    let victim = Victim::new().without_manifest();
    rewrite(&victim.file("samples.parquet"), |rows| {
        let keep: Vec<_> =
            (0..rows.num_columns()).filter(|i| rows.schema().field(*i).name() != "cpus").collect();
        rows.project(&keep).expect("columns")
    });
    assert_eq!(victim.reason(), "samples.parquet: column cpus is missing");
}

#[test]
fn what_is_no_segment_is_named_and_left() {
    let victim = Victim::new();
    let segments = victim.dir.path().join("segments");
    let strays = [segments.join("notes.txt"), segments.join("date=2026-01-31").join("copy.parquet")];
    for stray in &strays {
        fs::write(stray, "hello").unwrap();
    }
    let store = Store::open_reader(victim.dir.path()).unwrap();
    let mut named: Vec<_> = store.stats().skipped.into_iter().map(|skipped| skipped.path).collect();
    named.sort();
    let mut expected = strays.to_vec();
    expected.sort();
    assert_eq!(named, expected);
    assert_eq!(store.stats().segments, 2);
}

#[test]
fn damage_is_counted_once_it_was_met() {
    let victim = Victim::new();
    fs::write(victim.file("frames.parquet"), "PAR1").unwrap();
    let store = Store::open_reader(victim.dir.path()).unwrap();
    assert_eq!(store.stats().skipped, []);
    for _ in 0..2 {
        let answer = store.query(&Selector::all(), TimeRange::ALL, Keep::ALL).unwrap();
        assert_eq!((answer.segments_read, answer.skipped.len()), (1, 1));
    }
    let stats = store.stats();
    assert_eq!((stats.segments, stats.skipped.len()), (1, 1));
    assert_eq!(stats.skipped[0].path, victim.segment);
}
