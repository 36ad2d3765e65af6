//! Samples of one key, added up.

use super::{Exact, Row, RowKey, StringId};

/// Which parts of a row's key survive a merge. What is dropped becomes 0, and rows that are then equal
/// become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Process and thread ids and thread names.
    pub threads: bool,
    /// Time buckets, no finer than this many milliseconds; none drops time.
    pub bucket_ms: Option<i64>,
    /// Exact times (only with buckets of at most 60 s).
    pub exact: bool,
}

impl Keep {
    /// Everything, as stored.
    pub const ALL: Self = Self { threads: true, bucket_ms: Some(1), exact: true };
    /// Only who, which stack and status.
    pub const STACKS: Self = Self { threads: false, bucket_ms: None, exact: false };

    pub(super) fn project(&self, key: RowKey) -> RowKey {
        let mut key = key;
        if !self.threads {
            (key.pid, key.tid, key.thread) = (0, 0, StringId::EMPTY);
        }
        key.time_ms = match self.bucket_ms {
            Some(step) if step > 0 => key.time_ms - key.time_ms.rem_euclid(step),
            _ => 0,
        };
        key
    }
}

/// Samples of one key: those with exact times apart from those without, so that a row never claims to know
/// the times of samples it does not know.
#[derive(Clone, Copy, Default)]
pub(super) struct Sum {
    pub(super) samples: u64,
    pub(super) value: i64,
    pub(super) exact_value: i64,
    /// Place of the last of its exact times, from 1 on; 0 if there are none.
    pub(super) last: u32,
    /// It was taken away, and only its place is left.
    pub(super) is_gone: bool,
}

/// Exact times of all sums, in chains: most sums have a single one, which is worth no allocation.
#[derive(Clone, Default)]
pub(super) struct Chains(Vec<(Exact, u32)>);

impl Chains {
    /// Memory that it takes, bytes.
    pub(super) fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<(Exact, u32)>()
    }

    /// Adds a time to the chain that ends at `last`.
    pub(super) fn push(&mut self, last: &mut u32, exact: Exact) {
        self.0.push((exact, *last));
        *last = self.0.len() as u32;
    }

    /// Takes the times of a chain out to the end of `to`.
    pub(super) fn collect(&self, last: u32, to: &mut Vec<Exact>) {
        let mut at = last;
        while let Some((exact, before)) = at.checked_sub(1).and_then(|at| self.0.get(at as usize)) {
            to.push(*exact);
            at = *before;
        }
    }
}

impl Sum {
    pub(super) fn add(
        &mut self,
        chains: &mut Chains,
        samples: u64,
        value: i64,
        exact: impl ExactSizeIterator<Item = Exact>,
    ) {
        // Saturating: sums of stored values may be hostile.
        if exact.len() as u64 == samples && samples > 0 {
            self.exact_value = self.exact_value.saturating_add(value);
            exact.for_each(|exact| chains.push(&mut self.last, exact));
        } else {
            self.samples = self.samples.saturating_add(samples);
            self.value = self.value.saturating_add(value);
        }
    }

    /// At most two rows: the samples without exact times, then those with.
    pub(super) fn into_rows(self, key: RowKey, chains: &Chains, exact: &mut Vec<Exact>, rows: &mut Vec<Row>) {
        let first = exact.len() as u32;
        if self.samples > 0 || self.value != 0 || self.last == 0 {
            rows.push(Row { key, samples: self.samples, value: self.value, exact: first..first });
        }
        if self.last > 0 {
            chains.collect(self.last, exact);
            let own = &mut exact[first as usize..];
            own.sort_unstable();
            let samples = own.len() as u64;
            rows.push(Row { key, samples, value: self.exact_value, exact: first..exact.len() as u32 });
        }
    }
}
