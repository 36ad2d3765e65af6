//! Parts of seconds: what rectangles of the sub-second heat map select.

use std::ops::Range;
use std::sync::Arc;

use super::{TimeError, TimeRange};

/// Length of a second, milliseconds.
const SECOND: i64 = 1000;

/// Rectangles of a map of seconds that make one part: more are not drawn by hand, and each sample is held against all.
pub const MAX_RECTANGLES: usize = 32;

/// A span of Unix time in milliseconds, of whose every second only the milliseconds from one on, below another.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rectangle {
    span: Range<i64>,
    from_ms: i64,
    until_ms: i64,
}

impl Rectangle {
    fn contains(&self, time_ms: i64) -> bool {
        self.span.contains(&time_ms) && (self.from_ms..self.until_ms).contains(&time_ms.rem_euclid(SECOND))
    }

    /// What lies in it of a second of a range.
    fn within(&self, second: i64, range: &Range<i64>) -> Range<i64> {
        let start = second * SECOND;
        (start + self.from_ms).max(range.start).max(self.span.start)
            ..(start + self.until_ms).min(range.end).min(self.span.end)
    }
}

/// Parts of seconds: those of every second, or of the seconds of some spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offsets(Arc<[Rectangle]>);

impl Offsets {
    /// The milliseconds `from_ms..until_ms` of every second.
    ///
    /// # Errors
    /// When they are none, or not within a second.
    pub fn new(from_ms: i64, until_ms: i64) -> Result<Self, TimeError> {
        Self::rectangles(&[(TimeRange::ALL, from_ms, until_ms)])
    }

    /// Of every second of each range the milliseconds from one on, below another; what lies in several counts once.
    ///
    /// # Errors
    /// When there are none or more than [`MAX_RECTANGLES`], or the milliseconds of one are none or not within a second.
    pub fn rectangles(all: &[(TimeRange, i64, i64)]) -> Result<Self, TimeError> {
        if all.is_empty() || all.len() > MAX_RECTANGLES {
            return Err(TimeError::Rectangles(all.len()));
        }
        let one = |(range, from_ms, until_ms): &(TimeRange, i64, i64)| {
            if !(0..SECOND).contains(from_ms) || *until_ms > SECOND || from_ms >= until_ms {
                return Err(TimeError::Empty {
                    from: format!("{from_ms} ms of each second"),
                    until: format!("{until_ms} ms of each second"),
                });
            }
            Ok(Rectangle { span: range.as_range(), from_ms: *from_ms, until_ms: *until_ms })
        };
        Ok(Self(all.iter().map(one).collect::<Result<_, _>>()?))
    }

    /// Whether a time, in Unix milliseconds, lies in it.
    pub(crate) fn contains(&self, time_ms: i64) -> bool {
        self.0.iter().any(|rectangle| rectangle.contains(time_ms))
    }

    /// The stretches of a range that lie in it, in order; none touches another.
    pub(crate) fn stretches(&self, range: Range<i64>) -> impl Iterator<Item = Range<i64>> {
        let first = range.start.div_euclid(SECOND);
        let end = range.end;
        let seconds = (first..).take_while(move |second| second * SECOND < end);
        seconds.flat_map(move |second| {
            let mut pieces: Vec<_> =
                self.0.iter().map(|rectangle| rectangle.within(second, &range)).collect();
            pieces.retain(|piece| !piece.is_empty());
            pieces.sort_unstable_by_key(|piece| piece.start);
            let mut apart: Vec<Range<i64>> = Vec::new();
            for piece in pieces {
                match apart.last_mut() {
                    Some(last) if piece.start <= last.end => last.end = last.end.max(piece.end),
                    _ => apart.push(piece),
                }
            }
            apart
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_every_second_is_neither_empty_nor_more_than_one() {
        for (from, until) in [(0, 0), (5, 5), (6, 5), (-1, 5), (0, 1001), (1000, 1001), (i64::MIN, i64::MAX)]
        {
            assert!(Offsets::new(from, until).is_err(), "{from}..{until}");
        }
        assert!(Offsets::new(0, 1000).is_ok() && Offsets::new(999, 1000).is_ok());
    }

    #[test]
    fn rectangles_are_some_but_not_many() {
        let second = (TimeRange::new(0, 1000).unwrap(), 0, 1000);
        for (count, is_good) in [(0, false), (1, true), (MAX_RECTANGLES, true), (MAX_RECTANGLES + 1, false)] {
            assert_eq!(Offsets::rectangles(&vec![second; count]).is_ok(), is_good, "{count}");
        }
        assert!(Offsets::rectangles(&[second, (second.0, 5, 5)]).is_err());
    }

    #[test]
    fn what_lies_in_several_rectangles_is_in_one_stretch() {
        let span = |from, until| TimeRange::new(from, until).unwrap();
        let all = [(span(0, 3000), 100, 500), (span(1000, 2500), 400, 900), (span(1200, 1300), 0, 1000)];
        let offsets = Offsets::rectangles(&all).unwrap();
        let stretches: Vec<_> = offsets.stretches(50..2_450).collect();
        assert_eq!(stretches, [100..500, 1_100..1_900, 2_100..2_450]);
        let by_stretch: Vec<i64> = stretches.into_iter().flatten().collect();
        let one_by_one: Vec<i64> = (50..2_450).filter(|time| offsets.contains(*time)).collect();
        assert_eq!(by_stretch, one_by_one);
    }

    #[test]
    fn stretches_hold_exactly_the_times_that_are_contained() {
        let range = 1_500..4_250;
        for (from, until) in [(0, 1000), (0, 1), (999, 1000), (200, 300), (400, 600)] {
            let offsets = Offsets::new(from, until).unwrap();
            let by_stretch: Vec<i64> = offsets.stretches(range.clone()).flatten().collect();
            let one_by_one: Vec<i64> = range.clone().filter(|time| offsets.contains(*time)).collect();
            assert_eq!(by_stretch, one_by_one, "{from}..{until}");
        }
    }
}
