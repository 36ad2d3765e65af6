//! Ways through code from one instruction to others, and which of them are sound.
//!
//! Nobody says whether a call comes back. What stands behind one that does not belongs to another function, with
//! another depth of the stack. So a way behind a call counts only if it proves itself: it leads to a sound end (a
//! return that leaves the stack as the caller expects it, or code that is known to agree), or back to the part of the function that needs no call to come
//! back.

use rustc_hash::{FxHashMap, FxHashSet};

/// What is found at an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// Nothing but what its ways lead to.
    Goes,
    /// The end of a sound way.
    Sound,
    /// It does what no function does, or disagrees with what is known.
    Broken,
}

impl Mark {
    /// Of an end of a way.
    pub(super) fn end(is_sound: bool) -> Self {
        if is_sound { Self::Sound } else { Self::Broken }
    }
}

/// The ways of one exploration. Instructions are known by their addresses.
#[derive(Default)]
pub(super) struct Ways {
    marks: FxHashMap<u64, Mark>,
    /// From, to, and whether something that is called has to come back.
    edges: FxHashSet<(u64, u64, bool)>,
}

impl Ways {
    /// What an instruction is found to be now.
    pub(super) fn mark(&mut self, address: u64, mark: Mark) {
        self.marks.insert(address, mark);
    }

    /// One instruction leads to another.
    pub(super) fn edge(&mut self, from: u64, to: u64, behind_call: bool) {
        self.edges.insert((from, to, behind_call));
    }

    fn marked(&self, wanted: Mark) -> Vec<u64> {
        self.marks.iter().filter(|(_, mark)| **mark == wanted).map(|(address, _)| *address).collect()
    }

    /// The instructions on sound ways from `seed`. None if one that needs no call to come back is not sound, or if no way has
    /// a sound end, unless it is proven that a function begins there.
    pub(super) fn sound(&self, seed: u64, is_proven: bool) -> Option<FxHashSet<u64>> {
        let (mut after, mut before): (Graph, Graph) = Default::default();
        let mut behind_calls: FxHashMap<u64, Vec<u64>> = FxHashMap::default();
        for (from, to, behind_call) in &self.edges {
            if *behind_call {
                behind_calls.entry(*from).or_default().push(*to);
            } else {
                after.entry(*from).or_default().push(*to);
                before.entry(*to).or_default().push(*from);
            }
        }
        let broken = reach(self.marked(Mark::Broken), &before, |_| true);
        let mut sound = reach(vec![seed], &after, |_| true);
        if sound.iter().any(|address| broken.contains(address)) {
            return None;
        }
        loop {
            // Behind calls what leads to an end, to what is sound already, or to another call of which the same holds.
            let mut proof = self.marked(Mark::Sound);
            proof.extend(&sound);
            let mut proven = reach(proof, &before, |address| !broken.contains(&address));
            loop {
                let through = |(from, to): (&u64, &Vec<u64>)| {
                    let leads = !proven.contains(from) && !broken.contains(from);
                    (leads && to.iter().any(|to| proven.contains(to))).then_some(*from)
                };
                let more: Vec<u64> = behind_calls.iter().filter_map(through).collect();
                if more.is_empty() {
                    break;
                }
                proven.extend(reach(more, &before, |address| !broken.contains(&address)));
            }
            let from_calls = sound.iter().filter_map(|from| behind_calls.get(from)).flatten();
            let next: Vec<u64> = from_calls
                .filter(|to| proven.contains(to) && !broken.contains(to) && !sound.contains(to))
                .copied()
                .collect();
            if next.is_empty() {
                break;
            }
            sound.extend(reach(next, &after, |address| !broken.contains(&address)));
        }
        let returns = sound.iter().any(|address| self.marks.get(address) == Some(&Mark::Sound));
        (returns || is_proven).then_some(sound)
    }
}

type Graph = FxHashMap<u64, Vec<u64>>;

/// All that can be reached from these, themselves among them, through what may be entered.
fn reach(from: Vec<u64>, graph: &Graph, may: impl Fn(u64) -> bool) -> FxHashSet<u64> {
    let mut reached: FxHashSet<u64> = from.iter().copied().filter(|address| may(*address)).collect();
    let mut waiting: Vec<u64> = reached.iter().copied().collect();
    while let Some(address) = waiting.pop() {
        for next in graph.get(&address).into_iter().flatten() {
            if may(*next) && reached.insert(*next) {
                waiting.push(*next);
            }
        }
    }
    reached
}
