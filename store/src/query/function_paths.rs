//! Which of the functions that are asked for lie on each stack of the tree of all.

use rustc_hash::FxHashMap;

use super::functions::FunctionName;
use crate::model::{BuilderTables, FrameKind, StringId};

/// No function at all.
pub(super) const NONE: u32 = u32::MAX;

/// Name, kind and binary of a function.
pub(super) type Key = (String, FrameKind, String);

/// Functions by stack. It grows with the tree; each name is looked at once.
pub(super) struct Paths {
    name: FunctionName,
    /// Whether names are among those asked for, as far as is known.
    hits: Vec<Option<bool>>,
    /// By frame: the function it is of.
    functions: Vec<u32>,
    index: FxHashMap<(StringId, FrameKind, StringId), u32>,
    /// By function.
    keys: Vec<Key>,
    /// By node: the function it ends in, and the set of functions on its path.
    nodes: Vec<(u32, u32)>,
    /// By set: the smaller set and the function that together make it; set 0 is empty.
    sets: Vec<(u32, u32)>,
    index_of_sets: FxHashMap<(u32, u32), u32>,
}

impl Paths {
    pub(super) fn new(name: FunctionName) -> Self {
        Self {
            name,
            hits: Vec::new(),
            functions: Vec::new(),
            index: FxHashMap::default(),
            keys: Vec::new(),
            nodes: vec![(NONE, 0)],
            sets: vec![(0, NONE)],
            index_of_sets: FxHashMap::default(),
        }
    }

    /// Takes in what the tree has grown by.
    pub(super) fn grow(&mut self, all: &BuilderTables<'_>) {
        self.hits.resize(all.strings.len(), None);
        for frame in &all.frames[self.functions.len()..] {
            let name = all.strings.get(frame.function);
            let is_hit = self.hits[frame.function.0 as usize].get_or_insert_with(|| self.name.contains(name));
            if !*is_hit || frame.kind == FrameKind::Truncated {
                self.functions.push(NONE);
                continue;
            }
            let path = frame.binary.map_or(StringId::EMPTY, |id| all.binaries[id.0 as usize].path);
            let keys = &mut self.keys;
            let function = *self.index.entry((frame.function, frame.kind, path)).or_insert_with(|| {
                keys.push((name.to_owned(), frame.kind, all.strings.get(path).to_owned()));
                keys.len() as u32 - 1
            });
            self.functions.push(function);
        }
        for (parent, frame) in &all.nodes[self.nodes.len() - 1..] {
            let function = self.functions[frame.0 as usize];
            let above = self.nodes[parent.0 as usize].1;
            let is_there = function == NONE || self.functions(above).any(|known| known == function);
            let set = if is_there { above } else { self.set(above, function) };
            self.nodes.push((function, set));
        }
    }

    fn set(&mut self, above: u32, function: u32) -> u32 {
        let sets = &mut self.sets;
        *self.index_of_sets.entry((above, function)).or_insert_with(|| {
            sets.push((above, function));
            sets.len() as u32 - 1
        })
    }

    /// The function that a node of the tree ends in, and the set of those on its path.
    pub(super) fn of(&self, node: u32) -> (u32, u32) {
        self.nodes[node as usize]
    }

    /// The functions of a set.
    pub(super) fn functions(&self, set: u32) -> impl Iterator<Item = u32> + '_ {
        std::iter::successors(Some(set), |set| (*set != 0).then(|| self.sets[*set as usize].0))
            .take_while(|set| *set != 0)
            .map(|set| self.sets[set as usize].1)
    }

    /// What the functions are.
    pub(super) fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Memory that it takes, bytes.
    pub(super) fn bytes(&self) -> u64 {
        let (nodes, frames) = (self.nodes.len() * 8, self.functions.len() * 4 + self.hits.len() * 2);
        (nodes + frames + self.sets.len() * 40 + self.keys.len() * 200) as u64
    }
}
