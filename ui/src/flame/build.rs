//! From a profile to its flame tree.

use rustc_hash::FxHashMap;
use store::model::{Binary, Frame, FrameId, FunctionTree, NodeId, Profile, Row, StringId, Unwound};
use store::{Comparison, Side};

use super::{FlameFrame, FlameTree, GroupBy, NodeKind, Weight};

/// The flame tree of a profile, its stacks merged by (kind, function, binary) below the values of a label.
pub fn build(profile: &Profile, by: &GroupBy) -> FlameTree {
    build_alike(profile, by, None)
}

/// How a frame is written in a format that tells frames apart by one text only.
pub(crate) type Writing = fn(NodeKind, &str) -> String;

/// The same with stacks merged by how their frames are written, if that is given.
pub(crate) fn build_alike(profile: &Profile, by: &GroupBy, writing: Option<Writing>) -> FlameTree {
    let weight = Weight::of(profile);
    let mut merge = Merge::new(profile, writing);
    let leaves = merge.leaves(by, weight);
    let leaves = leaves.iter().map(|(part, row)| (*part, weight.row(row)));
    merge.finish(&leaves.collect::<Vec<_>>(), None, None)
}

/// The flame tree of sums by function.
pub fn build_summed(sums: &FunctionTree) -> FlameTree {
    let mut merge = Merge::new(&sums.code, None);
    let mut frames = vec![0; sums.functions.len()];
    for (id, function) in sums.functions.iter().enumerate() {
        // Those of one function are one merged frame.
        frames[*function as usize] = merge.frame(FrameId(id as u32));
    }
    let mut own = vec![(0, sums.pruned)];
    let mut pruned = own.clone();
    for node in &sums.nodes {
        let (parent, frame, depth) = match node.parent {
            None => (0, merge.named_frame(NodeKind::Group, &sums.groups[node.what as usize]), 1),
            Some(parent) => {
                (parent + 1, frames[node.what as usize], merge.parts[parent as usize + 1].depth + 1)
            }
        };
        let part = merge.parts.len() as u32;
        merge.parts.push(Part { parent, frame, depth });
        own.push((part, node.own));
        pruned.push((part, node.pruned));
    }
    merge.finish(&own, None, Some(&pruned))
}

/// The flame tree of two profiles together, which says how much of each node is of the one before.
pub fn build_comparison(comparison: &Comparison, by: &GroupBy) -> FlameTree {
    let weight = Weight::of(&comparison.profile);
    let mut merge = Merge::new(&comparison.profile, None);
    let leaves = merge.leaves(by, weight);
    let all: Vec<_> = leaves.iter().map(|(part, row)| (*part, weight.row(row))).collect();
    let before = leaves.iter().filter(|(_, row)| comparison.side(row) == Side::Before);
    let before: Vec<_> = before.map(|(part, row)| (*part, weight.row(row))).collect();
    merge.finish(&all, Some(&before), None)
}

fn group_rows<'a>(profile: &'a Profile, by: &GroupBy, weight: Weight) -> Vec<(String, Vec<&'a Row>)> {
    let mut groups: FxHashMap<_, Vec<&Row>> = FxHashMap::default();
    for row in profile.rows.iter().filter(|row| weight.row(row) > 0) {
        groups.entry(by.value(profile, row)).or_default().push(row);
    }
    let mut groups: Vec<_> = groups.into_iter().map(|(value, rows)| (value.into_owned(), rows)).collect();
    groups.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    groups
}

/// A node of the profile below a group. Several become one node of the tree where their frames are merged.
#[derive(Clone, Copy)]
struct Part {
    parent: u32,
    frame: u32,
    depth: u32,
}

/// A profile on its way into a flame tree.
struct Merge<'a> {
    from: &'a Profile,
    writing: Option<Writing>,
    tree: FlameTree,
    /// What tells a merged frame from others → its place in `tree.frames`.
    index: FxHashMap<(NodeKind, StringId, StringId), u32>,
    /// By frame of the profile: the merged frame.
    frames: Vec<Option<u32>>,
    /// By node of the profile: its part, and the group (by its own part) that this is below.
    seen: Vec<(u32, u32)>,
    /// Parents before children; the root is part 0.
    parts: Vec<Part>,
    group: u32,
}

impl<'a> Merge<'a> {
    fn new(from: &'a Profile, writing: Option<Writing>) -> Self {
        let mut merge = Self {
            from,
            writing,
            tree: FlameTree::empty(),
            index: FxHashMap::default(),
            frames: vec![None; from.frames.len()],
            seen: vec![(0, 0); from.stacks.len()],
            parts: Vec::new(),
            group: 0,
        };
        let frame = merge.named_frame(NodeKind::Root, "all");
        merge.parts.push(Part { parent: 0, frame, depth: 0 });
        merge
    }

    /// The rows of the profile with the parts that they end in, below the values of a label.
    fn leaves(&mut self, by: &GroupBy, weight: Weight) -> Vec<(u32, &'a Row)> {
        let mut leaves = Vec::with_capacity(self.from.rows.len());
        for (group, rows) in group_rows(self.from, by, weight) {
            self.enter_group(&group);
            leaves.extend(rows.into_iter().map(|row| (self.node(row.key.node), row)));
        }
        leaves
    }

    fn enter_group(&mut self, value: &str) {
        let frame = self.named_frame(NodeKind::Group, value);
        self.group = self.parts.len() as u32;
        self.parts.push(Part { parent: 0, frame, depth: 1 });
    }

    /// The part of a node of the profile below the current group.
    fn node(&mut self, id: NodeId) -> u32 {
        // Up to the first ancestor that is known, then down again.
        let mut missing = Vec::new();
        let mut at = id;
        let mut part = loop {
            let (part, group) = self.seen[at.0 as usize];
            if group == self.group {
                break part;
            }
            let Some(frame) = self.from.stacks.frame(at) else { break self.group };
            missing.push((at, frame));
            at = self.from.stacks.parent(at);
        };
        for (at, frame) in missing.into_iter().rev() {
            let frame = self.frame(frame);
            let depth = self.parts[part as usize].depth + 1;
            self.parts.push(Part { parent: part, frame, depth });
            part = self.parts.len() as u32 - 1;
            self.seen[at.0 as usize] = (part, self.group);
        }
        part
    }

    /// The merged frame of root or group.
    fn named_frame(&mut self, kind: NodeKind, name: &str) -> u32 {
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
    fn frame(&mut self, id: FrameId) -> u32 {
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

    /// The one frame that shows this one and all others like it.
    fn merged(&mut self, new: FlameFrame) -> u32 {
        let key = match self.writing {
            None => (new.kind, new.function, new.binary),
            Some(write) => {
                let text = write(new.kind, self.tree.text(new.function));
                (NodeKind::Root, self.tree.strings.intern(&text), StringId::EMPTY)
            }
        };
        let next = self.tree.frames.len() as u32;
        let at = *self.index.entry(key).or_insert(next);
        match self.tree.frames.get_mut(at as usize) {
            Some(frame) => frame.absorb(&new, &self.tree.strings),
            None => self.tree.frames.push(new),
        }
        at
    }

    /// The tree, from samples by part; `before` are those of them that are of the side that is compared with, `pruned` those that
    /// ended in parts that were left out.
    fn finish(
        self,
        leaves: &[(u32, u64)],
        before: Option<&[(u32, u64)]>,
        pruned: Option<&[(u32, u64)]>,
    ) -> FlameTree {
        let (tree, parts) = (self.tree, self.parts);
        let levels = Levels::new(&parts, &ranks(&tree));
        let by_node = |leaves: &[(u32, u64)]| {
            let mut own = vec![0; levels.parent.len()];
            for (part, samples) in leaves {
                own[levels.node_of[*part as usize] as usize] += samples;
            }
            own
        };
        let [before, pruned] = [before, pruned].map(|leaves| leaves.map(by_node));
        let own = by_node(leaves);
        levels.into_preorder(tree, &own, before.as_deref(), pruned.as_deref())
    }
}

impl FlameFrame {
    /// Takes over what is known of a frame like this one. In whatever order frames come, the result is the
    /// same.
    fn absorb(&mut self, other: &Self, strings: &store::model::StringTable) {
        let text = |id| strings.get(id);
        // A known place beats an unknown one; among known ones the first by name, then by line.
        let place = |f: &Self| (f.file == StringId::EMPTY, text(f.file), f.line == 0, f.line);
        if place(other) < place(self) {
            (self.file, self.line) = (other.file, other.line);
        }
        // Any name beats none; among several the first.
        let first = |a: StringId, b: StringId| {
            let better = b != StringId::EMPTY && (a == StringId::EMPTY || text(b) < text(a));
            if better { b } else { a }
        };
        self.system_name = first(self.system_name, other.system_name);
        self.build_id = first(self.build_id, other.build_id);
        let way = |id| Unwound::from_name(text(id));
        if way(other.unwound) > way(self.unwound) {
            self.unwound = other.unwound;
        }
    }
}

/// By frame: its place among siblings, by name, then kind and binary.
fn ranks(tree: &FlameTree) -> Vec<u32> {
    let key = |i: u32| {
        let frame = &tree.frames[i as usize];
        (tree.text(frame.function), frame.kind, tree.text(frame.binary))
    };
    let mut by_name: Vec<u32> = (0..tree.frames.len() as u32).collect();
    by_name.sort_unstable_by(|a, b| key(*a).cmp(&key(*b)));
    let mut ranks = vec![0; by_name.len()];
    for (rank, frame) in by_name.iter().enumerate() {
        ranks[*frame as usize] = rank as u32;
    }
    ranks
}

/// The nodes of the tree level by level: parents come before children, siblings in their order.
struct Levels {
    /// By part: its node.
    node_of: Vec<u32>,
    parent: Vec<u32>,
    frame: Vec<u32>,
}

impl Levels {
    /// Merges parts with the same parent and frame. Sorting each level costs less than a hash table over all.
    fn new(parts: &[Part], ranks: &[u32]) -> Self {
        let mut order: Vec<u32> = (0..parts.len() as u32).collect();
        order.sort_by_key(|part| parts[*part as usize].depth);
        let mut levels = Self { node_of: vec![0; parts.len()], parent: Vec::new(), frame: Vec::new() };
        let mut keys: Vec<(u32, u32, u32)> = Vec::new();
        for level in order.chunk_by(|a, b| parts[*a as usize].depth == parts[*b as usize].depth) {
            keys.clear();
            keys.extend(level.iter().map(|part| {
                let Part { parent, frame, .. } = parts[*part as usize];
                (levels.node_of[parent as usize], ranks[frame as usize], *part)
            }));
            keys.sort_unstable();
            let mut last = None;
            for (parent, rank, part) in &keys {
                if last != Some((parent, rank)) {
                    levels.parent.push(*parent);
                    levels.frame.push(parts[*part as usize].frame);
                    last = Some((parent, rank));
                }
                levels.node_of[*part as usize] = levels.parent.len() as u32 - 1;
            }
        }
        levels
    }

    /// The finished tree, from the self values of the nodes, those of the side that is compared with, and what of them was left out.
    fn into_preorder(
        self,
        mut tree: FlameTree,
        own: &[u64],
        before: Option<&[u64]>,
        pruned: Option<&[u64]>,
    ) -> FlameTree {
        let n = self.parent.len();
        let mut size = vec![1u32; n];
        for node in (1..n).rev() {
            size[self.parent[node] as usize] += size[node];
        }
        (tree.parent, tree.frame, tree.pruned) = (vec![0; n], vec![0; n], vec![0; n]);
        // `next[v]`: where v's next child goes. Parents come first, so their place is known in time.
        let mut place = vec![0u32; n];
        let mut next = vec![1u32; n];
        for node in 0..n {
            let parent = self.parent[node] as usize;
            if node > 0 {
                place[node] = next[parent];
                next[parent] += size[node];
                next[node] = place[node] + 1;
            }
            let at = place[node] as usize;
            tree.parent[at] = place[node] - place[parent];
            tree.frame[at] = self.frame[node];
        }
        (tree.own, tree.total) = self.sums(own, &place);
        for (node, pruned) in pruned.into_iter().flatten().enumerate() {
            tree.pruned[place[node] as usize] = *pruned;
        }
        if let Some(before) = before {
            (tree.before_own, tree.before_total) = self.sums(before, &place);
        }
        tree
    }

    /// Self and total values by place, from self values by node.
    fn sums(&self, own: &[u64], place: &[u32]) -> (Vec<u64>, Vec<u64>) {
        let mut total = own.to_vec();
        for node in (1..own.len()).rev() {
            total[self.parent[node] as usize] += total[node];
        }
        let (mut owns, mut totals) = (vec![0; own.len()], vec![0; own.len()]);
        for (node, at) in place.iter().enumerate() {
            (owns[*at as usize], totals[*at as usize]) = (own[node], total[node]);
        }
        (owns, totals)
    }
}
