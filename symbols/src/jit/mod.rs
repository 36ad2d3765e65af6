//! Names of code made at run time, as runtimes write them: perf maps and jitdump files.
//!
//! Both are written by the process that is watched, so they may hold anything. Addresses are used again and again: a
//! name holds for a span of time, and [`CodeNames`] is asked for an address at a time.

mod jit_dump;
mod names;
mod perf_map;
mod places;

pub use jit_dump::{DumpReader, NotADump};
pub use names::{CodeName, CodeNames};
pub use perf_map::MapReader;

/// A piece of code and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// Address of its first byte in its process.
    pub start: u64,
    /// Its size, in bytes. Not 0.
    pub size: u64,
    /// What the runtime calls it.
    pub name: CodeName,
}

/// Of one piece of code; whole heaps of code of the largest virtual machines are of this size.
const CODE_AT_MOST: u64 = 1 << 30;
/// User addresses end here.
const ADDRESSES_END: u64 = 1 << 56;
/// Bytes of a name that are kept. Names with all their parameters reach some hundred.
const NAME_AT_MOST: usize = 1024;

/// Whether code can lie there.
fn is_plausible(start: u64, size: u64) -> bool {
    (1..=CODE_AT_MOST).contains(&size) && start < ADDRESSES_END
}

/// The text, cut to what is kept.
fn cut(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(NAME_AT_MOST)]);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}
