//! The ends of stacks on the stacks of running programs: at the outer end of the chain of frame pointers lies a
//! return address that the package proves to be a root.

use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::common::symbol;
use crate::stack_ends::Judge;
use symbols::elf::FileFacts;
use symbols::stack_ends::RootKind;
use testprogs::{Program, Variant, build};

/// A running program, killed at the end of the test.
struct Running(Child);

impl Running {
    fn start(path: &Path, arguments: &[&str]) -> Self {
        Self(Command::new(path).args(arguments).spawn().unwrap())
    }

    fn mappings(&self) -> Vec<Mapping> {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.0.id())).unwrap();
        maps.lines().map(Mapping::parse).collect()
    }

    /// The last 64 KiB of every writable mapping outside files, as words: among them the stacks, from their roots.
    fn stacks(&self) -> Vec<(u64, Vec<u64>)> {
        let memory = File::open(format!("/proc/{}/mem", self.0.id())).unwrap();
        let mappings = self.mappings().into_iter().filter(|mapping| {
            mapping.permissions == "rw-p" && (mapping.path.is_empty() || mapping.path == "[stack]")
        });
        let read = |mapping: Mapping| {
            let start = mapping.range.start.max(mapping.range.end.saturating_sub(64 * 1024));
            let mut bytes = vec![0; (mapping.range.end - start) as usize];
            memory.read_exact_at(&mut bytes, start).ok()?;
            let words = bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap()));
            Some((start, words.collect()))
        };
        mappings.filter_map(read).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

struct Mapping {
    range: Range<u64>,
    permissions: String,
    offset: u64,
    path: String,
}

impl Mapping {
    fn parse(line: &str) -> Self {
        let fields: Vec<_> = line.split_whitespace().collect();
        let hex = |text: &str| u64::from_str_radix(text, 16).unwrap();
        let (start, end) = fields[0].split_once('-').unwrap();
        Self {
            range: hex(start)..hex(end),
            permissions: fields[1].to_owned(),
            offset: hex(fields[2]),
            path: fields.get(5).copied().unwrap_or_default().to_owned(),
        }
    }
}

/// Whether a stack holds a frame whose return address lies in `inner` and whose frame pointer leads to a frame
/// whose return address is a root of this kind, by the files that the program has mapped.
fn ends_in_a_root(program: &Running, path: &Path, inner: &Range<u64>, kind: RootKind) -> bool {
    let code: Vec<_> = program
        .mappings()
        .into_iter()
        .filter(|mapping| mapping.permissions == "r-xp" && mapping.path.starts_with('/'))
        .map(|mapping| {
            (FileFacts::open(Path::new(&mapping.path)).unwrap(), Judge::of(Path::new(&mapping.path)), mapping)
        })
        .collect();
    let vaddr_of = |address: u64| {
        let (facts, judge, mapping) = code.iter().find(|(_, _, mapping)| mapping.range.contains(&address))?;
        Some((facts.vaddr_of(address - mapping.range.start + mapping.offset)?, judge, &mapping.path))
    };
    let is_in_inner = |address: u64| {
        vaddr_of(address).is_some_and(|(vaddr, _, file)| Path::new(file) == path && inner.contains(&vaddr))
    };
    let is_root =
        |address| vaddr_of(address).and_then(|(vaddr, judge, _)| judge.root_at(vaddr)) == Some(kind);
    program.stacks().iter().any(|(start, words)| {
        words.windows(2).filter(|frame| is_in_inner(frame[1])).any(|frame| {
            let outer = frame[0].checked_sub(*start).map(|distance| distance as usize / 8);
            outer.and_then(|outer| words.get(outer + 1)).is_some_and(|&address| is_root(address))
        })
    })
}

fn check(program: Program, variant: Variant, arguments: &[&str], inner: &str, kind: RootKind) {
    let path = build(program, variant);
    let inner = symbol(&path, inner);
    let running = Running::start(&path, arguments);
    let start = Instant::now();
    while !ends_in_a_root(&running, &path, &inner, kind) {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "no stack of {program:?} {variant:?} ends in a root"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_caller_of_main_ends_the_stack_of_a_process() {
    check(Program::Shares, Variant::FramePointers, &["60"], "main", RootKind::Process);
    check(Program::Shares, Variant::Static, &["60"], "main", RootKind::Process);
}

#[test]
fn the_caller_of_a_threads_function_ends_the_stack_of_a_thread() {
    check(Program::Threads, Variant::FramePointers, &["1", "60"], "worker", RootKind::Thread);
    check(Program::Threads, Variant::Static, &["1", "60"], "worker", RootKind::Thread);
}
