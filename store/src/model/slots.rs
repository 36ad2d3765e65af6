//! An index of a list by hash.

/// Finds the places of a list's items by their hashes. The list itself is somewhere else, in the order in which its items
/// came: so the index is small, and looked up at places that nobody can foresee, while all else is written one after the
/// other.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots {
    /// An item's hash, and its place + 1: at the slot of the hash or after it; 0 where there is none. With the hash beside the
    /// place, others that are met on the way need not be looked at. The length is a power of two, or 0.
    slots: Vec<(u32, u32)>,
    len: usize,
}

/// Slots at first.
const FIRST_SLOTS: usize = 16;

impl Slots {
    /// Slots for so many items.
    pub(super) fn with_room(items: usize) -> Self {
        let slots = (items * 3 / 2 + 1).next_power_of_two().max(FIRST_SLOTS);
        Self { slots: vec![(0, 0); slots], len: 0 }
    }

    /// The place of the item with this hash of which `is_it` says that it is the one.
    pub(super) fn find(&self, hash: u32, is_it: impl Fn(usize) -> bool) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        self.slots[self.slot(hash, is_it)].1.checked_sub(1).map(|place| place as usize)
    }

    /// The place of an item with this hash, which most likely is the one that is looked for.
    pub(super) fn guess(&self, hash: u32) -> Option<usize> {
        self.find(hash, |_| true)
    }

    /// The same as [`Slots::find`]; `next` from now on, if there is none.
    pub(super) fn find_or(&mut self, hash: u32, next: usize, is_it: impl Fn(usize) -> bool) -> usize {
        // At most two thirds are taken, so that a search ends soon.
        if self.len * 3 >= self.slots.len() * 2 {
            self.grow();
        }
        let slot = self.slot(hash, is_it);
        let found = &mut self.slots[slot];
        if found.1 == 0 {
            *found = (hash, next as u32 + 1);
            self.len += 1;
        }
        found.1 as usize - 1
    }

    /// Memory that it takes, bytes.
    pub(super) fn bytes(&self) -> usize {
        self.slots.len() * size_of::<(u32, u32)>()
    }

    /// The slot of an item, or the one where it would be. There are slots.
    fn slot(&self, hash: u32, is_it: impl Fn(usize) -> bool) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            let (known, place) = self.slots[slot];
            if place == 0 || (known == hash && is_it(place as usize - 1)) {
                return slot;
            }
            slot = (slot + 1) & mask;
        }
    }

    fn grow(&mut self) {
        // Where there is little, there will be more.
        let times = if self.slots.len() < 1 << 14 { 4 } else { 2 };
        let len = (self.slots.len() * times).max(FIRST_SLOTS);
        let mut slots = vec![(0, 0); len];
        for old in self.slots.iter().filter(|(_, place)| *place != 0) {
            let mut slot = old.0 as usize & (len - 1);
            while slots[slot].1 != 0 {
                slot = (slot + 1) & (len - 1);
            }
            slots[slot] = *old;
        }
        self.slots = slots;
    }
}
