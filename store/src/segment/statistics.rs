//! What a segment holds, in so few words that a query is planned without opening its tables.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::functions::Sum;
use crate::model::{Profile, Row, STATUS_COMPLETE, SeriesId, StringId, StringTable};

/// Labels with more values than this are known by their number only.
const MAX_VALUES: usize = 64;
/// Bytes of all values of a label that are kept.
const MAX_BYTES: usize = 4096;
/// Labels that are kept.
const MAX_LABELS: usize = 64;

/// Totals of a segment, and which labels its series have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Statistics {
    /// Samples, and those of them with a complete stack.
    pub(crate) samples: u64,
    pub(crate) complete: u64,
    /// By type of values.
    pub(crate) values: Vec<ValueStatistics>,
    /// By name; labels beyond the first are left out.
    pub(crate) labels: BTreeMap<String, LabelStatistics>,
}

impl Statistics {
    /// The values that a label of series has; none where they are too many to be listed.
    pub(crate) fn values_of(&self, label: &str) -> Option<&[String]> {
        static MISSING: [String; 1] = [String::new()];
        match self.labels.get(label) {
            Some(label) => label.values.as_deref(),
            None => (self.labels.len() < MAX_LABELS).then_some(&MISSING),
        }
    }
}

/// Totals of one type of values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ValueStatistics {
    pub(crate) event: String,
    pub(crate) unit: String,
    pub(crate) samples: u64,
    /// In `unit`.
    pub(crate) value: i64,
}

/// The values of one label.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LabelStatistics {
    /// How many there are, one of them empty if a series does not have the label.
    pub(crate) distinct: u64,
    /// All of them, sorted; none are listed where they are too many.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) values: Option<Vec<String>>,
}

/// Adds up what passes.
#[derive(Debug)]
pub(super) struct Counter {
    series: Vec<Sum>,
    complete: u64,
    /// The status that was met last, and whether it is that of complete stacks.
    last: (StringId, bool),
}

impl Counter {
    pub(super) fn new(tables: &Profile) -> Self {
        Self {
            series: vec![Sum::default(); tables.series.len()],
            complete: 0,
            last: (StringId::EMPTY, false),
        }
    }

    /// `strings` has the texts of all rows' statuses.
    pub(super) fn add(&mut self, row: &Row, strings: &StringTable) {
        if let Some(sum) = self.series.get_mut(row.key.series.0 as usize) {
            sum.add(Sum { samples: row.samples, value: row.value });
        }
        if self.last.0 != row.key.status {
            self.last = (row.key.status, strings.get(row.key.status) == STATUS_COMPLETE);
        }
        if self.last.1 {
            self.complete = self.complete.saturating_add(row.samples);
        }
    }

    pub(super) fn finish(self, tables: &Profile) -> Statistics {
        let (kinds, names) = kinds(tables);
        let mut values: Vec<_> = names
            .into_iter()
            .map(|(event, unit)| ValueStatistics { event, unit, ..ValueStatistics::default() })
            .collect();
        let mut samples = 0u64;
        for (sum, kind) in self.series.iter().zip(kinds) {
            samples = samples.saturating_add(sum.samples);
            values[kind].samples = values[kind].samples.saturating_add(sum.samples);
            values[kind].value = values[kind].value.saturating_add(sum.value);
        }
        Statistics { samples, complete: self.complete, values, labels: labels(tables) }
    }
}

/// For each series its type of values, and what they are: event and unit.
pub(super) fn kinds(tables: &Profile) -> (Vec<usize>, Vec<(String, String)>) {
    let ids = (0..tables.series.len() as u32).map(SeriesId);
    let name = |id| {
        let event = tables.label(id, "event").unwrap_or_default().to_owned();
        (event, tables.text(tables.series(id).unit).to_owned())
    };
    let names: Vec<_> = ids.map(name).collect();
    let distinct: BTreeSet<_> = names.iter().cloned().collect();
    let distinct: Vec<_> = distinct.into_iter().collect();
    let kinds = names.iter().map(|name| distinct.binary_search(name).unwrap_or(0)).collect();
    (kinds, distinct)
}

fn labels(tables: &Profile) -> BTreeMap<String, LabelStatistics> {
    let mut values: BTreeMap<&str, (usize, BTreeSet<&str>)> = BTreeMap::new();
    for series in &tables.series {
        for (name, value) in &series.labels {
            let (series, values) = values.entry(tables.text(*name)).or_default();
            *series += 1;
            values.insert(tables.text(*value));
        }
    }
    let statistics = |(name, (series, mut values)): (&str, (usize, BTreeSet<&str>))| {
        if series < tables.series.len() {
            values.insert("");
        }
        let is_short =
            values.len() <= MAX_VALUES && values.iter().map(|v| v.len()).sum::<usize>() <= MAX_BYTES;
        let list = is_short.then(|| values.iter().map(|value| (*value).to_owned()).collect());
        (name.to_owned(), LabelStatistics { distinct: values.len() as u64, values: list })
    };
    values.into_iter().take(MAX_LABELS).map(statistics).collect()
}
