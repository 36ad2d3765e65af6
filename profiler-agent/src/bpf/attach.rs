//! One perf event on each online CPU, kept in step with CPUs that come and go.

use std::collections::BTreeMap;

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
    links: BTreeMap<u32, PerfEventLinkId>,
}

impl Attachments {
    pub(super) fn new(frequency_hz: u64) -> Self {
        Self { frequency_hz, event: None, links: BTreeMap::new() }
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
        for cpu in online {
            if !self.links.contains_key(&cpu) {
                let link = self.open(program, cpu)?;
                self.links.insert(cpu, link);
            }
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
        if let Some(link) = self.links.remove(&cpu)
            && let Err(error) = program.detach(link)
        {
            tracing::warn!(cpu, %error, "a perf event does not close");
        }
    }

    pub(super) fn detach_all(&mut self, program: &mut PerfEvent) {
        let cpus: Vec<u32> = self.links.keys().copied().collect();
        for cpu in cpus {
            self.detach(program, cpu);
        }
    }
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
