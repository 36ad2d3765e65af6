//! Folded stacks: `process;outermost;…;leaf N`, one line per distinct stack, N = samples.

use std::io::{self, Write};

use rustc_hash::FxHashMap;
use store::model::Profile;

use super::names;
use crate::flame::{self, FlameTree, GroupBy};

/// Writes a profile as folded stacks, grouped by a label whose value is the first frame.
pub fn folded(profile: &Profile, by: &GroupBy, out: &mut dyn Write) -> io::Result<()> {
    lines(&flame::build(profile, by), |line| writeln!(out, "{line}"))
}

/// Gives each line of a tree to `line`, without line end. Stacks that differ only in what a line does not
/// say (the binary) make one line; the lines of siblings follow each other.
pub(super) fn lines(tree: &FlameTree, mut line: impl FnMut(&str) -> io::Result<()>) -> io::Result<()> {
    let names: Vec<String> =
        tree.frames.iter().map(|frame| names::folded(frame.kind, tree.text(frame.function))).collect();
    let same = Alike::new(tree, &names);
    let mut text = String::new();
    let mut path: Vec<usize> = Vec::new();
    for (node, samples) in same.own(tree).into_iter().enumerate().filter(|(_, samples)| *samples > 0) {
        path.clear();
        let mut at = node;
        while at > 0 {
            path.push(at);
            at = same.parent(tree, at);
        }
        if path.is_empty() {
            // A tree pruned down to its root.
            path.push(0);
        }
        text.clear();
        for at in path.iter().rev() {
            text.push_str(&names[tree.frame[*at] as usize]);
            text.push(';');
        }
        text.pop();
        text.push(' ');
        text.push_str(&samples.to_string());
        line(&text)?;
    }
    Ok(())
}

/// By node: the first node whose line reads the same.
struct Alike(Vec<u32>);

impl Alike {
    fn new(tree: &FlameTree, names: &[String]) -> Self {
        let mut by_path: FxHashMap<(u32, &str), u32> = FxHashMap::default();
        let mut first = vec![0u32; tree.len()];
        for node in 1..tree.len() {
            let parent = first[node - tree.parent[node] as usize];
            let name = &*names[tree.frame[node] as usize];
            first[node] = *by_path.entry((parent, name)).or_insert(node as u32);
        }
        Self(first)
    }

    fn parent(&self, tree: &FlameTree, node: usize) -> usize {
        self.0[node - tree.parent[node] as usize] as usize
    }

    fn own(&self, tree: &FlameTree) -> Vec<u64> {
        let mut own = vec![0; tree.len()];
        for (node, samples) in tree.own.iter().enumerate() {
            own[self.0[node] as usize] += samples;
        }
        own
    }
}
