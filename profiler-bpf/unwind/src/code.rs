//! The few x86-64 instructions that tell where in a function the leaf stands.
//!
//! Encodings: Intel SDM volume 2. Words are eight bytes of code, first byte lowest.

/// Where a function's leaf frame stands.
pub(crate) enum Edge {
    /// Anywhere else: the frame pointer is set up, or never will be.
    None,
    /// Before `push %rbp`: the return address is on top of the stack.
    Entry,
    /// After it, before `mov %rsp,%rbp`: the return address is one word below.
    AfterPush,
    /// Before `ret`: the return address is on top again.
    Return,
}

const ENDBR64: u64 = 0xfa1e_0ff3;

/// What the next eight bytes of code say.
#[inline(always)]
pub(crate) fn edge(next: u64) -> Edge {
    if next & 0xff == 0x55 || next & 0xff_ffff_ffff == ENDBR64 | 0x55 << 32 {
        return Edge::Entry;
    }
    // mov %rsp,%rbp has two encodings
    if next & 0xff_ffff == 0xe5_8948 || next & 0xff_ffff == 0xec_8b48 {
        return Edge::AfterPush;
    }
    // ret; rep ret
    if next & 0xff == 0xc3 || next & 0xffff == 0xc3f3 {
        return Edge::Return;
    }
    Edge::None
}

/// Whether the eight bytes before an address end in a call of an address that the instruction tells.
#[inline(always)]
pub(crate) fn is_direct_call(before: u64) -> bool {
    (before >> 24) & 0xff == 0xe8
}

/// How far from its return address a direct call leads.
#[inline(always)]
pub(crate) fn direct_offset(before: u64) -> u64 {
    (before >> 32) as i32 as i64 as u64
}

/// Where an entry of the procedure linkage table has the address it jumps to, in bytes from its start; 0 if its first
/// sixteen bytes are no such entry: `jmp *disp32(%rip)`, behind `endbr64` and a `bnd` prefix if these are there.
#[inline(always)]
pub(crate) fn linkage_slot(first: u64, second: u64) -> u64 {
    let (mut at, mut rest) = (0, first);
    if first & 0xffff_ffff == ENDBR64 {
        (at, rest) = (4, first >> 32 | second << 32);
    }
    if rest & 0xff == 0xf2 {
        at += 1;
        rest = rest >> 8 | (if at == 5 { second >> 32 } else { second }) << 56;
    }
    if rest & 0xffff != 0x25ff {
        return 0;
    }
    let offset = (rest >> 16) as u32 as i32;
    (at + 6u64).wrapping_add(offset as i64 as u64)
}

/// Whether the eight bytes before an address (first byte lowest) end in a call, so that it can be a return address.
#[inline(always)]
pub fn ends_in_call(before: u64) -> bool {
    let byte = |i: u32| (before >> (8 * i)) & 0xff;
    let modrm_call = |modrm: u64| modrm & 0x38 == 0x10; // ff /2
    // call rel32
    if byte(3) == 0xe8 {
        return true;
    }
    // call *%reg, call *(%reg): 2 bytes
    if byte(6) == 0xff && modrm_call(byte(7)) {
        return true;
    }
    // call *disp8(%reg), or *(%reg,%reg) with a SIB byte: 3 bytes
    if byte(5) == 0xff && modrm_call(byte(6)) {
        return true;
    }
    // call *disp8(SIB): 4 bytes
    if byte(4) == 0xff && modrm_call(byte(5)) {
        return true;
    }
    // call *disp32(%reg), call *disp32(%rip): 6 bytes; with a SIB byte: 7 (fs-relative ones, too)
    (byte(2) == 0xff && modrm_call(byte(3))) || (byte(1) == 0xff && modrm_call(byte(2)))
}
