//! The rule at every kind of instruction, in functions with and without a frame pointer.

use std::fs::{self, File};
use std::ops::Range;
use std::path::Path;

use crate::common::{c_library, code, file_of, symbol, symbols_of};
use symbols::elf::FileFacts;
use symbols::frame_pointer_rules::{CfaRule, UnwindInfo};
use testprogs::{Program, Variant, build};

const AT_ENTRY: CfaRule = CfaRule::StackPointer { offset: 8, saves_rbp: false };
const AFTER_PUSH: CfaRule = CfaRule::StackPointer { offset: 16, saves_rbp: true };

const PUSH_RBP: &[u8] = &[0x55];
const MOV_RSP_RBP: &[u8] = &[0x48, 0x89, 0xe5];
const POP_RBP_RET: &[u8] = &[0x5d, 0xc3];
const RET: u8 = 0xc3;

fn unwind(path: &Path) -> UnwindInfo {
    UnwindInfo::read(&File::open(path).unwrap(), path).unwrap()
}

/// Where these bytes first lie in the function.
fn find(path: &Path, function: &Range<u64>, bytes: &[u8]) -> u64 {
    let code = code(path, function.clone());
    let at = code.windows(bytes.len()).position(|window| window == bytes);
    function.start + at.unwrap_or_else(|| panic!("no {bytes:x?} in {code:x?}")) as u64
}

#[test]
fn a_function_with_a_frame_pointer_has_its_rule_from_prologue_to_epilogue() {
    let path = build(Program::Shares, Variant::FramePointers);
    let unwind = unwind(&path);
    for name in ["work", "burn_seventy", "burn_ten"] {
        let function = symbol(&path, name);
        let push = find(&path, &function, PUSH_RBP);
        let set_up = find(&path, &function, MOV_RSP_RBP);
        let pop = find(&path, &function, POP_RBP_RET);
        assert_eq!(unwind.rule_at(function.start), Some(AT_ENTRY), "{name}");
        assert_eq!(unwind.rule_at(push), Some(AT_ENTRY), "{name}");
        assert_eq!(unwind.rule_at(push + 1), Some(AFTER_PUSH), "{name}");
        assert_eq!(unwind.rule_at(set_up), Some(AFTER_PUSH), "{name}");
        for body in set_up + 3..=pop {
            assert_eq!(unwind.rule_at(body), Some(CfaRule::FramePointer), "{name} at {body:#x}");
        }
        assert_eq!(unwind.rule_at(pop + 1), Some(AT_ENTRY), "{name}: the ret");
    }
}

#[test]
fn a_function_without_a_frame_pointer_has_rules_by_the_stack_pointer_only() {
    let path = build(Program::Shares, Variant::NoFramePointers);
    let unwind = unwind(&path);
    for name in ["work", "burn_seventy", "main"] {
        let function = symbol(&path, name);
        assert_eq!(unwind.rule_at(function.start), Some(AT_ENTRY), "{name}");
        for body in function {
            let rule = unwind.rule_at(body);
            assert!(matches!(rule, Some(CfaRule::StackPointer { .. })), "{name} at {body:#x}: {rule:?}");
        }
    }
    let work = symbol(&path, "work");
    let call = find(&path, &work, &[0xe8]);
    assert_eq!(unwind.rule_at(call), Some(CfaRule::StackPointer { offset: 16, saves_rbp: false }));
    let ret = work.start + code(&path, work).iter().position(|&byte| byte == RET).unwrap() as u64;
    assert_eq!(unwind.rule_at(ret), Some(AT_ENTRY));
}

#[test]
fn the_first_function_of_a_process_has_no_return_address() {
    for variant in [Variant::FramePointers, Variant::Static, Variant::Stripped] {
        let path = build(Program::Shares, variant);
        let entry = FileFacts::open(&path).unwrap().entry();
        assert_eq!(unwind(&path).rule_at(entry), Some(CfaRule::Undefined), "{variant:?}");
    }
}

#[test]
fn addresses_outside_any_function_have_no_rule() {
    let path = build(Program::Shares, Variant::FramePointers);
    let unwind = unwind(&path);
    for vaddr in [0, 1, u64::MAX, u64::MAX - 1, 1 << 40] {
        assert_eq!(unwind.rule_at(vaddr), None, "{vaddr:#x}");
    }
}

/// The rule at every address of the program's own code.
fn all_rules(bytes: &[u8], text: Range<u64>) -> Vec<Option<CfaRule>> {
    let (_folder, path, file) = file_of(bytes);
    let unwind = UnwindInfo::read(&file, &path).unwrap();
    text.map(|vaddr| unwind.rule_at(vaddr)).collect()
}

/// The program's bytes, with its program headers as 56-byte pieces changed by `change`.
fn with_program_headers(bytes: &[u8], change: impl Fn(&mut [u8])) -> Vec<u8> {
    let mut copy = bytes.to_vec();
    let offset = u64::from_le_bytes(*copy[32..].first_chunk().unwrap()) as usize;
    let count = u16::from_le_bytes(*copy[56..].first_chunk().unwrap()) as usize;
    copy[offset..offset + count * 56].chunks_mut(56).for_each(change);
    copy
}

#[test]
fn rules_are_the_same_without_the_sorted_table_and_without_section_headers() {
    for (program, variant) in
        [(Program::Shares, Variant::FramePointers), (Program::Threads, Variant::NoFramePointers)]
    {
        let path = build(program, variant);
        let bytes = fs::read(&path).unwrap();
        let text = FileFacts::open(&path).unwrap().segments()[0];
        let text = text.vaddr..text.vaddr + text.size;
        let rules = all_rules(&bytes, text.clone());
        assert!(rules.iter().flatten().count() > 400, "{} rules", rules.iter().flatten().count());

        let without_table = with_program_headers(&bytes, |header| {
            if header[..4] == object::elf::PT_GNU_EH_FRAME.to_le_bytes() {
                header[..4].fill(0);
            }
        });
        assert_ne!(without_table, bytes);
        assert_eq!(all_rules(&without_table, text.clone()), rules, "{program:?}");

        let mut without_sections = bytes.clone();
        without_sections[40..48].fill(0);
        without_sections[58..64].fill(0);
        assert_eq!(all_rules(&without_sections, text), rules, "{program:?}");
    }
}

#[test]
fn the_c_library_keeps_no_frame_pointer_and_is_known_in_memory_by_little() {
    let path = c_library();
    let unwind = unwind(&path);
    let functions = symbols_of(&path, |name| ["qsort", "getenv", "fopen", "printf"].contains(&name));
    let rules: Vec<_> = functions.iter().filter_map(|function| unwind.rule_at(function.start)).collect();
    assert!(rules.len() >= 4 && rules.iter().all(|rule| *rule == AT_ENTRY), "{rules:?}");
    assert!(unwind.size() < 2 * 1024 * 1024, "{} bytes", unwind.size());
}

#[test]
fn a_file_without_call_frame_information_knows_no_rule() {
    let bytes = fs::read(build(Program::Shares, Variant::FramePointers)).unwrap();
    let mut bare = with_program_headers(&bytes, |header| {
        if header[..4] == object::elf::PT_GNU_EH_FRAME.to_le_bytes() {
            header[..4].fill(0);
        }
    });
    bare[40..48].fill(0);
    bare[58..64].fill(0);
    assert!(all_rules(&bare, 0x1000..0x1400).iter().all(Option::is_none));
}
