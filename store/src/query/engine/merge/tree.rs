//! From sums by stack to those by function, which flame graphs show.

use std::collections::BTreeMap;

use super::Merged;
use crate::model::{FunctionTree, GroupCounts, NodeCount, NodeId, Profile, Row};
use crate::query::label_text;

impl Merged {
    /// The samples by function below the values of the label `by`, at most `most` nodes of them. `by_value` says whether
    /// samples weigh what their values say; what weighs nothing is left out.
    pub(crate) fn finish_tree(
        mut self,
        (start_ms, end_ms): (i64, i64),
        by: &str,
        most: usize,
        by_value: impl FnOnce(&Profile) -> bool,
    ) -> FunctionTree {
        let mut rows: Vec<_> =
            self.keys.iter().map(|key| Row { key: *key, samples: 0, value: 0, exact: 0..0 }).collect();
        self.each(|NodeCount { pair, samples, value, .. }| {
            let row = &mut rows[pair as usize];
            row.samples = row.samples.saturating_add(samples);
            row.value = row.value.saturating_add(value);
        });
        let mut facts = std::mem::take(&mut self.head).finish(start_ms, end_ms);
        rows.sort_unstable_by_key(|row| row.key);
        facts.rows = rows;

        let texts: Vec<_> = self.keys.iter().map(|key| label_text(&facts, key, by)).collect();
        let mut places: BTreeMap<_, usize> = texts.iter().map(|text| (&**text, 0)).collect();
        places.values_mut().enumerate().for_each(|(at, place)| *place = at);
        let group: Vec<_> = texts.iter().map(|text| places[&**text]).collect();
        let groups: Vec<_> = places.into_keys().map(str::to_owned).collect();
        drop(texts);

        let by_value = by_value(&facts);
        if by_value {
            // Values may be negative, and only what is left of a stack has a weight.
            self.flush(0);
        }
        let mut counts: Vec<GroupCounts> = vec![Vec::new(); groups.len()];
        self.each(|NodeCount { pair, node, samples, value }| {
            let weight = if by_value { u64::try_from(value).unwrap_or(0) } else { samples };
            if weight > 0 {
                counts[group[pair as usize]].push((NodeId(node), weight));
            }
        });
        (self.pending, self.sums) = Default::default();
        let preorder = self.dictionary.preorder();
        let all = self.dictionary.with_functions();
        let stacks = (&all.all, preorder.as_deref());
        FunctionTree::new(facts, stacks, &all.functions, (groups, &counts), most)
    }
}
