//! Which labels there are, and which values.

use rustc_hash::{FxHashMap, FxHashSet};

use super::ROW_LABELS;
use super::engine::{Batch, Columns, Count, Fault, Merge, Need, Query, Rough, Tables};
use super::groups::Groups;
use super::{Selector, TimeRange};
use crate::error::Result;
use crate::handle::Store;

impl Store {
    /// Names of the labels that the selected samples of a range have, sorted.
    ///
    /// # Errors
    /// As [`Store::query`].
    pub fn label_names(&self, selector: &Selector, range: TimeRange) -> Result<Vec<String>> {
        // Of series that differ in their host, one may have none.
        let (columns, need, rough) = (Columns::default(), Need::Series, Rough::without_times(false));
        let query = Query { store: self, selector, range, columns, need, rough };
        let (found, _) = query.run(|tables| Met(vec![false; tables.series.len()]), Names::default)?;
        let mut names: Vec<_> = found.names.into_iter().collect();
        names.sort_unstable();
        Ok(names)
    }

    /// The values of a label and their samples, most samples first; samples without the label count for the
    /// empty value.
    ///
    /// # Errors
    /// As [`Store::query`].
    pub fn label_values(
        &self,
        name: &str,
        selector: &Selector,
        range: TimeRange,
    ) -> Result<Vec<(String, u64)>> {
        let (columns, rough) = (Groups::columns(name), Rough::without_times(name != "host"));
        let query = Query { store: self, selector, range, columns, need: Need::Series, rough };
        let new = |tables: &Tables| {
            let groups = Groups::new(tables, name);
            let samples = vec![0; groups.names().len()];
            ByValue { groups, samples }
        };
        let (sums, _) = query.run(new, Sums::default)?;
        let mut values: Vec<_> = sums.0.into_iter().collect();
        values.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        Ok(values)
    }
}

/// By series: whether it has selected samples.
struct Met(Vec<bool>);

impl Count for Met {
    fn add(&mut self, batch: &Batch<'_>) -> std::result::Result<(), Fault> {
        batch.runs.iter().for_each(|run| self.0[run.series.0 as usize] = true);
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.0.len() as u64
    }
}

#[derive(Default)]
struct Names {
    names: FxHashSet<String>,
}

impl Merge<Met> for Names {
    fn merge(&mut self, tables: &Tables, met: Met) {
        for (series, _) in tables.series.iter().zip(&met.0).filter(|(_, met)| **met) {
            for (name, _) in &series.labels {
                if !self.names.contains(tables.text(*name)) {
                    self.names.insert(tables.text(*name).to_owned());
                }
            }
        }
        if met.0.contains(&true) {
            self.names.extend(ROW_LABELS.map(str::to_owned));
        }
    }

    fn bytes(&self) -> u64 {
        self.names.len() as u64 * 64
    }
}

/// Samples by value of a label.
struct ByValue {
    groups: Groups,
    samples: Vec<u64>,
}

impl Count for ByValue {
    fn add(&mut self, batch: &Batch<'_>) -> std::result::Result<(), Fault> {
        for run in batch.runs {
            for row in run.rows.clone() {
                let place = self.groups.place(batch, run.series, row)? as usize;
                if place >= self.samples.len() {
                    self.samples.resize(place + 1, 0);
                }
                self.samples[place] = self.samples[place].saturating_add(batch.samples[row].cast_unsigned());
            }
        }
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.groups.bytes() + self.samples.len() as u64 * 8
    }
}

#[derive(Default)]
struct Sums(FxHashMap<String, u64>);

impl Merge<ByValue> for Sums {
    fn merge(&mut self, _tables: &Tables, counts: ByValue) {
        for (name, samples) in counts.groups.names().iter().zip(counts.samples) {
            if samples > 0 {
                add(&mut self.0, name, samples);
            }
        }
    }

    fn bytes(&self) -> u64 {
        self.0.len() as u64 * 96
    }
}

/// Adds to the sum of a name.
pub(super) fn add(sums: &mut FxHashMap<String, u64>, name: &str, samples: u64) {
    match sums.get_mut(name) {
        Some(sum) => *sum = sum.saturating_add(samples),
        None => drop(sums.insert(name.to_owned(), samples)),
    }
}
