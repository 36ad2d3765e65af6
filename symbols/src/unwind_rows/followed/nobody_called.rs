//! Where nobody called: nobody calls the code at a program's entry, so that what it calls has its outermost caller there; nor code that was
//! put below the first frame of a stack made by hand.

use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register};

/// Instructions from the entry on; C libraries have some 15, Free Pascal 16.
const INSTRUCTIONS_AT_MOST: usize = 64;
/// Instructions with which code ends that is not to return; boost's contexts have 3, those of the C library's `makecontext` 9.
const STOP_AT_MOST: usize = 12;

/// The return addresses of the calls that the code at a program's entry makes, as far as it goes straight on; `code` begins there.
///
/// As the psABI for x86-64 (section 3.4.1) asks it to, that code marks the outermost frame by a zero in rbp before it calls
/// anything. Without that nothing is returned: some linkers give libraries an entry that is any function.
pub(crate) fn calls_from_entry(entry: u64, code: &[u8]) -> Vec<u64> {
    let marked = straight_on(entry, code).skip_while(|instruction| !clears_frame_pointer(instruction));
    marked.filter(is_call).map(|call| call.next_ip()).collect()
}

/// Whether the code at a program's entry comes by this instruction, as far as it goes straight on, up to the first call behind the mark:
/// that one may not return, and what follows it be another function. The dynamic linker's makes a call before the mark, too.
pub(crate) fn entry_comes_by(entry: u64, code: &[u8], address: u64) -> bool {
    let (mut is_marked, mut comes_by) = (false, false);
    for instruction in straight_on(entry, code) {
        is_marked |= clears_frame_pointer(&instruction);
        comes_by |= instruction.ip() == address;
        if is_marked && is_call(&instruction) {
            break;
        }
    }
    is_marked && comes_by
}

/// Whether the code from there on ends in a call, and stops if that should return: `hlt`, or an instruction that there is not. Branches
/// have to stay in it.
pub(crate) fn stops_after_call(address: u64, code: &[u8]) -> bool {
    let (mut farthest, mut is_behind_call) = (address, false);
    for instruction in straight_on(address, code).take(STOP_AT_MOST) {
        if is_behind_call && matches!(instruction.code(), Code::Hlt | Code::Ud2) {
            return farthest <= instruction.ip();
        }
        is_behind_call = is_call(&instruction);
        if instruction.flow_control() == FlowControl::ConditionalBranch {
            let target = instruction.near_branch_target();
            // Backwards is out of it, too.
            farthest = farthest.max(if target < address { u64::MAX } else { target });
        }
    }
    false
}

/// Whether code that is returned to goes on another stack before it does anything else with its own: it was put there to be returned to, below the
/// first frame of a stack made by hand (what Erlang's processes end in). It calls nothing and returns nowhere before that.
pub fn leaves_stack(address: u64, code: &[u8]) -> bool {
    let first = straight_on(address, code).take(STOP_AT_MOST).find(|instruction| {
        let goes_on =
            matches!(instruction.flow_control(), FlowControl::Next | FlowControl::ConditionalBranch);
        !goes_on || instruction.op0_register() == Register::RSP
    });
    first.is_some_and(|instruction| {
        let is_own = |register| matches!(register, Register::RSP | Register::RBP);
        match (instruction.mnemonic(), instruction.op1_kind()) {
            (Mnemonic::Lea | Mnemonic::Mov, OpKind::Memory) => !is_own(instruction.memory_base()),
            (Mnemonic::Mov, OpKind::Register) => !is_own(instruction.op1_register()),
            _ => false,
        }
    })
}

/// The instructions from `start` on, where `code` begins, along calls, branches not taken and jumps; the last is one that leads elsewhere.
fn straight_on(start: u64, code: &[u8]) -> impl Iterator<Item = Instruction> {
    let mut decoder = Decoder::with_ip(64, code, start, DecoderOptions::NONE);
    let mut is_over = false;
    let next = move || {
        let instruction = Some(decoder.decode()).filter(|decoded| !is_over && !decoded.is_invalid())?;
        match instruction.flow_control() {
            FlowControl::Next
            | FlowControl::ConditionalBranch
            | FlowControl::Call
            | FlowControl::IndirectCall => {}
            FlowControl::UnconditionalBranch => {
                let target = instruction.near_branch_target();
                let at = target.checked_sub(start).and_then(|at| usize::try_from(at).ok());
                is_over = at.is_none_or(|at| decoder.set_position(at).is_err());
                decoder.set_ip(target);
            }
            _ => is_over = true,
        }
        Some(instruction)
    };
    std::iter::from_fn(next).take(INSTRUCTIONS_AT_MOST)
}

fn is_call(instruction: &Instruction) -> bool {
    matches!(instruction.flow_control(), FlowControl::Call | FlowControl::IndirectCall)
}

fn clears_frame_pointer(instruction: &Instruction) -> bool {
    let is_xor = matches!(
        instruction.code(),
        Code::Xor_rm32_r32 | Code::Xor_r32_rm32 | Code::Xor_rm64_r64 | Code::Xor_r64_rm64
    );
    let register = instruction.op0_register();
    is_xor && matches!(register, Register::EBP | Register::RBP) && instruction.op1_register() == register
}

#[cfg(test)]
mod tests {
    use super::*;

    /// xor %ebp,%ebp; jmp over two bytes; call; call *%rax; jne; call; ret; call
    const CODE: &[u8] = &[
        0x31, 0xed, 0xeb, 0x02, 0xff, 0xff, 0xe8, 0, 0, 0, 0, 0xff, 0xd0, 0x75, 0x00, 0xe8, 0, 0, 0, 0, 0xc3,
        0xe8, 0, 0, 0, 0,
    ];

    #[test]
    fn calls_on_the_way_from_the_entry_return_to_the_outermost_frame() {
        assert_eq!(calls_from_entry(0x1000, CODE), [0x100b, 0x100d, 0x1014]);
        assert_eq!(calls_from_entry(0x1000, &CODE[..11]), [0x100b]);
        assert_eq!(calls_from_entry(0x1000, &[0xeb, 0x7f]), [0; 0]);
    }

    #[test]
    fn instructions_on_the_way_from_the_entry_are_the_outermost_functions() {
        for (address, comes_by) in [(0x1000, true), (0x1006, true), (0x1007, false), (0x100b, false)] {
            assert_eq!(entry_comes_by(0x1000, CODE, address), comes_by, "{address:#x}");
        }
        let any = [&[0x31, 0xdb], &CODE[2..]].concat();
        assert!(!entry_comes_by(0x1000, &any, 0x1000));
        let late = [&[0xe8, 0, 0, 0, 0], CODE].concat();
        assert!(entry_comes_by(0x1000, &late, 0x1000) && entry_comes_by(0x1000, &late, 0x1005));
    }

    #[test]
    fn code_that_stops_if_its_call_returns_is_told_from_code_that_goes_on() {
        // xor %rdi,%rdi; call; hlt, as below boost's contexts
        let exit = [0x48, 0x31, 0xff, 0xe8, 0, 0, 0, 0, 0xf4];
        assert!(stops_after_call(0x1000, &exit));
        assert!(!stops_after_call(0x1000, &[&exit[..8], &[0xc3]].concat()));
        assert!(!stops_after_call(0x1000, &[&exit[..3], &[0xc3], &exit[3..]].concat()));
        assert!(!stops_after_call(0x1000, &[&[0x90; 12], &exit[..]].concat()));
        // je, over nothing and out of it; a first call that returns
        assert!(stops_after_call(0x1000, &[&[0x74, 0x00], &exit[..]].concat()));
        assert!(!stops_after_call(0x1000, &[&[0x74, 0x20], &exit[..]].concat()));
        assert!(stops_after_call(0x1000, &[&[0xe8, 0, 0, 0, 0, 0x90], &exit[..]].concat()));
        assert!(!stops_after_call(0x1000, &exit[..8]));
    }

    #[test]
    fn code_that_does_not_mark_the_outermost_frame_is_any_function() {
        let any = [&[0x31, 0xdb], &CODE[2..]].concat();
        assert_eq!(calls_from_entry(0x1000, &any), [0; 0]);
        // What it calls before is no proof.
        let late = [&[0xe8, 0, 0, 0, 0], CODE].concat();
        assert_eq!(calls_from_entry(0x1000, &late).first(), Some(&0x1010));
    }

    #[test]
    fn what_goes_on_another_stack_first_is_told_from_what_returns() {
        // movq %r15,%xmm0; mov %r14,0x68(%r13); lea -0x80(%rbx),%rsp; call *0x24c(%rip)
        let exit = [
            0x66, 0x49, 0x0f, 0x6e, 0xc7, 0x4d, 0x89, 0x75, 0x68, 0x48, 0x8d, 0x63, 0x80, 0xff, 0x15, 0x4c,
            2, 0, 0,
        ];
        assert!(leaves_stack(0x1000, &exit));
        assert!(!leaves_stack(0x1000, &exit[..9]));
        // mov 0x58(%r13),%rsp; mov %rax,%rsp
        assert!(leaves_stack(0x1000, &[0x49, 0x8b, 0x65, 0x58]) && leaves_stack(0x1000, &[0x48, 0x89, 0xc4]));
        // mov %rbp,%rsp; lea -0x28(%rbp),%rsp; mov -8(%rbp),%rsp; add $8,%rsp: functions do that, and go on.
        for own in [
            &[0x48, 0x89, 0xec][..],
            &[0x48, 0x8d, 0x65, 0xd8],
            &[0x48, 0x8b, 0x65, 0xf8],
            &[0x48, 0x83, 0xc4, 8],
        ] {
            assert!(!leaves_stack(0x1000, &[own, &exit].concat()));
        }
        // ret; call; jmp *%rax
        for end in [&[0xc3][..], &[0xe8, 0, 0, 0, 0], &[0xff, 0xe0]] {
            assert!(!leaves_stack(0x1000, &[end, &exit].concat()));
        }
    }
}
