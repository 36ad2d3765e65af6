//! The ring, the counters and the filter, each with the reason for its size.

use aya_ebpf::{
    macros::map,
    maps::{HashMap, PerCpuArray, RingBuf},
};
use profiler_abi::{COUNTERS, Counter};

/// Samples on their way to the agent. The loader sets the size by the number of CPUs and the frequency.
#[map]
pub(crate) static SAMPLES: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// What became of each run, by [`Counter`].
#[map]
static COUNTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(COUNTERS, 0);

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
