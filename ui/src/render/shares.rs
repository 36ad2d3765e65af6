//! Tables by source file and by binary: self and total samples.

use std::cmp::Reverse;
use std::fmt;
use std::str::FromStr;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use store::model::Profile;

use super::names;
use super::top::by_group;
use crate::flame::{self, GroupBy};

/// What of frames a table has rows for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TopBy {
    /// Functions, told apart by kind and binary.
    #[default]
    Function,
    /// Source files.
    File,
    /// Binaries.
    Binary,
}

impl TopBy {
    /// The name in requests and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Function => "function",
            Self::File => "file",
            Self::Binary => "binary",
        }
    }
}

impl FromStr for TopBy {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = [Self::Function, Self::File, Self::Binary].into_iter().find(|by| by.name() == name);
        let wrong =
            || format!("`{}` is none of function, file, binary", name.chars().take(64).collect::<String>());
        known.ok_or_else(wrong)
    }
}

/// Source files or binaries by self value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShareTable {
    /// `file` or `binary`.
    pub by: String,
    /// All samples of the profile.
    pub samples: u64,
    /// Samples whose stack is complete.
    pub complete: u64,
    /// CPU time that one sample stands for.
    pub period_ns: i64,
    /// Number of files or binaries, those left out of `rows` included.
    pub found: usize,
    /// Those with most samples, by self, then total, then name.
    pub rows: Vec<ShareRow>,
}

/// One file or binary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShareRow {
    /// Samples that ended in its code.
    #[serde(rename = "self")]
    pub own: u64,
    /// Their share of all samples.
    pub self_percent: f64,
    /// Samples with its code anywhere on the stack.
    pub total: u64,
    /// Their share of all samples.
    pub total_percent: f64,
    /// Its path; empty where it is not known.
    pub name: String,
}

impl ShareTable {
    /// The `max_rows` first files (`TopBy::File`) or else binaries of a profile.
    pub fn new(profile: &Profile, by: TopBy, max_rows: usize) -> Self {
        let tree = flame::build(profile, &GroupBy::default());
        let mut index = FxHashMap::default();
        let mut groups: Vec<Option<usize>> = Vec::with_capacity(tree.frames.len());
        let mut ids = Vec::new();
        for frame in &tree.frames {
            let id = if by == TopBy::File { frame.file } else { frame.binary };
            groups.push(frame.kind.is_code().then(|| {
                *index.entry(id).or_insert_with(|| {
                    ids.push(id);
                    ids.len() - 1
                })
            }));
        }
        let (own, total) = by_group(&tree, &groups, ids.len(), &tree.own, &tree.total);
        let samples = tree.samples();
        let percent = |part: u64| if samples == 0 { 0.0 } else { part as f64 * 100.0 / samples as f64 };
        let row = |(i, id)| ShareRow {
            own: own[i],
            self_percent: percent(own[i]),
            total: total[i],
            total_percent: percent(total[i]),
            name: tree.text(id).to_owned(),
        };
        let mut rows: Vec<_> = ids.into_iter().enumerate().map(row).collect();
        rows.sort_by(|a, b| (Reverse((a.own, a.total)), &a.name).cmp(&(Reverse((b.own, b.total)), &b.name)));
        let found = rows.len();
        rows.truncate(max_rows);
        let (complete, period_ns) = (profile.complete_samples(), super::period_ns(profile));
        Self { by: by.name().to_owned(), samples, complete, period_ns, found, rows }
    }
}

impl fmt::Display for ShareTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} samples", self.samples)?;
        if self.rows.is_empty() {
            return Ok(());
        }
        writeln!(f, "{:>10} {:>7} {:>10} {:>7}  {}", "self", "self %", "total", "total %", self.by)?;
        for ShareRow { own, self_percent, total, total_percent, name } in &self.rows {
            let name = if name.is_empty() { "[unknown]" } else { name };
            let name = names::printable(name);
            writeln!(f, "{own:>10} {self_percent:>6.2}% {total:>10} {total_percent:>6.2}%  {name}")?;
        }
        match self.found - self.rows.len() {
            0 => Ok(()),
            more => writeln!(f, "{more:>10} more"),
        }
    }
}
