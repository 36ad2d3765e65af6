//! Handles for what is the same.

use std::hash::BuildHasher;

use rustc_hash::FxBuildHasher;

use super::slots::Slots;

/// Each distinct item once, by integer handle.
#[derive(Clone)]
pub(super) struct Interner<T> {
    pub(super) items: Vec<T>,
    index: Slots,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Self { items: Vec::new(), index: Slots::default() }
    }
}

impl<T: Eq + std::hash::Hash> Interner<T> {
    /// The handle of an item.
    pub(super) fn intern(&mut self, item: T) -> u32 {
        let hash = Self::hash(&item);
        self.intern_hashed(item, hash)
    }

    /// The handles of many items. Where each is looked for hangs on nothing that was found before, so that the CPU waits for
    /// many places in memory at once.
    pub(super) fn intern_all(&mut self, items: Vec<T>) -> Vec<u32> {
        let hashes: Vec<_> = items.iter().map(Self::hash).collect();
        let guesses: Vec<_> = hashes.iter().map(|hash| self.index.guess(*hash)).collect();
        let guessed = items.into_iter().zip(hashes).zip(guesses);
        let id = |((item, hash), guess): ((T, u32), Option<usize>)| match guess {
            Some(guess) if self.items[guess] == item => guess as u32,
            _ => self.intern_hashed(item, hash),
        };
        guessed.map(id).collect()
    }

    fn hash(item: &T) -> u32 {
        let hash = FxBuildHasher.hash_one(item);
        (hash ^ (hash >> 32)) as u32
    }

    fn intern_hashed(&mut self, item: T, hash: u32) -> u32 {
        let next = self.items.len();
        let id = self.index.find_or(hash, next, |id| self.items[id] == item);
        if id == next {
            self.items.push(item);
        }
        id as u32
    }

    /// Memory that it takes, but for what its items refer to, bytes.
    pub(super) fn bytes(&self) -> usize {
        self.items.capacity() * size_of::<T>() + self.index.bytes()
    }
}
