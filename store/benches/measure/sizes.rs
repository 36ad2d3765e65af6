//! Bytes on disk by what they are for.

use std::collections::BTreeMap;

use store::Store;

use crate::Result;

/// Bytes of all segments, by file.
#[derive(Debug, Default)]
pub(crate) struct Sizes {
    files: BTreeMap<String, u64>,
    segments: usize,
    rows: u64,
}

const ROLLUPS: [&str; 4] = ["rollup_5m.parquet", "rollup_1h.parquet", "rollup_1d.parquet", "func_5m.parquet"];

impl Sizes {
    pub(crate) fn of(store: &Store) -> Result<Self> {
        let mut sizes = Self::default();
        for segment in store.segments()? {
            sizes.segments += 1;
            sizes.rows += segment.rows();
            for file in std::fs::read_dir(segment.path())? {
                let file = file?;
                let name = file.file_name().to_string_lossy().into_owned();
                *sizes.files.entry(name).or_default() += file.metadata()?.len();
            }
        }
        Ok(sizes)
    }

    /// Everything but the rollups, in bytes a sample.
    pub(crate) fn all_in(&self, samples: u64) -> f64 {
        (self.files.values().sum::<u64>() - self.bytes(&ROLLUPS)) as f64 / samples as f64
    }

    /// What answers questions in steps of five minutes: the rollup, stacks, symbols and series.
    pub(crate) fn five_minutes(&self, samples: u64) -> f64 {
        let tables =
            ["rollup_5m", "stacks", "frames", "binaries", "series"].map(|name| format!("{name}.parquet"));
        self.bytes(&tables.each_ref().map(String::as_str)) as f64 / samples as f64
    }

    fn bytes(&self, names: &[&str]) -> u64 {
        names.iter().filter_map(|name| self.files.get(*name)).sum()
    }

    pub(crate) fn print_header() {
        println!();
        println!(
            "B/sample       all in  samples   stacks  symbols | rollup 5m     1 h   1 day  func_5m  rows/sample"
        );
    }

    /// One line, in bytes a sample. All in is everything but the rollups.
    pub(crate) fn print(&self, name: &str, samples: u64) {
        let per_sample = |names: &[&str]| self.bytes(names) as f64 / samples as f64;
        let all = self.all_in(samples);
        let [r5m, r1h, r1d, functions] = ROLLUPS.map(|name| per_sample(&[name]));
        println!(
            "{name:<13} {all:7.3}  {:7.3}  {:7.3}  {:7.3} | {r5m:9.3} {r1h:7.3} {r1d:7.3} {functions:8.3}  {:.3}",
            per_sample(&["samples.parquet"]),
            per_sample(&["stacks.parquet"]),
            per_sample(&["frames.parquet", "binaries.parquet", "series.parquet"]),
            self.rows as f64 / samples as f64,
        );
    }
}
