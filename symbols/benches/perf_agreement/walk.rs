//! Walks of a sample's stack, out of its registers and the copy of its stack.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::rc::Rc;

use profiler_abi::{Method, USER_FRAMES_MAX, WalkEnd};
use profiler_unwind::{Memory, Walk, registers};
use symbols::all_registers::{Frame, NoCaller};
use symbols::elf::FileFacts;
use symbols::frame_pointer_rules::UnwindInfo;
use symbols::unwind_rows::UnwindTable;

use crate::trace::{Process, Sample};

/// Bytes below the stack pointer that a function may use (x86-64 psABI, section 3.2.2).
const RED_ZONE: u64 = 128;

/// What is known of a mapped file.
pub(crate) struct Code {
    file: File,
    facts: FileFacts,
    table: UnwindTable,
    unwind: UnwindInfo,
}

/// All files that stacks have led to; none where a file cannot be read, or is no ELF file.
#[derive(Default)]
pub(crate) struct Files(RefCell<HashMap<Rc<str>, Option<Rc<Code>>>>);

impl Files {
    fn code(&self, path: &Rc<str>) -> Option<Rc<Code>> {
        self.0.borrow_mut().entry(path.clone()).or_insert_with(|| read(path).map(Rc::new)).clone()
    }
}

fn read(path: &str) -> Option<Code> {
    let file = if path == "[vdso]" { vdso()? } else { File::open(path).ok()? };
    let name = Path::new(path);
    Some(Code {
        facts: FileFacts::read(&file, name).ok()?,
        table: UnwindTable::read(&file, name).ok()?,
        unwind: UnwindInfo::read(&file, name).ok()?,
        file,
    })
}

/// Our own, which is every process's.
fn vdso() -> Option<File> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let line = maps.lines().find(|line| line.ends_with("[vdso]"))?;
    let (start, end) = line.split_once(' ')?.0.split_once('-')?;
    let [start, end] = [start, end].map(|text| u64::from_str_radix(text, 16).ok());
    let (start, end) = (start?, end?);
    let mut image = vec![0; (end - start) as usize];
    File::open("/proc/self/mem").ok()?.read_exact_at(&mut image, start).ok()?;
    let mut file = tempfile::tempfile().ok()?;
    file.write_all(&image).ok()?;
    Some(file)
}

/// A walked stack.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Walked {
    /// Leaf first: addresses of instructions; of callers the one before the return address, as perf prints them.
    pub(crate) addresses: Vec<u64>,
    /// How each was found.
    pub(crate) methods: Vec<Method>,
    pub(crate) end: WalkEnd,
}

/// A sample's memory, as far as it is known.
pub(crate) struct Known<'a> {
    pub(crate) sample: &'a Sample,
    pub(crate) process: &'a Process,
    pub(crate) files: &'a Files,
    /// Whether a walk took the frame pointer from where it was popped.
    pub(crate) took_popped: Cell<bool>,
}

impl<'a> Known<'a> {
    /// Of a sample.
    pub(crate) fn of(sample: &'a Sample, process: &'a Process, files: &'a Files) -> Self {
        Self { sample, process, files, took_popped: Cell::new(false) }
    }

    /// As Vesta walks a copied stack: by unwind tables and frame pointers with the steps that run in the kernel; where
    /// three registers are not enough, with all.
    pub(crate) fn walk(&self) -> Walked {
        let walked = self.by_tables();
        match walked.end {
            WalkEnd::UnknownRegister | WalkEnd::UnsupportedRule => self.by_call_frame_information(),
            _ => walked,
        }
    }

    fn by_tables(&self) -> Walked {
        let registers = &self.sample.registers;
        let sp_and_bp = [registers::RSP, registers::RBP].map(|number| registers[usize::from(number)]);
        let mut walk = Walk::leaf(self.sample.ip, sp_and_bp[0], sp_and_bp[1]);
        let mut walked = Walked { addresses: Vec::new(), methods: Vec::new(), end: WalkEnd::DepthLimit };
        let mut method = Method::Leaf;
        while walked.addresses.len() < USER_FRAMES_MAX {
            let address = walk.ip.wrapping_sub(u64::from(walk.is_caller));
            walked.addresses.push(address);
            walked.methods.push(method);
            let code = self.code(address);
            let rule = code.and_then(|(code, vaddr)| code.table.rule_at(vaddr));
            let step = match &rule {
                Some(rule) => walk.step_by_rule(self, rule),
                None => walk.step(self),
            };
            match step {
                Ok(by) => method = by,
                Err(end) => {
                    walked.end = end;
                    break;
                }
            }
        }
        walked
    }

    /// By the call frame information itself, with all registers, and by frame pointers where there is none.
    pub(crate) fn by_call_frame_information(&self) -> Walked {
        let sample = self.sample;
        let mut at = Frame { ip: sample.ip, registers: sample.registers.map(Some), is_caller: false };
        let mut walked = Walked { addresses: Vec::new(), methods: Vec::new(), end: WalkEnd::DepthLimit };
        let mut method = Method::Leaf;
        while walked.addresses.len() < USER_FRAMES_MAX {
            let address = at.ip.wrapping_sub(u64::from(at.is_caller));
            walked.addresses.push(address);
            walked.methods.push(method);
            let caller = self.code(address).map_or(Err(NoCaller::NoRow), |(code, vaddr)| {
                code.unwind.caller(vaddr, &at, &|address| self.word(address))
            });
            let sp = |frame: &Frame| frame.registers[usize::from(registers::RSP)];
            walked.end = match caller {
                Ok(caller) if !caller.is_caller || sp(&caller) > sp(&at) || !at.is_caller => {
                    method = if caller.is_caller { Method::Table } else { Method::Interrupted };
                    at = caller;
                    continue;
                }
                Ok(_) => WalkEnd::NotAscending,
                Err(NoCaller::NoRow) => match self.without_rows(&at) {
                    Ok((by, caller)) => {
                        (method, at) = (by, caller);
                        continue;
                    }
                    Err(end) => end,
                },
                Err(NoCaller::End) => WalkEnd::Proven,
                Err(NoCaller::Unreadable) => WalkEnd::UnreadableStack,
                Err(NoCaller::Unknown) => WalkEnd::UnknownRegister,
            };
            break;
        }
        walked
    }

    fn without_rows(&self, at: &Frame) -> Result<(Method, Frame), WalkEnd> {
        let known = |number: u8| at.registers[usize::from(number)].unwrap_or(0);
        let leaf = Walk::leaf(at.ip, known(registers::RSP), known(registers::RBP));
        let mut walk = Walk { is_caller: at.is_caller, ..leaf };
        let method = walk.step(self)?;
        let mut all = [None; 16];
        all[usize::from(registers::RSP)] = Some(walk.sp);
        all[usize::from(registers::RBP)] = Some(walk.bp);
        Ok((method, Frame { ip: walk.ip, registers: all, is_caller: walk.is_caller }))
    }

    /// The file behind an address, and the ELF virtual address there.
    fn code(&self, address: u64) -> Option<(Rc<Code>, u64)> {
        let mapping = self.process.mapping(address)?;
        let code = self.files.code(&mapping.path)?;
        let vaddr = code.facts.vaddr_of(mapping.offset(address))?;
        Some((code, vaddr))
    }

    /// Whether the call frame information of its file says how to walk out of the code at an address.
    pub(crate) fn is_described(&self, address: u64) -> bool {
        self.code(address).is_some_and(|(code, vaddr)| code.unwind.rule_at(vaddr).is_some())
    }

    /// Whether the address is in a file that could be read.
    pub(crate) fn has_file(&self, address: u64) -> bool {
        self.code(address).is_some()
    }
}

impl Memory for Known<'_> {
    fn word(&self, address: u64) -> Option<u64> {
        let stack = &self.sample.stack;
        let sp = self.sample.registers[usize::from(registers::RSP)];
        if let Some(at) = address.checked_sub(sp).filter(|at| *at < stack.len() as u64) {
            return Some(u64::from_le_bytes(*stack.get(at as usize..)?.first_chunk()?));
        }
        // Popped, and not copied: perf's copies begin at the stack pointer, Vesta's in the red zone. What a rule looks for
        // there is rbp, into which it was popped.
        if sp.checked_sub(address).is_some_and(|below| below <= RED_ZONE) {
            self.took_popped.set(true);
            return Some(self.sample.registers[usize::from(registers::RBP)]);
        }
        let mapping = self.process.mapping(address)?;
        let mut bytes = [0; 8];
        let file = self.files.code(&mapping.path)?;
        file.file.read_exact_at(&mut bytes, mapping.offset(address)).ok()?;
        Some(u64::from_le_bytes(bytes))
    }

    fn pair(&self, address: u64) -> Option<[u64; 2]> {
        Some([self.word(address)?, self.word(address.checked_add(8)?)?])
    }

    fn register(&self, number: u8) -> Option<u64> {
        self.sample.registers.get(usize::from(number)).copied()
    }
}
