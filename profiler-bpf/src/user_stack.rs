//! The user stack: `profiler_unwind`'s steps in the kernel's loop.

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::helpers::generated::{bpf_loop, bpf_probe_read_user};
use profiler_abi::{FRAME_SLOTS, Method, Mode, SampleHeader, USER_FRAMES_MAX, WalkEnd, tagged_frame_raw};
use profiler_unwind::{Memory, Rule, Walk, registers};

use crate::{
    scratch::Scratch,
    tables::{self, Found},
    task::Task,
};

/// The current process's memory, read without faulting.
struct UserMemory;

#[inline(always)]
fn read<const WORDS: usize>(address: u64) -> Option<[u64; WORDS]> {
    let mut words = MaybeUninit::<[u64; WORDS]>::uninit();
    // SAFETY: the helper writes at most the given size, and fails instead of faulting.
    let result = unsafe {
        bpf_probe_read_user(words.as_mut_ptr() as *mut c_void, (WORDS * 8) as u32, address as *const c_void)
    };
    // SAFETY: on success the helper wrote all of it.
    if result == 0 { Some(unsafe { words.assume_init() }) } else { None }
}

impl Memory for UserMemory {
    #[inline(always)]
    fn word(&self, address: u64) -> Option<u64> {
        read::<1>(address).map(|words| words[0])
    }
    #[inline(always)]
    fn pair(&self, address: u64) -> Option<[u64; 2]> {
        read::<2>(address)
    }
    #[inline(always)]
    fn register(&self, number: u8) -> Option<u64> {
        Task::current().user_register(number)
    }
}

/// One frame: note it, step to its caller. 1 ends the loop.
unsafe extern "C" fn turn(_turn: u32, scratch: *mut c_void) -> i64 {
    // SAFETY: `bpf_loop` hands back the pointer that `walk` gave it: one to a reference on its stack.
    let scratch: &mut Scratch = unsafe { *(scratch as *mut &mut Scratch) };
    let Scratch { sample, turns, .. } = scratch;
    if turns.frames as usize >= USER_FRAMES_MAX {
        turns.end = WalkEnd::DepthLimit as u8;
        return 1;
    }
    let frame = tagged_frame_raw(turns.ip, turns.method);
    // SAFETY: the mask keeps the index inside the array.
    unsafe { *sample.frames.get_unchecked_mut(slot(turns.at) as usize) = frame };
    turns.at += 1;
    turns.frames += 1;
    let mut walk = Walk {
        ip: turns.ip,
        sp: turns.sp,
        bp: turns.bp,
        is_caller: turns.is_caller != 0,
        registers: turns.registers,
    };
    match step(scratch, &mut walk) {
        Ok(method) => {
            let turns = &mut scratch.turns;
            (turns.ip, turns.sp, turns.bp) = (walk.ip, walk.sp, walk.bp);
            turns.is_caller = u8::from(walk.is_caller);
            turns.registers = walk.registers;
            turns.method = method as u8;
            0
        }
        Err(end) => {
            scratch.turns.end = end as u8;
            if let WalkEnd::UnknownRegister = end {
                // The agent carries all registers along.
                scratch.turns.missed = 1;
            }
            1
        }
    }
}

/// By the table where there is one, else by the frame pointer; so a stack through native code and code made at run time
/// is walked by what each has.
#[inline(always)]
fn step(scratch: &mut Scratch, walk: &mut Walk) -> Result<Method, WalkEnd> {
    // A return address may be the first byte after its function: the call before it is what counts.
    let address = walk.ip.wrapping_sub(u64::from(walk.is_caller));
    if tables::find_mapping(scratch, address) {
        let mut rule = Rule::NONE;
        if let Found::Rule = tables::find_rule(&mut scratch.turns, address, &mut rule) {
            scratch.turns.by_rule = 1;
            return walk.step_by_rule(&UserMemory, &rule);
        }
    } else {
        scratch.turns.missed = 1;
    }
    scratch.turns.by_rule = 0;
    walk.step(&UserMemory)
}

/// An index of `frames` that the verifier can see to be in bounds: LLVM drops a plain `&` after a compare.
#[inline(always)]
pub(crate) fn slot(mut at: u64) -> u64 {
    const { assert!(FRAME_SLOTS == 2048) };
    // SAFETY: a register-only instruction.
    unsafe { core::arch::asm!("{0} &= 2047", inout(reg) at, options(pure, nomem, nostack)) };
    at
}

/// Walks the user stack from the header's registers, writing frames behind the kernel's.
#[inline(always)]
pub(crate) fn walk(mut scratch: &mut Scratch, task: Task) {
    let Scratch { sample, turns, .. } = &mut *scratch;
    let header = &mut sample.header;
    (turns.ip, turns.sp, turns.bp) = (header.ip, header.sp, header.bp);
    turns.registers = registers::SAMPLED;
    turns.at = header.kernel_frames.max(0) as u64;
    turns.frames = 0;
    turns.method = Method::Leaf as u8;
    turns.end = WalkEnd::DepthLimit as u8;
    (turns.is_caller, turns.by_rule, turns.missed) = (0, 0, 0);
    tables::open(header, turns);
    // One turn more than frames: the last one only finds that the limit is reached.
    // SAFETY: the callback has the signature that the helper wants. Its context must lie on this stack, so it is a
    // pointer to the reference.
    unsafe {
        bpf_loop(USER_FRAMES_MAX as u32 + 1, turn as *mut c_void, &raw mut scratch as *mut c_void, 0);
    }
    let header = &mut scratch.sample.header;
    header.user_frames = scratch.turns.frames;
    header.walk_end = scratch.turns.end;
    header.end_by_rule = scratch.turns.by_rule;
    if header.walk_end != WalkEnd::Proven as u8 && is_gone(header, task) {
        header.walk_end = WalkEnd::AddressSpaceGone as u8;
        header.user_frames = 0;
        scratch.turns.missed = 0;
    }
}

/// Whether there is no stack any more: in an exit the memory is gone; in an exec there is new memory already, in which
/// the old stack is not mapped.
#[inline(always)]
fn is_gone(header: &SampleHeader, task: Task) -> bool {
    let in_kernel = header.mode == Mode::Kernel as u8;
    in_kernel && (task.has_no_memory() || (header.user_frames == 1 && UserMemory.word(header.sp).is_none()))
}
