//! The user stack: `profiler_unwind`'s steps in the kernel's loop.

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::helpers::generated::{bpf_loop, bpf_probe_read_user};
use profiler_abi::{FRAME_SLOTS, Method, Mode, SampleHeader, USER_FRAMES_MAX, WalkEnd, tagged_frame_raw};
use profiler_unwind::{Memory, Walk, registers};

use crate::{
    last_walk,
    scratch::{Scratch, WINDOW_WORDS, Window},
    tables,
    task::Running,
};

/// The current process's memory, read without faulting; its stack by windows.
pub(crate) struct UserMemory(*mut Window);

#[inline(always)]
fn read_word(address: u64) -> Option<u64> {
    let mut word = MaybeUninit::<u64>::uninit();
    if !read(word.as_mut_ptr() as *mut c_void, 8, address) {
        return None;
    }
    // SAFETY: on success the helper wrote all of it.
    Some(unsafe { word.assume_init() })
}

#[inline(always)]
fn read(to: *mut c_void, bytes: u32, address: u64) -> bool {
    // SAFETY: the helper writes at most the given size, which the callers have room for, and fails instead of faulting.
    unsafe { bpf_probe_read_user(to, bytes, address as *const c_void) == 0 }
}

impl UserMemory {
    /// The memory of the current process, with a window that nobody else uses meanwhile.
    #[inline(always)]
    pub(crate) fn by(window: &mut Window) -> Self {
        Self(window)
    }

    /// The number of the window's word at an address, with `more` words behind it; [`NOWHERE`] if they cannot be had.
    #[inline(always)]
    fn in_window(&self, address: u64, more: u64) -> u64 {
        // SAFETY: the window is a part of this CPU's scratch memory, which nobody else touches meanwhile.
        let window = unsafe { &mut *self.0 };
        let offset = address.wrapping_sub(window.start);
        if offset & 7 == 0 && offset < 8 * (WINDOW_WORDS as u64 - more) {
            return offset >> 3;
        }
        move_window(window, address, more)
    }

    #[inline(always)]
    fn at(&self, mut number: u64) -> u64 {
        const { assert!(WINDOW_WORDS == 64) };
        // SAFETY: a register-only instruction; the verifier sees the bound, which LLVM would drop.
        unsafe { core::arch::asm!("{0} &= 63", inout(reg) number, options(pure, nomem, nostack)) };
        // SAFETY: masked to the window's length.
        unsafe { *(&raw const (*self.0).words as *const u64).add(number as usize) }
    }
}

/// Makes the window begin at an address. What [`UserMemory::in_window`] returns.
#[inline(never)]
fn move_window(window: &mut Window, address: u64, more: u64) -> u64 {
    window.start = address;
    if read(&raw mut window.words as *mut c_void, size_of_val(&window.words) as u32, address) {
        return 0;
    }
    // The stack ends within the window. What is wanted may still be there.
    window.start = Window::NONE;
    let bytes = if more == 0 { 8 } else { 16 };
    if read(&raw mut window.words as *mut c_void, bytes, address) { 0 } else { NOWHERE }
}

/// No number of a word.
const NOWHERE: u64 = u64::MAX;

impl Memory for UserMemory {
    #[inline(always)]
    fn word(&self, address: u64) -> Option<u64> {
        read_word(address)
    }
    #[inline(always)]
    fn pair(&self, address: u64) -> Option<[u64; 2]> {
        let number = self.in_window(address, 1);
        if number == NOWHERE { None } else { Some([self.at(number), self.at(number + 1)]) }
    }
    #[inline(always)]
    fn stack_word(&self, address: u64) -> Option<u64> {
        let number = self.in_window(address, 0);
        if number == NOWHERE { None } else { Some(self.at(number)) }
    }
    #[inline(always)]
    fn register(&self, number: u8) -> Option<u64> {
        Running::current().user_register(number)
    }
    #[inline(always)]
    fn thread_pointer(&self) -> Option<u64> {
        Some(Running::current().thread_pointer())
    }
}

/// One frame: note it, step to its caller. 1 ends the loop.
unsafe extern "C" fn turn(_turn: u32, scratch: *mut c_void) -> i64 {
    // SAFETY: `bpf_loop` hands back the pointer that `walk` gave it: one to a reference on its stack.
    let scratch: &mut Scratch = unsafe { *(scratch as *mut &mut Scratch) };
    if scratch.turns.frames as usize >= USER_FRAMES_MAX {
        scratch.turns.end = WalkEnd::DepthLimit as u8;
        return 1;
    }
    note_frame(scratch);
    let turns = &scratch.turns;
    let mut walk = Walk {
        ip: turns.ip,
        sp: turns.sp,
        bp: turns.bp,
        is_caller: turns.is_caller != 0,
        registers: turns.registers,
        origin: turns.origin,
    };
    match step(scratch, &mut walk) {
        Ok(method) => {
            let turns = &mut scratch.turns;
            (turns.ip, turns.sp, turns.bp) = (walk.ip, walk.sp, walk.bp);
            turns.is_caller = u8::from(walk.is_caller);
            turns.registers = walk.registers;
            turns.method = method as u8;
            turns.origin = walk.origin;
            i64::from(last_walk::meets(scratch))
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

/// Writes the current frame to the sample.
#[inline(always)]
pub(crate) fn note_frame(scratch: &mut Scratch) {
    let Scratch { sample, turns, last, .. } = scratch;
    let frame = tagged_frame_raw(turns.ip, turns.method);
    last_walk::note(last, turns, frame);
    // SAFETY: the mask keeps the index inside the array.
    unsafe { *sample.frames.get_unchecked_mut(slot(turns.at) as usize) = frame };
    turns.at += 1;
    turns.frames += 1;
}

/// By the table where there is one, else by the frame pointer; so a stack through native code and code made at run time
/// is walked by what each has.
#[inline(always)]
fn step(scratch: &mut Scratch, walk: &mut Walk) -> Result<Method, WalkEnd> {
    // A return address may be the first byte after its function: the call before it is what counts.
    let address = walk.ip.wrapping_sub(u64::from(walk.is_caller));
    let memory = UserMemory::by(&mut scratch.window);
    let turns = &mut scratch.turns;
    if tables::is_in_last_mapping(turns, address) || tables::find_mapping(scratch, address) {
        let turns = &mut scratch.turns;
        let word = tables::find_rule(turns, address);
        if word != 0 {
            turns.by_rule = 1;
            return walk.step_by_packed(&memory, word, turns.second);
        }
    } else {
        scratch.turns.missed = 1;
    }
    scratch.turns.by_rule = 0;
    step_without_rule(&memory, walk)
}

#[inline(never)]
fn step_without_rule(memory: &UserMemory, walk: &mut Walk) -> Result<Method, WalkEnd> {
    walk.step(memory)
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
pub(crate) fn walk(scratch: &mut Scratch, task: Running) {
    let Scratch { sample, turns, window, last, .. } = &mut *scratch;
    let header = &mut sample.header;
    (turns.ip, turns.sp, turns.bp) = (header.ip, header.sp, header.bp);
    turns.registers = registers::SAMPLED;
    turns.at = header.kernel_frames.max(0) as u64;
    turns.frames = 0;
    turns.method = Method::Leaf as u8;
    turns.end = WalkEnd::DepthLimit as u8;
    (turns.is_caller, turns.by_rule, turns.missed, turns.made) = (0, 0, 0, 0);
    tables::open(header, turns);
    last_walk::open(last, turns, header.tid);
    window.start = Window::NONE;
    walk_on(scratch);
    if scratch.turns.met != 0 {
        last_walk::follow(scratch);
        if scratch.turns.followed == 0 {
            walk_on(scratch);
        }
    }
    last_walk::close(&mut scratch.last, &scratch.turns);
    let header = &mut scratch.sample.header;
    header.user_frames = scratch.turns.frames;
    header.walk_end = scratch.turns.end;
    header.end_by_rule = scratch.turns.by_rule;
    if header.walk_end != WalkEnd::Proven as u8 && is_gone(header, task) {
        header.walk_end = WalkEnd::AddressSpaceGone as u8;
        header.user_frames = 0;
        (scratch.turns.missed, scratch.turns.made) = (0, 0);
    }
    if header.walk_end == WalkEnd::Proven as u8 {
        scratch.turns.made = 0;
    }
}

/// Walks to the end, or to where the last walk was.
#[inline(always)]
fn walk_on(mut scratch: &mut Scratch) {
    // One turn more than frames: the last one only finds that the limit is reached.
    // SAFETY: the callback has the signature that the helper wants. Its context must lie on this stack, so it is a
    // pointer to the reference.
    unsafe {
        bpf_loop(USER_FRAMES_MAX as u32 + 1, turn as *mut c_void, &raw mut scratch as *mut c_void, 0);
    }
}

/// Whether there is no stack any more: in an exit the memory is gone; in an exec there is new memory already, in which
/// the old stack is not mapped.
#[inline(always)]
fn is_gone(header: &SampleHeader, task: Running) -> bool {
    let in_kernel = header.mode == Mode::Kernel as u8;
    in_kernel && (task.has_no_memory() || (header.user_frames == 1 && read_word(header.sp).is_none()))
}
