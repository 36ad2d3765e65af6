//! Judging a user stack: which of its frames stand, whether callers are missing, and whether its end is proven.
//!
//! The kernel side follows frame pointers without knowing whether there are any. Here each step is held against the
//! call frame information of the code it left: a step by the frame pointer out of code that keeps none has silently
//! jumped over a caller, or into nonsense.

use profiler_abi::{Method, WalkEnd};
use symbols::frame_pointer_rules::CfaRule;

use crate::window::RawFrame;

/// Whether a stack is complete, or why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Status {
    Complete,
    /// Code without frame pointers lies in the way.
    NoFramePointer,
    /// The chain ended in zero at code that is not known to start a process or thread.
    EndNotProven,
    /// Deeper than the limit.
    DepthLimit,
    UnreadableStack,
    NotAscending,
    BadReturnAddress,
    NoRegisters,
    KernelStackFailed,
    /// The kernel's part is deeper than its limit.
    KernelDepthLimit,
    /// The file says nothing about the code, and following the frame pointer led nowhere.
    NoUnwindRow,
    UnsupportedRule,
    /// Walked by a copy of the stack, and left it.
    CopyTooShort,
}

impl Status {
    /// Every reason why a stack is incomplete.
    #[cfg(test)]
    const INCOMPLETE: [Self; 12] = [
        Self::NoFramePointer,
        Self::EndNotProven,
        Self::DepthLimit,
        Self::UnreadableStack,
        Self::NotAscending,
        Self::BadReturnAddress,
        Self::NoRegisters,
        Self::KernelStackFailed,
        Self::KernelDepthLimit,
        Self::NoUnwindRow,
        Self::UnsupportedRule,
        Self::CopyTooShort,
    ];

    /// The name in Parquet, JSON and selectors.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Complete => store::model::STATUS_COMPLETE,
            Self::NoFramePointer => "no_frame_pointer",
            Self::EndNotProven => "end_not_proven",
            Self::DepthLimit => "depth_limit",
            Self::UnreadableStack => "unreadable_stack",
            Self::NotAscending => "not_ascending",
            Self::BadReturnAddress => "bad_return_address",
            Self::NoRegisters => "no_registers",
            Self::KernelStackFailed => "kernel_stack_failed",
            Self::KernelDepthLimit => "kernel_depth_limit",
            Self::NoUnwindRow => "no_unwind_row",
            Self::UnsupportedRule => "unsupported_rule",
            Self::CopyTooShort => "copy_too_short",
        }
    }

    /// The text of the frame that stands where the missing callers would be.
    pub(crate) fn label(self) -> String {
        format!("[{}]", self.name().replace('_', " "))
    }

    fn of_end(end: WalkEnd) -> Self {
        match end {
            WalkEnd::NoUserStack | WalkEnd::AddressSpaceGone | WalkEnd::Proven => Self::Complete,
            WalkEnd::ZeroFramePointer => Self::EndNotProven,
            WalkEnd::DepthLimit => Self::DepthLimit,
            WalkEnd::UnreadableStack => Self::UnreadableStack,
            WalkEnd::NotAscending => Self::NotAscending,
            WalkEnd::BadReturnAddress => Self::BadReturnAddress,
            WalkEnd::NoRegisters => Self::NoRegisters,
            WalkEnd::NoRow => Self::NoUnwindRow,
            WalkEnd::UnsupportedRule | WalkEnd::UnknownRegister => Self::UnsupportedRule,
            WalkEnd::CopyEnded => Self::CopyTooShort,
        }
    }
}

/// What is known about the code at a frame.
pub(crate) trait CodeFacts {
    /// The call frame information at the frame's instruction; none where nothing is known (code made at run time).
    fn rule(&mut self, frame: &RawFrame) -> Option<CfaRule>;
    /// Whether the frame's return address, or of the leaf the instruction, proves that nothing calls it.
    fn is_root(&mut self, frame: &RawFrame) -> bool;
    /// Whether the instruction before the frame's return address is a call; none where the code cannot be read.
    fn follows_call(&mut self, frame: &RawFrame) -> Option<bool>;
}

/// The verdict on a user stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) status: Status,
    /// Frames that stand, from the leaf on.
    pub(crate) keep: usize,
    /// Callers are missing before this frame (an index from the leaf); `keep` when they are missing at the end.
    /// Meaningless when complete.
    pub(crate) gap: usize,
}

/// Judges frames, leaf first. `end_by_rule`: the step that ended the walk was by a rule, so that `end` is the reason; if
/// it was by the frame pointer, the reason may be that there is none.
pub(crate) fn judge(
    user: &[RawFrame],
    end: WalkEnd,
    end_by_rule: bool,
    facts: &mut impl CodeFacts,
) -> Verdict {
    let mut gap = None;
    for (i, frame) in user.iter().enumerate() {
        // After a wrong step the next frame may be any word of the stack: only what a call left behind is kept.
        if gap.is_none() && i > 0 && !step_is_right(&user[i - 1], frame, facts) {
            gap = Some(i);
        }
        if gap.is_some() && !is_plausible(frame, facts) {
            return Verdict { status: Status::NoFramePointer, keep: i, gap: gap.unwrap_or(i).min(i) };
        }
        // A walk by tables that was proven went on to the very start.
        if end != WalkEnd::Proven && facts.is_root(frame) {
            return verdict(Status::Complete, i + 1, gap);
        }
    }
    if let [.., callee, last] = user
        && end != WalkEnd::AddressSpaceGone
        && is_no_return_address(callee, last)
    {
        let known = facts.rule(callee).is_some() || !matches!(callee, RawFrame::File { .. });
        let status = if known { Status::BadReturnAddress } else { Status::NoUnwindRow };
        return verdict(status, user.len() - 1, gap);
    }
    let Some(last) = user.last() else {
        return Verdict { status: Status::of_end(end), keep: 0, gap: 0 };
    };
    if end != WalkEnd::DepthLimit && end != WalkEnd::Proven {
        match facts.rule(last) {
            Some(CfaRule::Undefined) => return verdict(Status::Complete, user.len(), gap),
            Some(CfaRule::StackPointer { .. } | CfaRule::Other) if !end_by_rule => {
                return verdict(Status::NoFramePointer, user.len(), gap);
            }
            // That the frame pointer led nowhere is no reason: nobody said that there is one.
            None if !end_by_rule && matches!(last, RawFrame::File { .. }) => {
                return verdict(Status::NoUnwindRow, user.len(), gap);
            }
            _ => {}
        }
    }
    verdict(Status::of_end(end), user.len(), gap)
}

/// A proven end does not bring back callers that were jumped over.
fn verdict(status: Status, keep: usize, gap: Option<usize>) -> Verdict {
    match gap {
        Some(gap) => Verdict { status: Status::NoFramePointer, keep, gap },
        None => Verdict { status, keep, gap: keep },
    }
}

fn step_is_right(callee: &RawFrame, caller: &RawFrame, facts: &mut impl CodeFacts) -> bool {
    let method = method(caller);
    // Most steps are by a rule: the file need not be asked again, nor its call frame information be in memory for it.
    if matches!(method, Some(Method::Table | Method::Interrupted)) {
        return true;
    }
    let Some(rule) = facts.rule(callee) else { return true };
    matches!(
        (method, rule),
        (Some(Method::FramePointer), CfaRule::FramePointer)
            | (Some(Method::AtEntry), CfaRule::StackPointer { offset: 8, .. })
            | (Some(Method::AfterPush), CfaRule::StackPointer { offset: 16, .. })
    )
}

/// Whether a frame pointer led from known code to where there is none: to a word of the stack that no call left there.
fn is_no_return_address(callee: &RawFrame, caller: &RawFrame) -> bool {
    let by_rule = matches!(method(caller), Some(Method::Table | Method::Interrupted));
    let unmapped = |frame: &RawFrame| matches!(frame, RawFrame::Unmapped { .. });
    !by_rule && unmapped(caller) && !unmapped(callee)
}

fn is_plausible(frame: &RawFrame, facts: &mut impl CodeFacts) -> bool {
    match frame {
        RawFrame::Unmapped { .. } => false,
        RawFrame::Kernel { .. } | RawFrame::Anonymous { .. } | RawFrame::Vdso { .. } => true,
        RawFrame::File { .. } => facts.follows_call(frame) != Some(false),
    }
}

fn method(frame: &RawFrame) -> Option<Method> {
    match frame {
        RawFrame::Kernel { .. } => None,
        RawFrame::File { method, .. }
        | RawFrame::Vdso { method, .. }
        | RawFrame::Anonymous { method, .. }
        | RawFrame::Unmapped { method, .. } => Some(*method),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processes::{BinaryHandle, ProcessHandle};

    /// The offset says what is known of a frame: its hundreds digit the rule, its tens digit whether it is a root,
    /// its ones digit whether a call stands before it.
    struct ByOffset;

    fn offset(frame: &RawFrame) -> u64 {
        match frame {
            RawFrame::File { file_offset, .. } => *file_offset,
            _ => 0,
        }
    }

    impl CodeFacts for ByOffset {
        fn rule(&mut self, frame: &RawFrame) -> Option<CfaRule> {
            match offset(frame) / 100 {
                1 => Some(CfaRule::FramePointer),
                2 => Some(CfaRule::StackPointer { offset: 8, saves_rbp: false }),
                3 => Some(CfaRule::StackPointer { offset: 16, saves_rbp: true }),
                4 => Some(CfaRule::StackPointer { offset: 40, saves_rbp: false }),
                5 => Some(CfaRule::Undefined),
                _ => None,
            }
        }
        fn is_root(&mut self, frame: &RawFrame) -> bool {
            offset(frame) / 10 % 10 == 1
        }
        fn follows_call(&mut self, frame: &RawFrame) -> Option<bool> {
            Some(offset(frame) % 10 == 1)
        }
    }

    fn stack(frames: &[(u64, Method)]) -> Vec<RawFrame> {
        let file = |(file_offset, method): &(u64, Method)| RawFrame::File {
            binary: BinaryHandle(0),
            file_offset: *file_offset,
            method: *method,
        };
        frames.iter().map(file).collect()
    }

    fn judged(frames: &[(u64, Method)], end: WalkEnd) -> (Status, usize, usize) {
        let by_rule = matches!(end, WalkEnd::Proven | WalkEnd::UnsupportedRule);
        let verdict = judge(&stack(frames), end, by_rule, &mut ByOffset);
        (verdict.status, verdict.keep, verdict.gap)
    }

    use Method::{AfterPush, AtEntry, FramePointer as Fp, Leaf};

    #[test]
    fn right_steps_to_a_root_are_complete_and_what_lies_beyond_is_cut() {
        let frames = [(101, Leaf), (101, Fp), (411, Fp), (100, Fp)];
        assert_eq!(judged(&frames, WalkEnd::UnreadableStack), (Status::Complete, 3, 3));
    }

    #[test]
    fn steps_at_a_functions_edge_are_right_where_its_rules_say_so() {
        for (leaf, method) in [(201, AtEntry), (301, AfterPush)] {
            let frames = [(leaf, Leaf), (101, method), (111, Fp)];
            assert_eq!(judged(&frames, WalkEnd::ZeroFramePointer).0, Status::Complete);
        }
        let frames = [(201, Leaf), (101, AfterPush), (111, Fp)];
        assert_eq!(judged(&frames, WalkEnd::ZeroFramePointer), (Status::NoFramePointer, 3, 1));
    }

    #[test]
    fn a_leaf_without_frame_pointer_has_lost_its_caller_even_if_the_end_is_proven() {
        let frames = [(401, Leaf), (101, Fp), (111, Fp)];
        assert_eq!(judged(&frames, WalkEnd::UnreadableStack), (Status::NoFramePointer, 3, 1));
    }

    #[test]
    fn after_a_wrong_step_words_that_are_no_return_addresses_are_cut() {
        let frames = [(401, Leaf), (101, Fp), (100, Fp), (111, Fp)];
        assert_eq!(judged(&frames, WalkEnd::ZeroFramePointer), (Status::NoFramePointer, 2, 1));
        let frames = [(401, Leaf), (100, Fp), (111, Fp)];
        assert_eq!(judged(&frames, WalkEnd::ZeroFramePointer), (Status::NoFramePointer, 1, 1));
    }

    #[test]
    fn without_proof_the_reason_is_told() {
        let right = [(101, Leaf), (101, Fp)];
        assert_eq!(judged(&right, WalkEnd::ZeroFramePointer), (Status::EndNotProven, 2, 2));
        assert_eq!(judged(&right, WalkEnd::DepthLimit).0, Status::DepthLimit);
        assert_eq!(judged(&right, WalkEnd::BadReturnAddress).0, Status::BadReturnAddress);
        let dies_in_code_without = [(101, Leaf), (401, Fp)];
        assert_eq!(judged(&dies_in_code_without, WalkEnd::UnreadableStack).0, Status::NoFramePointer);
        assert_eq!(judged(&right, WalkEnd::CopyEnded).0, Status::CopyTooShort);
        assert_eq!(judged(&[], WalkEnd::AddressSpaceGone), (Status::Complete, 0, 0));
        assert_eq!(judged(&[], WalkEnd::NoRegisters), (Status::NoRegisters, 0, 0));
        assert_eq!(judged(&[], WalkEnd::NoUserStack).0, Status::Complete);
    }

    #[test]
    fn code_that_no_file_tells_of_is_the_reason_why_its_frame_pointer_leads_nowhere() {
        for end in [WalkEnd::ZeroFramePointer, WalkEnd::UnreadableStack, WalkEnd::BadReturnAddress] {
            assert_eq!(judged(&[(101, Leaf), (1, Fp)], end), (Status::NoUnwindRow, 2, 2));
        }
        assert_eq!(judged(&[(1, Leaf)], WalkEnd::UnsupportedRule).0, Status::UnsupportedRule);
        assert_eq!(judged(&[(1, Leaf)], WalkEnd::DepthLimit).0, Status::DepthLimit);
        // Code made at run time has no file that could tell.
        let made = [RawFrame::Anonymous { process: ProcessHandle(0), address: 7, method: Leaf }];
        let verdict = judge(&made, WalkEnd::UnreadableStack, false, &mut ByOffset);
        assert_eq!(verdict.status, Status::UnreadableStack);
    }

    #[test]
    fn a_frame_pointer_that_leads_out_of_all_code_has_found_no_caller() {
        let found = |callee: u64, method: Method, end: WalkEnd| {
            let mut frames = stack(&[(101, Leaf), (callee, Fp)]);
            frames.push(RawFrame::Unmapped { address: 0x1d68, method });
            let verdict = judge(&frames, end, false, &mut ByOffset);
            (verdict.status, verdict.keep, verdict.gap)
        };
        assert_eq!(found(101, Fp, WalkEnd::ZeroFramePointer), (Status::BadReturnAddress, 2, 2));
        assert_eq!(found(1, Fp, WalkEnd::UnreadableStack), (Status::NoUnwindRow, 2, 2));
        // By a rule it is right: the mapping is what we do not know.
        assert_eq!(found(401, Method::Table, WalkEnd::ZeroFramePointer), (Status::EndNotProven, 3, 3));
        let alone = [RawFrame::Unmapped { address: 1, method: Leaf }];
        assert_eq!(judge(&alone, WalkEnd::NotAscending, false, &mut ByOffset).keep, 1);
    }

    #[test]
    fn every_reason_has_words_for_users() {
        let mut codes: Vec<_> = Status::INCOMPLETE.iter().map(|status| status.name()).collect();
        let mut told: Vec<_> = ui::truth::reasons::INCOMPLETE.iter().map(|reason| reason.code).collect();
        codes.sort_unstable();
        told.sort_unstable();
        assert_eq!(codes, told);
    }

    #[test]
    fn a_walk_by_tables_keeps_what_lies_beyond_the_start_of_main() {
        let frames = [(401, Leaf), (411, Method::Table), (501, Method::Table)];
        assert_eq!(judged(&frames, WalkEnd::Proven), (Status::Complete, 3, 3));
        assert_eq!(judged(&frames, WalkEnd::UnsupportedRule), (Status::Complete, 2, 2));
        assert_eq!(judged(&frames[..1], WalkEnd::UnsupportedRule).0, Status::UnsupportedRule);
    }

    #[test]
    fn an_undefined_return_address_ends_the_stack() {
        assert_eq!(judged(&[(501, Leaf)], WalkEnd::UnreadableStack).0, Status::Complete);
        assert_eq!(judged(&[(101, Leaf), (501, Fp)], WalkEnd::ZeroFramePointer).0, Status::Complete);
    }
}
