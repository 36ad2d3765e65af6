//! The processor thread: owns the process table and the open window. Samples come in, closed windows go out.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TrySendError},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::{
    capture::{Batch, CaptureTotals},
    jit::JitFollower,
    kubernetes::Pods,
    live::LiveInterest,
    processes::{LabelOptions, ProcessCounts, ProcessTable, vdso_image},
    unwind_tables::{Built, TableCounts, UnwindTables},
    window::{ClockOffset, Unfinished, Window},
};

/// Parts of windows under way to naming. One is being named, one waits; while both are taken the next one grows.
pub(crate) const PARTS_MAX: usize = 2;
/// Samples in one window beyond which it is closed, and the processor waits for naming, and samples are dropped
/// (counted) before it: minutes of a large machine.
const WINDOW_SAMPLES_MAX: u64 = 1_000_000;
/// How often someone who watches sees what is new.
const LIVE_INTERVAL: Duration = Duration::from_secs(1);
/// How often ended processes are forgotten.
const FORGET_INTERVAL: Duration = Duration::from_secs(2);

/// What was counted while a part of a window was sampled.
#[derive(Clone, Debug, Default)]
pub(crate) struct WindowAccount {
    /// Start of the window, Unix milliseconds.
    pub(crate) start_ms: i64,
    /// End of the part.
    pub(crate) end_ms: i64,
    /// Totals since the start of the agent, at the start and at the end of the part.
    pub(crate) before: CaptureTotals,
    pub(crate) after: CaptureTotals,
    pub(crate) processes: ProcessCounts,
    pub(crate) tables: TableCounts,
}

/// What goes to naming.
#[expect(clippy::large_enum_variant, reason = "one a second, and most are the large one")]
pub(crate) enum ToName {
    /// What came to the open window since its last part; its last one closes it.
    Part { part: Window, account: WindowAccount, closes: bool },
    /// Samples of the open window whose stacks are to be walked; they are counted with its next part.
    Stacks(Vec<Unfinished>),
}

/// What comes to the processor.
pub(crate) enum ToProcess {
    /// Of the capture thread.
    Batch(Batch),
    /// Of the builder of unwind tables.
    Built(Built),
}

/// Settings of the processor.
#[derive(Clone, Debug)]
pub(crate) struct ProcessorOptions {
    /// Length of a window, and of a row's time bucket.
    pub(crate) window: Duration,
    /// How often what was sampled goes to naming before its window closes, if at all.
    pub(crate) part: Option<Duration>,
    pub(crate) labels: LabelOptions,
    /// Who is told early of pods whose names are wanted, if anyone.
    pub(crate) pods: Option<Pods>,
}

struct Processor {
    options: ProcessorOptions,
    table: ProcessTable,
    tables: UnwindTables,
    /// What came to the open window since its last part.
    part: Window,
    /// Samples of the window's parts before.
    samples: u64,
    account: WindowAccount,
    out: SyncSender<ToName>,
    live: Arc<LiveInterest>,
    sent: Instant,
    forgot: Instant,
}

/// Starts the processor; it ends with the last batch.
pub(crate) fn spawn(
    options: ProcessorOptions,
    tables: UnwindTables,
    work: Receiver<ToProcess>,
    out: SyncSender<ToName>,
    live: Arc<LiveInterest>,
) -> std::io::Result<thread::JoinHandle<()>> {
    let jit = JitFollower::start()?;
    thread::Builder::new().name("vesta-process".into()).spawn(move || {
        let mut processor = Processor {
            table: ProcessTable::new(vdso_image(), Some(jit))
                .with_labels(options.labels.clone(), options.pods.clone()),
            options,
            tables,
            part: Window::default(),
            samples: 0,
            account: WindowAccount::default(),
            out,
            live,
            sent: Instant::now(),
            forgot: Instant::now(),
        };
        processor.open(CaptureTotals::default());
        while let Ok(work) = work.recv() {
            match work {
                ToProcess::Built(built) => processor.take_in(built),
                ToProcess::Batch(batch) => {
                    let is_last = batch.last;
                    if processor.take(batch).is_err() || is_last {
                        return;
                    }
                }
            }
        }
    })
}

/// There is no one to hand windows to any more.
struct Gone;

impl Processor {
    fn bucket_ms(&self) -> i64 {
        self.options.window.as_millis() as i64
    }

    fn open(&mut self, before: CaptureTotals) {
        let now = unix_ms();
        let start_ms = now - now.rem_euclid(self.bucket_ms());
        self.part = Window::default();
        self.samples = 0;
        self.account = WindowAccount {
            start_ms,
            end_ms: start_ms,
            before,
            after: before,
            processes: self.table.counts(),
            tables: self.tables.counts(),
        };
    }

    fn is_over(&self, now_ms: i64) -> bool {
        let (start_ms, length_ms) = (self.account.start_ms, self.bucket_ms());
        is_over(start_ms, length_ms, now_ms) || self.samples + self.part.samples >= WINDOW_SAMPLES_MAX
    }

    fn part_is_due(&self) -> bool {
        let watched = self.live.wanted().then_some(LIVE_INTERVAL);
        let interval = self.options.part.map(|part| watched.map_or(part, |watched| watched.min(part)));
        interval.is_some_and(|interval| self.sent.elapsed() >= interval)
    }

    fn take(&mut self, mut batch: Batch) -> Result<(), Gone> {
        let (clock, bucket_ms, now) = (ClockOffset::now(), self.bucket_ms(), Instant::now());
        batch.samples.sort_by_key(|sample| sample.time_ns);
        if batch.events_late || batch.totals.process_events_lost > self.account.after.process_events_lost {
            self.table.events_lost();
        }
        let mut events = batch.events.into_iter().peekable();
        for sample in &batch.samples {
            // What happened before the sample, and nothing after it: the addresses are those of its moment.
            while let Some(event) = events.next_if(|event| event.time_ns <= sample.time_ns) {
                self.table.apply(event);
            }
            self.part.add(sample, &mut self.table, clock, bucket_ms, &mut |binary| {
                self.tables.note_file(binary, now);
            });
            self.tables.note(sample, &self.table);
        }
        for event in events {
            self.table.apply(event);
        }
        self.tables.update(&mut self.table);
        self.account.after = batch.totals;
        self.account.tables = self.tables.counts();
        self.account.processes = self.table.counts();
        self.hand_over_stacks();
        let closes = batch.last || self.is_over(unix_ms());
        if closes || self.part_is_due() {
            self.hand_over(closes, batch.last)?;
        }
        if self.forgot.elapsed() >= FORGET_INTERVAL {
            self.forgot = Instant::now();
            self.table.forget_ended();
            self.tables.forget(&self.table);
        }
        Ok(())
    }

    /// At once: each sample until then is a copy of a stack.
    fn take_in(&mut self, built: Built) {
        self.tables.built(built);
        self.tables.update(&mut self.table);
    }

    /// Copied stacks are large: naming walks them as they come. If it is busy, they wait.
    fn hand_over_stacks(&mut self) {
        let Some(stacks) = self.part.take_unfinished() else { return };
        if let Err(
            TrySendError::Full(ToName::Stacks(stacks)) | TrySendError::Disconnected(ToName::Stacks(stacks)),
        ) = self.out.try_send(ToName::Stacks(stacks))
        {
            self.part.put_back(stacks);
        }
    }

    /// Hands over what came since the last part; while naming is busy it grows.
    fn hand_over(&mut self, closes: bool, last: bool) -> Result<(), Gone> {
        let part = std::mem::take(&mut self.part);
        let samples = part.samples;
        let must = last || samples >= WINDOW_SAMPLES_MAX;
        let account = WindowAccount { end_ms: unix_ms(), ..self.account.clone() };
        let message = ToName::Part { part, account, closes };
        if must {
            self.out.send(message).map_err(|_| Gone)?;
        } else {
            match self.out.try_send(message) {
                Ok(()) => {}
                Err(TrySendError::Full(ToName::Part { part, .. })) => {
                    self.part = part;
                    return Ok(());
                }
                Err(_) => return Err(Gone),
            }
        }
        self.sent = Instant::now();
        let after = self.account.after;
        if closes {
            self.open(after);
        } else {
            self.samples += samples;
            self.account.before = after;
        }
        Ok(())
    }
}

/// Whether a window has ended. It has when the clock was set back, too: its end would be far away.
fn is_over(start_ms: i64, length_ms: i64, now_ms: i64) -> bool {
    !(start_ms..start_ms + length_ms).contains(&now_ms)
}

/// Now, Unix milliseconds.
pub(crate) fn unix_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_ends_in_time_even_if_the_clock_is_set_back() {
        let ended = [999, 1000, 10_999, 11_000, 0, i64::MAX].map(|now| is_over(1000, 10_000, now));
        assert_eq!(ended, [true, false, false, true, true, true]);
    }
}
