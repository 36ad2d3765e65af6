//! What the tests know of files by other means than the package under test.

use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};

use object::{Object, ObjectSection, ObjectSymbol};
use tempfile::TempDir;

/// Address range of the function of this (mangled) name.
pub(crate) fn symbol(path: &Path, name: &str) -> Range<u64> {
    symbols_of(path, |found| found == name)
        .pop()
        .unwrap_or_else(|| panic!("{} has no {name}", path.display()))
}

/// Address ranges of the functions whose (mangled) names pass.
pub(crate) fn symbols_of(path: &Path, passes: impl Fn(&str) -> bool) -> Vec<Range<u64>> {
    let bytes = fs::read(path).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    file.symbols()
        .chain(file.dynamic_symbols())
        .filter(|symbol| symbol.is_definition() && symbol.name().is_ok_and(&passes))
        .map(|symbol| symbol.address()..symbol.address() + symbol.size())
        .collect()
}

/// Where a section lies in the file.
pub(crate) fn section_in_file(bytes: &[u8], name: &str) -> Range<usize> {
    let file = object::File::parse(bytes).unwrap();
    let (offset, size) = file.section_by_name(name).unwrap().file_range().unwrap();
    offset as usize..(offset + size) as usize
}

/// The C library that this process uses.
pub(crate) fn c_library() -> PathBuf {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let paths = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    paths.into_iter().find(|path| path.ends_with("/libc.so.6")).unwrap().into()
}

/// The code of a file, by ELF virtual address.
pub(crate) fn code(path: &Path, vaddrs: Range<u64>) -> Vec<u8> {
    let facts = symbols::elf::FileFacts::open(path).unwrap();
    let (offset, _) = facts.file_range_of(vaddrs.start).unwrap();
    let size = (vaddrs.end - vaddrs.start) as usize;
    fs::read(path).unwrap()[offset as usize..][..size].to_vec()
}

/// A file of these bytes; it lives as long as the folder.
pub(crate) fn file_of(bytes: &[u8]) -> (TempDir, PathBuf, File) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, bytes).unwrap();
    let file = File::open(&path).unwrap();
    (folder, path, file)
}

/// The same pseudo-random numbers in every run (xorshift64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// `bytes` with some of those in `range` changed.
    pub(crate) fn corrupted(&mut self, bytes: &[u8], range: Range<usize>, changes: usize) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..changes {
            bytes[range.start + self.below(range.len())] ^= (self.next() as u8).max(1);
        }
        bytes
    }
}
