//! A selector applied to the rows of one profile.

use std::borrow::Cow;

use rustc_hash::FxHashMap;

use super::Selector;
use crate::model::{Profile, Row, RowKey, SeriesId};

/// The labels that are not of the series but of each row.
pub(crate) const ROW_LABELS: [&str; 4] = ["pid", "status", "thread", "tid"];

/// The labels of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowLabels<'a> {
    pub(crate) pid: u32,
    pub(crate) tid: u32,
    pub(crate) thread: &'a str,
    pub(crate) status: &'a str,
}

impl<'a> RowLabels<'a> {
    fn of(profile: &'a Profile, key: &RowKey) -> Self {
        let (thread, status) = (profile.text(key.thread), profile.text(key.status));
        Self { pid: key.pid, tid: key.tid, thread, status }
    }

    /// The value of a label for a row of a series.
    pub(crate) fn value(self, profile: &'a Profile, series: SeriesId, label: &str) -> Cow<'a, str> {
        match label {
            "pid" => Cow::Owned(self.pid.to_string()),
            "tid" => Cow::Owned(self.tid.to_string()),
            "thread" => Cow::Borrowed(self.thread),
            "status" => Cow::Borrowed(self.status),
            _ => Cow::Borrowed(profile.label(series, label).unwrap_or("")),
        }
    }
}

/// The value of a label for a row: of `pid`, `tid`, `thread` and `status` from the row itself, of any other
/// label from its series; empty when there is no such label.
pub fn label_text<'a>(profile: &'a Profile, key: &RowKey, label: &str) -> Cow<'a, str> {
    RowLabels::of(profile, key).value(profile, key.series, label)
}

/// What of a row decides whether it is selected, as handles.
pub(crate) type RowPattern = (SeriesId, u32, u32, u32, u32);

/// Which rows of a profile a selector selects. Decided once per series; row by row only where the selector
/// asks for labels of rows, and then once for equal ones.
pub(crate) struct Selected<'a> {
    profile: &'a Profile,
    selector: &'a Selector,
    series: Vec<Option<bool>>,
    rows: FxHashMap<RowPattern, bool>,
}

/// Labels of rows of which the decisions are remembered: more different ones than a segment usually has.
const MAX_REMEMBERED: usize = 1 << 16;

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

    /// By series, whether its rows are selected; none where that hangs on each row.
    pub(crate) fn by_series(&self) -> &[Option<bool>] {
        &self.series
    }

    pub(crate) fn contains(&mut self, row: &Row) -> bool {
        let key = &row.key;
        if let Some(decided) = self.series.get(key.series.0 as usize).copied().flatten() {
            return decided;
        }
        let pattern = (key.series, key.pid, key.tid, key.thread.0, key.status.0);
        self.contains_labels(pattern, RowLabels::of(self.profile, key))
    }

    /// Whether rows with these labels are selected; `pattern` stands for them.
    pub(crate) fn contains_labels(&mut self, pattern: RowPattern, labels: RowLabels<'_>) -> bool {
        let (profile, selector) = (self.profile, self.selector);
        let decide = || {
            let value = selector.eval(&mut |label| Some(labels.value(profile, pattern.0, label)));
            value.unwrap_or(false)
        };
        if self.rows.len() >= MAX_REMEMBERED {
            self.rows.clear();
        }
        *self.rows.entry(pattern).or_insert_with(decide)
    }
}
