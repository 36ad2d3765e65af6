//! Whether anyone is watching the open window: naming it every second is work that is done only for someone.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// How long after the last question someone counts as watching.
const INTEREST: Duration = Duration::from_secs(15);

/// The moment of the last question.
#[derive(Debug)]
pub(crate) struct LiveInterest {
    started: Instant,
    /// Milliseconds after `started`, plus one; 0: never.
    last: AtomicU64,
}

impl Default for LiveInterest {
    fn default() -> Self {
        Self { started: Instant::now(), last: AtomicU64::new(0) }
    }
}

impl LiveInterest {
    /// Someone asks.
    pub(crate) fn note(&self) {
        self.last.store(self.started.elapsed().as_millis() as u64 + 1, Ordering::Relaxed);
    }

    /// Whether someone asked lately.
    pub(crate) fn wanted(&self) -> bool {
        let last = self.last.load(Ordering::Relaxed);
        last > 0 && self.started.elapsed().as_millis() as u64 + 1 - last < INTEREST.as_millis() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interest_starts_with_a_question() {
        let live = LiveInterest::default();
        assert!(!live.wanted());
        live.note();
        assert!(live.wanted());
    }
}
