//! Ranges of time, as users write them.

use std::ops::Range;

use super::MAX_RECTANGLES;

/// A half-open range of Unix time in milliseconds, never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeRange {
    /// First millisecond within.
    pub from_ms: i64,
    /// First millisecond after.
    pub until_ms: i64,
}

/// Why a time or a range was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// Not a time.
    #[error(
        "`{0}` is not a time: use `now`, a span back from now such as `-90s`, `-15m`, `-2h`, `-7d` or \
         `now-1h30m`, RFC 3339 such as `2026-01-31T12:00:00Z`, or Unix seconds such as `1769860800.5`"
    )]
    NotATime(String),
    /// Out of the years 1970 to 9999.
    #[error("`{0}` is outside the years 1970 to 9999; a number is Unix seconds")]
    OutOfBounds(String),
    /// A range without a single millisecond.
    #[error("the range is empty: it starts at {from} and ends at {until}")]
    Empty {
        /// The start as given.
        from: String,
        /// The end as given.
        until: String,
    },
    /// Of rectangles there are none or too many.
    #[error("parts of time are from 1 to {MAX_RECTANGLES} rectangles, not {0}")]
    Rectangles(usize),
}

/// First millisecond of the year 10000: times stay below, so that arithmetic on them cannot overflow.
pub(crate) const MAX_TIME_MS: i64 = 253_402_300_800_000;

impl TimeRange {
    /// All of time.
    pub const ALL: Self = Self { from_ms: 0, until_ms: MAX_TIME_MS };

    /// The range `from_ms..until_ms`.
    ///
    /// # Errors
    /// When it is empty.
    pub fn new(from_ms: i64, until_ms: i64) -> Result<Self, TimeError> {
        if from_ms >= until_ms {
            return Err(TimeError::Empty { from: from_ms.to_string(), until: until_ms.to_string() });
        }
        Ok(Self { from_ms, until_ms })
    }

    /// The range between two times as [`parse_time`] takes them.
    ///
    /// # Errors
    /// When one is not a time, or the first is not before the second.
    pub fn parse(from: &str, until: &str, now_ms: i64) -> Result<Self, TimeError> {
        let (from_ms, until_ms) = (parse_time(from, now_ms)?, parse_time(until, now_ms)?);
        Self::new(from_ms, until_ms)
            .map_err(|_| TimeError::Empty { from: from.to_owned(), until: until.to_owned() })
    }

    /// Its length in milliseconds.
    pub fn len_ms(&self) -> i64 {
        self.until_ms.saturating_sub(self.from_ms)
    }

    /// Whether the half-open range `from_ms..until_ms` has a millisecond in common with it.
    pub fn overlaps(&self, from_ms: i64, until_ms: i64) -> bool {
        from_ms < self.until_ms && self.from_ms < until_ms
    }

    /// The same as a range of the standard library.
    pub fn as_range(&self) -> Range<i64> {
        self.from_ms..self.until_ms
    }
}

/// A time in Unix milliseconds: `now`, `-15m` and `now-1h30m` (units ms, s, m, h, d, w), RFC 3339, or Unix
/// seconds with an optional fraction.
///
/// # Errors
/// When the text is none of these, or lies outside the years 1970 to 9999.
pub fn parse_time(text: &str, now_ms: i64) -> Result<i64, TimeError> {
    let text = text.trim();
    let back = text.strip_prefix("now").unwrap_or(text);
    let time = if back.is_empty() && !text.is_empty() {
        Some(now_ms)
    } else if let Some(span) = back.strip_prefix('-') {
        parse_span(span).map(|span| now_ms.saturating_sub(span))
    } else {
        parse_unix_seconds(text).or_else(|| text.parse::<jiff::Timestamp>().ok().map(|t| t.as_millisecond()))
    };
    match time {
        None => Err(TimeError::NotATime(text.to_owned())),
        Some(time) if !(0..MAX_TIME_MS).contains(&time) => Err(TimeError::OutOfBounds(text.to_owned())),
        Some(time) => Ok(time),
    }
}

/// A span of time in milliseconds: numbers each followed by a unit, e.g. `250ms`, `15m`, `1h30m`, `7d`.
pub fn parse_span(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut total = 0i64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let (unit, length) = match tail.as_bytes() {
            [b'm', b's', ..] => (1, 2),
            [b's', ..] => (1_000, 1),
            [b'm', ..] => (60_000, 1),
            [b'h', ..] => (3_600_000, 1),
            [b'd', ..] => (86_400_000, 1),
            [b'w', ..] => (604_800_000, 1),
            _ => return None,
        };
        total = total.checked_add(number.parse::<i64>().ok()?.checked_mul(unit)?)?;
        rest = &tail[length..];
    }
    (!text.is_empty()).then_some(total)
}

/// Decimal seconds to milliseconds, without the rounding of floating point; digits below a millisecond are
/// cut off.
fn parse_unix_seconds(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let millis: String = fraction.chars().chain("00".chars()).take(3).collect();
    whole.parse::<i64>().ok()?.checked_mul(1000)?.checked_add(millis.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_769_860_800_250;

    #[test]
    fn every_way_to_write_a_time_is_read() {
        let cases = [
            ("now", NOW),
            ("-15m", NOW - 900_000),
            ("-90s", NOW - 90_000),
            ("-1s250ms", NOW - 1_250),
            ("now-2h", NOW - 7_200_000),
            (" -7d ", NOW - 604_800_000),
            ("-1w", NOW - 604_800_000),
            ("-1h30m", NOW - 5_400_000),
            ("1769860800", 1_769_860_800_000),
            ("1769860800.5", 1_769_860_800_500),
            ("1769860800.0019", 1_769_860_800_001),
            ("2026-01-31T12:00:00Z", 1_769_860_800_000),
            ("2026-01-31T13:00:00.25+01:00", NOW),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_time(text, NOW), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused_with_what_would_be() {
        let bad = ["", "-", "now-", "soon", "-5", "-5y", "5m", "-5m3", "1.", ".5", "1e9", "2026-01-31", "-é"];
        for text in bad {
            let error = parse_time(text, NOW).unwrap_err();
            assert_eq!(error, TimeError::NotATime(text.to_owned()));
            assert!(error.to_string().contains("RFC 3339"), "{error}");
        }
        let huge = "99999999999999999999";
        assert_eq!(parse_time(huge, NOW), Err(TimeError::NotATime(huge.to_owned())));
        for text in ["253402300800", "-999999d", "-99999999999999d"] {
            assert!(matches!(parse_time(text, NOW), Err(TimeError::OutOfBounds(_) | TimeError::NotATime(_))));
        }
    }

    #[test]
    fn a_range_must_not_be_empty() {
        assert_eq!(
            TimeRange::parse("-1m", "now", NOW),
            Ok(TimeRange { from_ms: NOW - 60_000, until_ms: NOW })
        );
        let error = TimeRange::parse("now", "-1m", NOW).unwrap_err();
        assert_eq!(error.to_string(), "the range is empty: it starts at now and ends at -1m");
        assert!(TimeRange::new(5, 5).is_err());
    }
}
