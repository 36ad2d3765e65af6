//! From a thread's own stack back to that of its goroutine.
//!
//! Go's scheduler, its garbage collector and all C code run on a thread's own stack (`g0`), to which a goroutine changes for
//! that time. Where it left its own stack stands in its `g`. Offsets are those of `runtime2.go`; the structures' first
//! fields have not moved since version 1.5: `g` has the bounds of its stack first, its `m` at 0x30, and the saved stack
//! pointer and instruction (`sched.sp`, `sched.pc`) at 0x38. What has moved is an operand of the rule.

use crate::Memory;

/// Of the current `g`, from the thread pointer: the linker's choice for all programs.
const CURRENT: u64 = 8;
/// In a `g`: the end of its stack, its thread, and where it was left, stack pointer and instruction.
const STACK_END: u64 = 0x8;
const THREAD: u64 = 0x30;
const LEFT_AT: u64 = 0x38;

/// Stack pointer and instruction of the goroutine that this thread works for, on another stack now. `goroutine_at` is an offset
/// in `m`.
#[inline(always)]
pub(crate) fn parked<M: Memory>(memory: &M, goroutine_at: u64) -> Option<[u64; 2]> {
    let current = memory.word(memory.thread_pointer()?.wrapping_sub(CURRENT))?;
    let m = memory.word(current.wrapping_add(THREAD))?;
    let goroutine = memory.word(m.wrapping_add(goroutine_at))?;
    // Anything may lie there in what is no program of Go's making: the goroutine has to know its thread.
    if memory.word(goroutine.wrapping_add(THREAD))? != m {
        return None;
    }
    memory.pair(goroutine.wrapping_add(LEFT_AT))
}

/// The stack pointer of the goroutine that called C code: how deep it was, and which it is, stand at `at`.
#[inline(always)]
pub(crate) fn left_stack_pointer<M: Memory>(memory: &M, at: u64) -> Option<u64> {
    let depth = memory.word(at)?;
    let goroutine = memory.word(at.wrapping_add(8))?;
    Some(memory.word(goroutine.wrapping_add(STACK_END))?.wrapping_sub(depth))
}
