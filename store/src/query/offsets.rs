//! A part of every second: what a rectangle of the sub-second heat map selects.

use std::ops::Range;

use super::TimeError;

/// Length of a second, milliseconds.
const SECOND: i64 = 1000;

/// Of every second of Unix time the milliseconds from one on, below another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offsets {
    from_ms: i64,
    until_ms: i64,
}

impl Offsets {
    /// The milliseconds `from_ms..until_ms` of every second.
    ///
    /// # Errors
    /// When they are none, or not within a second.
    pub fn new(from_ms: i64, until_ms: i64) -> Result<Self, TimeError> {
        if !(0..SECOND).contains(&from_ms) || until_ms > SECOND || from_ms >= until_ms {
            return Err(TimeError::Empty {
                from: format!("{from_ms} ms of each second"),
                until: format!("{until_ms} ms of each second"),
            });
        }
        Ok(Self { from_ms, until_ms })
    }

    /// Whether a time, in Unix milliseconds, lies in it.
    pub(crate) fn contains(self, time_ms: i64) -> bool {
        (self.from_ms..self.until_ms).contains(&time_ms.rem_euclid(SECOND))
    }

    /// The stretches of a range that lie in it, in order.
    pub(crate) fn stretches(self, range: Range<i64>) -> impl Iterator<Item = Range<i64>> {
        let first = range.start.div_euclid(SECOND);
        let seconds = (first..).take_while(move |second| second * SECOND < range.end);
        seconds
            .map(move |second| {
                let start = (second * SECOND + self.from_ms).max(range.start);
                start..(second * SECOND + self.until_ms).min(range.end)
            })
            .filter(|stretch| !stretch.is_empty())
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
