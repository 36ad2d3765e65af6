//! From a profile to its flame tree.

use rustc_hash::FxHashMap;
use store::model::{
    Binary, Frame, FrameId, NodeId, Profile, Row, StackTree, StackTreeBuilder, StringId, Unwound,
};

use super::{FlameFrame, FlameTree, GroupBy, NodeKind};

/// The flame tree of a profile, its stacks merged by (kind, function, binary) below the values of a label.
pub fn build(profile: &Profile, by: &GroupBy) -> FlameTree {
    let mut merge = Merge::new(profile);
    let groups = merge.group_rows(by);
    let mut leaves = Vec::with_capacity(profile.rows.len());
    // Group by group, so that the table of nodes seen is one array and not one per group.
    for (group, rows) in groups {
        merge.enter_group(&group);
        leaves.extend(rows.iter().map(|row| (merge.node(row.key.node), row.samples)));
    }
    merge.finish(&leaves)
}

/// A profile on its way into a flame tree.
struct Merge<'a> {
    from: &'a Profile,
    tree: FlameTree,
    nodes: StackTreeBuilder,
    /// (kind, function, binary) → place in `tree.frames`.
    index: FxHashMap<(NodeKind, StringId, StringId), u32>,
    /// By frame of the profile: the merged frame.
    frames: Vec<Option<FrameId>>,
    /// By node of the profile: its node below the current group, with that group's number.
    seen: Vec<(u32, NodeId)>,
    group: u32,
    group_node: NodeId,
}

impl<'a> Merge<'a> {
    fn new(from: &'a Profile) -> Self {
        let mut merge = Self {
            from,
            tree: FlameTree::default(),
            nodes: StackTreeBuilder::default(),
            index: FxHashMap::default(),
            frames: vec![None; from.frames.len()],
            seen: vec![(0, NodeId::ROOT); from.stacks.len()],
            group: 0,
            group_node: NodeId::ROOT,
        };
        merge.named_frame(NodeKind::Root, "all");
        merge
    }

    fn group_rows(&self, by: &GroupBy) -> Vec<(String, Vec<&'a Row>)> {
        let mut groups: FxHashMap<_, Vec<&Row>> = FxHashMap::default();
        for row in self.from.rows.iter().filter(|row| row.samples > 0) {
            groups.entry(by.value(self.from, row)).or_default().push(row);
        }
        let mut groups: Vec<_> = groups.into_iter().map(|(value, rows)| (value.into_owned(), rows)).collect();
        groups.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        groups
    }

    fn enter_group(&mut self, value: &str) {
        let frame = self.named_frame(NodeKind::Group, value);
        self.group += 1;
        self.group_node = self.nodes.child(NodeId::ROOT, frame);
    }

    /// The node below the current group of a node of the profile.
    fn node(&mut self, id: NodeId) -> NodeId {
        // Up to the first ancestor that is known, then down again.
        let mut missing = Vec::new();
        let mut at = id;
        let mut node = loop {
            let (group, known) = self.seen[at.0 as usize];
            if group == self.group {
                break known;
            }
            let Some(frame) = self.from.stacks.frame(at) else { break self.group_node };
            missing.push((at, frame));
            at = self.from.stacks.parent(at);
        };
        for (at, frame) in missing.into_iter().rev() {
            let frame = self.frame(frame);
            node = self.nodes.child(node, frame);
            self.seen[at.0 as usize] = (self.group, node);
        }
        node
    }

    /// The merged frame of root or group.
    fn named_frame(&mut self, kind: NodeKind, name: &str) -> FrameId {
        let function = self.tree.strings.intern(name);
        self.merged(FlameFrame {
            kind,
            function,
            system_name: StringId::EMPTY,
            file: StringId::EMPTY,
            line: 0,
            binary: StringId::EMPTY,
            build_id: StringId::EMPTY,
            unwound: StringId::EMPTY,
        })
    }

    /// The merged frame of a frame of the profile.
    fn frame(&mut self, id: FrameId) -> FrameId {
        if let Some(known) = self.frames[id.0 as usize] {
            return known;
        }
        let from = self.from;
        let Frame { kind, unwound, function, system_name, file, line, binary, .. } = *from.frame(id);
        let Binary { path, build_id } = binary.map_or_else(Binary::default, |id| *from.binary(id));
        let strings = &mut self.tree.strings;
        let mut intern = |id| strings.intern(from.text(id));
        let frame = FlameFrame {
            kind: NodeKind::Frame(kind),
            function: intern(function),
            system_name: intern(system_name),
            file: intern(file),
            line,
            binary: intern(path),
            build_id: intern(build_id),
            unwound: strings.intern(unwound.name()),
        };
        let merged = self.merged(frame);
        *self.frames[id.0 as usize].insert(merged)
    }

    /// The one frame that shows this one and all others of its kind, function and binary.
    fn merged(&mut self, new: FlameFrame) -> FrameId {
        let next = self.tree.frames.len() as u32;
        let at = *self.index.entry((new.kind, new.function, new.binary)).or_insert(next);
        if at == next {
            self.tree.frames.push(new);
            return FrameId(at);
        }
        let text = |id| self.tree.strings.get(id);
        let frame = &mut self.tree.frames[at as usize];
        // A known place beats an unknown one; among known ones the first by name, then by line.
        let place = |f: &FlameFrame| (f.file == StringId::EMPTY, text(f.file), f.line == 0, f.line);
        if place(&new) < place(frame) {
            (frame.file, frame.line) = (new.file, new.line);
        }
        // Any name at all beats none; among several the order is by text.
        let first = |a: StringId, b: StringId| {
            if a == StringId::EMPTY || (b != StringId::EMPTY && text(b) < text(a)) { b } else { a }
        };
        frame.system_name = first(frame.system_name, new.system_name);
        frame.build_id = first(frame.build_id, new.build_id);
        let way = |id| Unwound::from_name(text(id));
        if way(new.unwound) > way(frame.unwound) {
            frame.unwound = new.unwound;
        }
        FrameId(at)
    }

    fn finish(self, leaves: &[(NodeId, u64)]) -> FlameTree {
        let Self { mut tree, nodes, .. } = self;
        let (nodes, arrived) = nodes.finish();
        let (nodes, sorted) = sort_siblings(&nodes, &tree);
        tree.own = vec![0; nodes.len()];
        for (leaf, samples) in leaves {
            tree.own[sorted[arrived[leaf.0 as usize].0 as usize].0 as usize] += samples;
        }
        tree.total = nodes.totals(&tree.own);
        tree.pruned = vec![0; nodes.len()];
        tree.parent = nodes.nodes().map(|node| node.0 - nodes.parent(node).0).collect();
        // The root has no frame in the stack tree; here it is frame 0.
        tree.frame = nodes.nodes().map(|node| nodes.frame(node).map_or(0, |frame| frame.0)).collect();
        tree
    }
}

/// The same tree with siblings ordered by name, and the new place of every node.
fn sort_siblings(nodes: &StackTree, tree: &FlameTree) -> (StackTree, Vec<NodeId>) {
    let key = |i: &u32| {
        let frame = &tree.frames[*i as usize];
        (tree.text(frame.function), frame.kind, tree.text(frame.binary))
    };
    let mut by_name: Vec<u32> = (0..tree.frames.len() as u32).collect();
    by_name.sort_unstable_by(|a, b| key(a).cmp(&key(b)));
    let mut rank = vec![0u32; by_name.len()];
    for (place, frame) in by_name.iter().enumerate() {
        rank[*frame as usize] = place as u32;
    }
    // Level by level, within a level by name: parents come before children, and siblings are in order.
    let mut order: Vec<(u32, u32, NodeId, FrameId)> = nodes
        .nodes()
        .filter_map(|node| {
            nodes.frame(node).map(|frame| (nodes.depth(node), rank[frame.0 as usize], node, frame))
        })
        .collect();
    order.sort_unstable();
    let mut builder = StackTreeBuilder::default();
    let mut built = vec![NodeId::ROOT; nodes.len()];
    for (_, _, node, frame) in order {
        built[node.0 as usize] = builder.child(built[nodes.parent(node).0 as usize], frame);
    }
    let (sorted, place) = builder.finish();
    (sorted, built.iter().map(|node| place[node.0 as usize]).collect())
}
