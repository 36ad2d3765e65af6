//! From sums by the nodes of a large tree to a profile with just the stacks that they need.

use super::node_set::NodeSet;
use super::stack_tree::sorted;
use super::{
    Binary, BinaryId, Frame, FrameId, NodeId, Profile, ProfileBuilder, Row, RowKey, StackTree, StringId,
};

/// What was counted of a stack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NodeCount {
    /// Whose it is, by place in a list of pairs (of lane and who) or of keys.
    pub(crate) pair: u32,
    pub(crate) node: u32,
    pub(crate) samples: u64,
    pub(crate) value: i64,
}

/// The stacks of a builder in preorder.
pub(crate) struct Preorder {
    tree: StackTree,
    /// By the builder's nodes: those of the tree.
    places: Vec<NodeId>,
}

impl Preorder {
    /// Number of nodes, the root included.
    pub(crate) fn len(&self) -> usize {
        self.tree.len()
    }

    /// Memory that it takes, bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.len() as u64 * 24
    }

    /// Where a node of the builder is.
    pub(super) fn place(&self, node: NodeId) -> u32 {
        self.places[node.0 as usize].0
    }

    /// The frame of the node at a place, which is not the root's.
    pub(super) fn frame(&self, place: u32) -> FrameId {
        self.tree.frame(NodeId(place)).unwrap_or(FrameId(0))
    }

    /// The first place after the subtree at one.
    pub(super) fn after(&self, place: u32) -> u32 {
        place + self.tree.subtree(NodeId(place))
    }
}

/// By frame of `from`, the ones that are used: their handles in `to`, which takes them over with their texts and files.
pub(super) fn take_frames(to: &mut ProfileBuilder, from: &ProfileBuilder, is_used: &[bool]) -> Vec<FrameId> {
    let used =
        || from.frames.items.iter().zip(is_used).filter(|(_, is_used)| **is_used).map(|(frame, _)| frame);
    let mut is_wanted = vec![false; from.strings.len()];
    let mut want = |id: StringId| is_wanted[id.0 as usize] = true;
    for frame in used() {
        [frame.function, frame.system_name, frame.file].into_iter().for_each(&mut want);
        if let Some(id) = frame.binary {
            let Binary { path, build_id } = from.binaries.items[id.0 as usize];
            [path, build_id].into_iter().for_each(&mut want);
        }
    }
    let strings = to.strings.take_over(&from.strings, &is_wanted);
    let text = |id: StringId| strings[id.0 as usize];
    let mut binaries: Vec<Option<BinaryId>> = vec![None; from.binaries.items.len()];
    let mut frames = Vec::with_capacity(is_used.len());
    to.frames.items.reserve(used().count());
    for (frame, is_used) in from.frames.items.iter().zip(is_used) {
        // No two frames of a builder are the same.
        frames.push(FrameId(to.frames.items.len() as u32));
        if !is_used {
            continue;
        }
        let binary = frame.binary.map(|id| {
            let Binary { path, build_id } = from.binaries.items[id.0 as usize];
            let binary = Binary { path: text(path), build_id: text(build_id) };
            *binaries[id.0 as usize].get_or_insert_with(|| to.binary(binary))
        });
        let [function, system_name, file] = [frame.function, frame.system_name, frame.file].map(text);
        to.frames.items.push(Frame { function, system_name, file, binary, ..*frame });
    }
    frames
}

/// Rows in the order of their keys. Series and node mostly decide, and are small numbers, so that nothing is compared.
fn rows_of(keys: &[RowKey], counts: &[NodeCount], (series, nodes): (usize, usize)) -> Vec<Row> {
    let by_node = sorted(0..counts.len(), nodes, |at| counts[at].node as usize);
    let series_of = |at: usize| keys[counts[at].pair as usize].series.0 as usize;
    let mut rows: Vec<_> = sorted(by_node.into_iter(), series, series_of)
        .into_iter()
        .map(|at| {
            let NodeCount { pair, node, samples, value } = counts[at];
            Row { key: RowKey { node: NodeId(node), ..keys[pair as usize] }, samples, value, exact: 0..0 }
        })
        .collect();
    let is_alike = |a: &Row, b: &Row| (a.key.series, a.key.node) == (b.key.series, b.key.node);
    for alike in rows.chunk_by_mut(is_alike).filter(|alike| alike.len() > 1) {
        alike.sort_unstable_by_key(|row| row.key);
    }
    rows
}

impl ProfileBuilder {
    /// Finishes with these counts of `keys`, whose nodes are those of another builder, `all`: the stacks that they need are
    /// taken over. Nothing but strings, series and accounts may have been added to this one, and no key and node come twice.
    /// `preorder` is that of `all` with these nodes at least, where it is known.
    pub(crate) fn finish_over(
        self,
        (all, preorder): (&ProfileBuilder, Option<&Preorder>),
        keys: &[RowKey],
        counts: Vec<NodeCount>,
        (start_ms, end_ms): (i64, i64),
    ) -> Profile {
        let (mut to, mut counts) = (self, counts);
        let stacks = match preorder {
            Some(preorder) => to.take_in_preorder(all, preorder, &mut counts),
            None => to.take_stacks(all, &mut counts),
        };
        let mut profile = to.finish(start_ms, end_ms);
        profile.rows = rows_of(keys, &counts, (profile.series.len(), stacks.len()));
        profile.stacks = stacks;
        profile
    }

    /// The tree of the stacks that were counted, whose nodes are its own then.
    fn take_stacks(&mut self, all: &ProfileBuilder, counts: &mut [NodeCount]) -> StackTree {
        let nodes = all.stacks.nodes();
        let mut needed = NodeSet::new(nodes.len() + 1);
        needed.insert(0);
        counts.iter().for_each(|counted| needed.insert(counted.node));
        needed.insert_parents(|node| nodes[node as usize - 1].0.0);
        let len = needed.close();
        let mut is_used = vec![false; all.frames.items.len()];
        needed.iter().skip(1).for_each(|node| is_used[nodes[node as usize - 1].1.0 as usize] = true);
        let frames = take_frames(self, all, &is_used);
        // In the order of arrival: parents before children.
        let kept: Vec<_> = needed
            .iter()
            .skip(1)
            .map(|node| {
                let (parent, frame) = nodes[node as usize - 1];
                (needed.rank(parent.0), frames[frame.0 as usize])
            })
            .collect();
        let mut subtree = vec![1u32; len];
        for (i, (parent, _)) in kept.iter().enumerate().rev() {
            subtree[*parent as usize] += subtree[i + 1];
        }
        let placed = kept.iter().enumerate().map(|(i, (parent, frame))| (i + 1, *parent as usize, *frame));
        let (stacks, places) = StackTree::placed(&subtree, placed);
        for counted in counts {
            counted.node = places[needed.rank(counted.node) as usize].0;
        }
        stacks
    }

    /// The same by a walk along the whole tree.
    fn take_in_preorder(
        &mut self,
        all: &ProfileBuilder,
        preorder: &Preorder,
        counts: &mut [NodeCount],
    ) -> StackTree {
        let tree = &preorder.tree;
        let mut needed = NodeSet::new(tree.len());
        needed.insert(0);
        for counted in counts.iter_mut() {
            counted.node = preorder.places[counted.node as usize].0;
            needed.insert(counted.node);
        }
        needed.insert_parents(|node| tree.parent(NodeId(node)).0);
        let len = needed.close();
        let mut is_used = vec![false; all.frames.items.len()];
        let frames = needed.iter().filter_map(|node| tree.frame(NodeId(node)));
        frames.for_each(|frame| is_used[frame.0 as usize] = true);
        let frames = take_frames(self, all, &is_used);
        let stacks = tree.picked(len, needed.iter(), |frame| frames[frame.0 as usize]);
        for counted in counts {
            counted.node = needed.rank(counted.node);
        }
        stacks
    }

    /// Its stacks in preorder.
    pub(crate) fn preorder(&self) -> Preorder {
        let (tree, places) = self.stacks.clone().finish();
        Preorder { tree, places }
    }

    /// Takes over the stacks of a profile; its nodes by place.
    pub(crate) fn add_stacks(&mut self, other: &Profile) -> Vec<NodeId> {
        super::import::Import::new(other).stacks(self)
    }
}

/// A builder of many stacks that share their beginnings, and its nodes.
#[cfg(test)]
pub(super) fn forest() -> (ProfileBuilder, Vec<NodeId>) {
    let mut b = ProfileBuilder::default();
    let mut nodes = vec![NodeId::ROOT];
    let mut state = 7u64;
    for _ in 0..2000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let parent = nodes[(state >> 33) as usize % nodes.len()];
        let function = b.string(&format!("f{}", (state >> 20) % 50));
        let frame = Frame {
            kind: crate::model::FrameKind::Native,
            unwound: crate::model::Unwound::Table,
            function,
            system_name: function,
            file: StringId::EMPTY,
            line: 0,
            binary: None,
            address: 0,
        };
        let frame = b.frame(frame);
        nodes.push(b.child(parent, frame));
    }
    (b, nodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_needs_the_same_by_a_walk_along_the_tree() {
        let (all, nodes) = forest();
        let preorder = all.preorder();
        for step in [1, 3, 100, 1999, 5000] {
            let mut chosen: Vec<_> = nodes.iter().step_by(step).copied().collect();
            chosen.sort_unstable();
            chosen.dedup();
            // Some nodes have two threads, the higher one first.
            let pairs = |node: NodeId| if node.0.is_multiple_of(3) { 1..2 } else { 0..2 };
            let counts: Vec<_> = chosen
                .into_iter()
                .flat_map(|NodeId(node)| {
                    let of = move |pair| NodeCount { pair, node, samples: 1 + u64::from(node), value: 5 };
                    pairs(NodeId(node)).map(of)
                })
                .collect();
            let keys = [2, 1].map(|tid| RowKey { tid, ..RowKey::default() });
            let finish = |preorder| {
                let mut to = ProfileBuilder::default();
                to.string("f3");
                to.series(crate::model::Series::default());
                to.finish_over((&all, preorder), &keys, counts.clone(), (0, 1))
            };
            let (walked, looked_up) = (finish(Some(&preorder)), finish(None));
            assert_eq!((&walked.stacks, &walked.rows), (&looked_up.stacks, &looked_up.rows));
            assert_eq!(walked.frames, looked_up.frames);
            assert!(walked.strings.iter().eq(looked_up.strings.iter()));
            assert!(walked.rows.is_sorted_by_key(|row| row.key));
            assert_eq!(walked.samples(), counts.iter().map(|counted| counted.samples).sum::<u64>());
        }
    }
}
