//! Unwind tables against gimli's evaluation of the same call frame information, over the system's own files.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{c_library, file_of};
use crate::unwind_agreement::{Agreement, compare};
use crate::unwind_oracle::Oracle;
use profiler_unwind::rule::Reason;
use symbols::unwind_rows::{CallFrameInfo, UnwindTable};
use testprogs::{Program, Variant, build};

pub(crate) fn table(path: &Path) -> UnwindTable {
    UnwindTable::read(&File::open(path).unwrap(), path).unwrap()
}

/// The table of what is described, without code that was followed.
pub(crate) fn described(path: &Path) -> UnwindTable {
    let info = CallFrameInfo::read(&File::open(path).unwrap(), path).unwrap();
    UnwindTable::compile(&info.only_described(), path).unwrap()
}

/// The same of a file of these bytes.
pub(crate) fn described_by(bytes: &[u8]) -> UnwindTable {
    let (_folder, path, _) = file_of(bytes);
    described(&path)
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The dynamic linker that this process uses.
pub(crate) fn dynamic_linker() -> PathBuf {
    fs::canonicalize("/lib64/ld-linux-x86-64.so.2").unwrap()
}

/// The compiler's own libraries, which are large.
fn rust_libraries() -> Vec<PathBuf> {
    let folder = Path::new(&output("rustc", &["--print", "sysroot"])).join("lib");
    let libraries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let libraries: Vec<PathBuf> = libraries
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.starts_with("librustc_driver") || name.starts_with("libLLVM.so")
        })
        .collect();
    assert!(!libraries.is_empty());
    libraries
}

/// Programs and libraries that are large and common; those that are installed.
fn system_files() -> Vec<PathBuf> {
    let names = [
        "/usr/lib/x86_64-linux-gnu/libstdc++.so.6",
        "/usr/lib/x86_64-linux-gnu/libcrypto.so.3",
        "/usr/bin/python3",
        "/usr/bin/perl",
        "/usr/bin/bash",
        "/usr/bin/redis-server",
        "/usr/bin/node",
    ];
    let compiler = PathBuf::from(output("cc", &["-print-prog-name=cc1"]));
    let found =
        names.iter().map(PathBuf::from).chain([compiler]).filter_map(|path| fs::canonicalize(path).ok());
    let files: Vec<PathBuf> = [c_library(), dynamic_linker()].into_iter().chain(found).collect();
    assert!(files.len() > 4, "{files:?}");
    files
}

/// Compares a file, at not much more than some thousands of rows.
fn compare_file(path: &Path) -> Agreement {
    let table = described(path);
    let stats = table.stats();
    let stride = stats.rows as usize / 4_000 + 1;
    let agreement = compare(&table, &Oracle::of(path), stride);
    let unsupported: u64 = agreement.unsupported.values().sum();
    assert!(agreement.same > 2_000.min(stats.rows) && unsupported < 100, "{}: {agreement:?}", path.display());
    assert_eq!((stats.broken_entries, agreement.overlapping), (0, 0), "{}: {stats:?}", path.display());
    agreement
}

#[test]
fn every_row_of_the_c_library_and_the_dynamic_linker_is_what_gimli_says_there() {
    for path in [c_library(), dynamic_linker()] {
        let table = described(&path);
        let agreement = compare(&table, &Oracle::of(&path), 1);
        // longjmp and setcontext jump to stacks of their own.
        let rows = table.stats().unsupported_rows;
        assert_eq!(rows.iter().sum::<u64>(), rows[Reason::StackPointer as usize], "{rows:?}");
        assert!(rows[Reason::StackPointer as usize] < 8, "{rows:?}");
        assert_eq!((agreement.overlapping, agreement.without_rbp), (0, 0), "{}", path.display());
        assert!(agreement.same > 2 * table.stats().rows, "{agreement:?} of {:?}", table.stats());
    }
}

#[test]
fn rows_of_the_systems_programs_are_what_gimli_says_there() {
    for path in system_files() {
        compare_file(&path);
    }
}

#[test]
fn rows_of_the_rust_compiler_are_what_gimli_says_there() {
    let is_compiler = |path: &PathBuf| path.to_string_lossy().contains("librustc_driver");
    compare_file(&rust_libraries().into_iter().find(is_compiler).unwrap());
}

#[test]
fn rows_of_the_test_programs_are_what_gimli_says_there() {
    for variant in [Variant::FramePointers, Variant::NoFramePointers, Variant::Static, Variant::Stripped] {
        let path = build(Program::Shares, variant);
        let agreement = compare_file(&path);
        assert!(agreement.same > 50, "{variant:?}: {agreement:?}");
    }
}

#[test]
fn rows_of_the_vdso_are_what_gimli_says_there() {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let line = maps.lines().find(|line| line.ends_with("[vdso]")).unwrap();
    let (start, rest) = line.split_once('-').unwrap();
    let start = u64::from_str_radix(start, 16).unwrap();
    let end = u64::from_str_radix(rest.split_once(' ').unwrap().0, 16).unwrap();
    let mut image = vec![0; (end - start) as usize];
    File::open("/proc/self/mem").unwrap().read_exact_at(&mut image, start).unwrap();
    let table = described_by(&image);
    assert!(table.stats().rows > 10, "{:?}", table.stats());
    let agreement = compare(&table, &Oracle::of_bytes(&image), 1);
    assert!(agreement.same > 50, "{agreement:?}");
}

#[test]
fn tables_take_less_than_3_bytes_a_row() {
    for path in system_files().into_iter().chain(rust_libraries()) {
        let table = table(&path);
        let stats = table.stats();
        let counted = 4 * table.index().len() + 8 * (table.words().len() + table.rules().len());
        assert_eq!(stats.bytes, counted as u64);
        let per_row = stats.bytes as f64 / stats.rows as f64;
        println!("{}: {} rows of {per_row:.2} bytes", path.display(), stats.rows);
        assert!(per_row <= 2.95, "{}: {per_row} bytes, {stats:?}", path.display());
    }
}
