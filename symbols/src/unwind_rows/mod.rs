//! Unwind tables: the call frame information of a file, compiled to rows that the kernel program can look up.
//!
//! .eh_frame (and .debug_frame, for functions that the other does not describe) is evaluated by gimli, entry by
//! entry in the order of addresses, and encoded as it comes: no list of rows is ever in memory. Functions of Go that
//! neither describes have their rows from Go's own table (`go_functions`), and code that nothing describes from itself
//! (`followed`). What is there at the peak are the
//! sections' bytes (at most 128 MiB each), 24 bytes an entry (of at least 20 in the section), and the table (at most
//! 64 MiB): 60 MB for a binary of 5 million rows.
//!
//! Rows say what the call frame information says, with these differences, all of them counted in [`Stats`]:
//! * what a [`Rule`] cannot express is `Cfa::Unsupported`, or `Rbp::Unsupported`;
//! * alignment padding between two functions belongs to the first: nothing is executed there;
//! * of entries that overlap each describes the code up to the next one's start;
//! * a broken entry describes the code up to where it breaks.
//!
//! The table's format: [`profiler_unwind::table`]. It can be stored: [`UnwindTable::to_bytes`].

mod blocks;
mod bytes;
mod entries;
mod evaluate;
mod followed;
pub(crate) mod go_functions;
mod rows;
mod rules;
mod sections;
pub mod text;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use profiler_unwind::rule::{Cfa, Rbp, Reason};
use profiler_unwind::table::{self, Turn};
use profiler_unwind::{Rule, TableBase, Tables};

use crate::elf::ElfError;
use blocks::Encoder;
pub use bytes::TableBytesError;
pub use followed::nobody_called::leaves_stack;
pub(crate) use followed::nobody_called::{calls_from_entry, entry_comes_by, stops_after_call};
pub use followed::way_out::{INSTRUCTION_BYTES, RunningCode, WaysOut, ways_out};
pub use sections::{CallFrameInfo, Fingerprint};

/// A stretch of code with one palette of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its first address: the start of a block, so up to 2 KiB before the segment it is in.
    pub start_vaddr: u64,
    /// The address after its last.
    pub end_vaddr: u64,
    /// Its first entry in [`UnwindTable::index`].
    pub first_index: u32,
    /// Its palette's first word in [`UnwindTable::rules`].
    pub first_rule: u32,
}

/// The unwind table of one file. Addresses are ELF virtual addresses, numbers are relative to the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnwindTable {
    runs: Vec<Run>,
    index: Vec<u32>,
    words: Vec<u64>,
    rules: Vec<u64>,
    stats: Stats,
}

/// What went into a table, and what came out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Rows: addresses at which the rule changes.
    pub rows: u64,
    /// Of these, those that begin a gap: from there on nothing is known.
    pub gap_rows: u64,
    /// Different rules.
    pub rules: u64,
    /// Bytes of index, words and rules, as they lie in the kernel's maps.
    pub bytes: u64,
    /// Bytes of .eh_frame; of files without section headers with what follows in its segment.
    pub eh_frame_bytes: u64,
    /// Bytes of .debug_frame, unpacked.
    pub debug_frame_bytes: u64,
    /// Entries that were evaluated.
    pub entries: u64,
    /// Of these, those of .debug_frame.
    pub entries_of_debug_frame: u64,
    /// Of these, those of Go's own table of functions.
    pub entries_of_go: u64,
    /// Of these, stretches of code that has no call frame information, and was followed itself.
    pub entries_of_code: u64,
    /// Entries of no code: linkers leave those of functions that they dropped.
    pub entries_outside_code: u64,
    /// Entries that are broken or out of proportion; what they say before they break counts.
    pub broken_entries: u64,
    /// Entries that reach beyond the next one's start.
    pub overlapping_entries: u64,
    /// Gaps that are alignment padding and got no row.
    pub paddings: u64,
    /// Rows that are known but not expressible, by [`Reason`].
    pub unsupported_rows: [u64; Reason::ALL.len()],
    /// Rows that are expressible, but for where the caller's rbp is.
    pub rows_without_rbp: u64,
}

/// Why a file has no table. Every variant names the file.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum UnwindRowsError {
    #[error(transparent)]
    Elf(#[from] ElfError),
    #[error("{} has more than the {limit} bytes of code that a table covers", path.display())]
    TooMuchCode { path: PathBuf, limit: u64 },
    #[error("the unwind table of {} would be of more than {limit} bytes", path.display())]
    TooLarge { path: PathBuf, limit: usize },
    #[error("call frame information of {} takes far longer to evaluate than its size explains", path.display())]
    TooCostly { path: PathBuf },
    #[error("cannot hold the image {} in memory: {source}", path.display())]
    Memory { path: PathBuf, source: std::io::Error },
}

impl UnwindTable {
    /// Compiles an open ELF file; `path` only serves error messages. A file without call frame information has a
    /// table without runs.
    pub fn read(file: &File, path: &Path) -> Result<Self, UnwindRowsError> {
        Self::compile(&CallFrameInfo::read(file, path)?, path)
    }

    /// Compiles what was read of a file; `path` only serves error messages.
    pub fn compile(info: &CallFrameInfo, path: &Path) -> Result<Self, UnwindRowsError> {
        let mut stats = Stats {
            eh_frame_bytes: info.eh_frame.len() as u64,
            debug_frame_bytes: info.debug_frame.len() as u64,
            ..Stats::default()
        };
        let mut encoder = Encoder::new();
        evaluate::encode(info, path, &mut encoder, &mut stats)?;
        for (rule, rows) in encoder.rows_by_rule().filter(|(_, rows)| *rows > 0) {
            stats.count(rule, rows);
        }
        stats.bytes = encoder.size() as u64;
        let Encoder { runs, mut index, mut words, palettes: mut rules, .. } = encoder;
        index.shrink_to_fit();
        words.shrink_to_fit();
        rules.shrink_to_fit();
        Ok(Self { runs, index, words, rules, stats })
    }

    /// Compiles an ELF image out of memory, such as a process's vDSO; `name` only serves error messages.
    pub fn read_image(image: &[u8], name: &Path) -> Result<Self, UnwindRowsError> {
        // As a file in memory, so that it goes the one way that all files go.
        let memory = |source| UnwindRowsError::Memory { path: name.to_owned(), source };
        let file = rustix::fs::memfd_create("image", rustix::fs::MemfdFlags::CLOEXEC)
            .map_err(|errno| memory(errno.into()))?;
        let mut file = File::from(file);
        file.write_all(image).map_err(memory)?;
        Self::read(&file, name)
    }

    /// The stretches of code it covers, ascending, none over another.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The index, as it goes into the kernel's map.
    pub fn index(&self) -> &[u32] {
        &self.index
    }

    /// The words of its blocks, as they go into the kernel's map.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// The palettes, as they go into the kernel's map.
    pub fn rules(&self) -> &[u64] {
        &self.rules
    }

    /// What went in and came out.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The rule at this ELF virtual address, found as the kernel finds it; none where nothing is known.
    ///
    /// For a frame that made a call pass the return address - 1.
    pub fn rule_at(&self, vaddr: u64) -> Option<Rule> {
        let after = self.runs.partition_point(|run| run.start_vaddr <= vaddr);
        let run = self.runs.get(after.checked_sub(1)?)?;
        if vaddr >= run.end_vaddr {
            return None;
        }
        let base = TableBase { index: run.first_index, words: 0, rules: run.first_rule };
        table::find(self, base, vaddr - run.start_vaddr)
    }
}

impl Tables for UnwindTable {
    fn index(&self, number: u32) -> Option<u32> {
        self.index.get(number as usize).copied()
    }

    fn word(&self, number: u32) -> Option<u64> {
        self.words.get(number as usize).copied()
    }

    fn rule(&self, number: u32) -> Option<u64> {
        self.rules.get(number as usize).copied()
    }

    fn repeat<B: Turn<Self>>(&self, turns: u32, body: &mut B) {
        for _ in 0..turns {
            if !body.turn(self) {
                return;
            }
        }
    }
}

impl Stats {
    fn count(&mut self, rule: Rule, rows: u64) {
        self.rules += 1;
        self.rows += rows;
        if rule.cfa == Cfa::None {
            self.gap_rows += rows;
        }
        if let Some(reason) = rule.reason() {
            self.unsupported_rows[reason as usize] += rows;
        }
        if rule.rbp == Rbp::Unsupported {
            self.rows_without_rbp += rows;
        }
    }
}
