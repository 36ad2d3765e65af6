//! Stacks as a prefix tree, in preorder.
//!
//! Preorder makes a flame graph arithmetic: with self counts in an array by node and a running sum `P`, the
//! total of node `v` is `P[v + subtree(v)] - P[v]`, and any subtree is one contiguous range of ids.

use rustc_hash::FxHashMap;

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
    index: FxHashMap<(NodeId, FrameId), NodeId>,
}

impl StackTreeBuilder {
    /// The child of `parent` with this frame, which is added if it is new. Stacks grow from the root
    /// (outermost caller) to the leaf.
    pub fn child(&mut self, parent: NodeId, frame: FrameId) -> NodeId {
        let next = NodeId(self.nodes.len() as u32 + 1);
        let node = *self.index.entry((parent, frame)).or_insert(next);
        if node == next {
            self.nodes.push((parent, frame));
        }
        node
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
    fn placed(subtree: &[u32], nodes: impl Iterator<Item = (usize, usize, FrameId)>) -> (Self, Vec<NodeId>) {
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

    /// The same tree with other handles of frames, `moved` by old handle, siblings in the order of the new ones;
    /// and for each node its new handle.
    pub(crate) fn reordered(&self, moved: &[FrameId]) -> (Self, Vec<NodeId>) {
        let frame = |v: usize| self.frame[v].map_or(FrameId(0), |frame| moved[frame.0 as usize]);
        let mut order: Vec<usize> = (1..self.len()).collect();
        order.sort_unstable_by_key(|v| (self.depth[*v], frame(*v), *v));
        let nodes = order.into_iter().map(|v| (v, self.parent[v].0 as usize, frame(v)));
        Self::placed(&self.subtree, nodes)
    }

    /// The tree of nodes given in preorder as (distance to the parent, frame), the root left out; `Err` names
    /// the first node that is not in preorder.
    pub fn from_preorder(nodes: impl IntoIterator<Item = (u32, FrameId)>) -> Result<Self, usize> {
        let mut builder = StackTreeBuilder::default();
        for (i, (distance, frame)) in nodes.into_iter().enumerate() {
            let id = i as u32 + 1;
            let parent = id.checked_sub(distance).filter(|_| distance > 0).ok_or(i)?;
            builder.nodes.push((NodeId(parent), frame));
        }
        let (tree, place) = builder.finish();
        match place.iter().enumerate().find(|(i, at)| *i as u32 != at.0) {
            Some((i, _)) => Err(i - 1),
            None => Ok(tree),
        }
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
