//! What call frame information says of one stretch of code, packed into a word.
//!
//! A [`Rule`] tells where, at an instruction, the canonical frame address (CFA), the caller's frame pointer and
//! the return address are; it is the part of a DWARF row that a walk needs. Nearly every rule packs into one u64;
//! a rare one with a far frame pointer or an unusual return address takes a second word ([`Rule::is_wide`]).
//! Nothing is rounded: what fits in neither is [`Cfa::Unsupported`], with its [`Reason`].
//!
//! The fields are flat, and each has a value in every rule, on purpose. An enum that carries its operands leaves
//! them undefined in the other variants, and the BPF verifier refuses a program that so much as copies those.
//!
//! A packed word, from the lowest bit: CFA kind 4, register or reason 4, frame-pointer kind 3, wide 1, return
//! address kind 1, interrupted 1, unused 2, frame-pointer operand 16, CFA operand 32. The CFA operand is an offset
//! of 32 bits, or an offset and an addend of 16 each. The second word: frame-pointer operand 32, return-address
//! operand 32.
//!
//! Register numbers are DWARF's: x86-64 psABI, figure 3.36.

/// Where the canonical frame address (the stack pointer in the caller, after the return) comes from.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Cfa {
    /// Nothing is known here: a gap between functions, or code without call frame information.
    #[default]
    None = 0,
    /// rsp + offset.
    Rsp = 1,
    /// rbp + offset.
    Rbp = 2,
    /// Another register + offset.
    Register = 3,
    /// rsp + offset, and 8 more from the `addend`th byte of a 16-byte entry of the procedure linkage table on.
    Plt = 4,
    /// The word at rsp + offset, + addend.
    DerefRsp = 5,
    /// The word at rbp + offset, + addend.
    DerefRbp = 6,
    /// A signal frame of the kernel's making: rsp points at its `ucontext`.
    Signal = 7,
    /// The return address is undefined: the outermost frame.
    End = 8,
    /// Known, but not expressible here; the reason is in the register's place.
    Unsupported = 9,
    /// rbp + offset, on another stack than this frame's.
    OtherStack = 10,
    /// Of Go: rsp as the thread's goroutine has left it, + offset. Where the thread's `m` names its goroutine is the addend.
    Goroutine = 11,
    /// Of Go: rsp as the goroutine has left it of which the word at rsp + offset + 8 is the address, + addend. The word at rsp +
    /// offset is the depth: how far below the end of the goroutine's stack.
    LeftGoroutine = 12,
    /// Of Go: the caller is the thread's goroutine, where it was left; the offset is that of its name in `m`.
    Parked = 13,
}

impl Cfa {
    /// Whether the caller's frame lies on another stack, which may be anywhere.
    #[inline(always)]
    pub const fn is_on_other_stack(self) -> bool {
        matches!(self, Self::OtherStack | Self::Goroutine | Self::LeftGoroutine | Self::Parked)
    }

    /// Whether an addend goes with the offset, which has 16 bits then.
    #[inline(always)]
    const fn has_addend(self) -> bool {
        matches!(self, Self::Plt | Self::DerefRsp | Self::DerefRbp | Self::Goroutine | Self::LeftGoroutine)
    }
}

/// Where the caller's rbp is.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Rbp {
    /// Still in rbp.
    #[default]
    Same = 0,
    /// In memory, at CFA + operand.
    AtCfa = 1,
    /// In memory, at this frame's rbp + operand: realigned stacks.
    AtRbp = 2,
    /// In memory, at this frame's rsp + operand.
    AtRsp = 3,
    /// In the register whose number is the operand.
    InRegister = 4,
    /// Gone, says the call frame information.
    Undefined = 5,
    /// Somewhere that is not expressible here.
    Unsupported = 6,
}

/// Where the return address is.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ReturnAddress {
    /// In memory, at CFA + operand; -8 in all but hand-written code.
    #[default]
    AtCfa = 0,
    /// In the register whose number is the operand.
    InRegister = 1,
}

/// Why a row is [`Cfa::Unsupported`].
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The CFA is an expression of a form that is not known here.
    CfaExpression = 0,
    /// The CFA is in a register that is no general one.
    CfaRegister = 1,
    /// An offset does not fit.
    Offset = 2,
    /// The return address is where none can be followed.
    ReturnAddress = 3,
    /// More different rules within a block than a palette holds.
    Crowded = 4,
    /// The caller's stack pointer is not the CFA.
    StackPointer = 5,
}

impl Reason {
    /// All, by number.
    pub const ALL: [Self; 6] = [
        Self::CfaExpression,
        Self::CfaRegister,
        Self::Offset,
        Self::ReturnAddress,
        Self::Crowded,
        Self::StackPointer,
    ];
}

/// How to get from a frame to its caller at one stretch of code. What a kind does not use is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Where the CFA comes from.
    pub cfa: Cfa,
    /// Of [`Cfa::Register`]: its DWARF number, 0 to 15. Of [`Cfa::Unsupported`]: the [`Reason`].
    pub cfa_register: u8,
    /// Bytes; of the kinds with an addend it has 16 bits.
    pub cfa_offset: i32,
    /// Bytes. Of [`Cfa::Plt`]: which byte of an entry follows its `push`.
    pub cfa_addend: i16,
    /// Where the caller's rbp is.
    pub rbp: Rbp,
    /// An offset in bytes, or a register's DWARF number.
    pub rbp_operand: i32,
    /// Where the return address is.
    pub return_address: ReturnAddress,
    /// An offset in bytes, or a register's DWARF number.
    pub return_address_operand: i32,
    /// The caller was interrupted (by a signal): its instruction comes next, it is no return address.
    pub interrupts: bool,
}

/// Where a call leaves the return address, in bytes from the CFA.
pub const RETURN_ADDRESS_OFFSET: i32 = -8;

const RBP_KIND: u32 = 8;
const WIDE: u64 = 1 << 11;
const RETURN_ADDRESS_KIND: u32 = 12;
const INTERRUPTS: u32 = 13;

impl Rule {
    /// Nothing is known; packs to zero.
    pub const NONE: Self = Self::of(Cfa::None);
    /// The outermost frame.
    pub const END: Self = Self::of(Cfa::End);
    /// A signal frame.
    pub const SIGNAL: Self = Self { interrupts: true, ..Self::of(Cfa::Signal) };

    const fn of(cfa: Cfa) -> Self {
        Self {
            cfa,
            cfa_register: 0,
            cfa_offset: 0,
            cfa_addend: 0,
            rbp: Rbp::Same,
            rbp_operand: 0,
            return_address: ReturnAddress::AtCfa,
            return_address_operand: RETURN_ADDRESS_OFFSET,
            interrupts: false,
        }
    }

    /// CFA = register + offset; the number is DWARF's, its low four bits count.
    pub const fn register(register: u8, offset: i32) -> Self {
        match register & 15 {
            6 => Self { cfa_offset: offset, ..Self::of(Cfa::Rbp) },
            7 => Self { cfa_offset: offset, ..Self::of(Cfa::Rsp) },
            other => Self { cfa_register: other, cfa_offset: offset, ..Self::of(Cfa::Register) },
        }
    }

    /// CFA = rsp + offset, and 8 more from byte `pushed` of a 16-byte entry on.
    pub const fn plt(offset: i16, pushed: i16) -> Self {
        Self { cfa_offset: offset as i32, cfa_addend: pushed, ..Self::of(Cfa::Plt) }
    }

    /// CFA = the word at rsp + offset, + addend.
    pub const fn deref_rsp(offset: i16, addend: i16) -> Self {
        Self { cfa_offset: offset as i32, cfa_addend: addend, ..Self::of(Cfa::DerefRsp) }
    }

    /// CFA = the word at rbp + offset, + addend.
    pub const fn deref_rbp(offset: i16, addend: i16) -> Self {
        Self { cfa_offset: offset as i32, cfa_addend: addend, ..Self::of(Cfa::DerefRbp) }
    }

    /// CFA = rbp + offset, on another stack.
    pub const fn other_stack(offset: i32) -> Self {
        Self { cfa_offset: offset, ..Self::of(Cfa::OtherStack) }
    }

    /// CFA = rsp as the thread's goroutine has left it, + offset; `goroutine_at` is an offset in Go's `m`.
    pub const fn goroutine(offset: i16, goroutine_at: i16) -> Self {
        Self { cfa_offset: offset as i32, cfa_addend: goroutine_at, ..Self::of(Cfa::Goroutine) }
    }

    /// The caller is the thread's goroutine, where it was left.
    pub const fn parked(goroutine_at: i16) -> Self {
        Self { cfa_offset: goroutine_at as i32, ..Self::of(Cfa::Parked) }
    }

    /// CFA = rsp as the goroutine that is named at rsp + offset + 8 has left it, + addend.
    pub const fn left_goroutine(offset: i16, addend: i16) -> Self {
        Self { cfa_offset: offset as i32, cfa_addend: addend, ..Self::of(Cfa::LeftGoroutine) }
    }

    /// Known, but not expressible.
    pub const fn unsupported(reason: Reason) -> Self {
        Self { cfa_register: reason as u8, ..Self::of(Cfa::Unsupported) }
    }

    /// Why the rule is unsupported; none if it is supported.
    pub fn reason(&self) -> Option<Reason> {
        match self.cfa {
            Cfa::Unsupported => Reason::ALL.get(self.cfa_register as usize).copied(),
            _ => None,
        }
    }

    /// The rule's word, and its second one: zero, and to be left out, unless the first [is wide](Self::is_wide).
    pub const fn pack(self) -> (u64, u64) {
        let is_wide = self.rbp_operand as i16 as i32 != self.rbp_operand
            || !matches!(self.return_address, ReturnAddress::AtCfa)
            || self.return_address_operand != RETURN_ADDRESS_OFFSET;
        let cfa_operand = if self.cfa.has_addend() {
            self.cfa_offset as u16 as u32 | (self.cfa_addend as u16 as u32) << 16
        } else {
            self.cfa_offset as u32
        };
        let kinds = self.cfa as u64
            | ((self.cfa_register & 15) as u64) << 4
            | (self.rbp as u64) << RBP_KIND
            | (self.return_address as u64) << RETURN_ADDRESS_KIND
            | (self.interrupts as u64) << INTERRUPTS
            | (cfa_operand as u64) << 32;
        if is_wide {
            let second = self.rbp_operand as u32 as u64 | (self.return_address_operand as u32 as u64) << 32;
            (kinds | WIDE, second)
        } else {
            (kinds | (self.rbp_operand as u16 as u64) << 16, 0)
        }
    }

    /// Whether a second word follows this one.
    #[inline(always)]
    pub const fn is_wide(word: u64) -> bool {
        word & WIDE != 0
    }

    /// The rule of a word and, where the word is wide, its second one. Words that no rule packs to give some rule.
    #[inline(always)]
    pub const fn unpack(word: u64, second: u64) -> Self {
        let cfa = cfa_kind(word);
        let (cfa_offset, cfa_addend) = if cfa.has_addend() {
            ((word >> 32) as i16 as i32, (word >> 48) as i16)
        } else {
            ((word >> 32) as i32, 0)
        };
        let (rbp_operand, return_address_operand) = if Self::is_wide(word) {
            (second as i32, (second >> 32) as i32)
        } else {
            ((word >> 16) as i16 as i32, RETURN_ADDRESS_OFFSET)
        };
        Self {
            cfa,
            cfa_register: (word >> 4 & 15) as u8,
            cfa_offset,
            cfa_addend,
            rbp: rbp_kind(word),
            rbp_operand,
            return_address: if word >> RETURN_ADDRESS_KIND & 1 == 0 {
                ReturnAddress::AtCfa
            } else {
                ReturnAddress::InRegister
            },
            return_address_operand,
            interrupts: word >> INTERRUPTS & 1 != 0,
        }
    }

    /// Whether this is the word of a rule as compilers make them: the CFA from rsp or rbp, the return address below it, the
    /// caller's rbp still there or saved at an offset from the CFA.
    #[inline(always)]
    pub const fn is_plain(word: u64) -> bool {
        const { assert!(Cfa::Rsp as u64 == 1 && Cfa::Rbp as u64 == 2) };
        const { assert!(Rbp::Same as u64 == 0 && Rbp::AtCfa as u64 == 1) };
        const UNUSUAL: u64 = 0b110 << RBP_KIND | WIDE | 1 << RETURN_ADDRESS_KIND | 1 << INTERRUPTS;
        (word & 15).wrapping_sub(1) < 2 && word & UNUSUAL == 0
    }

    /// Of a plain word: whether the caller's rbp was saved.
    #[inline(always)]
    pub(crate) const fn saves_rbp(word: u64) -> bool {
        word & 1 << RBP_KIND != 0
    }

    /// Whether a rule packs to these words: those of a stored table are checked with this.
    pub fn is_packed(word: u64, second: u64) -> bool {
        let rule = Self::unpack(word, second);
        let is_one_of_ours = match rule.cfa {
            Cfa::None => rule == Self::NONE,
            Cfa::Unsupported => rule.reason().is_some(),
            _ => true,
        };
        is_one_of_ours && rule.pack() == (word, second)
    }
}

#[inline(always)]
const fn cfa_kind(word: u64) -> Cfa {
    match word & 15 {
        1 => Cfa::Rsp,
        2 => Cfa::Rbp,
        3 => Cfa::Register,
        4 => Cfa::Plt,
        5 => Cfa::DerefRsp,
        6 => Cfa::DerefRbp,
        7 => Cfa::Signal,
        8 => Cfa::End,
        9 => Cfa::Unsupported,
        10 => Cfa::OtherStack,
        11 => Cfa::Goroutine,
        12 => Cfa::LeftGoroutine,
        13 => Cfa::Parked,
        _ => Cfa::None,
    }
}

#[inline(always)]
const fn rbp_kind(word: u64) -> Rbp {
    match word >> RBP_KIND & 7 {
        0 => Rbp::Same,
        1 => Rbp::AtCfa,
        2 => Rbp::AtRbp,
        3 => Rbp::AtRsp,
        4 => Rbp::InRegister,
        5 => Rbp::Undefined,
        _ => Rbp::Unsupported,
    }
}

#[cfg(test)]
mod tests;
