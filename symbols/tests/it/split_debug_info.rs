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

/// Offset in the file of the header of the section of this name.
fn section_header(bytes: &[u8], name: &str) -> usize {
    let number = |range: std::ops::Range<usize>| {
        let mut number = [0; 8];
        number[..range.len()].copy_from_slice(&bytes[range]);
        u64::from_le_bytes(number) as usize
    };
    let (start, count, names) = (number(40..48), number(60..62), number(62..64));
    let header = |index: usize| start + index * 64;
    let names = number(header(names) + 24..header(names) + 32);
    let is_named = |index: &usize| {
        let at = names + number(header(*index)..header(*index) + 4);
        bytes[at..].starts_with(name.as_bytes()) && bytes[at + name.len()] == 0
    };
    header((0..count).find(is_named).unwrap())
}

/// The program with debug info packed into its own file.
fn packed(folder: &Path) -> Vec<u8> {
    let path = folder.join("packed");
    let mut objcopy = Command::new("objcopy");
    objcopy
        .arg("--compress-debug-sections=zlib")
        .arg(build(Program::Threads, Variant::FramePointers))
        .arg(&path);
    assert!(objcopy.status().unwrap().success());
    fs::read(&path).unwrap()
}

/// The line known of `press` in a file of these bytes; none where it has no name.
fn line_of_press(bytes: &[u8]) -> Option<u32> {
    let (_folder, path, _file) = crate::common::file_of(bytes);
    let press = symbol(&build(Program::Threads, Variant::FramePointers), "_ZN4mill5pressEmi").start;
    let mut symbolizer = Symbolizer::new(Options { debug_folders: Vec::new(), ..Options::default() });
    symbolizer.file(&path, &[press]).remove(0).last().map(|name| name.line)
}

#[test]
fn debug_info_packed_into_the_program_is_read_unless_it_unpacks_to_more_than_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = packed(folder.path());
    assert!(line_of_press(&bytes).unwrap() > 0);

    let section = crate::common::section_in_file(&bytes, ".debug_info");
    for claimed in [1, 1000, u64::MAX] {
        let mut lying = bytes.clone();
        lying[section.start + 8..section.start + 16].copy_from_slice(&claimed.to_le_bytes());
        assert_eq!(
            line_of_press(&lying),
            Some(0),
            "only the symbol table is read where {claimed} bytes are claimed"
        );
    }
}

#[test]
fn a_packed_symbol_table_and_a_hidden_number_of_sections_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = packed(folder.path());
    let flags = section_header(&bytes, ".symtab") + 8;
    let mut strange = bytes.clone();
    strange[flags..flags + 8].copy_from_slice(&u64::from(object::elf::SHF_COMPRESSED).to_le_bytes());
    assert_eq!(line_of_press(&strange), None);

    let mut strange = bytes.clone();
    strange[60..62].fill(0);
    assert_eq!(line_of_press(&strange), None, "number of sections");
    let mut strange = bytes;
    strange[62..64].fill(0xff);
    assert_eq!(line_of_press(&strange), None, "section of names");
}
