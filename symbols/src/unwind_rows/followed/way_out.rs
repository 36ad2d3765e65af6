//! The way out of code made at run time: from an instruction on to where its function returns.
//!
//! Compilers that run beside the program (of PHP, Ruby, Python, Mono and others) describe their code to nobody, keep no frame pointer, and put
//! their code where functions do not begin as they do elsewhere. But whatever it does, it has to leave the stack pointer where
//! its caller expects it. So the code is followed forward, from the one instruction that is of interest, to
//! the nearest returns, or to code of a file, of which a table says how deep its stack is. Where these agree, the caller is known.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpKind, Register};
use profiler_unwind::Rule;
use profiler_unwind::rule::{Cfa, RETURN_ADDRESS_OFFSET, Rbp};
use rustc_hash::FxHashSet;

use super::explore::{goes_on, is_call};
use super::state::State;

/// Instructions that are followed from one on. Most ways out are some dozens long; a loop's body may come first.
const INSTRUCTIONS_AT_MOST: usize = 1024;
/// The longest instruction.
pub const INSTRUCTION_BYTES: usize = 15;

/// Memory of a running process that code lies in.
pub trait RunningCode {
    /// The bytes from an address on, as many as there are up to [`INSTRUCTION_BYTES`]; none where no code lies.
    fn bytes(&mut self, address: u64) -> Option<([u8; INSTRUCTION_BYTES], usize)>;
    /// The word at any address; none if it cannot be read.
    fn word(&mut self, address: u64) -> Option<u64>;
    /// Whether the address lies in a file's code, and the rule there, if one is known.
    fn in_file(&mut self, address: u64) -> Option<Option<Rule>>;
}

/// A way that is followed.
struct Way {
    at: u64,
    state: State,
    /// Where the caller's rbp was taken from, counted from the stack pointer at the start.
    rbp_from: Option<i64>,
    /// The address that the last instruction has put into a register.
    loaded: Option<(Register, u64)>,
}

/// The rule at an instruction of made code: that of all the nearest ends of its ways. None if there are none, or they disagree.
pub fn way_out(code: &mut impl RunningCode, address: u64) -> Option<Rule> {
    let mut search = Search {
        infos: InstructionInfoFactory::new(),
        seen: FxHashSet::default(),
        ways: Vec::new(),
        waiting: BinaryHeap::new(),
        found: None,
        work: INSTRUCTIONS_AT_MOST,
    };
    let start = Way { at: address, state: State::amid(), rbp_from: None, loaded: None };
    search.wait(0, start);
    while let Some(Reverse((calls, number))) = search.waiting.pop() {
        // What lies behind more calls, which may not come back, proves less.
        if search.found.is_some_and(|(_, nearest)| nearest < calls) {
            break;
        }
        if let Some(way) = search.ways.get_mut(number).and_then(Option::take) {
            search.follow(way, calls, code)?;
        }
    }
    search.found.map(|(rule, _)| rule)
}

struct Search {
    infos: InstructionInfoFactory,
    seen: FxHashSet<u64>,
    ways: Vec<Option<Way>>,
    /// Calls on the way, and its number in `ways`: those behind the fewest first, then the oldest.
    waiting: BinaryHeap<Reverse<(u32, usize)>>,
    /// What the ends say, and how many calls lie before them.
    found: Option<(Rule, u32)>,
    work: usize,
}

impl Search {
    fn wait(&mut self, calls: u32, way: Way) {
        self.waiting.push(Reverse((calls, self.ways.len())));
        self.ways.push(Some(way));
    }

    /// An end of a way says this. None if another one disagrees.
    fn end(&mut self, rule: Option<Rule>, calls: u32) -> Option<()> {
        match (rule, self.found) {
            (Some(rule), None) => self.found = Some((rule, calls)),
            // Where rbp is may differ: then it is not known.
            (Some(rule), Some((known, nearest))) => {
                let lost = |rule: Rule| Rule { rbp: Rbp::Undefined, rbp_operand: 0, ..rule };
                match rule == known {
                    true => {}
                    false if lost(rule) == lost(known) => self.found = Some((lost(known), nearest)),
                    false => return None,
                }
            }
            (None, _) => {}
        }
        Some(())
    }

    /// Follows a way to its end, to what was seen, or behind a call. None if ends disagree.
    fn follow(&mut self, mut way: Way, calls: u32, code: &mut impl RunningCode) -> Option<()> {
        loop {
            if let Some(there) = code.in_file(way.at) {
                return self.end(there.and_then(|there| way.joins(&there)), calls);
            }
            if self.work == 0 || !self.seen.insert(way.at) {
                return Some(());
            }
            self.work -= 1;
            let Some(instruction) = decode(code, way.at) else { return Some(()) };
            match instruction.flow_control() {
                FlowControl::Return => return self.end(way.returns(&instruction), calls),
                FlowControl::IndirectBranch => {
                    let Some(target) = way.jumps_to(&instruction, code) else { return Some(()) };
                    way.at = target;
                    continue;
                }
                FlowControl::UnconditionalBranch => {
                    way.at = instruction.near_branch_target();
                    continue;
                }
                FlowControl::ConditionalBranch => {
                    let state = way.state.clone();
                    let there = Way { at: instruction.near_branch_target(), state, loaded: None, ..way };
                    self.wait(calls, there);
                }
                _ if !goes_on(&instruction) => return Some(()),
                _ => {}
            }
            if way.step(&instruction, &mut self.infos).is_none() {
                return Some(());
            }
            if is_call(&instruction) {
                self.wait(calls + 1, way);
                return Some(());
            }
        }
    }
}

impl Way {
    /// Goes on to the next instruction. None if no function does that.
    fn step(&mut self, instruction: &Instruction, infos: &mut InstructionInfoFactory) -> Option<()> {
        let written = instruction.op0_register().full_register();
        let only_reads = matches!(instruction.mnemonic(), Mnemonic::Cmp | Mnemonic::Test | Mnemonic::Push);
        if written == Register::RBP && !only_reads {
            self.rbp_from = self.state.word_taken_by(instruction);
        }
        self.loaded = match instruction.code() {
            Code::Mov_r64_imm64 => Some((written, instruction.immediate64())),
            _ => None,
        };
        self.state.step(instruction, infos)?;
        self.at = instruction.next_ip();
        Some(())
    }

    /// Where the caller's rbp is.
    fn rbp(&self) -> (Rbp, i32) {
        if self.state.has_callers_rbp() {
            return (Rbp::Same, 0);
        }
        let from = self.rbp_from.and_then(|from| i32::try_from(from).ok());
        from.map_or((Rbp::Undefined, 0), |from| (Rbp::AtRsp, from))
    }

    /// The rule at the start if this returns here.
    fn returns(&self, instruction: &Instruction) -> Option<Rule> {
        let taken_off = if instruction.op_count() == 0 { 0 } else { i32::from(instruction.immediate16()) };
        let offset = i32::try_from(self.state.stack_pointer()?).ok()?.checked_add(8 + taken_off)?;
        let (rbp, rbp_operand) = self.rbp();
        let return_address_operand = RETURN_ADDRESS_OFFSET - taken_off;
        (offset > 0).then_some(Rule { rbp, rbp_operand, return_address_operand, ..Rule::register(7, offset) })
    }

    /// The rule at the start if this comes to code with a rule of its own.
    fn joins(&self, there: &Rule) -> Option<Rule> {
        let (rbp, rbp_operand) = match there.rbp {
            Rbp::Same => self.rbp(),
            Rbp::AtCfa => (there.rbp, there.rbp_operand),
            _ => (Rbp::Undefined, 0),
        };
        let rule = match there.cfa {
            Cfa::Rsp => {
                let offset = i32::try_from(self.state.stack_pointer()?).ok()?.checked_add(there.cfa_offset)?;
                Rule::register(7, offset)
            }
            Cfa::Rbp if self.state.has_callers_rbp() => Rule::register(6, there.cfa_offset),
            _ => return None,
        };
        Some(Rule { rbp, rbp_operand, ..rule })
    }

    /// Where a jump leads that takes its target from memory at a fixed place, or from a register that has just been loaded.
    fn jumps_to(&self, instruction: &Instruction, code: &mut impl RunningCode) -> Option<u64> {
        match instruction.op0_kind() {
            OpKind::Register => {
                let (register, address) = self.loaded?;
                (register == instruction.op0_register()).then_some(address)
            }
            OpKind::Memory if instruction.is_ip_rel_memory_operand() => {
                code.word(instruction.ip_rel_memory_address())
            }
            _ => None,
        }
    }
}

fn decode(code: &mut impl RunningCode, address: u64) -> Option<Instruction> {
    let (bytes, count) = code.bytes(address)?;
    let mut decoder = Decoder::with_ip(64, bytes.get(..count)?, address, DecoderOptions::NONE);
    let instruction = decoder.decode();
    (!instruction.is_invalid()).then_some(instruction)
}

#[cfg(test)]
mod tests;
