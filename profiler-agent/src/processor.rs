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
    live::LiveInterest,
    processes::{ProcessCounts, ProcessTable, vdso_image},
    unwind_tables::{Built, TableCounts, UnwindTables},
    window::{ClockOffset, Unfinished, Window},
};

/// Windows under way to naming. One is being named, one waits; while both are taken the open window stays open.
pub(crate) const WINDOWS_MAX: usize = 2;
/// Samples in one window beyond which the processor waits for naming, and samples are dropped (counted) before it:
/// minutes of a large machine.
const WINDOW_SAMPLES_MAX: u64 = 1_000_000;
/// How often someone who watches gets the open window.
const LIVE_INTERVAL: Duration = Duration::from_secs(1);
/// How often ended processes are forgotten.
const FORGET_INTERVAL: Duration = Duration::from_secs(10);

/// What a window counted, beside its samples.
#[derive(Clone, Debug, Default)]
pub(crate) struct WindowAccount {
    /// Start of the window, Unix milliseconds.
    pub(crate) start_ms: i64,
    /// When it was closed (or shown, while open).
    pub(crate) end_ms: i64,
    /// Totals since the start of the agent, at the start and at the end of the window.
    pub(crate) before: CaptureTotals,
    pub(crate) after: CaptureTotals,
    pub(crate) processes: ProcessCounts,
    pub(crate) tables: TableCounts,
}

/// What goes to naming.
pub(crate) enum ToName {
    /// A closed window.
    Window { window: Window, account: WindowAccount },
    /// The open window, for those who watch.
    Open { window: Window, account: WindowAccount },
    /// Samples of the open window whose stacks are to be walked; they are counted with it.
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
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProcessorOptions {
    /// Length of a window, and of a row's time bucket.
    pub(crate) window: Duration,
}

struct Processor {
    options: ProcessorOptions,
    table: ProcessTable,
    tables: UnwindTables,
    window: Window,
    account: WindowAccount,
    ends_ms: i64,
    out: SyncSender<ToName>,
    live: Arc<LiveInterest>,
    live_sent: Instant,
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
    thread::Builder::new().name("vesta-process".into()).spawn(move || {
        let mut processor = Processor {
            options,
            table: ProcessTable::new(vdso_image()),
            tables,
            window: Window::default(),
            account: WindowAccount::default(),
            ends_ms: 0,
            out,
            live,
            live_sent: Instant::now(),
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
        self.window = Window::default();
        self.account = WindowAccount {
            start_ms,
            end_ms: start_ms,
            before,
            after: before,
            processes: self.table.counts(),
            tables: self.tables.counts(),
        };
        self.ends_ms = start_ms + self.bucket_ms();
    }

    fn take(&mut self, mut batch: Batch) -> Result<(), Gone> {
        let (clock, bucket_ms, now) = (ClockOffset::now(), self.bucket_ms(), Instant::now());
        batch.samples.sort_by_key(|sample| sample.time_ns);
        let mut events = batch.events.into_iter().peekable();
        for sample in &batch.samples {
            // What happened before the sample, and nothing after it: the addresses are those of its moment.
            while let Some(event) = events.next_if(|event| event.time_ns <= sample.time_ns) {
                self.table.apply(event);
            }
            self.window.add(sample, &mut self.table, clock, bucket_ms, &mut |binary| {
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
        if batch.last || unix_ms() >= self.ends_ms {
            self.close(batch.last)?;
        } else if self.live.wanted() && self.live_sent.elapsed() >= LIVE_INTERVAL {
            self.live_sent = Instant::now();
            // A busy naming thread means that the picture comes a second later.
            let account = WindowAccount { end_ms: unix_ms(), ..self.account.clone() };
            let _ = self.out.try_send(ToName::Open { window: self.window.clone(), account });
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
        let Some(stacks) = self.window.take_unfinished() else { return };
        if let Err(
            TrySendError::Full(ToName::Stacks(stacks)) | TrySendError::Disconnected(ToName::Stacks(stacks)),
        ) = self.out.try_send(ToName::Stacks(stacks))
        {
            self.window.put_back(stacks);
        }
    }

    /// Hands the window over and opens the next; while naming is busy the window stays open and grows.
    fn close(&mut self, last: bool) -> Result<(), Gone> {
        let window = std::mem::take(&mut self.window);
        let must = last || window.samples >= WINDOW_SAMPLES_MAX;
        let account = WindowAccount { end_ms: unix_ms(), ..self.account.clone() };
        let message = ToName::Window { window, account };
        let sent = if must {
            self.out.send(message).map_err(|_| Gone)
        } else {
            match self.out.try_send(message) {
                Ok(()) => Ok(()),
                Err(TrySendError::Full(ToName::Window { window, .. })) => {
                    self.window = window;
                    self.ends_ms = unix_ms() + 1_000;
                    return Ok(());
                }
                Err(_) => Err(Gone),
            }
        };
        let after = self.account.after;
        self.open(after);
        sent
    }
}

/// Now, Unix milliseconds.
pub(crate) fn unix_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as i64)
}
