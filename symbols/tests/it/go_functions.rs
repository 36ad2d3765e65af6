//! Go's table of functions as a source of rows, against the call frame information that Go's linker writes for the same
//! program when it is not stripped.

use std::fs;
use std::path::Path;
use std::process::Command;

use object::{Object, ObjectSection};
use profiler_unwind::Rule;
use profiler_unwind::rule::{Cfa, Rbp};
use symbols::unwind_rows::UnwindTable;
use testprogs::{Program, Variant, build};

use crate::unwind_rows::table;

/// The program without symbols and debug info; the code is the same.
fn stripped(path: &Path) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let stripped = folder.path().join("stripped");
    let status = Command::new("strip").arg("--strip-all").arg("-o").args([&stripped, path]).status();
    assert!(status.unwrap().success());
    (folder, stripped)
}

#[test]
fn rows_of_go_functions_are_what_its_call_frame_information_says() {
    let path = build(Program::Goroutines, Variant::FramePointers);
    let (_folder, without) = stripped(&path);
    let (described, go) = (table(&path), table(&without));
    // Of those that change stacks call frame information does not know how.
    let (few, many) = (described.stats().entries_of_go, described.stats().entries_of_debug_frame);
    assert!((4..30).contains(&few) && many > 1_000, "{few} by Go's table, {many} by call frame information");
    assert_eq!((go.stats().debug_frame_bytes, go.stats().broken_entries), (0, 0));
    assert!(go.stats().entries_of_go > 1_000, "{:?}", go.stats());
    let (mut same, mut special) = (0, 0);
    for (address, rule) in described.rows().filter(|(_, rule)| rule.cfa == Cfa::Rsp) {
        match go.rule_at(address) {
            Some(Rule { cfa: Cfa::Rsp, cfa_offset, .. }) => {
                assert_eq!(cfa_offset, rule.cfa_offset, "{address:#x}");
                same += 1;
            }
            Some(Rule { cfa: Cfa::Unsupported | Cfa::Signal | Cfa::End, .. }) => special += 1,
            other => panic!("{address:#x}: {other:?}, not {rule:?}"),
        }
    }
    // Roots of stacks, and functions that change stacks.
    assert!(same > 4_000 && special < 100, "{same} rows are the same, {special} special");
    let kind = |wanted| go.rows().filter(|(_, rule)| rule.cfa == wanted).count();
    assert!(
        kind(Cfa::End) >= 3 && kind(Cfa::Signal) == 1,
        "{} ends, {} signal",
        kind(Cfa::End),
        kind(Cfa::Signal)
    );
    let saves = go.rows().filter(|(_, rule)| rule.rbp == Rbp::AtCfa && rule.rbp_operand == -16).count();
    assert!(saves > 1_000, "{saves} rows save rbp");
}

#[test]
fn functions_that_change_stacks_lead_back_to_the_one_they_left() {
    let path = build(Program::StackSwitches, Variant::FramePointers);
    let (_folder, without) = stripped(&path);
    for (what, table) in [("described", table(&path)), ("stripped", table(&without))] {
        let count = |wanted: fn(&Rule) -> bool| table.rows().filter(|(_, rule)| wanted(rule)).count();
        // Since Go 1.21 `systemstack` keeps a frame pointer.
        let by_rbp =
            count(|rule| *rule == Rule { rbp: Rbp::AtCfa, rbp_operand: -16, ..Rule::other_stack(16) });
        let by_goroutine = count(|rule| matches!(rule.cfa, Cfa::Goroutine | Cfa::LeftGoroutine));
        let parked = count(|rule| rule.cfa == Cfa::Parked);
        assert!(
            by_rbp >= 4 && parked == 1,
            "{what}: {by_rbp} by rbp, {by_goroutine} by goroutine, {parked} parked"
        );
        assert!(by_rbp + by_goroutine >= 6, "{what}: {by_rbp} by rbp, {by_goroutine} by goroutine");
    }
}

/// Where a file has its table of functions, in bytes.
fn functions(file: &[u8]) -> std::ops::Range<usize> {
    let object = object::File::parse(file).unwrap();
    let (start, size) = object.section_by_name(".gopclntab").unwrap().file_range().unwrap();
    start as usize..(start + size) as usize
}

fn read(bytes: &[u8]) -> Option<UnwindTable> {
    UnwindTable::read_image(bytes, Path::new("changed")).ok()
}

#[test]
fn a_broken_table_of_functions_says_less_and_does_no_harm() {
    let (_folder, path) = stripped(&build(Program::Goroutines, Variant::FramePointers));
    let good = fs::read(&path).unwrap();
    let within = functions(&good);
    let entries = |bytes: &[u8]| read(bytes).map_or(0, |table| table.stats().entries_of_go);
    let all = entries(&good);
    let (mut fewer, mut none) = (0, 0);
    // Each word of the header, and words all over the rest.
    for at in (0..72).step_by(4).chain((72..within.len() - 4).step_by(within.len() / 9)) {
        for value in [0u32, 0x7fff_ffff] {
            let mut bytes = good.clone();
            bytes[within.start + at..][..4].copy_from_slice(&value.to_le_bytes());
            let left = entries(&bytes);
            assert!(left <= (within.len() / 8) as u64, "{left} of {all} entries");
            fewer += u32::from(left < all);
            none += u32::from(left == 0);
        }
    }
    assert!(fewer > 5 && none > 2, "{fewer} with fewer entries, {none} without");
    let mut unknown_version = good;
    unknown_version[within.start] ^= 0x55;
    assert_eq!(entries(&unknown_version), 0);
}
