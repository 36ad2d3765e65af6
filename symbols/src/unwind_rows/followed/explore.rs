//! All that can be reached from one instruction, and whether it keeps to what callers expect.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic};
use profiler_unwind::Rule;
use rustc_hash::{FxHashMap, FxHashSet};

use super::known::Known;
use super::state::State;
use super::ways::{self, Stretch};

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
    /// A bit for each byte: whether an instruction was seen there. Clear between two explorations.
    seen: Vec<u64>,
    /// Instructions that may still be decoded.
    pub(super) work: usize,
}

/// A place where ways may meet, and the instructions from there on up to where others may, or to behind a call.
#[derive(Default)]
struct Place {
    state: Option<State>,
    /// Calls on the way there that may not have come back, the least of all ways.
    calls: u32,
    /// How often less became known.
    rounds: u32,
    rules: Vec<(u64, u8, Rule)>,
    /// What is known at the jump at its end, if only the running program knows where that leads.
    at_jump: Option<State>,
    leads: Stretch,
}

/// One seed under exploration.
struct Exploration {
    places: FxHashMap<u64, Place>,
    /// Where to go on, those behind the fewest calls first.
    waiting: BinaryHeap<Reverse<(u32, u64)>>,
    /// A function is known to begin at the seed.
    is_proven: bool,
}

impl<'a> Explorer<'a> {
    /// For the code that starts at this address.
    pub(super) fn new(start: u64, bytes: &'a [u8], work: usize) -> Self {
        let (infos, called) = (InstructionInfoFactory::new(), FxHashSet::default());
        Self { start, bytes, infos, called, seen: vec![0; bytes.len().div_ceil(64)], work }
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

    /// The byte at an address.
    pub(super) fn byte(&self, address: u64) -> Option<u8> {
        self.bytes.get(usize::try_from(address.checked_sub(self.start)?).ok()?).copied()
    }

    fn contains(&self, address: u64) -> bool {
        address.checked_sub(self.start).is_some_and(|at| at < self.bytes.len() as u64)
    }

    /// Notes that an instruction is seen at an address within the code. Whether it was not before.
    fn see(&mut self, address: u64) -> bool {
        let at = (address - self.start) as usize;
        let bit = 1 << (at % 64);
        let is_new = self.seen[at / 64] & bit == 0;
        self.seen[at / 64] |= bit;
        is_new
    }

    /// Follows all ways from `seed`, where `state` is known. None unless each of them leaves the stack as the caller
    /// expects it and agrees with what is known of the code that it leads to, and one of them returns,
    /// unless a function is known to begin here.
    pub(super) fn explore(&mut self, seed: u64, state: State, known: &Known) -> Option<Found> {
        let mut seen = Vec::new();
        let places = self.places(seed, known, &mut seen);
        seen.iter().for_each(|address| self.seen[(address - self.start) as usize / 64] = 0);
        let places = places?.into_iter().map(|at| (at, Place::default())).collect();
        let mut all = Exploration { places, waiting: BinaryHeap::new(), is_proven: self.is_called(seed) };
        all.meet(seed, &state, 0)?;
        while let Some(Reverse((_, address))) = all.waiting.pop() {
            let place = all.places.get(&address)?;
            let (state, calls) = (place.state.clone()?, place.calls);
            self.straight_on(address, state, calls, &mut all, known)?;
        }
        let Exploration { mut places, is_proven, .. } = all;
        let leads = |address: &u64| places.get(address).map(|place| &place.leads);
        let sound = ways::sound(seed, places.keys().copied(), leads, is_proven)?;
        let sound = sound.iter().filter_map(|address| places.remove(address));
        let (mut rules, mut jumps) = (Vec::new(), Vec::new());
        for place in sound {
            rules.extend(place.rules);
            jumps.extend(place.at_jump);
        }
        let first = jumps.pop();
        let at_jumps = first.filter(|first| jumps.iter().all(|other| other == first));
        Some(Found { rules, at_jumps })
    }

    /// Where ways may meet: the seed, and all that is jumped to from what can be reached of it. None if that is too much.
    fn places(&mut self, seed: u64, known: &Known, seen: &mut Vec<u64>) -> Option<FxHashSet<u64>> {
        let mut places = FxHashSet::from_iter([seed]);
        let mut waiting = vec![seed];
        while let Some(mut address) = waiting.pop() {
            while self.contains(address) && known.rule(address).is_none() && self.see(address) {
                seen.push(address);
                if seen.len() > INSTRUCTIONS_AT_MOST {
                    return None;
                }
                // What is no instruction ends a way, and is told so when it is followed.
                let Some(instruction) = self.decode(address) else { break };
                if let Some(target) = jump(&instruction)
                    && self.contains(target)
                    && places.insert(target)
                {
                    waiting.push(target);
                }
                address = instruction.next_ip();
                if !goes_on(&instruction) || is_call(&instruction) && self.is_called(address) {
                    break;
                }
            }
        }
        Some(places)
    }

    /// Follows one way up to where it ends, where it may meet others, or behind a call. None if there is too much of it.
    fn straight_on(
        &mut self,
        from: u64,
        mut state: State,
        calls: u32,
        all: &mut Exploration,
        known: &Known,
    ) -> Option<()> {
        let mut rules = std::mem::take(&mut all.places.get_mut(&from)?.rules);
        rules.clear();
        let (mut leads, mut at_jump) = (Stretch::default(), None);
        let mut address = from;
        loop {
            if address != from && all.places.contains_key(&address) {
                leads.to(address, all.meet(address, &state, calls)?);
                break;
            }
            let as_at_entry = state.is_as_at_entry();
            if !self.contains(address) {
                leads.ends(as_at_entry);
                break;
            }
            let rule = state.rule();
            if let Some(there) = known.rule(address) {
                leads.ends(there == rule);
                break;
            }
            let Some(instruction) = self.decode(address) else {
                leads.ends(false);
                break;
            };
            rules.push((address, instruction.len() as u8, rule));
            match instruction.flow_control() {
                // One that takes arguments off the stack, too, leaves it as no caller by the usual convention expects.
                FlowControl::Return => leads.ends(as_at_entry && instruction.op_count() == 0),
                FlowControl::IndirectBranch => at_jump = Some(state.clone()),
                _ => {}
            }
            if let Some(target) = jump(&instruction) {
                match self.contains(target) {
                    true => leads.to(target, all.meet(target, &state, calls)?),
                    // Another function takes over.
                    false => leads.ends(as_at_entry),
                }
            }
            if !goes_on(&instruction) {
                break;
            }
            // Code in the midst of a function that calls others would show as misaligned if it was taken for the start of one: and it
            // may fall into the next function, which returns, behind a call that does not come back.
            let is_call = is_call(&instruction);
            let is_misaligned = is_call && !all.is_proven && !state.is_aligned();
            if is_misaligned || state.step(&instruction, &mut self.infos).is_none() {
                leads.ends(false);
                break;
            }
            address = instruction.next_ip();
            if is_call {
                // What is called right before another function begins, or where all code ends, does not come back.
                if self.contains(address) && !self.is_called(address) && known.rule(address).is_none() {
                    all.places.entry(address).or_default();
                    leads.behind_call(address, all.meet(address, &state, calls + 1)?);
                }
                if let Some(there) = known.rule(address) {
                    leads.ends_behind_call(there == state.rule());
                }
                break;
            }
        }
        let place = all.places.get_mut(&from)?;
        (place.rules, place.leads, place.at_jump) = (rules, leads, at_jump);
        (self.work > 0).then_some(())
    }
}

impl Exploration {
    /// A way leads to a place where others may, too, behind so many calls. False if it gets there with another depth of the stack
    /// than those behind fewer calls: then it is not this function's. None if there is no end of what is learned there.
    fn meet(&mut self, address: u64, state: &State, calls: u32) -> Option<bool> {
        let place = self.places.get_mut(&address)?;
        match &mut place.state {
            None => (place.state, place.calls) = (Some(state.clone()), calls),
            Some(known) if known.contradicts(state) => return Some(false),
            Some(known) => {
                place.calls = place.calls.min(calls);
                if !known.meet(state) {
                    return Some(true);
                }
                place.rounds += 1;
            }
        }
        if place.rounds > ROUNDS_AT_MOST {
            return None;
        }
        self.waiting.push(Reverse((place.calls, address)));
        Some(true)
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
