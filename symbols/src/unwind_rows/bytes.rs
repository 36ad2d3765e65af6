//! Tables in files of our own, so that a restart need not compile them again.
//!
//! All numbers are little-endian. A magic number, the version and a checksum (CRC-32) of all that follows, of four
//! bytes each; the counts of runs, index entries, words and rules, and the [`Stats`], of eight bytes each; then these
//! arrays, in this order, without gaps. What is read back is checked to the last row: a table that was accepted
//! leads no look-up out of itself, and every rule in it is one.

use profiler_unwind::Rule;
use profiler_unwind::rule::Reason;
use profiler_unwind::table::{BLOCK_BYTES, CHUNK_SHIFT, CHUNKS, PALETTE_WORDS, entry};

use super::{Run, Stats, UnwindTable};

const MAGIC: [u8; 4] = *b"VUNW";
/// Changes with the format of tables and rules, and whenever the same file gives another table.
const VERSION: u32 = 4;
const STATS: usize = 15 + Reason::ALL.len();
/// Magic number, version, checksum.
const CHECKED_FROM: usize = 12;
const ARRAYS_FROM: usize = CHECKED_FROM + 8 * (4 + STATS);
const RUN_BYTES: usize = 24;

/// Why bytes are no table. They do not know their file: who read them names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum TableBytesError {
    #[error("not a stored unwind table")]
    Foreign,
    #[error("a stored unwind table of version {found}, not {VERSION}")]
    Version { found: u32 },
    #[error("a stored unwind table of another length than it says")]
    Length,
    #[error("a stored unwind table whose checksum is wrong")]
    Checksum,
    #[error("a stored unwind table with wrong {what}")]
    Inconsistent { what: &'static str },
}

impl UnwindTable {
    /// The table as bytes to store.
    pub fn to_bytes(&self) -> Vec<u8> {
        let counts = [self.runs.len(), self.index.len(), self.words.len(), self.rules.len()];
        let mut bytes = Vec::with_capacity(ARRAYS_FROM + self.runs.len() * RUN_BYTES + self.size());
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(counts.iter().flat_map(|&count| (count as u64).to_le_bytes()));
        bytes.extend(self.stats.to_numbers().iter().flat_map(|number| number.to_le_bytes()));
        for run in &self.runs {
            bytes.extend(run.start_vaddr.to_le_bytes());
            bytes.extend(run.end_vaddr.to_le_bytes());
            bytes.extend(run.first_index.to_le_bytes());
            bytes.extend(run.first_rule.to_le_bytes());
        }
        bytes.extend(self.index.iter().flat_map(|entry| entry.to_le_bytes()));
        bytes.extend(self.words.iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend(self.rules.iter().flat_map(|word| word.to_le_bytes()));
        let checksum = crc32fast::hash(&bytes[CHECKED_FROM..]);
        bytes[CHECKED_FROM - 4..CHECKED_FROM].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// The table that was stored as these bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TableBytesError> {
        let mut head = Numbers(bytes);
        if head.take() != Some(MAGIC) {
            return Err(TableBytesError::Foreign);
        }
        let (version, checksum) = (head.u32()?, head.u32()?);
        if version != VERSION {
            return Err(TableBytesError::Version { found: version });
        }
        let mut rest = Numbers(head.0);
        let mut counts = [0; 4];
        for count in &mut counts {
            *count = rest.u64()?;
        }
        let mut stats = [0; STATS];
        for number in &mut stats {
            *number = rest.u64()?;
        }
        let sizes = [RUN_BYTES as u128, 4, 8, 8];
        let size: u128 = counts.iter().zip(sizes).map(|(&count, size)| u128::from(count) * size).sum();
        if rest.0.len() as u128 != size {
            return Err(TableBytesError::Length);
        }
        if crc32fast::hash(head.0) != checksum {
            return Err(TableBytesError::Checksum);
        }
        let [runs, index, words, rules] = counts;
        let table = Self {
            runs: rest.array(runs, Numbers::run)?,
            index: rest.array(index, Numbers::u32)?,
            words: rest.array(words, Numbers::u64)?,
            rules: rest.array(rules, Numbers::u64)?,
            stats: Stats::from_numbers(stats),
        };
        match table.first_error() {
            None => Ok(table),
            Some(what) => Err(TableBytesError::Inconsistent { what }),
        }
    }

    /// Bytes of index, words and rules.
    fn size(&self) -> usize {
        size_of_val(&*self.index) + size_of_val(&*self.words) + size_of_val(&*self.rules)
    }

    /// The first thing in which the table is not as the encoder makes it.
    fn first_error(&self) -> Option<&'static str> {
        let is_too_large = self.index.len().max(self.words.len()) > entry::WORD as usize;
        if is_too_large || self.stats.bytes != self.size() as u64 {
            return Some("sizes");
        }
        let mut at = (0, 0, 0); // what the runs so far cover: code, index, rules
        for (number, run) in self.runs.iter().enumerate() {
            let next = self.runs.get(number + 1);
            let blocks = run.end_vaddr.saturating_sub(run.start_vaddr).div_ceil(BLOCK_BYTES);
            let index_end = next.map_or(self.index.len(), |next| next.first_index as usize);
            let rules_end = next.map_or(self.rules.len(), |next| next.first_rule as usize);
            let starts_right = run.start_vaddr >= at.0
                && run.start_vaddr.is_multiple_of(BLOCK_BYTES)
                && (run.first_index as usize, run.first_rule as usize) == (at.1, at.2);
            if !starts_right || blocks == 0 {
                return Some("runs");
            }
            let Some(entries) = self.index.get(at.1..index_end).filter(|index| index.len() as u64 == blocks)
            else {
                return Some("index");
            };
            let Some(palette) = self.rules.get(at.2..rules_end).and_then(slots) else { return Some("rules") };
            let sizes = (0..blocks).map(|block| run.end_vaddr - run.start_vaddr - block * BLOCK_BYTES);
            if !entries.iter().zip(sizes).all(|(&entry, size)| self.is_sound(entry, size, &palette)) {
                return Some("rows");
            }
            at = (run.end_vaddr, index_end, rules_end);
        }
        ((at.1, at.2) != (self.index.len(), self.rules.len())).then_some("sizes")
    }

    /// Whether an index entry and its block's rows are well-formed, stand in the block's `size` bytes of code and name
    /// rules of the palette only.
    fn is_sound(&self, entry: u32, size: u64, palette: &[bool; PALETTE_WORDS]) -> bool {
        if entry & entry::UNIFORM != 0 {
            return entry & !0xff == entry::UNIFORM && palette[(entry & 0xff) as usize];
        }
        entry == 0 || self.rows_are_sound(entry, size, palette).unwrap_or(false)
    }

    fn rows_are_sound(&self, entry: u32, size: u64, palette: &[bool; PALETTE_WORDS]) -> Option<bool> {
        let first = (entry & entry::WORD).checked_sub(1)? as usize;
        let (headers, bits, mask) = if entry & entry::WIDE == 0 { (1, 8, 0xff) } else { (2, 16, 0xffff) };
        let header = self.words.get(first..first + headers)?;
        let per_word = 64 / bits;
        let mut row = 0;
        for chunk in 0..CHUNKS as usize {
            let up_to = (header[chunk / per_word] >> (bits * (chunk % per_word)) & mask) as usize;
            let mut low = None; // address of the row before, in the chunk
            if up_to < row || (chunk == 0 && up_to == 0) {
                return Some(false);
            }
            while row < up_to {
                let word = self.words.get(first + headers + row / 4)? >> (16 * (row % 4));
                let (at, slot) = ((word & 0xff) as u8, (word >> 8 & 0xff) as usize);
                let starts_block = row > 0 || at == 0;
                let is_inside = ((chunk as u64) << CHUNK_SHIFT) + u64::from(at) < size;
                if low.is_some_and(|low| low >= at) || !palette[slot] || !starts_block || !is_inside {
                    return Some(false);
                }
                low = Some(at);
                row += 1;
            }
        }
        Some(true)
    }
}

/// At which slots of a palette rules begin; none if a word is no rule's.
fn slots(palette: &[u64]) -> Option<[bool; PALETTE_WORDS]> {
    let mut slots = [false; PALETTE_WORDS];
    let mut words = palette.iter();
    let mut at = 0;
    while let Some(&word) = words.next() {
        *slots.get_mut(at)? = true;
        let is_wide = Rule::is_wide(word);
        let second = if is_wide { *words.next()? } else { 0 };
        if !Rule::is_packed(word, second) {
            return None;
        }
        at += 1 + usize::from(is_wide);
    }
    (at <= PALETTE_WORDS).then_some(slots)
}

/// Numbers from the front of bytes.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*number)
    }

    /// So many of them, which are there: the length was checked. Exactly as much memory as they take, since tables are kept.
    fn array<T>(
        &mut self,
        count: u64,
        mut next: impl FnMut(&mut Self) -> Result<T, TableBytesError>,
    ) -> Result<Vec<T>, TableBytesError> {
        let mut array = Vec::with_capacity(count as usize);
        for _ in 0..count {
            array.push(next(self)?);
        }
        Ok(array)
    }

    fn u32(&mut self) -> Result<u32, TableBytesError> {
        self.take().map(u32::from_le_bytes).ok_or(TableBytesError::Length)
    }

    fn u64(&mut self) -> Result<u64, TableBytesError> {
        self.take().map(u64::from_le_bytes).ok_or(TableBytesError::Length)
    }

    fn run(&mut self) -> Result<Run, TableBytesError> {
        Ok(Run {
            start_vaddr: self.u64()?,
            end_vaddr: self.u64()?,
            first_index: self.u32()?,
            first_rule: self.u32()?,
        })
    }
}

impl Stats {
    fn to_numbers(self) -> [u64; STATS] {
        let mut numbers = [0; STATS];
        let (fixed, unsupported) = numbers.split_at_mut(STATS - Reason::ALL.len());
        fixed.copy_from_slice(&[
            self.rows,
            self.gap_rows,
            self.rules,
            self.bytes,
            self.eh_frame_bytes,
            self.debug_frame_bytes,
            self.entries,
            self.entries_of_debug_frame,
            self.entries_of_go,
            self.entries_of_code,
            self.entries_outside_code,
            self.broken_entries,
            self.overlapping_entries,
            self.paddings,
            self.rows_without_rbp,
        ]);
        unsupported.copy_from_slice(&self.unsupported_rows);
        numbers
    }

    fn from_numbers(numbers: [u64; STATS]) -> Self {
        let [
            rows,
            gap_rows,
            rules,
            bytes,
            eh_frame_bytes,
            debug_frame_bytes,
            entries,
            entries_of_debug_frame,
            entries_of_go,
            entries_of_code,
            entries_outside_code,
            broken_entries,
            overlapping_entries,
            paddings,
            rows_without_rbp,
            unsupported_rows @ ..,
        ] = numbers;
        Self {
            rows,
            gap_rows,
            rules,
            bytes,
            eh_frame_bytes,
            debug_frame_bytes,
            entries,
            entries_of_debug_frame,
            entries_of_go,
            entries_of_code,
            entries_outside_code,
            broken_entries,
            overlapping_entries,
            paddings,
            unsupported_rows,
            rows_without_rbp,
        }
    }
}
