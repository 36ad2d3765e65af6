//! What call frame information says at an address, by gimli alone: which entry, which row, and what the row's rules
//! give for some registers and some memory.

use std::fs;
use std::ops::Range;
use std::path::Path;

use gimli::{
    BaseAddresses, CfaRule, CieOrFde, DebugFrame, EhFrame, Encoding, EndianSlice, EvaluationResult,
    LittleEndian, Location, Operation, Register, RegisterRule, UnwindContext, UnwindContextStorage,
    UnwindExpression, UnwindSection, UnwindTableRow, Value, X86_64,
};
use object::{Object, ObjectSection, ObjectSymbol};
use profiler_unwind::Rule;
use profiler_unwind::rule::{Cfa, Rbp, Reason, ReturnAddress};

type Bytes<'a> = EndianSlice<'a, LittleEndian>;

/// Room for what is remembered: gimli's own has 4 rows.
struct Ample;

impl UnwindContextStorage<usize> for Ample {
    type Rules = [(Register, RegisterRule<usize>); 64];
    type Stack = Vec<UnwindTableRow<usize, Self>>;
}

/// A frame's registers, and memory of which every word is known.
#[derive(Clone, Copy)]
pub(crate) struct Machine {
    seed: u64,
    ip: u64,
}

impl Machine {
    pub(crate) fn at(ip: u64, seed: u64) -> Self {
        Self { seed, ip }
    }

    fn mix(self, value: u64) -> u64 {
        let mixed = (value ^ self.seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    }

    fn word(self, address: u64) -> u64 {
        self.mix(address)
    }

    fn register(self, register: Register) -> u64 {
        if register == X86_64::RA { self.ip } else { self.mix(1 << 60 | u64::from(register.0)) }
    }
}

/// What a step out of a frame leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Nothing is known.
    Unknown,
    /// There is none.
    End,
    Frame {
        sp: u64,
        ip: u64,
        bp: Option<u64>,
        interrupted: bool,
    },
}

impl Caller {
    /// All but the frame pointer.
    pub(crate) fn without_bp(self) -> Self {
        match self {
            Self::Frame { sp, ip, interrupted, .. } => Self::Frame { sp, ip, bp: None, interrupted },
            other => other,
        }
    }
}

/// The caller by a rule; none where the rule cannot say.
pub(crate) fn by_rule(rule: Option<Rule>, machine: Machine) -> Option<Caller> {
    let Some(rule) = rule else { return Some(Caller::Unknown) };
    let (rsp, rbp) = (machine.register(X86_64::RSP), machine.register(X86_64::RBP));
    let plus = |base: u64, offset: i32| base.wrapping_add_signed(offset.into());
    let deref = |base| machine.word(plus(base, rule.cfa_offset)).wrapping_add_signed(rule.cfa_addend.into());
    let cfa = match rule.cfa {
        Cfa::None => return Some(Caller::Unknown),
        Cfa::End => return Some(Caller::End),
        // Nothing that call frame information can say.
        Cfa::OtherStack | Cfa::Goroutine | Cfa::LeftGoroutine | Cfa::Parked => return None,
        Cfa::Unsupported => return None,
        Cfa::Signal => {
            let saved = |at| machine.word(rsp.wrapping_add(at));
            return Some(Caller::Frame {
                sp: saved(160),
                ip: saved(168),
                bp: Some(saved(120)),
                interrupted: true,
            });
        }
        Cfa::Rsp => plus(rsp, rule.cfa_offset),
        Cfa::Rbp => plus(rbp, rule.cfa_offset),
        Cfa::Register => plus(machine.register(Register(rule.cfa_register.into())), rule.cfa_offset),
        Cfa::Plt => {
            let is_pushed = machine.ip & 15 >= rule.cfa_addend as u64;
            plus(rsp, rule.cfa_offset) + if is_pushed { 8 } else { 0 }
        }
        Cfa::DerefRsp => deref(rsp),
        Cfa::DerefRbp => deref(rbp),
    };
    let ip = match rule.return_address {
        ReturnAddress::AtCfa => machine.word(plus(cfa, rule.return_address_operand)),
        ReturnAddress::InRegister => machine.register(Register(rule.return_address_operand as u16)),
    };
    let bp = match rule.rbp {
        Rbp::Same => Some(rbp),
        Rbp::AtCfa => Some(machine.word(plus(cfa, rule.rbp_operand))),
        Rbp::AtRbp => Some(machine.word(plus(rbp, rule.rbp_operand))),
        Rbp::AtRsp => Some(machine.word(plus(rsp, rule.rbp_operand))),
        Rbp::InRegister => Some(machine.register(Register(rule.rbp_operand as u16))),
        Rbp::Undefined | Rbp::Unsupported => None,
    };
    Some(Caller::Frame { sp: cfa, ip, bp, interrupted: rule.interrupts })
}

/// The call frame information of a file.
pub(crate) struct Oracle {
    /// Sections of code, and their bytes.
    text: Vec<(Range<u64>, Vec<u8>)>,
    /// First addresses of all entries, and addresses after their last, sorted.
    starts: Vec<u64>,
    ends: Vec<u64>,
    eh_frame: Vec<u8>,
    debug_frame: Vec<u8>,
    bases: BaseAddresses,
    /// Code and offset of each entry, by address: of .eh_frame, and of .debug_frame.
    entries: [Vec<(Range<u64>, usize)>; 2],
    /// The functions of [`CHANGES_STACKS`].
    switching: Vec<Range<u64>>,
}

/// Functions of Go's runtime that go on another stack.
const CHANGES_STACKS: [&str; 11] = [
    "runtime.asmcgocall",
    "runtime.callCgoMmap",
    "runtime.callCgoMunmap",
    "runtime.callCgoSigaction",
    "runtime.cgocallback",
    "runtime.mcall",
    "runtime.morestack",
    "runtime.nanotime1",
    "runtime.systemstack",
    "runtime.walltime",
    "time.now",
];

/// What it says at an address.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) caller: Caller,
    /// Features of the row that explain why a rule cannot say the same.
    pub(crate) excuses: Vec<Reason>,
    /// The same for where rbp is.
    pub(crate) rbp_is_unusual: bool,
    /// Whether more than one entry describes the address.
    pub(crate) is_ambiguous: bool,
}

impl Oracle {
    pub(crate) fn of(path: &Path) -> Self {
        Self::of_bytes(&fs::read(path).unwrap())
    }

    pub(crate) fn of_bytes(file: &[u8]) -> Self {
        let elf = object::File::parse(file).unwrap();
        let address = |name| elf.section_by_name(name).map_or(0, |section| section.address());
        let bytes = |name| {
            let section = elf.section_by_name(name);
            section.map_or(Vec::new(), |section| section.data().unwrap_or_default().to_vec())
        };
        let text = elf.sections().filter(|section| section.kind() == object::SectionKind::Text);
        let text = text.map(|section| {
            let range = section.address()..section.address() + section.size();
            (range, section.data().unwrap().to_vec())
        });
        let text = text.collect();
        let bases = BaseAddresses::default()
            .set_eh_frame(address(".eh_frame"))
            .set_text(address(".text"))
            .set_got(address(".got"));
        let (eh_frame, debug_frame) = (bytes(".eh_frame"), bytes(".debug_frame"));
        let entries = [
            entries(&EhFrame::new(&eh_frame, LittleEndian), &bases),
            entries(&DebugFrame::new(&debug_frame, LittleEndian), &bases),
        ];
        let sorted = |border: fn(&Range<u64>) -> u64| {
            let mut all: Vec<u64> = entries.iter().flatten().map(|(code, _)| border(code)).collect();
            all.sort_unstable();
            all
        };
        let (starts, ends) = (sorted(|code| code.start), sorted(|code| code.end));
        let switching = elf.symbols().filter(|symbol| {
            let name = symbol.name().unwrap_or_default();
            CHANGES_STACKS.contains(&name.strip_suffix(".abi0").unwrap_or(name))
        });
        let switching = switching.map(|symbol| symbol.address()..symbol.address() + symbol.size()).collect();
        Self { text, starts, ends, eh_frame, debug_frame, bases, entries, switching }
    }

    /// What it says at this address, entry and row found independently of the package.
    pub(crate) fn says(&self, vaddr: u64, machine: Machine) -> Said {
        let eh_frame = EhFrame::new(&self.eh_frame, LittleEndian);
        let debug_frame = DebugFrame::new(&self.debug_frame, LittleEndian);
        if let Some((offset, is_ambiguous)) = find(&self.entries[0], vaddr) {
            return Said { is_ambiguous, ..said(&eh_frame, &self.bases, offset, vaddr, machine) };
        }
        match find(&self.entries[1], vaddr) {
            Some((offset, is_ambiguous)) => {
                Said { is_ambiguous, ..said(&debug_frame, &self.bases, offset, vaddr, machine) }
            }
            None => Said::unknown(),
        }
    }

    /// Whether gimli itself, looking through all entries of a section, finds something.
    pub(crate) fn is_found_by_search(&self, vaddr: u64) -> bool {
        let mut context = UnwindContext::<usize, Ample>::new_in();
        let eh_frame = EhFrame::new(&self.eh_frame, LittleEndian);
        let debug_frame = DebugFrame::new(&self.debug_frame, LittleEndian);
        let cie = EhFrame::cie_from_offset;
        let found = eh_frame.unwind_info_for_address(&self.bases, &mut context, vaddr, cie).is_ok();
        let cie = DebugFrame::cie_from_offset;
        found || debug_frame.unwind_info_for_address(&self.bases, &mut context, vaddr, cie).is_ok()
    }

    /// Whether the address lies in one of the functions of Go's that go on another stack.
    pub(crate) fn changes_stacks(&self, vaddr: u64) -> bool {
        self.switching.iter().any(|code| code.contains(&vaddr))
    }

    /// Whether the address lies in less than 16 bytes of no-operations before an entry, or the end of the code, at a
    /// multiple of 16.
    pub(crate) fn is_padding(&self, vaddr: u64) -> bool {
        self.gap_before_border(vaddr).is_some_and(is_nothing)
    }

    /// Whether it is such a gap that begins with a `ret`: the entry of hand-written code ends one instruction early.
    pub(crate) fn is_return_out_of_entry(&self, vaddr: u64) -> bool {
        self.gap_before_border(vaddr).is_some_and(|gap| gap.first() == Some(&0xc3) && is_nothing(&gap[1..]))
    }

    /// The code around the address from the end of an entry to the next multiple of 16, if another begins there, or
    /// the code ends.
    fn gap_before_border(&self, vaddr: u64) -> Option<&[u8]> {
        let end = vaddr.checked_next_multiple_of(16)?;
        let is_border = self.starts.binary_search(&end).is_ok()
            || self.text.iter().any(|(code, _)| code.end.next_multiple_of(16) == end);
        let before = self.ends.partition_point(|&at| at <= vaddr).checked_sub(1).map(|last| self.ends[last]);
        let start = before.filter(|start| end - start < 16 && is_border)?;
        let Some((code, text)) = self.text.iter().find(|(code, _)| code.contains(&start)) else {
            let is_between_sections = !self.text.iter().any(|(code, _)| (start..end).contains(&code.start));
            return is_between_sections.then_some(&[]);
        };
        let end = end.min(code.end);
        Some(&text[(start - code.start) as usize..(end - code.start) as usize])
    }

    /// Every address at which what is said may change, in no order: where entries begin and end, and their rows.
    pub(crate) fn borders(&self) -> Vec<u64> {
        let mut borders = [self.starts.as_slice(), &self.ends].concat();
        let [of_eh_frame, of_debug_frame] = &self.entries;
        let eh_frame = EhFrame::new(&self.eh_frame, LittleEndian);
        add_row_starts(&eh_frame, &self.bases, of_eh_frame, &mut borders);
        let debug_frame = DebugFrame::new(&self.debug_frame, LittleEndian);
        add_row_starts(&debug_frame, &self.bases, of_debug_frame, &mut borders);
        borders
    }
}

/// Adds the addresses at which rows of these entries begin, up to where an entry breaks.
fn add_row_starts<'a, S>(
    section: &S,
    bases: &BaseAddresses,
    entries: &[(Range<u64>, usize)],
    borders: &mut Vec<u64>,
) where
    S: UnwindSection<Bytes<'a>>,
{
    let mut context = UnwindContext::<usize, Ample>::new_in();
    for (code, offset) in entries {
        let entry = section.fde_from_offset(bases, S::Offset::from(*offset), S::cie_from_offset).unwrap();
        let Ok(mut rows) = entry.rows(section, bases, &mut context) else { continue };
        while let Ok(Some(row)) = rows.next_row() {
            borders.extend([row.start_address(), row.end_address()].iter().filter(|at| code.contains(at)));
        }
    }
}

/// Whether code is never executed: zeros, `int3`, or the no-operations that assemblers fill with.
fn is_nothing(mut code: &[u8]) -> bool {
    while let Some(&first) = code.first() {
        let prefixes = code.iter().take_while(|&&byte| byte == 0x66 || byte == 0x2e).count();
        let size = match &code[prefixes..] {
            [0x90 | 0xcc, ..] => 1,
            _ if first == 0 => 1,
            [0x0f, 0x1f, modrm, ..] => {
                let sib = if modrm & 7 == 4 { 1 } else { 0 };
                3 + sib + [0, 1, 4, 0][usize::from(modrm >> 6)]
            }
            // lea 0(%rsi),%rsi in its many sizes, and xchg %ax,%ax
            [0x8d, ..] => 8,
            _ => return false,
        };
        code = code.get(prefixes + size..).unwrap_or_default();
    }
    true
}

fn entries<'a, S: UnwindSection<Bytes<'a>>>(section: &S, bases: &BaseAddresses) -> Vec<(Range<u64>, usize)> {
    let mut all = section.entries(bases);
    let mut entries = Vec::new();
    while let Some(entry) = all.next().unwrap() {
        let CieOrFde::Fde(entry) = entry else { continue };
        let entry = entry.parse(S::cie_from_offset).unwrap();
        // Linkers leave entries of functions that they dropped.
        if entry.initial_address() != 0 && entry.len() > 0 {
            entries.push((entry.initial_address()..entry.end_address(), entry.offset()));
        }
    }
    entries.sort_unstable_by_key(|(code, _)| (code.start, code.end));
    entries
}

fn find(entries: &[(Range<u64>, usize)], vaddr: u64) -> Option<(usize, bool)> {
    let after = entries.partition_point(|(code, _)| code.start <= vaddr);
    // Entries that contain others are rare: a few before are looked at.
    let mut found =
        entries[after.saturating_sub(4)..after].iter().rev().filter(|(code, _)| code.contains(&vaddr));
    let first = found.next()?;
    Some((first.1, found.next().is_some()))
}

fn said<'a, S>(section: &S, bases: &BaseAddresses, offset: usize, vaddr: u64, machine: Machine) -> Said
where
    S: UnwindSection<Bytes<'a>>,
{
    let entry = section.fde_from_offset(bases, S::Offset::from(offset), S::cie_from_offset).unwrap();
    let mut context = UnwindContext::<usize, Ample>::new_in();
    let Ok(row) = entry.unwind_info_for_address(section, bases, &mut context, vaddr) else {
        return Said::unknown();
    };
    let values = Values { section, encoding: entry.cie().encoding(), machine };
    values.said(row, entry.is_signal_trampoline())
}

impl Said {
    fn unknown() -> Self {
        Self { caller: Caller::Unknown, excuses: Vec::new(), rbp_is_unusual: false, is_ambiguous: false }
    }
}

struct Values<'s, S> {
    section: &'s S,
    encoding: Encoding,
    machine: Machine,
}

impl<'a, S: UnwindSection<Bytes<'a>>> Values<'_, S> {
    fn said(&self, row: &UnwindTableRow<usize, Ample>, is_signal: bool) -> Said {
        let (ip_rule, sp_rule, bp_rule) =
            (row.register(X86_64::RA), row.register(X86_64::RSP), row.register(X86_64::RBP));
        let mut excuses = Vec::new();
        let cfa = match row.cfa() {
            CfaRule::RegisterAndOffset { register, offset } => {
                excuses.extend((register.0 > 15).then_some(Reason::CfaRegister));
                excuses.extend(i32::try_from(*offset).is_err().then_some(Reason::Offset));
                self.machine.register(*register).wrapping_add_signed(*offset)
            }
            CfaRule::Expression(expression) => {
                excuses.push(Reason::CfaExpression);
                excuses.extend(self.has_large_offset(expression).then_some(Reason::Offset));
                self.expression(expression, None)
            }
        };
        if sp_rule.is_some() {
            excuses.push(Reason::StackPointer);
        }
        if !matches!(ip_rule, Some(RegisterRule::Offset(_) | RegisterRule::Register(_))) {
            excuses.push(Reason::ReturnAddress);
        }
        if let Some(RegisterRule::Offset(offset)) = ip_rule {
            excuses.extend(i32::try_from(offset).is_err().then_some(Reason::Offset));
        }
        if let Some(RegisterRule::Register(Register(number))) = ip_rule {
            excuses.extend((number > 15).then_some(Reason::ReturnAddress));
        }
        let caller = if ip_rule == Some(RegisterRule::Undefined) {
            Caller::End
        } else {
            Caller::Frame {
                sp: sp_rule.map_or(cfa, |rule| self.value(Some(rule), X86_64::RSP, cfa).unwrap_or(0)),
                ip: self.value(ip_rule, X86_64::RA, cfa).unwrap(),
                bp: self.value(bp_rule.clone(), X86_64::RBP, cfa),
                interrupted: is_signal,
            }
        };
        let rbp_is_unusual = match bp_rule {
            None | Some(RegisterRule::SameValue | RegisterRule::Undefined) => false,
            Some(RegisterRule::Offset(offset)) => i32::try_from(offset).is_err(),
            Some(RegisterRule::Register(Register(number))) => number > 15,
            _ => true,
        };
        Said { caller, excuses, rbp_is_unusual, is_ambiguous: false }
    }

    fn value(&self, rule: Option<RegisterRule<usize>>, register: Register, cfa: u64) -> Option<u64> {
        Some(match rule {
            None | Some(RegisterRule::SameValue) => self.machine.register(register),
            Some(RegisterRule::Offset(offset)) => self.machine.word(cfa.wrapping_add_signed(offset)),
            Some(RegisterRule::ValOffset(offset)) => cfa.wrapping_add_signed(offset),
            Some(RegisterRule::Register(other)) => self.machine.register(other),
            Some(RegisterRule::Expression(expression)) => {
                self.machine.word(self.expression(&expression, Some(cfa)))
            }
            Some(RegisterRule::ValExpression(expression)) => self.expression(&expression, Some(cfa)),
            Some(RegisterRule::Constant(value)) => value,
            _ => return None,
        })
    }

    /// Whether an offset or a constant in the expression needs more than 16 bits.
    fn has_large_offset(&self, expression: &UnwindExpression<usize>) -> bool {
        let mut operations = expression.get(self.section).unwrap().operations(self.encoding);
        while let Some(operation) = operations.next().unwrap() {
            let number = match operation {
                Operation::RegisterOffset { offset, .. } => offset,
                Operation::PlusConstant { value } => value as i64,
                _ => 0,
            };
            if i16::try_from(number).is_err() {
                return true;
            }
        }
        false
    }

    /// The value of an expression, by gimli's own evaluation.
    fn expression(&self, expression: &UnwindExpression<usize>, cfa: Option<u64>) -> u64 {
        let mut evaluation = expression.get(self.section).unwrap().evaluation(self.encoding);
        if let Some(cfa) = cfa {
            evaluation.set_initial_value(cfa);
        }
        let mut result = evaluation.evaluate().unwrap();
        loop {
            result = match result {
                EvaluationResult::Complete => break,
                EvaluationResult::RequiresMemory { address, size: 8, .. } => {
                    evaluation.resume_with_memory(Value::Generic(self.machine.word(address))).unwrap()
                }
                EvaluationResult::RequiresRegister { register, .. } => {
                    evaluation.resume_with_register(Value::Generic(self.machine.register(register))).unwrap()
                }
                other => panic!("{other:?}"),
            };
        }
        match evaluation.as_result() {
            [piece] => match piece.location {
                Location::Address { address } => address,
                ref other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }
}
