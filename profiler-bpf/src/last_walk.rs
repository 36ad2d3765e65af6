//! The last walk on this CPU, for the next one to follow.
//!
//! From one sample of a thread to the next only the inner frames change. When a walk meets a caller that the last one had,
//! at the same place of the stack and in the same mappings, the frames outside of it are the same as long as the words
//! are that led to them (`profiler_unwind::origin`). To look at these takes no rules and no mappings, and, as it is known
//! where they are, the CPU fetches those of the next frame while it waits for those of this one.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_loop;
use profiler_abi::{USER_FRAMES_MAX, WalkEnd, frame_address, frame_method_raw};
use profiler_unwind::origin;

use crate::{
    scratch::{Scratch, Turns},
    user_stack::{self, UserMemory},
};

/// Frames that are remembered, those of nearly all stacks; of deeper ones none. Two walks take 10 KiB of the 32 that a
/// map's element may have on each CPU.
const STEPS: usize = 128;

/// A frame of a walk.
#[repr(C)]
#[derive(Clone, Copy)]
struct Step {
    /// As it goes into the sample.
    frame: u64,
    sp: u64,
    bp: u64,
    origin: u64,
}

/// The last walk, if it found the stack's end, and the one that is made: they change places.
#[repr(C)]
pub(crate) struct LastWalk {
    steps: [[Step; STEPS]; 2],
    /// Which of them is the last one.
    last: u32,
    /// Its frames; 0: there is none to follow.
    count: u32,
    /// Its thread, and the entry of mappings by which it was made.
    tid: u32,
    generation: u32,
    /// How it ended.
    end: u8,
    end_by_rule: u8,
    reserved: [u8; 6],
}

impl LastWalk {
    /// No number of a frame.
    pub(crate) const NOWHERE: u32 = u32::MAX;

    /// A step of the last walk, or of the one that is made.
    #[inline(always)]
    fn step(&mut self, of_last: bool, number: u32) -> &mut Step {
        let which = if of_last { self.last } else { self.last ^ 1 };
        let mut at = u64::from(which) * STEPS as u64 + u64::from(number) % STEPS as u64;
        const { assert!(2 * STEPS == 256) };
        // SAFETY: a register-only instruction; the verifier sees the bound, which LLVM would drop.
        unsafe { core::arch::asm!("{0} &= 255", inout(reg) at, options(pure, nomem, nostack)) };
        // SAFETY: masked to the number of steps.
        unsafe { &mut *(&raw mut self.steps as *mut Step).add(at as usize) }
    }
}

/// Before a walk of a thread: whether the last one can be followed.
#[inline(always)]
pub(crate) fn open(last: &mut LastWalk, turns: &mut Turns, tid: u32) {
    let is_same = last.count != 0 && last.tid == tid && last.generation == turns.generation;
    // Without tables no generation says whether the mappings are the same.
    turns.cursor = if is_same && turns.count != 0 { 0 } else { LastWalk::NOWHERE };
    (turns.origin, turns.met, turns.followed) = (origin::UNKNOWN, 0, 0);
    turns.last_count = last.count;
    last.tid = tid;
    last.count = 0;
}

/// Remembers a frame of the walk that is made.
#[inline(always)]
pub(crate) fn note(last: &mut LastWalk, turns: &Turns, frame: u64) {
    if turns.frames < STEPS as u32 {
        *last.step(false, turns.frames) = Step { frame, sp: turns.sp, bp: turns.bp, origin: turns.origin };
    }
}

/// After a walk: whether it can be followed by the next one.
#[inline(always)]
pub(crate) fn close(last: &mut LastWalk, turns: &Turns) {
    if turns.missed != 0
        || turns.count == 0
        || turns.frames > STEPS as u32
        || turns.end != WalkEnd::Proven as u8
    {
        return;
    }
    (last.end, last.end_by_rule) = (turns.end, turns.by_rule);
    last.generation = turns.generation;
    last.count = turns.frames;
    last.last ^= 1;
}

/// Whether the walk has come to a caller that the last one had.
#[inline(always)]
pub(crate) fn meets(mut scratch: &mut Scratch) -> bool {
    let Scratch { turns, last, .. } = &mut *scratch;
    if turns.cursor == LastWalk::NOWHERE || turns.is_caller == 0 {
        return false;
    }
    if last.step(true, turns.cursor).sp < turns.sp {
        // SAFETY: as in `user_stack::walk`.
        unsafe {
            bpf_loop(STEPS as u32, skip as *mut c_void, &raw mut scratch as *mut c_void, 0);
        }
    }
    let Scratch { turns, last, .. } = scratch;
    if turns.cursor == LastWalk::NOWHERE {
        return false;
    }
    let step = last.step(true, turns.cursor);
    // The first frame was sampled at an instruction, not left by a call.
    let is_same = turns.cursor != 0
        && step.sp == turns.sp
        && step.bp == turns.bp
        && frame_address(step.frame) == turns.ip;
    turns.met = u8::from(is_same);
    is_same
}

/// Passes by the frames of the last walk below the current one. 1 ends the loop.
unsafe extern "C" fn skip(_turn: u32, scratch: *mut c_void) -> i64 {
    // SAFETY: the pointer that `meets` gave to the loop.
    let scratch: &mut Scratch = unsafe { *(scratch as *mut &mut Scratch) };
    let Scratch { turns, last, .. } = scratch;
    turns.cursor += 1;
    if turns.cursor >= turns.last_count {
        turns.cursor = LastWalk::NOWHERE;
        return 1;
    }
    i64::from(last.step(true, turns.cursor).sp >= turns.sp)
}

/// Follows the last walk from where it was met, as far as the stack is the same.
#[inline(always)]
pub(crate) fn follow(mut scratch: &mut Scratch) {
    // SAFETY: as in `user_stack::walk`.
    unsafe {
        bpf_loop(STEPS as u32, follow_step as *mut c_void, &raw mut scratch as *mut c_void, 0);
    }
    scratch.turns.cursor = LastWalk::NOWHERE;
    scratch.turns.met = 0;
}

/// One frame: note it, and go to the one that was its caller, if it still is. 1 ends the loop.
unsafe extern "C" fn follow_step(_turn: u32, scratch: *mut c_void) -> i64 {
    // SAFETY: the pointer that `follow` gave to the loop.
    let scratch: &mut Scratch = unsafe { *(scratch as *mut &mut Scratch) };
    let Scratch { turns, last, window, .. } = &mut *scratch;
    if turns.frames as usize >= USER_FRAMES_MAX {
        return 1;
    }
    turns.cursor += 1;
    if turns.cursor >= turns.last_count {
        (turns.end, turns.by_rule) = (last.end, last.end_by_rule);
        turns.followed = 1;
        user_stack::note_frame(scratch);
        return 1;
    }
    let next = *last.step(true, turns.cursor);
    let ip = frame_address(next.frame);
    if !origin::still_holds(&UserMemory::by(window), next.origin, ip, next.bp) {
        return 1;
    }
    user_stack::note_frame(scratch);
    let turns = &mut scratch.turns;
    (turns.ip, turns.sp, turns.bp) = (ip, next.sp, next.bp);
    (turns.method, turns.origin) = (frame_method_raw(next.frame), next.origin);
    0
}
