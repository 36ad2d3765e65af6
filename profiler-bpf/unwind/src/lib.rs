//! From a frame to its caller: the same code in the kernel program, in the agent and in tests.
//!
//! A [`Walk`] describes one frame; [`Walk::step`] turns it into its caller's or says why it cannot. Memory is
//! behind [`Memory`], so the kernel reads with its fault-free helper and a test reads from an array. Here are
//! the walks that need no table: through the frame pointer, and at the two places in a function where the
//! frame pointer is not yet, or no longer, its own. Table rows come in beside them as one more [`Method`].
//!
//! Of a caller's registers a walk knows the instruction, the stack pointer and the frame pointer: nearly all rules
//! need no other. Of a frame that made no call, the sampled one or one that a signal interrupted, it knows all
//! ([`registers`]).
#![no_std]

use profiler_abi::{Method, WalkEnd};

mod apply;
mod code;
mod goroutine;
pub mod orc;
pub mod origin;
pub mod registers;
pub mod rule;
pub mod table;

pub use code::ends_in_call;
pub use rule::Rule;
pub use table::{TableBase, Tables};

/// Memory of the process that is walked.
pub trait Memory {
    /// The word at `address`; none if it cannot be read.
    fn word(&self, address: u64) -> Option<u64>;
    /// The two words at `address` on the stack; none if either cannot be read.
    fn pair(&self, address: u64) -> Option<[u64; 2]>;
    /// The word at `address` on the stack: the same as [`Memory::word`], for those who read stacks in another way.
    #[inline(always)]
    fn stack_word(&self, address: u64) -> Option<u64> {
        self.word(address)
    }
    /// A general register of the sampled frame by its DWARF number, below 16; none if it is not known.
    fn register(&self, number: u8) -> Option<u64>;
    /// The thread pointer (`fs_base`) of the thread whose stack it is; none if it is not known.
    #[inline(always)]
    fn thread_pointer(&self) -> Option<u64> {
        None
    }
}

/// One frame of a user stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// Address of the instruction: the sampled one for the leaf, return addresses above it.
    pub ip: u64,
    /// Stack pointer in this frame.
    pub sp: u64,
    /// Frame-pointer register in this frame; may hold anything.
    pub bp: u64,
    /// Whether `ip` is a return address. Of the leaf the instruction at `ip` comes next; of the others it is
    /// the one after the call.
    pub is_caller: bool,
    /// Where its other registers are: [`registers::UNKNOWN`], [`registers::SAMPLED`], or the address at which the
    /// kernel has saved them for a signal handler.
    pub registers: u64,
    /// Where the step to this frame has read: see [`origin`].
    pub origin: u64,
}

/// User code lies below this on x86-64, with five-level paging too.
const USER_END: u64 = 1 << 56;
/// Functions without a frame and without call frame information are small: an assembler's loop, unrolled.
const FUNCTION_BYTES: u64 = 8192;
/// No code lies in the first page.
const USER_START: u64 = 4096;

impl Walk {
    /// The sampled frame.
    pub const fn leaf(ip: u64, sp: u64, bp: u64) -> Self {
        Self { ip, sp, bp, is_caller: false, registers: registers::SAMPLED, origin: origin::UNKNOWN }
    }

    /// The caller that is reached at a return address.
    #[inline(always)]
    const fn caller(ip: u64, sp: u64, bp: u64) -> Self {
        Self { ip, sp, bp, is_caller: true, registers: registers::UNKNOWN, origin: origin::UNKNOWN }
    }

    /// Turns `self` into its caller and says how; or says why the walk ends here.
    #[inline(always)]
    pub fn step<M: Memory>(&mut self, memory: &M) -> Result<Method, WalkEnd> {
        if self.is_caller {
            return self.step_frame_pointer(memory);
        }
        if let Some(method) = self.step_at_edge(memory) {
            return Ok(method);
        }
        // Hand-written code often keeps no frame at all.
        let called = self.called_from(memory);
        if let Some(ip) = called
            && self.is_target_of(memory, ip)
        {
            return Ok(self.step_off_top(ip));
        }
        match (self.step_frame_pointer(memory), called) {
            (Err(_), Some(ip)) => Ok(self.step_off_top(ip)),
            (result, _) => result,
        }
    }

    /// The word on top of the stack, if a call has left it there, to whatever function.
    #[inline(always)]
    fn called_from<M: Memory>(&self, memory: &M) -> Option<u64> {
        let ip = memory.word(self.sp)?;
        if !is_code_address(ip) {
            return None;
        }
        let before = memory.word(ip.wrapping_sub(8))?;
        if code::ends_in_call(before) { Some(ip) } else { None }
    }

    /// Whether the call before a return address is one to the function that this frame is in, and that function keeps no
    /// frame pointer: directly, or by way of an entry of the procedure linkage table. In a function that keeps one the
    /// word on top may be left over from an earlier call.
    #[inline(always)]
    fn is_target_of<M: Memory>(&self, memory: &M, return_address: u64) -> bool {
        let Some(before) = memory.word(return_address.wrapping_sub(8)) else { return false };
        if !code::is_direct_call(before) {
            return false;
        }
        let target = return_address.wrapping_add(code::direct_offset(before));
        if self.is_in_frameless_function_at(memory, target) {
            return true;
        }
        let Some(first) = memory.word(target) else { return false };
        let Some(second) = memory.word(target.wrapping_add(8)) else { return false };
        let slot = code::linkage_slot(first, second);
        if slot == 0 {
            return false;
        }
        let Some(target) = memory.word(target.wrapping_add(slot)) else { return false };
        self.is_in_frameless_function_at(memory, target)
    }

    #[inline(always)]
    fn is_in_frameless_function_at<M: Memory>(&self, memory: &M, start: u64) -> bool {
        // Where functions end is not known here.
        if self.ip.wrapping_sub(start) >= FUNCTION_BYTES {
            return false;
        }
        let Some(first) = memory.word(start) else { return false };
        !matches!(code::edge(first), code::Edge::Entry)
    }

    #[inline(always)]
    fn step_off_top(&mut self, ip: u64) -> Method {
        *self = Self::caller(ip, self.sp.wrapping_add(8), self.bp);
        Method::AtEntry
    }

    /// The leaf at its function's entry or exit, where the frame pointer is still, or again, the caller's.
    /// Following it there would silently leave out the caller.
    #[inline(always)]
    fn step_at_edge<M: Memory>(&mut self, memory: &M) -> Option<Method> {
        let next = memory.word(self.ip)?;
        let (at, method) = match code::edge(next) {
            code::Edge::None => return None,
            code::Edge::Entry | code::Edge::Return => (self.sp, Method::AtEntry),
            code::Edge::AfterPush => (self.sp.wrapping_add(8), Method::AfterPush),
        };
        let ip = memory.word(at)?;
        if !is_code_address(ip) {
            return None;
        }
        // The same bytes occur elsewhere (a `push %rbp` after other pushes): only what a call left behind counts.
        let before = memory.word(ip.wrapping_sub(8))?;
        if !code::ends_in_call(before) {
            return None;
        }
        *self = Self::caller(ip, at.wrapping_add(8), self.bp);
        Some(method)
    }

    #[inline(always)]
    fn step_frame_pointer<M: Memory>(&mut self, memory: &M) -> Result<Method, WalkEnd> {
        let frame = self.bp;
        if frame == 0 {
            return Err(WalkEnd::ZeroFramePointer);
        }
        // A frame lies at or above the stack pointer; the stack grows down, so callers lie higher.
        if frame < self.sp {
            return Err(WalkEnd::NotAscending);
        }
        let Some([bp, ip]) = memory.pair(frame) else { return Err(WalkEnd::UnreadableStack) };
        if !is_code_address(ip) {
            return Err(WalkEnd::BadReturnAddress);
        }
        // Of a caller, which instructions are not looked at, that is all that the step depends on.
        let origin = if self.is_caller { origin::of(frame.wrapping_add(8), frame) } else { origin::UNKNOWN };
        *self = Self { origin, ..Self::caller(ip, frame.wrapping_add(16), bp) };
        Ok(Method::FramePointer)
    }
}

#[inline(always)]
fn is_code_address(ip: u64) -> bool {
    (USER_START..USER_END).contains(&ip)
}

#[cfg(test)]
mod tests;
