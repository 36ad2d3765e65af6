//! One perf event on each online CPU, kept in step with CPUs that come and go.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use aya::programs::{
    PerfEvent, ProgramError,
    perf_event::{
        HardwareEvent, PerfEventConfig, PerfEventLinkId, PerfEventScope, SamplePolicy, SoftwareEvent,
    },
};

use super::BpfError;

/// What ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CpuEvent {
    /// Hardware cycles: a non-maskable interrupt, sees code that runs with interrupts off.
    Cycles,
    /// The kernel's per-CPU timer: works everywhere.
    CpuClock,
}

impl CpuEvent {
    /// perf's name of the event.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cycles => "cycles",
            Self::CpuClock => "cpu-clock",
        }
    }

    fn config(self) -> PerfEventConfig {
        match self {
            Self::Cycles => PerfEventConfig::Hardware(HardwareEvent::CpuCycles),
            Self::CpuClock => PerfEventConfig::Software(SoftwareEvent::CpuClock),
        }
    }
}

/// The events that are open, by CPU.
pub(super) struct Attachments {
    frequency_hz: u64,
    event: Option<CpuEvent>,
    links: BTreeMap<u32, Open>,
    /// Ticks that those must have had that are closed.
    closed: u64,
}

/// An event, and when its CPU was first and last known to be online with it.
struct Open {
    link: PerfEventLinkId,
    since: Instant,
    until: Instant,
}

impl Open {
    /// The ticks that there must have been until then, at least: the first one comes after a whole period, and the last
    /// one may be under way.
    fn ticks(&self, until: Instant, frequency_hz: u64) -> u64 {
        ticks(until.duration_since(self.since), frequency_hz).saturating_sub(1)
    }
}

impl Attachments {
    pub(super) fn new(frequency_hz: u64) -> Self {
        Self { frequency_hz, event: None, links: BTreeMap::new(), closed: 0 }
    }

    /// Opens events on CPUs that came online, closes those of CPUs that went away: an event does not survive
    /// its CPU's absence.
    pub(super) fn follow_online_cpus(
        &mut self,
        program: &mut PerfEvent,
    ) -> Result<(CpuEvent, usize), BpfError> {
        let online = super::online_cpus()?;
        let gone: Vec<u32> = self.links.keys().copied().filter(|cpu| !online.contains(cpu)).collect();
        for cpu in gone {
            self.detach(program, cpu);
        }
        let now = Instant::now();
        for cpu in online {
            if let Some(open) = self.links.get_mut(&cpu) {
                open.until = now;
                continue;
            }
            let link = self.open(program, cpu)?;
            let since = Instant::now();
            self.links.insert(cpu, Open { link, since, until: since });
        }
        Ok((self.event.unwrap_or(CpuEvent::CpuClock), self.links.len()))
    }

    /// The first CPU decides on the event for all, so that every sample stands for the same time.
    fn open(&mut self, program: &mut PerfEvent, cpu: u32) -> Result<PerfEventLinkId, BpfError> {
        let candidates: &[CpuEvent] = match &self.event {
            Some(event) => std::slice::from_ref(event),
            None => &[CpuEvent::Cycles, CpuEvent::CpuClock],
        };
        let mut refused = None;
        for event in candidates {
            match attach(program, *event, cpu, self.frequency_hz) {
                Ok(link) => {
                    self.event = Some(*event);
                    return Ok(link);
                }
                Err(error) => refused = Some(error),
            }
        }
        let source = Box::new(refused.unwrap_or(ProgramError::NotLoaded));
        Err(BpfError::PerfEvent { cpu, source })
    }

    fn detach(&mut self, program: &mut PerfEvent, cpu: u32) {
        let Some(open) = self.links.remove(&cpu) else { return };
        self.closed += open.ticks(open.until, self.frequency_hz);
        if let Err(error) = program.detach(open.link) {
            tracing::warn!(cpu, %error, "a perf event does not close");
        }
    }

    /// The ticks that there must have been so far, on all CPUs together. None of an event that does not tick while its CPU
    /// is idle.
    pub(super) fn due_ticks(&self) -> Option<u64> {
        if self.event != Some(CpuEvent::CpuClock) {
            return None;
        }
        let now = Instant::now();
        let open: u64 = self.links.values().map(|open| open.ticks(now, self.frequency_hz)).sum();
        Some(open + self.closed)
    }

    pub(super) fn detach_all(&mut self, program: &mut PerfEvent) {
        let now = Instant::now();
        let cpus: Vec<u32> = self.links.keys().copied().collect();
        for cpu in cpus {
            self.links.entry(cpu).and_modify(|open| open.until = now);
            self.detach(program, cpu);
        }
    }
}

/// Periods in a time. The kernel's timer has whole nanoseconds for a period.
fn ticks(time: Duration, frequency_hz: u64) -> u64 {
    let period_ns = u128::from((1_000_000_000 / frequency_hz.max(1)).max(1));
    u64::try_from(time.as_nanos() / period_ns).unwrap_or(u64::MAX)
}

fn attach(
    program: &mut PerfEvent,
    event: CpuEvent,
    cpu: u32,
    frequency_hz: u64,
) -> Result<PerfEventLinkId, ProgramError> {
    let scope = PerfEventScope::AllProcessesOneCpu { cpu };
    program.attach(event.config(), scope, SamplePolicy::Frequency(frequency_hz), false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_whole_periods() {
        assert_eq!(ticks(Duration::from_secs(10), 99), 990);
        assert_eq!(ticks(Duration::from_millis(10), 99), 0);
        // A period of 997 Hz is cut off to whole nanoseconds.
        assert_eq!(ticks(Duration::from_secs(1_000_000), 997), 997_000_026);
        assert_eq!(ticks(Duration::from_secs(1), 0), 1);
    }
}
