//! What is known at an instruction of where the stack pointer, the caller's frame pointer and copies of both are; and what
//! an instruction makes of it.
//!
//! Source: Intel SDM, volume 2, for what each instruction does; the decoder's own tables for which registers and memory
//! any other one writes.

use iced_x86::{Instruction, InstructionInfoFactory, MemorySize, Mnemonic, OpAccess, OpKind, Register};
use profiler_unwind::Rule;
use profiler_unwind::rule::Rbp;

/// Places on the stack whose content is known; compilers and people save some six registers.
const PLACES_AT_MOST: usize = 16;

/// What a register or a place on the stack holds, as far as a walk is concerned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Value {
    /// Anything.
    #[default]
    Unknown,
    /// The CFA of this function, and so many bytes.
    Cfa(i64),
    /// The stack pointer as the last instruction that rounded it down left it, and so many bytes.
    Rounded(i64),
    /// The caller's rbp.
    CallersRbp,
}

impl Value {
    fn plus(self, bytes: i64) -> Self {
        match self {
            Self::Cfa(at) => at.checked_add(bytes).map_or(Self::Unknown, Self::Cfa),
            Self::Rounded(at) => at.checked_add(bytes).map_or(Self::Unknown, Self::Rounded),
            Self::CallersRbp | Self::Unknown => Self::Unknown,
        }
    }

    /// Whether it is an address on this function's stack: then which kind, and where.
    fn place(self) -> Option<(bool, i64)> {
        match self {
            Self::Cfa(at) => Some((false, at)),
            Self::Rounded(at) => Some((true, at)),
            Self::CallersRbp | Self::Unknown => None,
        }
    }
}

/// Numbers of general registers, as instructions encode them.
const RSP: usize = 4;
const RBP: usize = 5;
/// Larger than any frame.
const FAR: i64 = 1 << 40;
/// Where `push %rbp; mov %rsp, %rbp` leaves the frame pointer, and the caller's.
const FRAME_AT: i64 = -16;
const FRAME: Value = Value::Cfa(FRAME_AT);
/// Those that a function may change without giving them back: rax, rcx, rdx, rsi, rdi, r8 to r11.
const SCRATCH: [usize; 9] = [0, 1, 2, 6, 7, 8, 9, 10, 11];
/// DWARF's numbers of registers (x86-64 psABI, figure 3.36), by the numbers in instructions.
const DWARF: [u8; 16] = [0, 2, 1, 3, 7, 6, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15];

/// What is known before an instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    registers: [Value; 16],
    /// Places on the stack that hold something: whether they are counted from where the pointer was rounded down, where, what.
    places: Vec<(bool, i64, Value)>,
    /// The instruction that rounded the stack pointer down.
    rounded_at: u64,
}

impl State {
    /// At the first instruction of a function: what calls it has pushed the return address.
    pub(super) fn at_entry() -> Self {
        let mut registers = [Value::Unknown; 16];
        registers[RSP] = Value::Cfa(-8);
        registers[RBP] = Value::CallersRbp;
        Self { registers, places: Vec::new(), rounded_at: 0 }
    }

    /// Amid a function: how far the CFA is, is not known. Places are counted from the stack pointer, by way of a CFA that lies farther
    /// than any.
    pub(super) fn amid() -> Self {
        let mut state = Self::at_entry();
        state.registers[RSP] = Value::Cfa(-FAR);
        state
    }

    /// Of a state that began amid a function: how far the stack pointer is above where it was.
    pub(super) fn stack_pointer(&self) -> Option<i64> {
        match self.registers[RSP] {
            Value::Cfa(at) => at.checked_add(FAR),
            _ => None,
        }
    }

    /// Of a state that began amid a function: whether an instruction makes rbp, as it was, the stack pointer.
    pub(super) fn is_put_on_rbp(&self, instruction: &Instruction) -> bool {
        let is_move = instruction.mnemonic() == Mnemonic::Mov && instruction.op_count() == 2;
        let registers = (instruction.op0_register(), instruction.op1_register());
        is_move && registers == (Register::RSP, Register::RBP) && self.has_callers_rbp()
    }

    /// Whether rbp is what it was.
    pub(super) fn has_callers_rbp(&self) -> bool {
        self.registers[RBP] == Value::CallersRbp
    }

    /// Of a state that began amid a function: from where a `pop`, or a `mov` from the stack, takes a word that was there from the
    /// beginning, counted from where the stack pointer was.
    pub(super) fn word_taken_by(&self, instruction: &Instruction) -> Option<i64> {
        let from = match (instruction.mnemonic(), instruction.op1_kind()) {
            (Mnemonic::Pop, _) => self.registers[RSP],
            (Mnemonic::Mov, OpKind::Memory) => self.address(instruction),
            _ => return None,
        };
        match from {
            Value::Cfa(at) => at.checked_add(FAR).filter(|at| *at >= 0),
            _ => None,
        }
    }

    /// Whether a return, or a jump to another function, leaves the stack as the caller expects it.
    pub(super) fn is_as_at_entry(&self) -> bool {
        self.registers[RSP] == Value::Cfa(-8) && self.registers[RBP] == Value::CallersRbp
    }

    /// Whether the stack pointer may be what the calling convention wants it to be at a call: a multiple of 16, as the CFA is.
    pub(super) fn is_aligned(&self) -> bool {
        match self.registers[RSP] {
            Value::Cfa(at) => at % 16 == 0,
            Value::Rounded(_) | Value::CallersRbp | Value::Unknown => true,
        }
    }

    /// Whether both know how deep the stack is, and it is not the same: no function gets to a place at two depths.
    pub(super) fn contradicts(&self, other: &Self) -> bool {
        let (own, theirs) = (self.registers[RSP], other.registers[RSP]);
        own != Value::Unknown && theirs != Value::Unknown && own != theirs
    }

    /// Keeps what both know. Whether that is less than before.
    pub(super) fn meet(&mut self, other: &Self) -> bool {
        let before = self.clone();
        if self.rounded_at != other.rounded_at {
            self.forget_rounded();
        }
        for (own, theirs) in self.registers.iter_mut().zip(other.registers) {
            if *own != theirs {
                *own = Value::Unknown;
            }
        }
        self.places.retain(|place| other.places.contains(place));
        *self != before
    }

    /// How to get from here to the caller; none if that is not known.
    pub(super) fn rule(&self) -> Rule {
        let Some(mut rule) = self.cfa() else { return Rule::NONE };
        (rule.rbp, rule.rbp_operand) = self.callers_rbp();
        rule
    }

    fn cfa(&self) -> Option<Rule> {
        let by_register = |number: usize| match self.registers[number] {
            Value::Cfa(at) => Some(Rule::register(DWARF[number], i32::try_from(at.checked_neg()?).ok()?)),
            _ => None,
        };
        let by_place = || {
            let Value::Rounded(rsp) = self.registers[RSP] else { return None };
            self.places.iter().find_map(|(is_rounded, at, value)| match value {
                Value::Cfa(cfa) if *is_rounded => {
                    let (offset, addend) = (at.checked_sub(rsp)?, cfa.checked_neg()?);
                    Some(Rule::deref_rsp(offset.try_into().ok()?, addend.try_into().ok()?))
                }
                _ => None,
            })
        };
        // A frame pointer holds whatever the callee does to the stack: some take arguments off it that others have put there, as
        // built-in functions of V8 do.
        let is_frame_pointer =
            self.registers[RBP] == FRAME && self.places.contains(&(false, FRAME_AT, Value::CallersRbp));
        let by_frame_pointer = || is_frame_pointer.then(|| by_register(RBP)).flatten();
        by_frame_pointer()
            .or_else(|| by_register(RSP))
            .or_else(|| by_register(RBP))
            .or_else(by_place)
            .or_else(|| (0..16).find_map(by_register))
    }

    fn callers_rbp(&self) -> (Rbp, i32) {
        if self.registers[RBP] == Value::CallersRbp {
            return (Rbp::Same, 0);
        }
        let saved = self.places.iter().filter(|(.., value)| *value == Value::CallersRbp);
        let at = saved.filter_map(|(is_rounded, at, _)| match (is_rounded, self.registers[RSP]) {
            (false, _) => Some((Rbp::AtCfa, i32::try_from(*at).ok()?)),
            (true, Value::Rounded(rsp)) => Some((Rbp::AtRsp, i32::try_from(at.checked_sub(rsp)?).ok()?)),
            (true, _) => None,
        });
        let in_register = || {
            let number = self.registers.iter().position(|value| *value == Value::CallersRbp)?;
            Some((Rbp::InRegister, i32::from(DWARF[number])))
        };
        at.min_by_key(|(kind, _)| *kind != Rbp::AtCfa).or_else(in_register).unwrap_or((Rbp::Undefined, 0))
    }

    /// What an instruction that goes on to the next one makes of it. None if it does what no function does to its stack.
    pub(super) fn step(
        &mut self,
        instruction: &Instruction,
        infos: &mut InstructionInfoFactory,
    ) -> Option<()> {
        let (first, second) = (instruction.op0_register(), instruction.op1_register());
        let is_wide = |operand: u32| match instruction.op_kind(operand) {
            OpKind::Register => number_of(instruction.op_register(operand)).is_some(),
            OpKind::Memory => matches!(instruction.memory_size(), MemorySize::UInt64 | MemorySize::Int64),
            _ => true,
        };
        let operands = instruction.op_count();
        let is_move_of_words = operands == 2 && is_wide(0) && is_wide(1);
        match instruction.mnemonic() {
            Mnemonic::Push => {
                let pushed = match instruction.op0_kind() {
                    OpKind::Register => self.get(first),
                    _ => Value::Unknown,
                };
                self.move_rsp(i64::from(instruction.stack_pointer_increment()));
                let size = i64::from(-instruction.stack_pointer_increment());
                self.store(self.registers[RSP], size, pushed);
            }
            Mnemonic::Pop => {
                let popped = self.load(self.registers[RSP], i64::from(instruction.stack_pointer_increment()));
                self.move_rsp(i64::from(instruction.stack_pointer_increment()));
                match instruction.op0_kind() {
                    OpKind::Register => self.set(first, popped),
                    _ => self.others(instruction, infos),
                }
            }
            Mnemonic::Leave => {
                let frame = self.registers[RBP];
                self.registers[RBP] = self.load(frame, 8);
                self.registers[RSP] = frame.plus(8);
            }
            Mnemonic::Mov if is_move_of_words => match (instruction.op0_kind(), instruction.op1_kind()) {
                (OpKind::Register, OpKind::Register) => self.set(first, self.get(second)),
                (OpKind::Register, OpKind::Memory) => {
                    self.set(first, self.load(self.address(instruction), 8));
                }
                (OpKind::Memory, OpKind::Register) => {
                    self.store(self.address(instruction), 8, self.get(second));
                }
                _ => self.others(instruction, infos),
            },
            Mnemonic::Xchg
                if is_move_of_words && [0, 1].map(|n| instruction.op_kind(n)) == [OpKind::Register; 2] =>
            {
                let (one, two) = (self.get(first), self.get(second));
                self.set(first, two);
                self.set(second, one);
            }
            Mnemonic::Lea if number_of(first).is_some() => self.set(first, self.address(instruction)),
            Mnemonic::Add | Mnemonic::Sub | Mnemonic::And
                if instruction.op0_kind() == OpKind::Register
                    && number_of(first).is_some()
                    && is_immediate(instruction.op1_kind()) =>
            {
                self.calculate(instruction);
            }
            Mnemonic::Call => self.after_call(),
            _ => self.others(instruction, infos),
        }
        // Nothing that is still needed lies above the return address, which only a return takes off.
        match self.registers[RSP] {
            Value::Cfa(at) if at > -8 => None,
            _ => Some(()),
        }
    }

    fn calculate(&mut self, instruction: &Instruction) {
        let register = instruction.op0_register();
        let value = self.get(register);
        let by = instruction.immediate(1).cast_signed();
        let result = match instruction.mnemonic() {
            Mnemonic::Add => value.plus(by),
            Mnemonic::Sub => by.checked_neg().map_or(Value::Unknown, |by| value.plus(by)),
            // The stack pointer is rounded down to a multiple of a power of two.
            _ if number_of(register) == Some(RSP)
                && value != Value::Unknown
                && by < 0
                && by.unsigned_abs().is_power_of_two() =>
            {
                self.forget_rounded();
                self.rounded_at = instruction.ip();
                Value::Rounded(0)
            }
            _ => Value::Unknown,
        };
        self.set(register, result);
    }

    /// A call has come back.
    fn after_call(&mut self) {
        for number in SCRATCH {
            self.registers[number] = Value::Unknown;
        }
        // What lies below the stack pointer was the callee's.
        if let Some((is_rounded, rsp)) = self.registers[RSP].place() {
            self.places.retain(|(other, at, _)| *other != is_rounded || *at >= rsp);
        }
    }

    /// Any other instruction: what it writes is no longer known.
    fn others(&mut self, instruction: &Instruction, infos: &mut InstructionInfoFactory) {
        let info = infos.info(instruction);
        let writes = |access: OpAccess| {
            matches!(
                access,
                OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite
            )
        };
        for memory in info.used_memory().iter().filter(|memory| writes(memory.access())) {
            let base = match memory.index() {
                Register::None => self.based_on(memory.base(), memory.displacement().cast_signed()),
                _ => Value::Unknown,
            };
            self.store(base, memory.memory_size().size().max(1) as i64, Value::Unknown);
        }
        for used in info.used_registers().iter().filter(|used| writes(used.access())) {
            if used.register().is_gpr() {
                self.set(used.register().full_register(), Value::Unknown);
            }
        }
    }

    fn get(&self, register: Register) -> Value {
        number_of(register).map_or(Value::Unknown, |number| self.registers[number])
    }

    fn set(&mut self, register: Register, value: Value) {
        if let Some(number) = number_of(register) {
            self.registers[number] = value;
        }
    }

    fn move_rsp(&mut self, by: i64) {
        self.registers[RSP] = self.registers[RSP].plus(by);
    }

    fn address(&self, instruction: &Instruction) -> Value {
        match instruction.memory_index() {
            Register::None => {
                self.based_on(instruction.memory_base(), instruction.memory_displacement64().cast_signed())
            }
            _ => Value::Unknown,
        }
    }

    fn based_on(&self, base: Register, displacement: i64) -> Value {
        self.get(base).plus(displacement)
    }

    fn load(&self, address: Value, size: i64) -> Value {
        let Some((is_rounded, at)) = address.place().filter(|_| size == 8) else { return Value::Unknown };
        let found = self.places.iter().find(|place| (place.0, place.1) == (is_rounded, at));
        found.map_or(Value::Unknown, |(.., value)| *value)
    }

    fn store(&mut self, address: Value, size: i64, value: Value) {
        let Some((is_rounded, at)) = address.place() else { return };
        let is_over = |other: i64| other < at.saturating_add(size) && at < other.saturating_add(8);
        self.places.retain(|place| place.0 != is_rounded || !is_over(place.1));
        if value != Value::Unknown && size == 8 && self.places.len() < PLACES_AT_MOST {
            self.places.push((is_rounded, at, value));
            self.places.sort_unstable_by_key(|place| (place.0, place.1));
        }
    }

    fn forget_rounded(&mut self) {
        let is_rounded = |value: &Value| matches!(value, Value::Rounded(_));
        self.places.retain(|(from_rounded, _, value)| !from_rounded && !is_rounded(value));
        for value in self.registers.iter_mut().filter(|value| is_rounded(value)) {
            *value = Value::Unknown;
        }
    }
}

fn is_immediate(kind: OpKind) -> bool {
    matches!(kind, OpKind::Immediate8to64 | OpKind::Immediate32to64 | OpKind::Immediate64)
}

/// The number of a 64-bit general register.
fn number_of(register: Register) -> Option<usize> {
    register.is_gpr64().then(|| register.number())
}
