//! How functions of Go's runtime that change stacks get back: read off their code.
//!
//! Go's own table says how far below its place at the entry the stack pointer is, which means nothing once it points to another
//! stack. What leads back depends on the version, and all of it is seen in the code:
//!
//! * a function that keeps a frame pointer still has it: `asmcgocall` and `systemstack` since 1.21, `cgocallback`, `nanotime1`;
//! * `systemstack` before, and `morestack`: the goroutine knows where it left its stack, and its code;
//! * `asmcgocall` before 1.21 has written down on the new stack how deep it was on the old one, and whose that is.

use std::ops::Range;

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};
use profiler_unwind::Rule;
use profiler_unwind::rule::{Rbp, Reason};

/// Code of one function that is looked at; the largest of them has some 400 bytes.
pub(in super::super) const CODE_AT_MOST: u64 = 1024;
/// `push %rbp; mov %rsp,%rbp`
const PUSHES_FRAME: [u8; 4] = [0x55, 0x48, 0x89, 0xe5];
/// Offsets in Go's `m` that may be that of its goroutine: it has been at 0xb8 and 0xc0.
const GOROUTINE_AT: Range<i16> = 0x80..0x200;

/// Part of a function, and the rule that holds there in place of what Go's table says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct StackSwitch {
    pub(in super::super) range: Range<u64>,
    pub(in super::super) rule: Rule,
    /// Whether Go's table is right behind it.
    pub(in super::super) returns: bool,
}

impl StackSwitch {
    /// Says what holds in `rows` by Go's table, `rule`, but for where this does.
    pub(in super::super) fn instead(&self, rows: Range<u64>, rule: Rule, each: &mut impl FnMut(u64, Rule)) {
        let Self { range, rule: own, returns } = self;
        let behind = if *returns { rule } else { Rule::unsupported(Reason::StackPointer) };
        let parts = [(0..range.start, rule), (range.clone(), *own), (range.end..u64::MAX, behind)];
        for (part, rule) in parts {
            let (start, end) = (rows.start.max(part.start), rows.end.min(part.end));
            if start < end {
                each(start, rule);
            }
        }
    }
}

/// Where `m` names its goroutine, by the code of `systemstack`, which compares the two.
pub(in super::super) fn goroutine_at(start: u64, code: &[u8]) -> Option<i16> {
    let compared = instructions(start, code).filter(|instruction| {
        instruction.mnemonic() == Mnemonic::Cmp && instruction.memory_base() != Register::RIP
    });
    let offsets = compared.filter_map(|instruction| i16::try_from(instruction.memory_displacement64()).ok());
    offsets.filter(|offset| GOROUTINE_AT.contains(offset)).max()
}

/// The function's way back. None if it is of no kind that is known.
pub(in super::super) fn find(
    name: &[u8],
    start: u64,
    code: &[u8],
    goroutine_at: Option<i16>,
) -> Option<StackSwitch> {
    if let Some(range) = frame_pointer(start, code) {
        let rule = Rule { rbp: Rbp::AtCfa, rbp_operand: -16, ..Rule::other_stack(16) };
        return Some(StackSwitch { range, rule, returns: true });
    }
    // Behind the instruction that changes stacks.
    let mut rest = instructions(start, code).skip_while(|instruction| !moves_stack(instruction));
    let from = rest.next()?.next_ip();
    let rest: Vec<Instruction> = rest.collect();
    let to = rest.iter().find(|instruction| instruction.mnemonic() == Mnemonic::Ret)?.next_ip();
    let range = from..to;
    match name {
        // The scheduler's stack begins with it: what it leaves does not wait for it.
        b"runtime.mcall" => Some(StackSwitch { range, rule: Rule::END, returns: true }),
        b"runtime.systemstack" => {
            Some(StackSwitch { range, rule: Rule::goroutine(8, goroutine_at?), returns: true })
        }
        // The function that had no room may have moved to a larger stack already, without what was below it.
        b"runtime.morestack" => Some(StackSwitch { range, rule: Rule::parked(goroutine_at?), returns: true }),
        b"runtime.asmcgocall" => {
            let saved = rest.iter().take_while(|instruction| instruction.ip() < to).find_map(depth_at)?;
            Some(StackSwitch { range, rule: Rule::left_goroutine(saved, 8), returns: false })
        }
        _ => None,
    }
}

fn instructions(start: u64, code: &[u8]) -> impl Iterator<Item = Instruction> {
    let decoder = Decoder::with_ip(64, code, start, DecoderOptions::NONE);
    decoder.into_iter().take_while(|instruction| !instruction.is_invalid())
}

/// Where the function has its frame pointer, if it keeps one and leaves it alone in between.
fn frame_pointer(start: u64, code: &[u8]) -> Option<Range<u64>> {
    let mut all = instructions(start, code).peekable();
    if code.starts_with(&PUSHES_FRAME) {
        all.nth(1);
    } else {
        // Before 1.21: `sub`, `mov %rbp,…(%rsp)`, `lea …(%rsp),%rbp`.
        let first = all.find(|instruction| instruction.op0_register() == Register::RBP)?;
        if first.mnemonic() != Mnemonic::Lea || first.memory_base() != Register::RSP {
            return None;
        }
    }
    let from = all.peek()?.ip();
    // Written once more, it is given back: by then the stack is the old one.
    let given_back = all.find(writes_frame_pointer)?;
    match (given_back.mnemonic(), given_back.op1_kind()) {
        (Mnemonic::Pop, _) => Some(from..given_back.ip()),
        (Mnemonic::Mov, OpKind::Memory) => Some(from..given_back.next_ip()),
        _ => None,
    }
}

fn writes_frame_pointer(instruction: &Instruction) -> bool {
    let only_reads = matches!(instruction.mnemonic(), Mnemonic::Cmp | Mnemonic::Test | Mnemonic::Push);
    !only_reads && matches!(instruction.op0_register(), Register::RBP | Register::EBP)
}

fn moves_stack(instruction: &Instruction) -> bool {
    instruction.mnemonic() == Mnemonic::Mov && instruction.op0_register() == Register::RSP
}

/// Of `sub …(%rsp),%reg`: the offset, where the depth was saved.
fn depth_at(instruction: &Instruction) -> Option<i16> {
    let is_it = instruction.mnemonic() == Mnemonic::Sub && instruction.memory_base() == Register::RSP;
    is_it.then(|| i16::try_from(instruction.memory_displacement64()).ok()).flatten()
}

#[cfg(test)]
mod tests;
