//! The order in which trees are drawn.

use super::FlameTree;

impl FlameTree {
    /// Puts siblings from wide to narrow, by total; equal ones keep their order. What draws the tree then needs to
    /// sort nothing, and finds what is too narrow to see at the end.
    pub fn widest_first(&mut self) {
        let order = self.drawing_order();
        let mut place = vec![0u32; order.len()];
        for (at, node) in order.iter().enumerate() {
            place[*node as usize] = at as u32;
        }
        let parent = order.iter().map(|node| {
            let above = *node - self.parent[*node as usize];
            place[*node as usize] - place[above as usize]
        });
        self.parent = parent.collect();
        let values =
            [&mut self.own, &mut self.total, &mut self.pruned, &mut self.before_own, &mut self.before_total];
        for column in values {
            reorder(column, &order);
        }
        reorder(&mut self.frame, &order);
    }

    /// The nodes in preorder, siblings from wide to narrow.
    fn drawing_order(&self) -> Vec<u32> {
        let n = self.len();
        // The children of node v are `children[first[v]..first[v + 1]]`.
        let mut first = vec![0u32; n + 1];
        for node in 1..n {
            first[node - self.parent[node] as usize + 1] += 1;
        }
        for node in 0..n {
            first[node + 1] += first[node];
        }
        let mut next = first.clone();
        let mut children = vec![0u32; n.saturating_sub(1)];
        for node in 1..n {
            let above = node - self.parent[node] as usize;
            children[next[above] as usize] = node as u32;
            next[above] += 1;
        }
        for node in 0..n {
            // From narrow to wide, and equal ones from back to front: the last one is taken first.
            children[first[node] as usize..first[node + 1] as usize]
                .sort_unstable_by_key(|child| (self.total[*child as usize], std::cmp::Reverse(*child)));
        }
        let mut order = Vec::with_capacity(n);
        let mut open = vec![0u32];
        while let Some(node) = open.pop() {
            order.push(node);
            open.extend(&children[first[node as usize] as usize..first[node as usize + 1] as usize]);
        }
        order
    }
}

/// Leaves an empty column empty.
fn reorder<T: Copy>(column: &mut Vec<T>, order: &[u32]) {
    if !column.is_empty() {
        *column = order.iter().map(|node| column[*node as usize]).collect();
    }
}
