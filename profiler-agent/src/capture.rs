//! The capture thread: takes samples and process events out of the kernel and passes them on, whatever else the
//! agent is doing. It touches no file and waits for no one.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{SyncSender, TrySendError},
    },
    thread,
    time::{Duration, Instant},
};

use profiler_abi::Counter;
use rustix::event::{PollFd, PollFlags, poll};

use crate::{
    bpf::{BpfError, Counts, CpuEvent, KernelProgram, OpenStacks, RawRecord, RawSample, online_cpus},
    processes::{ProcessEvent, Sideband},
    processor::ToProcess,
};

/// How often the ring is looked at. A tenth of a second keeps short-lived processes' files within reach, and costs
/// ten system calls a second.
const POLL: Duration = Duration::from_millis(100);
/// How soon it is looked at again when the kernel side wakes us, which it does for what has no unwind tables yet.
const SOONEST: Duration = Duration::from_millis(10);
/// How often CPUs that came or went are looked for.
const CPU_CHECK: Duration = Duration::from_secs(2);
/// Batches under way to the processor: six seconds of looks.
pub(crate) const BATCHES_MAX: usize = 64;
/// Samples held back while the processor is busy, about a kilobyte each; beyond it they are dropped and counted.
const PENDING_SAMPLES_MAX: usize = 16_384;

/// Process events held back, some hundred bytes each.
const PENDING_EVENTS_MAX: usize = 65_536;

/// Why samples were lost on the way to the processor, and how many, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CaptureTotals {
    /// Samples that came out of the ring, or were counted as lost by the kernel side.
    pub(crate) taken: u64,
    /// The ring was full.
    pub(crate) lost_ring_full: u64,
    /// The kernel side had no memory to work in.
    pub(crate) lost_no_scratch: u64,
    /// The agent fell behind.
    pub(crate) lost_queue_full: u64,
    /// Records that were no samples.
    pub(crate) lost_malformed: u64,
    /// In the ring but never seen, found out at the end.
    pub(crate) lost_unread: u64,
    /// Process events lost; their processes are read from /proc.
    pub(crate) process_events_lost: u64,
    /// Kernel stacks that the kernel's own walk was asked for.
    pub(crate) kernel_walks_handed_over: u64,
    /// Ticks of the clock on which the kernel program did not run; none where an idle CPU has no ticks.
    pub(crate) missed_ticks: Option<u64>,
    /// Time in the kernel program, nanoseconds, if the kernel counts it.
    pub(crate) bpf_ns: Option<u64>,
}

impl CaptureTotals {
    /// Losses by reason, zeros included, so that keys are always there.
    pub(crate) fn lost(&self) -> BTreeMap<&'static str, u64> {
        BTreeMap::from([
            ("ring_full", self.lost_ring_full),
            ("no_scratch", self.lost_no_scratch),
            ("queue_full", self.lost_queue_full),
            ("malformed", self.lost_malformed),
            ("unread", self.lost_unread),
        ])
    }
}

/// What the capture thread hands over.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) events: Vec<ProcessEvent>,
    /// Some that came before the last samples are not in it.
    pub(crate) events_late: bool,
    pub(crate) samples: Vec<RawSample>,
    /// As of this batch: all samples up to `totals.taken` are in it, in earlier ones, or lost.
    pub(crate) totals: CaptureTotals,
    /// No batch follows.
    pub(crate) last: bool,
}

/// What a started capture samples with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CaptureInfo {
    pub(crate) event: CpuEvent,
    pub(crate) cpus: usize,
}

/// A capture ready to run.
pub(crate) struct Capture {
    program: KernelProgram,
    sideband: Option<Sideband>,
    totals: CaptureTotals,
    drained: u64,
    stacks: OpenStacks,
    pending: Batch,
    looked: Instant,
    /// When the next look is worth it.
    pause: Duration,
    cpus_checked: Instant,
    started: Instant,
    progress: Arc<Progress>,
}

/// What has been seen so far, for whoever shows progress.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Samples taken.
    pub(crate) taken: AtomicU64,
    /// Samples lost before they reached a window.
    pub(crate) lost: AtomicU64,
    /// For how long samples were taken, nanoseconds; 0 until sampling has stopped.
    pub(crate) sampled_ns: AtomicU64,
}

impl Capture {
    /// Starts to follow processes and to sample.
    pub(crate) fn start(
        mut program: KernelProgram,
        progress: Arc<Progress>,
    ) -> Result<(Self, CaptureInfo), BpfError> {
        let mut sideband = Some(Sideband::default());
        follow_cpus(&mut sideband);
        let started = Instant::now();
        let (event, cpus) = program.attach()?;
        let capture = Self {
            program,
            sideband,
            totals: CaptureTotals::default(),
            drained: 0,
            stacks: OpenStacks::default(),
            pending: Batch::default(),
            looked: Instant::now(),
            pause: SOONEST,
            cpus_checked: Instant::now(),
            started,
            progress,
        };
        Ok((capture, CaptureInfo { event, cpus }))
    }

    /// Runs until `stop`, then takes what is left in the ring and says so in a last batch.
    pub(crate) fn spawn(
        mut self,
        batches: SyncSender<ToProcess>,
        stop: Arc<AtomicBool>,
    ) -> std::io::Result<thread::JoinHandle<()>> {
        thread::Builder::new().name("vesta-capture".into()).spawn(move || {
            while !stop.load(Ordering::Acquire) {
                self.wait();
                self.collect();
                self.follow_cpus();
                if self.hand_over(&batches).is_err() {
                    return;
                }
            }
            if let Err(error) = self.program.detach() {
                tracing::warn!(%error, "sampling does not stop");
            }
            self.progress.sampled_ns.store(self.started.elapsed().as_nanos() as u64, Ordering::Relaxed);
            self.collect();
            self.reconcile();
            let mut last = std::mem::take(&mut self.pending);
            last.last = true;
            // The processor is waiting for this one, so waiting for it is right.
            let _ = batches.send(ToProcess::Batch(last));
        })
    }

    /// Waits for the next look, or until the kernel side wakes us.
    fn wait(&mut self) {
        let mut fds = [PollFd::from_borrowed_fd(self.program.ring_fd(), PollFlags::IN)];
        let timeout = rustix::time::Timespec { tv_sec: 0, tv_nsec: POLL.subsec_nanos().into() };
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) => self.pause = SOONEST,
            Ok(_) => thread::sleep(self.pause.saturating_sub(self.looked.elapsed())),
            // Interrupted, or out of kernel memory: look again a little later rather than at once.
            Err(_) => thread::sleep(SOONEST),
        }
        self.looked = Instant::now();
    }

    fn collect(&mut self) {
        let (totals, pending, stacks) = (&mut self.totals, &mut self.pending, &mut self.stacks);
        let mut drained = 0;
        let mut is_news = false;
        self.program.drain(|record| {
            match record {
                Ok(RawRecord::Stack(stack)) => {
                    stacks.add(stack);
                    return;
                }
                Ok(RawRecord::Sample(_)) if pending.samples.len() >= PENDING_SAMPLES_MAX => {
                    totals.lost_queue_full += 1;
                }
                Ok(RawRecord::Sample(mut sample)) => {
                    sample.stack = stacks.take(&sample);
                    is_news |= !sample.had_tables;
                    pending.samples.push(sample);
                }
                Err(error) => {
                    tracing::error!(%error, "a record is dropped");
                    totals.lost_malformed += 1;
                }
            }
            drained += 1;
        });
        self.drained += drained;
        self.pause_after(is_news);
        // After the samples, so that every event that came before one of them is here. With a full batch they stay in
        // perf's own rings, which count what they lose.
        if let Some(sideband) = &mut self.sideband {
            self.pending.events_late = self.pending.events.len() >= PENDING_EVENTS_MAX;
            if !self.pending.events_late {
                sideband.drain(&mut self.pending.events);
                self.totals.process_events_lost = sideband.lost();
            }
        }
        // Before the counters, so that a tick in between is none too many.
        let due_ticks = self.program.due_ticks();
        match self.program.counts() {
            Ok(counts) => {
                self.account(&counts);
                self.miss_ticks(due_ticks, &counts);
            }
            Err(error) => tracing::error!(%error, "the kernel side's counters cannot be read"),
        }
        self.totals.bpf_ns = self.program.run_time().map(|time| time.as_nanos() as u64);
        self.pending.totals = self.totals;
        self.progress.taken.store(self.totals.taken, Ordering::Relaxed);
        self.progress.lost.store(self.totals.lost().values().sum(), Ordering::Relaxed);
    }

    /// Code that no table will ever be had for keeps on waking us: each look in vain doubles the pause.
    fn pause_after(&mut self, is_news: bool) {
        self.pause = if is_news { SOONEST } else { (self.pause * 2).min(POLL) };
    }

    fn account(&mut self, counts: &Counts) {
        self.totals.lost_ring_full = counts.get(Counter::LostRingFull);
        self.totals.lost_no_scratch = counts.get(Counter::LostNoScratch);
        self.totals.kernel_walks_handed_over = counts.get(Counter::KernelWalkHandedOver);
        self.totals.taken =
            self.drained + self.totals.lost_ring_full + self.totals.lost_no_scratch + self.totals.lost_unread;
    }

    /// What is late counts as missed as long as it has not come, so the count may be too high by a tick of each CPU; it
    /// never falls.
    fn miss_ticks(&mut self, due: Option<u64>, counts: &Counts) {
        let missed = due.map(|due| due.saturating_sub(counts.runs()));
        self.totals.missed_ticks = missed.max(self.totals.missed_ticks);
    }

    /// At the end the ring is empty: what the kernel side sent and what came out must be the same. What is not would be
    /// a fault of ours, and is told as a loss.
    fn reconcile(&mut self) {
        let Ok(counts) = self.program.counts() else { return };
        self.totals.lost_unread = counts.get(Counter::Emitted).saturating_sub(self.drained);
        self.account(&counts);
        self.pending.totals = self.totals;
    }

    fn follow_cpus(&mut self) {
        if self.cpus_checked.elapsed() < CPU_CHECK {
            return;
        }
        self.cpus_checked = Instant::now();
        follow_cpus(&mut self.sideband);
        if let Err(error) = self.program.attach() {
            tracing::warn!(%error, "not every online CPU is sampled");
        }
    }

    /// Passes the batch on; a busy processor gets it with the next one. `Err`: there is no processor any more.
    fn hand_over(&mut self, batches: &SyncSender<ToProcess>) -> Result<(), ()> {
        match batches.try_send(ToProcess::Batch(std::mem::take(&mut self.pending))) {
            Err(TrySendError::Full(ToProcess::Batch(batch))) => {
                self.pending = batch;
                Ok(())
            }
            Err(TrySendError::Disconnected(_)) => Err(()),
            _ => Ok(()),
        }
    }
}

/// Without process events the agent goes on with what /proc says, and says so once.
fn follow_cpus(sideband: &mut Option<Sideband>) {
    let Ok(cpus) = online_cpus() else { return };
    if let Some(open) = sideband
        && let Err(error) = open.follow_cpus(&cpus)
    {
        tracing::warn!(%error, "short-lived processes may stay without names");
        *sideband = None;
    }
}
