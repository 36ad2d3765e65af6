//! A table of functions: self and total samples.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;
use store::model::{Profile, SeriesId};

use super::names;
use super::values::{CPU, ValueType};
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
    /// CPU time of all samples that were taken of it, each at its own rate; none where no sample was.
    #[serde(skip)]
    pub cpu_ns: Option<i64>,
    /// What was sampled, where that is not one thing.
    #[serde(skip)]
    pub events: Vec<String>,
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
            cpu_ns: cpu_ns(profile),
            events: several_events(profile),
            functions: order.len(),
            rows: order.iter().take(max_rows).map(row).collect(),
        }
    }
}

/// The time of all samples of CPU time, if there are any.
fn cpu_ns(profile: &Profile) -> Option<i64> {
    let series = (0..profile.series.len() as u32).map(SeriesId);
    let of_time: Vec<bool> = series.map(|id| ValueType::of(profile, id) == CPU).collect();
    let times = profile.rows.iter().filter(|row| of_time[row.key.series.0 as usize]);
    times.map(|row| row.value).reduce(i64::saturating_add)
}

/// The events of a profile that has more than one.
fn several_events(profile: &Profile) -> Vec<String> {
    let series: BTreeSet<SeriesId> = profile.rows.iter().map(|row| row.key.series).collect();
    let event = |id| profile.label(id, "event").unwrap_or_default();
    let events: BTreeSet<&str> = series.into_iter().map(event).collect();
    let several = events.len() > 1;
    events.into_iter().filter(|_| several).map(str::to_owned).collect()
}

/// A share of all in percent, to a tenth: only all of it is 100.
pub fn percent_of_all(part: u64, all: u64) -> String {
    let share = if all == 0 { 0.0 } else { part as f64 * 100.0 / all as f64 };
    format!("{:.1}", if part < all { share.min(99.9) } else { share })
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

impl TopTable {
    /// What stands above the table.
    fn sentence(&self) -> String {
        let mut text = format!("{} samples", self.samples);
        if !self.events.is_empty() {
            let events: Vec<String> = self.events.iter().map(|event| names::printable(event)).collect();
            text.push_str(&format!(" of {}", events.join(", ")));
        }
        match (&*self.unit, self.cpu_ns) {
            ("samples", Some(ns)) => text.push_str(&format!(", {:.2} s of CPU time", ns as f64 / 1e9)),
            ("samples", None) => {}
            (unit, _) => text.push_str(&format!(", {} {}", self.sum, names::printable(unit))),
        }
        if self.samples > 0 {
            let complete = percent_of_all(self.complete, self.samples);
            text.push_str(&format!(", {complete} % of stacks complete"));
        }
        text
    }
}

impl fmt::Display for TopTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.sentence())?;
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
