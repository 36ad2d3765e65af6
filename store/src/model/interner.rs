//! Handles for what is the same.

use rustc_hash::FxHashMap;

/// Each distinct item once, by integer handle.
#[derive(Clone)]
pub(super) struct Interner<T> {
    pub(super) items: Vec<T>,
    index: FxHashMap<T, u32>,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Self { items: Vec::new(), index: FxHashMap::default() }
    }
}

impl<T: Clone + Eq + std::hash::Hash> Interner<T> {
    /// The handle of an item.
    pub(super) fn intern(&mut self, item: T) -> u32 {
        let next = self.items.len() as u32;
        let id = *self.index.entry(item.clone()).or_insert(next);
        if id == next {
            self.items.push(item);
        }
        id
    }
}
