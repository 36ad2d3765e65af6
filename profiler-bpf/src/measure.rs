//! What the parts of a run take, if the loader asked for it. If not, the verifier removes all of this.

use aya_ebpf::{helpers::generated::bpf_ktime_get_ns, macros::map, maps::PerCpuArray};
use profiler_abi::{PARTS, Part, PartCost};

use crate::globals;

/// By [`Part`].
#[map]
static PART_COSTS: PerCpuArray<PartCost> = PerCpuArray::with_max_entries(PARTS, 0);

/// A clock that is read between the parts.
pub(crate) struct Laps {
    since_ns: u64,
}

impl Laps {
    /// Starts it.
    #[inline(always)]
    pub(crate) fn start() -> Self {
        Self { since_ns: if globals::measured() != 0 { now_ns() } else { 0 } }
    }

    /// Ends a part, in which `frames` were found, and begins the next.
    #[inline(always)]
    pub(crate) fn end(&mut self, part: Part, frames: u64) {
        if globals::measured() == 0 {
            return;
        }
        let now = now_ns();
        if let Some(cost) = PART_COSTS.get_ptr_mut(part as u32) {
            // SAFETY: an element of a per-CPU array, which only this CPU touches.
            let cost = unsafe { &mut *cost };
            cost.ns += now.wrapping_sub(self.since_ns);
            cost.runs += 1;
            cost.frames += frames;
        }
        self.since_ns = now;
    }
}

#[inline(always)]
fn now_ns() -> u64 {
    // SAFETY: takes nothing and returns a number.
    unsafe { bpf_ktime_get_ns() }
}
