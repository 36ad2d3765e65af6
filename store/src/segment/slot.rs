//! What functions used in one slot of time, packed: a day has 288 slots, each with nearly all functions of a fleet.

use super::functions::{Sum, Usage};

/// Entries kept as they come before they are packed.
const FRESH: usize = 1024;

/// What functions used in one slot, by their numbers. A series of samples after the other adds to it: what they say of the
/// same function is added up once in a while, which costs less than finding it each time.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// Added up and sorted by number: the difference to the number before, then own samples, own value, total samples,
    /// total value; values less samples times `unit`. Numbers are LEB128, values zigzag-encoded first.
    packed: Vec<u8>,
    /// How many are packed.
    len: usize,
    /// About what a sample's value is.
    unit: i64,
    fresh: Vec<(u32, Usage)>,
}

impl Slot {
    /// Adds to what a function used.
    pub(super) fn push(&mut self, function: u32, usage: Usage) {
        if self.len == 0 && self.fresh.is_empty() {
            let samples = i64::try_from(usage.total.samples).unwrap_or(i64::MAX);
            self.unit = usage.total.value.checked_div(samples).unwrap_or(0);
        }
        self.fresh.push((function, usage));
    }

    /// Packs what is not, if it is much.
    pub(super) fn settle_if_long(&mut self) {
        if self.fresh.len() > self.len + FRESH {
            self.settle();
        }
    }

    fn settle(&mut self) {
        // Sorted runs one after the other, which a stable sort merges.
        self.fresh.sort_by_key(|(function, _)| *function);
        let mut fresh = std::mem::take(&mut self.fresh).into_iter().peekable();
        let packed = std::mem::take(&mut self.packed);
        let mut known = Packed { bytes: &packed, unit: self.unit, last: 0 }.peekable();
        let mut last = 0;
        self.packed.reserve(packed.len() + fresh.len() * 8);
        self.len = 0;
        while let Some(function) = match (known.peek(), fresh.peek()) {
            (Some(a), Some(b)) => Some(a.0.min(b.0)),
            (a, b) => a.or(b).map(|next| next.0),
        } {
            let mut sum = Usage::default();
            while let Some((_, usage)) = known.next_if(|next| next.0 == function) {
                sum.add(usage);
            }
            while let Some((_, usage)) = fresh.next_if(|next| next.0 == function) {
                sum.add(usage);
            }
            write(&mut self.packed, u64::from(function - last));
            for Sum { samples, value } in [sum.own, sum.total] {
                write(&mut self.packed, samples);
                let rest = value.wrapping_sub(samples.cast_signed().wrapping_mul(self.unit));
                write(&mut self.packed, ((rest << 1) ^ (rest >> 63)).cast_unsigned());
            }
            last = function;
            self.len += 1;
        }
    }

    /// All functions in the order of their numbers, each once.
    pub(super) fn finish(mut self) -> Vec<(u32, Usage)> {
        self.settle();
        Packed { bytes: &self.packed, unit: self.unit, last: 0 }.collect()
    }
}

/// Walks along what was packed.
struct Packed<'a> {
    bytes: &'a [u8],
    unit: i64,
    last: u32,
}

impl Iterator for Packed<'_> {
    type Item = (u32, Usage);

    fn next(&mut self) -> Option<Self::Item> {
        let step = read(&mut self.bytes)?;
        self.last += step as u32;
        let mut sum = || {
            let samples = read(&mut self.bytes)?;
            let rest = read(&mut self.bytes)?;
            let rest = (rest >> 1).cast_signed() ^ -(rest & 1).cast_signed();
            Some(Sum { samples, value: rest.wrapping_add(samples.cast_signed().wrapping_mul(self.unit)) })
        };
        Some((self.last, Usage { own: sum()?, total: sum()? }))
    }
}

fn write(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

fn read(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_is_packed_adds_up_as_if_it_were_not() {
        let mut slot = Slot::default();
        let mut expected: BTreeMap<u32, Usage> = BTreeMap::new();
        let mut state = 3u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        for n in 0..20_000 {
            let function = (next() % 3000) as u32 * 7;
            let sum = |samples: u64, odd: i64| Sum { samples, value: samples as i64 * 10_000_000 + odd };
            let odd = if n % 100 == 0 { -(next() as i64) } else { 0 };
            let usage = Usage { own: sum(next() % 3, odd), total: sum(3 + next() % 500, -odd) };
            expected.entry(function).or_default().add(usage);
            slot.push(function, usage);
            slot.settle_if_long();
        }
        assert!(slot.len > 2000 && slot.packed.len() < slot.len * 16, "{} {}", slot.len, slot.packed.len());
        assert_eq!(slot.finish(), expected.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn the_largest_numbers_fit() {
        let mut slot = Slot::default();
        let most = Sum { samples: u64::MAX, value: i64::MAX };
        let least = Sum { samples: 0, value: i64::MIN };
        slot.push(u32::MAX, Usage { own: most, total: least });
        slot.push(0, Usage { own: least, total: most });
        let sorted = [(0, Usage { own: least, total: most }), (u32::MAX, Usage { own: most, total: least })];
        assert_eq!(slot.finish(), sorted);
        assert_eq!(Slot::default().finish(), []);
    }
}
