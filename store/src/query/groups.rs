//! Rows told apart by the value of a label.

use rustc_hash::FxHashMap;

use super::engine::{Batch, Columns, Fault};
use crate::model::{Profile, SeriesId, StringId};

/// The values that a label has among the rows of a segment, by place in the order of their coming.
pub(crate) struct Groups {
    label: Label,
    index: FxHashMap<u32, u32>,
    names: Vec<String>,
    last: Option<(u32, u32)>,
}

enum Label {
    /// One of series: place by series.
    Series(Vec<u32>),
    Pid,
    Tid,
    Thread,
    Status,
}

impl Groups {
    /// The columns that telling rows apart by `label` needs.
    pub(crate) fn columns(label: &str) -> Columns {
        Columns {
            threads: matches!(label, "pid" | "tid" | "thread"),
            status: label == "status",
            ..Columns::default()
        }
    }

    pub(crate) fn new(tables: &Profile, label: &str) -> Self {
        let mut names = Vec::new();
        let label = match label {
            "pid" => Label::Pid,
            "tid" => Label::Tid,
            "thread" => Label::Thread,
            "status" => Label::Status,
            label => {
                let mut places = FxHashMap::default();
                let mut place = |series| {
                    let value = tables.label(SeriesId(series), label).unwrap_or("");
                    *places.entry(value).or_insert_with(|| {
                        names.push(value.to_owned());
                        names.len() as u32 - 1
                    })
                };
                Label::Series((0..tables.series.len() as u32).map(&mut place).collect())
            }
        };
        Self { label, index: FxHashMap::default(), names, last: None }
    }

    /// The place of a row's value.
    pub(crate) fn place(&mut self, batch: &Batch<'_>, series: SeriesId, row: usize) -> Result<u32, Fault> {
        let id = |id: i64| u32::try_from(id).map_err(|_| Fault::bad(format_args!("id {id} is out of range")));
        let code = match &self.label {
            Label::Series(places) => return Ok(places[series.0 as usize]),
            Label::Pid => id(batch.pid[row])?,
            Label::Tid => id(batch.tid[row])?,
            Label::Thread => batch.thread.get(row),
            Label::Status => batch.status.get(row),
        };
        if let Some((last, place)) = self.last
            && last == code
        {
            return Ok(place);
        }
        let place = *self.index.entry(code).or_insert_with(|| {
            self.names.push(match self.label {
                Label::Pid | Label::Tid => code.to_string(),
                _ => batch.texts.get(StringId(code)).to_owned(),
            });
            self.names.len() as u32 - 1
        });
        self.last = Some((code, place));
        Ok(place)
    }

    /// The values by place; more of series may be among them than were met.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// Memory that it takes, bytes.
    pub(crate) fn bytes(&self) -> u64 {
        (self.index.capacity() * 9 + self.names.len() * 64) as u64
    }
}
