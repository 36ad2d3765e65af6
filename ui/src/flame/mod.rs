//! Flame trees: all samples of a profile, merged by where they were.
//!
//! A tree is a few columns in preorder, built level by level from arrays: no hash table of nodes, and nothing
//! recurses, so a stack may be as deep as it likes.

mod build;
mod group;
mod order;
mod prune;
mod weight;

pub(crate) use build::build_alike;
pub use build::{build, build_comparison, build_summed};
pub use group::{BadLabel, GroupBy};
pub use weight::Weight;

#[cfg(test)]
mod summed_tests;
#[cfg(test)]
mod tests;

use store::model::{FrameKind, StringId, StringTable};

/// What a node of a flame tree stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NodeKind {
    /// Everything.
    Root,
    /// One value of the grouping label.
    Group,
    /// A frame of a stack.
    Frame(FrameKind),
}

impl NodeKind {
    /// Every name, in the order of [`NodeKind::index`].
    pub const NAMES: [&'static str; 8] =
        ["root", "group", "kernel", "native", "inlined", "jit", "interpreted", "truncated"];

    /// Place of the kind's name in [`NodeKind::NAMES`].
    pub fn index(self) -> usize {
        match self {
            Self::Root => 0,
            Self::Group => 1,
            Self::Frame(FrameKind::Kernel) => 2,
            Self::Frame(FrameKind::Native) => 3,
            Self::Frame(FrameKind::Inlined) => 4,
            Self::Frame(FrameKind::Jit) => 5,
            Self::Frame(FrameKind::Interpreted) => 6,
            Self::Frame(FrameKind::Truncated) => 7,
        }
    }

    /// Whether it is code: neither root nor group nor the mark of a truncation.
    pub fn is_code(self) -> bool {
        matches!(self, Self::Frame(kind) if kind != FrameKind::Truncated)
    }

    /// The name used in JSON.
    pub fn name(self) -> &'static str {
        Self::NAMES[self.index()]
    }
}

/// A function as a flame tree shows it: all frames of one (kind, function, binary), merged. What they do not
/// share is told by one of them, always the same one, so that a picture does not flicker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlameFrame {
    /// What it stands for.
    pub kind: NodeKind,
    /// Name of the function, value of the group, or reason of a truncation.
    pub function: StringId,
    /// Name as the symbol table has it; empty when unknown.
    pub system_name: StringId,
    /// Source file; empty when unknown.
    pub file: StringId,
    /// Smallest line that was sampled in `file`; 0 when unknown.
    pub line: u32,
    /// Path of the binary; empty when there is none.
    pub binary: StringId,
    /// Build ID of the binary in hex; empty when unknown.
    pub build_id: StringId,
    /// How the frame was found (the least direct way among the merged ones); empty for root and groups.
    pub unwound: StringId,
}

/// A flame tree in preorder. Node 0 is the root, its children are the groups, below them are the stacks, the
/// outermost caller first; siblings stand in the order of their names.
#[derive(Clone, Debug)]
pub struct FlameTree {
    /// All strings.
    pub strings: StringTable,
    /// Frames; nodes refer to them by index.
    pub frames: Vec<FlameFrame>,
    /// By node: distance to the parent, 0 for the root.
    pub parent: Vec<u32>,
    /// By node: index into `frames`.
    pub frame: Vec<u32>,
    /// By node: samples that ended here, or their values ([`Weight`]), those of pruned children included.
    pub own: Vec<u64>,
    /// By node: samples that passed here.
    pub total: Vec<u64>,
    /// By node: the part of `own` that ended in pruned children.
    pub pruned: Vec<u64>,
    /// By node: the part of `own` that is of the side that is compared with; empty unless two are compared.
    pub before_own: Vec<u64>,
    /// By node: the same part of `total`.
    pub before_total: Vec<u64>,
}

impl FlameTree {
    /// A tree to be filled, without even a root.
    fn empty() -> Self {
        Self {
            strings: StringTable::default(),
            frames: Vec::new(),
            parent: Vec::new(),
            frame: Vec::new(),
            own: Vec::new(),
            total: Vec::new(),
            pruned: Vec::new(),
            before_own: Vec::new(),
            before_total: Vec::new(),
        }
    }

    /// Number of nodes.
    #[expect(clippy::len_without_is_empty, reason = "never empty: it holds the root")]
    pub fn len(&self) -> usize {
        self.frame.len()
    }

    /// All samples.
    pub fn samples(&self) -> u64 {
        self.total.first().copied().unwrap_or(0)
    }

    /// Samples that ended in pruned nodes.
    pub fn pruned_samples(&self) -> u64 {
        self.pruned.iter().sum()
    }

    /// The node's frame.
    pub fn frame_of(&self, node: usize) -> &FlameFrame {
        &self.frames[self.frame[node] as usize]
    }

    /// The text of a handle of this tree.
    pub fn text(&self, id: StringId) -> &str {
        self.strings.get(id)
    }

    /// Walks the tree in preorder: `enter(node, depth)` for each node, the root at depth 0. A node's
    /// ancestors are the last node entered at each smaller depth.
    pub fn walk(&self, mut enter: impl FnMut(usize, usize)) {
        let mut depth = vec![0u32; self.len()];
        for node in 0..self.len() {
            if node > 0 {
                depth[node] = depth[node - self.parent[node] as usize] + 1;
            }
            enter(node, depth[node] as usize);
        }
    }
}
