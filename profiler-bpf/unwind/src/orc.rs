//! From a frame of the kernel to its caller, by the kernel's own unwind tables.
//!
//! The kernel keeps, for each stretch of its code, an entry of six bytes in `.orc_unwind` and its start in
//! `.orc_unwind_ip`. Format: arch/x86/include/asm/orc_types.h; how it is used: Documentation/arch/x86/orc-unwinder.rst.
//! An entry is turned into an [`OrcRule`] of 32 bits, so that it can be kept beside an address in one word.

/// The kernel's memory.
pub trait KernelMemory {
    /// The word at `address`; none if it cannot be read.
    fn word(&self, address: u64) -> Option<u64>;
    /// The two words at `address`; none if either cannot be read.
    fn pair(&self, address: u64) -> Option<[u64; 2]>;
}

/// Bits of an entry's third word. The registers stand below, in eight bits, in every version.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Up to 6.2: `type` of two bits, then `end`.
    WithEnd = 0,
    /// Since 6.4: `type` of three bits, then `signal`.
    WithSignal = 1,
}

/// What an entry describes. The numbers are those of `type` since 6.4.
mod kind {
    pub(super) const UNDEFINED: u32 = 0;
    pub(super) const END: u32 = 1;
    pub(super) const CALL: u32 = 2;
    pub(super) const REGISTERS: u32 = 3;
    pub(super) const PARTIAL: u32 = 4;
    /// Ours: what does not fit a rule.
    pub(super) const UNSUPPORTED: u32 = 7;
}

/// The kernel's numbers of registers (`ORC_REG_*`).
mod register {
    pub(super) const UNDEFINED: u32 = 0;
    pub(super) const PREVIOUS_SP: u32 = 1;
    pub(super) const BP: u32 = 4;
    pub(super) const SP: u32 = 5;
    pub(super) const BP_INDIRECT: u32 = 8;
    pub(super) const SP_INDIRECT: u32 = 9;
}

/// Where `struct pt_regs` keeps rbp, and where it ends in rip, cs, flags, rsp and ss, as the processor pushes them.
const REGISTERS_BP: u64 = 0x20;
const REGISTERS_IRET: u64 = 0x80;
/// From there: rsp.
const IRET_SP: u64 = 24;

/// How to step out of a frame. From the lowest bit: kind 3, base of the stack pointer 4, base of the saved frame pointer
/// 2 (0 is unchanged, 1 the caller's stack pointer, 2 rbp), interrupted 1, offset from the first base 13, from the
/// second 9, both in words of eight bytes and signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrcRule(pub u32);

impl OrcRule {
    /// Nothing can be done with it.
    pub const UNSUPPORTED: Self = Self(kind::UNSUPPORTED);

    /// Packs an entry: `sp_offset`, `bp_offset`, and the word of bit-fields.
    #[inline(always)]
    pub const fn pack(entry: [u16; 3], layout: u32) -> Self {
        let (sp_offset, bp_offset, fields) = (entry[0] as u32, entry[1] as u32, entry[2] as u32);
        let (sp_base, bp_base) = (fields & 15, fields >> 4 & 15);
        let (kind, interrupted);
        if layout == Layout::WithSignal as u32 {
            kind = fields >> 8 & 7;
            interrupted = fields >> 11 & 1;
        } else {
            let is_end = fields >> 10 & 1 != 0;
            let old = fields >> 8 & 3;
            kind = if sp_base == register::UNDEFINED { is_end as u32 } else { old + kind::CALL };
            interrupted = (old != 0) as u32;
        }
        if kind == kind::UNDEFINED || kind == kind::END {
            return Self(kind);
        }
        let saved = match bp_base {
            register::UNDEFINED => 0,
            register::PREVIOUS_SP => 1,
            register::BP => 2,
            _ => return Self::UNSUPPORTED,
        };
        let bp_words = bp_offset >> 3;
        // What does not fit nine bits with their sign, of thirteen.
        let is_far = bp_words & 0x1f00 != 0 && bp_words & 0x1f00 != 0x1f00;
        if (sp_offset | bp_offset) & 7 != 0 || is_far {
            return Self::UNSUPPORTED;
        }
        Self(
            kind | sp_base << 3
                | saved << 7
                | interrupted << 9
                | (sp_offset >> 3) << 10
                | (bp_words & 0x1ff) << 23,
        )
    }

    #[inline(always)]
    fn sp_offset(self) -> u64 {
        (((self.0 << 9) as i32 >> 19) as i64 as u64) << 3
    }

    #[inline(always)]
    fn bp_offset(self) -> u64 {
        ((self.0 as i32 >> 23) as i64 as u64) << 3
    }
}

/// Why a walk through the kernel ended.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelEnd {
    /// At the border to user code, or where the kernel's entries say that nothing called.
    Complete = 1,
    /// At an entry that says that nothing is known: the kernel's own walk ends there too.
    Undefined = 2,
    /// More frames than are wanted.
    DepthLimit = 3,
    /// Code outside the kernel's image: a module, a BPF program, a trampoline; or a return address that a tracer has
    /// replaced.
    ForeignCode = 4,
    /// An entry that is not understood, or could not be read.
    Unsupported = 5,
    /// The stack could not be read.
    UnreadableStack = 6,
    /// The caller's frame does not lie above.
    NotAscending = 7,
}

impl KernelEnd {
    /// All, by number, from 1 on.
    pub const ALL: [Self; 7] = [
        Self::Complete,
        Self::Undefined,
        Self::DepthLimit,
        Self::ForeignCode,
        Self::Unsupported,
        Self::UnreadableStack,
        Self::NotAscending,
    ];

    /// The end of a number out of a record; none for a number this version does not know.
    pub fn from_raw(raw: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|end| *end as u8 == raw)
    }

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Undefined => "undefined",
            Self::DepthLimit => "depth_limit",
            Self::ForeignCode => "foreign_code",
            Self::Unsupported => "unsupported",
            Self::UnreadableStack => "unreadable_stack",
            Self::NotAscending => "not_ascending",
        }
    }

    /// Whether the frames are what the kernel's own walk finds; if not, that one should be asked.
    pub const fn is_whole(end: u8) -> bool {
        end >= Self::Complete as u8 && end <= Self::DepthLimit as u8
    }
}

/// One frame of the kernel's stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelWalk {
    /// Address of the instruction: the interrupted one, or a return address.
    pub ip: u64,
    /// Stack pointer in this frame.
    pub sp: u64,
    /// Frame-pointer register in this frame, unless `bp_at` says where it is saved.
    pub bp: u64,
    /// Where the register is saved; 0: in `bp`. Few frames need it, so it is read only by those.
    pub bp_at: u64,
    /// Whether `ip` is a return address: its rule is that of the byte before.
    pub is_caller: bool,
}

impl KernelWalk {
    /// Turns `self` into its caller by a rule, or says why it cannot.
    #[inline(always)]
    pub fn step<M: KernelMemory>(&mut self, memory: &M, rule: OrcRule) -> Result<(), KernelEnd> {
        let kind = rule.0 & 7;
        if kind == kind::UNDEFINED {
            return Err(KernelEnd::Undefined);
        }
        if kind == kind::END {
            return Err(KernelEnd::Complete);
        }
        if kind > kind::PARTIAL {
            return Err(KernelEnd::Unsupported);
        }
        let base = rule.0 >> 3 & 15;
        let mut sp;
        if base == register::SP {
            sp = self.sp.wrapping_add(rule.sp_offset());
            // Other bases may lead to another of the kernel's stacks, which can lie anywhere.
            if kind == kind::CALL && sp <= self.sp {
                return Err(KernelEnd::NotAscending);
            }
        } else if base == register::SP_INDIRECT {
            let Some(word) = memory.word(self.sp) else { return Err(KernelEnd::UnreadableStack) };
            sp = word.wrapping_add(rule.sp_offset());
        } else if base == register::BP || base == register::BP_INDIRECT {
            self.read_bp(memory)?;
            sp = self.bp.wrapping_add(rule.sp_offset());
            if base == register::BP_INDIRECT {
                let Some(word) = memory.word(sp) else { return Err(KernelEnd::UnreadableStack) };
                sp = word;
            }
        } else {
            return Err(KernelEnd::Unsupported);
        }
        if kind == kind::CALL {
            let Some(ip) = memory.word(sp.wrapping_sub(8)) else { return Err(KernelEnd::UnreadableStack) };
            (self.ip, self.sp) = (ip, sp);
        } else {
            self.step_out_of_interrupt(memory, sp, kind == kind::REGISTERS)?;
        }
        let saved = rule.0 >> 7 & 3;
        if saved == 1 {
            self.bp_at = sp.wrapping_add(rule.bp_offset());
        } else if saved == 2 {
            self.read_bp(memory)?;
            self.bp_at = self.bp.wrapping_add(rule.bp_offset());
        } else if kind == kind::REGISTERS {
            self.bp_at = sp.wrapping_add(REGISTERS_BP);
        }
        self.is_caller = rule.0 >> 9 & 1 == 0;
        Ok(())
    }

    /// The registers of what was interrupted lie at `sp`: all of them, or only those that the processor pushed.
    #[inline(always)]
    fn step_out_of_interrupt<M: KernelMemory>(
        &mut self,
        memory: &M,
        sp: u64,
        all: bool,
    ) -> Result<(), KernelEnd> {
        let at = if all { sp.wrapping_add(REGISTERS_IRET) } else { sp };
        let Some([ip, cs]) = memory.pair(at) else { return Err(KernelEnd::UnreadableStack) };
        // The two low bits of the code segment are the privilege level.
        if cs & 3 != 0 {
            return Err(KernelEnd::Complete);
        }
        let Some(sp) = memory.word(at.wrapping_add(IRET_SP)) else { return Err(KernelEnd::UnreadableStack) };
        (self.ip, self.sp) = (ip, sp);
        Ok(())
    }

    #[inline(always)]
    fn read_bp<M: KernelMemory>(&mut self, memory: &M) -> Result<(), KernelEnd> {
        if self.bp_at != 0 {
            let Some(bp) = memory.word(self.bp_at) else { return Err(KernelEnd::UnreadableStack) };
            (self.bp, self.bp_at) = (bp, 0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
