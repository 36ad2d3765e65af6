//! Which return addresses end a stack, in the real C library and in programs that hold it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{c_library, code, symbol, symbols_of};
use symbols::elf::FileFacts;
use symbols::frame_pointer_rules::UnwindInfo;
use symbols::stack_ends::{RootKind, StackEnds};
use tempfile::TempDir;
use testprogs::{Program, Variant, build};

/// What judges return addresses in one file.
pub(crate) struct Judge {
    file: File,
    ends: StackEnds,
    unwind: UnwindInfo,
}

impl Judge {
    pub(crate) fn of(path: &Path) -> Self {
        let file = File::open(path).unwrap();
        let ends = StackEnds::read(&file, path).unwrap();
        let unwind = UnwindInfo::read(&file, path).unwrap();
        Self { file, ends, unwind }
    }

    pub(crate) fn root_at(&self, vaddr: u64) -> Option<RootKind> {
        self.ends.root_at(&self.file, &self.unwind, vaddr)
    }
}

/// Every address of the file that may be a return address, by the bytes before it, and what ends there.
fn roots_of(path: &Path) -> Vec<(u64, RootKind)> {
    let (judge, bytes) = (Judge::of(path), fs::read(path).unwrap());
    let mut roots = Vec::new();
    for segment in FileFacts::open(path).unwrap().segments() {
        let code = &bytes[segment.file_offset as usize..][..segment.size as usize];
        for at in 8..code.len() {
            let is_indirect =
                |length: usize| code[at - length] == 0xff && code[at - length + 1] >> 3 & 7 == 2;
            let is_call = code[at - 5] == 0xe8 || (2..=7).any(is_indirect);
            let vaddr = segment.vaddr + at as u64;
            roots.extend(is_call.then(|| judge.root_at(vaddr)).flatten().map(|kind| (vaddr, kind)));
        }
    }
    roots
}

#[test]
fn in_the_c_library_stacks_end_in_the_code_that_starts_processes_and_threads_only() {
    let path = c_library();
    let start_main = symbol(&path, "__libc_start_main");
    let clone = symbol(&path, "__clone");
    let unnamed: Vec<_> = roots_of(&path)
        .into_iter()
        .filter(|(vaddr, _)| !start_main.contains(&(vaddr - 1)) && !clone.contains(&(vaddr - 1)))
        .collect();
    // `__libc_start_call_main`, which calls main, is compiled right beside `__libc_start_main`.
    let process: Vec<_> = unnamed.iter().filter(|(_, kind)| *kind == RootKind::Process).collect();
    assert_eq!(process.len(), 1, "{unnamed:x?}");
    assert!(process[0].0.abs_diff(start_main.start) < 0x400, "{process:x?} beside {start_main:x?}");
    // `start_thread` calls a thread's function in one or two places; `clone3` calls `start_thread` in one.
    let thread = unnamed.iter().filter(|(_, kind)| *kind == RootKind::Thread).count();
    assert!((2..=8).contains(&thread), "{unnamed:x?}");
}

#[test]
fn in_other_libraries_no_stack_ends() {
    for name in ["libm.so.6", "libgcc_s.so.1"] {
        let path = c_library().with_file_name(name);
        assert_eq!(roots_of(&fs::canonicalize(&path).unwrap()), [], "{}", path.display());
    }
}

#[test]
fn in_the_dynamic_linker_only_the_start_of_the_process_ends_a_stack() {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let paths = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    let path = PathBuf::from(paths.into_iter().find(|path| path.contains("/ld-linux")).unwrap());
    let entry = FileFacts::open(&path).unwrap().entry();
    let roots = roots_of(&path);
    assert!(!roots.is_empty());
    for (vaddr, kind) in roots {
        assert_eq!(kind, RootKind::Process);
        assert!((entry..entry + 0x60).contains(&vaddr), "{vaddr:#x} is far from the entry {entry:#x}");
    }
}

#[test]
fn the_entry_of_a_program_ends_a_stack_with_and_without_symbols() {
    let root = |variant| {
        let path = build(Program::Shares, variant);
        let entry = FileFacts::open(&path).unwrap().entry();
        // `_start` makes one call, which never returns, and guards that with a `hlt` behind it.
        let code = code(&path, entry..entry + 0x40);
        let hlt = code.iter().position(|&byte| byte == 0xf4).unwrap() as u64;
        Judge::of(&path).root_at(entry + hlt)
    };
    assert_eq!(root(Variant::FramePointers), Some(RootKind::Process));
    assert_eq!(root(Variant::Static), Some(RootKind::Process));
    assert_eq!(root(Variant::Stripped), Some(RootKind::Process));
}

#[test]
fn without_names_stacks_end_where_the_c_library_calls_main_and_a_threads_function_only() {
    let ends = |program| {
        let mut kinds: Vec<_> =
            roots_of(&build(program, Variant::StaticMusl)).into_iter().map(|(_, kind)| kind).collect();
        kinds.sort_by_key(|kind| format!("{kind:?}"));
        kinds
    };
    // Of the process: the call at the entry, and that of `main`.
    assert_eq!(ends(Program::Shares), [RootKind::Process; 2]);
    // `start`, `start_c11`, and the system call behind them in `clone`.
    assert_eq!(
        ends(Program::NearlyFull),
        [RootKind::Process, RootKind::Process, RootKind::Thread, RootKind::Thread, RootKind::Thread]
    );
}

#[test]
fn functions_of_the_program_itself_end_no_stack() {
    for (program, names) in [
        (Program::Shares, ["main", "work", "burn_ten"].as_slice()),
        (Program::Recursion, &["main", "descend", "burn_at_bottom"]),
        (Program::Threads, &["main", "worker"]),
    ] {
        for variant in [Variant::FramePointers, Variant::NoFramePointers, Variant::Static] {
            let path = build(program, variant);
            let judge = Judge::of(&path);
            for range in symbols_of(&path, |name| names.contains(&name)) {
                assert!(!range.is_empty());
                let root = range.clone().find(|&vaddr| judge.root_at(vaddr + 1).is_some());
                assert_eq!(root, None, "{program:?} {variant:?} {range:x?}");
            }
        }
    }
}

#[test]
fn a_static_program_has_the_ends_of_its_c_library_by_name() {
    let path = build(Program::Threads, Variant::Static);
    let judge = Judge::of(&path);
    for (name, kind) in [
        ("__libc_start_call_main", RootKind::Process),
        ("_start", RootKind::Process),
        ("start_thread", RootKind::Thread),
        ("__clone3", RootKind::Thread),
    ] {
        let range = symbol(&path, name);
        assert_eq!(judge.root_at(range.start + 1), Some(kind), "{name}");
        assert_eq!(judge.root_at(range.end), Some(kind), "{name}: the return address of a call that ends it");
    }
}

/// Without its symbols a static program cannot tell its `exit`, so the end under main is not proven; those of
/// threads are.
#[test]
fn a_static_program_without_symbols_still_has_the_ends_of_threads() {
    let path = build(Program::Threads, Variant::Static);
    let (_folder, stripped) = stripped(&path);
    let judge = Judge::of(&stripped);
    let thread_roots = |range: std::ops::Range<u64>| {
        range.filter(|vaddr| judge.root_at(*vaddr) == Some(RootKind::Thread)).count()
    };
    assert!((1..=4).contains(&thread_roots(symbol(&path, "start_thread"))));
    assert!(thread_roots(symbol(&path, "__clone3")) >= 1);
    assert!(symbol(&path, "main").all(|vaddr| judge.root_at(vaddr).is_none()));
}

#[test]
fn goroutines_and_the_threads_of_go_end_in_its_runtime() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("main.go"), "package main\nfunc main() { println(1) }\n").unwrap();
    let mut go = Command::new("go");
    let built = go.args(["build", "-o", "main", "main.go"]).current_dir(folder.path()).status();
    assert!(built.expect("Go, as the tests of pprof need it").success());
    let path = folder.path().join("main");
    let judge = Judge::of(&path);
    for (name, kind) in [
        ("runtime.goexit", RootKind::Goroutine),
        ("runtime.mstart", RootKind::Thread),
        ("runtime.rt0_go", RootKind::Process),
    ] {
        let range = symbols_of(&path, |found| found.strip_suffix(".abi0").unwrap_or(found) == name).remove(0);
        // The runtime gives every goroutine the second instruction of goexit as its return address.
        assert_eq!(judge.root_at(range.start + 1), Some(kind), "{name}");
    }
    assert_eq!(judge.root_at(symbol(&path, "main.main").start + 8), None);
}

fn stripped(path: &Path) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let stripped = folder.path().join("stripped");
    let status = Command::new("strip").arg("-o").args([&*stripped, path]).status();
    assert!(status.expect("binutils, which come with gcc").success());
    (folder, stripped)
}

#[test]
fn a_stack_is_whole_that_is_sampled_on_the_way_from_the_entry_before_anything_can_have_been_called() {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let linker = maps
        .lines()
        .filter_map(|line| line.split_whitespace().nth(5))
        .find(|path| path.contains("/ld-linux"));
    let programs = [Variant::Stripped, Variant::Static].map(|variant| build(Program::Shares, variant));
    for path in programs.into_iter().chain([PathBuf::from(linker.unwrap())]) {
        let (file, entry) = (File::open(&path).unwrap(), FileFacts::open(&path).unwrap().entry());
        let ends = StackEnds::read(&file, &path).unwrap();
        let starts: Vec<_> =
            (entry - 64..entry + 512).filter(|vaddr| ends.starts_at(&file, *vaddr)).collect();
        // `endbr64`, `mov` and whatever comes before the call; behind it lie other functions.
        assert!((3..30).contains(&starts.len()) && starts[0] == entry, "{}: {starts:x?}", path.display());
        assert!(starts.iter().all(|vaddr| vaddr - entry < 0x40), "{}: {starts:x?}", path.display());
    }
}
