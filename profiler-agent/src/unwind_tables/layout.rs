//! Where the parts of a file's table lie in the space of words, and how they show through a mapping of the file.

use profiler_abi::{CodeKind, CodeMapping, PAGE_WORDS};
use profiler_unwind::table::BLOCK_SHIFT;
use symbols::{
    elf::Segment,
    unwind_rows::{Run, UnwindTable},
};

use super::{mapping, source::FileTable};

/// A table's runs, and the numbers of its parts relative to its first word.
#[derive(Debug, Default)]
pub(super) struct Layout {
    segments: Box<[Segment]>,
    runs: Box<[Run]>,
    /// First word of the blocks, and of the rules; the index comes first.
    words: u32,
    rules: u32,
    /// All words.
    len: u32,
}

impl Layout {
    /// The layout of a file's table.
    pub(super) fn of(FileTable { table, facts }: &FileTable) -> Self {
        // Fit: a table is of at most 64 MiB.
        let words = table.index().len().div_ceil(2) as u32;
        let rules = words + table.words().len() as u32;
        let len = rules + table.rules().len() as u32;
        Self { segments: facts.segments().into(), runs: table.runs().into(), words, rules, len }
    }

    /// Pages that the table takes.
    pub(super) fn pages(&self) -> u32 {
        self.len.div_ceil(PAGE_WORDS as u32)
    }

    /// A table's words: index (two entries to a word), blocks, rules.
    pub(super) fn words(table: &UnwindTable) -> impl Iterator<Item = u64> {
        let pair = |pair: &[u32]| u64::from(pair[0]) | u64::from(pair.get(1).copied().unwrap_or(0)) << 32;
        table
            .index()
            .chunks(2)
            .map(pair)
            .chain(table.words().iter().copied())
            .chain(table.rules().iter().copied())
    }

    /// Adds the code mappings of `start..end`, which shows the file from `file_offset` on, to `out`, in order. The table
    /// lies at `page`.
    pub(super) fn map(
        &self,
        start: u64,
        end: u64,
        file_offset: u64,
        page: u32,
        out: &mut Vec<(u64, CodeMapping)>,
    ) {
        let base = page * PAGE_WORDS as u32;
        let mut at = start;
        if let Some(segment) = self.segment_of(file_offset, end - start) {
            // Address of the file's virtual address 0; wraps for programs that are not moved.
            let bias =
                start.wrapping_sub(file_offset).wrapping_add(segment.file_offset).wrapping_sub(segment.vaddr);
            for run in &self.runs {
                let (from, until) = (run.start_vaddr.wrapping_add(bias), run.end_vaddr.wrapping_add(bias));
                if from >= until || until <= at || from >= end {
                    continue;
                }
                if from > at {
                    out.push((at, mapping(from, CodeKind::NoInformation)));
                    at = from;
                }
                // A mapping may begin amid a run, but always at a page, and so at a block.
                let skipped = ((at - from) >> BLOCK_SHIFT) as u32;
                let until = until.min(end);
                out.push((
                    at,
                    CodeMapping {
                        end: until,
                        kind: CodeKind::Table as u32,
                        index: base * 2 + run.first_index + skipped,
                        words: base + self.words,
                        rules: base + self.rules + run.first_rule,
                    },
                ));
                at = until;
            }
        }
        if at < end {
            out.push((at, mapping(end, CodeKind::NoInformation)));
        }
    }

    /// The segment that a mapping shows: the one that shares most bytes with it, as neighbours may share a page.
    fn segment_of(&self, file_offset: u64, len: u64) -> Option<&Segment> {
        let shared = |segment: &Segment| {
            let end = (segment.file_offset.saturating_add(segment.size)).min(file_offset.saturating_add(len));
            end.saturating_sub(segment.file_offset.max(file_offset))
        };
        self.segments.iter().filter(|segment| shared(segment) > 0).max_by_key(|segment| shared(segment))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        let run = |start_vaddr, end_vaddr, first_index, first_rule| Run {
            start_vaddr,
            end_vaddr,
            first_index,
            first_rule,
        };
        Layout {
            segments: [Segment { file_offset: 0x1000, vaddr: 0x401000, size: 0x8000 }].into(),
            runs: [run(0x401000, 0x403000, 0, 0), run(0x405000, 0x409000, 4, 7)].into(),
            words: 100,
            rules: 200,
            len: 300,
        }
    }

    fn shown(start: u64, end: u64, file_offset: u64) -> Vec<(u64, u64, u32, u32, u32)> {
        let mut out = Vec::new();
        layout().map(start, end, file_offset, 1, &mut out);
        out.iter().map(|(start, m)| (*start, m.end, m.kind, m.index, m.rules)).collect()
    }

    #[test]
    fn runs_show_where_the_file_is_mapped_and_gaps_between_them_too() {
        let (table, none) = (CodeKind::Table as u32, CodeKind::NoInformation as u32);
        assert_eq!(
            shown(0x7000_1000, 0x7000_9000, 0x1000),
            [
                (0x7000_1000, 0x7000_3000, table, 128, 264),
                (0x7000_3000, 0x7000_5000, none, 0, 0),
                (0x7000_5000, 0x7000_9000, table, 132, 271),
            ]
        );
    }

    #[test]
    fn a_mapping_of_a_part_begins_at_that_parts_blocks() {
        let table = CodeKind::Table as u32;
        assert_eq!(shown(0x5000, 0x6000, 0x6000), [(0x5000, 0x6000, table, 128 + 4 + 2, 271)]);
    }

    #[test]
    fn what_is_no_code_of_the_file_has_no_information() {
        assert_eq!(shown(0x5000, 0x6000, 0x20000), [(0x5000, 0x6000, CodeKind::NoInformation as u32, 0, 0)]);
    }
}
