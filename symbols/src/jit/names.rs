//! Which name an address had at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Code;

/// How a piece of code is called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CodeName {
    /// Its name, without a source file that the runtime put behind it. Not empty.
    pub function: String,
    /// Source file; empty when unknown.
    pub file: String,
    /// Source line; 0 when unknown.
    pub line: u32,
    /// All that the runtime wrote.
    pub raw: String,
}

impl CodeName {
    fn size(&self) -> usize {
        self.function.len() + self.file.len() + self.raw.len()
    }
}

/// What an entry takes beside its texts, about: nodes of the tree, the handle, capacities.
const ENTRY_BYTES: usize = 192;
/// Names that were replaced are kept this long, for samples that have no names yet, milliseconds.
const KEEP_REPLACED_MS: i64 = 120_000;
/// And this many: a runtime that moves all of its code at once.
const REPLACED_AT_MOST: usize = 16_384;

/// The code at an address, for as long as it lay there.
#[derive(Clone, Debug)]
struct Entry {
    start: u64,
    end: u64,
    /// Unix milliseconds.
    from: i64,
    until: i64,
    /// Numbered in the order in which they came, from 1 on.
    number: u64,
    name: Arc<CodeName>,
}

impl Entry {
    fn covers(&self, address: u64) -> bool {
        (self.start..self.end).contains(&address)
    }

    fn bytes(&self) -> usize {
        ENTRY_BYTES + self.name.size()
    }
}

/// Names of a process's code over time.
#[derive(Debug, Default)]
pub struct CodeNames {
    /// By start; they do not overlap.
    now: BTreeMap<u64, Entry>,
    /// Replaced by others, in the order in which they were.
    replaced: Vec<Entry>,
    bytes: usize,
    limit: usize,
    dropped: u64,
    numbered: u64,
}

impl CodeNames {
    /// No names yet; at most `limit` bytes of them.
    pub fn new(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Takes in code that is there from this time on (Unix milliseconds); what lay there before is gone.
    pub fn add(&mut self, code: Code, from: i64) {
        let Code { start, size, name } = code;
        let end = start.saturating_add(size);
        if let Some(same) = self.now.get(&start)
            && same.end == end
            && *same.name == name
        {
            return;
        }
        self.end(start..end, from);
        self.numbered += 1;
        let entry = Entry { start, end, from, until: i64::MAX, number: self.numbered, name: Arc::new(name) };
        if self.bytes + entry.bytes() > self.limit {
            self.forget_replaced(from);
        }
        if self.bytes + entry.bytes() > self.limit {
            self.dropped += 1;
            return;
        }
        self.bytes += entry.bytes();
        self.now.insert(start, entry);
    }

    /// The code that starts at `from_address` lies somewhere else from this time on.
    pub fn move_code(&mut self, from_address: u64, to: u64, from: i64) {
        let Some(entry) = self.now.get(&from_address) else { return };
        let code = Code { start: to, size: entry.end - entry.start, name: (*entry.name).clone() };
        self.end(from_address..from_address + 1, from);
        self.add(code, from);
    }

    /// All code is gone at this time: the map is written anew.
    pub fn end_all(&mut self, at: i64) {
        self.end(0..u64::MAX, at);
    }

    fn end(&mut self, addresses: std::ops::Range<u64>, at: i64) {
        let before = self.now.range(..addresses.start).next_back().map(|(start, _)| *start);
        let within = self.now.range(addresses.clone()).map(|(start, _)| *start);
        let starts: Vec<u64> = before.into_iter().chain(within).collect();
        for start in starts {
            if self.now.get(&start).is_some_and(|entry| entry.end > addresses.start)
                && let Some(entry) = self.now.remove(&start)
            {
                self.bytes -= entry.bytes();
                // What was replaced before anyone could have run it is of no use.
                if at > entry.from {
                    self.bytes += entry.bytes();
                    self.replaced.push(Entry { until: at, ..entry });
                }
            }
        }
        if self.replaced.len() > REPLACED_AT_MOST {
            self.forget_replaced(at);
        }
    }

    fn forget_replaced(&mut self, now: i64) {
        self.replaced.retain(|entry| entry.until > now.saturating_sub(KEEP_REPLACED_MS));
        // Some room more, so that this is not done for each.
        let (most, room) = (REPLACED_AT_MOST - REPLACED_AT_MOST / 4, self.limit - self.limit / 4);
        let mut bytes: usize = self.now.values().chain(&self.replaced).map(Entry::bytes).sum();
        let mut over = 0;
        for (at, entry) in self.replaced.iter().enumerate() {
            if self.replaced.len() - at <= most && bytes <= room {
                break;
            }
            bytes -= entry.bytes();
            over += 1;
        }
        self.replaced.drain(..over);
        self.dropped += over as u64;
        self.bytes = bytes;
    }

    /// The name of the code at an address at a time (Unix milliseconds). Where nothing was named at that time, the next
    /// name that the address got: runtimes write names late, some not before they are asked to.
    pub fn find(&self, address: u64, at: i64) -> Option<&Arc<CodeName>> {
        self.entry(address, at).map(|entry| &entry.name)
    }

    /// The same, with a number that no other name of these has.
    pub fn version(&self, address: u64, at: i64) -> Option<(u64, Arc<CodeName>)> {
        self.entry(address, at).map(|entry| (entry.number, entry.name.clone()))
    }

    fn entry(&self, address: u64, at: i64) -> Option<&Entry> {
        let now = self.covering_now(address);
        if let Some(entry) = now.filter(|entry| entry.from <= at) {
            return Some(entry);
        }
        let replaced = || self.replaced.iter().filter(|entry| entry.covers(address));
        if let Some(entry) = replaced().rev().find(|entry| entry.from <= at && at < entry.until) {
            return Some(entry);
        }
        replaced().chain(now).find(|entry| entry.from > at)
    }

    fn covering_now(&self, address: u64) -> Option<&Entry> {
        let (_, entry) = self.now.range(..=address).next_back()?;
        entry.covers(address).then_some(entry)
    }

    /// Appends the times after `since` and up to `until` at which the name of an address changed, in no order.
    pub fn changes(&self, address: u64, since: i64, until: i64, times: &mut Vec<i64>) {
        let replaced = self.replaced.iter().filter(|entry| entry.covers(address));
        for entry in replaced.chain(self.covering_now(address)) {
            times
                .extend([entry.from, entry.until].into_iter().filter(|time| *time > since && *time <= until));
        }
    }

    /// Pieces of code that are named now.
    pub fn len(&self) -> usize {
        self.now.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.now.is_empty()
    }

    /// What all names take, in bytes, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Names that were dropped for lack of room.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(start: u64, size: u64, name: &str) -> Code {
        let name = CodeName { function: name.to_owned(), raw: name.to_owned(), ..CodeName::default() };
        Code { start, size, name }
    }

    fn names(codes: &[(u64, u64, &str, i64)]) -> CodeNames {
        let mut names = CodeNames::new(1 << 20);
        for (start, size, name, from) in codes {
            names.add(code(*start, *size, name), *from);
        }
        names
    }

    fn at(names: &CodeNames, address: u64, time: i64) -> Option<String> {
        names.find(address, time).map(|name| name.function.clone())
    }

    #[test]
    fn an_address_that_is_used_again_has_the_name_of_its_time() {
        let names = names(&[(100, 50, "a", 1000), (100, 20, "b", 2000), (100, 50, "a", 3000)]);
        for (address, time, name) in [
            (100, 1000, Some("a")),
            (149, 1999, Some("a")),
            (100, 2000, Some("b")),
            (119, 2999, Some("b")),
            (100, 3000, Some("a")),
            (149, 9000, Some("a")),
            (99, 1500, None),
            (150, 1500, None),
        ] {
            assert_eq!(at(&names, address, time).as_deref(), name, "{address} at {time}");
        }
        let mut times = Vec::new();
        names.changes(110, 1000, 5000, &mut times);
        times.sort_unstable();
        times.dedup();
        assert_eq!(times, [2000, 3000]);
    }

    #[test]
    fn code_that_is_partly_written_over_is_gone() {
        let names = names(&[(100, 50, "a", 1000), (140, 100, "b", 2000), (90, 20, "c", 3000)]);
        assert_eq!(at(&names, 145, 1500).as_deref(), Some("a"));
        assert_eq!(at(&names, 120, 2500), None, "a is no longer whole");
        assert_eq!(at(&names, 145, 2500).as_deref(), Some("b"));
        assert_eq!((at(&names, 105, 3500).as_deref(), names.len()), (Some("c"), 2));
    }

    #[test]
    fn a_name_that_comes_late_is_taken_if_nothing_else_was_there() {
        let names = names(&[(100, 50, "a", 5000), (100, 50, "b", 6000)]);
        assert_eq!(at(&names, 100, 10).as_deref(), Some("a"));
        assert_eq!(at(&names, 100, 5500).as_deref(), Some("a"));
    }

    #[test]
    fn a_map_that_is_written_anew_ends_all_names_and_the_same_ones_go_on() {
        let mut names = names(&[(100, 50, "a", 1000), (200, 50, "b", 1000)]);
        names.end_all(2000);
        names.add(code(100, 50, "a"), 2100);
        assert_eq!(at(&names, 100, 2050).as_deref(), Some("a"), "in between, too");
        assert_eq!(at(&names, 200, 1500).as_deref(), Some("b"));
        assert_eq!(at(&names, 200, 2500), None);
    }

    #[test]
    fn moved_code_keeps_its_name() {
        let mut names = names(&[(100, 50, "a", 1000)]);
        names.move_code(100, 300, 2000);
        names.move_code(7, 900, 2000);
        assert_eq!(at(&names, 110, 1500).as_deref(), Some("a"));
        assert_eq!((at(&names, 110, 2500), at(&names, 310, 2500).as_deref()), (None, Some("a")));
    }

    #[test]
    fn memory_is_bounded_and_what_does_not_fit_is_counted() {
        let mut names = CodeNames::new(100 * 300);
        for number in 0..1000u64 {
            names.add(code(number * 100, 100, "some name"), 1000);
        }
        assert!(names.bytes() <= 100 * 300 && names.len() < 200, "{}", names.len());
        assert_eq!(names.dropped() as usize + names.len(), 1000);
        // One place, used again and again: the old names go first.
        let mut names = CodeNames::new(100 * 300);
        for number in 0..100_000i64 {
            names.add(code(100, 50, "some name"), number * 1000);
            names.add(code(100, 50, "another"), number * 1000 + 500);
        }
        assert_eq!((names.len(), at(&names, 100, 99_999_400).as_deref()), (1, Some("some name")));
        assert!(names.bytes() <= 100 * 300);
        // Too quick for any memory: the oldest are given up, and counted.
        let mut names = CodeNames::new(1 << 30);
        for number in 0..100_000u64 {
            names.add(code(100, 50 + number % 2, "some name"), 1000 + number as i64);
        }
        assert!(
            names.replaced.len() <= REPLACED_AT_MOST + 1 && names.dropped() > 80_000,
            "{}",
            names.dropped()
        );
    }
}
