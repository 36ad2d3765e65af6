//! Stacks by function: what flame graphs show. Frames of one function at different places of its code are one node, and
//! what is too small to be seen has no node and no name.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use super::counted::{AsTheyCame, Counted, GroupCounts, InPreorder};
use super::extract::{Preorder, take_frames};
use super::{Binary, FrameId, FrameKind, Profile, ProfileBuilder, StringId};

/// Which frames of a builder are of one function. It follows the builder as that grows.
#[derive(Default)]
pub(crate) struct Functions {
    /// By frame of the builder: its function.
    of_frame: Vec<u32>,
    /// Functions by kind, name and path of the binary.
    index: FxHashMap<(FrameKind, StringId, StringId), u32>,
}

impl Functions {
    /// Takes in what the builder has got since the last time.
    pub(crate) fn follow(&mut self, all: &ProfileBuilder) {
        for frame in &all.frames.items[self.of_frame.len()..] {
            let path = frame.binary.map_or(StringId::EMPTY, |id| {
                let Binary { path, .. } = all.binaries.items[id.0 as usize];
                path
            });
            let next = self.index.len() as u32;
            self.of_frame.push(*self.index.entry((frame.kind, frame.function, path)).or_insert(next));
        }
    }

    /// Memory that it takes, bytes.
    pub(crate) fn bytes(&self) -> u64 {
        (self.of_frame.len() * 4 + self.index.len() * 32) as u64
    }
}

/// Samples by function, below the values of a label.
#[derive(Clone, Debug)]
pub struct FunctionTree {
    /// Series and accounts, and the samples of each series and status as a row without a stack.
    pub facts: Profile,
    /// The frames that are merged in nodes; no stacks.
    pub code: Profile,
    /// By frame of `code`: its function, from 0 on.
    pub functions: Vec<u32>,
    /// The values of the label, in their order.
    pub groups: Vec<String>,
    /// Groups, functions in them, and so on: parents before their children.
    pub nodes: Vec<FunctionNode>,
    /// The weight of groups that have no node.
    pub pruned: u64,
}

/// A function in its place, or a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionNode {
    /// Its caller or group, by place among the nodes; none of a group.
    pub parent: Option<u32>,
    /// The function, or which group.
    pub what: u32,
    /// What ended here, that of pruned children included.
    pub own: u64,
    /// What passed here.
    pub total: u64,
    /// The part of `own` that is of pruned children.
    pub pruned: u64,
}

/// A node that may be kept.
struct Open {
    total: u64,
    depth: u32,
    /// Its caller's place among those kept; the group's number for a group.
    parent: u32,
    what: u32,
    /// Its parts, of a list of all.
    parts: (u32, u32),
}

/// Nodes that may be kept, the largest first, of those as large the one nearest to its group. None is put in that comes before what was
/// taken out last, as no child is larger than its caller: so nodes need no more order among each other than the first bit in which
/// their totals differ from the last one's (a radix heap, Ahuja et al. 1990).
struct Queue {
    last: u64,
    /// As large as the last one, by depth.
    as_large: BTreeMap<u32, Vec<Open>>,
    /// By the highest bit that differs: what differs in a lower one is larger.
    smaller: [Vec<Open>; 64],
}

impl Queue {
    fn new() -> Self {
        Self { last: u64::MAX, as_large: BTreeMap::new(), smaller: std::array::from_fn(|_| Vec::new()) }
    }

    fn push(&mut self, open: Open) {
        match (open.total ^ self.last).checked_ilog2() {
            None => self.as_large.entry(open.depth).or_default().push(open),
            Some(bit) => self.smaller[bit as usize].push(open),
        }
    }

    fn pop(&mut self) -> Option<Open> {
        loop {
            while let Some(mut nearest) = self.as_large.first_entry() {
                match nearest.get_mut().pop() {
                    Some(open) => return Some(open),
                    None => drop(nearest.remove()),
                }
            }
            let next = std::mem::take(self.smaller.iter_mut().find(|nodes| !nodes.is_empty())?);
            self.last = next.iter().map(|open| open.total).max()?;
            next.into_iter().for_each(|open| self.push(open));
        }
    }
}

/// The largest nodes of all groups, at most `room` of them, and the frames that are merged in each: from the groups down, the largest one that
/// is left first. So nothing is merged or looked at below what is too small. Nodes as large as the first that does not fit, and as deep,
/// all stay away: which of them had a place would be chance.
fn largest<C: Counted>(counted: &C, of_frame: &[u32], room: usize) -> (Vec<FunctionNode>, Vec<FrameId>) {
    let mut lists: Vec<C::Part> = counted.groups();
    let mut queue = Queue::new();
    for (at, root) in (0..).zip(&lists) {
        let total = counted.total(*root);
        if total > 0 {
            queue.push(Open { total, depth: 1, parent: u32::MAX, what: at, parts: (at, at + 1) });
        }
    }
    let (mut kept, mut places): (Vec<FunctionNode>, Vec<_>) = (Vec::new(), Vec::new());
    let mut below: Vec<(u32, C::Part, u64)> = Vec::new();
    while let Some(Open { total, depth, parent, what, parts: (from, until) }) = queue.pop() {
        if kept.len() == room {
            while places.last().is_some_and(|(rank, _)| *rank == (total, depth)) {
                places.pop();
                kept.pop();
            }
            break;
        }
        let place = kept.len() as u32;
        let mut own = total;
        for at in from..until {
            counted.children(lists[at as usize], |child, frame| {
                let total = counted.total(child);
                own = own.saturating_sub(total);
                below.push((of_frame[frame.0 as usize], child, total));
            });
        }
        below.sort_unstable_by_key(|(function, ..)| *function);
        for alike in below.chunk_by(|a, b| a.0 == b.0) {
            let from = lists.len() as u32;
            lists.extend(alike.iter().map(|(_, part, _)| *part));
            let total = alike.iter().fold(0u64, |sum, (_, _, total)| sum.saturating_add(*total));
            let parts = (from, lists.len() as u32);
            queue.push(Open { total, depth: depth + 1, parent: place, what: alike[0].0, parts });
        }
        below.clear();
        let parent = Some(parent).filter(|parent| *parent != u32::MAX);
        kept.push(FunctionNode { parent, what, own, total, pruned: 0 });
        places.push(((total, depth), from..until));
    }
    add_pruned(&mut kept);
    let functions = places.into_iter().zip(&kept).filter(|(_, node)| node.parent.is_some());
    let parts = functions.flat_map(|((_, parts), _)| parts);
    let frames = parts.map(|at| counted.frame(lists[at as usize])).collect();
    (kept, frames)
}

/// Makes what is of children without a node their caller's own.
fn add_pruned(kept: &mut [FunctionNode]) {
    let mut pruned: Vec<u64> = kept.iter().map(|node| node.total.saturating_sub(node.own)).collect();
    for node in kept.iter() {
        if let Some(parent) = node.parent {
            pruned[parent as usize] = pruned[parent as usize].saturating_sub(node.total);
        }
    }
    for (node, pruned) in kept.iter_mut().zip(pruned) {
        node.own = node.own.saturating_add(pruned);
        node.pruned = pruned;
    }
}

impl FunctionTree {
    /// The tree of what was counted in each group by nodes of `all`, which `functions` has followed that far; with its root it has
    /// at most `most` nodes, the largest ones. `preorder` is that of `all` with these nodes at least, where it is known.
    pub(crate) fn new(
        facts: Profile,
        (all, preorder): (&ProfileBuilder, Option<&Preorder>),
        functions: &Functions,
        (groups, counts): (Vec<String>, &[GroupCounts]),
        most: usize,
    ) -> Self {
        let of_frame = &functions.of_frame;
        let room = most.max(1) - 1;
        let (mut nodes, frames) = match preorder {
            Some(preorder) => largest(&InPreorder::new(preorder, counts), of_frame, room),
            None => largest(&AsTheyCame::new(all, counts), of_frame, room),
        };
        let mut numbers = vec![None; functions.index.len()];
        let mut next = 0;
        for node in nodes.iter_mut().filter(|node| node.parent.is_some()) {
            node.what = *numbers[node.what as usize].get_or_insert_with(|| {
                next += 1;
                next - 1
            });
        }
        let weights = counts.iter().flatten().map(|(_, weight)| *weight);
        let groups_kept = nodes.iter().filter(|node| node.parent.is_none()).map(|node| node.total);
        let pruned = weights.fold(0, u64::saturating_add);
        let pruned = pruned.saturating_sub(groups_kept.fold(0, u64::saturating_add));

        let mut is_used = vec![false; all.frames.items.len()];
        frames.into_iter().for_each(|frame| is_used[frame.0 as usize] = true);
        let mut code = ProfileBuilder::default();
        take_frames(&mut code, all, &is_used);
        let used = is_used.iter().zip(of_frame).filter(|(is_used, _)| **is_used);
        let functions = used.filter_map(|(_, function)| numbers[*function as usize]).collect();
        Self { facts, code: code.finish(0, 0), functions, groups, nodes, pruned }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::NodeId;
    use crate::model::extract::forest;

    #[test]
    fn trees_along_the_preorder_are_those_of_nodes_as_they_came() {
        let (all, nodes) = forest();
        let preorder = all.preorder();
        let mut functions = Functions::default();
        functions.follow(&all);
        let weight = |node: &NodeId| u64::from(node.0) * 7919 % 11;
        let of_group = |group: usize| -> GroupCounts {
            let mine = nodes.iter().enumerate().filter(|(at, _)| at % 3 >= group);
            // Some nodes come twice; the root counts, too.
            mine.map(|(_, node)| (*node, weight(node))).chain([(NodeId::ROOT, 5), (nodes[9], 2)]).collect()
        };
        let mut counts: Vec<_> = (0..3).map(of_group).collect();
        counts.push(vec![(nodes[4], u64::MAX - 3), (nodes[5], 9)]);
        counts.push(Vec::new());
        for most in [1, 2, 5, 80, 700, usize::MAX] {
            let tree = |preorder| {
                let groups = (vec![String::new(); counts.len()], &counts[..]);
                FunctionTree::new(Profile::default(), (&all, preorder), &functions, groups, most)
            };
            let (walked, climbed) = (tree(Some(&preorder)), tree(None));
            assert!(walked.nodes.len() < most);
            assert_eq!((&walked.nodes, walked.pruned), (&climbed.nodes, climbed.pruned));
            assert_eq!((&walked.functions, &walked.code.frames), (&climbed.functions, &climbed.code.frames));
        }
    }

    #[test]
    fn a_queue_gives_the_largest_first_and_of_those_as_large_the_nearest() {
        let open = |total, depth| Open { total, depth, parent: 0, what: 0, parts: (0, 0) };
        let mut queue = Queue::new();
        [(7, 1), (u64::MAX, 1), (0, 1), (9, 1)]
            .into_iter()
            .for_each(|(total, depth)| queue.push(open(total, depth)));
        let mut found = Vec::new();
        while let Some(Open { total, depth, .. }) = queue.pop() {
            found.push((total, depth));
            if depth < 3 {
                queue.push(open(total, depth + 1));
                queue.push(open(total / 2, depth + 1));
            }
        }
        let mut expected = found.clone();
        expected.sort_by_key(|(total, depth)| (std::cmp::Reverse(*total), *depth));
        assert_eq!((found.len(), found), (4 * 7, expected));
    }
}
