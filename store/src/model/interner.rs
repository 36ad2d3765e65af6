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
        let next = self.items.len();
        let hash = FxBuildHasher.hash_one(&item);
        let id = self.index.find_or((hash ^ (hash >> 32)) as u32, next, |id| self.items[id] == item);
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
