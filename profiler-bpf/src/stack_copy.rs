//! A copy of the user stack, for the agent to walk: where the process's unwind tables are not there yet.
//!
//! It goes out as records of its own ahead of the sample's, so that a sample that has come is whole. Two parts: what lies
//! at the stack pointer, and where the stack begins, as frames of half a megabyte exist, and callers beyond them are few. A third
//! one is of the stack that made code has left for the thread's, if its frame pointer says where that is. So many bytes a second on a CPU, and
//! while half of the ring is free.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::BPF_RB_NO_WAKEUP,
    helpers::generated::{bpf_loop, bpf_probe_read_user, bpf_ringbuf_output},
    macros::map,
    maps::PerCpuArray,
};
use profiler_abi::{
    Counter, RED_ZONE_BYTES, RecordKind, STACK_BYTES_MAX, STACK_HEADER_BYTES, STACK_INNER_RECORDS,
    STACK_OUTER_BYTES, STACK_TURNS_MAX, SampleHeader, StackHeader,
};

use crate::{
    globals,
    maps::{SAMPLES, count},
    output,
    task::Running,
};

const PAGE: u64 = 4096;
/// How often a CPU wakes the agent for a stack that is not all in its copy: its process gets tables within milliseconds. A
/// whole copy is as good as tables, and costs less than waking for a process that lives for a moment.
const WAKE_NS: u64 = 10_000_000;

/// A copy at work. A page more than is sent, so that a whole page fits at any place.
#[repr(C)]
struct Copy {
    header: StackHeader,
    bytes: [u8; STACK_BYTES_MAX + PAGE as usize],
    /// When the next one may be made on this CPU, and when the agent may be woken for one.
    next_ns: u64,
    wake_ns: u64,
    /// The page after the stack's outermost frames; 0 if it is not known.
    end: u64,
    /// 1: the part at the stack pointer is done, and the outermost one is under way. 2: that of another stack is.
    is_outer: u32,
    /// 1: something is missing.
    is_cut: u32,
}

#[map]
static COPY: PerCpuArray<Copy> = PerCpuArray::with_max_entries(1, 0);

/// Copies the stack of a sample and sends it, in as many records as it takes, with a record of what lies at `other`, if that is on another
/// stack; 0 if there is none. Whether the agent is to be woken for it.
#[inline(always)]
pub(crate) fn send(header: &SampleHeader, task: Running, other: u64) -> bool {
    let Some(copy) = current() else { return false };
    copy.is_cut = 1;
    if header.time_ns >= copy.next_ns {
        send_parts(header, task, other, copy);
    }
    let wakes = copy.is_cut != 0 && header.time_ns >= copy.wake_ns;
    if wakes {
        copy.wake_ns = header.time_ns.wrapping_add(WAKE_NS);
    }
    wakes
}

#[inline(always)]
fn send_parts(header: &SampleHeader, task: Running, other: u64, mut copy: &mut Copy) {
    // Half of the ring is the samples'.
    if output::waiting_bytes() >= globals::wake_bytes() {
        return count(Counter::StackRingFull);
    }
    copy.next_ns = header.time_ns;
    (copy.header.kind, copy.header.time_ns) = (RecordKind::Stack as u64, header.time_ns);
    (copy.header.address, copy.header.cpu) = (first_address(header.sp), header.cpu);
    copy.end = task.stack_end(header).wrapping_add(PAGE - 1) & !(PAGE - 1);
    (copy.is_outer, copy.is_cut) = (0, 0);
    if !task.read_all_user_registers(&mut copy.header.registers) {
        return;
    }
    // SAFETY: as in `user_stack::walk`.
    unsafe {
        bpf_loop(STACK_TURNS_MAX, send_part as *mut c_void, &raw mut copy as *mut c_void, 0);
    }
    if is_elsewhere(other, header.sp, copy.end) {
        (copy.header.address, copy.is_outer) = (other, 2);
        // SAFETY: as above.
        unsafe {
            bpf_loop(1, send_part as *mut c_void, &raw mut copy as *mut c_void, 0);
        }
    }
}

/// Whether an address, which may be anything, can be one on a stack of its own.
#[inline(always)]
fn is_elsewhere(address: u64, sp: u64, end: u64) -> bool {
    let is_word = address & 7 == 0 && address >= PAGE;
    is_word && end != 0 && (address < sp || address >= end)
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
unsafe extern "C" fn send_part(turn: u32, copy: *mut c_void) -> i64 {
    // SAFETY: the pointer that `send` gave to the loop.
    let copy: &mut Copy = unsafe { *(copy as *mut &mut Copy) };
    let (bytes, met_end) = fill(copy);
    if bytes != 0 {
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
            copy.is_cut = 1;
            count(Counter::StackRingFull);
            return 1;
        }
        copy.header.address = copy.header.address.wrapping_add(bytes);
        copy.next_ns += length.wrapping_mul(globals::copy_ns_per_kib()) >> 10;
    } else if copy.is_outer != 0 {
        // A page that was never touched, amid a large frame.
        copy.header.address = (copy.header.address & !(PAGE - 1)).wrapping_add(PAGE);
    }
    if copy.is_outer != 0 {
        return i64::from(copy.is_outer == 2 || copy.header.address >= copy.end);
    }
    if copy.header.address == copy.end || (met_end && copy.end == 0) {
        return 1;
    }
    if !met_end && turn + 1 < STACK_INNER_RECORDS {
        return 0;
    }
    go_outer(copy)
}

/// Goes on with the outermost part, unless the copy is in it already. 1: it is not known where that is.
#[inline(always)]
fn go_outer(copy: &mut Copy) -> i64 {
    let from = copy.end.wrapping_sub(STACK_OUTER_BYTES);
    if copy.end == 0 || copy.header.address < from || copy.header.address > copy.end {
        copy.header.address = from;
        copy.is_cut = 1;
    }
    copy.is_outer = 1;
    i64::from(copy.end == 0)
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
        if from.wrapping_add(copied) == copy.end {
            return (at, true);
        }
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
