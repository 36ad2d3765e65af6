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
    let block = (offset >> BLOCK_SHIFT) as u32;
    let entry = tables.index(base.index.wrapping_add(block))?;
    if entry == 0 {
        return None;
    }
    let mut slot = entry & 0xff;
    if entry & entry::UNIFORM == 0 {
        let row = find_row(tables, base.words, entry, offset)?;
        slot = row >> 8;
    }
    let number = base.rules.wrapping_add(slot);
    let word = tables.rule(number)?;
    if word == 0 {
        return None;
    }
    let mut second = 0;
    if Rule::is_wide(word) {
        let word = tables.rule(number.wrapping_add(1))?;
        second = word;
    }
    Some(Rule::unpack(word, second))
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
mod tests {
    extern crate std;
    use std::{vec, vec::Vec};

    use super::*;

    struct Arrays {
        index: Vec<u32>,
        words: Vec<u64>,
        rules: Vec<u64>,
    }

    impl Tables for Arrays {
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

    const AT_BASE: TableBase = TableBase { index: 3, words: 5, rules: 2 };

    /// A rule that shows which slot it is.
    fn numbered(slot: usize) -> Rule {
        Rule::register(7, 8 * (slot as i32 + 1))
    }

    /// One block of these rows (address in block, slot), as the format is described, away from the arrays' start.
    fn block(rows: &[(u16, u8)]) -> Arrays {
        let mut words = vec![0xdead; AT_BASE.words as usize];
        let counts: Vec<u64> =
            (0..8).map(|k| rows.iter().filter(|row| row.0 >> CHUNK_SHIFT <= k).count() as u64).collect();
        let is_wide = rows.len() > NARROW_ROWS;
        let (bits, per_word) = if is_wide { (16, 4) } else { (8, 8) };
        let pack = |values: &[u64], bits: usize| {
            values.iter().enumerate().fold(0, |word, (k, value)| word | value << (bits * k))
        };
        words.extend(counts.chunks(per_word).map(|counts| pack(counts, bits)));
        let rows: Vec<u64> =
            rows.iter().map(|&(at, slot)| u64::from(slot) << 8 | u64::from(at & 0xff)).collect();
        words.extend(rows.chunks(4).map(|rows| pack(rows, 16)));
        let mut rules = vec![0xdead; AT_BASE.rules as usize];
        rules.extend((0..256).map(|slot| numbered(slot).pack().0));
        let entry = 1 | if is_wide { entry::WIDE } else { 0 };
        Arrays { index: vec![0xdead, 0xdead, 0xdead, entry], words, rules }
    }

    /// What the rows themselves say.
    fn last_at(rows: &[(u16, u8)], offset: u64) -> Rule {
        numbered(rows.iter().rfind(|row| u64::from(row.0) <= offset).unwrap().1.into())
    }

    #[test]
    fn every_address_finds_the_last_row_at_or_before_it() {
        let even: Vec<(u16, u8)> = (0..2048).step_by(9).map(|at| (at, (at % 251) as u8)).collect();
        let crowded: Vec<(u16, u8)> = (0..2048).map(|at| (at, (at / 8) as u8)).collect();
        let in_one_chunk: Vec<(u16, u8)> =
            [0].into_iter().chain(1024..1280).map(|at| (at, at as u8)).collect();
        let at_limit: Vec<(u16, u8)> = (0..255).map(|at| (at * 8, at as u8)).collect();
        let cases: [&[(u16, u8)]; 9] = [
            &[(0, 7)],
            &[(0, 1), (1, 2), (255, 3)],
            &[(0, 1), (256, 2)],
            &[(0, 1), (2047, 255)],
            &[(0, 1), (511, 2), (512, 3), (513, 4), (514, 5), (515, 6), (516, 7)],
            &even,
            &crowded,
            &in_one_chunk,
            &at_limit,
        ];
        for rows in cases {
            let arrays = block(rows);
            for offset in 0..BLOCK_BYTES {
                let found = find(&arrays, AT_BASE, offset);
                assert_eq!(found, Some(last_at(rows, offset)), "{offset:#x} of {} rows", rows.len());
            }
        }
    }

    #[test]
    fn a_uniform_block_has_its_rule_everywhere_and_an_unknown_one_none() {
        let mut arrays = block(&[(0, 1)]);
        arrays.index.extend([entry::UNIFORM | 200, 0]);
        for offset in [0, 1, BLOCK_BYTES - 1] {
            assert_eq!(find(&arrays, AT_BASE, BLOCK_BYTES + offset), Some(numbered(200)));
            assert_eq!(find(&arrays, AT_BASE, 2 * BLOCK_BYTES + offset), None);
            assert_eq!(find(&arrays, AT_BASE, 3 * BLOCK_BYTES + offset), None, "beyond the index");
        }
    }

    #[test]
    fn a_wide_rule_is_read_with_its_second_word() {
        let far = Rule { rbp: crate::rule::Rbp::AtCfa, rbp_operand: -70_000, ..Rule::register(7, 80_000) };
        let mut arrays = block(&[(0, 1), (16, 2), (32, 4)]);
        let at = AT_BASE.rules as usize + 2;
        (arrays.rules[at], arrays.rules[at + 1]) = far.pack();
        assert_eq!(find(&arrays, AT_BASE, 16), Some(far));
        assert_eq!(find(&arrays, AT_BASE, 32), Some(numbered(4)));
        arrays.rules.truncate(at + 1);
        assert_eq!(find(&arrays, AT_BASE, 16), None, "its second word is missing");
    }

    #[test]
    fn a_row_that_says_that_nothing_is_known_gives_nothing() {
        let mut arrays = block(&[(0, 1), (16, 2)]);
        arrays.rules[AT_BASE.rules as usize + 2] = 0;
        assert_eq!(find(&arrays, AT_BASE, 15), Some(numbered(1)));
        assert_eq!(find(&arrays, AT_BASE, 16), None);
    }

    #[test]
    fn arrays_of_anything_neither_panic_nor_loop() {
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        for _ in 0..20_000 {
            let mut some = |count: usize| (0..count).map(|_| next() & next()).collect::<Vec<u64>>();
            let arrays = Arrays {
                index: some(4).iter().map(|&word| (word & 0xc000_003f) as u32).collect(),
                words: some(40),
                rules: some(300),
            };
            let (base, offset) = (some(3), some(1)[0]);
            let base = TableBase {
                index: base[0] as u32 & 3,
                words: base[1] as u32 & 31,
                rules: base[2] as u32 & 63,
            };
            find(&arrays, base, offset & 0x1fff);
            find(&arrays, base, offset);
        }
    }
}
