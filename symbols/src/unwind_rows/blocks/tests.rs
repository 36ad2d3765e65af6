use profiler_unwind::rule::{Rbp, ReturnAddress};

use super::super::{Stats, UnwindTable};
use super::*;

/// The same pseudo-random numbers in every run (xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    /// One of `kinds` rules; some take two words, some say that nothing is known.
    fn rule(&mut self, kinds: u64) -> Rule {
        let number = self.below(kinds) as i32;
        let usual = Rule::register(7, 8 * number);
        match number % 16 {
            0 => Rule::NONE,
            1 => Rule { rbp: Rbp::AtCfa, rbp_operand: -40_000 - number, ..usual },
            2 => Rule {
                return_address: ReturnAddress::InRegister,
                return_address_operand: number % 16,
                ..usual
            },
            _ => usual,
        }
    }

    /// How far the next row is: mostly near, at times in another block, rarely across a hole.
    fn distance(&mut self, dense: u64) -> u64 {
        match self.below(400) {
            0 => self.below(200 * BLOCK_BYTES),
            1..10 => self.below(3 * BLOCK_BYTES),
            _ => 1 + self.below(dense),
        }
    }
}

/// Stretches of code and their rows.
type Code = Vec<(Range<u64>, Vec<(u64, Rule)>)>;

fn code(random: &mut Random, kinds: u64, dense: u64) -> Code {
    let mut at = random.below(5000);
    (0..1 + random.below(3))
        .map(|_| {
            let start =
                (at + random.below(300 * BLOCK_BYTES)).next_multiple_of(BLOCK_BYTES) + random.below(100);
            at = start;
            let rows = (0..random.below(2000))
                .map(|_| {
                    let row = (at, random.rule(kinds));
                    at += random.distance(dense);
                    row
                })
                .collect();
            (start..at + 1 + random.below(3000), rows)
        })
        .collect()
}

fn encode(code: &Code) -> UnwindTable {
    let mut encoder = Encoder::new();
    for (range, rows) in code {
        encoder.begin(range.clone());
        for &(vaddr, rule) in rows {
            encoder.row(vaddr, rule);
        }
        encoder.end();
    }
    let stats = Stats { bytes: encoder.size() as u64, ..Stats::default() };
    let Encoder { runs, index, words, palettes: rules, .. } = encoder;
    UnwindTable { runs, index, words, rules, stats }
}

/// The rule by the rows themselves.
fn expected(code: &Code, vaddr: u64) -> Option<Rule> {
    let (_, rows) = code.iter().find(|(range, _)| range.contains(&vaddr))?;
    let (_, rule) = rows.iter().rfind(|row| row.0 <= vaddr)?;
    (*rule != Rule::NONE).then_some(*rule)
}

#[test]
fn every_row_that_went_in_is_found_and_listed() {
    let mut random = Random(0xb10c);
    for round in 0..40 {
        let (kinds, dense) = [(20, 40), (180, 9), (180, 200), (3000, 60)][round % 4];
        let code = code(&mut random, kinds, dense);
        let table = encode(&code);
        for vaddr in code.iter().flat_map(|(range, rows)| rows.iter().map(|row| row.0).chain([range.end])) {
            for vaddr in [vaddr.saturating_sub(1), vaddr, vaddr + 1, vaddr + BLOCK_BYTES] {
                assert_eq!(table.rule_at(vaddr), expected(&code, vaddr), "round {round} at {vaddr:#x}");
            }
        }
        assert_eq!(UnwindTable::from_bytes(&table.to_bytes()).as_ref(), Ok(&table), "round {round}");
        for (vaddr, rule) in table.rows() {
            assert_eq!(
                table.rule_at(vaddr),
                (rule != Rule::NONE).then_some(rule),
                "round {round} at {vaddr:#x}"
            );
        }
        let listed = table.rows().filter(|(_, rule)| *rule != Rule::NONE).count();
        let mut last = Rule::NONE;
        let changes = code.iter().flat_map(|(_, rows)| {
            last = Rule::NONE;
            rows.iter().filter(|(_, rule)| std::mem::replace(&mut last, *rule) != *rule).collect::<Vec<_>>()
        });
        assert_eq!(listed, changes.filter(|(_, rule)| *rule != Rule::NONE).count(), "round {round}");
    }
}

#[test]
fn a_row_at_the_address_of_the_one_before_replaces_it_and_one_below_is_ignored() {
    let [first, second] = [8, 16].map(|offset| Rule::register(7, offset));
    let rows = vec![(0x800, first), (0x900, Rule::NONE), (0x900, second), (0x880, first), (0x2000, first)];
    let table = encode(&vec![(0x800..0x1000, rows)]);
    let listed: Vec<_> = table.rows().collect();
    assert_eq!(listed, [(0x800, first), (0x900, second), (0x1000, Rule::NONE)]);
}

#[test]
fn holes_end_runs_and_cost_no_index() {
    let rule = Rule::register(7, 8);
    let far = 0x1000 + 10_000 * BLOCK_BYTES;
    let rows = vec![(0x1000, rule), (0x1010, Rule::NONE), (far, rule), (far + 16, Rule::NONE)];
    let table = encode(&vec![(0x1000..far + 0x10_0000, rows)]);
    assert_eq!((table.runs.len(), table.index.len()), (2, 2));
    assert_eq!(
        [0x100f, 0x1010, far - 1, far, far + 16].map(|at| table.rule_at(at)),
        [Some(rule), None, None, Some(rule), None]
    );
}
