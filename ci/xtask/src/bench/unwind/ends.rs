//! Where whole stacks end: the functions that nothing calls.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use object::{Object as _, ObjectSegment as _, ObjectSymbol as _};

/// Functions at which a user stack may end, by name.
const NAMES: [&str; 8] =
    ["_start", "_dl_start_user", "clone", "__clone", "clone3", "__clone3", "__GI___clone", "start_thread"];

/// True if a whole stack may end in this function.
pub(super) fn is_name(function: &str) -> bool {
    // perf shows a symbol's version, too: `__libc_start_main@@GLIBC_2.34`.
    let name = function.split('@').next().unwrap_or_default();
    NAMES.contains(&name) || name.starts_with("__libc_start_")
}

/// Bytes of the code at a file's entry point: glibc's `_start` has 34 to 47, the dynamic linker's some more.
const ENTRY_BYTES: u64 = 0x60;

/// The ends in files, which most files have no names for: `_start` is where the entry point is, and the names of libc's
/// functions are in its separate debug file (package libc6-dbg).
#[derive(Default)]
pub(super) struct Ends {
    files: HashMap<PathBuf, Vec<Range>>,
}

/// Addresses, as ELF virtual addresses or as offsets in the file; the end belongs to it, since a return address may
/// stand behind a last call.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Range {
    first: u64,
    last: u64,
}

impl Ends {
    /// True if the address, virtual or an offset in the file, is in one of the file's ends.
    pub(super) fn contain(&mut self, file: &Path, address: u64) -> bool {
        if !self.files.contains_key(file) {
            self.files.insert(file.to_owned(), ends_of(file));
        }
        self.files[file].iter().any(|range| (range.first..=range.last).contains(&address))
    }
}

/// The ends of a file; none of what is no ELF file or cannot be read.
fn ends_of(path: &Path) -> Vec<Range> {
    let Ok(data) = fs::read(path) else { return Vec::new() };
    let Ok(file) = object::File::parse(&*data) else { return Vec::new() };
    let mut ranges = Vec::new();
    if file.entry() != 0 {
        ranges.push(Range { first: file.entry(), last: file.entry() + ENTRY_BYTES });
    }
    ranges.extend(named(&file));
    if let Some(debug) = debug_file(&file).and_then(|path| fs::read(path).ok())
        && let Ok(debug) = object::File::parse(&*debug)
    {
        ranges.extend(named(&debug));
    }
    let offsets: Vec<Range> = ranges.iter().filter_map(|range| in_file(&file, *range)).collect();
    ranges.extend(offsets);
    ranges
}

fn named(file: &object::File<'_>) -> Vec<Range> {
    let symbols = file.symbols().chain(file.dynamic_symbols());
    let ends = symbols.filter(|symbol| symbol.is_definition() && symbol.name().is_ok_and(is_name));
    ends.map(|symbol| Range { first: symbol.address(), last: symbol.address() + symbol.size() }).collect()
}

/// The range as offsets in the file, by the segment it lies in.
fn in_file(file: &object::File<'_>, range: Range) -> Option<Range> {
    let segment = file.segments().find(|s| (s.address()..s.address() + s.size()).contains(&range.first))?;
    let moved = |address: u64| (address - segment.address()).checked_add(segment.file_range().0);
    Some(Range { first: moved(range.first)?, last: moved(range.last)? })
}

/// Where distributions put separate debug information, by build ID.
fn debug_file(file: &object::File<'_>) -> Option<PathBuf> {
    let id = file.build_id().ok().flatten()?;
    let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    let (first, rest) = hex.split_at_checked(2)?;
    Some(Path::new("/usr/lib/debug/.build-id").join(first).join(format!("{rest}.debug")))
}

#[cfg(test)]
mod tests {
    use testprogs::{Program, Variant};

    use super::*;

    #[test]
    fn names_are_those_that_nothing_calls() {
        for name in ["_start", "clone3", "__libc_start_call_main", "__libc_start_main@@GLIBC_2.34"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["main", "start", "clone_process", "[unknown]", ""] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn a_stripped_program_ends_at_its_entry_point_and_nowhere_else() {
        let path = testprogs::build(Program::Shares, Variant::Stripped);
        let data = fs::read(&path).unwrap();
        let entry = object::File::parse(&*data).unwrap().entry();
        let mut ends = Ends::default();
        assert!(ends.contain(&path, entry) && ends.contain(&path, entry + 0x21));
        assert!(!ends.contain(&path, entry - 1) && !ends.contain(&path, entry + 0x100));
        assert!(!ends.contain(Path::new("/no/such/file"), entry));
    }
}
