//! Unwind tables as they lie in maps: for each process its code mappings, sorted by address, and behind them one space
//! of 64-bit words that holds the tables of all files (`profiler_unwind::table` says how a table is laid out).
//!
//! Readers take no lock. Whatever a process's entry leads to is written before the entry, and freed only after every
//! reader that could have seen the old entry is done.

/// Sets of processes with tables: those that use CPU time, not those that wait. A process is in the set that its id's
/// low bits are the number of.
pub const PROCESS_SETS: u32 = 4_096;
/// Processes of a set, two to a cache line. With a thousand processes the chance that one set has more is below 1 %.
pub const SET_PROCESSES: usize = 4;
/// Code mappings of all processes together: a thousand processes of sixty libraries each.
pub const MAPPINGS_MAX: u32 = 65_536;

/// Words in an element of a slab: one system call writes that many.
pub const PAGE_WORDS: usize = 64;
/// Elements of a slab.
pub const SLAB_PAGES: usize = 2048;
/// Words of a slab: 1 MiB, so that little lies idle.
pub const SLAB_WORDS: u32 = (PAGE_WORDS * SLAB_PAGES) as u32;
/// Slabs at most: 256 MiB.
pub const SLABS_MAX: usize = 256;

/// Bits of [`KEPT_RULES`].
pub const KEPT_RULES_BITS: u32 = 11;
/// Rules kept beside their place.
pub const KEPT_RULES: usize = 1 << KEPT_RULES_BITS;

/// A process's entry: which of the code mappings are its own.
///
/// The kernel copies what the agent writes in no particular order. So an entry is taken out (its id zeroed) before it
/// is changed, and its id is put in last; a reader takes it if id and generation are the same before and after.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessTables {
    /// The process's id; 0: no entry.
    pub pid: u32,
    /// Of this entry and no other, of whatever process: what was found by it holds as long as it is there.
    pub generation: u32,
    /// The process this is about; another of the same id is not.
    pub start_time_ns: u64,
    /// Its exec; after another one the addresses mean something else.
    pub exec_id: u32,
    /// First mapping.
    pub first: u32,
    /// Number of mappings.
    pub count: u32,
    /// Zero.
    pub reserved: u32,
}

impl ProcessTables {
    /// The same as plain words, as it lies in the map.
    pub const fn to_words(self) -> [u64; 4] {
        [
            pair(self.pid, self.generation),
            self.start_time_ns,
            pair(self.exec_id, self.first),
            pair(self.count, self.reserved),
        ]
    }
}

/// Two numbers side by side in memory: the target is little-endian, as is every machine this runs on.
const fn pair(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

/// What is known of a mapping's code.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeKind {
    /// Its table is not there yet.
    Pending = 0,
    /// Its table is there.
    Table = 1,
    /// It has no unwind information: code made at run time, or a file without any. Frame pointers are followed.
    NoInformation = 2,
}

/// One code mapping. Its start is in an array of its own, so that a bisection touches few cache lines.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CodeMapping {
    /// First address after it.
    pub end: u64,
    /// A [`CodeKind`].
    pub kind: u32,
    /// Number of the index entry of its first block; two entries to a word.
    pub index: u32,
    /// Added to the numbers in index entries.
    pub words: u32,
    /// First word of its rules.
    pub rules: u32,
}

impl CodeMapping {
    /// The same as plain words, as it lies in the map.
    pub const fn to_words(self) -> [u64; 3] {
        [self.end, pair(self.kind, self.index), pair(self.words, self.rules)]
    }
}

const _: () = assert!(size_of::<ProcessTables>() == 32 && size_of::<CodeMapping>() == 24);
