//! Proving the end of a user stack.
//!
//! A walk ends somewhere in the code that started the process or the thread. That code belongs to the C library
//! (or the Go runtime), keeps no frame pointer, and is nameless where the library is stripped. So the
//! end is proven by what lies at the outermost return address:
//!
//! 1. Its function has a name that only the code that starts a process or a thread has.
//! 2. Its code ends the process or the thread when the call returns (see `code`).
//! 3. Its call frame information says that there is no return address.
//! 4. Its function is the one the kernel jumps to when it starts the process: the dynamic linker's, or one that marks the outermost
//!    frame, and calls this on its way ([`calls_from_entry`]).
//! 5. In a program that holds its C library and has no names: its code passes the result of a call by pointer on, and the entry leads to that
//!    code, or what it is passed to keeps it in the thread's description. So musl ends processes and threads.
//! 6. No call stands before it, and its code ends in one that is not to come back: somebody put it below the first frame of a stack made by
//!    hand. So end `makecontext`'s stacks, boost's contexts and PHP's fibers.
//!
//! The code of 2 was checked in glibc 2.31, 2.36 and 2.41 and in musl 1.2.3, where it holds in just the places that
//! call `main` or a thread's function, and in 150 executables and libraries of a Debian machine, where it holds nowhere.
//! That of 5 was checked in musl 1.2.3, and in the 1,078 executables and libraries of such a machine that are no larger than 6 MB: it holds nowhere.
//!
//! A stack whose outermost return address is none of these is incomplete: never guess.

mod code;

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use profiler_unwind::ends_in_call;

use crate::elf::image::Image;
use crate::elf::symbol_table::{self, Function};
use crate::elf::{ElfError, FileFacts, Headers};
use crate::frame_pointer_rules::{CfaRule, UnwindInfo};
use crate::unwind_rows::{calls_from_entry, entry_comes_by, stops_after_call};
use code::{
    AFTER, BEFORE, CALL_OR_JUMP, ENTRY, FUNCTION, LOAD_ADDRESS, Landmarks, Site,
    keeps_argument_in_thread_descriptor, targets,
};

/// What starts at the outermost frame of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RootKind {
    /// The process: whatever returns here ends it.
    Process,
    /// A thread: whatever returns here ends it.
    Thread,
    /// A goroutine.
    Goroutine,
    /// A coroutine on a stack that the program made.
    Coroutine,
    /// A function that has no return address, by its call frame information.
    NoReturnAddress,
}

/// Functions whose names are reserved for the C library, the dynamic linker or the Go runtime.
const RESERVED: [(&str, RootKind); 10] = [
    ("_start", RootKind::Process),
    ("__libc_start_main", RootKind::Process),
    ("__libc_start_call_main", RootKind::Process),
    ("__libc_start_main_impl", RootKind::Process),
    ("_dl_start_user", RootKind::Process),
    ("__clone", RootKind::Thread),
    ("__clone3", RootKind::Thread),
    ("runtime.goexit", RootKind::Goroutine),
    ("runtime.rt0_go", RootKind::Process),
    ("runtime.mstart", RootKind::Thread),
];
/// Functions of the C library that any program may have under the same name: they count only in a file that is
/// the C library, or holds it.
const IN_C_LIBRARY: [(&str, RootKind); 4] = [
    ("start_thread", RootKind::Thread),
    ("thread_start", RootKind::Thread),
    ("clone", RootKind::Thread),
    ("clone3", RootKind::Thread),
];
const LANDMARKS: [&str; 4] = ["exit", "pthread_exit", "__call_tls_dtors", "pthread_create"];

/// Where stacks end in one file.
#[derive(Clone, Debug)]
pub struct StackEnds {
    facts: FileFacts,
    named: Box<[(Range<u64>, RootKind)]>,
    landmarks: Landmarks,
}

impl StackEnds {
    /// Reads from an open file what is needed to judge return addresses in it; `path` only serves error messages.
    pub fn read(file: &File, path: &Path) -> Result<Self, ElfError> {
        let image = Image::new(file, path)?;
        let facts = FileFacts::read(file, path)?;
        let functions = match Headers::read(&image)?.sections(&image) {
            Ok(sections) => symbol_table::functions(&image, &sections, &wanted()),
            Err(error) => {
                tracing::debug!(%error, "no symbols to tell the ends of stacks by");
                Vec::new()
            }
        };
        Ok(Self { facts, named: named(&functions), landmarks: landmarks(&functions) })
    }

    /// Whether this instruction is the one that the program starts at, or one that it comes by before it goes elsewhere for good:
    /// nothing can have called that code. `file` is the file this was read from.
    pub fn starts_at(&self, file: &File, vaddr: u64) -> bool {
        let entry = self.facts.entry();
        vaddr == entry && vaddr != 0
            || self.is_near_entry(vaddr) && entry_comes_by(entry, &self.code(file, entry, ENTRY), vaddr)
    }

    /// What starts where the outermost frame's return address points; none if nothing proves that it is the
    /// outermost. `file` is the file this was read from, `unwind` its call frame information.
    pub fn root_at(&self, file: &File, unwind: &UnwindInfo, return_address: u64) -> Option<RootKind> {
        let call = return_address.checked_sub(1)?;
        let named = self.named.iter().find(|(addresses, _)| addresses.contains(&call));
        named
            .map(|&(_, kind)| kind)
            .or_else(|| self.root_by_code(file, return_address))
            .or_else(|| (unwind.rule_at(call)? == CfaRule::Undefined).then_some(RootKind::NoReturnAddress))
    }

    fn root_by_code(&self, file: &File, vaddr: u64) -> Option<RootKind> {
        let start = vaddr.checked_sub(BEFORE as u64)?;
        let code = self.code(file, start, BEFORE + AFTER);
        let (before, after) = code.split_at_checked(BEFORE)?;
        let site = Site { before, after, vaddr };
        if site.is_first_call_from(self.facts.entry()) || self.is_called_from_entry(file, vaddr) {
            return Some(RootKind::Process);
        }
        let is_called = before.first_chunk().is_some_and(|word| ends_in_call(u64::from_le_bytes(*word)));
        if !is_called && stops_after_call(vaddr, after) {
            return Some(RootKind::Coroutine);
        }
        let root = site.root(&self.landmarks).or_else(|| {
            let vaddr = site.jump_target()?;
            let after = self.code(file, vaddr, AFTER);
            Site { before, after: &after, vaddr }.root(&self.landmarks)
        });
        root.or_else(|| self.root_without_names(file, &site))
    }

    /// Whether the code at the program's entry makes the call that returns there.
    fn is_called_from_entry(&self, file: &File, vaddr: u64) -> bool {
        let entry = self.facts.entry();
        self.is_near_entry(vaddr) && calls_from_entry(entry, &self.code(file, entry, ENTRY)).contains(&vaddr)
    }

    fn is_near_entry(&self, vaddr: u64) -> bool {
        let entry = self.facts.entry();
        entry != 0 && vaddr.checked_sub(entry).is_some_and(|distance| distance <= ENTRY as u64)
    }

    /// The same in a file that names none of the functions that end anything: what the site passes on and where it lies.
    fn root_without_names(&self, file: &File, site: &Site<'_>) -> Option<RootKind> {
        if self.landmarks != Landmarks::default() {
            return None;
        }
        if site.passes_int_on() && self.is_reached_from_the_entry(file, site.vaddr) {
            return Some(RootKind::Process);
        }
        let exit = self.code(file, site.passes_pointer_to()?, FUNCTION);
        keeps_argument_in_thread_descriptor(&exit).then_some(RootKind::Thread)
    }

    /// Whether an address lies in the function that calls `main`: in musl the entry calls a function, which jumps to another one, which
    /// jumps to a third one by its address, or is itself the one. What the entry leads to nobody else calls.
    fn is_reached_from_the_entry(&self, file: &File, vaddr: u64) -> bool {
        let lies_in = |start: u64| (start..start.saturating_add(2 * FUNCTION as u64)).contains(&vaddr);
        let from = |start: u64, opcodes| {
            let code = self.code(file, start, FUNCTION / 2);
            targets(&code, start, opcodes).find(|target| self.facts.file_range_of(*target).is_some())
        };
        let entry = Some(self.facts.entry()).filter(|entry| *entry != 0);
        let second =
            entry.and_then(|entry| from(entry, CALL_OR_JUMP)).and_then(|first| from(first, CALL_OR_JUMP));
        second.is_some_and(|second| lies_in(second) || from(second, LOAD_ADDRESS).is_some_and(lies_in))
    }

    /// The file's code from `vaddr` on: fewer bytes at the end of a segment, none outside any or where the file
    /// cannot be read.
    fn code(&self, file: &File, vaddr: u64, size: usize) -> Vec<u8> {
        let Some((offset, rest)) = self.facts.file_range_of(vaddr) else { return Vec::new() };
        let size = rest.min(size as u64);
        let mut bytes = vec![0; size as usize];
        match file.read_exact_at(&mut bytes, offset) {
            Ok(()) => bytes,
            Err(_) => Vec::new(),
        }
    }
}

fn wanted() -> Vec<&'static str> {
    let roots = RESERVED.iter().chain(&IN_C_LIBRARY).map(|&(name, _)| name);
    roots.chain(LANDMARKS).collect()
}

fn named(functions: &[Function]) -> Box<[(Range<u64>, RootKind)]> {
    let holds_c_library = functions.iter().any(|function| function.name == "pthread_create");
    let in_c_library = IN_C_LIBRARY.iter().filter(|_| holds_c_library);
    let roots: Vec<_> = RESERVED.iter().chain(in_c_library).collect();
    functions
        .iter()
        .filter_map(|function| {
            let &&(_, kind) = roots.iter().find(|(name, _)| *name == function.name)?;
            Some((function.addresses.clone(), kind))
        })
        .collect()
}

fn landmarks(functions: &[Function]) -> Landmarks {
    let starts = |name: &str| {
        let of_name = functions.iter().filter(|function| function.name == name);
        of_name.map(|function| function.addresses.start).collect()
    };
    Landmarks {
        exit: starts("exit"),
        pthread_exit: starts("pthread_exit"),
        call_tls_dtors: starts("__call_tls_dtors"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(name: &'static str) -> Function {
        Function { name, addresses: 0x10..0x20 }
    }

    #[test]
    fn names_that_any_program_may_use_count_only_where_the_c_library_is() {
        let own = [function("start_thread"), function("clone")];
        assert!(named(&own).is_empty());
        let in_c_library = [function("start_thread"), function("pthread_create")];
        assert_eq!(*named(&in_c_library), [(0x10..0x20, RootKind::Thread)]);
    }

    #[test]
    fn reserved_names_count_everywhere() {
        assert_eq!(*named(&[function("runtime.goexit")]), [(0x10..0x20, RootKind::Goroutine)]);
        assert_eq!(*named(&[function("_start"), function("exit")]), [(0x10..0x20, RootKind::Process)]);
    }

    #[test]
    fn landmarks_are_the_starts_of_all_functions_of_the_name() {
        let functions =
            [function("exit"), Function { name: "exit", addresses: 0x30..0x40 }, function("_start")];
        assert_eq!(landmarks(&functions), Landmarks { exit: vec![0x10, 0x30], ..Landmarks::default() });
    }
}
