//! The user stack: `profiler_unwind`'s steps in the kernel's loop.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{bpf_loop, bpf_probe_read_user};
use profiler_abi::{FRAME_SLOTS, Method, Sample, USER_FRAMES_MAX, WalkEnd, tagged_frame};
use profiler_unwind::{Memory, Walk};

use crate::task::Task;

/// The current process's memory, read without faulting.
struct UserMemory;

#[inline(always)]
fn read<const WORDS: usize>(address: u64) -> Option<[u64; WORDS]> {
    let mut words = [0u64; WORDS];
    // SAFETY: the helper writes at most the given size, and fails instead of faulting.
    let result = unsafe {
        bpf_probe_read_user(&raw mut words as *mut c_void, (WORDS * 8) as u32, address as *const c_void)
    };
    if result == 0 { Some(words) } else { None }
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
}

/// What the loop carries from frame to frame. On the BPF stack, since the kernel wants the callback's context
/// there; the frames are in the scratch sample.
struct Turns {
    walk: Walk,
    sample: *mut Sample,
    at: u64,
    frames: u32,
    method: Method,
    end: WalkEnd,
}

/// One frame: note it, step to its caller. 1 ends the loop.
unsafe extern "C" fn turn(_turn: u32, turns: *mut c_void) -> i64 {
    // SAFETY: `bpf_loop` hands back the pointer that `walk` gave it.
    let turns = unsafe { &mut *(turns as *mut Turns) };
    if turns.frames as usize >= USER_FRAMES_MAX {
        turns.end = WalkEnd::DepthLimit;
        return 1;
    }
    let frame = tagged_frame(turns.walk.ip, turns.method);
    // SAFETY: the sample outlives the loop; the mask keeps the index inside the array.
    unsafe { *(&raw mut (*turns.sample).frames as *mut u64).add(slot(turns.at) as usize) = frame };
    turns.at += 1;
    turns.frames += 1;
    match turns.walk.step(&UserMemory) {
        Ok(method) => {
            turns.method = method;
            0
        }
        Err(end) => {
            turns.end = end;
            1
        }
    }
}

/// An index of `frames` that the verifier can see to be in bounds: LLVM drops a plain `&` after a compare.
#[inline(always)]
pub(crate) fn slot(mut at: u64) -> u64 {
    const { assert!(FRAME_SLOTS == 2048) };
    // SAFETY: a register-only instruction.
    unsafe { core::arch::asm!("{0} &= 2047", inout(reg) at, options(pure, nomem, nostack)) };
    at
}

/// Walks the user stack from `leaf`, writing frames behind the kernel's.
#[inline(always)]
pub(crate) fn walk(sample: &mut Sample, task: Task, leaf: Walk) {
    let kernel_frames = sample.header.kernel_frames.max(0) as u64;
    let mut turns = Turns {
        walk: leaf,
        sample,
        at: kernel_frames,
        frames: 0,
        method: Method::Leaf,
        end: WalkEnd::DepthLimit,
    };
    // One turn more than frames: the last one only finds that the limit is reached.
    // SAFETY: the callback has the signature that the helper wants, and the context lives on this stack.
    unsafe {
        bpf_loop(USER_FRAMES_MAX as u32 + 1, turn as *mut c_void, &raw mut turns as *mut c_void, 0);
    }
    sample.header.user_frames = turns.frames;
    let end = match turns.end {
        WalkEnd::UnreadableStack if task.has_no_memory() => WalkEnd::AddressSpaceGone,
        end => end,
    };
    sample.header.walk_end = end as u8;
}
