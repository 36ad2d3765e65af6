//! Names of addresses in the test programs and in the C library.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{Random, c_library, file_of, section_in_file, symbol, symbols_of};
use symbols::symbolizer::{Name, Options, Symbolizer, unknown_name};
use testprogs::{Program, Variant, build};

/// Without packaged debug info, which a machine may or may not have.
fn symbolizer(memory: u64) -> Symbolizer {
    Symbolizer::new(Options { memory, debug_folders: Vec::new(), ..Options::default() })
}

const PLENTY: u64 = 1 << 30;

/// The names at every address of the functions whose mangled names pass.
fn names_in(path: &Path, passes: impl Fn(&str) -> bool) -> Vec<Vec<Name>> {
    let vaddrs: Vec<u64> = symbols_of(path, passes).into_iter().flatten().collect();
    assert!(!vaddrs.is_empty());
    symbolizer(PLENTY).file(path, &vaddrs)
}

fn functions(names: &[Name]) -> Vec<&str> {
    names.iter().map(|name| &*name.function).collect()
}

/// The names of the one address in `all` whose functions are these, innermost first.
fn with_functions<'a>(all: &'a [Vec<Name>], expected: &[&str]) -> &'a [Name] {
    let found = all.iter().find(|names| functions(names) == expected);
    found.unwrap_or_else(|| {
        let mut seen: Vec<_> = all.iter().map(|names| functions(names)).collect();
        seen.dedup();
        panic!("{expected:?} is not among {seen:#?}")
    })
}

#[test]
fn cpp_functions_come_out_demangled_with_those_inlined_into_them_and_their_lines() {
    let path = build(Program::Threads, Variant::FramePointers);
    let source = Program::Threads.source();
    let text = fs::read_to_string(&source).unwrap();
    let all = names_in(&path, |name| name.starts_with("_ZN4mill") && !name.contains("cold"));
    for holder in [
        "mill::press(unsigned long, int)",
        "mill::Grinder<mill::Coarse>::grind(unsigned long)",
        "mill::Grinder<mill::Fine>::grind(unsigned long)",
        "mill::(anonymous namespace)::sift(std::pair<unsigned long, int> const&)",
    ] {
        let names =
            with_functions(&all, &["mill::tooth(unsigned long)", "mill::Wheel::turn(unsigned long)", holder]);
        assert_eq!(names.iter().map(|name| name.inlined).collect::<Vec<_>>(), [true, true, false]);
        assert!(names.iter().all(|name| Path::new(&name.file) == source), "{names:#?}");
        assert_eq!(names[0].system_name, "_ZN4mill5toothEm");
        let line = |name: &Name| text.lines().nth(name.line as usize - 1).unwrap().trim();
        assert_eq!(line(&names[1]), "value = tooth(value);", "where turn calls tooth");
        assert!(line(&names[2]).starts_with("value = wheel.turn(value)"), "where {holder} calls turn");
    }
}

#[test]
fn rust_functions_come_out_demangled_with_those_inlined_into_them_and_their_lines() {
    let path = build(Program::Inlines, Variant::FramePointers);
    let all = names_in(&path, |name| name.contains("inlines"));
    let is_nest = |names: &&Vec<Name>| {
        let [.., innermost, step, holder] = &names[..] else { return false };
        innermost.function.contains("mix")
            && step.function.contains("step")
            && holder.function.contains("burn")
    };
    let names = all.iter().find(is_nest).unwrap_or_else(|| panic!("{all:#?}"));
    let [.., mix, step, burn] = &names[..] else { unreachable!() };
    assert_eq!(mix.function, "inlines::mix");
    assert_eq!(step.function, "<inlines::Mixer as inlines::Step>::step");
    assert!(burn.function.starts_with("inlines::burn"), "{burn:?}");
    assert_eq!((mix.inlined, step.inlined, burn.inlined), (true, true, false));
    for name in [mix, step, burn] {
        assert!(name.file.ends_with("inlines/inlines.rs"), "{name:?}");
    }
    assert!(all.iter().any(|names| names.last().is_some_and(|name| name.function == "inlines::main")));
}

#[test]
fn rust_names_of_the_v0_mangling_come_out_demangled() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inlines");
    let mut rustc = Command::new("rustc");
    rustc.args(["--edition=2024", "-O", "-Csymbol-mangling-version=v0", "-o"]).arg(&path);
    assert!(rustc.arg(Program::Inlines.source()).status().unwrap().success());
    let all = names_in(&path, |name| name.starts_with("_R") && name.contains("7inlines"));
    with_functions(&all, &["inlines::burn_all"]);
    with_functions(&all, &["inlines::burn::<inlines::Adder>"]);
}

#[test]
fn a_program_without_debug_info_has_the_names_of_its_symbol_table() {
    let (_folder, path, _) = without_debug_info(Program::Threads);
    let press = symbol(&path, "_ZN4mill5pressEmi");
    let names = symbolizer(PLENTY).file(&path, &[press.start + 8]);
    let expected = Name {
        function: "mill::press(unsigned long, int)".to_owned(),
        system_name: "_ZN4mill5pressEmi".to_owned(),
        ..Name::default()
    };
    assert_eq!(names, [[expected]]);
}

fn without_debug_info(program: Program) -> (tempfile::TempDir, PathBuf, ()) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(program.name());
    let strip = Command::new("strip")
        .args(["--strip-debug", "-o"])
        .arg(&path)
        .arg(build(program, Variant::FramePointers))
        .status();
    assert!(strip.expect("binutils, which come with gcc").success());
    (folder, path, ())
}

#[test]
fn a_stripped_program_has_no_names_but_is_shown_by_file_and_address() {
    let work = symbol(&build(Program::Shares, Variant::FramePointers), "work");
    let path = build(Program::Shares, Variant::Stripped);
    let mut symbolizer = symbolizer(PLENTY);
    assert_eq!(symbolizer.file(&path, &[work.start]), [vec![]]);
    assert_eq!((symbolizer.counters().addresses, symbolizer.counters().unknown), (1, 1));
    assert_eq!(unknown_name(path.to_str(), work.start), format!("[shares+{:#x}]", work.start));
}

#[test]
fn the_c_librarys_exported_functions_have_names_without_debug_info() {
    let path = c_library();
    let wanted = ["qsort", "getppid", "puts"];
    let vaddrs = wanted.map(|name| symbol(&path, name).start + 4);
    let names = symbolizer(PLENTY).file(&path, &vaddrs);
    for (names, wanted) in names.iter().zip(wanted) {
        // Some have several names for the same address.
        assert!(names.len() == 1 && names[0].function.contains(wanted), "{wanted}: {names:?}");
    }
}

#[test]
fn many_addresses_at_once_have_the_names_that_each_has_alone() {
    let path = build(Program::Inlines, Variant::FramePointers);
    let text = symbols_of(&path, |name| name.contains("inlines"));
    let vaddrs: Vec<u64> = text.into_iter().flatten().rev().step_by(7).collect();
    let mut symbolizer = symbolizer(PLENTY);
    let together = symbolizer.file(&path, &vaddrs);
    let alone: Vec<_> = vaddrs.iter().map(|&vaddr| symbolizer.file(&path, &[vaddr]).remove(0)).collect();
    assert_eq!(together, alone);
    assert!(symbolizer.file(&path, &[]).is_empty());
}

#[test]
fn debug_info_that_is_garbage_leaves_the_names_of_the_symbol_table() {
    let bytes = fs::read(build(Program::Shares, Variant::FramePointers)).unwrap();
    let mut random = Random(3);
    for section in [".debug_info", ".debug_abbrev", ".debug_line", ".debug_str"] {
        let mut broken = bytes.clone();
        for byte in &mut broken[section_in_file(&bytes, section)] {
            *byte = random.next() as u8;
        }
        let (_folder, path, _file) = file_of(&broken);
        let burn_ten = symbol(&path, "burn_ten");
        let names = symbolizer(PLENTY).file(&path, &[burn_ten.start + 8]);
        let last = names[0].last().unwrap_or_else(|| panic!("no name with broken {section}"));
        assert!(!last.function.is_empty());
        if section != ".debug_str" {
            assert_eq!(last.function, "burn_ten", "with broken {section}");
        }
    }
}

#[test]
fn flipped_bytes_in_debug_info_never_panic_and_never_take_all_names_away() {
    for program in [Program::Shares, Program::Threads] {
        let bytes = fs::read(build(program, Variant::FramePointers)).unwrap();
        let sections: Vec<_> = [".debug_info", ".debug_abbrev", ".debug_line", ".debug_aranges"]
            .map(|section| section_in_file(&bytes, section))
            .into();
        let mut random = Random(4);
        for round in 0..60 {
            let section = sections[round % sections.len()].clone();
            let changes = 1 + random.below(20);
            let broken = random.corrupted(&bytes, section, changes);
            let (_folder, path, _file) = file_of(&broken);
            let main = symbol(&path, "main");
            let mut symbolizer = symbolizer(PLENTY);
            let names = symbolizer.file(&path, &[main.start, main.start + 9, main.end - 1]);
            assert!(names.iter().all(|names| !names.is_empty()), "{program:?} round {round}: {names:?}");
            assert_eq!(symbolizer.counters().unreadable_files, 0);
        }
    }
}

#[test]
fn corrupted_headers_and_symbol_tables_never_panic() {
    let bytes = fs::read(build(Program::Shares, Variant::FramePointers)).unwrap();
    let headers = u64::from_le_bytes(*bytes[40..].first_chunk().unwrap()) as usize;
    let mut random = Random(5);
    for range in
        [0..64, headers..bytes.len(), section_in_file(&bytes, ".symtab"), section_in_file(&bytes, ".strtab")]
    {
        for _ in 0..40 {
            let broken = random.corrupted(&bytes, range.clone(), 4);
            let (_folder, path, _file) = file_of(&broken);
            assert_eq!(symbolizer(PLENTY).file(&path, &[0x1200, 0, u64::MAX]).len(), 3);
        }
    }
    for length in [0, 1, 63, 64, 700, bytes.len() / 2, bytes.len() - 1] {
        let (_folder, path, _file) = file_of(&bytes[..length]);
        assert_eq!(symbolizer(PLENTY).file(&path, &[0x1200]).len(), 1);
    }
}

#[test]
fn a_deleted_file_is_read_through_its_descriptor_and_a_reused_descriptor_is_another_file() {
    let mut symbolizer = symbolizer(PLENTY);
    let mut look_up = |program, function: &str| {
        let (folder, path, file) = file_of(&fs::read(build(program, Variant::FramePointers)).unwrap());
        let vaddr = symbol(&path, function).start;
        drop(folder);
        assert!(!path.exists());
        let descriptor = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        let names = symbolizer.file(&descriptor, &[vaddr]).remove(0);
        assert_eq!(names.last().map(|name| &*name.function), Some(function));
        descriptor
    };
    let descriptors = [
        look_up(Program::Shares, "burn_seventy"),
        look_up(Program::Recursion, "descend"),
        look_up(Program::Jit, "run_emitted"),
    ];
    assert_eq!(descriptors.len(), 3);
}

#[test]
fn what_cannot_be_read_has_no_names_and_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut symbolizer = symbolizer(PLENTY);
    let script = folder.path().join("script");
    fs::write(&script, "#!/bin/sh\n").unwrap();
    for path in [&*pipe, &script, folder.path(), Path::new("/nonexistent")] {
        assert_eq!(symbolizer.file(path, &[1, 2]), [vec![], vec![]], "{}", path.display());
    }
    assert_eq!(symbolizer.counters().unreadable_files, 4);
    assert_eq!(symbolizer.counters().unknown, 8);
}

#[test]
fn what_is_kept_stays_within_the_memory_allowed_and_names_stay_right() {
    let memory = 400_000;
    let mut symbolizer = symbolizer(memory);
    for _ in 0..3 {
        for program in [Program::Inlines, Program::Shares, Program::Jit, Program::Syscalls] {
            let path = build(program, Variant::Static);
            let main = symbol(&path, "main");
            let names = symbolizer.file(&path, &[main.start]).remove(0);
            assert_eq!(names.last().map(|name| &*name.function), Some("main"), "{program:?}");
            assert!(symbolizer.memory() <= memory, "{} bytes", symbolizer.memory());
        }
    }
    assert!(symbolizer.counters().evictions >= 2, "{:?}", symbolizer.counters());
}

#[test]
fn the_byte_before_a_function_is_its_own_where_only_padding_is() {
    let path = build(Program::Shares, Variant::FramePointers);
    let starts: Vec<u64> = symbols_of(&path, |_| true).into_iter().map(|range| range.start).collect();
    let mut symbolizer = symbolizer(PLENTY);
    let mut at = |before: u64| {
        let vaddrs: Vec<u64> = starts.iter().map(|start| start - before).collect();
        symbolizer.file(&path, &vaddrs)
    };
    let (padding, last, first) = (at(2), at(1), at(0));
    let padded: Vec<_> = (0..starts.len()).filter(|i| padding[*i].is_empty()).collect();
    assert!(padded.len() > 3, "{padding:#?}");
    for i in padded {
        let function = |names: &[Name]| names.last().map(|name| name.system_name.clone());
        assert_eq!(function(&last[i]), function(&first[i]), "{:#x}", starts[i]);
    }
}

#[test]
fn a_large_file_does_not_push_the_small_ones_out() {
    let cost_of = |path: &Path| {
        let mut symbolizer = symbolizer(PLENTY);
        symbolizer.file(path, &[0]);
        symbolizer.memory()
    };
    let large = [Program::Inlines, Program::Templates].map(|program| build(program, Variant::FramePointers));
    let small = [Program::Shares, Program::Syscalls].map(|program| build(program, Variant::FramePointers));
    let (least, most) = (large.iter().map(|path| cost_of(path)), small.iter().map(|path| cost_of(path)));
    let (least, of_small): (u64, u64) = (least.min().unwrap(), most.sum());
    assert!(least > of_small, "{least} and {of_small} bytes: the programs are not what this test needs");
    let both: u64 = large.iter().map(|path| cost_of(path)).max().unwrap() + of_small;
    let mut symbolizer = Symbolizer::new(Options { memory: both, kept: 2 * of_small, ..Options::default() });
    for round in 0..3 {
        for path in large.iter().chain(&small) {
            let main = symbol(path, "main");
            let names = symbolizer.file(path, &[main.start]).remove(0);
            assert_eq!(names.last().map(|name| &*name.function), Some("main"), "{}", path.display());
            assert!(symbolizer.memory() <= both, "{} of {both} bytes", symbolizer.memory());
        }
        // Each large one takes the other's place, but the first time.
        assert_eq!(symbolizer.counters().evictions, 2 * round + 1);
    }
    // Where both have room, both stay.
    let all = large.iter().chain(&small).map(|path| cost_of(path)).sum();
    let mut symbolizer = Symbolizer::new(Options { memory: all, kept: 2 * of_small, ..Options::default() });
    for path in large.iter().chain(&small).chain(&large) {
        symbolizer.file(path, &[0]);
    }
    assert_eq!((symbolizer.counters().evictions, symbolizer.memory()), (0, all));
}

#[test]
fn debug_info_that_costs_more_than_the_memory_allowed_is_left_alone() {
    let path = build(Program::Inlines, Variant::FramePointers);
    let burn_all = symbols_of(&path, |name| name.contains("burn_all"))[0].start;
    let look_up = |memory| {
        let mut symbolizer = symbolizer(memory);
        let names = symbolizer.file(&path, &[burn_all]).remove(0);
        assert!(names.last().unwrap().function.starts_with("inlines::burn_all"), "{names:?}");
        (names.last().unwrap().line > 0, symbolizer.counters().costly_debug_info)
    };
    assert_eq!(look_up(PLENTY), (true, 0));
    assert_eq!(look_up(200_000), (false, 1));
}

#[test]
fn more_files_than_descriptors_may_be_kept_are_named() {
    let bytes = fs::read(build(Program::Shares, Variant::FramePointers)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let main = symbol(&build(Program::Shares, Variant::FramePointers), "main");
    let mut symbolizer = symbolizer(PLENTY);
    for number in 0..450 {
        let path = folder.path().join(number.to_string());
        fs::write(&path, &bytes).unwrap();
        let names = symbolizer.file(&path, &[main.start]).remove(0);
        assert_eq!(names.last().map(|name| &*name.function), Some("main"), "file {number}");
    }
    assert_eq!(symbolizer.counters().evictions, 250, "one for each beyond 200");
    let open = fs::read_dir("/proc/self/fd").unwrap().count();
    assert!(open < 900, "{open} descriptors");
}

#[test]
fn unknown_code_is_shown_by_base_name_and_hexadecimal_address() {
    assert_eq!(unknown_name(Some("/usr/lib/libfoo.so.6"), 0x1234), "[libfoo.so.6+0x1234]");
    assert_eq!(unknown_name(Some("/tmp/x (deleted)"), 16), "[x+0x10]");
    assert_eq!(unknown_name(Some("[vdso]"), 0xbf0), "[vdso+0xbf0]");
    assert_eq!(unknown_name(None, 0x7f00_0000_1000), "[unknown 0x7f0000001000]");
    assert_eq!(unknown_name(Some(""), 1), "[unknown 0x1]");
    assert_eq!(unknown_name(Some("///"), 1), "[unknown 0x1]");
}

#[test]
fn a_file_under_a_map_files_path_is_read() {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let path = c_library();
    let line =
        maps.lines().find(|line| Path::new(line.split_whitespace().nth(5).unwrap_or("")) == path).unwrap();
    // The kernel writes these names without leading zeros.
    let map_file = PathBuf::from(format!("/proc/self/map_files/{}", line.split(' ').next().unwrap()));
    // Reading it takes CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE.
    let names = symbolizer(PLENTY).file(&map_file, &[symbol(&path, "qsort").start]).remove(0);
    assert_eq!(File::open(&map_file).is_ok(), !names.is_empty());
}
