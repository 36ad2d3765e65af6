//! Stacks as a prefix tree, in preorder.
//!
//! Preorder makes a flame graph arithmetic: with self counts in an array by node and a running sum `P`, the
//! total of node `v` is `P[v + subtree(v)] - P[v]`, and any subtree is one contiguous range of ids.

use super::FrameId;

/// Handle of a node: its place in preorder. `NodeId::ROOT` is the root, which has no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u32);

impl NodeId {
    /// The root: the stack without frames.
    pub const ROOT: Self = Self(0);
}

/// A prefix tree under construction: nodes in order of arrival, parents before children.
#[derive(Clone, Debug, Default)]
pub struct StackTreeBuilder {
    /// (parent, frame) of node i + 1; the root is implicit.
    nodes: Vec<(NodeId, FrameId)>,
    /// By node, its first child and that one's frame; the root where there is none. Four of five nodes are first
    /// children, and the memory of a stack's nodes is mostly in one piece.
    first: Vec<(FrameId, NodeId)>,
    /// By node, its next sibling and its last child; the root where there is none.
    links: Vec<(NodeId, NodeId)>,
    /// All children but the first ones.
    others: Index,
}

/// Nodes by parent and frame. Building and merging trees is one look into it after the other, each of which finds its
/// place in memory that is not in the CPU's cache; here it is one place, and next to it the answer.
#[derive(Clone, Debug, Default)]
struct Index {
    /// Each at the place of its hash or after it; where the node is 0 there is none, since the root is nobody's child. The
    /// length is a power of two, or 0.
    slots: Vec<(u64, u32)>,
    len: usize,
}

/// Slots of an index at first.
const FIRST_SLOTS: usize = 64;

impl Index {
    fn key(parent: NodeId, frame: FrameId) -> u64 {
        u64::from(parent.0) << 32 | u64::from(frame.0)
    }

    /// The slot of a key, or the one where it would be. There are slots.
    fn slot(slots: &[(u64, u32)], key: u64) -> usize {
        let mask = slots.len() - 1;
        // Fibonacci hashing: the middle of the product hangs on all bits of the key.
        let hash = (key ^ (key >> 29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut at = (hash >> 32) as usize & mask;
        while slots[at].1 != 0 && slots[at].0 != key {
            at = (at + 1) & mask;
        }
        at
    }

    /// The node of a key; `next` from now on, if it has none.
    fn node_or(&mut self, key: u64, next: u32) -> u32 {
        // At most two thirds are taken, so that a search ends soon.
        if self.len * 3 >= self.slots.len() * 2 {
            // Where there is little, there will be more.
            let times = if self.slots.len() < 1 << 14 { 4 } else { 2 };
            let mut slots = vec![(0, 0); (self.slots.len() * times).max(FIRST_SLOTS)];
            for slot in self.slots.iter().filter(|slot| slot.1 != 0) {
                let at = Self::slot(&slots, slot.0);
                slots[at] = *slot;
            }
            self.slots = slots;
        }
        let at = Self::slot(&self.slots, key);
        if self.slots[at].1 == 0 {
            self.slots[at] = (key, next);
            self.len += 1;
        }
        self.slots[at].1
    }
}

impl StackTreeBuilder {
    /// The child of `parent` with this frame, which is added if it is new. Stacks grow from the root
    /// (outermost caller) to the leaf.
    pub fn child(&mut self, parent: NodeId, frame: FrameId) -> NodeId {
        let next = NodeId(self.nodes.len() as u32 + 1);
        if self.first.is_empty() {
            self.push_links();
        }
        let first = &mut self.first[parent.0 as usize];
        let node = match *first {
            (_, NodeId::ROOT) => {
                *first = (frame, next);
                next
            }
            (known, node) if known == frame => node,
            _ => NodeId(self.others.node_or(Index::key(parent, frame), next.0)),
        };
        if node == next {
            let last = std::mem::replace(&mut self.links[parent.0 as usize].1, node);
            if last != NodeId::ROOT {
                self.links[last.0 as usize].0 = node;
            }
            self.nodes.push((parent, frame));
            self.push_links();
        }
        node
    }

    fn push_links(&mut self) {
        self.first.push((FrameId(0), NodeId::ROOT));
        self.links.push((NodeId::ROOT, NodeId::ROOT));
    }

    /// Takes in all stacks of a tree, whose frames have these handles here. Returns the nodes here by those of the tree.
    ///
    /// Children mostly come in the order in which an earlier tree had them, so that the next one is where the last one's
    /// sibling is: trees of the same program are walked side by side.
    pub(crate) fn add_tree(&mut self, tree: &StackTree, frames: &[FrameId]) -> Vec<NodeId> {
        let mut places = Vec::with_capacity(tree.len());
        // By node of the tree: which child of its place was found last.
        let mut last = vec![NodeId::ROOT; tree.len()];
        for node in tree.nodes() {
            let Some(frame) = tree.frame(node) else {
                places.push(NodeId::ROOT);
                continue;
            };
            let (above, frame) = (tree.parent(node).0 as usize, frames[frame.0 as usize]);
            let next = match last[above] {
                NodeId::ROOT => NodeId::ROOT,
                last => self.links[last.0 as usize].0,
            };
            let is_next = next != NodeId::ROOT && self.nodes[next.0 as usize - 1].1 == frame;
            let place = if is_next { next } else { self.child(places[above], frame) };
            last[above] = place;
            places.push(place);
        }
        places
    }

    /// Number of nodes, the root included.
    #[expect(clippy::len_without_is_empty, reason = "never empty: it holds the root")]
    pub fn len(&self) -> usize {
        self.nodes.len() + 1
    }

    /// (parent, frame) of each node in order of arrival, the root left out.
    pub fn nodes(&self) -> &[(NodeId, FrameId)] {
        &self.nodes
    }

    /// The finished tree, and for each node of the builder its handle in the tree. Children stand in the
    /// order of their arrival.
    pub fn finish(self) -> (StackTree, Vec<NodeId>) {
        let n = self.len();
        let mut subtree = vec![1u32; n];
        for (i, (parent, _)) in self.nodes.iter().enumerate().rev() {
            subtree[parent.0 as usize] += subtree[i + 1];
        }
        let nodes = self.nodes.iter().enumerate();
        StackTree::placed(&subtree, nodes.map(|(i, (parent, frame))| (i + 1, parent.0 as usize, *frame)))
    }
}

/// A prefix tree of stacks, in preorder; all columns have one entry per node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackTree {
    parent: Vec<NodeId>,
    frame: Vec<Option<FrameId>>,
    subtree: Vec<u32>,
    depth: Vec<u32>,
}

impl Default for StackTree {
    fn default() -> Self {
        StackTreeBuilder::default().finish().0
    }
}

impl StackTree {
    fn with_len(n: usize) -> Self {
        Self { parent: vec![NodeId::ROOT; n], frame: vec![None; n], subtree: vec![1; n], depth: vec![0; n] }
    }

    /// The tree of (node, parent, frame), parents before their children and siblings in the order they are to
    /// have, and for each node its handle in the tree. `subtree` has the sizes of the nodes' subtrees.
    pub(super) fn placed(
        subtree: &[u32],
        nodes: impl Iterator<Item = (usize, usize, FrameId)>,
    ) -> (Self, Vec<NodeId>) {
        let n = subtree.len();
        // `next[v]`: where v's next child goes. Parents come first, so their place is known in time.
        let mut place = vec![NodeId::ROOT; n];
        let mut next = vec![1u32; n];
        let mut tree = Self::with_len(n);
        tree.subtree[0] = n as u32;
        for (v, parent, frame) in nodes {
            let at = next[parent];
            next[parent] += subtree[v];
            next[v] = at + 1;
            place[v] = NodeId(at);
            let at = at as usize;
            tree.parent[at] = place[parent];
            tree.frame[at] = Some(frame);
            tree.subtree[at] = subtree[v];
            tree.depth[at] = tree.depth[place[parent].0 as usize] + 1;
        }
        (tree, place)
    }

    /// The tree of some of the nodes, `n` of them, which are given in order, the root and all their callers among them.
    pub(crate) fn picked(
        &self,
        n: usize,
        nodes: impl Iterator<Item = u32>,
        frame: impl Fn(FrameId) -> FrameId,
    ) -> Self {
        let mut tree = Self {
            parent: Vec::with_capacity(n),
            frame: Vec::with_capacity(n),
            subtree: vec![1; n],
            depth: Vec::with_capacity(n),
        };
        // By depth, the node there that came last: the caller of whatever comes next and is deeper by one.
        let mut path = vec![NodeId::ROOT];
        for (place, old) in nodes.enumerate() {
            let depth = self.depth[old as usize];
            tree.parent.push(path[(depth as usize).saturating_sub(1)]);
            path.truncate(depth as usize);
            path.push(NodeId(place as u32));
            tree.frame.push(self.frame[old as usize].map(&frame));
            tree.depth.push(depth);
        }
        tree.add_up_subtrees();
        tree
    }

    /// Sizes of subtrees from ones.
    fn add_up_subtrees(&mut self) {
        for node in (1..self.len()).rev() {
            self.subtree[self.parent[node].0 as usize] += self.subtree[node];
        }
    }

    /// The same tree with other handles of frames, `moved` by old handle, siblings in the order of the new ones;
    /// and for each node its new handle.
    pub(crate) fn reordered(&self, moved: &[FrameId]) -> (Self, Vec<NodeId>) {
        let frame = |v: usize| self.frame[v].map_or(FrameId(0), |frame| moved[frame.0 as usize]);
        // By depth, then frame: parents come first. Both are small numbers, so nothing needs to be compared.
        let by_frame = sorted(1..self.len(), moved.len(), |v| frame(v).0 as usize);
        let depths = self.depth.iter().max().map_or(0, |deepest| *deepest as usize + 1);
        let order = sorted(by_frame.into_iter(), depths, |v| self.depth[v] as usize);
        let nodes = order.into_iter().map(|v| (v, self.parent[v].0 as usize, frame(v)));
        Self::placed(&self.subtree, nodes)
    }

    /// The tree of nodes given in preorder as (distance to the parent, frame), the root left out; `Err` names
    /// the first node that is not in preorder.
    pub fn from_preorder(nodes: impl IntoIterator<Item = (u32, FrameId)>) -> Result<Self, usize> {
        let mut tree = Self::with_len(1);
        // The path to the node before: whatever comes next hangs on it.
        let mut path = vec![NodeId::ROOT];
        for (i, (distance, frame)) in nodes.into_iter().enumerate() {
            let node = NodeId(i as u32 + 1);
            let parent = node.0.checked_sub(distance).filter(|_| distance > 0).map(NodeId).ok_or(i)?;
            while path.last().is_some_and(|last| *last > parent) {
                path.pop();
            }
            if path.last() != Some(&parent) {
                return Err(i);
            }
            tree.depth.push(path.len() as u32);
            path.push(node);
            tree.parent.push(parent);
            tree.frame.push(Some(frame));
            tree.subtree.push(1);
        }
        tree.add_up_subtrees();
        Ok(tree)
    }

    /// Number of nodes, the root included.
    #[expect(clippy::len_without_is_empty, reason = "never empty: it holds the root")]
    pub fn len(&self) -> usize {
        self.parent.len()
    }

    /// The node's parent; the root is its own.
    pub fn parent(&self, node: NodeId) -> NodeId {
        self.parent[node.0 as usize]
    }

    /// The node's frame; none for the root only.
    pub fn frame(&self, node: NodeId) -> Option<FrameId> {
        self.frame[node.0 as usize]
    }

    /// Number of nodes in the node's subtree, itself included.
    pub fn subtree(&self, node: NodeId) -> u32 {
        self.subtree[node.0 as usize]
    }

    /// Number of frames from the root to the node.
    pub fn depth(&self, node: NodeId) -> u32 {
        self.depth[node.0 as usize]
    }

    /// All nodes in preorder, the root first.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = NodeId> + use<> {
        (0..self.len() as u32).map(NodeId)
    }

    /// The frames of a stack, from the leaf to the root.
    pub fn leaf_to_root(&self, node: NodeId) -> impl Iterator<Item = FrameId> + '_ {
        let mut at = node;
        std::iter::from_fn(move || {
            let frame = self.frame(at)?;
            at = self.parent(at);
            Some(frame)
        })
    }

    /// Totals by node from self values by node: one running sum.
    pub fn totals(&self, own: &[u64]) -> Vec<u64> {
        let mut sum = Vec::with_capacity(own.len() + 1);
        sum.push(0u64);
        for value in own {
            sum.push(sum.last().copied().unwrap_or(0) + value);
        }
        self.nodes().map(|v| sum[(v.0 + self.subtree(v)) as usize] - sum[v.0 as usize]).collect()
    }
}

/// Sorts by a number below `limit`; equal ones stay in their order.
pub(super) fn sorted(
    items: impl ExactSizeIterator<Item = usize> + Clone,
    limit: usize,
    key: impl Fn(usize) -> usize,
) -> Vec<usize> {
    let mut next = vec![0; limit + 1];
    items.clone().for_each(|item| next[key(item) + 1] += 1);
    for i in 1..next.len() {
        next[i] += next[i - 1];
    }
    let mut sorted = vec![0; items.len()];
    for item in items {
        let place = &mut next[key(item)];
        sorted[*place] = item;
        *place += 1;
    }
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(stacks: &[&[u32]]) -> (StackTree, Vec<NodeId>) {
        let mut builder = StackTreeBuilder::default();
        let leaves: Vec<_> = stacks
            .iter()
            .map(|stack| stack.iter().fold(NodeId::ROOT, |at, frame| builder.child(at, FrameId(*frame))))
            .collect();
        let (tree, place) = builder.finish();
        (tree, leaves.iter().map(|leaf| place[leaf.0 as usize]).collect())
    }

    #[test]
    fn interleaved_stacks_come_out_in_preorder() {
        let (tree, leaves) = tree(&[&[1, 2], &[5], &[1, 3, 4], &[5, 6], &[1, 2, 7]]);
        let frames: Vec<_> = tree.nodes().filter_map(|v| tree.frame(v)).map(|f| f.0).collect();
        assert_eq!(frames, [1, 2, 7, 3, 4, 5, 6]);
        assert_eq!(tree.nodes().map(|v| tree.subtree(v)).collect::<Vec<_>>(), [8, 5, 2, 1, 2, 1, 2, 1]);
        assert_eq!(tree.nodes().map(|v| tree.depth(v)).collect::<Vec<_>>(), [0, 1, 2, 3, 2, 3, 1, 2]);
        assert_eq!(tree.leaf_to_root(leaves[2]).map(|f| f.0).collect::<Vec<_>>(), [4, 3, 1]);
    }

    #[test]
    fn totals_are_sums_over_subtrees() {
        let (tree, leaves) = tree(&[&[1, 2], &[5], &[1, 3, 4]]);
        let mut own = vec![0; tree.len()];
        for (leaf, value) in leaves.iter().zip([10, 20, 30]) {
            own[leaf.0 as usize] += value;
        }
        assert_eq!(tree.totals(&own), [60, 40, 10, 30, 30, 20]);
    }

    #[test]
    fn preorder_is_checked_when_read_back() {
        let (good, _) = tree(&[&[1, 2], &[5]]);
        let nodes = [(1, FrameId(1)), (1, FrameId(2)), (3, FrameId(5))];
        assert_eq!(StackTree::from_preorder(nodes), Ok(good));
        assert_eq!(StackTree::from_preorder([(2, FrameId(1))]), Err(0));
        assert_eq!(StackTree::from_preorder([(0, FrameId(1))]), Err(0));
        // 2's subtree ended when 5 came, so 6 under 2 is out of order
        let bad = [(1, FrameId(1)), (1, FrameId(2)), (3, FrameId(5)), (2, FrameId(6))];
        assert!(StackTree::from_preorder(bad).is_err());
    }
}
