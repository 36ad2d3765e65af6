//! Samples to the ring buffer.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::generated::{bpf_ringbuf_output, bpf_ringbuf_query},
};
use profiler_abi::{Counter, HEADER_BYTES, Sample};

use crate::{globals, maps::SAMPLES, user_stack::slot};

/// `BPF_RB_AVAIL_DATA` of `linux/bpf.h`.
const AVAILABLE_DATA: u64 = 0;

/// Bytes in the ring that the agent has not taken yet.
#[inline(always)]
pub(crate) fn waiting_bytes() -> u64 {
    // SAFETY: the map is ours; the query takes no memory.
    unsafe { bpf_ringbuf_query(&raw const SAMPLES as *mut c_void, AVAILABLE_DATA) }
}

/// Sends the header and the used frames. A wake-up costs more than the sample, so the agent polls; it is woken
/// when the ring fills faster than it looks, or if `wakes`.
#[inline(always)]
pub(crate) fn send(sample: &mut Sample, wakes: bool) -> Counter {
    let ring = &raw const SAMPLES as *mut c_void;
    let waiting = waiting_bytes();
    let frames = slot(sample.header.kernel_frames.max(0) as u64 + sample.header.user_frames as u64);
    let flags =
        if wakes || waiting >= globals::wake_bytes() { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP };
    let bytes = HEADER_BYTES as u64 + 8 * frames;
    // SAFETY: `slot` bounds the length by the sample's size.
    let result =
        unsafe { bpf_ringbuf_output(ring, sample as *mut Sample as *mut c_void, bytes, flags as u64) };
    if result == 0 { Counter::Emitted } else { Counter::LostRingFull }
}
