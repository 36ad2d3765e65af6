//! Facts of ELF files, also of broken and foreign ones.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::{Random, c_library, file_of, symbol};
use object::{Object, ObjectSegment, SegmentFlags};
use symbols::elf::{ElfError, FileFacts};
use symbols::frame_pointer_rules::UnwindInfo;
use symbols::stack_ends::StackEnds;
use testprogs::{Program, Variant, build};

fn every_program() -> impl Iterator<Item = std::path::PathBuf> {
    let built = |program: Program| program.variants().iter().map(move |&variant| build(program, variant));
    [Program::Shares, Program::Threads, Program::Inlines].into_iter().flat_map(built)
}

#[test]
fn build_id_entry_and_code_segments_are_those_that_another_reader_finds() {
    for path in every_program().chain([c_library()]) {
        let bytes = fs::read(&path).unwrap();
        let file = object::File::parse(&*bytes).unwrap();
        let facts = FileFacts::open(&path).unwrap();
        let hex: String =
            file.build_id().unwrap().unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(facts.build_id(), Some(&*hex), "{}", path.display());
        assert_eq!(facts.entry(), file.entry());

        let is_code =
            |flags| matches!(flags, SegmentFlags::Elf { p_flags, .. } if p_flags & object::elf::PF_X != 0);
        let segments = file.segments().filter(|segment| is_code(segment.flags()));
        let expected: Vec<_> = segments
            .map(|segment| (segment.file_range().0, segment.address(), segment.file_range().1))
            .collect();
        let found: Vec<_> = facts
            .segments()
            .iter()
            .map(|segment| (segment.file_offset, segment.vaddr, segment.size))
            .collect();
        assert_eq!(found, expected, "{}", path.display());
        assert!(!found.is_empty());
    }
}

#[test]
fn file_offsets_become_addresses_and_come_back() {
    for path in every_program() {
        let facts = FileFacts::open(&path).unwrap();
        for segment in facts.segments() {
            let (first, last) = (segment.file_offset, segment.file_offset + segment.size - 1);
            assert_eq!(facts.vaddr_of(first), Some(segment.vaddr));
            assert_eq!(facts.vaddr_of(last), Some(segment.vaddr + segment.size - 1));
            assert_eq!(facts.file_range_of(segment.vaddr + 5), Some((first + 5, segment.size - 5)));
        }
        assert_eq!(facts.vaddr_of(0), None, "the ELF header is no code: {}", path.display());
        assert_eq!(facts.vaddr_of(u64::MAX), None);
        assert_eq!(facts.file_range_of(u64::MAX), None);
    }
}

#[test]
fn the_bytes_at_a_functions_address_are_its_code() {
    let path = build(Program::Syscalls, Variant::FramePointers);
    let code = crate::common::code(&path, symbol(&path, "ask_parent"));
    assert!(code.windows(2).any(|pair| pair == [0x0f, 0x05]), "no system call in {code:x?}");
}

#[test]
fn a_file_of_split_off_debug_info_has_the_build_id_of_its_program() {
    let path = build(Program::Shares, Variant::FramePointers);
    let folder = tempfile::tempdir().unwrap();
    let debug = folder.path().join("shares.debug");
    let made = Command::new("objcopy").arg("--only-keep-debug").args([&path, &debug]).status();
    assert!(made.expect("binutils, which come with gcc").success());
    let id = FileFacts::open(&path).unwrap().build_id().map(str::to_owned);
    assert!(id.is_some());
    assert_eq!(FileFacts::open(&debug).unwrap().build_id().map(str::to_owned), id);
}

#[test]
fn what_is_no_elf_file_is_refused_by_name_and_reason() {
    let message = |bytes: &[u8]| {
        let (_folder, path, file) = file_of(bytes);
        let message = FileFacts::read(&file, &path).unwrap_err().to_string();
        assert!(message.contains(&*path.to_string_lossy()), "{message}");
        message
    };
    assert!(message(b"").contains("is not an ELF file"));
    assert!(message(b"#!/bin/sh\n").contains("is not an ELF file"));
    assert!(message(&[b'x'; 4096]).contains("is not an ELF file"));

    let mut foreign = fs::read(build(Program::Shares, Variant::Stripped)).unwrap();
    foreign[18..20].copy_from_slice(&object::elf::EM_AARCH64.to_le_bytes());
    assert!(message(&foreign).contains("machine 183"), "another machine");
    foreign[4] = object::elf::ELFCLASS32;
    assert!(message(&foreign).contains("class 1"), "32 bits");
}

#[test]
fn what_is_no_regular_file_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for path in [&*pipe, folder.path(), Path::new("/dev/zero")] {
        let result = FileFacts::open(path);
        assert!(matches!(result, Err(ElfError::NotAFile { .. })), "{}: {result:?}", path.display());
    }
    let missing = FileFacts::open(Path::new("/nonexistent/file")).unwrap_err();
    assert!(missing.to_string().starts_with("cannot open /nonexistent/file: "), "{missing}");
}

/// Everything that reads headers and tables, over the whole text of the program.
fn read_all(bytes: &[u8]) -> usize {
    let (_folder, path, file) = file_of(bytes);
    let Ok(facts) = FileFacts::read(&file, &path) else { return 0 };
    let (ends, unwind) = (StackEnds::read(&file, &path), UnwindInfo::read(&file, &path));
    let (Ok(ends), Ok(unwind)) = (ends, unwind) else { return 0 };
    let text =
        facts.segments().iter().flat_map(|segment| (0..16).map(move |n| (segment, segment.size / 16 * n)));
    text.filter(|(segment, offset)| {
        let vaddr = segment.vaddr.wrapping_add(*offset);
        unwind.rule_at(vaddr).is_some() | ends.root_at(&file, &unwind, vaddr).is_some()
    })
    .count()
}

#[test]
fn truncated_files_give_errors_or_less_but_never_panic() {
    let bytes = fs::read(build(Program::Shares, Variant::Stripped)).unwrap();
    assert!(read_all(&bytes) > 0, "the whole file has rules");
    for length in (0..1200).chain((1200..bytes.len()).step_by(97)) {
        read_all(&bytes[..length]);
    }
}

#[test]
fn corrupted_headers_give_errors_or_other_facts_but_never_panic() {
    let bytes = fs::read(build(Program::Shares, Variant::FramePointers)).unwrap();
    let mut random = Random(1);
    for at in 4..64 + 13 * 56 {
        let mut copy = bytes.clone();
        for value in [0, 0xff, copy[at] ^ 0x80, random.next() as u8] {
            copy[at] = value;
            read_all(&copy);
        }
    }
    let sections = u64::from_le_bytes(*bytes[40..].first_chunk().unwrap()) as usize;
    for _ in 0..500 {
        read_all(&random.corrupted(&bytes, sections..bytes.len(), 3));
    }
}

#[test]
fn corrupted_unwind_and_symbol_tables_never_panic() {
    let bytes = fs::read(build(Program::Shares, Variant::FramePointers)).unwrap();
    let mut random = Random(2);
    for section in [".eh_frame", ".eh_frame_hdr", ".symtab", ".strtab", ".dynsym"] {
        let range = crate::common::section_in_file(&bytes, section);
        for _ in 0..200 {
            read_all(&random.corrupted(&bytes, range.clone(), 8));
        }
    }
}
