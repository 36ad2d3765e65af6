//! Names of programs that were stripped, and have names all the same.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::symbol;
use symbols::symbolizer::{Name, Options, Symbolizer};
use testprogs::{Program, Variant, build};

fn names(path: &Path, vaddrs: &[u64]) -> Vec<Vec<Name>> {
    Symbolizer::new(Options { debug_folders: Vec::new(), ..Options::default() }).file(path, vaddrs)
}

fn run(command: &mut Command) {
    let status = command.status();
    assert!(status.is_ok_and(|status| status.success()), "{command:?}");
}

#[test]
fn a_stripped_go_program_has_names_files_and_lines() {
    let whole = build(Program::Goroutines, Variant::FramePointers);
    let folder = tempfile::tempdir().unwrap();
    let stripped = folder.path().join("stripped");
    run(Command::new("strip").arg("--strip-all").arg("-o").args([&stripped, &whole]));
    let text = fs::read_to_string(Program::Goroutines.source()).unwrap();
    for function in ["main.inner", "main.outer", "main.main", "runtime.main", "runtime.goexit.abi0"] {
        let range = symbol(&whole, function);
        let addresses = [range.start, range.start + (range.end - range.start) / 2, range.end - 1];
        let (by_symbols, by_go) = (names(&whole, &addresses), names(&stripped, &addresses));
        for (known, found) in by_symbols.iter().zip(&by_go) {
            let [found] = &found[..] else { panic!("{function}: {found:?}") };
            assert_eq!(found.function, function.trim_end_matches(".abi0"));
            let known = known.last().unwrap();
            assert_eq!(
                Path::new(&found.file).file_name(),
                Path::new(&known.file).file_name(),
                "{function}: {found:?}, by debug info {known:?}"
            );
            assert!(found.line > 0, "{found:?}");
        }
    }
    let outer = names(&stripped, &[symbol(&whole, "main.outer").start]).remove(0).remove(0);
    let start = text.lines().position(|line| line.starts_with("func outer")).unwrap() as u32 + 1;
    assert_eq!((outer.line, outer.file.ends_with("goroutines.go")), (start, true), "{outer:?}");
    // Where no function lies there is no name.
    assert_eq!(names(&stripped, &[1, u64::MAX]), [Vec::new(), Vec::new()]);
}

#[test]
fn a_broken_table_of_go_functions_does_no_harm() {
    let whole = build(Program::Goroutines, Variant::FramePointers);
    let folder = tempfile::tempdir().unwrap();
    let stripped = folder.path().join("stripped");
    run(Command::new("strip").arg("--strip-all").arg("-o").args([&stripped, &whole]));
    let good = fs::read(&stripped).unwrap();
    let section = crate::common::section_in_file(&good, ".gopclntab");
    let inner = symbol(&whole, "main.inner").start;
    for at in (0..72).step_by(4).chain((72..section.len() - 4).step_by(section.len() / 97)) {
        for value in [0u32, 0x7fff_ffff, u32::MAX] {
            let mut bytes = good.clone();
            bytes[section.start + at..][..4].copy_from_slice(&value.to_le_bytes());
            let (_folder, path, _file) = crate::common::file_of(&bytes);
            names(&path, &[inner, inner + 1, 0, u64::MAX]);
        }
    }
}

/// The program stripped, with the symbols of its own functions packed into `.gnu_debugdata`, as distributions do it.
fn with_mini_debug_info(folder: &Path, packed: impl FnOnce(Vec<u8>) -> Vec<u8>) -> PathBuf {
    let whole = build(Program::Shares, Variant::NoFramePointers);
    let (symbols, packed_path) = (folder.join("symbols"), folder.join("symbols.xz"));
    let (stripped, program) = (folder.join("stripped"), folder.join("program"));
    run(Command::new("objcopy").arg("--strip-debug").args([&whole, &symbols]));
    let xz = Command::new("xz").args(["--stdout", "-9"]).arg(&symbols).output().expect("xz");
    assert!(xz.status.success());
    fs::write(&packed_path, packed(xz.stdout)).unwrap();
    run(Command::new("strip").arg("--strip-all").arg("-o").args([&stripped, &whole]));
    let add = format!(".gnu_debugdata={}", packed_path.display());
    run(Command::new("objcopy").args(["--add-section", &add]).args([&stripped, &program]));
    program
}

#[test]
fn functions_in_mini_debug_info_have_names() {
    let folder = tempfile::tempdir().unwrap();
    let program = with_mini_debug_info(folder.path(), |packed| packed);
    let whole = build(Program::Shares, Variant::NoFramePointers);
    let addresses = ["burn_seventy", "burn_twenty", "burn_ten"].map(|name| symbol(&whole, name).start);
    let functions: Vec<_> =
        names(&program, &addresses).into_iter().flatten().map(|name| name.function).collect();
    assert_eq!(functions, ["burn_seventy", "burn_twenty", "burn_ten"]);
    let stripped = folder.path().join("stripped");
    assert!(names(&stripped, &addresses).iter().all(Vec::is_empty), "without it there are none");
}

#[test]
fn broken_and_endless_mini_debug_info_is_left_alone() {
    let whole = build(Program::Shares, Variant::NoFramePointers);
    let address = symbol(&whole, "burn_seventy").start;
    let folder = tempfile::tempdir().unwrap();
    let cut = with_mini_debug_info(folder.path(), |packed| packed[..packed.len() / 2].to_vec());
    assert_eq!(names(&cut, &[address]), [Vec::new()]);
    let other = with_mini_debug_info(folder.path(), |_| b"no xz at all".to_vec());
    assert_eq!(names(&other, &[address]), [Vec::new()]);
    // 200 MB of zeros in 30 kB.
    let zeros = folder.path().join("zeros");
    fs::File::create(&zeros).unwrap().set_len(200 << 20).unwrap();
    let xz = Command::new("xz").args(["--stdout", "-1"]).arg(&zeros).output().unwrap();
    let endless = with_mini_debug_info(folder.path(), |_| xz.stdout);
    assert_eq!(names(&endless, &[address]), [Vec::new()]);
}
