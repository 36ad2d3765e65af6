//! All that can be reached from one instruction, and whether it keeps to what callers expect.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic};
use profiler_unwind::Rule;
use rustc_hash::{FxHashMap, FxHashSet};

use super::known::Known;
use super::state::State;
use super::ways::{Mark, Ways};

/// Instructions of one function, and of what seems to follow it; the largest that people write have some thousand.
const INSTRUCTIONS_AT_MOST: usize = 65_536;
/// How often a place where ways meet is gone through again, as less is known there each time.
const ROUNDS_AT_MOST: u32 = 40;

/// What was found from a seed.
pub(super) struct Found {
    /// Each instruction: its address, its length in bytes, and the rule before it.
    pub(super) rules: Vec<(u64, u8, Rule)>,
    /// What is known where jumps go to places that only the running program knows, if it is the same at all of them.
    pub(super) at_jumps: Option<State>,
}

/// Reads instructions of one stretch of code.
pub(super) struct Explorer<'a> {
    start: u64,
    bytes: &'a [u8],
    infos: InstructionInfoFactory,
    /// Where calls in this code lead to.
    called: FxHashSet<u64>,
    /// Instructions that may still be decoded.
    pub(super) work: usize,
}

/// A place where ways may meet.
#[derive(Default)]
struct Meeting {
    state: Option<State>,
    /// Calls on the way there that may not have come back, the least of all ways.
    calls: u32,
    /// How often less became known.
    rounds: u32,
}

/// One seed under exploration.
struct Exploration {
    /// Where jumps lead to, and what is known there.
    meetings: FxHashMap<u64, Meeting>,
    rules: FxHashMap<u64, (u8, Rule)>,
    ways: Ways,
    /// Where to go on, those behind the fewest calls first.
    waiting: BinaryHeap<Reverse<(u32, u64)>>,
    at_jumps: FxHashMap<u64, State>,
    /// A function is known to begin at the seed.
    is_proven: bool,
}

impl<'a> Explorer<'a> {
    /// For the code that starts at this address.
    pub(super) fn new(start: u64, bytes: &'a [u8], work: usize) -> Self {
        let (infos, called) = (InstructionInfoFactory::new(), FxHashSet::default());
        Self { start, bytes, infos, called, work }
    }

    /// Learns where calls lead to, one instruction after the other from the start.
    pub(super) fn learn_calls(&mut self) {
        let mut at = self.start;
        while self.contains(at) && self.work > 0 {
            let Some(instruction) = self.decode(at) else {
                at += 1;
                continue;
            };
            if instruction.flow_control() == FlowControl::Call {
                let target = instruction.near_branch_target();
                if self.contains(target) && target != instruction.next_ip() {
                    self.called.insert(target);
                }
            }
            at = instruction.next_ip();
        }
    }

    /// Whether a function begins here, as a call says.
    pub(super) fn is_called(&self, address: u64) -> bool {
        self.called.contains(&address)
    }

    /// The instruction at an address; none if it is outside, or none at all.
    pub(super) fn decode(&mut self, address: u64) -> Option<Instruction> {
        self.work = self.work.checked_sub(1)?;
        let bytes = self.bytes.get(usize::try_from(address.checked_sub(self.start)?).ok()?..)?;
        let bytes = &bytes[..bytes.len().min(15)];
        let mut decoder = Decoder::with_ip(64, bytes, address, DecoderOptions::NONE);
        let instruction = decoder.decode();
        (!instruction.is_invalid()).then_some(instruction)
    }

    fn contains(&self, address: u64) -> bool {
        address.checked_sub(self.start).is_some_and(|at| at < self.bytes.len() as u64)
    }

    /// Follows all ways from `seed`, where `state` is known. None unless each of them leaves the stack as the caller
    /// expects it and agrees with what is known of the code that it leads to, and one of them returns,
    /// unless a function is known to begin here.
    pub(super) fn explore(&mut self, seed: u64, state: State, known: &Known) -> Option<Found> {
        let meetings = self.meetings(seed, known)?;
        let mut all = Exploration {
            meetings: meetings.into_iter().map(|at| (at, Meeting::default())).collect(),
            rules: FxHashMap::default(),
            ways: Ways::default(),
            waiting: BinaryHeap::new(),
            at_jumps: FxHashMap::default(),
            is_proven: self.is_called(seed),
        };
        all.meet(seed, seed, &state, 0)?;
        while let Some(Reverse((_, address))) = all.waiting.pop() {
            let Meeting { state, calls, .. } = all.meetings.get(&address)?;
            let (state, calls) = (state.clone()?, *calls);
            self.straight_on(address, state, calls, &mut all, known)?;
        }
        let sound = all.ways.sound(seed, all.is_proven)?;
        let mut jumps = all.at_jumps.into_iter().filter(|(address, _)| sound.contains(address));
        let first = jumps.next().map(|(_, state)| state);
        let at_jumps = first.filter(|first| jumps.all(|(_, other)| other == *first));
        let rules = all.rules.into_iter().filter(|(address, _)| sound.contains(address));
        let rules = rules.map(|(address, (length, rule))| (address, length, rule)).collect();
        Some(Found { rules, at_jumps })
    }

    /// Where ways may meet: the seed, and all that is jumped to from what can be reached of it.
    fn meetings(&mut self, seed: u64, known: &Known) -> Option<FxHashSet<u64>> {
        let (mut seen, mut meetings) = (FxHashSet::default(), FxHashSet::from_iter([seed]));
        let mut waiting = vec![seed];
        while let Some(mut address) = waiting.pop() {
            while self.contains(address) && known.rule(address).is_none() && seen.insert(address) {
                if seen.len() > INSTRUCTIONS_AT_MOST {
                    return None;
                }
                // What is no instruction ends a way, and is told so when it is followed.
                let Some(instruction) = self.decode(address) else { break };
                if let Some(target) = jump(&instruction)
                    && self.contains(target)
                    && meetings.insert(target)
                {
                    waiting.push(target);
                }
                address = instruction.next_ip();
                if !goes_on(&instruction) || is_call(&instruction) && self.is_called(address) {
                    break;
                }
            }
        }
        Some(meetings)
    }

    /// Follows one way up to where it ends, or to where it may meet others. None if there is too much of it.
    fn straight_on(
        &mut self,
        from: u64,
        mut state: State,
        mut calls: u32,
        all: &mut Exploration,
        known: &Known,
    ) -> Option<()> {
        let (mut address, mut before) = (from, from);
        loop {
            if address != from && all.meetings.contains_key(&address) {
                return all.meet(before, address, &state, calls);
            }
            let rule = state.rule();
            let as_at_entry = Mark::end(state.is_as_at_entry());
            if !self.contains(address) {
                all.ways.mark(address, as_at_entry);
                return Some(());
            }
            if let Some(there) = known.rule(address) {
                all.ways.mark(address, Mark::end(there == rule));
                return Some(());
            }
            let Some(instruction) = self.decode(address) else {
                all.ways.mark(address, Mark::Broken);
                return (self.work > 0).then_some(());
            };
            all.rules.insert(address, (instruction.len() as u8, rule));
            all.ways.mark(address, Mark::Goes);
            match instruction.flow_control() {
                FlowControl::Return => {
                    // One that takes arguments off the stack, too, leaves it as no caller by the usual convention expects.
                    let is_plain = instruction.op_count() == 0;
                    all.ways.mark(address, if is_plain { as_at_entry } else { Mark::Broken });
                }
                FlowControl::IndirectBranch => {
                    all.at_jumps.insert(address, state.clone());
                }
                _ => {}
            }
            if let Some(target) = jump(&instruction) {
                all.ways.edge(address, target, false);
                match self.contains(target) {
                    true => all.meet(address, target, &state, calls)?,
                    // Another function takes over.
                    false => all.ways.mark(target, as_at_entry),
                }
            }
            if !goes_on(&instruction) {
                return Some(());
            }
            // Code in the midst of a function that calls others would show as misaligned if it was taken for the start of one: and it
            // may fall into the next function, which returns, behind a call that does not come back.
            let is_call = is_call(&instruction);
            let is_misaligned = is_call && !all.is_proven && !state.is_aligned();
            if is_misaligned || state.step(&instruction, &mut self.infos).is_none() {
                all.ways.mark(address, Mark::Broken);
                return Some(());
            }
            let next = instruction.next_ip();
            // What is called right before another function begins, or where all code ends, does not come back.
            if is_call && (!self.contains(next) || self.is_called(next)) {
                return Some(());
            }
            all.ways.edge(address, next, is_call);
            calls += u32::from(is_call);
            (before, address) = (address, next);
        }
    }
}

impl Exploration {
    /// A way leads from one instruction to a place where others may, too, behind so many calls. If it gets there with another
    /// depth of the stack than those behind fewer calls, it is not this function's. None if there is no end of what is
    /// learned there.
    fn meet(&mut self, from: u64, address: u64, state: &State, calls: u32) -> Option<()> {
        let meeting = self.meetings.get_mut(&address)?;
        match &mut meeting.state {
            None => (meeting.state, meeting.calls) = (Some(state.clone()), calls),
            Some(known) if known.contradicts(state) => {
                self.ways.mark(from, Mark::Broken);
                return Some(());
            }
            Some(known) => {
                meeting.calls = meeting.calls.min(calls);
                if !known.meet(state) {
                    return Some(());
                }
                meeting.rounds += 1;
            }
        }
        if meeting.rounds > ROUNDS_AT_MOST {
            return None;
        }
        self.waiting.push(Reverse((meeting.calls, address)));
        Some(())
    }
}

/// Whether the next instruction is run when something else returns.
pub(super) fn is_call(instruction: &Instruction) -> bool {
    matches!(instruction.flow_control(), FlowControl::Call | FlowControl::IndirectCall)
}

/// Where a jump leads that says so itself.
fn jump(instruction: &Instruction) -> Option<u64> {
    let is_jump = matches!(
        instruction.flow_control(),
        FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch
    );
    (is_jump && instruction.near_branch_target() != 0).then(|| instruction.near_branch_target())
}

/// Whether the next instruction may be what follows.
pub(super) fn goes_on(instruction: &Instruction) -> bool {
    let ends = matches!(
        instruction.flow_control(),
        FlowControl::UnconditionalBranch
            | FlowControl::IndirectBranch
            | FlowControl::Return
            | FlowControl::Exception
    );
    !ends && !matches!(instruction.mnemonic(), Mnemonic::Int3 | Mnemonic::Hlt)
}
