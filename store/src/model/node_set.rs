//! Sets of a tree's nodes, as bits: trees have millions of nodes, and an hour of a day needs half of them.

/// A set of nodes, and how many of it are before a given one.
pub(super) struct NodeSet {
    words: Vec<u64>,
    /// By word: members before it.
    before: Vec<u32>,
}

impl NodeSet {
    /// A set of nodes below the limit.
    pub(super) fn new(limit: usize) -> Self {
        Self { words: vec![0; limit.div_ceil(64)], before: Vec::new() }
    }

    /// Adds a node.
    pub(super) fn insert(&mut self, n: u32) {
        self.words[n as usize / 64] |= 1 << (n % 64);
    }

    /// Adds the parents of all members, and theirs. A parent is smaller than its children, so that one walk down from the largest
    /// finds all; climbing from each member would go all over memory.
    pub(super) fn insert_parents(&mut self, parent: impl Fn(u32) -> u32) {
        for word in (0..self.words.len()).rev() {
            // Most parents are in the word of their child, which is kept at hand.
            let (mut all, mut left) = (self.words[word], self.words[word]);
            while let Some(bit) = left.checked_ilog2() {
                left ^= 1 << bit;
                let n = word as u32 * 64 + bit;
                if n == 0 {
                    break;
                }
                let above = parent(n);
                let (at, bit) = (above as usize / 64, 1 << (above % 64));
                if at == word {
                    all |= bit;
                    left |= bit;
                } else {
                    self.words[at] |= bit;
                }
            }
            self.words[word] = all;
        }
    }

    /// The number of members; from now on their order is known.
    pub(super) fn close(&mut self) -> usize {
        let mut sum = 0;
        self.before = Vec::with_capacity(self.words.len());
        for word in &self.words {
            self.before.push(sum);
            sum += word.count_ones();
        }
        sum as usize
    }

    /// How many members are smaller; `n` is below the limit.
    pub(super) fn rank(&self, n: u32) -> u32 {
        let word = n as usize / 64;
        self.before[word] + (self.words[word] & ((1 << (n % 64)) - 1)).count_ones()
    }

    /// The members in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.words.iter().enumerate().flat_map(|(at, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some(at as u32 * 64 + bit)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_know_how_many_are_before_them() {
        let mut set = NodeSet::new(200);
        let members = [0, 1, 63, 64, 130, 199];
        members.into_iter().for_each(|n| set.insert(n));
        set.insert(64);
        assert_eq!(set.close(), 6);
        assert_eq!(set.iter().collect::<Vec<_>>(), members);
        assert!(members.iter().enumerate().all(|(rank, n)| set.rank(*n) == rank as u32));
        assert_eq!(set.rank(100), 4);
    }

    #[test]
    fn all_parents_are_found_within_words_and_across_them() {
        // Each but the root hangs on the half of it.
        let mut set = NodeSet::new(1000);
        [0, 7, 63, 64, 999].into_iter().for_each(|n| set.insert(n));
        set.insert_parents(|n| n / 2);
        let mut expected = vec![0];
        for mut n in [7, 63, 64, 999] {
            while n > 0 {
                expected.push(n);
                n /= 2;
            }
        }
        expected.sort_unstable();
        expected.dedup();
        assert_eq!(set.iter().collect::<Vec<_>>(), expected);
    }
}
