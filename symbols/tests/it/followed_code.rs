//! What code says of its own stack: beside what call frame information says of it, and where there is none.

use std::fs::{self, File};
use std::path::PathBuf;

use profiler_unwind::Rule;
use profiler_unwind::rule::Rbp;

use crate::common::{c_library, symbol};
use crate::followed_agreement::compare;
use crate::unwind_rows::{described, table};
use crate::unwind_rules::library;

#[test]
fn compiled_code_says_what_its_call_frame_information_says() {
    let programs = ["/usr/bin/bash", "/usr/bin/perl", "/usr/lib/x86_64-linux-gnu/libcrypto.so.3"];
    let installed = programs.iter().filter_map(|path| fs::canonicalize(path).ok());
    let files: Vec<PathBuf> = [c_library()].into_iter().chain(installed).collect();
    assert!(files.len() > 1, "{files:?}");
    for path in files {
        let found = compare(&File::open(&path).unwrap(), &path, &described(&path)).unwrap();
        let all = found.agree + found.differ + found.other_register + found.only_described;
        // What is not followed is behind tables of jumps, or leads nowhere but to calls that do not come back.
        assert!(found.agree * 100 > all * 75, "{}: {found:?}", path.display());
        // Landing pads of exceptions, and what the C library does to stacks of its own.
        assert!(found.differ * 1000 <= found.agree, "{}: {found:?}", path.display());
    }
}

#[test]
fn what_is_described_stays_as_it_is() {
    for path in ["/usr/lib/x86_64-linux-gnu/libcrypto.so.3", "/usr/bin/bash"] {
        let path = fs::canonicalize(path).unwrap();
        let (described, all) = (described(&path), table(&path));
        assert!(all.stats().entries_of_code > 0, "{}: {:?}", path.display(), all.stats());
        for (address, rule) in described.rows().filter(|(_, rule)| *rule != Rule::NONE) {
            assert_eq!(all.rule_at(address), Some(rule), "{address:#x}");
        }
    }
}

/// The rules of the instructions of a function written in assembly without call frame information, as an assembler's label
/// before each says: `f`, then `f1`, `f2` and so on.
fn rules(source: &str, labels: &[&str]) -> Vec<Option<Rule>> {
    let body: String = source.lines().map(|line| format!("{}\n", line.trim())).collect();
    // Less than 16 bytes between two functions are taken for padding.
    let text = format!(".text\n.p2align 4\n{body}\n.text\n.skip 16, 0x90\n");
    let (_folder, path) = library("followed.s", &text, &["-nostdlib"]);
    let table = table(&path);
    labels.iter().map(|label| table.rule_at(symbol(&path, label).start)).collect()
}

fn rsp(offset: i32) -> Option<Rule> {
    Some(Rule::register(7, offset))
}

fn saved(offset: i32, at: i32) -> Option<Rule> {
    Some(Rule { rbp: Rbp::AtCfa, rbp_operand: at, ..Rule::register(7, offset) })
}

#[test]
fn pushes_and_pops_are_followed_through_branches() {
    let source = "
        .globl f, f1, f2, f3, f4, f5
        f: push %rbx
        f1: push %rbp
        f2: sub $0x18, %rsp
        mov $7, %ebp
        f3: test %edi, %edi
        je 1f
        call f
        1: add $0x18, %rsp
        f4: pop %rbp
        f5: pop %rbx
        ret
    ";
    let expected = vec![rsp(8), rsp(16), rsp(24), saved(48, -24), saved(24, -24), rsp(16)];
    assert_eq!(rules(source, &["f", "f1", "f2", "f3", "f4", "f5"]), expected);
}

#[test]
fn a_stack_that_is_rounded_down_is_found_by_where_the_pointer_was_kept() {
    let source = "
        .globl f, f1, f2, f3
        f: mov %rsp, %r11
        and $-32, %rsp
        f1: sub $0x60, %rsp
        mov %r11, 0x40(%rsp)
        f2: vzeroupper
        call *%rax
        mov 0x40(%rsp), %rsp
        f3: ret
    ";
    let found = rules(source, &["f", "f1", "f2", "f3"]);
    let by_r11 = Some(Rule { rbp: Rbp::Same, ..Rule::register(11, 8) });
    assert_eq!(found, vec![rsp(8), by_r11, Some(Rule::deref_rsp(0x40, 8)), rsp(8)]);
}

#[test]
fn frame_pointers_are_preferred_since_callees_may_take_arguments_off_the_stack() {
    let source = "
        .globl f, f1, f2
        f: push %rbp
        mov %rsp, %rbp
        f1: sub $0x30, %rsp
        push %rax
        push %rbx
        f2: call *%rcx
        mov %rbp, %rsp
        pop %rbp
        ret
    ";
    let by_rbp = Some(Rule { rbp: Rbp::AtCfa, rbp_operand: -16, ..Rule::register(6, 16) });
    assert_eq!(rules(source, &["f", "f1", "f2"]), vec![rsp(8), by_rbp, by_rbp]);
}

#[test]
fn frame_pointers_are_followed_where_the_depth_is_not_known() {
    let source = "
        .globl f, f1, f2
        f: push %rbp
        mov %rsp, %rbp
        sub %rdi, %rsp
        f1: nop
        leave
        f2: ret
    ";
    let by_rbp = Some(Rule { rbp: Rbp::AtCfa, rbp_operand: -16, ..Rule::register(6, 16) });
    assert_eq!(rules(source, &["f", "f1", "f2"]), vec![rsp(8), by_rbp, rsp(8)]);
}

#[test]
fn what_does_not_return_as_functions_do_is_not_believed() {
    for (what, body) in [
        ("it leaves a word on the stack", "push %rax\nret"),
        ("it takes the return address off", "pop %rax\njmp *%rax"),
        ("it loses the caller's rbp", "xor %ebp, %ebp\nret"),
        ("nobody knows where its stack is", "mov %rdi, %rsp\nret"),
        ("it takes arguments off the stack", "ret $16"),
        ("the two ways have different depths", "test %edi, %edi\nje 1f\npush %rax\n1: ret"),
        ("it never returns", "1: pause\njmp 1b"),
        ("it is no code", ".byte 0x06\nret"),
    ] {
        assert_eq!(rules(&format!(".globl f\nf: {body}"), &["f"]), vec![None], "{what}");
    }
}

#[test]
fn behind_a_call_that_does_not_come_back_another_function_begins() {
    // In the midst of `f` the stack is 24 bytes deep; `g` begins right behind its last call.
    let source = "
        .globl f, f1, f2, g, g1
        f: sub $0x18, %rsp
        test %edi, %edi
        f1: je 1f
        add $0x18, %rsp
        ret
        1: mov $1, %edi
        f2: call *exit(%rip)
        g: push %rbx
        g1: call *abort(%rip)
        pop %rbx
        ret
        .data
        exit: .quad 0
        abort: .quad 0
    ";
    let expected = vec![rsp(8), rsp(32), rsp(32), rsp(8), rsp(16)];
    assert_eq!(rules(source, &["f", "f1", "f2", "g", "g1"]), expected);
}

#[test]
fn a_piece_of_a_function_that_never_returns_is_not_taken_for_a_function() {
    // `f` is never followed: no way of it returns. The block behind its first jump falls into `g`, whose return would prove
    // anything if calls were believed to come back.
    let source = "
        .globl f, f1, g, g1
        f: sub $0x18, %rsp
        jmp *%rax
        f1: xor %esi, %esi
        call *exit(%rip)
        g: push %rbx
        g1: pop %rbx
        ret
        .data
        exit: .quad 0
    ";
    assert_eq!(rules(source, &["f", "f1", "g", "g1"]), vec![None, None, rsp(8), rsp(16)]);
}

#[test]
fn code_behind_a_table_of_jumps_has_the_depth_of_the_jump() {
    let source = "
        .globl f, f1, f2
        f: sub $0x28, %rsp
        lea table(%rip), %rcx
        movslq (%rcx,%rdi,4), %rax
        add %rcx, %rax
        cmp $5, %edi
        ja 2f
        f1: jmp *%rax
        f2: .Lcase: mov $3, %eax
        2: add $0x28, %rsp
        ret
        .section .rodata
        table: .long .Lcase - table
    ";
    assert_eq!(rules(source, &["f", "f1", "f2"]), vec![rsp(8), rsp(48), rsp(48)]);
}
