//! Hands named samples to the sink, and accounts for them when it has them.

use std::sync::Arc;

use store::model::ProfileBuilder;

use crate::{
    account::{self, Account, Outcome},
    bpf::RunTimes,
    naming::{Namer, Tally},
    processor::WindowAccount,
    sink::Sink,
};

/// Parts of the open window that are not on disk.
#[derive(Default)]
struct Waiting {
    tally: Tally,
    /// Of the last one.
    counted: Option<WindowAccount>,
}

/// The last in the line of a sample.
pub(crate) struct Keeper {
    sink: Box<dyn Sink>,
    host: String,
    account: Arc<Account>,
    waiting: Waiting,
    /// The open window's log was refused, and that has been told.
    told: bool,
    cpu_ns: u64,
    /// What the machine's BPF programs cost, if that is kept.
    programs: Option<RunTimes>,
}

impl Keeper {
    /// Keeps what this host sampled in a sink, and with `programs` what its BPF programs cost.
    pub(crate) fn new(
        sink: Box<dyn Sink>,
        host: String,
        account: Arc<Account>,
        programs: Option<RunTimes>,
    ) -> Self {
        Self { sink, host, account, waiting: Waiting::default(), told: false, cpu_ns: 0, programs }
    }

    /// Takes the part that was last added to the open window.
    pub(crate) fn part(&mut self, namer: &mut Namer, counted: WindowAccount, tally: &Tally, closes: bool) {
        let cpu_ns = (account::cpu_seconds() * 1e9) as u64;
        write_account(namer.open(), &self.host, &counted, tally, cpu_ns - self.cpu_ns);
        self.cpu_ns = cpu_ns;
        if closes {
            self.audit(namer.open(), counted.start_ms);
        }
        let (start_ms, end_ms) = (counted.start_ms, counted.end_ms);
        self.waiting.tally.add(tally);
        self.waiting.counted = Some(counted);
        let is_logged = self.log(namer.open(), start_ms, end_ms);
        if closes {
            let kept = self.sink.keep(namer.close(start_ms, end_ms));
            self.told = false;
            let outcome = match kept {
                Ok(()) => Outcome::Kept,
                Err(error) if is_logged => {
                    tracing::error!(%error, "a window cannot be written; it stays in its log for now");
                    Outcome::Kept
                }
                Err(error) => {
                    tracing::error!(%error, samples = self.waiting.tally.samples, "samples are lost");
                    Outcome::Lost
                }
            };
            self.settle(outcome, closes, namer.evictions());
        } else if is_logged {
            self.settle(Outcome::Kept, closes, namer.evictions());
        }
    }

    /// Adds to the open window's counters what BPF programs cost since the last window.
    fn audit(&mut self, window: &mut ProfileBuilder, start_ms: i64) {
        let Some(programs) = &mut self.programs else { return };
        match programs.since_last() {
            Ok(counters) => add_counters(window, &self.host, start_ms, counters),
            Err(error) => {
                tracing::warn!(%error, "what BPF programs cost is not kept");
                self.programs = None;
            }
        }
    }

    /// Whether all of the open window is on disk.
    fn log(&mut self, window: &mut ProfileBuilder, start_ms: i64, end_ms: i64) -> bool {
        match self.sink.log(window, start_ms, end_ms) {
            Ok(is_logged) => is_logged,
            Err(error) => {
                self.account.log_failed();
                if !std::mem::replace(&mut self.told, true) {
                    tracing::error!(%error, "samples cannot be logged; until their window closes they are in memory only");
                }
                false
            }
        }
    }

    fn settle(&mut self, outcome: Outcome, closes: bool, cache_evictions: u64) {
        let Waiting { tally, counted } = std::mem::take(&mut self.waiting);
        let Some(counted) = counted else { return };
        self.account.add(&counted, &tally, outcome, closes, cache_evictions);
    }
}

/// The part's counters, beside its samples in the profile. Those of a window's parts add up.
fn write_account(
    builder: &mut ProfileBuilder,
    host: &str,
    counted: &WindowAccount,
    tally: &Tally,
    agent_cpu_ns: u64,
) {
    let (before, after) = (&counted.before, &counted.after);
    let mut counters = vec![
        ("samples_taken".to_owned(), after.taken - before.taken),
        ("samples_stored".to_owned(), tally.samples),
        ("user_stacks".to_owned(), tally.user_stacks),
        ("agent_cpu_ns".to_owned(), agent_cpu_ns),
    ];
    if let (Some(now), Some(then)) = (after.bpf_ns, before.bpf_ns.or(Some(0))) {
        counters.push(("bpf_ns".to_owned(), now.saturating_sub(then)));
    }
    if let Some(now) = after.missed_ticks {
        let missed = now.saturating_sub(before.missed_ticks.unwrap_or(0));
        counters.push(("missed_ticks".to_owned(), missed));
    }
    let lost_before = before.lost();
    for (reason, lost) in after.lost() {
        counters.push((format!("lost_{reason}"), lost - lost_before.get(reason).unwrap_or(&0)));
    }
    add_counters(builder, host, counted.start_ms, counters);
}

fn add_counters(builder: &mut ProfileBuilder, host: &str, start_ms: i64, counters: Vec<(String, u64)>) {
    let host = builder.string(host);
    for (counter, value) in counters {
        let counter = builder.string(&counter);
        builder.account(start_ms, host, counter, value);
    }
}
