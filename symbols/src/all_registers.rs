//! From a frame to its caller with all general registers, by the call frame information itself.
//!
//! The unwind tables ([`crate::unwind_rows`]) follow the three registers that nearly all code needs. A few frames need
//! another one, which a function further in has saved: the dynamic linker's trampolines keep the caller's stack
//! pointer in rbx while they look a symbol up. Their stacks are walked with this: slower, and rare.
//!
//! Formats: DWARF 5, sections 2.5 (expressions) and 6.4; register numbers: x86-64 psABI, figure 3.36.

use gimli::{CfaRule, EvaluationResult, Location, Register, RegisterRule, UnwindExpression, Value};

use crate::frame_pointer_rules::{Entry, Row, Section, UnwindInfo};

const RSP: usize = 7;
const RETURN_ADDRESS: Register = Register(16);
/// Operations of one expression; compilers and linkers write at most ten.
const OPERATIONS_AT_MOST: u32 = 256;

/// The registers of one frame, as far as they are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Address of the instruction; of a caller the return address.
    pub ip: u64,
    /// By DWARF number.
    pub registers: [Option<u64>; 16],
    /// Whether `ip` is a return address.
    pub is_caller: bool,
}

/// Why a step leads to no caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoCaller {
    /// There is none: the frame is the outermost.
    End,
    /// Nothing is known of the code at this address.
    NoRow,
    /// A word of memory that is needed could not be read.
    Unreadable,
    /// A register that is needed is not known, or the rule is broken.
    Unknown,
}

/// Reads a word of the process's memory.
pub type ReadWord<'a> = dyn Fn(u64) -> Option<u64> + 'a;

impl UnwindInfo {
    /// The caller of a frame whose code has this ELF virtual address; of a caller that of the call, so the return
    /// address - 1.
    pub fn caller(&self, vaddr: u64, frame: &Frame, read: &ReadWord<'_>) -> Result<Frame, NoCaller> {
        self.row_at(vaddr, |section, entry, row| Evaluation { section, entry, frame, read }.caller(row))
            .unwrap_or(Err(NoCaller::NoRow))
    }
}

struct Evaluation<'a, 's> {
    section: &'a Section<'s>,
    entry: &'a Entry<'s>,
    frame: &'a Frame,
    read: &'a ReadWord<'a>,
}

impl Evaluation<'_, '_> {
    fn caller(&self, row: &Row) -> Result<Frame, NoCaller> {
        let return_address = self.entry.cie().return_address_register();
        if row.register(return_address) == Some(RegisterRule::Undefined) {
            return Err(NoCaller::End);
        }
        let cfa = match row.cfa() {
            CfaRule::RegisterAndOffset { register, offset } => {
                self.known(*register)?.wrapping_add_signed(*offset)
            }
            CfaRule::Expression(expression) => self.expression(expression, None)?,
        };
        let ip = self.register(row, return_address, cfa)?.ok_or(NoCaller::Unknown)?;
        let mut registers = [None; 16];
        for (number, register) in registers.iter_mut().enumerate() {
            // A register that cannot be had is missed only where a caller needs it.
            *register = self.register(row, Register(number as u16), cfa).unwrap_or(None);
        }
        Ok(Frame { ip, registers, is_caller: !self.entry.is_signal_trampoline() })
    }

    /// A register of the caller.
    fn register(&self, row: &Row, register: Register, cfa: u64) -> Result<Option<u64>, NoCaller> {
        let word = |address: u64| (self.read)(address).ok_or(NoCaller::Unreadable).map(Some);
        match row.register(register) {
            None if usize::from(register.0) == RSP => Ok(Some(cfa)),
            None | Some(RegisterRule::SameValue) => Ok(self.known(register).ok()),
            Some(RegisterRule::Offset(offset)) => word(cfa.wrapping_add_signed(offset)),
            Some(RegisterRule::ValOffset(offset)) => Ok(Some(cfa.wrapping_add_signed(offset))),
            Some(RegisterRule::Register(other)) => self.known(other).map(Some),
            Some(RegisterRule::Expression(at)) => word(self.expression(&at, Some(cfa))?),
            Some(RegisterRule::ValExpression(value)) => self.expression(&value, Some(cfa)).map(Some),
            _ => Ok(None),
        }
    }

    /// A register of this frame.
    fn known(&self, register: Register) -> Result<u64, NoCaller> {
        if register == RETURN_ADDRESS {
            return Ok(self.frame.ip);
        }
        self.frame.registers.get(usize::from(register.0)).copied().flatten().ok_or(NoCaller::Unknown)
    }

    fn expression(
        &self,
        expression: &UnwindExpression<usize>,
        initial: Option<u64>,
    ) -> Result<u64, NoCaller> {
        let broken = |_| NoCaller::Unknown;
        let mut evaluation =
            expression.get(self.section).map_err(broken)?.evaluation(self.entry.cie().encoding());
        evaluation.set_max_iterations(OPERATIONS_AT_MOST);
        if let Some(initial) = initial {
            evaluation.set_initial_value(initial);
        }
        let mut state = evaluation.evaluate().map_err(broken)?;
        loop {
            state = match state {
                EvaluationResult::Complete => break,
                EvaluationResult::RequiresRegister { register, .. } => {
                    evaluation.resume_with_register(Value::Generic(self.known(register)?))
                }
                EvaluationResult::RequiresMemory { address, size: 8, .. } => {
                    let word = (self.read)(address).ok_or(NoCaller::Unreadable)?;
                    evaluation.resume_with_memory(Value::Generic(word))
                }
                _ => return Err(NoCaller::Unknown),
            }
            .map_err(broken)?;
        }
        match evaluation.as_result() {
            [piece] => match piece.location {
                Location::Address { address } => Ok(address),
                _ => Err(NoCaller::Unknown),
            },
            _ => Err(NoCaller::Unknown),
        }
    }
}
