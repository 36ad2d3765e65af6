//! Walks over random stacks, step by step beside framehop: an unwinder by others, which evaluates call frame information
//! as it goes.
//!
//! It is made for samples that were taken elsewhere, and guesses where we end a walk with a reason; it keeps three
//! registers, and reads no memory to find a CFA. Where the two differ has to be one of these cases by design, each
//! checked for what it says and counted.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use framehop::{ExplicitModuleSectionInfo, FrameAddress, Module, Unwinder};
use object::{Object, ObjectSection};
use profiler_unwind::rule::{Cfa, RETURN_ADDRESS_OFFSET, Rbp, ReturnAddress};
use profiler_unwind::{Memory, Rule, Walk};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use symbols::unwind_rows::UnwindTable;
use testprogs::{Program, Variant, build};

use crate::common::c_library;
use crate::unwind_oracle::{Caller, Machine, Oracle};
use crate::unwind_rows::{dynamic_linker, table};

/// Random walks.
const WALKS: u32 = 8_000;
/// Steps of one: enough for what memory says to get strange.
const STEPS: usize = 40;

/// The stack: what lies outside cannot be read.
const STACK: u64 = 0x7ffc_1000_0000;
const STACK_BYTES: u64 = 1 << 20;
/// Files lie this far from each other.
const BETWEEN_FILES: u64 = 1 << 32;

struct LoadedFile {
    base: u64,
    table: UnwindTable,
    oracle: Oracle,
    /// Addresses of rows: where a walk can be.
    rows: Vec<u64>,
}

/// Files at addresses, as in a process.
struct Process {
    files: Vec<LoadedFile>,
    framehop: UnwinderX86_64<Vec<u8>>,
}

impl Process {
    fn of(paths: &[PathBuf]) -> Self {
        let mut framehop = UnwinderX86_64::new();
        let files = paths.iter().zip(1..).map(|(path, number)| {
            let base = number * BETWEEN_FILES;
            framehop.add_module(module(path, base));
            let table = table(path);
            let rows = table.rows().map(|(vaddr, _)| vaddr).collect();
            LoadedFile { base, table, oracle: Oracle::of(path), rows }
        });
        let files = files.collect();
        Self { files, framehop }
    }

    /// The address after some instruction, or before one.
    fn code(&self, random: u64) -> u64 {
        let file = &self.files[(random >> 32) as usize % self.files.len()];
        file.base + file.rows[(random as u32) as usize % file.rows.len()] + (random >> 48 & 3)
    }

    fn file_of(&self, address: u64) -> Option<(&LoadedFile, u64)> {
        let file = self.files.get((address / BETWEEN_FILES).checked_sub(1)? as usize)?;
        Some((file, address - file.base))
    }
}

/// A file as framehop is told of it.
fn module(path: &Path, base: u64) -> Module<Vec<u8>> {
    let bytes = fs::read(path).unwrap();
    let elf = object::File::parse(&*bytes).unwrap();
    let section = |name| {
        let section = elf.section_by_name(name)?;
        let range = section.address()..section.address() + section.size();
        Some((range, section.data().unwrap().to_vec()))
    };
    let address = |name| section(name).map(|(range, _)| range);
    let data = |name| section(name).map(|(_, data)| data);
    let sections = ExplicitModuleSectionInfo {
        base_svma: 0,
        text_svma: address(".text"),
        got_svma: address(".got"),
        eh_frame_svma: address(".eh_frame"),
        eh_frame: data(".eh_frame"),
        eh_frame_hdr_svma: address(".eh_frame_hdr"),
        eh_frame_hdr: data(".eh_frame_hdr"),
        ..ExplicitModuleSectionInfo::default()
    };
    Module::new(path.display().to_string(), base..base + BETWEEN_FILES, base, sections)
}

/// Where a walk starts, and what all memory is made from.
#[derive(Clone, Copy, Debug)]
struct Start {
    seed: u64,
    code: u64,
    sp: u64,
    bp: u64,
}

fn starts() -> impl Strategy<Value = Start> {
    let on_stack = || (0..STACK_BYTES).prop_map(|offset| STACK + offset);
    let sp = prop_oneof![12 => on_stack().prop_map(|sp| sp & !7), 1 => on_stack(), 1 => any::<u64>()];
    // Above the stack pointer, as a frame pointer is; or anything, as it is where it is none.
    let bp = prop_oneof![
        8 => (0..4096u64).prop_map(Err),
        2 => on_stack().prop_map(Ok),
        1 => any::<u64>().prop_map(Ok),
        1 => Just(Ok(0)),
    ];
    (any::<u64>(), any::<u64>(), sp, bp).prop_map(|(seed, code, sp, bp)| {
        let bp = bp.unwrap_or_else(|above: u64| sp.wrapping_add(above & !7));
        Start { seed, code, sp, bp }
    })
}

/// Random memory in which walks get far: many words are return addresses or lead a little upwards.
struct Stack<'a> {
    process: &'a Process,
    seed: u64,
}

impl Stack<'_> {
    fn mix(&self, value: u64) -> u64 {
        let mixed = (value ^ self.seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    }
}

impl Memory for Stack<'_> {
    fn word(&self, address: u64) -> Option<u64> {
        let is_stack = (STACK..STACK + STACK_BYTES).contains(&address);
        if !is_stack || self.mix(address >> 12).is_multiple_of(64) {
            return None;
        }
        let random = self.mix(address);
        Some(match random >> 60 {
            0..=13 => self.process.code(self.mix(random)),
            14 => address.wrapping_add(random & 0xff8),
            _ if random & 1 == 0 => random & 0xff,
            _ => self.mix(random),
        })
    }

    fn pair(&self, address: u64) -> Option<[u64; 2]> {
        Some([self.word(address)?, self.word(address.checked_add(8)?)?])
    }

    fn register(&self, number: u8) -> Option<u64> {
        Some(STACK + self.mix(u64::from(number)) % STACK_BYTES)
    }
}

/// What one step leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Caller { ip: u64, sp: u64, bp: u64 },
    End,
    Failed,
}

impl Step {
    fn to(walk: &Walk) -> Self {
        Self::Caller { ip: walk.ip, sp: walk.sp, bp: walk.bp }
    }
}

fn framehops(process: &Process, cache: &mut CacheX86_64, walk: &Walk, stack: &Stack<'_>) -> Step {
    let address = if walk.is_caller {
        FrameAddress::from_return_address(walk.ip).unwrap()
    } else {
        FrameAddress::from_instruction_pointer(walk.ip)
    };
    let mut registers = UnwindRegsX86_64::new(walk.ip, walk.sp, walk.bp);
    let mut read = |address| stack.word(address).ok_or(());
    match process.framehop.unwind_frame(address, &mut registers, cache, &mut read) {
        Ok(Some(ip)) => Step::Caller { ip, sp: registers.sp(), bp: registers.bp() },
        Ok(None) => Step::End,
        Err(_) => Step::Failed,
    }
}

/// What framehop does where its evaluation fails.
fn by_frame_pointer(walk: &Walk, stack: &Stack<'_>) -> Step {
    let sp = walk.bp.wrapping_add(16);
    if walk.bp == 0 {
        return Step::End;
    }
    match stack.pair(walk.bp) {
        Some([_, 0]) if sp > walk.sp => Step::End,
        Some([bp, ip]) if sp > walk.sp => Step::Caller { ip, sp, bp },
        _ => Step::Failed,
    }
}

/// The case by design in which the two differ; none if there is no reason to.
fn case(rule: Rule, before: &Walk, stack: &Stack<'_>, ours: Step, theirs: Step) -> Option<&'static str> {
    let plus = |base: u64, offset: i32| base.wrapping_add_signed(offset.into());
    let falls_back = theirs == by_frame_pointer(before, stack);
    let cfa = match rule.cfa {
        Cfa::Rsp => plus(before.sp, rule.cfa_offset),
        Cfa::Rbp => plus(before.bp, rule.cfa_offset),
        Cfa::Plt => {
            let is_pushed = before.ip & 15 >= rule.cfa_addend as u64;
            plus(before.sp, rule.cfa_offset).wrapping_add(if is_pushed { 8 } else { 0 })
        }
        Cfa::Register => return falls_back.then_some("the CFA is in a register that framehop does not keep"),
        Cfa::DerefRsp | Cfa::DerefRbp | Cfa::Signal => {
            return falls_back.then_some("the CFA is in memory, which framehop does not read");
        }
        Cfa::Unsupported => return Some("the rule is one that ours does not express"),
        Cfa::OtherStack | Cfa::Goroutine | Cfa::LeftGoroutine | Cfa::Parked => {
            return Some("the caller is on another stack, by Go's own table, which framehop does not know");
        }
        Cfa::None | Cfa::End => return None,
    };
    if rule.return_address == ReturnAddress::InRegister {
        return Some("the return address is in a register that framehop does not keep");
    }
    if rule.cfa_offset % 8 != 0 || rule.rbp_operand % 8 != 0 {
        return Some("an offset is no multiple of 8, to which framehop rounds");
    }
    if cfa <= before.sp {
        return (ours == Step::Failed)
            .then_some("the CFA is not above the stack pointer, and framehop goes on");
    }
    if ours == Step::Failed && falls_back {
        return Some("there is no way on by the rule, and framehop follows the frame pointer");
    }
    let return_at = plus(cfa, rule.return_address_operand);
    let Some(ip) = stack.word(return_at) else {
        let is_elsewhere = rule.return_address_operand != RETURN_ADDRESS_OFFSET;
        return is_elsewhere
            .then_some("the return address cannot be read, and framehop reads the usual place");
    };
    let is_code = (4096..1 << 56).contains(&ip);
    let framehop_is_there = matches!(theirs, Step::Caller { ip: to, sp, .. } if (to, sp) == (ip, cfa));
    if ours == Step::Failed && !is_code {
        let accepts = framehop_is_there || (ip == 0 && theirs == Step::End);
        return accepts.then_some("the return address is none, and framehop takes it");
    }
    let keeps_bp = matches!(theirs, Step::Caller { bp, .. } if bp == before.bp) && framehop_is_there;
    match rule.rbp {
        Rbp::AtCfa | Rbp::AtRbp | Rbp::AtRsp if ours == Step::Failed && keeps_bp => {
            Some("the saved rbp cannot be read, and framehop goes on with the old one")
        }
        Rbp::Undefined | Rbp::Unsupported | Rbp::InRegister if keeps_bp => {
            Some("rbp is lost, and framehop goes on with the old one")
        }
        _ => None,
    }
}

/// How often the two agreed, and in which cases they differ.
type Counts = BTreeMap<&'static str, u64>;

const SAME_CALLER: &str = "the same caller";
const SAME_END: &str = "the same end";
const BOTH_FAIL: &str = "both say that there is no way on";

/// Walks as far as ours goes, with framehop beside it.
fn walk(process: &Process, start: Start, counts: &mut Counts) -> Result<(), TestCaseError> {
    let stack = Stack { process, seed: start.seed };
    let mut walk = Walk::leaf(process.code(start.code), start.sp, start.bp);
    let mut cache = CacheX86_64::new();
    for _ in 0..STEPS {
        let before = walk;
        let Some((file, vaddr)) = process.file_of(walk.ip - u64::from(walk.is_caller)) else { break };
        let theirs = framehops(process, &mut cache, &walk, &stack);
        let Some(rule) = file.table.rule_at(vaddr) else {
            *counts.entry("no row, and framehop guesses").or_default() += 1;
            break;
        };
        let ours = match walk.step_by_rule(&stack, &rule) {
            Ok(_) => Step::to(&walk),
            Err(profiler_abi::WalkEnd::Proven) => Step::End,
            Err(_) => Step::Failed,
        };
        let is_unknown = || file.oracle.says(vaddr, Machine::at(vaddr, 1)).caller == Caller::Unknown;
        let count = match (ours, theirs) {
            (Step::Caller { .. }, _) if ours == theirs => Some(SAME_CALLER),
            (Step::End, Step::End) => Some(SAME_END),
            (Step::Failed, Step::Failed) => Some(BOTH_FAIL),
            _ if is_unknown() => Some("no entry for the padding behind code, and framehop guesses"),
            _ => case(rule, &before, &stack, ours, theirs),
        };
        let Some(count) = count else {
            let text = format!("{before:x?} at {vaddr:#x}: {rule:?}\nours {ours:x?}\nframehop {theirs:x?}");
            return Err(TestCaseError::fail(text));
        };
        *counts.entry(count).or_default() += 1;
        if !matches!(ours, Step::Caller { .. }) {
            break;
        }
    }
    Ok(())
}

#[test]
fn random_stacks_are_walked_as_framehop_walks_them() {
    let programs = [
        (Program::Shares, Variant::FramePointers),
        (Program::Threads, Variant::NoFramePointers),
        (Program::Inlines, Variant::NoFramePointers),
        (Program::Realigned, Variant::NoFramePointers),
        (Program::Plt, Variant::NoFramePointers),
        (Program::Signals, Variant::NoFramePointers),
        (Program::Assembler, Variant::NoFramePointers),
    ];
    let own = std::env::current_exe().unwrap();
    let python = fs::canonicalize("/usr/bin/python3").unwrap();
    let mut paths = vec![c_library(), dynamic_linker(), python, own];
    paths.extend(programs.map(|(program, variant)| build(program, variant)));
    let process = Process::of(&paths);

    // The same walks in every run, over what this machine's files say.
    let config = Config { cases: WALKS, failure_persistence: None, ..Config::default() };
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let counts = RefCell::new(Counts::new());
    TestRunner::new_with_rng(config, random)
        .run(&starts(), |start| walk(&process, start, &mut counts.borrow_mut()))
        .unwrap();

    let counts = counts.into_inner();
    let count = |name| counts.get(name).copied().unwrap_or_default();
    let all: u64 = counts.values().sum();
    println!("{all} steps: {counts:#?}");
    assert!(count(SAME_CALLER) > 2 * u64::from(WALKS), "{counts:#?}");
    let agreed = count(SAME_CALLER) + count(SAME_END) + count(BOTH_FAIL);
    assert!(agreed * 4 > all * 3, "{counts:#?}");
}
