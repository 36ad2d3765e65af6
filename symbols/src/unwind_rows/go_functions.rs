//! Go's own table of functions, as a source of rows, and of names.
//!
//! Go's linker leaves call frame information out of stripped programs, and those are the usual ones. What it always
//! keeps is `.gopclntab`, since Go's runtime walks stacks by it: for each instruction of each function, how far the
//! stack pointer is below where it was at the function's entry. That is all a walk needs.
//!
//! Format: Go's `internal/abi/symtab.go` and `debug/gosym/pclntab.go`, of versions 1.16 to 1.17, 1.18 to 1.19, and
//! since 1.20, told apart by the first word. Since 1.26 its header no longer says where the text starts; `moduledata`
//! (`runtime/symtab.go`) does, which has a section of its own since.

use std::ops::Range;

use profiler_unwind::Rule;
use profiler_unwind::rule::{Rbp, Reason};

use super::entries::{Entry, Source};
use super::followed::stack_switches::{self, StackSwitch};
use super::sections::CodePart;
use crate::elf::image::Image;
use crate::elf::sections::Sections;

/// First words of the versions.
const VERSION_1_16: u32 = 0xffff_fffa;
const VERSION_1_18: u32 = 0xffff_fff0;
const VERSION_1_20: u32 = 0xffff_fff1;

/// `funcFlag_TOPFRAME`: nothing calls the function.
const TOP_FRAME: u8 = 1;
/// `funcFlag_SPWRITE`: the function moves the stack pointer as the table cannot say: it changes stacks.
const WRITES_SP: u8 = 2;
/// `funcFlag_ASM`: written in assembler, which saves registers where it likes.
const ASSEMBLER: u8 = 4;

/// Functions; the largest known programs have a third of it. Bounds the list.
const FUNCTIONS_AT_MOST: u64 = 4 << 20;

/// Functions that change stacks; the runtime has some twenty. Bounds the list.
const SWITCHING_AT_MOST: usize = 64;

/// Go aligns functions to 32 bytes.
const PADDING_BELOW: u64 = 32;

/// Where `moduledata` has the start of the text: behind the header's address, six slices, and three addresses.
const MODULE_TEXT: usize = 8 + 6 * 24 + 3 * 8;

/// Where Go's code starts, as far as the file says it outside of the table.
pub(crate) fn text_start(image: &Image<'_>, sections: &Sections) -> Option<u64> {
    let module = sections.stored(".go.module").and_then(|module| {
        let bytes = module.start(image, MODULE_TEXT as u64 + 8).ok()?;
        Some(u64::from_le_bytes(*bytes.get(MODULE_TEXT..)?.first_chunk()?)).filter(|start| *start != 0)
    });
    // Where C code comes first, .text does not start with Go's.
    let has_c = sections.stored(".eh_frame").is_some();
    module.or_else(|| sections.stored(".text").map(|text| text.address).filter(|_| !has_c))
}

/// Where the fields are.
#[derive(Clone, Copy)]
struct Layout {
    /// Of a function: the offset of its stack-pointer table, and its flags.
    stack_table: usize,
    flags: usize,
    name: usize,
    /// Bytes of an address in the list of functions: 8 are absolute, 4 are from the start of the text.
    address_bytes: usize,
}

/// The table of one file.
pub(crate) struct GoFunctions<'a> {
    bytes: &'a [u8],
    layout: Layout,
    /// Functions; one more entry of the list says where the last one ends.
    count: usize,
    text_start: u64,
    names: usize,
    /// Of compilation units, numbers of files; then the names of files.
    units: usize,
    files: usize,
    /// All tables by address, those of stack pointers among them.
    stack_tables: usize,
    /// The list of functions; offsets of functions are from here.
    list: usize,
}

impl<'a> GoFunctions<'a> {
    /// Reads the header. None if it is of no version that is known, or broken. `text_start`: where the text starts, for
    /// programs whose header does not say it (position-independent ones).
    pub(crate) fn parse(bytes: &'a [u8], text_start: Option<u64>) -> Option<Self> {
        let version = u32::from_le_bytes(*bytes.first_chunk()?);
        // Two zeros, the least size of an instruction, and the size of a pointer.
        if *bytes.get(4..8)? != [0, 0, 1, 8] {
            return None;
        }
        let layout = match version {
            VERSION_1_16 => Layout { stack_table: 20, flags: 41, name: 8, address_bytes: 8 },
            VERSION_1_18 => Layout { stack_table: 16, flags: 37, name: 4, address_bytes: 4 },
            VERSION_1_20 => Layout { stack_table: 16, flags: 41, name: 4, address_bytes: 4 },
            _ => return None,
        };
        let field = |number: usize| Some(u64::from_le_bytes(*bytes.get(8 + 8 * number..)?.first_chunk()?));
        let offset = |number: usize| usize::try_from(field(number)?).ok().filter(|at| *at <= bytes.len());
        let is_absolute = layout.address_bytes == 8;
        // Numbers of functions and files; from 1.18 on the start of the text; offsets of names, compilation units, files,
        // tables by address, and functions.
        let first = if is_absolute { 2 } else { 3 };
        let text_start = match (is_absolute, field(2)?) {
            (true, _) => 0,
            (false, 0) => text_start?,
            (false, start) => start,
        };
        Some(Self {
            bytes,
            layout,
            count: usize::try_from(field(0)?.min(FUNCTIONS_AT_MOST)).ok()?,
            text_start,
            names: offset(first)?,
            units: offset(first + 1)?,
            files: offset(first + 2)?,
            stack_tables: offset(first + 3)?,
            list: offset(first + 4)?,
        })
    }

    /// Its functions that are code of this file, ascending as far as the file is sound.
    pub(super) fn entries(&self, code: &[Range<u64>]) -> Vec<Entry> {
        let mut entries = Vec::new();
        for number in 0..self.count {
            let (Some(start), Some(end)) = (self.start(number), self.start(number + 1)) else { break };
            if end <= start {
                break;
            }
            let area = code.partition_point(|code| code.end <= start);
            if code.get(area).is_some_and(|code| code.contains(&start)) {
                // Fits: FUNCTIONS_AT_MOST.
                entries.push(Entry { start, end, offset: number as u32, source: Source::Go });
            }
        }
        entries
    }

    /// Where the functions are that change stacks; of a large one, its start.
    pub(super) fn switching(&self) -> impl Iterator<Item = Range<u64>> {
        let switching = (0..self.count).filter_map(|number| {
            self.function(number).filter(Function::changes_stacks)?;
            let (start, end) = (self.start(number)?, self.start(number + 1)?);
            (start < end).then_some(start..end.min(start.saturating_add(stack_switches::CODE_AT_MOST)))
        });
        switching.take(SWITCHING_AT_MOST)
    }

    /// How those of [`Self::switching`] get back of which the code says it, by address.
    pub(super) fn switches(&self, code: &[CodePart]) -> Vec<StackSwitch> {
        let named = |part: &CodePart| self.name_at(part.start).map_or(&b""[..], |(name, ..)| name);
        let goroutine_at = code
            .iter()
            .find(|part| named(part) == b"runtime.systemstack")
            .and_then(|part| stack_switches::goroutine_at(part.start, &part.bytes));
        let find = |part| stack_switches::find(named(part), part.start, &part.bytes, goroutine_at);
        code.iter().filter_map(find).collect()
    }

    /// Says each row of a function, and returns how many bytes were read and the address up to which they said something.
    pub(super) fn rows(
        &self,
        entry: &Entry,
        within: &Range<u64>,
        switches: &[StackSwitch],
        mut each: impl FnMut(u64, Rule),
    ) -> (usize, u64) {
        let Some(function) = self.function(entry.offset as usize) else { return (0, within.start) };
        let switch = switch_of(entry, switches);
        if let Some(rule) = function.rule(switch.is_some()) {
            each(within.start, rule);
            return (0, within.end);
        }
        let mut each = |from: u64, to: u64, rule: Rule| match switch {
            Some(switch) => switch.instead(from..to, rule, &mut each),
            None => each(from, rule),
        };
        let Some(mut pairs) =
            self.bytes.get(self.stack_tables..).and_then(|all| all.get(function.stack_table..))
        else {
            return (0, within.start);
        };
        let (size, mut depth, mut at) = (pairs.len(), -1i64, entry.start);
        while at < within.end {
            // A change of zero ends the table, but for the first.
            if at != entry.start && pairs.first() == Some(&0) {
                // What lies before the next function is padding, or code that is not Go's.
                if within.end - at >= PADDING_BELOW {
                    each(at, within.end, Rule::NONE);
                }
                at = within.end;
                break;
            }
            let Some((change, bytes)) = pair(&mut pairs) else { break };
            depth = depth.wrapping_add(change);
            let from = at;
            at = at.saturating_add(bytes);
            each(from, at.min(within.end), function.rule_at_depth(depth));
        }
        (size - pairs.len(), at.min(within.end))
    }

    /// The function that an address lies in: its name, and the source file and line of the address; empty and 0 where
    /// they are not known.
    pub(crate) fn name_at(&self, address: u64) -> Option<(&'a [u8], &'a [u8], u32)> {
        let is_after = |number: usize| self.start(number).is_none_or(|start| start > address);
        let (mut from, mut to) = (0, self.count);
        while from < to {
            let middle = from + (to - from) / 2;
            (from, to) = if is_after(middle) { (from, middle) } else { (middle + 1, to) };
        }
        let number = from.checked_sub(1)?;
        if !is_after(number + 1) {
            return None;
        }
        let (start, function) = (self.start(number)?, self.function(number)?);
        let name = text(function.name).filter(|name| !name.is_empty())?;
        let line =
            self.value_at(function.line_table, start, address).and_then(|line| u32::try_from(line).ok());
        let file = self.value_at(function.file_table, start, address).and_then(|file| {
            let file = usize::try_from(file).ok()?.checked_add(function.unit)?.checked_mul(4)?;
            let at = u32::from_le_bytes(*self.bytes.get(self.units..)?.get(file..)?.first_chunk()?);
            text(self.bytes.get(self.files..)?.get(at as usize..)?)
        });
        Some((name, file.unwrap_or_default(), line.unwrap_or_default()))
    }

    /// What a table of a function that starts at `at` says of an address.
    fn value_at(&self, table: usize, mut at: u64, address: u64) -> Option<i64> {
        let mut pairs = self.bytes.get(self.stack_tables..)?.get(table..)?;
        let (mut value, mut is_first) = (-1i64, true);
        while is_first || pairs.first() != Some(&0) {
            is_first = false;
            let (change, bytes) = pair(&mut pairs)?;
            (value, at) = (value.wrapping_add(change), at.saturating_add(bytes));
            if address < at {
                return Some(value);
            }
        }
        None
    }

    /// Where a function starts; of the number after the last one, where that ends.
    fn start(&self, number: usize) -> Option<u64> {
        let size = self.layout.address_bytes;
        let at = self.bytes.get(self.list.checked_add(number * 2 * size)?..)?;
        match size {
            8 => Some(u64::from_le_bytes(*at.first_chunk()?)),
            _ => self.text_start.checked_add(u32::from_le_bytes(*at.first_chunk()?).into()),
        }
    }

    fn function(&self, number: usize) -> Option<Function<'a>> {
        let size = self.layout.address_bytes;
        let at = self.bytes.get(self.list.checked_add((number * 2 + 1) * size)?..)?;
        let offset = match size {
            8 => u64::from_le_bytes(*at.first_chunk()?),
            _ => u32::from_le_bytes(*at.first_chunk()?).into(),
        };
        let bytes = self.bytes.get(self.list..)?.get(usize::try_from(offset).ok()?..)?;
        let word = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?) as usize);
        let name = self.bytes.get(self.names..)?.get(word(self.layout.name)?..)?;
        Some(Function {
            stack_table: word(self.layout.stack_table)?,
            file_table: word(self.layout.stack_table + 4)?,
            line_table: word(self.layout.stack_table + 8)?,
            unit: word(self.layout.stack_table + 16)?,
            flags: *bytes.get(self.layout.flags)?,
            name,
        })
    }
}

/// One function.
struct Function<'a> {
    /// Offset of its table of stack pointers.
    stack_table: usize,
    /// Of its tables of files and lines; and where the files of its compilation unit start.
    file_table: usize,
    line_table: usize,
    unit: usize,
    flags: u8,
    /// Its name, and what follows behind a zero.
    name: &'a [u8],
}

impl Function<'_> {
    fn is(&self, name: &[u8]) -> bool {
        self.name.starts_with(name)
    }

    fn changes_stacks(&self) -> bool {
        self.flags & WRITES_SP != 0
    }

    /// The rule of all its instructions, if it is one of a few. `is_followed`: it changes stacks, and is known to get back.
    fn rule(&self, is_followed: bool) -> Option<Rule> {
        // The kernel returns to it from a signal handler.
        if self.is(b"runtime.sigreturn__sigaction\0") || self.is(b"runtime.sigreturn\0") {
            return Some(Rule::SIGNAL);
        }
        if self.flags & TOP_FRAME != 0 {
            return Some(Rule::END);
        }
        (self.changes_stacks() && !is_followed).then_some(Rule::unsupported(Reason::StackPointer))
    }

    /// The rule where the stack pointer is `depth` bytes below where it was at the entry.
    fn rule_at_depth(&self, depth: i64) -> Rule {
        let Some(offset) = depth.checked_add(8).filter(|_| depth >= 0).and_then(|at| i32::try_from(at).ok())
        else {
            return Rule::unsupported(Reason::Offset);
        };
        let (rbp, rbp_operand) = match depth {
            0..8 => (Rbp::Same, 0),
            _ if self.flags & ASSEMBLER != 0 => (Rbp::Undefined, 0),
            // The compiler's functions save it first thing, beside the return address.
            _ => (Rbp::AtCfa, -16),
        };
        Rule { rbp, rbp_operand, ..Rule::register(7, offset) }
    }
}

/// The change of stacks in a function. Call frame information of such functions is not to be believed: it, too, knows of one stack
/// only.
pub(super) fn switch_of<'s>(entry: &Entry, switches: &'s [StackSwitch]) -> Option<&'s StackSwitch> {
    let after = switches.partition_point(|switch| switch.range.start < entry.start);
    switches.get(after).filter(|switch| switch.range.start < entry.end)
}

/// Text that a zero ends.
fn text(bytes: &[u8]) -> Option<&[u8]> {
    bytes.get(..bytes.iter().position(|byte| *byte == 0)?)
}

/// One pair: how the value changes, and for how many bytes of code it holds.
fn pair(bytes: &mut &[u8]) -> Option<(i64, u64)> {
    let (change, code) = (variable(bytes)?, variable(bytes)?);
    // Zigzag: the lowest bit is the sign.
    let change = (change >> 1) as i64 ^ -((change & 1) as i64);
    Some((change, code.into()))
}

/// A number of seven bits a byte, lowest first, as long as the eighth is set.
fn variable(bytes: &mut &[u8]) -> Option<u32> {
    let mut value = 0;
    for shift in [0, 7, 14, 21, 28] {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u32::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
