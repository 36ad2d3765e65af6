//! One step by a rule of the call frame information.

use profiler_abi::{Method, WalkEnd};

use crate::{
    Memory, Walk, is_code_address,
    rule::{Cfa, Rbp, ReturnAddress, Rule},
};

/// Where `ucontext_t.uc_mcontext` keeps registers, in bytes from the stack pointer in a signal trampoline: the frame
/// starts with the ucontext (the return address to the trampoline is popped), whose `gregs` begin at 40. Order of
/// `gregs`: r8 to r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip (glibc's sys/ucontext.h).
const SIGNAL_BP: u64 = 40 + 8 * 10;
const SIGNAL_SP: u64 = 40 + 8 * 15;

/// DWARF's number of rsp.
const RSP: i32 = 7;

impl Walk {
    /// Turns `self` into its caller by a rule, or says why it cannot.
    #[inline(always)]
    pub fn step_by_rule<M: Memory>(&mut self, memory: &M, rule: &Rule) -> Result<Method, WalkEnd> {
        let offset = rule.cfa_offset as i64 as u64;
        let addend = rule.cfa_addend as i64 as u64;
        let cfa = match rule.cfa {
            Cfa::Rsp => self.sp.wrapping_add(offset),
            Cfa::Rbp => self.bp.wrapping_add(offset),
            Cfa::Plt => {
                let pushed = if self.ip & 15 >= addend { 8 } else { 0 };
                self.sp.wrapping_add(offset).wrapping_add(pushed)
            }
            Cfa::DerefRsp => {
                let Some(word) = memory.word(self.sp.wrapping_add(offset)) else {
                    return Err(WalkEnd::UnreadableStack);
                };
                word.wrapping_add(addend)
            }
            Cfa::DerefRbp => {
                let Some(word) = memory.word(self.bp.wrapping_add(offset)) else {
                    return Err(WalkEnd::UnreadableStack);
                };
                word.wrapping_add(addend)
            }
            Cfa::Signal => return self.step_signal(memory),
            Cfa::End => return Err(WalkEnd::Proven),
            Cfa::None => return Err(WalkEnd::NoRow),
            Cfa::Register | Cfa::Unsupported => return Err(WalkEnd::UnsupportedRule),
        };
        // The stack grows down, so a caller's frame lies higher.
        if cfa <= self.sp {
            return Err(WalkEnd::NotAscending);
        }
        self.step_to(memory, rule, cfa)
    }

    #[inline(always)]
    fn step_to<M: Memory>(&mut self, memory: &M, rule: &Rule, cfa: u64) -> Result<Method, WalkEnd> {
        let return_at = cfa.wrapping_add(rule.return_address_operand as i64 as u64);
        let operand = rule.rbp_operand as i64 as u64;
        let mut bp = self.bp;
        let ip;
        if matches!(rule.return_address, ReturnAddress::InRegister) {
            // Of the registers that hold one in hand-written code only the two we keep can be followed.
            return Err(WalkEnd::UnsupportedRule);
        }
        if matches!(rule.rbp, Rbp::AtCfa) && cfa.wrapping_add(operand).wrapping_add(8) == return_at {
            // Nearly always side by side: one read.
            let Some([saved, address]) = memory.pair(cfa.wrapping_add(operand)) else {
                return Err(WalkEnd::UnreadableStack);
            };
            bp = saved;
            ip = address;
        } else {
            let Some(address) = memory.word(return_at) else { return Err(WalkEnd::UnreadableStack) };
            ip = address;
            let base = match rule.rbp {
                Rbp::AtCfa => cfa,
                Rbp::AtRbp => self.bp,
                Rbp::AtRsp => self.sp,
                _ => 0,
            };
            if base != 0 {
                let Some(saved) = memory.word(base.wrapping_add(operand)) else {
                    return Err(WalkEnd::UnreadableStack);
                };
                bp = saved;
            } else if matches!(rule.rbp, Rbp::InRegister) && rule.rbp_operand == RSP {
                bp = self.sp;
            } else if !matches!(rule.rbp, Rbp::Same) {
                // Lost: a caller that needs it will find no frame at zero, and say so.
                bp = 0;
            }
        }
        if !is_code_address(ip) {
            return Err(WalkEnd::BadReturnAddress);
        }
        *self = Self { ip, sp: cfa, bp, is_caller: !rule.interrupts };
        Ok(Method::Table)
    }

    /// From a signal trampoline to what was interrupted.
    #[inline(always)]
    fn step_signal<M: Memory>(&mut self, memory: &M) -> Result<Method, WalkEnd> {
        let Some(bp) = memory.word(self.sp.wrapping_add(SIGNAL_BP)) else {
            return Err(WalkEnd::UnreadableStack);
        };
        let Some([sp, ip]) = memory.pair(self.sp.wrapping_add(SIGNAL_SP)) else {
            return Err(WalkEnd::UnreadableStack);
        };
        if !is_code_address(ip) {
            return Err(WalkEnd::BadReturnAddress);
        }
        *self = Self { ip, sp, bp, is_caller: false };
        Ok(Method::Table)
    }
}
