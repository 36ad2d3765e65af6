//! The way out of code made at run time: from an instruction on to where its function returns.
//!
//! Compilers that run beside the program (of PHP, Ruby, Python, Mono and others) describe their code to nobody, keep no frame pointer, and put
//! their code where functions do not begin as they do elsewhere. But whatever it does, it has to leave the stack pointer where
//! its caller expects it. So the code is followed forward, from the one instruction that is of interest, to
//! the nearest returns, or to code of a file, of which a table says how deep its stack is.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpKind,
    Register,
};
use profiler_unwind::Rule;
use profiler_unwind::rule::{Cfa, RETURN_ADDRESS_OFFSET, Rbp};
use rustc_hash::FxHashSet;

use super::explore::{goes_on, is_call};
use super::state::State;

/// Instructions that are followed from one on. Most ways out are some dozens long; a loop's body may come first.
const INSTRUCTIONS_AT_MOST: usize = 1024;
/// Different ends that are told.
const ENDS_AT_MOST: usize = 4;
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
#[derive(Clone)]
struct Way {
    at: u64,
    state: State,
    /// Places on the stack are counted from rbp at the start, not from the stack pointer: the stack has been left for the one that
    /// rbp points to, as Erlang's code leaves that of the thread, on which it has called C.
    is_by_rbp: bool,
    /// Where the caller's rbp was taken from, counted as places are.
    rbp_from: Option<i64>,
    /// The address that the last instruction has put into a register.
    loaded: Option<(Register, u64)>,
    /// Calls, and instructions, since the start.
    length: (u32, u32),
}

/// The rules that an instruction may have: what the ends of the ways from it say, each once, the nearest first, and at most [`ENDS_AT_MOST`].
#[derive(Debug, Default)]
pub struct WaysOut {
    /// By returns, and by code of files. Nearly always there is one. Where there are more, some lead through code that leaves no function as
    /// others do, such as that for exceptions: only one leads to where a call was made, and it is for the caller to try.
    pub returns: Vec<Rule>,
    /// Where nothing returns, by jumps behind which the stack is shorter than here: those of loops that call themselves last, as Erlang's
    /// servers do. A function begins with the return address on top, so the rules hold if these lead to a function's beginning, which is not known.
    pub jumps: Vec<Rule>,
}

/// Where the ways from an instruction lead. What lies behind a call that may not come back is asked only where nothing else ends.
pub fn ways_out(code: &mut impl RunningCode, address: u64) -> WaysOut {
    let state = State::amid();
    let start = Way { at: address, state, is_by_rbp: false, rbp_from: None, loaded: None, length: (0, 0) };
    let mut search = Search {
        infos: InstructionInfoFactory::new(),
        seen: FxHashSet::default(),
        waiting: BinaryHeap::from([ByLength(start)]),
        ends: Vec::new(),
        jumps: Vec::new(),
        work: INSTRUCTIONS_AT_MOST,
    };
    let mut nearest = None;
    while let Some(ByLength(way)) = search.waiting.pop() {
        let calls = way.length.0;
        if search.ends.len() >= ENDS_AT_MOST || nearest.is_some_and(|nearest| nearest < calls) {
            break;
        }
        search.follow(way, code);
        nearest = nearest.or((!search.ends.is_empty()).then_some(calls));
    }
    let jumps = if search.ends.is_empty() { search.jumps } else { Vec::new() };
    WaysOut { returns: search.ends, jumps }
}

/// A way that waits: the shortest one is the greatest.
struct ByLength(Way);

impl Ord for ByLength {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.0.length, other.0.at).cmp(&(self.0.length, self.0.at))
    }
}

impl PartialOrd for ByLength {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ByLength {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for ByLength {}

struct Search {
    infos: InstructionInfoFactory,
    seen: FxHashSet<u64>,
    waiting: BinaryHeap<ByLength>,
    ends: Vec<Rule>,
    jumps: Vec<Rule>,
    work: usize,
}

/// Adds a rule, unless it says what another one does.
fn add(rules: &mut Vec<Rule>, rule: Option<Rule>) {
    let is_same = |known: &Rule, rule: &Rule| {
        (known.cfa, known.cfa_offset, known.return_address_operand)
            == (rule.cfa, rule.cfa_offset, rule.return_address_operand)
    };
    let new = rule.filter(|rule| !rules.iter().any(|known| is_same(known, rule)));
    rules.extend(new.filter(|_| rules.len() < ENDS_AT_MOST));
}

impl Search {
    fn end(&mut self, rule: Option<Rule>) {
        add(&mut self.ends, rule);
    }

    /// Follows a way to where it ends, was seen, or may go on in two ways, or behind a call.
    fn follow(&mut self, mut way: Way, code: &mut impl RunningCode) {
        loop {
            if let Some(there) = code.in_file(way.at) {
                return self.end(there.and_then(|there| way.joins(&there)));
            }
            if self.work == 0 || !self.seen.insert(way.at) {
                return;
            }
            self.work -= 1;
            let Some(instruction) = decode(code, way.at) else { return };
            way.length.1 += 1;
            match instruction.flow_control() {
                FlowControl::Return => return self.end(way.returns(&instruction)),
                FlowControl::IndirectBranch => {
                    add(&mut self.jumps, way.enters());
                    let Some(target) = way.jumps_to(&instruction, code) else { return };
                    way.at = target;
                    continue;
                }
                FlowControl::UnconditionalBranch => {
                    add(&mut self.jumps, way.enters());
                    way.at = instruction.near_branch_target();
                    continue;
                }
                FlowControl::ConditionalBranch => {
                    let there = Way { at: instruction.near_branch_target(), loaded: None, ..way.clone() };
                    let next = Way { at: instruction.next_ip(), loaded: None, ..way };
                    return self.waiting.extend([ByLength(there), ByLength(next)]);
                }
                _ if !goes_on(&instruction) => return,
                _ => {}
            }
            if way.step(&instruction, &mut self.infos).is_none() {
                return;
            }
            if is_call(&instruction) {
                way.length.0 += 1;
                return self.waiting.push(ByLength(way));
            }
        }
    }
}

impl Way {
    /// Goes on to the next instruction. None if no function does that.
    fn step(&mut self, instruction: &Instruction, infos: &mut InstructionInfoFactory) -> Option<()> {
        if self.state.is_put_on_rbp(instruction) {
            let (at, length) = (instruction.next_ip(), self.length);
            *self = Self { at, state: State::amid(), is_by_rbp: true, rbp_from: None, loaded: None, length };
            return Some(());
        }
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
        let kind = if self.is_by_rbp { Rbp::AtRbp } else { Rbp::AtRsp };
        let from = self.rbp_from.and_then(|from| i32::try_from(from).ok());
        from.map_or((Rbp::Undefined, 0), |from| (kind, from))
    }

    /// The rule of a CFA so far above where places are counted from.
    fn cfa_at(&self, offset: i32) -> Rule {
        if self.is_by_rbp { Rule::other_stack(offset) } else { Rule::register(7, offset) }
    }

    /// The rule at the start if this returns here.
    fn returns(&self, instruction: &Instruction) -> Option<Rule> {
        let taken_off = if instruction.op_count() == 0 { 0 } else { i32::from(instruction.immediate16()) };
        let offset = i32::try_from(self.state.stack_pointer()?).ok()?.checked_add(8 + taken_off)?;
        let (rbp, rbp_operand) = self.rbp();
        let return_address_operand = RETURN_ADDRESS_OFFSET - taken_off;
        (offset > 0).then_some(Rule { rbp, rbp_operand, return_address_operand, ..self.cfa_at(offset) })
    }

    /// The rule at the start if a function begins here. None if nothing was taken off the stack on the way.
    fn enters(&self) -> Option<Rule> {
        let above = i32::try_from(self.state.stack_pointer()?).ok()?;
        let (rbp, rbp_operand) = self.rbp();
        (above > 0 && !self.is_by_rbp).then(|| Rule { rbp, rbp_operand, ..Rule::register(7, above + 8) })
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
                let offset =
                    i32::try_from(self.state.stack_pointer()?).ok()?.checked_add(there.cfa_offset)?;
                self.cfa_at(offset)
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
