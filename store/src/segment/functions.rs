//! Functions over time: how much each used itself, and with all that it called.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use super::columns::FUNCTIONS_PER_SLOT;
use super::slot::Slot;
use crate::model::{NodeId, Profile, StringId};

/// Samples and their value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) samples: u64,
    pub(super) value: i64,
}

impl Sum {
    pub(super) fn add(&mut self, other: Self) {
        self.samples = self.samples.saturating_add(other.samples);
        self.value = self.value.saturating_add(other.value);
    }
}

/// What one function used in one slot of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) own: Sum,
    pub(super) total: Sum,
}

impl Usage {
    pub(super) fn add(&mut self, other: Self) {
        self.own.add(other.own);
        self.total.add(other.total);
    }
}

/// A row of the table: a function, or none for all those that have no row of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FunctionRow {
    pub(super) kind: usize,
    pub(super) function: Option<StringId>,
    pub(super) slot_ms: i64,
    pub(super) functions: u32,
    pub(super) usage: Usage,
}

/// Sums up samples by function. Samples of one series and slot come in the order of their nodes, so that a node's
/// total is known when the walk leaves its subtree, and no node is visited twice.
#[derive(Debug)]
pub(super) struct Functions {
    /// By node: the number of its function, and whether it is the outermost of that function in its stack. A recursive
    /// function counts a sample once.
    nodes: Vec<(u32, bool)>,
    /// By number.
    names: Vec<StringId>,
    /// By number, what functions used at `at` since it was last changed; and which of them did.
    usages: Vec<Usage>,
    used: Vec<u32>,
    ends: Vec<u32>,
    parents: Vec<u32>,
    slots: BTreeMap<(usize, i64), Slot>,
    /// Samples without any frame.
    rootless: BTreeMap<(usize, i64), Sum>,
    at: (usize, i64),
    path: Vec<(u32, Sum)>,
}

impl Functions {
    pub(super) fn new(tables: &Profile) -> Self {
        let tree = &tables.stacks;
        let mut open: Vec<(u32, u32)> = Vec::new();
        let mut numbers: FxHashMap<StringId, u32> = FxHashMap::default();
        let mut names = vec![StringId::EMPTY];
        let of_frames: Vec<_> = tables
            .frames
            .iter()
            .map(|frame| {
                *numbers.entry(frame.function).or_insert_with(|| {
                    names.push(frame.function);
                    names.len() as u32 - 1
                })
            })
            .collect();
        // By number, how often it is on the path.
        let mut on_path = vec![0u32; names.len()];
        let mut nodes = Vec::with_capacity(tree.len());
        for node in tree.nodes() {
            while let Some((end, function)) = open.last().copied()
                && end <= node.0
            {
                open.pop();
                on_path[function as usize] -= 1;
            }
            let Some(frame) = tree.frame(node) else {
                nodes.push((0, false));
                continue;
            };
            let function = of_frames[frame.0 as usize];
            let count = &mut on_path[function as usize];
            nodes.push((function, *count == 0));
            *count += 1;
            open.push((node.0 + tree.subtree(node), function));
        }
        Self {
            nodes,
            usages: vec![Usage::default(); names.len()],
            names,
            used: Vec::new(),
            ends: tree.nodes().map(|node| node.0 + tree.subtree(node)).collect(),
            parents: tree.nodes().map(|node| tree.parent(node).0).collect(),
            slots: BTreeMap::new(),
            rootless: BTreeMap::new(),
            at: (0, 0),
            path: Vec::new(),
        }
    }

    /// Adds samples of a type of values (`kind`) in a slot of time.
    pub(super) fn add(&mut self, kind: usize, slot_ms: i64, node: NodeId, sum: Sum) {
        let last = self.path.last().map_or(0, |(last, _)| *last);
        if self.at != (kind, slot_ms) || node.0 < last {
            self.leave(0);
            if self.at != (kind, slot_ms) {
                self.keep_usages();
                self.at = (kind, slot_ms);
            }
        }
        if node == NodeId::ROOT {
            self.rootless.entry(self.at).or_default().add(sum);
            return;
        }
        // Leave what the node is not in, then enter what is between.
        while let Some((open, _)) = self.path.last()
            && self.ends[*open as usize] <= node.0
        {
            self.leave(self.path.len() - 1);
        }
        let first = self.path.len();
        let known = self.path.last().map_or(0, |(open, _)| *open);
        let mut at = node.0;
        while at != known && at != 0 {
            self.path.push((at, Sum::default()));
            at = self.parents[at as usize];
        }
        self.path[first..].reverse();
        if let Some((_, total)) = self.path.last_mut() {
            total.add(sum);
        }
        let function = self.nodes[node.0 as usize].0;
        self.usage(function).own.add(sum);
    }

    /// What a function has used so far.
    fn usage(&mut self, function: u32) -> &mut Usage {
        let usage = &mut self.usages[function as usize];
        if *usage == Usage::default() {
            self.used.push(function);
        }
        usage
    }

    /// Adds what functions used to their slot.
    fn keep_usages(&mut self) {
        if self.used.is_empty() {
            return;
        }
        let slot = self.slots.entry(self.at).or_default();
        self.used.sort_unstable();
        for function in self.used.drain(..) {
            slot.push(function, std::mem::take(&mut self.usages[function as usize]));
        }
        slot.settle_if_long();
    }

    /// Closes the nodes of the path from `depth` on, the innermost first.
    fn leave(&mut self, depth: usize) {
        if self.path.len() <= depth {
            return;
        }
        while self.path.len() > depth {
            let Some((node, total)) = self.path.pop() else { break };
            let (function, is_outermost) = self.nodes[node as usize];
            if is_outermost {
                self.usage(function).total.add(total);
            }
            if let Some((_, parent)) = self.path.last_mut() {
                parent.add(total);
            }
        }
    }

    /// All rows: in each slot the functions with the largest totals, and one row for the rest, which has their own
    /// samples in sum and the largest total among them. A slot's own samples add up to all there are.
    pub(super) fn finish(mut self) -> Vec<FunctionRow> {
        self.leave(0);
        self.keep_usages();
        let mut rows = Vec::new();
        for slot in self.rootless.keys() {
            self.slots.entry(*slot).or_default();
        }
        for (at, slot) in self.slots {
            let (kind, slot_ms) = at;
            let name = |(number, usage): (u32, Usage)| (self.names[number as usize], usage);
            let mut functions: Vec<_> = slot.finish().into_iter().map(name).collect();
            let rank = |usage: &Usage| (usage.total.value.unsigned_abs(), usage.total.samples);
            functions.sort_unstable_by_key(|(function, usage)| (std::cmp::Reverse(rank(usage)), *function));
            let rest = functions.split_off(functions.len().min(FUNCTIONS_PER_SLOT));
            rows.extend(functions.into_iter().map(|(function, usage)| FunctionRow {
                kind,
                function: Some(function),
                slot_ms,
                functions: 1,
                usage,
            }));
            let mut usage = Usage {
                total: rest.first().map(|(_, usage)| usage.total).unwrap_or_default(),
                ..Usage::default()
            };
            rest.iter().for_each(|(_, rest)| usage.own.add(rest.own));
            usage.own.add(self.rootless.get(&at).copied().unwrap_or_default());
            if usage != Usage::default() {
                rows.push(FunctionRow { kind, function: None, slot_ms, functions: rest.len() as u32, usage });
            }
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Frame, FrameKind, ProfileBuilder, Unwound};

    /// A tree of stacks, each a string of one-letter functions, and the nodes of the stacks.
    fn tree(stacks: &[&str]) -> (Profile, Vec<NodeId>) {
        let mut b = ProfileBuilder::default();
        let mut nodes = Vec::new();
        for stack in stacks {
            let mut node = NodeId::ROOT;
            for name in stack.split("").filter(|name| !name.is_empty()) {
                let function = b.string(name);
                let frame = b.frame(Frame {
                    kind: FrameKind::Native,
                    unwound: Unwound::Table,
                    function,
                    system_name: function,
                    file: function,
                    line: 0,
                    binary: None,
                    address: 0,
                });
                node = b.child(node, frame);
            }
            nodes.push(node);
        }
        let (tables, places) = b.finish_with_places(0, 1);
        (tables, nodes.iter().map(|node| places[node.0 as usize]).collect())
    }

    fn sum(samples: u64) -> Sum {
        Sum { samples, value: samples as i64 * 10 }
    }

    #[test]
    fn recursive_functions_count_a_sample_once() {
        let (tables, nodes) = tree(&["ab", "aba", "abab", "c", ""]);
        let mut functions = Functions::new(&tables);
        let mut nodes: Vec<_> = nodes.into_iter().zip([1, 2, 4, 8, 16]).collect();
        nodes.sort_unstable();
        for (node, samples) in nodes {
            functions.add(0, 5, node, sum(samples));
        }
        let rows = functions.finish();
        let found: Vec<_> = rows
            .iter()
            .map(|row| {
                let name = row.function.map_or("", |function| tables.text(function));
                (name, row.functions, row.usage.own.samples, row.usage.total.samples)
            })
            .collect();
        assert_eq!(found, [("c", 1, 8, 8), ("a", 1, 2, 7), ("b", 1, 5, 7), ("", 0, 16, 0)]);
    }

    #[test]
    fn what_has_no_row_of_its_own_is_in_the_rest() {
        let names: Vec<String> =
            (0..400u32).filter_map(|n| char::from_u32(0x4e00 + n)).map(String::from).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (tables, nodes) = tree(&names);
        let mut functions = Functions::new(&tables);
        for (n, node) in nodes.iter().enumerate() {
            functions.add(0, 0, *node, sum(n as u64 + 1));
        }
        let rows = functions.finish();
        assert_eq!(rows.len(), FUNCTIONS_PER_SLOT + 1);
        let rest = &rows[FUNCTIONS_PER_SLOT];
        assert_eq!((rest.function, rest.functions), (None, 400 - 256));
        assert_eq!(rest.usage.own, sum((1..=144).sum()));
        assert_eq!(rest.usage.total, sum(144), "none of the rest has more than this");
        assert_eq!(rows.iter().map(|row| row.usage.own.samples).sum::<u64>(), 400 * 401 / 2);
    }
}
