//! Whether a segment is whole: every file has its checksum, every value can be what it says, and what is said of the same
//! samples in several places agrees.

use std::collections::BTreeMap;
use std::path::Path;

use rustc_hash::FxHashMap;

use super::decode::{self, RowDecoder};
use super::file::{Checked, TableFile};
use super::folder::{LoadError, bytes_of, guarded, read_tables, source_of};
use super::functions::Sum;
use super::rows::Batch;
use super::statistics::{self, Counter};
use super::{Manifest, ROLLUPS, Table};
use crate::model::{NodeId, Profile, SeriesId, StringId, StringTable};
use crate::query::MAX_TIME_MS;

/// Samples by group of series (its first one), stack and status: rollups do not tell hosts apart.
type Sums = FxHashMap<(SeriesId, NodeId, StringId), Sum>;

/// Reads all of a segment, a table at a time, rows some thousand at a time, and compares.
pub(crate) fn verify(folder: &Path, manifest: &Manifest) -> Result<(), LoadError> {
    let tables = {
        let files = read_tables(folder, manifest, &Table::ALL_BUT_SAMPLES)?;
        guarded(|| decode::decode_all_but_samples(manifest, |table| bytes_of(&files, table)))?
    };
    let mut counter = Counter::new(&tables);
    // One for all files, so that a status has the same handle in each.
    let mut strings = tables.strings.clone();
    let samples = sums_of(folder, manifest, Table::Samples, &tables, &mut strings, Some(&mut counter))?;
    let found = counter.finish(&tables);
    if let Some(stated) = &manifest.statistics
        && *stated != found
    {
        let (stated, found) = (stated.samples, found.samples);
        let reason = format!(
            "the statistics of its manifest do not fit its samples ({stated} samples stated, {found} there)"
        );
        return Err(LoadError::Bad(reason));
    }
    for (table, _) in ROLLUPS {
        if has(manifest, table) {
            let rollup = sums_of(folder, manifest, table, &tables, &mut strings, None)?;
            compare(table, &samples, &rollup, &tables).map_err(LoadError::Bad)?;
        }
    }
    if has(manifest, Table::Functions) {
        let files = read_tables(folder, manifest, &[Table::Functions])?;
        let bytes = bytes_of(&files, Table::Functions);
        guarded(|| compare_functions(TableFile::open(Table::Functions, bytes)?, &samples, &tables))?;
    }
    Ok(())
}

fn has(manifest: &Manifest, table: Table) -> bool {
    manifest.files.contains_key(table.file_name())
}

/// The sums of a table's rows.
fn sums_of(
    folder: &Path,
    manifest: &Manifest,
    table: Table,
    tables: &Profile,
    strings: &mut StringTable,
    mut counter: Option<&mut Counter>,
) -> Result<Sums, LoadError> {
    let source = source_of(folder, manifest, table)?;
    guarded(|| {
        // Steps of rollups may begin before the segment.
        let (file, span) = if table == Table::Samples {
            (decode::open_samples(manifest, source)?, manifest.clone())
        } else {
            (TableFile::open(table, source)?, Manifest { min_ms: 0, max_ms: MAX_TIME_MS, ..manifest.clone() })
        };
        let mut decoder = RowDecoder::new(tables);
        let (mut batch, mut sums) = (Batch::default(), Sums::default());
        let strings = &mut *strings;
        let firsts = tables.firsts_of_series();
        file.read(|_, rows| {
            batch.clear();
            decoder.decode(rows, &span, strings, &mut batch)?;
            for row in &batch.rows {
                if let Some(counter) = &mut counter {
                    counter.add(row, strings);
                }
                // The decoder has checked that there is such a series.
                let key = (firsts[row.key.series.0 as usize], row.key.node, row.key.status);
                sums.entry(key).or_default().add(Sum { samples: row.samples, value: row.value });
            }
            Ok(())
        })?;
        Ok(sums)
    })
}

fn compare(table: Table, samples: &Sums, rollup: &Sums, tables: &Profile) -> Checked<()> {
    let is_empty = |sum: &Sum| *sum == Sum::default();
    let none = Sum::default();
    let differs = |key: &&(SeriesId, NodeId, StringId)| {
        let [a, b] = [samples, rollup].map(|sums| sums.get(*key).unwrap_or(&none));
        a != b && !(is_empty(a) && is_empty(b))
    };
    let Some(key) = samples.keys().chain(rollup.keys()).find(differs) else { return Ok(()) };
    let [a, b] = [samples, rollup].map(|sums| sums.get(key).unwrap_or(&none).samples);
    let process = tables.label(key.0, "process").unwrap_or("").escape_debug();
    let (name, series, node) = (table.file_name(), key.0.0, key.1.0);
    Err(format!(
        "{name}: {b} samples of series {series} ({process}), stack {node}, where samples.parquet has {a}"
    ))
}

/// Functions' own samples add up to all samples, by type of values.
fn compare_functions(file: TableFile, samples: &Sums, tables: &Profile) -> Checked<()> {
    let (kinds, names) = statistics::kinds(tables);
    let mut expected: BTreeMap<(String, String), Sum> = BTreeMap::new();
    for ((series, ..), sum) in samples {
        let name =
            kinds.get(series.0 as usize).and_then(|kind| names.get(*kind)).cloned().unwrap_or_default();
        expected.entry(name).or_default().add(*sum);
    }
    let mut found: BTreeMap<(String, String), Sum> = BTreeMap::new();
    file.read(|_, rows| {
        let (events, units) = (rows.texts("event")?, rows.texts("unit")?);
        let (own, values) = (rows.longs("self_samples")?, rows.longs("self_value")?);
        for i in 0..rows.len() {
            let samples =
                u64::try_from(own.value(i)).map_err(|_| rows.bad("a row of less than no samples"))?;
            let name = (events.value(i).to_owned(), units.value(i).to_owned());
            found.entry(name).or_default().add(Sum { samples, value: values.value(i) });
        }
        Ok(())
    })?;
    for sums in [&mut expected, &mut found] {
        sums.retain(|_, sum| *sum != Sum::default());
    }
    if expected == found {
        return Ok(());
    }
    let all = |sums: &BTreeMap<_, Sum>| sums.values().map(|sum| sum.samples).sum::<u64>();
    Err(file.bad(format!(
        "{} samples in functions, where samples.parquet has {}",
        all(&found),
        all(&expected)
    )))
}
