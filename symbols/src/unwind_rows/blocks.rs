//! Rows in ascending order into blocks; the format is that of [`profiler_unwind::table`].

use std::ops::Range;

use profiler_unwind::Rule;
use profiler_unwind::rule::Reason;
use profiler_unwind::table::{
    BLOCK_BYTES, BLOCK_SHIFT, CHUNK_SHIFT, CHUNKS, NARROW_ROWS, PALETTE_WORDS, entry,
};
use rustc_hash::FxHashMap;

use super::Run;

/// Blocks of which nothing is known end a run if there are as many: a run costs the kernel as much as 8 index
/// entries, and a step of its search.
const HOLE_BLOCKS: u64 = 64;

/// Distinct rules that are told apart; the largest known binaries have some 2,000. Bounds what a hostile file costs.
const RULES_AT_MOST: usize = 65_536;

/// A rule by its number in [`Rules`].
type RuleId = u32;
const NONE: RuleId = 0;
/// Of rules beyond a limit.
const CROWDED: RuleId = 1;

/// Takes rows and builds a table.
pub(super) struct Encoder {
    pub(super) runs: Vec<Run>,
    pub(super) index: Vec<u32>,
    pub(super) words: Vec<u64>,
    pub(super) palettes: Vec<u64>,
    rules: Rules,
    /// The end of the code that is being encoded.
    end: u64,
    /// First address of the block that is being filled.
    block: u64,
    /// The rule at the block's first address, unless a row stands there.
    initial: RuleId,
    /// Offset in the block, and rule.
    rows: Vec<(u16, RuleId)>,
    /// The rule of the last row.
    state: RuleId,
    /// A row that the next one may replace, because both have the same address.
    pending: Option<(u64, RuleId)>,
    /// Where the run that is being filled starts, in code, index and rules.
    run: Option<Run>,
}

/// All distinct rules of a file.
struct Rules {
    ids: FxHashMap<(u64, u64), RuleId>,
    /// The last rule: most rows come in the order of a few.
    last: (Rule, RuleId),
    list: Vec<KnownRule>,
}

struct KnownRule {
    words: (u64, u64),
    /// How many rows have it.
    rows: u64,
    /// In which palette it last got a slot, and that slot.
    palette: u32,
    slot: u8,
}

impl Rules {
    fn new() -> Self {
        let mut rules = Self { ids: FxHashMap::default(), last: (Rule::NONE, NONE), list: Vec::new() };
        rules.add(Rule::NONE.pack());
        rules.add(Rule::unsupported(Reason::Crowded).pack());
        rules
    }

    fn add(&mut self, words: (u64, u64)) -> RuleId {
        if self.list.len() >= RULES_AT_MOST {
            return CROWDED;
        }
        let id = self.list.len() as RuleId;
        self.list.push(KnownRule { words, rows: 0, palette: 0, slot: 0 });
        self.ids.insert(words, id);
        id
    }

    fn id(&mut self, rule: Rule) -> RuleId {
        if self.last.0 != rule {
            let words = rule.pack();
            let id = match self.ids.get(&words) {
                Some(&id) => id,
                None => self.add(words),
            };
            self.last = (rule, id);
        }
        self.last.1
    }
}

impl KnownRule {
    fn size(&self) -> usize {
        if Rule::is_wide(self.words.0) { 2 } else { 1 }
    }
}

impl Encoder {
    pub(super) fn new() -> Self {
        Self {
            runs: Vec::new(),
            index: Vec::new(),
            words: Vec::new(),
            palettes: Vec::new(),
            rules: Rules::new(),
            end: 0,
            block: 0,
            initial: NONE,
            rows: Vec::new(),
            state: NONE,
            pending: None,
            run: None,
        }
    }

    /// Rows of this code follow. Code comes in ascending order.
    pub(super) fn begin(&mut self, code: Range<u64>) {
        self.end = code.end;
        self.block = code.start & !(BLOCK_BYTES - 1);
        (self.initial, self.state) = (NONE, NONE);
    }

    /// From this address on the rule holds. A row at the address of the one before replaces it; one below it is
    /// ignored, and so is one outside of the code.
    pub(super) fn row(&mut self, vaddr: u64, rule: Rule) {
        let id = self.rules.id(rule);
        match &mut self.pending {
            Some((at, pending)) if *at == vaddr => *pending = id,
            Some((at, _)) if *at > vaddr => {}
            _ => {
                self.take_pending();
                self.pending = (vaddr < self.end).then_some((vaddr, id));
            }
        }
    }

    /// The code's rows are complete.
    pub(super) fn end(&mut self) {
        self.take_pending();
        // Up to the end of the code the last rule holds; behind a last row of nothing there is nothing to write.
        while self.block < self.end && (self.state != NONE || !self.rows.is_empty()) {
            self.finish_block();
        }
        self.finish_run();
    }

    /// The table so far, in bytes.
    pub(super) fn size(&self) -> usize {
        size_of_val(&*self.index) + size_of_val(&*self.words) + size_of_val(&*self.palettes)
    }

    /// Rows by what they say: each distinct rule, and how many rows have it.
    pub(super) fn rows_by_rule(&self) -> impl Iterator<Item = (Rule, u64)> {
        self.rules.list.iter().map(|known| (Rule::unpack(known.words.0, known.words.1), known.rows))
    }

    fn take_pending(&mut self) {
        let Some((vaddr, id)) = self.pending.take() else { return };
        if id == self.state || vaddr < self.block {
            return;
        }
        while vaddr - self.block >= BLOCK_BYTES {
            let blocks = (vaddr - self.block) >> BLOCK_SHIFT;
            if self.state == NONE && self.rows.is_empty() && blocks >= HOLE_BLOCKS {
                self.finish_run();
                self.block += blocks << BLOCK_SHIFT;
            } else {
                self.finish_block();
            }
        }
        // Fits: it is less than a block.
        self.rows.push(((vaddr - self.block) as u16, id));
        self.rules.list[id as usize].rows += 1;
        self.state = id;
    }

    fn finish_block(&mut self) {
        if self.rows.first().is_none_or(|row| row.0 != 0) {
            self.rows.insert(0, (0, self.initial));
        }
        let is_known = self.rows.len() > 1 || self.rows[0].1 != NONE;
        let entry = if is_known { self.encode_rows() } else { 0 };
        if self.run.is_none() {
            self.begin_run();
        }
        self.index.push(entry);
        self.rows.clear();
        self.initial = self.state;
        self.block += BLOCK_BYTES;
    }

    /// Writes the block's rows and gives its index entry.
    fn encode_rows(&mut self) -> u32 {
        if !self.make_room_in_palette() {
            self.rules.list[CROWDED as usize].rows += 1;
            self.rows.clear();
            self.rows.push((0, CROWDED));
            self.make_room_in_palette();
        }
        if let [(_, id)] = *self.rows.as_slice() {
            return entry::UNIFORM | u32::from(self.rules.list[id as usize].slot);
        }
        // Fits: the limit on rows is far below 2^30 words.
        let mut entry = self.words.len() as u32 + 1;
        let mut counts = [0u64; CHUNKS as usize];
        for &(at, _) in &self.rows {
            counts[usize::from(at >> CHUNK_SHIFT)] += 1;
        }
        let mut sum = 0;
        let up_to = counts.map(|count| {
            sum += count;
            sum
        });
        if self.rows.len() > NARROW_ROWS {
            entry |= entry::WIDE;
            self.words.extend(up_to.chunks(4).map(|counts| packed(counts.iter().copied(), 16)));
        } else {
            self.words.push(packed(up_to.into_iter(), 8));
        }
        let rules = &self.rules.list;
        let row = |&(at, id): &(u16, RuleId)| u64::from(rules[id as usize].slot) << 8 | u64::from(at) & 0xff;
        self.words.extend(self.rows.chunks(4).map(|rows| packed(rows.iter().map(row), 16)));
        entry
    }

    /// Gives each of the block's rules a slot, in a new run if the palette has no room for all. False if no
    /// palette has.
    fn make_room_in_palette(&mut self) -> bool {
        if self.run.is_none() {
            self.begin_run();
        }
        if self.add_to_palette() {
            return true;
        }
        self.finish_run();
        self.begin_run();
        self.add_to_palette()
    }

    /// Adds the block's rules to the palette; if they do not fit, it stays as it was.
    fn add_to_palette(&mut self) -> bool {
        let Some(run) = &self.run else { return false };
        // No two palettes begin at one place: each has a rule. 0 is that of no palette.
        let palette = self.runs.len() as u32 + 1;
        let before = self.palettes.len();
        for &(_, id) in &self.rows {
            let known = &mut self.rules.list[id as usize];
            if known.palette == palette {
                continue;
            }
            let slot = self.palettes.len() - run.first_rule as usize;
            if slot + known.size() > PALETTE_WORDS {
                self.palettes.truncate(before);
                for &(_, id) in &self.rows {
                    let known = &mut self.rules.list[id as usize];
                    if known.palette == palette && usize::from(known.slot) >= before - run.first_rule as usize
                    {
                        known.palette = 0;
                    }
                }
                return false;
            }
            known.palette = palette;
            known.slot = slot as u8; // fits: less than 256
            self.palettes.push(known.words.0);
            if known.size() == 2 {
                self.palettes.push(known.words.1);
            }
        }
        true
    }

    fn begin_run(&mut self) {
        self.run = Some(Run {
            start_vaddr: self.block,
            end_vaddr: self.block,
            first_index: self.index.len() as u32,
            first_rule: self.palettes.len() as u32,
        });
    }

    /// Ends the run before the block that is being filled.
    fn finish_run(&mut self) {
        let Some(mut run) = self.run.take() else { return };
        run.end_vaddr = self.block.min(self.end);
        if run.end_vaddr > run.start_vaddr {
            self.runs.push(run);
        }
    }
}

/// Values of `bits` bits in one word, the first lowest.
fn packed(values: impl Iterator<Item = u64>, bits: u32) -> u64 {
    values.enumerate().fold(0, |word, (number, value)| word | value << (bits * number as u32))
}

#[cfg(test)]
mod tests;
