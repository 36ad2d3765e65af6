//! What a query may cost, and the means to end it early.

use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::error::{Error, Result};

/// What a query may cost.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Memory for stacks, counts and the answer, bytes. What a decoder works with comes on top of that: some
    /// 16 MiB for each thread.
    pub memory_bytes: u64,
    /// Threads that read segments.
    pub threads: usize,
    /// Ends the query when it is set.
    pub cancel: Cancel,
    /// Counts what the query has read.
    pub progress: Progress,
}

/// A month of a busy fleet from its rollups takes a fraction of it; eight of these fit a small server.
const MEMORY_BYTES: u64 = 512 << 20;
/// More threads would wait for memory, and leave no CPU to others.
const THREADS: usize = 4;

impl Default for Limits {
    fn default() -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self {
            memory_bytes: MEMORY_BYTES,
            threads: cpus.min(THREADS),
            cancel: Cancel::default(),
            progress: Progress::default(),
        }
    }
}

/// Ends queries from another thread. Clones are one.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Ends the queries that have this token, at the next row group of each.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// # Errors
    /// When it was cancelled.
    pub(crate) fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) { Err(Error::Cancelled) } else { Ok(()) }
    }
}

/// How far queries have come, for who waits for them. Clones are one.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<(AtomicU64, AtomicU64)>);

impl Progress {
    /// Segments that were read, and segments that are to be read as far as is known: a question may be several queries.
    pub fn segments(&self) -> (u64, u64) {
        (self.0.0.load(Ordering::Relaxed), self.0.1.load(Ordering::Relaxed))
    }

    /// A query begins that will read so many segments.
    pub(crate) fn begin(&self, segments: usize) {
        self.0.1.fetch_add(segments as u64, Ordering::Relaxed);
    }

    /// One of them is read.
    pub(crate) fn step(&self) {
        self.0.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The memory that a query takes at this moment, of all its threads together.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    used: AtomicU64,
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, used: AtomicU64::new(0) }
    }

    /// A share of it, as yet of nothing, that is given back when it is dropped.
    pub(crate) fn share(&self) -> Share<'_> {
        Share { budget: self, bytes: 0 }
    }
}

/// Memory taken from a [`Budget`].
#[derive(Debug)]
pub(crate) struct Share<'a> {
    budget: &'a Budget,
    bytes: u64,
}

impl Share<'_> {
    /// Says how many bytes it is now.
    ///
    /// # Errors
    /// When all shares together are more than the limit.
    pub(crate) fn set(&mut self, bytes: u64) -> Result<()> {
        let used = &self.budget.used;
        let before = if bytes >= self.bytes {
            used.fetch_add(bytes - self.bytes, Ordering::Relaxed) + (bytes - self.bytes)
        } else {
            used.fetch_sub(self.bytes - bytes, Ordering::Relaxed) - (self.bytes - bytes)
        };
        self.bytes = bytes;
        if before > self.budget.limit { Err(Error::TooLarge { limit: self.budget.limit }) } else { Ok(()) }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_to_the_limit_and_come_back() {
        let budget = Budget::new(100);
        let (mut a, mut b) = (budget.share(), budget.share());
        assert!(a.set(60).is_ok() && b.set(40).is_ok());
        assert!(matches!(b.set(41), Err(Error::TooLarge { limit: 100 })));
        assert!(a.set(10).is_ok());
        drop(b);
        assert!(a.set(100).is_ok());
    }

    #[test]
    fn a_token_ends_what_its_clones_run() {
        let progress = Progress::default();
        progress.begin(3);
        let clone = progress.clone();
        clone.step();
        assert_eq!(progress.segments(), (1, 3));
        let cancel = Cancel::default();
        let clone = cancel.clone();
        assert!(clone.check().is_ok());
        cancel.cancel();
        assert!(matches!(clone.check(), Err(Error::Cancelled)));
    }
}
