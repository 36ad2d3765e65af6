//! Folded stacks: `process;outermost;…;leaf N`, one line per distinct stack, N = samples.

use std::io::{self, Write};

use store::model::Profile;

use super::names;
use crate::flame::{FlameTree, GroupBy, build_alike};

/// Writes a profile as folded stacks, grouped by a label whose value is the first frame.
pub fn folded(profile: &Profile, by: &GroupBy, out: &mut dyn Write) -> io::Result<()> {
    lines(&tree(profile, by), |line| writeln!(out, "{line}"))
}

/// The tree whose stacks differ in what their lines say.
pub(super) fn tree(profile: &Profile, by: &GroupBy) -> FlameTree {
    build_alike(profile, by, Some(names::folded))
}

/// Gives each line of such a tree to `line`, without line end.
pub(super) fn lines(tree: &FlameTree, mut line: impl FnMut(&str) -> io::Result<()>) -> io::Result<()> {
    let names: Vec<String> =
        tree.frames.iter().map(|frame| names::folded(frame.kind, tree.text(frame.function))).collect();
    let mut text = String::new();
    // By depth: where in `text` the path to there ends.
    let mut ends: Vec<usize> = Vec::new();
    let mut result = Ok(());
    tree.walk(|node, depth| {
        ends.truncate(depth);
        text.truncate(ends.last().copied().unwrap_or(0));
        // The root has a name only if it has samples itself: in a tree pruned down to it.
        if depth > 0 || tree.own[node] > 0 {
            if depth > 1 {
                text.push(';');
            }
            text.push_str(&names[tree.frame[node] as usize]);
        }
        ends.push(if depth == 0 { 0 } else { text.len() });
        if tree.own[node] > 0 && result.is_ok() {
            text.push(' ');
            text.push_str(&tree.own[node].to_string());
            result = line(&text);
        }
    });
    result
}
