//! What was added to a profile under construction since it was last logged.

use super::{Account, Exact, RowKey};

/// Rows, times and accounts as they were added, by the builder's handles.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal {
    pub(crate) entries: Vec<Entry>,
    /// Exact times of all entries, one after the other.
    pub(crate) exact: Vec<Exact>,
    pub(crate) accounts: Vec<Account>,
}

/// Samples of one key that were added at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its node is the builder's.
    pub(crate) key: RowKey,
    pub(crate) samples: u64,
    pub(crate) value: i64,
    /// How many exact times are its own.
    pub(crate) times: u32,
}

impl Journal {
    pub(super) fn add(&mut self, key: RowKey, samples: u64, value: i64, exact: impl Iterator<Item = Exact>) {
        let before = self.exact.len();
        self.exact.extend(exact);
        let times = (self.exact.len() - before) as u32;
        self.entries.push(Entry { key, samples, value, times });
    }

    /// Whether nothing was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.accounts.is_empty()
    }

    /// Its memory stays, for the next.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.exact.clear();
        self.accounts.clear();
    }
}
