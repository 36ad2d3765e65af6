//! Other programs read the same files: pyarrow, DuckDB and polars, through a Python script.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use store::Store;
use store::model::Profile;

use crate::common::{NOON, window};

/// A Python with pyarrow, duckdb, polars and moto.
pub(crate) fn python() -> PathBuf {
    if let Some(python) = std::env::var_os("VESTA_TEST_PYTHON") {
        return python.into();
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let python = root.join("target/venv/bin/python");
    assert!(python.exists(), "no Python with pyarrow, duckdb and polars: run `cargo xtask setup` first");
    python
}

fn read(data_dir: &Path, what: &[&str]) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/other_readers.py");
    let python = python();
    let output = Command::new(&python).arg(script).arg(data_dir).args(what).output();
    let output =
        output.unwrap_or_else(|error| panic!("{} (run `cargo xtask setup`): {error}", python.display()));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "run `cargo xtask setup` if a package is missing:\n{errors}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn sum<T>(windows: &[Profile], of: impl Fn(&Profile) -> T) -> T
where
    T: std::iter::Sum,
{
    windows.iter().map(of).sum()
}

#[test]
fn other_readers_find_the_same_totals() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_writer(dir.path()).unwrap();
    let windows: Vec<_> =
        (0..5).map(|n| window(n, NOON + n as i64 * 86_400_000, 50 + n as usize * 20)).collect();
    windows.iter().for_each(|window| drop(store.append(window).unwrap()));

    let found = read(dir.path(), &[]);
    let arrow = &found["pyarrow"];
    let rows = |of: fn(&Profile) -> usize| json!(sum(&windows, of));
    assert_eq!(arrow["samples_rows"], rows(|p| p.rows.len()));
    assert_eq!(arrow["series_rows"], rows(|p| p.series.len()));
    assert_eq!(arrow["stacks_rows"], rows(|p| p.stacks.len()));
    assert_eq!(arrow["frames_rows"], rows(|p| p.frames.len()));
    assert_eq!(arrow["binaries_rows"], rows(|p| p.binaries.len()));
    assert_eq!(arrow["accounts_rows"], rows(|p| p.accounts.len()));
    assert_eq!(arrow["samples_segments"], json!(5));
    assert_eq!(arrow["samples"], json!(sum(&windows, Profile::samples)));
    assert_eq!(arrow["value"], json!(sum(&windows, |p| p.rows.iter().map(|row| row.value).sum::<i64>())));
    assert_eq!(arrow["exact"], rows(|p| p.exact.len()));
    let exact = |p: &Profile| -> i64 {
        let times = |row| p.exact_of(row).iter().map(|e| i64::from(e.offset_ms)).collect::<Vec<_>>();
        p.rows.iter().flat_map(|row| times(row).into_iter().map(|ms| row.key.time_ms + ms)).sum()
    };
    assert_eq!(arrow["exact_sum"], json!(sum(&windows, exact)));
    let cpus = |p: &Profile| p.exact.iter().map(|exact| u64::from(exact.cpu)).sum::<u64>();
    assert_eq!(arrow["cpu_sum"], json!(sum(&windows, cpus)));
    assert_eq!(arrow["hosts"], json!(["web-01"]));
    assert_eq!(arrow["labels"].as_array().unwrap().len(), 5 * 4 * 2, "team and zone of four series each");
    assert_eq!(arrow["schema_version"], json!(store::segment::SCHEMA_VERSION.to_string()));

    let duck = &found["duckdb"];
    let (mut by_process, mut by_root) = (BTreeMap::new(), BTreeMap::new());
    let mut lost = 0;
    for p in &windows {
        for row in &p.rows {
            let process = p.label(row.key.series, "process").unwrap_or("");
            let sums: &mut (u64, i64) = by_process.entry(process).or_default();
            *sums = (sums.0 + row.samples, sums.1 + row.value);
            if let Some(root) = p.stacks.leaf_to_root(row.key.node).last() {
                *by_root.entry(p.text(p.frame(root).function)).or_insert(0u64) += row.samples;
            }
        }
        let losses = p.accounts.iter().filter(|account| p.text(account.counter) == "lost_ring_full");
        lost += losses.map(|account| account.value).sum::<u64>();
    }
    let by_process: Vec<_> =
        by_process.into_iter().map(|(name, (n, value))| json!([name, n, value])).collect();
    let by_root: Vec<_> = by_root.into_iter().map(|(name, n)| json!([name, n])).collect();
    assert_eq!(duck["by_process"], json!(by_process));
    assert_eq!(duck["by_root"], json!(by_root));
    assert_eq!(duck["lost"], json!(lost));
    assert_eq!(duck["exact"], arrow["exact"]);
    for what in ["by_process", "by_root", "lost", "exact"] {
        assert_eq!(found["polars"][what], duck[what], "{what}");
    }
}

#[test]
fn every_table_is_the_same_value_by_value_to_all_readers() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_writer(dir.path()).unwrap();
    // Two days that are merged and coarse, an hour that is merged and exact, and some that is as it was written.
    let now = NOON + 3 * 86_400_000;
    let starts = (0..20).map(|n| NOON + (n % 4) * 10_000 + (n / 4) * 8_000_000);
    let recent =
        (0..6).map(|n| now - 7_200_000 + n * 200_000).chain((0..3).map(|n| now - 30_000 + n * 10_000));
    let windows: Vec<_> =
        starts.chain(recent).enumerate().map(|(n, start)| window(n as u64, start, 60)).collect();
    windows.iter().for_each(|window| drop(store.append(window).unwrap()));
    store.compact_by(&"1d=10s".parse().unwrap(), &store::Pace::default(), now).unwrap();
    let segments = store.segments().unwrap();
    let levels: std::collections::BTreeSet<_> = segments.iter().map(|segment| segment.level()).collect();
    assert!(levels.contains(&0) && levels.contains(&2) && levels.contains(&3), "{levels:?}");

    let found = read(dir.path(), &["tables"]);
    let value = |p: &Profile| p.rows.iter().map(|row| row.value).sum::<i64>();
    let samples = &found["samples"];
    assert_eq!(samples["segments"], json!(segments.len()));
    assert_eq!(samples["samples"], json!(sum(&windows, Profile::samples)));
    assert_eq!(samples["value"], json!(sum(&windows, value)));
    let all = store.query(&store::Selector::all(), store::TimeRange::ALL, store::model::Keep::ALL).unwrap();
    let offsets: u64 = all.profile.exact.iter().map(|exact| u64::from(exact.offset_ms)).sum();
    assert_eq!(samples["offsets_ms"], json!([all.profile.exact.len(), offsets]));
    let cpus: u64 = all.profile.exact.iter().map(|exact| u64::from(exact.cpu)).sum();
    assert_eq!(samples["cpus"], json!([all.profile.exact.len(), cpus]));
    let counted = |p: &Profile| p.accounts.iter().map(|account| account.value).sum::<u64>();
    assert_eq!(found["accounts"]["value"], json!(sum(&windows, counted)));
    assert_eq!(found["accounts"]["rows"], json!(sum(&windows, |p| p.accounts.len())));
    for table in ["series", "stacks", "frames", "binaries"] {
        assert_eq!(found[table]["segments"], json!(segments.len()), "{table}");
    }
    for (table, step_ms) in [("rollup_5m", 300_000), ("rollup_1h", 3_600_000), ("rollup_1d", 86_400_000)] {
        let ours = segments.iter().filter_map(|segment| store.rollup(segment, step_ms).expect(table));
        let ours: Vec<_> = ours.collect();
        let sums = |p: &Profile| p.rows.iter().map(|row| row.samples).sum::<u64>();
        assert!(!ours.is_empty(), "{table}");
        assert_eq!(found[table]["rows"], json!(sum(&ours, |p| p.rows.len())), "{table}");
        assert_eq!(found[table]["samples"], json!(sum(&ours, sums)), "{table}");
        assert_eq!(found[table]["value"], json!(sum(&ours, value)), "{table}");
    }
    // What functions used by themselves is all there is in the segments that have the table.
    let merged = segments.iter().filter(|segment| segment.level() >= 2);
    let merged: Vec<_> = merged.filter_map(|segment| store.rollup(segment, 300_000).unwrap()).collect();
    assert_eq!(found["func_5m"]["self_samples"], json!(sum(&merged, Profile::samples)));
    assert_eq!(found["func_5m"]["self_value"], json!(sum(&merged, value)));
}

#[test]
fn duckdb_finds_in_rollups_what_it_finds_in_samples() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_writer(dir.path()).unwrap();
    // Some close together, some hours apart, over two days.
    let windows: Vec<_> =
        (0..40).map(|n| window(n, NOON + (n as i64 % 4) * 10_000 + (n as i64 / 4) * 8_000_000, 40)).collect();
    windows.iter().for_each(|window| drop(store.append(window).unwrap()));
    let policy = "1d=10s".parse().unwrap();
    store.compact_by(&policy, &store::Pace::default(), NOON + 30 * 86_400_000).unwrap();
    let levels: Vec<_> = store.segments().unwrap().iter().map(|segment| segment.level()).collect();
    assert_eq!(levels, [3, 3]);

    let found = read(dir.path(), &["rollups"]);
    let value = |p: &Profile| p.rows.iter().map(|row| row.value).sum::<i64>();
    let all = json!([sum(&windows, Profile::samples), sum(&windows, value)]);
    for table in ["samples", "rollup_5m", "rollup_1h", "rollup_1d", "self"] {
        assert_eq!(found[table], all, "{table}");
    }
    assert_eq!(found["functions_agree"], json!(true));
    assert!(found["functions"].as_u64() > Some(100), "{found}");
}
