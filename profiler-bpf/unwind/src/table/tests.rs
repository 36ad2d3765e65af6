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
    let rows: Vec<u64> = rows.iter().map(|&(at, slot)| u64::from(slot) << 8 | u64::from(at & 0xff)).collect();
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
    let in_one_chunk: Vec<(u16, u8)> = [0].into_iter().chain(1024..1280).map(|at| (at, at as u8)).collect();
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
        let base =
            TableBase { index: base[0] as u32 & 3, words: base[1] as u32 & 31, rules: base[2] as u32 & 63 };
        find(&arrays, base, offset & 0x1fff);
        find(&arrays, base, offset);
    }
}
