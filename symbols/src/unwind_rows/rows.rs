//! The rows of a table, for people and for tests.

use profiler_unwind::Rule;
use profiler_unwind::table::{BLOCK_BYTES, CHUNK_SHIFT, CHUNKS, entry};

use super::{Run, UnwindTable};

impl UnwindTable {
    /// Every address at which the rule changes, ascending, with the rule from there on. Where nothing is known from
    /// some address on, that is a row, too ([`Rule::NONE`]).
    pub fn rows(&self) -> impl Iterator<Item = (u64, Rule)> {
        let mut last = Rule::NONE;
        let ends = self.runs.iter().zip(self.runs.iter().skip(1).map(Some).chain([None]));
        let rows = ends.flat_map(|(run, next)| {
            let blocks = (run.start_vaddr..run.end_vaddr).step_by(BLOCK_BYTES as usize);
            let is_last = next.is_none_or(|next| next.start_vaddr > run.end_vaddr);
            let end = is_last.then_some((run.end_vaddr, Rule::NONE));
            blocks.flat_map(|block| self.rows_of_block(run, block).unwrap_or_default()).chain(end)
        });
        rows.filter(move |&(_, rule)| std::mem::replace(&mut last, rule) != rule)
    }

    /// The rows of the block at this address; none if the table is broken.
    fn rows_of_block(&self, run: &Run, block: u64) -> Option<Vec<(u64, Rule)>> {
        let number = (block - run.start_vaddr) / BLOCK_BYTES;
        let entry = *self.index.get(run.first_index as usize + number as usize)?;
        if entry == 0 {
            return Some(vec![(block, Rule::NONE)]);
        }
        if entry & entry::UNIFORM != 0 {
            return Some(vec![(block, self.rule_of_slot(run, entry as usize & 0xff)?)]);
        }
        let first = (entry & entry::WORD).checked_sub(1)? as usize;
        let (headers, bits, mask) = if entry & entry::WIDE == 0 { (1, 8, 0xff) } else { (2, 16, 0xffff) };
        let per_word = 64 / bits;
        let mut rows = Vec::new();
        for chunk in 0..CHUNKS as usize {
            let header = self.words.get(first + chunk / per_word)?;
            let up_to = (header >> (bits * (chunk % per_word)) & mask) as usize;
            for row in rows.len()..up_to {
                let word = self.words.get(first + headers + row / 4)? >> (16 * (row % 4));
                let at = block + ((chunk as u64) << CHUNK_SHIFT) + (word & 0xff);
                rows.push((at, self.rule_of_slot(run, (word >> 8 & 0xff) as usize)?));
            }
        }
        Some(rows)
    }

    fn rule_of_slot(&self, run: &Run, slot: usize) -> Option<Rule> {
        let at = run.first_rule as usize + slot;
        let word = *self.rules.get(at)?;
        let second = if Rule::is_wide(word) { *self.rules.get(at + 1)? } else { 0 };
        Some(Rule::unpack(word, second))
    }
}
