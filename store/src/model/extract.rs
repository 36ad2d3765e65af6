//! From sums by the nodes of a large tree to a profile with just the stacks that they need.

use super::{Binary, BinaryId, FrameId, NodeId, Profile, ProfileBuilder, Row, StackTree, StringId};

/// A set of small numbers, and how many of it are smaller than a given one.
struct Places {
    words: Vec<u64>,
    /// By word: members before it.
    before: Vec<u32>,
}

impl Places {
    fn new(limit: usize) -> Self {
        Self { words: vec![0; limit.div_ceil(64)], before: Vec::new() }
    }

    /// False if it was a member already.
    fn insert(&mut self, n: u32) -> bool {
        let (word, bit) = (&mut self.words[n as usize / 64], 1 << (n % 64));
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    /// The number of members; from now on their order is known.
    fn close(&mut self) -> usize {
        let mut sum = 0;
        self.before = Vec::with_capacity(self.words.len());
        for word in &self.words {
            self.before.push(sum);
            sum += word.count_ones();
        }
        sum as usize
    }

    /// How many members are smaller.
    fn rank(&self, n: u32) -> u32 {
        let word = n as usize / 64;
        self.before[word] + (self.words[word] & ((1 << (n % 64)) - 1)).count_ones()
    }

    fn iter(&self) -> impl Iterator<Item = u32> + '_ {
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

/// Texts, files and frames of another builder, taken over on first use.
struct Taken<'a> {
    from: &'a ProfileBuilder,
    strings: Vec<Option<StringId>>,
    binaries: Vec<Option<BinaryId>>,
    frames: Vec<Option<FrameId>>,
}

impl<'a> Taken<'a> {
    fn new(from: &'a ProfileBuilder) -> Self {
        Self {
            from,
            strings: vec![None; from.strings.len()],
            binaries: vec![None; from.binaries.items.len()],
            frames: vec![None; from.frames.items.len()],
        }
    }

    fn string(&mut self, to: &mut ProfileBuilder, id: StringId) -> StringId {
        *self.strings[id.0 as usize].get_or_insert_with(|| to.strings.intern(self.from.strings.get(id)))
    }

    fn frame(&mut self, to: &mut ProfileBuilder, id: FrameId) -> FrameId {
        if let Some(known) = self.frames[id.0 as usize] {
            return known;
        }
        let mut frame = self.from.frames.items[id.0 as usize];
        for text in [&mut frame.function, &mut frame.system_name, &mut frame.file] {
            *text = self.string(to, *text);
        }
        frame.binary = frame.binary.map(|binary| self.binary(to, binary));
        // No two frames of a builder are the same.
        to.frames.items.push(frame);
        *self.frames[id.0 as usize].insert(FrameId(to.frames.items.len() as u32 - 1))
    }

    fn binary(&mut self, to: &mut ProfileBuilder, id: BinaryId) -> BinaryId {
        if let Some(known) = self.binaries[id.0 as usize] {
            return known;
        }
        let Binary { path, build_id } = self.from.binaries.items[id.0 as usize];
        let binary = Binary { path: self.string(to, path), build_id: self.string(to, build_id) };
        *self.binaries[id.0 as usize].insert(to.binary(binary))
    }
}

impl ProfileBuilder {
    /// Finishes with these rows, whose nodes are those of another builder, `all`: the stacks that they need are taken
    /// over. Nothing but strings, series and accounts may have been added to this one, no key comes twice, and no row has
    /// exact times.
    pub(crate) fn finish_over(
        self,
        all: &ProfileBuilder,
        rows: Vec<Row>,
        start_ms: i64,
        end_ms: i64,
    ) -> Profile {
        let nodes = all.stacks.nodes();
        let mut needed = Places::new(nodes.len() + 1);
        needed.insert(0);
        for row in &rows {
            let mut at = row.key.node.0;
            while needed.insert(at) {
                at = nodes[at as usize - 1].0.0;
            }
        }
        let len = needed.close();
        let (mut to, mut taken) = (self, Taken::new(all));
        // In the order of arrival: parents before children.
        let kept: Vec<_> = needed
            .iter()
            .skip(1)
            .map(|node| {
                let (parent, frame) = nodes[node as usize - 1];
                (needed.rank(parent.0), taken.frame(&mut to, frame))
            })
            .collect();
        let mut subtree = vec![1u32; len];
        for (i, (parent, _)) in kept.iter().enumerate().rev() {
            subtree[*parent as usize] += subtree[i + 1];
        }
        let placed = kept.iter().enumerate().map(|(i, (parent, frame))| (i + 1, *parent as usize, *frame));
        let (stacks, places) = StackTree::placed(&subtree, placed);
        let mut rows = rows;
        for row in &mut rows {
            row.key.node = places[needed.rank(row.key.node.0) as usize];
        }
        rows.sort_unstable_by_key(|row| row.key);
        let mut profile = to.finish(start_ms, end_ms);
        (profile.stacks, profile.rows) = (stacks, rows);
        profile
    }

    /// Takes over the stacks of a profile; its nodes by place.
    pub(crate) fn add_stacks(&mut self, other: &Profile) -> Vec<NodeId> {
        super::import::Import::new(other).stacks(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_know_their_rank() {
        let mut places = Places::new(200);
        let members = [0, 1, 63, 64, 130, 199];
        assert!(members.iter().all(|n| places.insert(*n)));
        assert!(!places.insert(64));
        assert_eq!(places.close(), 6);
        assert_eq!(places.iter().collect::<Vec<_>>(), members);
        assert!(members.iter().enumerate().all(|(rank, n)| places.rank(*n) == rank as u32));
        assert_eq!(places.rank(100), 4);
    }
}
