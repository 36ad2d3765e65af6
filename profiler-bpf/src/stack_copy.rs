//! A copy of the user stack, for the agent to walk: where the process's unwind tables are not there yet.
//!
//! It goes out as records of its own behind the sample's. So many bytes a second on a CPU, and while half of the ring is free.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::BPF_RB_NO_WAKEUP,
    helpers::generated::{bpf_loop, bpf_probe_read_user, bpf_ringbuf_output},
    macros::map,
    maps::PerCpuArray,
};
use profiler_abi::{
    Counter, RED_ZONE_BYTES, RecordKind, STACK_BYTES_MAX, STACK_HEADER_BYTES, STACK_RECORDS_MAX,
    SampleHeader, StackHeader,
};

use crate::{
    globals,
    maps::{SAMPLES, count},
    output,
    task::Task,
};

const PAGE: u64 = 4096;

/// A copy at work. A page more than is sent, so that a whole page fits at any place.
#[repr(C)]
struct Copy {
    header: StackHeader,
    bytes: [u8; STACK_BYTES_MAX + PAGE as usize],
    /// When the next one may be made on this CPU.
    next_ns: u64,
}

#[map]
static COPY: PerCpuArray<Copy> = PerCpuArray::with_max_entries(1, 0);

/// Copies the stack of a sample and sends it, in as many records as it takes.
#[inline(always)]
pub(crate) fn send(header: &SampleHeader, task: Task) {
    let Some(mut copy) = current() else { return };
    if header.time_ns < copy.next_ns {
        return;
    }
    // Half of the ring is the samples'.
    if output::waiting_bytes() >= globals::wake_bytes() {
        count(Counter::StackRingFull);
        return;
    }
    copy.next_ns = header.time_ns;
    (copy.header.kind, copy.header.time_ns) = (RecordKind::Stack as u64, header.time_ns);
    (copy.header.address, copy.header.cpu) = (first_address(header.sp), header.cpu);
    if !task.read_all_user_registers(&mut copy.header.registers) {
        return;
    }
    // SAFETY: as in `user_stack::walk`.
    unsafe {
        bpf_loop(STACK_RECORDS_MAX, send_part as *mut c_void, &raw mut copy as *mut c_void, 0);
    }
}

/// Where the copy begins: below the stack pointer, unless that page has never been touched.
#[inline(always)]
fn first_address(sp: u64) -> u64 {
    let (from, mut byte) = (sp.wrapping_sub(RED_ZONE_BYTES), 0u8);
    // SAFETY: one byte to a variable; the helper fails instead of faulting.
    let result = unsafe { bpf_probe_read_user(&raw mut byte as *mut c_void, 1, from as *const c_void) };
    if result == 0 { from } else { sp }
}

#[inline(always)]
fn current() -> Option<&'static mut Copy> {
    // SAFETY: an element of a per-CPU array; the program runs once at a time on a CPU.
    COPY.get_ptr_mut(0).map(|copy| unsafe { &mut *copy })
}

/// One record: pages up to the stack's end, or as many as fit. 1 ends the loop.
unsafe extern "C" fn send_part(_turn: u32, copy: *mut c_void) -> i64 {
    // SAFETY: the pointer that `send` gave to the loop.
    let copy: &mut Copy = unsafe { *(copy as *mut &mut Copy) };
    let (bytes, is_whole) = fill(copy);
    if bytes == 0 {
        return 1;
    }
    copy.header.bytes = bytes as u32;
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
        return 1;
    }
    copy.header.address = copy.header.address.wrapping_add(bytes);
    copy.next_ns += length.wrapping_mul(globals::copy_ns_per_kib()) >> 10;
    i64::from(is_whole)
}

/// Page by page, since the stack ends somewhere and a read over its end would give nothing. The bytes copied, and
/// whether the end was met.
#[inline(always)]
fn fill(copy: &mut Copy) -> (u64, bool) {
    let from = copy.header.address;
    let mut length = PAGE - (from & (PAGE - 1));
    let mut copied = 0;
    // Below four whole pages, so that the mask that bounds the number leaves it as it is.
    while copied < STACK_BYTES_MAX as u64 - PAGE {
        let at = bounded(copied);
        // SAFETY: at most a page behind at most STACK_BYTES_MAX; the helper fails instead of faulting.
        let result = unsafe {
            bpf_probe_read_user(
                (&raw mut copy.bytes as *mut u8).add(at as usize) as *mut c_void,
                length as u32,
                from.wrapping_add(copied) as *const c_void,
            )
        };
        if result != 0 {
            return (bounded(copied), true);
        }
        copied += length;
        length = PAGE;
    }
    (bounded(copied), false)
}

/// The same number, with a bound that the verifier sees.
#[inline(always)]
fn bounded(mut at: u64) -> u64 {
    const { assert!(STACK_BYTES_MAX == 16384) };
    // SAFETY: a register-only instruction.
    unsafe { core::arch::asm!("{0} &= 16383", inout(reg) at, options(pure, nomem, nostack)) };
    at
}
