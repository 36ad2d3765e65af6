//! What of a segment's samples a query reads: row groups by their statistics, pages by the index of pages.

use std::ops::Range;

use crate::segment::{Page, Part, SamplesFile, rows_of};

/// Exact times are kept in 16 bits.
const MAX_OFFSET_MS: i64 = u16::MAX as i64;

/// Rows of a row group that are read in one way.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) part: Part,
    /// Whether its rows may lie partly outside the range, so that their times must be looked at.
    pub(crate) is_edge: bool,
}

/// How rows lie to the range of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Outside,
    Edge,
    Inside,
}

/// What to read of a row group for the series that `wanted` tells and a range of Unix milliseconds.
pub(crate) fn pieces(
    samples: &SamplesFile,
    group: usize,
    wanted: &Wanted<'_>,
    range: &Range<i64>,
) -> Vec<Piece> {
    if samples.bounds(group, "series").is_some_and(|bounds| !wanted.any_within(bounds)) {
        return Vec::new();
    }
    let reach = match samples.has_exact_times() {
        true => samples.bounds(group, "offsets_ms.list.element").map_or(MAX_OFFSET_MS, |(_, max)| max),
        false => 0,
    };
    let reach = reach.clamp(0, MAX_OFFSET_MS);
    let place_of = |bounds: Option<(i64, i64)>| place(bounds, reach, range);
    let whole = place_of(samples.bounds(group, "time"));
    let series = samples.pages(group, "series");
    let times = samples.pages(group, "time");
    let all = |is_edge| vec![Piece { part: Part { group, rows: None }, is_edge }];
    let (Some(series), Some(times)) = (series, times) else {
        return if whole == Place::Outside { Vec::new() } else { all(whole == Place::Edge) };
    };
    let is_wanted = |page: &Page| page.bounds.is_none_or(|bounds| wanted.any_within(bounds));
    if whole == Place::Inside && series.iter().all(is_wanted) {
        return all(false);
    }
    let of_series = rows_of(&series, is_wanted);
    let piece = |place: Place| {
        let rows = rows_of(&times, |page| place_of(page.bounds) == place).intersection(&of_series);
        rows.selects_any()
            .then(|| Piece { part: Part { group, rows: Some(rows) }, is_edge: place == Place::Edge })
    };
    [Place::Inside, Place::Edge].into_iter().filter_map(piece).collect()
}

/// Rows whose buckets start within `bounds`, with samples up to `reach` later.
fn place(bounds: Option<(i64, i64)>, reach: i64, range: &Range<i64>) -> Place {
    let Some((first, last)) = bounds else { return Place::Edge };
    if first >= range.end || last.saturating_add(reach) < range.start {
        Place::Outside
    } else if first >= range.start && last.saturating_add(reach) < range.end {
        Place::Inside
    } else {
        Place::Edge
    }
}

/// The series that a query may select: those it surely does not are left out.
pub(crate) struct Wanted<'a> {
    /// By series; none where it hangs on each row.
    decided: &'a [Option<bool>],
}

impl<'a> Wanted<'a> {
    pub(crate) fn new(decided: &'a [Option<bool>]) -> Self {
        Self { decided }
    }

    fn any_within(&self, (first, last): (i64, i64)) -> bool {
        let end = usize::try_from(last).map_or(0, |last| last.saturating_add(1)).min(self.decided.len());
        let start = usize::try_from(first).unwrap_or(0).min(end);
        self.decided[start..end].iter().any(|decided| *decided != Some(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_inside_only_when_their_last_sample_is() {
        let range = 1000..2000;
        for (bounds, reach, expected) in [
            ((1000, 1000), 999, Place::Inside),
            ((1000, 1000), 1000, Place::Edge),
            ((999, 1500), 0, Place::Edge),
            ((0, 990), 9, Place::Outside),
            ((0, 990), 10, Place::Edge),
            ((2000, 3000), 9999, Place::Outside),
            ((1999, 1999), 0, Place::Inside),
            ((i64::MIN, i64::MAX), 65_535, Place::Edge),
        ] {
            assert_eq!(place(Some(bounds), reach, &range), expected, "{bounds:?} {reach}");
        }
        assert_eq!(place(None, 0, &range), Place::Edge);
    }

    #[test]
    fn a_span_of_series_is_read_unless_none_of_it_is_wanted() {
        let decided = [Some(false), None, Some(true), Some(false)];
        let wanted = Wanted::new(&decided);
        for (bounds, expected) in [
            ((0, 0), false),
            ((0, 1), true),
            ((2, 2), true),
            ((3, 3), false),
            ((3, 99), false),
            ((-5, 0), false),
            ((2, 1), false),
            ((i64::MIN, i64::MAX), true),
        ] {
            assert_eq!(wanted.any_within(bounds), expected, "{bounds:?}");
        }
    }
}
