//! Two profiles side by side: a flame tree with both values, and a table of functions.

use std::cmp::Reverse;
use std::fmt;

use serde::{Deserialize, Serialize};
use store::Comparison;

use super::names;
use super::top::by_frame;
use crate::flame::{self, GroupBy};

/// Functions by how much their share of all samples has changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiffTable {
    /// All samples of the side that is compared with.
    pub before: u64,
    /// All samples of the side that is looked at.
    pub after: u64,
    /// Number of functions, those left out of `rows` included.
    pub functions: usize,
    /// The functions whose self share changed most, then whose total share did.
    pub rows: Vec<DiffRow>,
}

/// One function on both sides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiffRow {
    /// Samples that ended in the function, before.
    pub before_self: u64,
    /// The same, after.
    #[serde(rename = "self")]
    pub own: u64,
    /// Share of all samples after less that before, in percentage points.
    pub self_points: f64,
    /// Samples with the function anywhere on the stack, before.
    pub before_total: u64,
    /// The same, after.
    pub total: u64,
    /// Share of all samples after less that before, in percentage points.
    pub total_points: f64,
    /// Kind of frame.
    pub kind: String,
    /// Name of the function.
    pub function: String,
    /// Path of the binary; empty when there is none.
    pub binary: String,
}

impl DiffTable {
    /// The `max_rows` functions that changed most.
    pub fn new(comparison: &Comparison, max_rows: usize) -> Self {
        let tree = flame::build_comparison(comparison, &GroupBy::default());
        let (own, total) = by_frame(&tree, &tree.own, &tree.total);
        let (before_own, before_total) = by_frame(&tree, &tree.before_own, &tree.before_total);
        let before = tree.before_total.first().copied().unwrap_or(0);
        let after = tree.samples() - before;
        let share = |part: u64, of: u64| if of == 0 { 0.0 } else { part as f64 * 100.0 / of as f64 };
        let row = |i: usize| {
            let frame = &tree.frames[i];
            let (own, total) = (own[i] - before_own[i], total[i] - before_total[i]);
            DiffRow {
                before_self: before_own[i],
                own,
                self_points: share(own, after) - share(before_own[i], before),
                before_total: before_total[i],
                total,
                total_points: share(total, after) - share(before_total[i], before),
                kind: frame.kind.name().to_owned(),
                function: names::plain(frame.kind, tree.text(frame.function)),
                binary: tree.text(frame.binary).to_owned(),
            }
        };
        let mut rows: Vec<_> =
            (0..tree.frames.len()).filter(|i| tree.frames[*i].kind.is_code()).map(row).collect();
        let functions = rows.len();
        // Shares are sums of whole numbers over whole numbers: a billionth of a point is none.
        let change = |points: f64| Reverse((points.abs() * 1e9) as u64);
        rows.sort_by(|a, b| {
            let key = |row: &DiffRow| (change(row.self_points), change(row.total_points));
            let name = |row: &DiffRow| (row.function.clone(), row.binary.clone(), row.kind.clone());
            key(a).cmp(&key(b)).then_with(|| name(a).cmp(&name(b)))
        });
        rows.truncate(max_rows);
        Self { before, after, functions, rows }
    }
}

impl fmt::Display for DiffTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} samples before, {} after; shares in percentage points", self.before, self.after)?;
        if self.rows.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = self.rows.iter().map(|row| names::printable(&row.function)).collect();
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).clamp(8, 60);
        writeln!(
            f,
            "{:>9} {:>10} {:>10} {:>9}  {:<width$}  binary",
            "self", "before", "after", "total", "function"
        )?;
        for (row, name) in self.rows.iter().zip(&names) {
            let line = format!(
                "{:>+9.2} {:>10} {:>10} {:>+9.2}  {name:<width$}  {}",
                row.self_points,
                row.before_self,
                row.own,
                row.total_points,
                names::printable(&row.binary)
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        match self.functions - self.rows.len() {
            0 => Ok(()),
            more => writeln!(f, "{more:>9} more functions"),
        }
    }
}
