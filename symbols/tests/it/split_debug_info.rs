//! Debug info split off into a file of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::symbol;
use symbols::elf::FileFacts;
use symbols::symbolizer::{Name, Options, Symbolizer};
use tempfile::TempDir;
use testprogs::{Program, Variant, build};

/// A program stripped of symbols and debug info, and the file these went to, under a name that its `.gnu_debuglink`
/// names.
struct Split {
    folder: TempDir,
    program: PathBuf,
    debug: PathBuf,
    press: u64,
}

impl Split {
    fn new() -> Self {
        let whole = build(Program::Threads, Variant::FramePointers);
        let folder = tempfile::tempdir().unwrap();
        let (program, debug) = (folder.path().join("threads"), folder.path().join("threads.debug"));
        let objcopy = |arguments: &[&str], files: &[&Path]| {
            let status =
                Command::new("objcopy").args(arguments).args(files).current_dir(folder.path()).status();
            assert!(status.expect("binutils, which come with gcc").success());
        };
        objcopy(&["--only-keep-debug", "--compress-debug-sections=zlib"], &[&whole, &debug]);
        objcopy(&["--strip-all", "--add-gnu-debuglink=threads.debug"], &[&whole, &program]);
        Self { program, debug, press: symbol(&whole, "_ZN4mill5pressEmi").start, folder }
    }

    fn names(&self, debug_folders: Vec<PathBuf>) -> Vec<Name> {
        let mut symbolizer = Symbolizer::new(Options { debug_folders, ..Options::default() });
        symbolizer.file(&self.program, &[self.press]).remove(0)
    }

    fn move_debug_to(&self, path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::rename(&self.debug, path).unwrap();
    }
}

fn assert_whole(names: &[Name]) {
    let press = names.last().expect("a name");
    assert_eq!(press.function, "mill::press(unsigned long, int)");
    assert!(press.file.ends_with("threads.cpp") && press.line > 0, "{press:?}");
}

#[test]
fn it_is_found_beside_the_program() {
    assert_whole(&Split::new().names(Vec::new()));
}

#[test]
fn it_is_found_in_the_programs_debug_folder() {
    let split = Split::new();
    split.move_debug_to(&split.folder.path().join(".debug/threads.debug"));
    assert_whole(&split.names(Vec::new()));
}

#[test]
fn it_is_found_by_build_id_where_packages_put_it() {
    let split = Split::new();
    let folder = tempfile::tempdir().unwrap();
    let build_id = FileFacts::open(&split.program).unwrap().build_id().unwrap().to_owned();
    let (start, rest) = build_id.split_at(2);
    split.move_debug_to(&folder.path().join(format!(".build-id/{start}/{rest}.debug")));
    assert!(split.names(Vec::new()).is_empty(), "without the folder there is no name");
    assert_whole(&split.names(vec![folder.path().to_owned()]));
}

#[test]
fn that_of_another_build_is_not_taken() {
    let split = Split::new();
    fs::copy(build(Program::Threads, Variant::NoFramePointers), &split.debug).unwrap();
    assert!(split.names(Vec::new()).is_empty());
}

#[test]
fn a_pipe_in_its_place_is_not_waited_for() {
    let split = Split::new();
    fs::remove_file(&split.debug).unwrap();
    assert!(Command::new("mkfifo").arg(&split.debug).status().unwrap().success());
    assert!(split.names(Vec::new()).is_empty());
}

#[test]
fn a_program_that_has_both_debug_info_and_a_link_elsewhere_is_read_by_its_symbols() {
    let split = Split::new();
    let whole = build(Program::Threads, Variant::FramePointers);
    let both = split.folder.path().join("both");
    let mut objcopy = Command::new("objcopy");
    objcopy.arg("--add-gnu-debuglink=threads.debug").args([&whole, &both]).current_dir(split.folder.path());
    assert!(objcopy.status().unwrap().success());
    fs::remove_file(&split.debug).unwrap();
    assert!(Command::new("mkfifo").arg(&split.debug).status().unwrap().success());
    let mut symbolizer = Symbolizer::new(Options { debug_folders: Vec::new(), ..Options::default() });
    let names = symbolizer.file(&both, &[split.press]).remove(0);
    assert_eq!(names.last().map(|name| &*name.function), Some("mill::press(unsigned long, int)"));
}
