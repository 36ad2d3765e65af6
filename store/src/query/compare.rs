//! Two queries side by side.

use super::engine::{Columns, Merged, Need, Query, Rough, StackCounts, Tables};
use super::groups::Groups;
use super::{Selector, TimeRange};
use crate::catalog::Skipped;
use crate::error::Result;
use crate::handle::Store;
use crate::model::{Keep, Profile, ProfileBuilder, Row};

/// The samples of two queries over one tree of all their stacks.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// All samples; [`Comparison::side`] tells the two apart. It covers what was asked second.
    pub profile: Profile,
    /// Segments left out of either, each once.
    pub skipped: Vec<Skipped>,
}

/// Which of two queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that is compared with.
    Before,
    /// The one that is looked at.
    After,
}

impl Side {
    /// Rows have no time here: it says whose they are.
    const TIMES: [(Self, i64); 2] = [(Self::Before, 0), (Self::After, 1)];
}

impl Comparison {
    /// Whose a row is.
    pub fn side(&self, row: &Row) -> Side {
        if row.key.time_ms == 0 { Side::Before } else { Side::After }
    }
}

impl Store {
    /// The samples of two queries, merged to one tree of stacks; of the labels of series it keeps `by` and `event` only.
    ///
    /// # Errors
    /// As [`Store::query`], the limits of which each of the two may reach.
    pub fn compare(
        &self,
        before: (&Selector, TimeRange),
        after: (&Selector, TimeRange),
        by: &str,
    ) -> Result<Comparison> {
        let columns = Columns { node: true, value: true, status: true, ..Groups::columns(by) };
        let mut union = ProfileBuilder::default();
        let mut skipped = Vec::new();
        for ((side, time_ms), (selector, range)) in Side::TIMES.into_iter().zip([before, after]) {
            let dictionary = self.dictionary();
            let (need, rough) = (Need::Places(dictionary.clone()), Rough::without_times(by != "host"));
            let query = Query { store: self, selector, range, columns, need, rough };
            let new = |tables: &Tables| StackCounts::new(tables, columns, Some(by));
            let whole = || Merged::new(dictionary.clone(), range.as_range(), Some(by)).at(time_ms);
            let (merged, reading) = query.run(new, whole)?;
            let own = merged.finish(range.from_ms, range.until_ms);
            // Accounts are of ranges, not of stacks: those of the second alone.
            let accounts = if side == Side::After { range.as_range() } else { 0..0 };
            union.merge(&own, Keep { exact: false, ..Keep::ALL }, accounts, |_| true);
            skipped.extend(reading.skipped);
        }
        skipped.sort_unstable();
        skipped.dedup();
        Ok(Comparison { profile: union.finish(after.1.from_ms, after.1.until_ms), skipped })
    }
}
