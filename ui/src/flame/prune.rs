//! Making a tree small enough to draw.

use std::cmp::Reverse;

use super::FlameTree;

impl FlameTree {
    /// Keeps the `max_nodes` largest nodes (at least the root) by total; each pruned sample then counts as
    /// its nearest kept ancestor's `own` and `pruned`. No sample is lost, and every kept total stays as it is.
    pub fn prune(&mut self, max_nodes: usize) {
        let keep = max_nodes.max(1);
        if self.len() <= keep {
            return;
        }
        // A parent is at least as large as its children and comes before them, so the largest `keep` nodes
        // are a tree.
        let mut order: Vec<_> = (0..self.len()).map(|node| (Reverse(self.total[node]), node)).collect();
        order.select_nth_unstable(keep - 1);
        let mut kept = vec![false; self.len()];
        for (_, node) in &order[..keep] {
            kept[*node] = true;
        }
        let mut place = vec![0usize; self.len()];
        let mut to = 0;
        for node in 0..self.len() {
            let parent = node - self.parent[node] as usize;
            if kept[node] {
                place[node] = to;
                self.move_node(node, to, to - if node == 0 { 0 } else { place[parent] });
                to += 1;
            } else if kept[parent] {
                let parent = place[parent];
                self.own[parent] += self.total[node];
                self.pruned[parent] += self.total[node];
                if let Some(own) = self.before_own.get_mut(parent) {
                    *own += self.before_total[node];
                }
            }
        }
        let values =
            [&mut self.own, &mut self.total, &mut self.pruned, &mut self.before_own, &mut self.before_total];
        for column in values {
            column.truncate(keep);
        }
        for column in [&mut self.parent, &mut self.frame] {
            column.truncate(keep);
        }
        self.drop_unused();
    }

    /// Moves a node's columns to a smaller place.
    fn move_node(&mut self, from: usize, to: usize, distance: usize) {
        self.parent[to] = distance as u32;
        self.frame[to] = self.frame[from];
        self.own[to] = self.own[from];
        self.total[to] = self.total[from];
        self.pruned[to] = self.pruned[from];
        for column in [&mut self.before_own, &mut self.before_total] {
            if let Some(value) = column.get(from).copied() {
                column[to] = value;
            }
        }
    }

    /// Leaves out frames and strings that no node needs any more.
    fn drop_unused(&mut self) {
        let mut frames = Vec::new();
        let mut strings = store::model::StringTable::default();
        let mut place = vec![None; self.frames.len()];
        for frame in &mut self.frame {
            *frame = *place[*frame as usize].get_or_insert_with(|| {
                let mut moved = self.frames[*frame as usize];
                for id in [
                    &mut moved.function,
                    &mut moved.system_name,
                    &mut moved.file,
                    &mut moved.binary,
                    &mut moved.build_id,
                    &mut moved.unwound,
                ] {
                    *id = strings.intern(self.strings.get(*id));
                }
                frames.push(moved);
                frames.len() as u32 - 1
            });
        }
        self.frames = frames;
        self.strings = strings;
    }
}
