//! One step by a rule of the call frame information.
//!
//! In the kernel a sample finds next to nothing of this code in the CPU's cache, so the few instructions for what
//! compilers make stand together, and the rest is out of their way.

use profiler_abi::{Method, WalkEnd};

use crate::{
    Memory, Walk, goroutine, is_code_address, origin,
    registers::{self, RBP, RSP, SIGNAL_REGISTERS, in_gregs},
    rule::{Cfa, Rbp, ReturnAddress, Rule},
};

impl Walk {
    /// Turns `self` into its caller by a rule, or says why it cannot.
    pub fn step_by_rule<M: Memory>(&mut self, memory: &M, rule: &Rule) -> Result<Method, WalkEnd> {
        let (word, second) = rule.pack();
        self.step_by_packed(memory, word, second)
    }

    /// The same by a rule's words.
    #[inline(always)]
    pub fn step_by_packed<M: Memory>(
        &mut self,
        memory: &M,
        word: u64,
        second: u64,
    ) -> Result<Method, WalkEnd> {
        if !Rule::is_plain(word) {
            return match self.step_by_any(memory, word, second) {
                None if self.is_caller => Ok(Method::Table),
                None => Ok(Method::Interrupted),
                Some(end) => Err(end),
            };
        }
        let base = if word & 15 == Cfa::Rbp as u64 { self.bp } else { self.sp };
        let cfa = base.wrapping_add((word >> 32) as i32 as i64 as u64);
        // The stack grows down, so a caller's frame lies higher.
        if cfa <= self.sp {
            return Err(WalkEnd::NotAscending);
        }
        let (mut bp, mut bp_at) = (self.bp, 0);
        // Nearly always below the return address, so that a stack is read upwards.
        if Rule::saves_rbp(word) {
            bp_at = cfa.wrapping_add((word >> 16) as i16 as i64 as u64);
            let Some(saved) = memory.stack_word(bp_at) else { return Err(WalkEnd::UnreadableStack) };
            bp = saved;
        }
        let ip_at = cfa.wrapping_sub(8);
        let Some(ip) = memory.stack_word(ip_at) else { return Err(WalkEnd::UnreadableStack) };
        if !is_code_address(ip) {
            return Err(no_caller(ip));
        }
        let origin = if self.is_caller { origin::of(ip_at, bp_at) } else { origin::UNKNOWN };
        *self = Self { origin, ..Self::caller(ip, cfa, bp) };
        Ok(Method::Table)
    }

    /// By any rule, plain ones included. Why it cannot; the method follows from the frame.
    ///
    /// A number, for the kernel's verifier: a `Result` of two would be returned by way of memory, and what is left in the
    /// register for the returned value may be an address then, which it refuses.
    #[inline(never)]
    pub(crate) fn step_by_any<M: Memory>(&mut self, memory: &M, word: u64, second: u64) -> Option<WalkEnd> {
        self.try_any(memory, word, second).err()
    }

    #[inline(always)]
    fn try_any<M: Memory>(&mut self, memory: &M, word: u64, second: u64) -> Result<(), WalkEnd> {
        let rule = &Rule::unpack(word, second);
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
            Cfa::OtherStack => self.bp.wrapping_add(offset),
            Cfa::Goroutine => {
                let Some([sp, _]) = goroutine::parked(memory, addend) else {
                    return Err(WalkEnd::UnreadableStack);
                };
                sp.wrapping_add(offset)
            }
            Cfa::Parked => return self.step_to_parked(memory, offset),
            Cfa::LeftGoroutine => {
                let Some(sp) = goroutine::left_stack_pointer(memory, self.sp.wrapping_add(offset)) else {
                    return Err(WalkEnd::UnreadableStack);
                };
                sp.wrapping_add(addend)
            }
            Cfa::Signal => return self.step_signal(memory),
            Cfa::End => return Err(WalkEnd::Proven),
            Cfa::None => return Err(WalkEnd::NoRow),
            Cfa::Register => {
                let Some(base) = self.register(memory, rule.cfa_register) else {
                    return Err(WalkEnd::UnknownRegister);
                };
                base.wrapping_add(offset)
            }
            Cfa::Unsupported => return Err(WalkEnd::UnsupportedRule),
        };
        // The stack grows down, so a caller's frame lies higher; at the same place if the return address was popped.
        let popped = matches!(rule.return_address, ReturnAddress::InRegister);
        if !rule.cfa.is_on_other_stack() && (cfa < self.sp || (cfa == self.sp && !popped)) {
            return Err(WalkEnd::NotAscending);
        }
        self.step_to(memory, rule, cfa)
    }

    #[inline(always)]
    fn step_to<M: Memory>(&mut self, memory: &M, rule: &Rule, cfa: u64) -> Result<(), WalkEnd> {
        let operand = rule.rbp_operand as i64 as u64;
        let in_register = matches!(rule.return_address, ReturnAddress::InRegister);
        let return_at = cfa.wrapping_add(rule.return_address_operand as i64 as u64);
        let mut bp = self.bp;
        let mut bp_at = 0;
        let base = match rule.rbp {
            Rbp::AtCfa => cfa,
            Rbp::AtRbp => self.bp,
            Rbp::AtRsp => self.sp,
            _ => 0,
        };
        if base != 0 {
            bp_at = base.wrapping_add(operand);
            let Some(saved) = memory.stack_word(bp_at) else { return Err(WalkEnd::UnreadableStack) };
            bp = saved;
        } else if !matches!(rule.rbp, Rbp::Same) {
            bp = self.moved_rbp(memory, rule);
        }
        let ip = if in_register {
            let Some(address) = self.register(memory, rule.return_address_operand as u8) else {
                return Err(WalkEnd::UnknownRegister);
            };
            address
        } else {
            let Some(address) = memory.stack_word(return_at) else { return Err(WalkEnd::UnreadableStack) };
            address
        };
        if !is_code_address(ip) {
            let is_known = !in_register && !rule.cfa.is_on_other_stack();
            return Err(if is_known { no_caller(ip) } else { WalkEnd::BadReturnAddress });
        }
        let is_traced = !in_register
            && !rule.interrupts
            && !rule.cfa.is_on_other_stack()
            && !matches!(rule.cfa, Cfa::DerefRsp | Cfa::DerefRbp);
        let origin = if self.is_caller && is_traced { origin::of(return_at, bp_at) } else { origin::UNKNOWN };
        *self = Self { ip, sp: cfa, bp, is_caller: !rule.interrupts, registers: registers::UNKNOWN, origin };
        Ok(())
    }

    /// The caller's rbp out of another register. If it is lost, zero: a caller that needs it finds no frame there, and
    /// says so.
    #[inline(always)]
    fn moved_rbp<M: Memory>(&self, memory: &M, rule: &Rule) -> u64 {
        if !matches!(rule.rbp, Rbp::InRegister) {
            return 0;
        }
        self.register(memory, rule.rbp_operand as u8).unwrap_or_default()
    }

    /// To the goroutine that this thread works for, where it was left. Its frame pointer is not looked for: the first field that
    /// has moved between versions.
    #[inline(always)]
    fn step_to_parked<M: Memory>(&mut self, memory: &M, goroutine_at: u64) -> Result<(), WalkEnd> {
        let Some([sp, ip]) = goroutine::parked(memory, goroutine_at) else {
            return Err(WalkEnd::UnreadableStack);
        };
        if !is_code_address(ip) {
            return Err(WalkEnd::BadReturnAddress);
        }
        *self = Self::caller(ip, sp, 0);
        Ok(())
    }

    /// From a signal trampoline to what was interrupted.
    #[inline(always)]
    fn step_signal<M: Memory>(&mut self, memory: &M) -> Result<(), WalkEnd> {
        let saved = self.sp.wrapping_add(SIGNAL_REGISTERS);
        let Some(bp) = memory.word(saved.wrapping_add(in_gregs(RBP))) else {
            return Err(WalkEnd::UnreadableStack);
        };
        // rip stands behind rsp
        let Some([sp, ip]) = memory.pair(saved.wrapping_add(in_gregs(RSP))) else {
            return Err(WalkEnd::UnreadableStack);
        };
        if !is_code_address(ip) {
            return Err(WalkEnd::BadReturnAddress);
        }
        *self = Self { ip, sp, bp, is_caller: false, registers: saved, origin: origin::UNKNOWN };
        Ok(())
    }
}

/// What it means that the return address, where a rule says it is, is none of code. Nobody calls from address zero: that is what those who make a
/// stack by hand put there, for a coroutine that is never to return (Ruby's fibers, libco).
#[inline(always)]
fn no_caller(return_address: u64) -> WalkEnd {
    if return_address == 0 { WalkEnd::Proven } else { WalkEnd::BadReturnAddress }
}
