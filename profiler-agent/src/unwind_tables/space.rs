//! Which parts of a numbered space are taken: first fit, neighbours joined, and freed parts kept back until no reader
//! in the kernel can still be using them.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

/// For how long freed parts are collected before the kernel is asked to wait for its readers, which takes it some ten
/// milliseconds.
const COLLECT: Duration = Duration::from_secs(1);

/// A part of the space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) start: u32,
    pub(crate) len: u32,
}

/// A space of `len` numbers, of which 0 is never given out: 0 means nothing in index entries.
#[derive(Debug)]
pub(crate) struct Space {
    free: BTreeMap<u32, u32>,
    leaving: VecDeque<(Instant, Part)>,
    taken: u64,
    /// Whether a part has become free again since it was last cleared.
    came_back: bool,
}

impl Space {
    pub(crate) fn new(len: u32) -> Self {
        Self {
            free: BTreeMap::from([(1, len.saturating_sub(1))]),
            leaving: VecDeque::new(),
            taken: 0,
            came_back: false,
        }
    }

    /// Takes the first part that is large enough.
    pub(crate) fn take(&mut self, len: u32) -> Option<Part> {
        if len == 0 {
            return Some(Part { start: 0, len: 0 });
        }
        let (&start, &size) = self.free.iter().find(|(_, size)| **size >= len)?;
        self.free.remove(&start);
        if size > len {
            self.free.insert(start + len, size - len);
        }
        self.taken += u64::from(len);
        Some(Part { start, len })
    }

    /// Gives a part back; it is free when all of them are settled.
    pub(crate) fn give_back(&mut self, part: Part, now: Instant) {
        if part.len > 0 {
            self.taken -= u64::from(part.len);
            self.leaving.push_back((now, part));
        }
    }

    /// Whether a part has become free again since [`Space::note_cleared`]: numbers may mean something else from now on.
    pub(crate) fn has_come_back(&self) -> bool {
        self.came_back
    }

    /// Nobody remembers what the free numbers meant.
    pub(crate) fn note_cleared(&mut self) {
        self.came_back = false;
    }

    /// Numbers taken, without those that were given back.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// Whether there will be a part of this length when all that was given back is settled.
    pub(crate) fn will_have(&self, len: u32) -> bool {
        let leaving = self.leaving.iter().map(|(_, part)| (part.start, part.len));
        let mut parts: Vec<(u32, u32)> =
            self.free.iter().map(|(start, len)| (*start, *len)).chain(leaving).collect();
        parts.sort_unstable();
        let (mut start, mut end) = (0, 0);
        parts.into_iter().any(|(from, size)| {
            start = if from == end { start } else { from };
            end = from + size;
            end - start >= len
        })
    }

    /// Whether something was given back that has waited long enough for others.
    pub(crate) fn has_waited(&self, now: Instant) -> bool {
        self.leaving.front().is_some_and(|(left, _)| now.saturating_duration_since(*left) >= COLLECT)
    }

    /// Frees all that was given back: nobody reads it any more.
    pub(crate) fn settle(&mut self) {
        while let Some((_, part)) = self.leaving.pop_front() {
            self.came_back = true;
            self.join(part);
        }
    }

    fn join(&mut self, mut part: Part) {
        if let Some((&start, &len)) = self.free.range(..part.start).next_back()
            && start + len == part.start
        {
            self.free.remove(&start);
            part = Part { start, len: len + part.len };
        }
        if let Some(len) = self.free.remove(&(part.start + part.len)) {
            part.len += len;
        }
        self.free.insert(part.start, part.len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_overlap_and_come_back_whole() {
        let (mut space, start) = (Space::new(1000), Instant::now());
        let mut state = 0x9e37_79b9_u32;
        let mut held: Vec<Part> = Vec::new();
        for step in 0..5000u64 {
            let now = start + Duration::from_millis(100 * step);
            if space.has_waited(now) {
                space.settle();
            }
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            if !state.is_multiple_of(3) {
                if let Some(part) = space.take(state % 60 + 1) {
                    assert!(part.start > 0 && part.start + part.len <= 1000);
                    for other in &held {
                        assert!(
                            part.start + part.len <= other.start || other.start + other.len <= part.start
                        );
                    }
                    held.push(part);
                }
            } else if !held.is_empty() {
                let part = held.swap_remove(state as usize % held.len());
                space.give_back(part, now);
            }
        }
        let end = start + Duration::from_secs(1000);
        held.into_iter().for_each(|part| space.give_back(part, end));
        assert_eq!(space.taken(), 0);
        space.settle();
        assert_eq!(space.take(999), Some(Part { start: 1, len: 999 }));
    }

    #[test]
    fn a_freed_part_is_not_given_out_until_it_is_settled() {
        let (mut space, now) = (Space::new(11), Instant::now());
        let part = space.take(10).unwrap();
        assert!(!space.has_waited(now + COLLECT));
        space.give_back(part, now);
        assert_eq!(space.take(10), None);
        assert!(space.will_have(10) && !space.will_have(11));
        assert!(!space.has_waited(now + COLLECT / 2) && space.has_waited(now + COLLECT));
        assert_eq!(space.take(10), None, "time alone proves nothing");
        assert!(!space.has_come_back());
        space.settle();
        assert!(space.has_come_back());
        assert_eq!(space.take(10), Some(part));
        space.note_cleared();
        assert!(!space.has_come_back());
    }
}
