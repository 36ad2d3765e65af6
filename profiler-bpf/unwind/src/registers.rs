//! Registers beyond the three that a walk carries along.
//!
//! A rule of hand-written code may need any: OpenSSL's routines keep the caller's stack pointer in rax, realigned
//! functions keep it in r10. They are known where no call has overwritten them yet: in the sampled frame, and in one
//! that a signal interrupted, whose registers the kernel has put on the stack.
//!
//! Numbers are DWARF's: x86-64 psABI, figure 3.36.

use crate::{Memory, Walk};

/// Of a caller: not known.
pub const UNKNOWN: u64 = 0;
/// Of the sampled frame: [`Memory::register`] has them. No address of saved registers.
pub const SAMPLED: u64 = 1;

/// Number of rbp.
pub const RBP: u8 = 6;
/// Number of rsp.
pub const RSP: u8 = 7;

/// `ucontext_t.uc_mcontext.gregs` in bytes from the stack pointer in a signal trampoline: the frame starts with the
/// `ucontext` (the return address to the trampoline is popped). Its order: r8 to r15, rdi, rsi, rbp, rbx, rdx, rax,
/// rcx, rsp, rip (glibc's sys/ucontext.h).
pub(crate) const SIGNAL_REGISTERS: u64 = 40;

/// Where `gregs` has a register, in words; by number, a digit each from the lowest on.
const IN_GREGS: u64 = 0x7654_3210_fa89_becd;
/// Where `struct pt_regs` has a register, in words: r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi,
/// rdi (and, out of a digit's reach, rsp). The kernel's arch/x86/include/asm/ptrace.h.
const IN_PT_REGS: u64 = 0x0123_6789_04ed_5bca;

/// Where `struct pt_regs` has rsp, in bytes.
pub const RSP_IN_PT_REGS: u64 = 19 * 8;
/// Where `struct pt_regs` has rip, in bytes.
pub const RIP_IN_PT_REGS: u64 = 16 * 8;

/// Where `gregs` has a register, in bytes.
#[inline(always)]
pub(crate) const fn in_gregs(number: u8) -> u64 {
    (IN_GREGS >> (4 * (number & 15) as u32) & 15) * 8
}

/// Where `struct pt_regs` has a register, in bytes; not for rsp.
#[inline(always)]
pub const fn in_pt_regs(number: u8) -> u64 {
    (IN_PT_REGS >> (4 * (number & 15) as u32) & 15) * 8
}

impl Walk {
    /// A register of this frame, as far as it is known.
    #[inline(always)]
    pub(crate) fn register<M: Memory>(&self, memory: &M, number: u8) -> Option<u64> {
        if number == RSP {
            return Some(self.sp);
        }
        if number == RBP {
            return Some(self.bp);
        }
        match self.registers {
            UNKNOWN => None,
            SAMPLED => memory.register(number),
            saved => memory.word(saved.wrapping_add(in_gregs(number))),
        }
    }
}
