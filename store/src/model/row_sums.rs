//! Sums of samples by their keys: what is counted in a profile under construction.

use super::RowKey;
use super::slots::Slots;
use super::sums::Sum;

/// Sums by key, in the order in which the keys came: most keys of a window come once.
#[derive(Clone, Default)]
pub(super) struct RowSums {
    sums: Vec<(RowKey, Sum)>,
    index: Slots,
}

/// The key as four numbers, each spread by a factor of its own.
fn hash(key: &RowKey) -> u32 {
    let pair = |a: u32, b: u32| u64::from(a) << 32 | u64::from(b);
    let sum = pair(key.series.0, key.node.0)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(pair(key.pid, key.tid).wrapping_mul(0xbf58_476d_1ce4_e5b9))
        .wrapping_add(pair(key.thread.0, key.status.0).wrapping_mul(0x94d0_49bb_1331_11eb))
        .wrapping_add(key.time_ms.cast_unsigned().wrapping_mul(0xd6e8_feb8_6659_fd93));
    ((sum ^ (sum >> 29)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
}

impl RowSums {
    /// The sum of a key, which is nothing if the key is new.
    pub(super) fn entry(&mut self, key: RowKey) -> &mut Sum {
        let next = self.sums.len();
        let place = self.index.find_or(hash(&key), next, |place| self.sums[place].0 == key);
        if place == next {
            self.sums.push((key, Sum::default()));
        }
        let sum = &mut self.sums[place].1;
        sum.is_gone = false;
        sum
    }

    /// The sum of a key, if there is one.
    pub(super) fn get_mut(&mut self, key: &RowKey) -> Option<&mut Sum> {
        let place = self.index.find(hash(key), |place| self.sums[place].0 == *key)?;
        let sum = &mut self.sums[place].1;
        (!sum.is_gone).then_some(sum)
    }

    /// Takes a sum away. Its place stays: that happens to few.
    pub(super) fn remove(&mut self, key: &RowKey) -> Option<Sum> {
        let gone = Sum { is_gone: true, ..Sum::default() };
        self.get_mut(key).map(|sum| std::mem::replace(sum, gone))
    }

    /// All keys.
    pub(super) fn keys(&self) -> impl Iterator<Item = &RowKey> {
        self.sums.iter().filter(|(_, sum)| !sum.is_gone).map(|(key, _)| key)
    }

    /// All keys and their sums.
    pub(super) fn into_vec(self) -> Vec<(RowKey, Sum)> {
        let mut sums = self.sums;
        sums.retain(|(_, sum)| !sum.is_gone);
        sums
    }

    /// Memory that it takes, bytes.
    pub(super) fn bytes(&self) -> usize {
        self.sums.capacity() * size_of::<(RowKey, Sum)>() + self.index.bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::{NodeId, SeriesId, StringId};
    use super::*;

    #[test]
    fn sums_are_those_of_their_keys_whatever_comes_and_goes() {
        let mut sums = RowSums::default();
        let mut expected: BTreeMap<RowKey, u64> = BTreeMap::new();
        let mut state = 7u64;
        let mut below = |limit: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) % limit) as u32
        };
        assert_eq!(sums.get_mut(&RowKey::default()).map(|sum| sum.samples), None);
        for n in 0..30_000 {
            let key = RowKey {
                series: SeriesId(below(3)),
                node: NodeId(below(40)),
                pid: below(4),
                tid: below(4),
                thread: StringId(below(3)),
                status: StringId(below(2)),
                time_ms: i64::from(below(4)) * 10_000,
            };
            if below(5) == 0 {
                assert_eq!(sums.remove(&key).map(|sum| sum.samples), expected.remove(&key));
            } else {
                sums.entry(key).samples += n;
                *expected.entry(key).or_default() += n;
            }
            assert_eq!(sums.get_mut(&key).map(|sum| sum.samples), expected.get(&key).copied());
        }
        assert!(expected.len() > 1000, "{}", expected.len());
        let mut keys: Vec<_> = sums.keys().copied().collect();
        keys.sort_unstable();
        assert_eq!(keys, expected.keys().copied().collect::<Vec<_>>());
        let found: BTreeMap<_, _> =
            sums.into_vec().into_iter().map(|(key, sum)| (key, sum.samples)).collect();
        assert_eq!(found, expected);
    }
}
