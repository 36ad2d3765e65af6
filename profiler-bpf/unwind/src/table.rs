//! The table of a file, and the look-up of the rule at an address.
//!
//! A table covers runs of code in blocks of 2 KiB, each of 8 chunks of 256 bytes. It consists of three arrays:
//! * the index: one u32 a block, see [`entry`];
//! * words: the blocks, one after the other. A block is a header (byte k = rows in chunks 0 to k) and its rows,
//!   four to a word, of u16: low byte = address in the chunk, high byte = the rule's slot in the palette. The
//!   first row stands at the block's first address, so a block is understood without its neighbours. A block of
//!   more than 255 rows has a header of two words, u16 instead of bytes;
//! * rules: packed as in [`Rule`]. The at most 256 words from a run's first one on are its palette.
//!
//! So an address costs an index word, a block's header, the word or two that hold its chunk's rows, and a rule:
//! mostly three or four cache lines, without a search.
//!
//! Many tables lie in one set of arrays; the numbers in a table are relative to its own parts, and
//! [`TableBase`] says where these begin. A table can thus be moved, and stored.
//!
//! The code is shaped for the BPF verifier: one `?` after the other (a tuple of options makes LLVM spill what is
//! undefined in it), and no arithmetic right shifts of comparison results.

use crate::rule::Rule;

/// Bits of an offset within a block.
pub const BLOCK_SHIFT: u32 = 11;
/// Bytes of code in a block.
pub const BLOCK_BYTES: u64 = 1 << BLOCK_SHIFT;
/// Bits of an offset within a chunk.
pub const CHUNK_SHIFT: u32 = 8;
/// Chunks of a block.
pub const CHUNKS: u32 = 1 << (BLOCK_SHIFT - CHUNK_SHIFT);
/// Words of rules that a row can name: its slot is a byte.
pub const PALETTE_WORDS: usize = 256;
/// Rows that a block with a header of one word can have.
pub const NARROW_ROWS: usize = 255;

/// The forms of an index entry. Zero: nothing is known in the block.
pub mod entry {
    /// The header has two words.
    pub const WIDE: u32 = 1 << 31;
    /// One rule holds in the whole block: its slot is in the low byte, and there are no words.
    pub const UNIFORM: u32 = 1 << 30;
    /// The other bits: 1 + the number of the block's first word, so that no block has the entry zero.
    pub const WORD: u32 = UNIFORM - 1;
}

/// Where the parts of a table begin in the arrays. Of a run: its own first index entry and rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableBase {
    /// Index entry of the block at the run's start.
    pub index: u32,
    /// The table's first word.
    pub words: u32,
    /// First word of the run's palette.
    pub rules: u32,
}

/// The arrays. A number that lies outside gives none.
pub trait Tables {
    /// An entry of the index.
    fn index(&self, number: u32) -> Option<u32>;
    /// A word of a block.
    fn word(&self, number: u32) -> Option<u64>;
    /// A word of a rule.
    fn rule(&self, number: u32) -> Option<u64>;
    /// Takes turns until one says to stop, or `turns` were taken: `bpf_loop` in the kernel, a plain loop elsewhere.
    fn repeat<B: Turn<Self>>(&self, turns: u32, body: &mut B);
}

/// The body of a loop.
pub trait Turn<T: ?Sized> {
    /// One turn; false ends the loop.
    fn turn(&mut self, tables: &T) -> bool;
}

/// The rule at `offset` bytes from the start of a run; none where nothing is known, also if that is said by a row.
///
/// The offset has to lie within the run: another one finds some other code's rule, or none.
#[inline(always)]
pub fn find<T: Tables + ?Sized>(tables: &T, base: TableBase, offset: u64) -> Option<Rule> {
    let [word, second] = find_packed(tables, base, offset)?;
    if word == 0 { None } else { Some(Rule::unpack(word, second)) }
}

/// The same as packed words: zeros where nothing is known, none where a number lies outside of the arrays.
#[inline(always)]
pub fn find_packed<T: Tables + ?Sized>(tables: &T, base: TableBase, offset: u64) -> Option<[u64; 2]> {
    let block = (offset >> BLOCK_SHIFT) as u32;
    let entry = tables.index(base.index.wrapping_add(block))?;
    if entry == 0 {
        return Some([0, 0]);
    }
    let mut slot = entry & 0xff;
    if entry & entry::UNIFORM == 0 {
        let row = find_row(tables, base.words, entry, offset)?;
        slot = row >> 8;
    }
    let number = base.rules.wrapping_add(slot);
    let word = tables.rule(number)?;
    let mut second = 0;
    if Rule::is_wide(word) {
        let word = tables.rule(number.wrapping_add(1))?;
        second = word;
    }
    Some([word, second])
}

/// The last row at or before `offset` in a block.
#[inline(always)]
fn find_row<T: Tables + ?Sized>(tables: &T, words: u32, entry: u32, offset: u64) -> Option<u32> {
    let mut first = words.wrapping_add(entry & entry::WORD).wrapping_sub(1);
    let header = tables.word(first)?;
    first = first.wrapping_add(1);
    let chunk = (offset >> CHUNK_SHIFT) as u32 & (CHUNKS - 1);
    // Rows in the chunks before this one, and with this one.
    let (before, with);
    if entry & entry::WIDE == 0 {
        before = (header << 8) >> (8 * chunk) & 0xff;
        with = header >> (8 * chunk) & 0xff;
    } else {
        let more = tables.word(first)?;
        first = first.wrapping_add(1);
        let shift = 16 * (chunk & 3);
        if chunk < 4 {
            before = (header << 16) >> shift & 0xffff;
            with = header >> shift & 0xffff;
        } else {
            before = (more << 16 | header >> 48) >> shift & 0xffff;
            with = more >> shift & 0xffff;
        }
    }
    let (before, with) = (before as u32, with as u32);
    let mut scan = Scan {
        word: first.wrapping_add(before >> 2),
        lane: before & 3,
        left: with.saturating_sub(before),
        low: offset as u32 & 0xff,
        row: NO_ROW,
    };
    tables.repeat(SCAN_TURNS, &mut scan);
    if scan.row != NO_ROW {
        return Some(scan.row);
    }
    // The chunk begins under the last row before it. A block's first chunk has a row at its first address.
    let last = before.wrapping_sub(1);
    let word = tables.word(first.wrapping_add(last >> 2))?;
    Some(lane_of(word, last & 3) as u32 & 0xffff)
}

/// No u16.
const NO_ROW: u32 = u32::MAX;
/// A chunk has at most 256 rows, four to a word, and may begin within a word.
const SCAN_TURNS: u32 = 65;

/// Goes through the words of a chunk for its last row at or before an address.
struct Scan {
    word: u32,
    /// The chunk's first row within `word`.
    lane: u32,
    /// Rows of the chunk that were not looked at.
    left: u32,
    /// The address within the chunk.
    low: u32,
    row: u32,
}

impl<T: Tables + ?Sized> Turn<T> for Scan {
    #[inline(always)]
    fn turn(&mut self, tables: &T) -> bool {
        if self.left == 0 {
            return false;
        }
        let Some(word) = tables.word(self.word) else { return false };
        let rows = lane_of(word, self.lane);
        let mut here = 4 - (self.lane & 3);
        if here > self.left {
            here = self.left;
        }
        let reached = rows_up_to(rows, self.low, here);
        if reached == 0 {
            return false;
        }
        self.row = lane_of(rows, reached - 1) as u32 & 0xffff;
        self.left -= here;
        self.word = self.word.wrapping_add(1);
        self.lane = 0;
        reached == here
    }
}

/// The rows from this one on, the first lowest.
#[inline(always)]
fn lane_of(word: u64, lane: u32) -> u64 {
    word >> (16 * (lane & 3))
}

/// How many of the first `here` (1 to 4) rows stand at or before `low`. All four are compared at once: in each
/// lane, 256 + low - address keeps bit 8 if low is not less.
#[inline(always)]
fn rows_up_to(rows: u64, low: u32, here: u32) -> u32 {
    const EACH: u64 = 0x0001_0001_0001_0001;
    let not_less = (low as u64 * EACH + (EACH << 8)).wrapping_sub(rows & (0xff * EACH)) & (EACH << 8);
    let considered = not_less & (u64::MAX >> (64 - 16 * (here & 7)));
    ((considered >> 8).wrapping_mul(EACH) >> 48) as u32
}

#[cfg(test)]
mod tests;
