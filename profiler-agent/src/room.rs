//! Giving back what a storm of processes or names took.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash},
};

/// A table with fewer entries has no room that is worth giving back.
const FEW: usize = 256;

/// Shrinks a table that is mostly empty by now, to four times what it holds: it keeps the room of its largest day else.
pub(crate) fn give_back<K: Eq + Hash, V>(table: &mut HashMap<K, V, impl BuildHasher>) {
    // Its `capacity` leaves out places of removed entries, and so says too little to decide by.
    table.shrink_to(4 * table.len().max(FEW));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_given_back_when_most_is_gone_and_not_for_every_entry() {
        let mut table: HashMap<u32, u32> = HashMap::with_capacity(10_000);
        let full = table.capacity();
        table.extend((0..5_000).map(|n| (n, n)));
        give_back(&mut table);
        assert_eq!(table.capacity(), full);
        table.retain(|n, _| *n < 500);
        give_back(&mut table);
        assert!((2_000..4_000).contains(&table.capacity()), "{}", table.capacity());
        assert_eq!(table.len(), 500);
        table.retain(|n, _| *n < 1);
        give_back(&mut table);
        assert!((1..2 * 4 * FEW).contains(&table.capacity()) && table.contains_key(&0));
    }
}
