//! A selector applied to the rows of one profile.

use std::borrow::Cow;

use rustc_hash::FxHashMap;

use super::Selector;
use crate::model::{Profile, Row, RowKey, SeriesId, StringId};

/// The labels that are not of the series but of each row.
pub(crate) const ROW_LABELS: [&str; 4] = ["pid", "status", "thread", "tid"];

/// The value of a label for a row: of `pid`, `tid`, `thread` and `status` from the row itself, of any other
/// label from its series; empty when there is no such label.
pub fn label_text<'a>(profile: &'a Profile, key: &RowKey, label: &str) -> Cow<'a, str> {
    row_label(profile, key, label)
        .unwrap_or_else(|| Cow::Borrowed(profile.label(key.series, label).unwrap_or("")))
}

fn row_label<'a>(profile: &'a Profile, key: &RowKey, label: &str) -> Option<Cow<'a, str>> {
    match label {
        "pid" => Some(Cow::Owned(key.pid.to_string())),
        "tid" => Some(Cow::Owned(key.tid.to_string())),
        "thread" => Some(Cow::Borrowed(profile.text(key.thread))),
        "status" => Some(Cow::Borrowed(profile.text(key.status))),
        _ => None,
    }
}

/// Which rows of a profile a selector selects. Decided once per series; row by row only where the selector
/// asks for labels of rows, and then once for equal ones.
pub(crate) struct Selected<'a> {
    profile: &'a Profile,
    selector: &'a Selector,
    series: Vec<Option<bool>>,
    rows: FxHashMap<(SeriesId, u32, u32, StringId, StringId), bool>,
}

impl<'a> Selected<'a> {
    pub(crate) fn new(profile: &'a Profile, selector: &'a Selector) -> Self {
        let decide = |id: u32| {
            selector.eval(&mut |label| {
                let known = !ROW_LABELS.contains(&label);
                known.then(|| Cow::Borrowed(profile.label(SeriesId(id), label).unwrap_or("")))
            })
        };
        let series = (0..profile.series.len() as u32).map(decide).collect();
        Self { profile, selector, series, rows: FxHashMap::default() }
    }

    pub(crate) fn contains(&mut self, row: &Row) -> bool {
        let key = &row.key;
        if let Some(decided) = self.series.get(key.series.0 as usize).copied().flatten() {
            return decided;
        }
        let (profile, selector) = (self.profile, self.selector);
        let decide = || {
            let value = selector.eval(&mut |label| Some(label_text(profile, key, label)));
            value.unwrap_or(false)
        };
        *self.rows.entry((key.series, key.pid, key.tid, key.thread, key.status)).or_insert_with(decide)
    }
}
