//! Stacks by function: what flame graphs show. Frames of one function at different places of its code are one node, and
//! what is too small to be seen has no node and no name.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rustc_hash::FxHashMap;

use super::extract::take_frames;
use super::node_set::NodeSet;
use super::{Binary, FrameId, FrameKind, NodeId, Profile, ProfileBuilder, StringId};

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
    /// Frames of the functions that have nodes, those alone that the samples went through; no stacks.
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

/// What is counted of one group: weights by node of the builder.
pub(crate) type GroupCounts = Vec<(NodeId, u64)>;

/// A node of the builder as a group has it: below its caller, by place; the group's root is below itself.
struct Part {
    above: u32,
    frame: FrameId,
    /// What passed here.
    total: u64,
}

/// The nodes of each group, callers before what they call, and where groups begin.
fn parts_of(all: &ProfileBuilder, counts: &[GroupCounts]) -> (Vec<Part>, Vec<u32>) {
    let nodes = all.stacks.nodes();
    let of = |node: u32| nodes[node as usize - 1];
    let mut set = NodeSet::new(nodes.len() + 1);
    // Groups rarely share nodes; room that is not used is never touched.
    let (mut parts, mut roots): (Vec<Part>, Vec<u32>) = (Vec::with_capacity(nodes.len() + 1), Vec::new());
    for counts in counts {
        let root = parts.len() as u32;
        roots.push(root);
        set.insert(0);
        counts.iter().for_each(|(node, _)| set.insert(node.0));
        set.insert_parents(|node| of(node).0.0);
        parts.reserve(set.close());
        parts.push(Part { above: root, frame: FrameId(0), total: 0 });
        parts.extend(set.iter().skip(1).map(|node| {
            let (parent, frame) = of(node);
            Part { above: root + set.rank(parent.0), frame, total: 0 }
        }));
        for (node, weight) in counts {
            let total = &mut parts[(root + set.rank(node.0)) as usize].total;
            *total = total.saturating_add(*weight);
        }
        for at in (root as usize + 1..parts.len()).rev() {
            let Part { above, total, .. } = parts[at];
            let above = &mut parts[above as usize].total;
            *above = above.saturating_add(total);
        }
        set.clear();
    }
    (parts, roots)
}

/// By part, those below it: `children[first[part]..first[part + 1]]`.
fn children_of(parts: &[Part]) -> (Vec<u32>, Vec<u32>) {
    let mut first = vec![0u32; parts.len() + 2];
    let below = || parts.iter().enumerate().filter(|(at, part)| part.above as usize != *at);
    below().for_each(|(_, part)| first[part.above as usize + 2] += 1);
    for at in 2..first.len() {
        first[at] += first[at - 1];
    }
    let mut children = vec![0; first[parts.len() + 1] as usize];
    for (at, part) in below() {
        let next = &mut first[part.above as usize + 1];
        children[*next as usize] = at as u32;
        *next += 1;
    }
    (first, children)
}

/// A node that may be kept. The order is that in which nodes are: large ones first, and callers before what they call.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Open {
    rank: (u64, Reverse<u32>),
    /// Its caller's place among those kept; the group's number for a group.
    parent: u32,
    what: u32,
    /// Its parts, of a list of all.
    parts: (u32, u32),
}

/// The largest nodes of all groups, at most `room` of them: from the groups down, the largest one that is left first. So nothing is
/// merged or looked at below what is too small. Nodes as large as the first that does not fit, and as deep, all stay away: which of
/// them had a place would be chance.
fn largest(parts: &[Part], roots: &[u32], of_frame: &[u32], room: usize) -> Vec<FunctionNode> {
    let (first, children) = children_of(parts);
    let mut lists: Vec<u32> = roots.to_vec();
    let group = |(at, root): (usize, &u32)| Open {
        rank: (parts[*root as usize].total, Reverse(1)),
        parent: u32::MAX,
        what: at as u32,
        parts: (at as u32, at as u32 + 1),
    };
    let mut open: BinaryHeap<Open> =
        roots.iter().enumerate().map(group).filter(|node| node.rank.0 > 0).collect();
    let (mut kept, mut ranks): (Vec<FunctionNode>, Vec<_>) = (Vec::new(), Vec::new());
    let mut below: Vec<(u32, u32)> = Vec::new();
    while let Some(Open { rank, parent, what, parts: (from, until) }) = open.pop() {
        if kept.len() == room {
            while ranks.last() == Some(&rank) {
                ranks.pop();
                kept.pop();
            }
            break;
        }
        let place = kept.len() as u32;
        let mut own = 0u64;
        for at in from..until {
            let part = lists[at as usize] as usize;
            let children = &children[first[part] as usize..first[part + 1] as usize];
            let passed_on = children.iter().map(|child| parts[*child as usize].total);
            let passed_on = passed_on.fold(0, u64::saturating_add);
            own = own.saturating_add(parts[part].total.saturating_sub(passed_on));
            below.extend(
                children.iter().map(|child| (of_frame[parts[*child as usize].frame.0 as usize], *child)),
            );
        }
        below.sort_unstable();
        for alike in below.chunk_by(|a, b| a.0 == b.0) {
            let from = lists.len() as u32;
            lists.extend(alike.iter().map(|(_, part)| *part));
            let total =
                alike.iter().fold(0u64, |sum, (_, part)| sum.saturating_add(parts[*part as usize].total));
            let rank = (total, Reverse(rank.1.0 + 1));
            open.push(Open { rank, parent: place, what: alike[0].0, parts: (from, lists.len() as u32) });
        }
        below.clear();
        kept.push(FunctionNode {
            parent: Some(parent).filter(|parent| *parent != u32::MAX),
            what,
            own,
            total: rank.0,
            pruned: 0,
        });
        ranks.push(rank);
    }
    let mut pruned: Vec<u64> = kept.iter().map(|node| node.total.saturating_sub(node.own)).collect();
    for node in &kept {
        if let Some(parent) = node.parent {
            pruned[parent as usize] = pruned[parent as usize].saturating_sub(node.total);
        }
    }
    for (node, pruned) in kept.iter_mut().zip(pruned) {
        node.own = node.own.saturating_add(pruned);
        node.pruned = pruned;
    }
    kept
}

impl FunctionTree {
    /// The tree of what was counted in each group by nodes of `all`, which `functions` has followed that far; with its root it has
    /// at most `most` nodes, the largest ones.
    pub(crate) fn new(
        facts: Profile,
        all: &ProfileBuilder,
        functions: &Functions,
        (groups, counts): (Vec<String>, &[GroupCounts]),
        most: usize,
    ) -> Self {
        let (parts, roots) = parts_of(all, counts);
        let mut nodes = largest(&parts, &roots, &functions.of_frame, most.max(1) - 1);
        let mut numbers = vec![None; functions.index.len()];
        let mut next = 0;
        for node in nodes.iter_mut().filter(|node| node.parent.is_some()) {
            node.what = *numbers[node.what as usize].get_or_insert_with(|| {
                next += 1;
                next - 1
            });
        }
        let groups_kept = nodes.iter().filter(|node| node.parent.is_none()).map(|node| node.total);
        let pruned = roots.iter().map(|root| parts[*root as usize].total).fold(0, u64::saturating_add);
        let pruned = pruned.saturating_sub(groups_kept.fold(0, u64::saturating_add));

        let number = |frame: FrameId| numbers[functions.of_frame[frame.0 as usize] as usize];
        let mut is_used = vec![false; all.frames.items.len()];
        let frames = parts.iter().enumerate().filter(|(at, part)| part.above as usize != *at);
        frames.for_each(|(_, part)| is_used[part.frame.0 as usize] = true);
        for (id, is_used) in is_used.iter_mut().enumerate().filter(|(_, is_used)| **is_used) {
            *is_used = number(FrameId(id as u32)).is_some();
        }
        let mut code = ProfileBuilder::default();
        take_frames(&mut code, all, &is_used);
        let used = is_used.iter().enumerate().filter(|(_, is_used)| **is_used);
        let functions = used.filter_map(|(id, _)| number(FrameId(id as u32))).collect();
        Self { facts, code: code.finish(0, 0), functions, groups, nodes, pruned }
    }
}
