//! Every kind of rule, in assembler that says just which one it wants, and call frame information in unusual places.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::symbol;
use crate::unwind_agreement::compare;
use crate::unwind_oracle::Oracle;
use crate::unwind_rows::{described, described_by, table};
use profiler_unwind::Rule;
use profiler_unwind::rule::{Cfa, Rbp, Reason, ReturnAddress};
use symbols::unwind_rows::UnwindTable;
use tempfile::TempDir;

/// Compiles a source (its name says the language) into a shared library.
pub(crate) fn library(name: &str, source: &str, options: &[&str]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let (source_path, library) = (folder.path().join(name), folder.path().join("library.so"));
    fs::write(&source_path, source).unwrap();
    let output = Command::new("cc")
        .args(["-shared", "-fPIC", "-nostdlib", "-o"])
        .args([&library, &source_path])
        .args(options)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (folder, library)
}

/// A function of this name that says this of each of its bytes.
pub(crate) fn function(name: &str, cfi: &str) -> String {
    format!(
        ".p2align 4\n.globl {name}\n.type {name}, @function\n{name}:\n.cfi_startproc\n{cfi}\nnop\nnop\n\
         .cfi_endproc\n.size {name}, .-{name}\n"
    )
}

pub(crate) const DEREF_RSP: &str = ".cfi_escape 0x0f, 0x06, 0x77, 0xf8, 0x00, 0x06, 0x23, 0x08"; // *(rsp + 120) + 8
const DEREF_RBP: &str = ".cfi_escape 0x0f, 0x03, 0x76, 0x78, 0x06"; // *(rbp - 8)
const RBP_AT_RBP: &str = ".cfi_escape 0x10, 0x06, 0x02, 0x76, 0x70"; // rbp at *(rbp - 16)
const RBP_AT_RSP: &str = ".cfi_escape 0x10, 0x06, 0x02, 0x77, 0x18"; // rbp at *(rsp + 24)
pub(crate) const PLT: &str =
    ".cfi_escape 0x0f, 0x0b, 0x77, 0x08, 0x80, 0x00, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22";
/// CFA = rsp + 8 + rcx * 8, as no rule says.
pub(crate) const SCALED: &str = ".cfi_escape 0x0f, 0x07, 0x77, 0x08, 0x72, 0x00, 0x38, 0x1e, 0x22";

#[test]
fn every_kind_of_rule_is_read_as_it_is_written() {
    let rsp = |offset| Rule::register(7, offset);
    let rbp = |rbp, rbp_operand, rule| Rule { rbp, rbp_operand, ..rule };
    let ra = |return_address, return_address_operand, rule| Rule {
        return_address,
        return_address_operand,
        ..rule
    };
    let cases: [(&str, String, Rule); 23] = [
        ("entry", String::new(), rsp(8)),
        ("rsp_far", ".cfi_def_cfa_offset 70000".into(), rsp(70_000)),
        ("rsp_farther", ".cfi_def_cfa_offset 0x7ffffff8".into(), rsp(0x7fff_fff8)),
        ("rsp_too_far", ".cfi_def_cfa_offset 0x80000000".into(), Rule::unsupported(Reason::Offset)),
        ("frame_pointer", ".cfi_def_cfa 6, 16\n.cfi_offset 6, -16".into(), {
            rbp(Rbp::AtCfa, -16, Rule::register(6, 16))
        }),
        ("rbp_far", ".cfi_def_cfa_offset 40000\n.cfi_offset 6, -40000".into(), {
            rbp(Rbp::AtCfa, -40_000, rsp(40_000))
        }),
        ("cfa_in_r10", ".cfi_def_cfa 10, 0".into(), Rule::register(10, 0)),
        ("cfa_in_rax", ".cfi_def_cfa_register 0".into(), Rule::register(0, 8)),
        ("cfa_in_xmm0", ".cfi_def_cfa_register 17".into(), Rule::unsupported(Reason::CfaRegister)),
        ("deref_rsp", DEREF_RSP.into(), Rule::deref_rsp(120, 8)),
        ("deref_rbp", format!("{DEREF_RBP}\n{RBP_AT_RBP}"), rbp(Rbp::AtRbp, -16, Rule::deref_rbp(-8, 0))),
        ("rbp_at_rsp", RBP_AT_RSP.into(), rbp(Rbp::AtRsp, 24, rsp(8))),
        ("rbp_in_r9", ".cfi_register 6, 9".into(), rbp(Rbp::InRegister, 9, rsp(8))),
        ("rbp_gone", ".cfi_undefined 6".into(), rbp(Rbp::Undefined, 0, rsp(8))),
        ("rbp_same", ".cfi_offset 6, -16\n.cfi_same_value 6".into(), rsp(8)),
        ("rbp_at_scaled", SCALED.replace("0x0f,", "0x10, 0x06,"), rbp(Rbp::Unsupported, 0, rsp(8))),
        ("plt_entry", PLT.into(), Rule::plt(8, 11)),
        ("scaled", SCALED.into(), Rule::unsupported(Reason::CfaExpression)),
        ("ra_elsewhere", ".cfi_offset 16, -24".into(), ra(ReturnAddress::AtCfa, -24, rsp(8))),
        ("ra_in_rdx", ".cfi_register 16, 1".into(), ra(ReturnAddress::InRegister, 1, rsp(8))),
        ("outermost", ".cfi_undefined 16".into(), Rule::END),
        ("other_stack", ".cfi_register 7, 8".into(), Rule::unsupported(Reason::StackPointer)),
        ("interrupted", ".cfi_signal_frame".into(), Rule { interrupts: true, ..rsp(8) }),
    ];
    let source: String = cases.iter().map(|(name, cfi, _)| function(name, cfi)).collect();
    let (_folder, path) = library("rules.s", &source, &[]);
    let table = table(&path);
    for (name, cfi, rule) in &cases {
        let code = symbol(&path, name);
        assert_eq!(table.rule_at(code.start), Some(*rule), "{name}: {cfi}");
        assert_eq!(table.rule_at(code.end - 1), Some(*rule), "{name}: {cfi}");
    }
    let stats = table.stats();
    assert_eq!(stats.entries, cases.len() as u64);
    assert_eq!((stats.unsupported_rows, stats.rows_without_rbp), ([1, 1, 1, 0, 0, 1], 1));
    compare(&table, &Oracle::of(&path), 1);
}

#[test]
fn the_c_librarys_return_from_signals_is_a_signal_frame_and_its_linkage_table_is_known() {
    let path = crate::common::c_library();
    let table = table(&path);
    let mut kinds: BTreeMap<String, u32> = BTreeMap::new();
    for (_, rule) in table.rows() {
        *kinds.entry(format!("{:?}", rule.cfa)).or_default() += 1;
    }
    assert_eq!(kinds.get("Signal"), Some(&1), "{kinds:?}");
    assert!(kinds.contains_key("Plt") && kinds.contains_key("End"), "{kinds:?}");
}

#[test]
fn a_stack_that_is_realigned_keeps_its_cfa_and_frame_pointer() {
    let source = "void sink(void *); void *make(unsigned long);\n\
        void realigned(unsigned long n) { _Alignas(64) char block[128]; block[n] = 0; sink(block);\n\
        sink(__builtin_alloca(n)); sink(block); }";
    let (_folder, path) = library("realigned.c", source, &["-O2"]);
    let table = table(&path);
    let code = symbol(&path, "realigned");
    let rules: Vec<Rule> = code.clone().filter_map(|vaddr| table.rule_at(vaddr)).collect();
    assert_eq!(rules.len() as u64, code.end - code.start);
    assert!(
        rules.iter().all(|rule| rule.cfa != Cfa::Unsupported && rule.rbp != Rbp::Unsupported),
        "{rules:?}"
    );
    assert_eq!(rules[0], Rule::register(7, 8));
    compare(&table, &Oracle::of(&path), 1);
}

/// One function of as many rows as this says.
fn rows(count: usize, offset: impl Fn(usize) -> usize) -> String {
    let rows: String =
        (0..count).map(|number| format!("nop\n.cfi_def_cfa_offset {}\n", offset(number))).collect();
    function("dense", &rows)
}

#[test]
fn blocks_with_a_row_at_each_byte_are_right() {
    let source = rows(4_000, |number| 8 + number % 7 * 8);
    let (_folder, path) = library("dense.s", &source, &[]);
    let table = table(&path);
    assert!(table.stats().rows >= 4_000, "{:?}", table.stats());
    assert_eq!(table.stats().unsupported_rows, [0; Reason::ALL.len()]);
    let dense = symbol(&path, "dense");
    for (number, vaddr) in (dense.start..dense.start + 4_000).enumerate() {
        // A directive holds from the byte behind its own no-operation on.
        let offset = if number == 0 { 8 } else { 8 + (number as i32 - 1) % 7 * 8 };
        assert_eq!(table.rule_at(vaddr), Some(Rule::register(7, offset)), "{number}");
    }
    compare(&table, &Oracle::of(&path), 9);
}

#[test]
fn a_palette_that_overflows_begins_another_run() {
    let source = rows(16_000, |number| 8 + number / 20 * 8);
    let (_folder, path) = library("colourful.s", &source, &[]);
    let table = table(&path);
    assert!(table.runs().len() >= 4 && table.stats().rules > 700, "{:?}", table.stats());
    assert_eq!(table.stats().unsupported_rows, [0; Reason::ALL.len()]);
    compare(&table, &Oracle::of(&path), 17);
}

#[test]
fn a_block_with_more_rules_than_a_palette_holds_is_said_to_be_crowded() {
    let source = rows(4_000, |number| 8 + number * 8) + ".p2align 12\n" + &function("after", "");
    let (_folder, path) = library("crowded.s", &source, &[]);
    let table = table(&path);
    let dense = symbol(&path, "dense");
    assert_eq!(table.rule_at(dense.start + 1_000), Some(Rule::unsupported(Reason::Crowded)));
    assert_eq!(table.rule_at(symbol(&path, "after").end - 1), Some(Rule::register(7, 8)));
    assert!(table.stats().unsupported_rows[Reason::Crowded as usize] > 0);
    assert_eq!(UnwindTable::from_bytes(&table.to_bytes()), Ok(table));
}

#[test]
fn functions_that_only_debug_frame_describes_are_known_packed_or_not() {
    let source = "int f(int); int g(int x) { int y[100]; for (int i = 0; i < 100; i++) y[i] = f(x);\n\
        return y[x] + f(x); }";
    let without = ["-O1", "-g", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables"];
    for packed in ["-gz=none", "-gz=zlib"] {
        let options = [without.as_slice(), &[packed]].concat();
        let (_folder, path) = library("debug.c", source, &options);
        let table = table(&path);
        let stats = table.stats();
        assert!(stats.entries_of_debug_frame > 0 && stats.debug_frame_bytes > 0, "{packed}: {stats:?}");
        let code = symbol(&path, "g");
        assert_eq!(table.rule_at(code.start), Some(Rule::register(7, 8)), "{packed}");
        let in_body = table.rule_at(code.start + (code.end - code.start) / 2).unwrap();
        assert!(in_body.cfa == Cfa::Rsp && in_body.cfa_offset > 400, "{packed}: {in_body:?}");
        if packed == "-gz=none" {
            compare(&table, &Oracle::of(&path), 1);
        }
    }
}

#[test]
fn where_eh_frame_describes_a_function_debug_frame_is_not_asked() {
    let both = format!(".cfi_sections .eh_frame, .debug_frame\n{}", function("f", ".cfi_def_cfa_offset 24"));
    let (_folder, path) = library("both.s", &both, &[]);
    let table = table(&path);
    let stats = table.stats();
    assert!(stats.debug_frame_bytes > 0);
    assert_eq!((stats.entries, stats.entries_of_debug_frame), (1, 0), "{stats:?}");
    assert_eq!(table.rule_at(symbol(&path, "f").start), Some(Rule::register(7, 24)));
}

#[test]
fn code_without_information_is_a_gap_even_if_it_is_short() {
    // Nor does its code say where it returns to.
    let bare = ".p2align 4\n.globl bare\n.type bare, @function\nbare: nop\njmp *%rax\n.size bare, .-bare\n";
    let filled = function("filled", &"nop\n".repeat(14)); // 16 bytes: the next function follows at once
    let source = [&filled, bare, &function("after", "")].concat();
    let (_folder, path) = library("gap.s", &source, &[]);
    let table = table(&path);
    let (filled, bare) = (symbol(&path, "filled"), symbol(&path, "bare"));
    assert_eq!((filled.end - filled.start, bare.start), (16, filled.end));
    assert_eq!(table.rule_at(filled.end - 1), Some(Rule::register(7, 8)));
    assert_eq!(table.rule_at(bare.start), None);
    assert_eq!(table.rule_at(bare.end - 1), None);
    assert_eq!(table.rule_at(symbol(&path, "after").start), Some(Rule::register(7, 8)));
}

#[test]
fn without_section_headers_the_rows_are_the_same() {
    let path = crate::common::c_library();
    let mut bytes = fs::read(&path).unwrap();
    bytes[40..48].fill(0);
    bytes[58..64].fill(0);
    let bare = UnwindTable::read_image(&bytes, Path::new("bare")).unwrap();
    assert_eq!(bare.stats().broken_entries, 0);
    assert!(described_by(&bytes).rows().eq(described(&path).rows()));
}

#[test]
fn a_file_without_any_information_has_a_table_without_runs() {
    let source = ".globl f\n.type f, @function\nf: jmp *%rax\n.size f, .-f\n";
    let (_folder, path) = library("bare.s", source, &["-nostdlib", "-Wl,--no-eh-frame-hdr"]);
    let table = table(&path);
    assert_eq!((table.runs(), table.stats().rows), (&[][..], 0));
    assert_eq!(table.rule_at(symbol(&path, "f").start), None);
    assert_eq!(table.rows().count(), 0);
}
