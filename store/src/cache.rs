//! Profiles of segments lately read: a page asks for a timeline, a flame graph and labels of one range.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use ulid::Ulid;

use crate::model::{Account, Exact, Frame, Profile, Row, Series};

/// Memory for decoded tables of segments, bytes. A quarter of an hour of a busy host decodes to a few MiB.
const TABLES_BYTES: usize = 64 << 20;

/// Memory for the tree of all stacks and the places of segments in it, bytes: those of a month of a large fleet. Beyond
/// it queries count what they add to it among their own memory, and the next one begins anew.
pub(crate) const DICTIONARY_BYTES: usize = 256 << 20;

/// Memory for all that a [`Store`](crate::Store) keeps of segments that queries have read, bytes.
pub const CACHE_BYTES: usize = TABLES_BYTES + DICTIONARY_BYTES;

/// What of a segment is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Depth {
    /// Series and accounts.
    Series,
    /// Stacks, too.
    Stacks,
}

/// Decoded segments by id, least recently used out first.
#[derive(Default)]
pub(crate) struct Cache {
    entries: FxHashMap<(Ulid, Depth), Entry>,
    bytes: usize,
    clock: u64,
    evicted: u64,
}

struct Entry {
    profile: Arc<Profile>,
    bytes: usize,
    used: u64,
}

impl Cache {
    pub(crate) fn get(&mut self, id: Ulid, depth: Depth) -> Option<Arc<Profile>> {
        self.clock += 1;
        let entry = self.entries.get_mut(&(id, depth))?;
        entry.used = self.clock;
        Some(entry.profile.clone())
    }

    pub(crate) fn insert(&mut self, id: Ulid, depth: Depth, profile: Arc<Profile>) {
        let bytes = size_of_profile(&profile);
        if bytes > TABLES_BYTES / 4 {
            return;
        }
        self.put_out((id, depth));
        self.clock += 1;
        self.bytes += bytes;
        self.entries.insert((id, depth), Entry { profile, bytes, used: self.clock });
        while self.bytes > TABLES_BYTES {
            let Some(oldest) = self.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(id, _)| *id)
            else {
                break;
            };
            self.put_out(oldest);
            self.evicted += 1;
        }
    }

    pub(crate) fn remove(&mut self, id: Ulid) {
        [Depth::Series, Depth::Stacks].into_iter().for_each(|depth| self.put_out((id, depth)));
    }

    fn put_out(&mut self, key: (Ulid, Depth)) {
        if let Some(entry) = self.entries.remove(&key) {
            self.bytes -= entry.bytes;
        }
    }

    /// Bytes held, and how many profiles were put out for lack of room.
    pub(crate) fn usage(&self) -> (usize, u64) {
        (self.bytes, self.evicted)
    }
}

/// About how much memory a profile takes.
pub(crate) fn size_of_profile(profile: &Profile) -> usize {
    // A string is held once, with its length and count, and known by hash; a node has four columns.
    profile.strings.iter().map(|text| text.len() + 64).sum::<usize>()
        + profile.frames.len() * size_of::<Frame>()
        + profile.stacks.len() * 20
        + profile.series.iter().map(|s| size_of::<Series>() + s.labels.len() * 8).sum::<usize>()
        + profile.rows.len() * size_of::<Row>()
        + profile.exact.len() * size_of::<Exact>()
        + profile.accounts.len() * size_of::<Account>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RowKey;

    fn of_rows(rows: usize) -> Arc<Profile> {
        let row = Row { key: RowKey::default(), samples: 1, value: 1, exact: 0..0 };
        Arc::new(Profile { rows: vec![row; rows], ..Profile::default() })
    }

    #[test]
    fn the_least_recently_used_profile_leaves_when_the_budget_is_spent() {
        let mut cache = Cache::default();
        let rows = TABLES_BYTES / 5 / size_of::<Row>();
        let ids: Vec<_> = (0..6).map(|i| Ulid::from_parts(i, 0)).collect();
        for id in &ids[..4] {
            cache.insert(*id, Depth::Stacks, of_rows(rows));
        }
        assert!(cache.get(ids[0], Depth::Stacks).is_some());
        cache.insert(ids[4], Depth::Stacks, of_rows(rows));
        assert!(cache.get(ids[1], Depth::Stacks).is_none());
        assert!(cache.get(ids[0], Depth::Stacks).is_some());
        assert_eq!(cache.usage().1, 1);
        assert!(cache.usage().0 <= TABLES_BYTES);
    }

    #[test]
    fn a_profile_too_large_to_share_the_budget_is_not_kept() {
        let mut cache = Cache::default();
        cache.insert(Ulid::from_parts(1, 0), Depth::Stacks, of_rows(TABLES_BYTES / size_of::<Row>()));
        assert_eq!(cache.usage(), (0, 0));
    }
}
