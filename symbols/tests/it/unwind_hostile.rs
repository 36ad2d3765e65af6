//! Broken and malicious files, and stored tables that are not what was stored.

use std::fs;
use std::path::Path;

use crate::common::{Random, c_library, file_of, section_in_file};
use crate::unwind_rows::table;
use profiler_unwind::Rule;
use profiler_unwind::rule::{Rbp, Reason};
use symbols::unwind_rows::{TableBytesError, UnwindRowsError, UnwindTable};
use testprogs::{Program, Variant, build};

/// What is true of the table of any file: it is small, consistent, and can be asked anything.
fn is_sound(table: &UnwindTable, file_size: usize) {
    let stats = table.stats();
    // An instruction makes a row at most, of call frame information as of code; behind that a gap begins.
    let of_code = if stats.entries_of_code > 0 { 2 * file_size as u64 } else { 0 };
    assert!(stats.rows <= stats.eh_frame_bytes + stats.debug_frame_bytes + of_code, "{stats:?}");
    assert!(stats.bytes as usize <= 64 * file_size + 4096, "{stats:?} of {file_size} bytes");
    assert_eq!(UnwindTable::from_bytes(&table.to_bytes()).as_ref(), Ok(table));
    let ends = table.runs().iter().flat_map(|run| [run.start_vaddr, run.end_vaddr]);
    for vaddr in ends.chain([0, u64::MAX]) {
        table.rule_at(vaddr);
        table.rule_at(vaddr.wrapping_sub(1));
    }
    assert!(table.rows().map(|(vaddr, _)| vaddr).is_sorted());
}

pub(crate) fn read(bytes: &[u8]) -> Result<UnwindTable, UnwindRowsError> {
    let (_folder, path, file) = file_of(bytes);
    let result = UnwindTable::read(&file, &path);
    match &result {
        Ok(table) => is_sound(table, bytes.len()),
        Err(error) => assert!(error.to_string().contains(path.to_str().unwrap()), "{error}"),
    }
    result
}

#[test]
fn files_cut_anywhere_give_an_error_or_a_sound_table() {
    let bytes = fs::read(build(Program::Shares, Variant::FramePointers)).unwrap();
    for length in (0..bytes.len()).step_by(97) {
        let _ = read(&bytes[..length]);
    }
    assert!(read(&bytes[..64]).is_err());
}

#[test]
fn call_frame_information_with_flipped_bytes_gives_a_sound_table() {
    let mut random = Random(0x7ab1e);
    for (path, rounds) in [(build(Program::Shares, Variant::NoFramePointers), 1_500), (c_library(), 25)] {
        let bytes = fs::read(path).unwrap();
        let eh_frame = section_in_file(&bytes, ".eh_frame");
        let mut broken = 0;
        for round in 0..rounds {
            let changes = 1 + round % 40;
            let table = read(&random.corrupted(&bytes, eh_frame.clone(), changes)).unwrap();
            broken += table.stats().broken_entries;
        }
        assert!(broken > 0);
    }
}

#[test]
fn headers_with_flipped_bytes_give_an_error_or_a_sound_table() {
    let mut random = Random(0xe1f);
    let bytes = fs::read(build(Program::Shares, Variant::FramePointers)).unwrap();
    let headers = 0..64 + 56 * 14;
    let section_headers = u64::from_le_bytes(*bytes[40..].first_chunk().unwrap()) as usize..bytes.len();
    for round in 0..1_000 {
        let range = if round % 2 == 0 { headers.clone() } else { section_headers.clone() };
        let _ = read(&random.corrupted(&bytes, range, 1 + round % 8));
    }
}

/// A minimal executable: code at 0x1000 that the file need not hold in full, and this .eh_frame at 0x200000.
pub(crate) fn executable(code_size: u64, eh_frame: &[u8]) -> Vec<u8> {
    const NAMES: &[u8] = b"\0.eh_frame\0.shstrtab\0";
    const EH_FRAME_AT: u64 = 0x200;
    let names_at = EH_FRAME_AT + eh_frame.len() as u64;
    let sections_at = names_at + NAMES.len() as u64;
    let mut file = Vec::new();
    file.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    file.extend([3u16, 62].iter().flat_map(|half| half.to_le_bytes()));
    file.extend(1u32.to_le_bytes());
    file.extend([0, 64, sections_at].iter().flat_map(|word| word.to_le_bytes()));
    file.extend(0u32.to_le_bytes());
    file.extend([64u16, 56, 1, 64, 3, 2].iter().flat_map(|half| half.to_le_bytes()));
    file.extend([1u32, 5].iter().flat_map(|word| word.to_le_bytes())); // loaded, readable, executable
    file.extend(
        [0u64, 0x1000, 0x1000, code_size, code_size, 4096].iter().flat_map(|word| word.to_le_bytes()),
    );
    file.resize(EH_FRAME_AT as usize, 0);
    file.extend(eh_frame);
    file.extend(NAMES);
    let mut section = |name: u32, kind: u32, address: u64, offset: u64, size: usize| {
        file.extend([name, kind].iter().flat_map(|word| word.to_le_bytes()));
        file.extend(
            [0, address, offset, size as u64, 0, 1, 0].iter().flat_map(|word: &u64| word.to_le_bytes()),
        );
    };
    section(0, 0, 0, 0, 0);
    section(1, 1, 0x20_0000, EH_FRAME_AT, eh_frame.len());
    section(11, 3, 0, names_at, NAMES.len());
    file
}

/// A common entry with these initial instructions, absolute addresses of 8 bytes.
fn common_entry(instructions: &[u8]) -> Vec<u8> {
    let mut body = vec![0, 0, 0, 0, 1, 0, 1, 0x78, 16]; // version 1, factors 1 and -8, return address in 16
    body.extend([0x0c, 7, 8, 0x90, 1]); // CFA = rsp + 8, return address at CFA - 8
    body.extend(instructions);
    [&(body.len() as u32).to_le_bytes()[..], &body].concat()
}

/// An entry at `at` in the section for this code, of the common entry at its start.
fn entry(at: usize, start: u64, size: u64, instructions: &[u8]) -> Vec<u8> {
    let mut body = (at as u32 + 4).to_le_bytes().to_vec();
    body.extend(start.to_le_bytes());
    body.extend(size.to_le_bytes());
    body.extend(instructions);
    [&(body.len() as u32).to_le_bytes()[..], &body].concat()
}

/// A section of these entries: start, size, instructions.
pub(crate) fn section<'a>(common: &[u8], entries: impl IntoIterator<Item = (u64, u64, &'a [u8])>) -> Vec<u8> {
    let mut section = common_entry(common);
    for (start, size, instructions) in entries {
        let entry = entry(section.len(), start, size, instructions);
        section.extend(entry);
    }
    section
}

const ADVANCE: u8 = 0x41;

#[test]
fn the_executable_made_for_these_tests_is_read() {
    let table = read(&executable(0x200, &section(&[], [(0x1000, 16, &[ADVANCE, 0x0e, 16][..])]))).unwrap();
    let rows: Vec<_> = table.rows().map(|(vaddr, rule)| (vaddr, rule.cfa_offset)).collect();
    assert_eq!(rows, [(0x1000, 8), (0x1001, 16), (0x1010, 0)]);
}

#[test]
fn entries_that_claim_far_more_code_than_there_is_cost_little() {
    for size in [1 << 30, 1 << 60, u64::MAX - 0x1000, u64::MAX] {
        let bytes = executable(u64::MAX, &section(&[], [(0x1000, size, &[][..])]));
        let table = read(&bytes).unwrap();
        assert!(table.stats().bytes < 100, "{:?}", table.stats());
    }
}

#[test]
fn a_common_entry_that_costs_much_with_every_entry_is_refused() {
    let heavy = vec![0x0a; 4_000]; // remember the state, 4,000 times: more than there is room for
    let table = read(&executable(0x4000, &section(&heavy, [(0x1000, 16, &[][..])]))).unwrap();
    assert_eq!((table.stats().rows, table.stats().broken_entries), (0, 1));

    let heavy = [0x0a, 0x0b].repeat(2_000);
    let light: &[u8] = &[];
    let entries = (0..20_000).map(|number| (0x1000 + number * 2, 1, light));
    let refused = read(&executable(0x10_0000, &section(&heavy, entries)));
    assert!(matches!(refused, Err(UnwindRowsError::TooCostly { .. })), "{refused:?}");
}

#[test]
fn a_common_entry_of_megabytes_is_not_read_again_for_each_of_its_entries() {
    let endless = vec![b'a'; 4 << 20]; // an augmentation string
    let mut bytes = vec![0, 0, 0, 0, 1];
    bytes.extend(&endless);
    let mut section = [&(bytes.len() as u32).to_le_bytes()[..], &bytes].concat();
    for number in 0..100_000 {
        section.extend(entry(section.len(), 0x1000 + number * 2, 1, &[]));
    }
    let table = read(&executable(0x10_0000, &section)).unwrap();
    assert_eq!((table.stats().rows, table.stats().broken_entries), (0, 100_000));
}

#[test]
fn what_an_entry_says_before_it_breaks_counts() {
    let table =
        read(&executable(0x400, &section(&[], [(0x1000, 16, &[ADVANCE, 0x0e, 16, ADVANCE, 0x3f][..])])));
    let table = table.unwrap();
    let rows: Vec<_> = table.rows().map(|(vaddr, rule)| (vaddr, rule.cfa_offset)).collect();
    assert_eq!(rows, [(0x1000, 8), (0x1001, 16), (0x1002, 0)], "{:?}", table.stats());
    assert_eq!(table.stats().broken_entries, 1);
}

#[test]
fn of_entries_over_one_another_each_counts_up_to_the_next() {
    let set = |offset: &'static [u8]| offset;
    let entries = [
        (0x1000, 0x100, set(&[0x0e, 16])),
        (0x1040, 0x10, set(&[0x0e, 24])),
        (0x1048, 0x100, set(&[0x0e, 32])),
        (0x1048, 0x8, set(&[0x0e, 40])),
    ];
    let table = read(&executable(0x400, &section(&[], entries))).unwrap();
    let offset = |vaddr| table.rule_at(vaddr).map(|rule| rule.cfa_offset);
    assert_eq!(
        [0x1000, 0x103f, 0x1040, 0x1047, 0x1048, 0x1147, 0x1148].map(offset),
        [Some(16), Some(16), Some(24), Some(24), Some(32), Some(32), None]
    );
    assert!(table.stats().overlapping_entries >= 2, "{:?}", table.stats());
}

#[test]
fn more_different_rules_than_any_compiler_makes_are_bounded() {
    // each row a rule of its own
    let programs: Vec<Vec<u8>> = (0..100u32)
        .map(|number| {
            let rows = (0..1000).flat_map(|row| {
                let offset = number * 1000 + row;
                [ADVANCE, 0x0e, offset as u8 | 0x80, (offset >> 7) as u8 | 0x80, (offset >> 14) as u8]
            });
            rows.collect()
        })
        .collect();
    let entries = programs
        .iter()
        .enumerate()
        .map(|(number, program)| (0x1000 + number as u64 * 0x800, 0x800, &**program));
    let table = read(&executable(0x8_0000, &section(&[], entries))).unwrap();
    assert!(table.stats().rules <= 65_536, "{:?}", table.stats());
    assert!(table.stats().unsupported_rows[Reason::Crowded as usize] > 0);
    assert!(table.stats().bytes < 1 << 20, "{:?}", table.stats());
}

#[test]
fn what_is_no_executable_is_refused_by_name() {
    assert!(read(b"").is_err());
    assert!(read(&[0x7f; 5000]).is_err());
    let error = UnwindTable::read_image(b"nothing", Path::new("[vdso]")).unwrap_err();
    assert!(error.to_string().contains("[vdso]"), "{error}");
}

#[test]
fn a_stored_table_comes_back_as_it_was() {
    for path in [c_library(), build(Program::Shares, Variant::FramePointers)] {
        let table = table(&path);
        let bytes = table.to_bytes();
        assert_eq!(UnwindTable::from_bytes(&bytes), Ok(table));
    }
    let empty = UnwindTable::default();
    assert_eq!(UnwindTable::from_bytes(&empty.to_bytes()), Ok(empty));
}

#[test]
fn a_stored_table_that_was_cut_or_changed_is_refused() {
    let bytes = table(&build(Program::Shares, Variant::FramePointers)).to_bytes();
    for length in 0..bytes.len() {
        assert!(UnwindTable::from_bytes(&bytes[..length]).is_err(), "cut at {length}");
    }
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            assert!(UnwindTable::from_bytes(&changed).is_err(), "bit {bit} of byte {at}");
        }
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(UnwindTable::from_bytes(&longer), Err(TableBytesError::Length));
    let mut newer = bytes;
    newer[4] += 1;
    assert_eq!(UnwindTable::from_bytes(&newer), Err(TableBytesError::Version { found: 5 }));
    assert_eq!(UnwindTable::from_bytes(b"\x7fELF\x02\x01\x01\0"), Err(TableBytesError::Foreign));
}

#[test]
fn what_fuzzing_found_in_stored_tables_is_refused() {
    let bytes = executable(0x1000, &section(&[], [(0x1000, 16, &[ADVANCE, 0x0e, 16][..])]));
    let table = read(&bytes).unwrap();
    let bytes = table.to_bytes();
    let rules_at = bytes.len() - table.rules().len() * 8;
    let run_at = rules_at - table.words().len() * 8 - table.index().len() * 4 - 24;
    let changed = |at: usize, value: u8| {
        let mut changed = bytes.clone();
        changed[at] = value;
        UnwindTable::from_bytes(&with_checksum(changed))
    };
    assert_eq!(changed(rules_at, bytes[rules_at]).as_ref(), Ok(&table));
    // A rule that says that nothing is known, and where rbp is.
    let is_rule = |number: &usize| bytes[rules_at + 8 * number] == 0;
    let none = (0..).find(is_rule).unwrap();
    assert_eq!(
        changed(rules_at + 8 * none + 1, Rbp::AtCfa as u8),
        Err(TableBytesError::Inconsistent { what: "rules" })
    );
    // A run that ends before its last row, at 0x1010.
    assert_eq!(table.rows().last(), Some((0x1010, Rule::NONE)));
    let mut shorter = bytes.clone();
    shorter[run_at + 8..run_at + 16].copy_from_slice(&0x1010u64.to_le_bytes());
    assert_eq!(
        UnwindTable::from_bytes(&with_checksum(shorter)),
        Err(TableBytesError::Inconsistent { what: "rows" })
    );
}

/// The bytes with a checksum that is right again.
fn with_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = crc32fast::hash(&bytes[12..]).to_le_bytes();
    bytes[8..12].copy_from_slice(&checksum);
    bytes
}

#[test]
fn a_stored_table_with_a_right_checksum_is_still_not_believed() {
    let mut random = Random(0xcac4e);
    let table = table(&build(Program::Shares, Variant::FramePointers));
    let bytes = table.to_bytes();
    let arrays = bytes.len() - table.runs().len() * 24 - table.stats().bytes as usize;
    let mut refused = 0;
    for round in 0..20_000 {
        let changed = with_checksum(random.corrupted(&bytes, arrays..bytes.len(), 1 + round % 3));
        match UnwindTable::from_bytes(&changed) {
            // A changed address or offset can be as good as the right one; what was accepted has to be usable.
            Ok(table) => {
                let first = table.runs().first().map_or(0, |run| run.start_vaddr);
                let rules = (0..0x400).filter(|at| table.rule_at(first.wrapping_add(*at)).is_some()).count();
                assert!(rules <= 0x400 && table.rows().take(100_000).count() < 100_000);
            }
            Err(TableBytesError::Inconsistent { .. }) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused > 4_000, "{refused}");

    // A row beyond the words, a rule beyond the palette, counts that do not fit.
    let index_at = arrays + table.runs().len() * 24;
    for (at, value) in
        [(index_at, 0x3fff_ffffu32), (index_at, 0x4000_00ff), (arrays + 16, 1), (arrays + 20, 1)]
    {
        let mut changed = bytes.clone();
        changed[at..at + 4].copy_from_slice(&value.to_le_bytes());
        let result = UnwindTable::from_bytes(&with_checksum(changed));
        assert!(matches!(result, Err(TableBytesError::Inconsistent { .. })), "{at}: {result:?}");
    }
    for count in 0..4 {
        let mut changed = bytes.clone();
        changed[12 + count * 8 + 7] = 0xff;
        assert_eq!(UnwindTable::from_bytes(&with_checksum(changed)), Err(TableBytesError::Length));
    }
}
