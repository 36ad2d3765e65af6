//! Walks of copied stacks with all registers: for the few that the walk with three cannot follow.

use profiler_abi::{Method, USER_FRAMES_MAX, WalkEnd};
use profiler_unwind::{Memory, Walk, registers};
use symbols::all_registers::{Frame, NoCaller};

use super::{
    files::KnownFiles,
    finish::{Copied, Walked, find, frame},
};
use crate::processes::{CodeBacking, CodeRange};

/// Walks a stack by the call frame information where there is some, else by the frame pointer.
pub(super) fn walk(memory: &Copied<'_>, files: &mut KnownFiles) -> Walked {
    let stack = memory.stack;
    let mut at = Frame { ip: stack.ip, registers: stack.registers.map(Some), is_caller: false };
    let (mut frames, mut method) = (Vec::new(), Method::Leaf);
    loop {
        if frames.len() >= USER_FRAMES_MAX {
            return Walked { frames, end: WalkEnd::DepthLimit, end_by_rule: false };
        }
        let address = at.ip.wrapping_sub(u64::from(at.is_caller));
        frames.push(frame(memory.code, at.ip, method));
        let range = find(memory.code, address);
        let caller = range.map_or(Err(NoCaller::NoRow), |range| step(range, address, &at, memory, files));
        let (end, end_by_rule) = match caller {
            Ok(caller) if goes_on(&at, &caller) => {
                method = if caller.is_caller { Method::Table } else { Method::Interrupted };
                at = caller;
                continue;
            }
            Ok(_) => (WalkEnd::NotAscending, true),
            Err(NoCaller::NoRow) => match without_rows(&at, memory) {
                Ok((by, caller)) => {
                    (method, at) = (by, caller);
                    continue;
                }
                Err(end) => (end, false),
            },
            Err(NoCaller::End) => (WalkEnd::Proven, true),
            Err(NoCaller::Unreadable) => (WalkEnd::UnreadableStack, true),
            Err(NoCaller::Unknown) => (WalkEnd::UnknownRegister, true),
        };
        return Walked { frames, end, end_by_rule };
    }
}

/// The stack grows down, so a caller's frame lies higher; a signal handler may have a stack of its own.
fn goes_on(callee: &Frame, caller: &Frame) -> bool {
    let sp = |frame: &Frame| frame.registers[usize::from(registers::RSP)];
    !caller.is_caller || sp(caller) > sp(callee) || (!callee.is_caller && sp(caller) == sp(callee))
}

fn step(
    range: &CodeRange,
    address: u64,
    at: &Frame,
    memory: &Copied<'_>,
    files: &mut KnownFiles,
) -> Result<Frame, NoCaller> {
    let CodeBacking::File(binary, file) = &range.backing else { return Err(NoCaller::NoRow) };
    let Some((unwind, facts)) = files.unwind_info(*binary, file) else { return Err(NoCaller::NoRow) };
    match facts.vaddr_of(range.file_offset + (address - range.start)) {
        Some(vaddr) => unwind.caller(vaddr, at, &|address| memory.word(address)),
        None => Err(NoCaller::NoRow),
    }
}

/// Code made at run time keeps frame pointers, or nothing that could be followed.
fn without_rows(at: &Frame, memory: &Copied<'_>) -> Result<(Method, Frame), WalkEnd> {
    let known = |number: u8| at.registers[usize::from(number)].unwrap_or(0);
    let mut walk =
        Walk { is_caller: at.is_caller, ..Walk::leaf(at.ip, known(registers::RSP), known(registers::RBP)) };
    let method = walk.step(memory)?;
    let mut all = [None; 16];
    all[usize::from(registers::RSP)] = Some(walk.sp);
    all[usize::from(registers::RBP)] = Some(walk.bp);
    Ok((method, Frame { ip: walk.ip, registers: all, is_caller: walk.is_caller }))
}
