//! What was counted by nodes of a builder, as trees: how much passed each node, and what is below it.

use super::extract::Preorder;
use super::node_set::NodeSet;
use super::{FrameId, NodeId, ProfileBuilder};

/// What is counted of one group: weights by node of the builder.
pub(crate) type GroupCounts = Vec<(NodeId, u64)>;

/// A tree for each group. A part is a node as a group has it.
pub(super) trait Counted {
    type Part: Copy;

    /// The root of each group's tree.
    fn groups(&self) -> Vec<Self::Part>;
    /// What passed a part, itself included.
    fn total(&self, part: Self::Part) -> u64;
    /// The frame of a part that is no root.
    fn frame(&self, part: Self::Part) -> FrameId;
    /// Calls `each` with all parts right below one, and their frames.
    fn children(&self, part: Self::Part, each: impl FnMut(Self::Part, FrameId));
}

/// By the builder's own nodes, which are in order of arrival: totals are added up from the leaves to the roots.
pub(super) struct AsTheyCame {
    /// The nodes of each group, callers before what they call.
    parts: Vec<Place>,
    roots: Vec<u32>,
    /// By part, those below it: `children[first[part]..first[part + 1]]`.
    first: Vec<u32>,
    children: Vec<u32>,
}

/// Below its caller, by place; a root is below itself.
struct Place {
    above: u32,
    frame: FrameId,
    total: u64,
}

impl AsTheyCame {
    pub(super) fn new(all: &ProfileBuilder, counts: &[GroupCounts]) -> Self {
        let (parts, roots) = parts_of(all, counts);
        let (first, children) = children_of(&parts);
        Self { parts, roots, first, children }
    }
}

impl Counted for AsTheyCame {
    type Part = u32;

    fn groups(&self) -> Vec<u32> {
        self.roots.clone()
    }

    fn total(&self, part: u32) -> u64 {
        self.parts[part as usize].total
    }

    fn frame(&self, part: u32) -> FrameId {
        self.parts[part as usize].frame
    }

    fn children(&self, part: u32, mut each: impl FnMut(u32, FrameId)) {
        let children = self.first[part as usize] as usize..self.first[part as usize + 1] as usize;
        self.children[children].iter().for_each(|child| each(*child, self.frame(*child)));
    }
}

fn parts_of(all: &ProfileBuilder, counts: &[GroupCounts]) -> (Vec<Place>, Vec<u32>) {
    let nodes = all.stacks.nodes();
    let of = |node: u32| nodes[node as usize - 1];
    let mut set = NodeSet::new(nodes.len() + 1);
    // Groups rarely share nodes; room that is not used is never touched.
    let (mut parts, mut roots): (Vec<Place>, Vec<u32>) = (Vec::with_capacity(nodes.len() + 1), Vec::new());
    for counts in counts {
        let root = parts.len() as u32;
        roots.push(root);
        set.insert(0);
        counts.iter().for_each(|(node, _)| set.insert(node.0));
        set.insert_parents(|node| of(node).0.0);
        parts.reserve(set.close());
        parts.push(Place { above: root, frame: FrameId(0), total: 0 });
        parts.extend(set.iter().skip(1).map(|node| {
            let (parent, frame) = of(node);
            Place { above: root + set.rank(parent.0), frame, total: 0 }
        }));
        for (node, weight) in counts {
            let total = &mut parts[(root + set.rank(node.0)) as usize].total;
            *total = total.saturating_add(*weight);
        }
        for at in (root as usize + 1..parts.len()).rev() {
            let Place { above, total, .. } = parts[at];
            let above = &mut parts[above as usize].total;
            *above = above.saturating_add(total);
        }
        set.clear();
    }
    (parts, roots)
}

fn children_of(parts: &[Place]) -> (Vec<u32>, Vec<u32>) {
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

/// Along the builder's tree in preorder: what passed a node is the difference of two sums, and nodes that nobody looks at
/// cost nothing.
pub(super) struct InPreorder<'a> {
    preorder: &'a Preorder,
    /// The nodes that were counted, in order, one group after the other.
    nodes: Vec<u32>,
    /// What was counted before each of them, and in all. Wide enough for any weights.
    before: Vec<u128>,
    /// Where each group begins, and where the last one ends.
    groups: Vec<u32>,
}

/// A node and what was counted below it, as a part of all counts.
#[derive(Clone, Copy)]
pub(super) struct Stretch {
    node: u32,
    from: u32,
    until: u32,
}

impl<'a> InPreorder<'a> {
    pub(super) fn new(preorder: &'a Preorder, counts: &[GroupCounts]) -> Self {
        let all = counts.iter().map(Vec::len).sum();
        let (mut nodes, mut before) = (Vec::with_capacity(all), Vec::with_capacity(all + 1));
        let mut groups = vec![0];
        let mut set = NodeSet::new(preorder.len());
        let mut sum = 0u128;
        for counts in counts {
            let placed = || counts.iter().map(|(node, weight)| (preorder.place(*node), weight));
            placed().for_each(|(node, _)| set.insert(node));
            let first = nodes.len();
            let len = set.close();
            nodes.extend(set.iter());
            before.resize(first + len, 0);
            for (node, weight) in placed() {
                before[first + set.rank(node) as usize] += u128::from(*weight);
            }
            for before in &mut before[first..] {
                let own = std::mem::replace(before, sum);
                sum += own;
            }
            groups.push(nodes.len() as u32);
            set.clear();
        }
        before.push(sum);
        Self { preorder, nodes, before, groups }
    }

    /// The end of the counts of nodes before `node`, which is at `from` or after it: near by, mostly.
    fn until(&self, node: u32, from: u32, end: u32) -> u32 {
        let nodes = &self.nodes[from as usize..end as usize];
        let mut reach = 1;
        while nodes.get(reach - 1).is_some_and(|last| *last < node) {
            reach *= 2;
        }
        let (low, high) = (reach / 2, (reach - 1).min(nodes.len()));
        from + (low + nodes[low..high].partition_point(|at| *at < node)) as u32
    }
}

impl Counted for InPreorder<'_> {
    type Part = Stretch;

    fn groups(&self) -> Vec<Stretch> {
        self.groups.windows(2).map(|ends| Stretch { node: 0, from: ends[0], until: ends[1] }).collect()
    }

    fn total(&self, part: Stretch) -> u64 {
        let total = self.before[part.until as usize] - self.before[part.from as usize];
        u64::try_from(total).unwrap_or(u64::MAX)
    }

    fn frame(&self, part: Stretch) -> FrameId {
        self.preorder.frame(part.node)
    }

    fn children(&self, part: Stretch, mut each: impl FnMut(Stretch, FrameId)) {
        let Stretch { mut from, until, .. } = part;
        from += u32::from(from < until && self.nodes[from as usize] == part.node);
        let mut node = part.node + 1;
        while from < until {
            let next = self.preorder.after(node);
            let end = self.until(next, from, until);
            if end > from {
                each(Stretch { node, from, until: end }, self.preorder.frame(node));
            }
            (node, from) = (next, end);
        }
    }
}
