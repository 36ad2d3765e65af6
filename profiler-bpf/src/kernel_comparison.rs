//! Both ways to take a kernel stack, side by side: what each costs, and whether they agree.

use core::{ffi::c_void, ptr::read_volatile};

use aya_ebpf::{
    EbpfContext as _,
    bindings::{BPF_RB_NO_WAKEUP, bpf_perf_event_data},
    helpers::{
        bpf_get_current_pid_tgid,
        generated::{bpf_get_prandom_u32, bpf_ktime_get_ns, bpf_loop, bpf_ringbuf_output},
    },
    programs::PerfEventContext,
};
use profiler_abi::{KERNEL_FRAMES_MAX, KernelComparison};

use crate::{
    kernel_stack,
    maps::SAMPLES,
    scratch::{self, Scratch},
    user_stack::slot,
};

/// Where the kernel's own frames go: behind ours.
const KERNEL_FRAMES_AT: usize = 1024;

/// Compares on this CPU, if it is in the kernel and not idle.
#[inline(always)]
pub(crate) fn take(ctx: &PerfEventContext) {
    let data = ctx.as_ptr() as *const bpf_perf_event_data;
    // SAFETY: the context of a perf event program; volatile because the verifier wants single loads.
    let cs = unsafe { read_volatile(&raw const (*data).regs.cs) };
    if cs & 3 == 3 || bpf_get_current_pid_tgid() as u32 == 0 {
        return;
    }
    let Some(scratch) = scratch::current() else { return };
    let mut result = KernelComparison::default();
    // Whoever comes second finds the stack in the cache, so each comes first in half of the samples.
    // SAFETY: the helper takes nothing and returns a number.
    if unsafe { bpf_get_prandom_u32() } & 1 == 0 {
        result.rules_first = 1;
        by_rules(ctx, scratch, &mut result);
        by_kernel(ctx, scratch, &mut result);
    } else {
        by_kernel(ctx, scratch, &mut result);
        by_rules(ctx, scratch, &mut result);
    }
    if i64::from(result.rules_frames) == i64::from(result.kernel_frames) {
        result.is_same = u8::from(is_same(scratch));
    }
    // SAFETY: the map is ours, and the record lies on this stack.
    unsafe {
        bpf_ringbuf_output(
            &raw const SAMPLES as *mut c_void,
            &raw mut result as *mut c_void,
            size_of::<KernelComparison>() as u64,
            u64::from(BPF_RB_NO_WAKEUP),
        );
    }
}

#[inline(always)]
fn by_rules(ctx: &PerfEventContext, scratch: &mut Scratch, result: &mut KernelComparison) {
    // SAFETY: the helper takes nothing and returns a number.
    let start = unsafe { bpf_ktime_get_ns() };
    kernel_stack::walk_by_rules(ctx, scratch);
    // SAFETY: as above.
    result.rules_ns = unsafe { bpf_ktime_get_ns() }.wrapping_sub(start);
    (result.rules_frames, result.end) = (scratch.kernel.frames, scratch.kernel.end);
}

#[inline(always)]
fn by_kernel(ctx: &PerfEventContext, scratch: &mut Scratch, result: &mut KernelComparison) {
    let behind = scratch.sample.frames.get_mut(KERNEL_FRAMES_AT..);
    let Some(frames) = behind.and_then(|frames| frames.first_chunk_mut()) else { return };
    // SAFETY: the helper takes nothing and returns a number.
    let start = unsafe { bpf_ktime_get_ns() };
    result.kernel_frames = kernel_stack::walk_by_kernel(ctx, frames);
    // SAFETY: as above.
    result.kernel_ns = unsafe { bpf_ktime_get_ns() }.wrapping_sub(start);
}

/// Whether both have the same frames; their number is.
#[inline(always)]
fn is_same(mut scratch: &mut Scratch) -> bool {
    scratch.turns.at = 0;
    // SAFETY: the callback has the signature that the helper wants. Its context must lie on this stack, so it is a
    // pointer to the reference.
    unsafe {
        bpf_loop(KERNEL_FRAMES_MAX as u32, same_frame as *mut c_void, &raw mut scratch as *mut c_void, 0);
    }
    scratch.turns.at == u64::from(scratch.kernel.frames)
}

unsafe extern "C" fn same_frame(_turn: u32, scratch: *mut c_void) -> i64 {
    // SAFETY: the pointer that `is_same` gave to the loop.
    let scratch: &mut Scratch = unsafe { *(scratch as *mut &mut Scratch) };
    let at = scratch.turns.at;
    if at >= u64::from(scratch.kernel.frames) {
        return 1;
    }
    let frames = &scratch.sample.frames;
    // SAFETY: the mask keeps both indices inside the array.
    let (ours, kernels) = unsafe {
        (
            *frames.get_unchecked(slot(at) as usize),
            *frames.get_unchecked(slot(at + KERNEL_FRAMES_AT as u64) as usize),
        )
    };
    if ours != kernels {
        return 1;
    }
    scratch.turns.at = at + 1;
    0
}
