//! All maps, each with the reason for its size.

use aya_ebpf::{
    macros::map,
    maps::{HashMap, PerCpuArray, RingBuf},
};
use profiler_abi::{COUNTERS, Counter, Sample};

use crate::user_stack::Turns;

/// Samples on their way to the agent. The loader sets the size by the number of CPUs and the frequency.
#[map]
pub(crate) static SAMPLES: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// What became of each run, by [`Counter`].
#[map]
static COUNTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(COUNTERS, 0);

/// What one run works in: far larger than a BPF stack. The walk's state lies here and not on the stack because the
/// verifier knows nothing of a map's values, so that every turn of the loop looks the same to it.
#[repr(C)]
pub(crate) struct Scratch {
    pub(crate) sample: Sample,
    pub(crate) turns: Turns,
}

/// Perf events of one CPU do not nest, so one per CPU is enough.
#[map]
static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// Process ids that are watched when `WATCHED_ONLY` is set: room for a parallel build of many processes.
#[map]
pub(crate) static WATCHED: HashMap<u32, u8> = HashMap::with_max_entries(16384, 0);

/// Adds one to this CPU's count.
#[inline(always)]
pub(crate) fn count(what: Counter) {
    if let Some(value) = COUNTS.get_ptr_mut(what as u32) {
        // SAFETY: an element of a per-CPU array, which only this CPU touches.
        unsafe { *value += 1 };
    }
}

/// This CPU's scratch memory.
#[inline(always)]
pub(crate) fn scratch() -> Option<&'static mut Scratch> {
    // SAFETY: as above; the program runs once at a time on a CPU, so the borrow is the only one.
    SCRATCH.get_ptr_mut(0).map(|scratch| unsafe { &mut *scratch })
}
