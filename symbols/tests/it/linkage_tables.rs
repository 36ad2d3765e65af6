//! Names of the entries of procedure linkage tables, against binutils' disassembler.

use std::path::Path;
use std::process::Command;

use symbols::symbolizer::{Options, Symbolizer};
use testprogs::{Program, Variant, build};

/// Addresses and names of the entries that the disassembler knows.
fn entries(path: &Path) -> Vec<(u64, String)> {
    let mut command = Command::new("objdump");
    command.args(["-d", "-j", ".plt", "-j", ".plt.sec", "-j", ".plt.got"]).arg(path);
    // It complains of sections that are not there.
    let text = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let heads = text.lines().filter_map(|line| line.strip_suffix(">:")?.split_once(" <"));
    let named = heads.filter(|(_, name)| name.ends_with("@plt") && !name.starts_with("*ABS*"));
    named.map(|(address, name)| (u64::from_str_radix(address, 16).unwrap(), name.to_owned())).collect()
}

fn check(path: &Path, entry_bytes: u64) {
    let entries = entries(path);
    assert!(!entries.is_empty(), "{}", path.display());
    let mut symbolizer = Symbolizer::new(Options { debug_folders: Vec::new(), ..Options::default() });
    for within in [0, entry_bytes - 1] {
        let vaddrs: Vec<_> = entries.iter().map(|(start, _)| start + within).collect();
        let names = symbolizer.file(path, &vaddrs);
        for (names, (start, expected)) in names.iter().zip(&entries) {
            let names: Vec<_> = names.iter().map(|name| &*name.system_name).collect();
            assert_eq!(names, [expected], "{start:#x} in {}", path.display());
        }
    }
}

#[test]
fn entries_are_named_by_what_they_jump_to() {
    check(&build(Program::Plt, Variant::NoFramePointers), 8);
    check(&build(Program::Shares, Variant::Stripped), 8);
    check(&build(Program::Exceptions, Variant::NoFramePointers), 8);
    check(&crate::common::c_library(), 8);
}

#[test]
fn entries_for_branch_tracking_are_named_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plt");
    let source = Program::Plt.source();
    let include = source.parent().unwrap().with_file_name("common");
    let mut gcc = Command::new("gcc");
    gcc.args(["-O2", "-D_GNU_SOURCE", "-fcf-protection", "-Wl,-z,ibtplt", "-Wl,-z,lazy", "-I"]).arg(include);
    assert!(gcc.arg(source).arg("-o").arg(&path).status().unwrap().success());
    let mut symbolizer = Symbolizer::new(Options { debug_folders: Vec::new(), ..Options::default() });
    let entries = entries(&path);
    let vaddrs: Vec<_> = entries.iter().map(|(start, _)| start + 4).collect();
    let names = symbolizer.file(&path, &vaddrs);
    let found: Vec<_> = names.iter().flatten().map(|name| name.system_name.clone()).collect();
    let expected: Vec<_> = entries.iter().map(|(_, name)| name.clone()).collect();
    assert!(found.contains(&"ffsl@plt".to_owned()) && found == expected, "{found:?} {expected:?}");
}

#[test]
fn the_entry_that_all_others_go_on_with_is_the_loaders() {
    let path = build(Program::Plt, Variant::NoFramePointers);
    let (first, name) = entries(&path).into_iter().min().unwrap();
    assert!(name.ends_with("@plt"));
    let mut symbolizer = Symbolizer::new(Options { debug_folders: Vec::new(), ..Options::default() });
    let names = symbolizer.file(&path, &[first - 17, first - 16, first - 1]);
    let names: Vec<Vec<_>> =
        names.iter().map(|names| names.iter().map(|name| &*name.function).collect()).collect();
    assert_eq!(names[1..], [["_dl_runtime_resolve@plt"], ["_dl_runtime_resolve@plt"]]);
    // What lies before the table does not have its name.
    assert!(!names[0].iter().any(|name| name.ends_with("@plt")), "{names:?}");
}
