//! Debug info in several files: split DWARF, packages of it, and what dwz makes several programs share.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{Random, section_in_file, symbol};
use symbols::symbolizer::{Name, Options, Symbolizer};
use tempfile::TempDir;

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The program with threads, its debug info beside it in `threads.dwo`.
fn split(version: u32) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("threads");
    let sources = testprogs::Program::Threads.source().ancestors().nth(2).unwrap().to_owned();
    let mut compiler = Command::new("g++");
    compiler.args(["-std=c++17", "-pthread", "-O2", "-g", &format!("-gdwarf-{version}"), "-gsplit-dwarf"]);
    compiler.arg("-dumpdir").arg(format!("{}/", folder.path().display()));
    compiler.args(["-Icommon", "-fno-optimize-sibling-calls", "threads/threads.cpp", "-o"]).arg(&program);
    run(compiler.current_dir(sources));
    assert!(folder.path().join("threads.dwo").exists());
    (folder, program)
}

fn names_of_press(program: &Path, offset: u64) -> Vec<Name> {
    let press = symbol(program, "_ZN4mill5pressEmi").start + offset;
    let options = Options { debug_folders: Vec::new(), ..Options::default() };
    Symbolizer::new(options).file(program, &[press]).remove(0)
}

/// The innermost of the functions inlined at some place of `press`, and `press` itself with its line.
fn assert_whole(program: &Path) {
    let range = symbol(program, "_ZN4mill5pressEmi");
    let options = Options { debug_folders: Vec::new(), ..Options::default() };
    let addresses: Vec<u64> = range.collect();
    let all = Symbolizer::new(options).file(program, &addresses);
    for names in &all {
        let press = names.last().expect("a name");
        assert_eq!(press.function, "mill::press(unsigned long, int)");
        assert!(press.file.ends_with("threads.cpp") && press.line > 0 && !press.inlined, "{press:?}");
    }
    let turning = all.iter().find(|names| names.iter().any(|name| name.function.contains("tooth")));
    let turning = turning.expect("an inlined function");
    let functions: Vec<&str> = turning.iter().map(|name| &*name.function).collect();
    assert_eq!(
        functions,
        ["mill::tooth(unsigned long)", "mill::Wheel::turn(unsigned long)", "mill::press(unsigned long, int)"]
    );
    assert_eq!(turning.iter().map(|name| name.inlined).collect::<Vec<_>>(), [true, true, false]);
}

#[test]
fn objects_of_split_debug_info_are_read_where_the_compiler_left_them() {
    for version in [4, 5] {
        let (folder, program) = split(version);
        assert_whole(&program);
        fs::remove_file(folder.path().join("threads.dwo")).unwrap();
        let names = names_of_press(&program, 0);
        assert_eq!(names.last().unwrap().function, "mill::press(unsigned long, int)", "by its symbol");
        assert_eq!(names.last().unwrap().file, "", "{names:?}");
    }
}

#[test]
fn an_object_of_another_build_is_not_taken() {
    let ((folder, program), (other, _)) = (split(5), split(4));
    fs::copy(other.path().join("threads.dwo"), folder.path().join("threads.dwo")).unwrap();
    assert_eq!(names_of_press(&program, 0).last().unwrap().file, "");
}

#[test]
fn a_package_of_split_debug_info_is_read_beside_the_program() {
    // binutils' dwp knows version 4.
    let (folder, program) = split(4);
    run(Command::new("dwp").arg("-e").arg(&program).arg("-o").arg(folder.path().join("threads.dwp")));
    fs::remove_file(folder.path().join("threads.dwo")).unwrap();
    assert_whole(&program);
}

#[test]
fn a_pipe_in_place_of_an_object_is_not_waited_for() {
    let (folder, program) = split(5);
    let object = folder.path().join("threads.dwo");
    fs::remove_file(&object).unwrap();
    run(Command::new("mkfifo").arg(&object));
    assert_eq!(names_of_press(&program, 0).last().unwrap().file, "");
}

#[test]
fn corrupted_split_debug_info_never_panics_and_symbols_stay() {
    let (folder, program) = split(5);
    let object = folder.path().join("threads.dwo");
    let good = fs::read(&object).unwrap();
    let mut random = Random(11);
    for section in [".debug_info.dwo", ".debug_abbrev.dwo", ".debug_str_offsets.dwo", ".debug_str.dwo"] {
        let range = section_in_file(&good, section);
        for round in 0..25 {
            let changes = 1 + random.below(10);
            fs::write(&object, random.corrupted(&good, range.clone(), changes)).unwrap();
            let names = names_of_press(&program, 9);
            assert!(!names.is_empty(), "{section}, round {round}");
        }
    }
    for length in [0, 1, 63, 64, 700, good.len() / 2, good.len() - 1] {
        fs::write(&object, &good[..length]).unwrap();
        assert!(!names_of_press(&program, 9).is_empty());
    }
}

/// Two programs of the same sources, what both have moved by dwz to a file of its own.
fn shared() -> (TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let sources = testprogs::Program::Threads.source().ancestors().nth(2).unwrap().to_owned();
    let build = |name: &str, more: &str| {
        let program = folder.path().join(name);
        let mut compiler = Command::new("g++");
        compiler.args(["-std=c++17", "-pthread", "-O2", "-g", "-gdwarf-4", more, "-Wl,--build-id=sha1"]);
        compiler.args(["-Icommon", "-fno-optimize-sibling-calls", "threads/threads.cpp", "-o"]).arg(&program);
        run(compiler.current_dir(&sources));
        program
    };
    let (one, two) = (build("one", "-DONE"), build("two", "-DTWO"));
    let common = folder.path().join("common.debug");
    run(Command::new("dwz").arg("-m").arg(&common).arg("-M").arg(&common).args([&one, &two]));
    assert!(common.exists());
    (folder, one, common)
}

#[test]
fn what_several_programs_share_is_read_if_it_is_of_the_right_build() {
    let (folder, program, common) = shared();
    assert_whole(&program);
    // By build ID, where packages put such files.
    let build_id = symbols::elf::FileFacts::open(&common).unwrap().build_id().unwrap().to_owned();
    let (start, rest) = build_id.split_at(2);
    let packaged = folder.path().join(".build-id").join(start);
    fs::create_dir_all(&packaged).unwrap();
    fs::rename(&common, packaged.join(format!("{rest}.debug"))).unwrap();
    let press = symbol(&program, "_ZN4mill5pressEmi").start;
    let options = Options { debug_folders: vec![folder.path().to_owned()], ..Options::default() };
    let names = Symbolizer::new(options).file(&program, &[press]).remove(0);
    assert!(names.last().unwrap().line > 0, "{names:?}");
    // Of another build: its parts would be the wrong ones.
    let mut bytes = fs::read(packaged.join(format!("{rest}.debug"))).unwrap();
    let note = section_in_file(&bytes, ".note.gnu.build-id");
    bytes[note.end - 1] ^= 1;
    fs::write(&common, bytes).unwrap();
    let names = names_of_press(&program, 0);
    assert_eq!(names.last().unwrap().function, "mill::press(unsigned long, int)");
}

#[test]
fn sections_packed_by_zstd_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let packed = folder.path().join("packed");
    let whole = testprogs::build(testprogs::Program::Threads, testprogs::Variant::FramePointers);
    run(Command::new("objcopy").arg("--compress-debug-sections=zstd").args([&whole, &packed]));
    let names = names_of_press(&packed, 0);
    assert!(names.last().unwrap().line > 0, "{names:?}");
}
