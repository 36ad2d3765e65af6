//! Sets of a tree's nodes, as bits: trees have millions of nodes, and an hour of a day needs half of them.

/// A set of nodes, and how many of it are before a given one.
pub(super) struct NodeSet {
    words: Vec<u64>,
    /// By word, as bits: whether it has any members. What is done to a set takes as long as it has members, however many nodes
    /// there are.
    used: Vec<u64>,
    /// By word that has members: members before it.
    before: Vec<u32>,
}

/// The places of a word's bits, from low to high.
fn bits(word: u64) -> impl Iterator<Item = usize> {
    let mut left = word;
    std::iter::from_fn(move || {
        let bit = (left != 0).then(|| left.trailing_zeros() as usize)?;
        left &= left - 1;
        Some(bit)
    })
}

impl NodeSet {
    /// A set of nodes below the limit.
    pub(super) fn new(limit: usize) -> Self {
        let words = limit.div_ceil(64);
        Self { words: vec![0; words], used: vec![0; words.div_ceil(64)], before: vec![0; words] }
    }

    /// Adds a node.
    pub(super) fn insert(&mut self, n: u32) {
        let word = n as usize / 64;
        self.words[word] |= 1 << (n % 64);
        self.used[word / 64] |= 1 << (word % 64);
    }

    /// Adds the parents of all members, and theirs. A parent is smaller than its children, so that one walk down from the largest
    /// finds all; climbing from each member would go all over memory.
    pub(super) fn insert_parents(&mut self, parent: impl Fn(u32) -> u32) {
        for place in (0..self.used.len()).rev() {
            let mut below = u64::MAX;
            while let Some(bit) = (self.used[place] & below).checked_ilog2() {
                below = (1 << bit) - 1;
                self.insert_parents_of(place * 64 + bit as usize, &parent);
            }
        }
    }

    /// The same of the members in one word. Most parents are in the word of their child, which is kept at hand.
    fn insert_parents_of(&mut self, word: usize, parent: &impl Fn(u32) -> u32) {
        let (mut all, mut left) = (self.words[word], self.words[word]);
        while let Some(bit) = left.checked_ilog2() {
            left ^= 1 << bit;
            let n = word as u32 * 64 + bit;
            if n == 0 {
                break;
            }
            let above = parent(n);
            if above as usize / 64 == word {
                all |= 1 << (above % 64);
                left |= 1 << (above % 64);
            } else {
                self.insert(above);
            }
        }
        self.words[word] = all;
    }

    fn used_words(&self) -> impl Iterator<Item = usize> + '_ {
        self.used.iter().enumerate().flat_map(|(place, used)| bits(*used).map(move |bit| place * 64 + bit))
    }

    /// The number of members; from now on their order is known.
    pub(super) fn close(&mut self) -> usize {
        let mut sum = 0;
        for place in 0..self.used.len() {
            for word in bits(self.used[place]).map(|bit| place * 64 + bit) {
                self.before[word] = sum;
                sum += self.words[word].count_ones();
            }
        }
        sum as usize
    }

    /// How many members are smaller than a member.
    pub(super) fn rank(&self, n: u32) -> u32 {
        let word = n as usize / 64;
        self.before[word] + (self.words[word] & ((1 << (n % 64)) - 1)).count_ones()
    }

    /// The members in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.used_words().flat_map(|word| bits(self.words[word]).map(move |bit| (word * 64 + bit) as u32))
    }

    /// Takes all members out.
    pub(super) fn clear(&mut self) {
        for place in 0..self.used.len() {
            for bit in bits(std::mem::take(&mut self.used[place])) {
                self.words[place * 64 + bit] = 0;
            }
        }
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
        set.clear();
        set.insert(150);
        assert_eq!((set.close(), set.rank(150), set.iter().collect::<Vec<_>>()), (1, 0, vec![150]));
    }

    #[test]
    fn all_parents_are_found_within_words_and_across_them() {
        // Each but the root hangs on the half of it.
        let mut set = NodeSet::new(10_000);
        [0, 7, 63, 64, 9999].into_iter().for_each(|n| set.insert(n));
        set.insert_parents(|n| n / 2);
        let mut expected = vec![0];
        for mut n in [7, 63, 64, 9999] {
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
