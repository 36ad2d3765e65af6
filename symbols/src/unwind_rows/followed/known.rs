//! Rules of a stretch of code by address, two bytes for each byte of it.

use profiler_unwind::Rule;
use rustc_hash::FxHashMap;

/// Nothing is known of this byte.
const NOTHING: u16 = 0;
/// It belongs to the instruction before it.
const WITHIN: u16 = 1;
/// Numbers of rules are from here.
const FIRST: u16 = 2;

/// Less than that between two functions is padding: no address in it is ever looked up, and it needs no row.
const PADDING_BELOW: u64 = 16;

/// From this address on nothing is known, if anything was before.
fn end(rows: &mut Vec<(u64, Rule)>, from: u64) {
    if rows.last().is_some_and(|(_, rule)| *rule != Rule::NONE) {
        rows.push((from, Rule::NONE));
    }
}

/// What is known of a stretch of code.
pub(super) struct Known {
    start: u64,
    places: Vec<u16>,
    rules: Vec<Rule>,
    numbers: FxHashMap<Rule, u16>,
}

impl Known {
    /// Nothing yet, of so many bytes from this address on.
    pub(super) fn new(start: u64, size: usize) -> Self {
        Self { start, places: vec![NOTHING; size], rules: Vec::new(), numbers: FxHashMap::default() }
    }

    fn at(&self, address: u64) -> Option<u16> {
        self.places.get(usize::try_from(address.checked_sub(self.start)?).ok()?).copied()
    }

    /// The rule before the instruction at this address.
    pub(super) fn rule(&self, address: u64) -> Option<Rule> {
        self.rules.get(usize::from(self.at(address)?.checked_sub(FIRST)?)).copied()
    }

    /// Whether the byte is part of an instruction that is known.
    pub(super) fn covers(&self, address: u64) -> bool {
        self.at(address).is_some_and(|place| place != NOTHING)
    }

    /// Takes in instructions: address, length, rule. Of more rules than there are numbers nothing is known.
    pub(super) fn add(&mut self, found: &[(u64, u8, Rule)]) {
        for (address, length, rule) in found {
            let next = FIRST.checked_add(self.rules.len() as u16);
            let number = match (self.numbers.get(rule), next) {
                (Some(number), _) => *number,
                (None, Some(next)) => {
                    self.rules.push(*rule);
                    self.numbers.insert(*rule, next);
                    next
                }
                (None, None) => continue,
            };
            let at = (address - self.start) as usize;
            let end = self.places.len().min(at + usize::from(*length));
            if let Some([first, rest @ ..]) = self.places.get_mut(at..end) {
                *first = number;
                rest.fill(WITHIN);
            }
        }
    }

    /// All that is known: rows by address. Where nothing is known the rule is none.
    pub(super) fn rows(&self) -> Vec<(u64, Rule)> {
        let mut rows: Vec<(u64, Rule)> = Vec::new();
        let (mut last, mut nothing_from) = (NOTHING, None);
        // The places first: at the end of all addresses there is no next one to count to.
        for (place, address) in self.places.iter().zip(self.start..) {
            match place.checked_sub(FIRST) {
                // Known later that it is not just padding.
                None if *place == NOTHING => nothing_from = nothing_from.or(Some(address)),
                None => {}
                Some(number) => {
                    if let Some(from) = nothing_from.take().filter(|from| address - from >= PADDING_BELOW) {
                        end(&mut rows, from);
                        last = NOTHING;
                    }
                    if *place != last {
                        rows.push((address, self.rules[usize::from(number)]));
                        last = *place;
                    }
                }
            }
        }
        end(&mut rows, nothing_from.unwrap_or(self.start + self.places.len() as u64));
        rows
    }
}
