//! The kernel's own stack: by its unwind tables, or by its own walk where those do not say enough.

use core::{ffi::c_void, ptr::read_volatile};

use aya_ebpf::{
    EbpfContext as _,
    bindings::bpf_perf_event_data,
    helpers::generated::{bpf_get_stack, bpf_loop},
    programs::PerfEventContext,
};
use profiler_abi::{Counter, KERNEL_FRAMES_MAX};
use profiler_unwind::orc::{KernelEnd, KernelMemory, KernelWalk};

use crate::{globals, kernel_memory, kernel_rules, maps::count, scratch::Scratch, user_stack::slot};

struct Memory;

impl KernelMemory for Memory {
    #[inline(always)]
    fn word(&self, address: u64) -> Option<u64> {
        kernel_memory::read(address)
    }
    #[inline(always)]
    fn pair(&self, address: u64) -> Option<[u64; 2]> {
        kernel_memory::read(address)
    }
}

/// Writes the kernel frames to the front of `sample.frames`, their number or an errno to the header.
#[inline(always)]
pub(crate) fn walk(ctx: &PerfEventContext, scratch: &mut Scratch) {
    if globals::orc_count() != 0 {
        walk_by_rules(ctx, scratch);
        if KernelEnd::is_whole(scratch.kernel.end) {
            scratch.sample.header.kernel_frames = scratch.kernel.frames as i32;
            return;
        }
        count(Counter::KernelWalkHandedOver);
    }
    let Some(frames) = scratch.sample.frames.first_chunk_mut() else { return };
    scratch.sample.header.kernel_frames = walk_by_kernel(ctx, frames);
}

/// The kernel's own walk into room for KERNEL_FRAMES_MAX frames; their number or an errno. Cold it takes four to five
/// times as long, half of it to find out that the user's address at the end is no kernel code.
#[inline(always)]
pub(crate) fn walk_by_kernel(ctx: &PerfEventContext, frames: &mut [u64; KERNEL_FRAMES_MAX]) -> i32 {
    // SAFETY: the buffer is as long as is said.
    let bytes = unsafe {
        bpf_get_stack(ctx.as_ptr(), frames as *mut _ as *mut c_void, size_of_val(frames) as u32, 0)
    };
    if bytes >= 0 { (bytes as u64 >> 3) as i32 } else { bytes as i32 }
}

/// Walks from the interrupted registers; the end says whether the frames can be kept.
#[inline(always)]
pub(crate) fn walk_by_rules(ctx: &PerfEventContext, mut scratch: &mut Scratch) {
    let data = ctx.as_ptr() as *const bpf_perf_event_data;
    let turns = &mut scratch.kernel;
    // SAFETY: the context of a perf event program; volatile because the verifier wants single loads.
    unsafe {
        turns.ip = read_volatile(&raw const (*data).regs.rip);
        turns.sp = read_volatile(&raw const (*data).regs.rsp);
        turns.bp = read_volatile(&raw const (*data).regs.rbp);
    }
    (turns.bp_at, turns.is_caller, turns.frames) = (0, 0, 0);
    turns.end = KernelEnd::DepthLimit as u8;
    // SAFETY: the callback has the signature that the helper wants. Its context must lie on this stack, so it is a
    // pointer to the reference.
    unsafe {
        bpf_loop(KERNEL_FRAMES_MAX as u32, turn as *mut c_void, &raw mut scratch as *mut c_void, 0);
    }
}

/// One frame: note it, step to its caller. 1 ends the loop.
unsafe extern "C" fn turn(_turn: u32, scratch: *mut c_void) -> i64 {
    // SAFETY: `bpf_loop` hands back the pointer that `walk_by_rules` gave it.
    let scratch: &mut Scratch = unsafe { *(scratch as *mut &mut Scratch) };
    let Scratch { sample, kernel: turns, .. } = scratch;
    // SAFETY: the mask keeps the index inside the array.
    unsafe { *sample.frames.get_unchecked_mut(slot(u64::from(turns.frames)) as usize) = turns.ip };
    turns.frames += 1;
    match step(scratch) {
        Ok(()) => 0,
        Err(end) => {
            scratch.kernel.end = end as u8;
            1
        }
    }
}

#[inline(always)]
fn step(scratch: &mut Scratch) -> Result<(), KernelEnd> {
    let turns = &scratch.kernel;
    let mut walk = KernelWalk {
        ip: turns.ip,
        sp: turns.sp,
        bp: turns.bp,
        bp_at: turns.bp_at,
        is_caller: turns.is_caller != 0,
    };
    if !kernel_rules::is_known_code(walk.ip) {
        return Err(KernelEnd::ForeignCode);
    }
    // A return address may be the first byte after its function: the call before it is what counts.
    let address = walk.ip.wrapping_sub(u64::from(walk.is_caller));
    let rule = kernel_rules::find(scratch, address);
    walk.step(&Memory, rule)?;
    let turns = &mut scratch.kernel;
    (turns.ip, turns.sp, turns.bp, turns.bp_at) = (walk.ip, walk.sp, walk.bp, walk.bp_at);
    turns.is_caller = u8::from(walk.is_caller);
    Ok(())
}
