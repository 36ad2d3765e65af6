//! Which tables of a segment answer for which part of a range: rollups where whole steps of theirs lie within, samples
//! at the edges.

use std::ops::Range;

use crate::segment::{ROLLUPS, Table};

const HOUR_MS: i64 = 3_600_000;
/// Rows of a rollup stand together for so long, in milliseconds: whoever reads less of it reads past the rest.
fn chunk_ms(step_ms: i64) -> i64 {
    if step_ms < HOUR_MS { HOUR_MS } else { 24 * HOUR_MS }
}
/// A rollup is worth it when at least this part of what stands together is needed: the next finer one has at most so many
/// times its rows.
const WORTHWHILE: i64 = 4;

/// A table and the part of the range that it answers for.
pub(crate) type Part = (Table, Range<i64>);

/// A segment as far as this is concerned.
pub(crate) struct Shape {
    /// Unix milliseconds; all of its rows lie within.
    pub(crate) span: Range<i64>,
    /// The rollups that it has, finest first, with their steps in milliseconds.
    pub(crate) rollups: Vec<(Table, i64)>,
}

impl Shape {
    /// The rollups of a segment whose steps are no longer than `coarsest_ms`.
    pub(crate) fn new(span: Range<i64>, coarsest_ms: i64, has: impl Fn(Table) -> bool) -> Self {
        let rollups = ROLLUPS.into_iter().filter(|(table, step)| *step <= coarsest_ms && has(*table));
        Self { span, rollups: rollups.collect() }
    }

    /// What to read for a range: parts that adjoin, each row of the segment in one of them.
    pub(crate) fn cover(&self, range: &Range<i64>) -> Vec<Part> {
        // Where the segment ends there is nothing to cut off: steps may reach beyond.
        let start = if range.start <= self.span.start { i64::MIN } else { range.start };
        let end = if range.end >= self.span.end { i64::MAX } else { range.end };
        let mut parts = Vec::new();
        self.add(&mut parts, start..end, self.rollups.len());
        parts
    }

    /// Covers a range with samples and the first `upto` rollups.
    fn add(&self, parts: &mut Vec<Part>, range: Range<i64>, upto: usize) {
        if range.is_empty() {
            return;
        }
        let Some((table, step)) = upto.checked_sub(1).map(|last| self.rollups[last]) else {
            return parts.push((Table::Samples, range));
        };
        let start = up(range.start, step);
        let inner = start..down(range.end, step).max(start);
        if inner.end > range.end || !self.is_worth_it(&inner, upto - 1) {
            return self.add(parts, range, upto - 1);
        }
        self.add(parts, range.start..inner.start, upto - 1);
        parts.push((table, inner.clone()));
        self.add(parts, inner.end..range.end, upto - 1);
    }

    /// Whether a rollup is better than the next finer one, for these steps.
    fn is_worth_it(&self, inner: &Range<i64>, rollup: usize) -> bool {
        let within = inner.start.max(self.span.start)..inner.end.min(self.span.end);
        let len = within.end.saturating_sub(within.start);
        let chunk = chunk_ms(self.rollups[rollup].1).min(self.span.end.saturating_sub(self.span.start));
        len > 0 && (rollup == 0 || len >= chunk / WORTHWHILE)
    }
}

/// The first start of a step from `time` on.
fn up(time: i64, step: i64) -> i64 {
    if time == i64::MIN { time } else { down(time.saturating_add(step - 1), step) }
}

/// The last start of a step up to `time`.
fn down(time: i64, step: i64) -> i64 {
    if time == i64::MAX { time } else { time - time.rem_euclid(step) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Table::{Rollup1d, Rollup1h, Rollup5m, Samples};

    const MIN: i64 = 60_000;
    const DAY: i64 = 24 * HOUR_MS;

    fn cover(span: Range<i64>, range: Range<i64>, coarsest_ms: i64) -> Vec<Part> {
        Shape::new(span, coarsest_ms, |_| true).cover(&range)
    }

    #[test]
    fn a_segment_within_the_range_is_read_from_its_coarsest_rollup() {
        let all = i64::MIN..i64::MAX;
        assert_eq!(cover(5..DAY, 5..DAY, i64::MAX), [(Rollup1d, all.clone())]);
        assert_eq!(cover(5..DAY, 5..DAY, HOUR_MS), [(Rollup1h, all.clone())]);
        assert_eq!(cover(5..DAY, 5..DAY, 0), [(Samples, all)]);
    }

    #[test]
    fn edges_are_read_from_finer_tables() {
        let range = 7 * MIN..20 * HOUR_MS + 11 * MIN;
        assert_eq!(
            cover(0..DAY, range, i64::MAX),
            [
                (Samples, 7 * MIN..10 * MIN),
                (Rollup5m, 10 * MIN..HOUR_MS),
                (Rollup1h, HOUR_MS..20 * HOUR_MS),
                (Rollup5m, 20 * HOUR_MS..20 * HOUR_MS + 10 * MIN),
                (Samples, 20 * HOUR_MS + 10 * MIN..20 * HOUR_MS + 11 * MIN),
            ]
        );
        // An hour of a day: the rollup of hours would be read as a whole.
        assert_eq!(cover(0..DAY, HOUR_MS..2 * HOUR_MS, i64::MAX), [(Rollup5m, HOUR_MS..2 * HOUR_MS)]);
        // Within one step there is nothing but samples.
        assert_eq!(cover(0..DAY, MIN..2 * MIN, i64::MAX), [(Samples, MIN..2 * MIN)]);
        assert_eq!(cover(0..DAY, 4 * MIN..6 * MIN, i64::MAX), [(Samples, 4 * MIN..6 * MIN)]);
    }

    #[test]
    fn parts_adjoin_and_make_up_the_range() {
        let spans = [0..DAY, 7 * MIN..50 * MIN, HOUR_MS..HOUR_MS + 1];
        for span in spans {
            for from in (-10 * MIN..DAY + 10 * MIN).step_by(7 * 60_001) {
                for len in [1, MIN, 5 * MIN, HOUR_MS, 5 * HOUR_MS, DAY, 2 * DAY] {
                    let parts = cover(span.clone(), from..from + len, i64::MAX);
                    assert!(parts.windows(2).all(|pair| pair[0].1.end == pair[1].1.start));
                    let (first, last) = (parts[0].1.start, parts[parts.len() - 1].1.end);
                    assert_eq!(first, if from <= span.start { i64::MIN } else { from });
                    assert_eq!(last, if from + len >= span.end { i64::MAX } else { from + len });
                }
            }
        }
    }
}
