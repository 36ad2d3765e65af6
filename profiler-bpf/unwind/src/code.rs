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

/// What the next eight bytes of code say.
#[inline(always)]
pub(crate) fn edge(next: u64) -> Edge {
    const ENDBR64: u64 = 0xfa1e_0ff3;
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
