//! A copy of the user stack, for the agent to walk: where the process's unwind tables are not there yet.
//!
//! It goes out as a record of its own behind the sample's. At most one each [`globals::copy_interval_ns`] on a CPU.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::BPF_RB_NO_WAKEUP,
    helpers::generated::{bpf_probe_read_user, bpf_ringbuf_output},
    macros::map,
    maps::PerCpuArray,
};
use profiler_abi::{Counter, RecordKind, STACK_BYTES_MAX, STACK_HEADER_BYTES, SampleHeader, StackHeader};

use crate::{
    globals,
    maps::{SAMPLES, count},
};

const PAGE: u64 = 4096;

/// A copy at work. A page more than is sent, so that a whole page fits at any place.
#[repr(C)]
struct Copy {
    header: StackHeader,
    bytes: [u8; STACK_BYTES_MAX + PAGE as usize],
    /// When the last one was made on this CPU.
    last_ns: u64,
}

#[map]
static COPY: PerCpuArray<Copy> = PerCpuArray::with_max_entries(1, 0);

/// Copies the stack of a sample and sends it.
#[inline(always)]
pub(crate) fn send(header: &SampleHeader) {
    let Some(copy) = COPY.get_ptr_mut(0) else { return };
    // SAFETY: an element of a per-CPU array; the program runs once at a time on a CPU.
    let copy = unsafe { &mut *copy };
    if header.time_ns.wrapping_sub(copy.last_ns) < globals::copy_interval_ns() {
        return;
    }
    copy.last_ns = header.time_ns;
    let bytes = fill(copy, header.sp);
    if bytes == 0 {
        return;
    }
    copy.header = StackHeader {
        kind: RecordKind::Stack as u64,
        time_ns: header.time_ns,
        sp: header.sp,
        cpu: header.cpu,
        bytes: bytes as u32,
    };
    let length = STACK_HEADER_BYTES as u64 + bytes;
    // SAFETY: `fill` bounds the length by the array's.
    let result = unsafe {
        bpf_ringbuf_output(
            &raw const SAMPLES as *mut c_void,
            copy as *mut Copy as *mut c_void,
            length,
            BPF_RB_NO_WAKEUP as u64,
        )
    };
    if result != 0 {
        count(Counter::StackRingFull);
    }
}

/// Page by page, since the stack ends somewhere and a read over its end would give nothing; the bytes copied.
#[inline(always)]
fn fill(copy: &mut Copy, sp: u64) -> u64 {
    let mut length = PAGE - (sp & (PAGE - 1));
    let mut copied = 0;
    for _ in 0..4 {
        let at = bounded(copied);
        // SAFETY: at most a page behind at most STACK_BYTES_MAX; the helper fails instead of faulting.
        let result = unsafe {
            bpf_probe_read_user(
                (&raw mut copy.bytes as *mut u8).add(at as usize) as *mut c_void,
                length as u32,
                sp.wrapping_add(copied) as *const c_void,
            )
        };
        if result != 0 {
            break;
        }
        copied += length;
        length = PAGE;
    }
    bounded(copied)
}

/// The same number, with a bound that the verifier sees.
#[inline(always)]
fn bounded(mut at: u64) -> u64 {
    const { assert!(STACK_BYTES_MAX == 16384) };
    // SAFETY: a register-only instruction.
    unsafe { core::arch::asm!("{0} &= 16383", inout(reg) at, options(pure, nomem, nostack)) };
    at
}
