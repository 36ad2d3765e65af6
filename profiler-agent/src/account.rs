//! What the agent has done since it started, as of the last samples that its sink has: every sample taken is
//! stored or counted as lost.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use crate::{naming::Tally, processes::ProcessCounts, processor::WindowAccount, unwind_tables::TableCounts};

/// Sums since the start.
#[derive(Clone, Debug)]
pub(crate) struct Totals {
    pub(crate) samples_taken: u64,
    pub(crate) samples_stored: u64,
    /// Every reason, those that never occurred included.
    pub(crate) lost: BTreeMap<&'static str, u64>,
    pub(crate) tally: Tally,
    pub(crate) bpf_ns: Option<u64>,
    pub(crate) kernel_walks_handed_over: u64,
    pub(crate) missed_ticks: Option<u64>,
    pub(crate) processes: ProcessCounts,
    pub(crate) tables: TableCounts,
    pub(crate) process_events_lost: u64,
    pub(crate) cache_evictions: u64,
    pub(crate) windows: u64,
    pub(crate) log_failures: u64,
}

/// What became of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The sink has them.
    Kept,
    /// It refused them.
    Lost,
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            samples_taken: 0,
            samples_stored: 0,
            lost: crate::capture::CaptureTotals::default()
                .lost()
                .into_iter()
                .chain([(STORE_FAILED, 0)])
                .collect(),
            tally: Tally::default(),
            bpf_ns: None,
            kernel_walks_handed_over: 0,
            missed_ticks: None,
            processes: ProcessCounts::default(),
            tables: TableCounts::default(),
            process_events_lost: 0,
            cache_evictions: 0,
            windows: 0,
            log_failures: 0,
        }
    }
}

/// Loss of a window that its sink refused.
pub(crate) const STORE_FAILED: &str = "store_failed";

impl Totals {
    /// BPF time per sample, idle ticks' share included.
    pub(crate) fn bpf_ns_per_sample(&self) -> Option<u64> {
        self.bpf_ns.map(|ns| ns / self.samples_taken.max(1))
    }
}

/// The totals, shared with those who show them.
#[derive(Debug)]
pub(crate) struct Account {
    totals: Mutex<Totals>,
    pub(crate) started: Instant,
}

impl Default for Account {
    fn default() -> Self {
        Self { totals: Mutex::new(Totals::default()), started: Instant::now() }
    }
}

impl Account {
    /// A copy of the totals.
    pub(crate) fn totals(&self) -> Totals {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds a part of a window, its last one if it `closes`.
    pub(crate) fn add(
        &self,
        window: &WindowAccount,
        tally: &Tally,
        outcome: Outcome,
        closes: bool,
        cache_evictions: u64,
    ) {
        let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        totals.windows += u64::from(closes);
        totals.samples_taken = window.after.taken;
        totals.lost.extend(window.after.lost());
        match outcome {
            Outcome::Kept => {
                totals.samples_stored += tally.samples;
                totals.tally.add(tally);
            }
            Outcome::Lost => *totals.lost.entry(STORE_FAILED).or_default() += tally.samples,
        }
        totals.bpf_ns = window.after.bpf_ns;
        totals.kernel_walks_handed_over = window.after.kernel_walks_handed_over;
        totals.missed_ticks = window.after.missed_ticks;
        totals.processes = window.processes;
        totals.tables = window.tables;
        totals.process_events_lost = window.after.process_events_lost;
        totals.cache_evictions = cache_evictions;
    }

    /// Counts a part that could not be logged.
    pub(crate) fn log_failed(&self) {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner).log_failures += 1;
    }
}

/// CPU time of this process so far, seconds, user and kernel.
pub(crate) fn cpu_seconds() -> f64 {
    use rustix::time::{ClockId, clock_gettime};
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Resident memory of a process, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resident {
    /// All of it.
    pub(crate) all: u64,
    /// Pages of files, of the program itself above all, and buffers shared with the kernel: it takes those of files back
    /// when it needs them.
    pub(crate) shared: u64,
}

impl Resident {
    /// Of this process; zeros if it cannot be read.
    pub(crate) fn now() -> Self {
        std::fs::read_to_string("/proc/self/statm").ok().and_then(|text| Self::of(&text)).unwrap_or_default()
    }

    /// By `/proc/PID/statm`, as proc(5) has it.
    fn of(statm: &str) -> Option<Self> {
        let mut pages = statm.split(' ').skip(1).map(|pages| pages.parse::<u64>().ok());
        let bytes = |pages: u64| pages.saturating_mul(rustix::param::page_size() as u64);
        Some(Self { all: bytes(pages.next()??), shared: bytes(pages.next()??) })
    }

    /// What only this process has: its heap and stacks.
    pub(crate) fn own(self) -> u64 {
        self.all.saturating_sub(self.shared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::CaptureTotals;

    #[test]
    fn taken_is_stored_plus_lost_whether_the_sink_keeps_or_refuses() {
        let account = Account::default();
        let tally = |samples| Tally { samples, user_stacks: samples, complete: samples, ..Tally::default() };
        let after = |taken, lost_ring_full| WindowAccount {
            after: CaptureTotals { taken, lost_ring_full, ..CaptureTotals::default() },
            ..WindowAccount::default()
        };
        account.add(&after(13, 3), &tally(10), Outcome::Kept, false, 0);
        account.add(&after(20, 5), &tally(5), Outcome::Lost, true, 0);
        let totals = account.totals();
        let lost: u64 = totals.lost.values().sum();
        assert_eq!((totals.samples_taken, totals.samples_stored, lost), (20, 10, 10));
        assert_eq!(totals.lost[STORE_FAILED], 5);
        assert_eq!((totals.tally.complete, totals.windows), (10, 1));
    }

    #[test]
    fn our_own_cost_can_be_read() {
        let resident = Resident::now();
        assert!(resident.own() > 1 << 16 && resident.shared > 1 << 20, "{resident:?}");
        assert!(resident.own() + resident.shared == resident.all);
        assert_eq!(Resident::of("9 x 1"), None);
        assert!(cpu_seconds() > 0.0);
    }
}
