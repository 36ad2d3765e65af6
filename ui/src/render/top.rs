//! A table of functions: self and total samples.

use std::fmt;

use serde::Serialize;
use store::model::Profile;

use super::names;
use crate::flame::{self, FlameTree, GroupBy, Weight};

/// Functions by self value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TopTable {
    /// What `rows` count: `samples`, or the unit of the values.
    pub unit: String,
    /// All of it.
    pub sum: u64,
    /// All samples of the profile.
    pub samples: u64,
    /// Samples whose stack is complete.
    pub complete: u64,
    /// CPU time that one sample stands for.
    pub period_ns: i64,
    /// Number of functions, those left out of `rows` included.
    pub functions: usize,
    /// The functions with most samples, by self, then total, then name.
    pub rows: Vec<TopRow>,
}

/// One function.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TopRow {
    /// Samples that ended in the function, or their values.
    #[serde(rename = "self")]
    pub own: u64,
    /// Their share of all.
    pub self_percent: f64,
    /// Samples with the function anywhere on the stack; a stack in which it recurs counts once.
    pub total: u64,
    /// Their share of all.
    pub total_percent: f64,
    /// Kind of frame: `kernel`, `native`, `inlined`, ….
    pub kind: &'static str,
    /// Name of the function.
    pub function: String,
    /// Path of the binary; empty when there is none.
    pub binary: String,
}

impl TopTable {
    /// The `max_rows` first functions of a profile.
    pub fn new(profile: &Profile, max_rows: usize) -> Self {
        let tree = flame::build(profile, &GroupBy::default());
        let (own, total) = by_frame(&tree, &tree.own, &tree.total);
        let mut order: Vec<usize> =
            (0..tree.frames.len()).filter(|i| tree.frames[*i].kind.is_code()).collect();
        let key = |i: usize| {
            let frame = &tree.frames[i];
            (
                std::cmp::Reverse((own[i], total[i])),
                tree.text(frame.function),
                tree.text(frame.binary),
                frame.kind,
            )
        };
        order.sort_unstable_by(|a, b| key(*a).cmp(&key(*b)));
        let sum = tree.samples();
        let percent = |part: u64| if sum == 0 { 0.0 } else { part as f64 * 100.0 / sum as f64 };
        let row = |i: &usize| {
            let frame = &tree.frames[*i];
            TopRow {
                own: own[*i],
                self_percent: percent(own[*i]),
                total: total[*i],
                total_percent: percent(total[*i]),
                kind: frame.kind.name(),
                function: names::plain(frame.kind, tree.text(frame.function)),
                binary: tree.text(frame.binary).to_owned(),
            }
        };
        Self {
            unit: Weight::of(profile).unit(profile).to_owned(),
            sum,
            samples: profile.samples(),
            complete: profile.complete_samples(),
            period_ns: super::period_ns(profile),
            functions: order.len(),
            rows: order.iter().take(max_rows).map(row).collect(),
        }
    }
}

/// Self and total values by frame of the tree, from those by node.
pub(crate) fn by_frame(tree: &FlameTree, own: &[u64], total: &[u64]) -> (Vec<u64>, Vec<u64>) {
    let groups: Vec<_> = (0..tree.frames.len()).map(Some).collect();
    by_group(tree, &groups, tree.frames.len(), own, total)
}

/// Self and total values by group of frames (`groups`: by frame, its group if it has one), from those by node.
/// A node counts towards its group's total only when no ancestor is of the same group.
pub(super) fn by_group(
    tree: &FlameTree,
    groups: &[Option<usize>],
    count: usize,
    own: &[u64],
    total: &[u64],
) -> (Vec<u64>, Vec<u64>) {
    let (mut owns, mut totals) = (vec![0; count], vec![0; count]);
    let mut open = vec![0u32; count];
    let mut path: Vec<Option<usize>> = Vec::new();
    tree.walk(|node, depth| {
        for closed in path.drain(depth..).flatten() {
            open[closed] -= 1;
        }
        let group = groups[tree.frame[node] as usize];
        path.push(group);
        if let Some(group) = group {
            owns[group] += own[node];
            if open[group] == 0 {
                totals[group] += total[node];
            }
            open[group] += 1;
        }
    });
    (owns, totals)
}

impl fmt::Display for TopTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let complete =
            if self.samples == 0 { 0.0 } else { self.complete as f64 * 100.0 / self.samples as f64 };
        let amount = match &*self.unit {
            "samples" => format!("{:.2} s of CPU time", self.samples as f64 * self.period_ns as f64 / 1e9),
            unit => format!("{} {}", self.sum, names::printable(unit)),
        };
        writeln!(f, "{} samples, {amount}, {complete:.1} % of stacks complete", self.samples)?;
        if self.rows.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = self.rows.iter().map(|row| names::printable(&row.function)).collect();
        // Names may be pages long; the binary's column stays near.
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).clamp(8, 60);
        writeln!(
            f,
            "{:>10} {:>7} {:>10} {:>7}  {:<width$}  binary",
            "self", "self %", "total", "total %", "function"
        )?;
        for (row, name) in self.rows.iter().zip(&names) {
            let TopRow { own, self_percent, total, total_percent, .. } = row;
            let line = format!(
                "{own:>10} {self_percent:>6.2}% {total:>10} {total_percent:>6.2}%  {name:<width$}  {}",
                names::printable(&row.binary)
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        match self.functions - self.rows.len() {
            0 => Ok(()),
            more => writeln!(f, "{:>10} more functions", more),
        }
    }
}
