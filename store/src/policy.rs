//! How exact old samples are kept.

use std::str::FromStr;

use crate::query::parse_span;

/// Times of samples become coarser with their age. Each tier holds from its age on, until the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    tiers: Vec<Tier>,
}

/// How samples of an age are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tier {
    /// From this age on, in milliseconds.
    pub after_ms: i64,
    /// In time buckets of this length, in milliseconds.
    pub step_ms: i64,
}

const SECOND: i64 = 1000;
const HOUR: i64 = 3600 * SECOND;
const DAY: i64 = 24 * HOUR;
/// A thousand years: sums of ages and times do not overflow.
const MAX_AGE_MS: i64 = 365_000 * DAY;
/// More would not be told apart.
const MAX_TIERS: usize = 8;

impl Default for Policy {
    /// Exact for a day, 10 s for a week, 1 min for 90 days, 1 h after.
    fn default() -> Self {
        let tier = |after_ms, step_ms| Tier { after_ms, step_ms };
        let (week, quarter) = (7 * DAY, 90 * DAY);
        Self { tiers: vec![tier(DAY, 10 * SECOND), tier(week, 60 * SECOND), tier(quarter, HOUR)] }
    }
}

impl Policy {
    /// Exact for ever.
    pub fn exact() -> Self {
        Self { tiers: Vec::new() }
    }

    /// A policy of these tiers.
    ///
    /// # Errors
    /// When they do not get older and coarser one by one, or when a step does not fit into an hour or a day.
    pub fn new(tiers: Vec<Tier>) -> Result<Self, String> {
        if tiers.len() > MAX_TIERS {
            return Err(format!("{} steps, at most {MAX_TIERS}", tiers.len()));
        }
        for tier in &tiers {
            let fits = tier.step_ms >= 10 * SECOND
                && (HOUR % tier.step_ms == 0 || (tier.step_ms % HOUR == 0 && DAY % tier.step_ms == 0));
            if !fits {
                return Err(format!(
                    "{} s is no step: 10s or more, so that whole ones fit into an hour, or whole hours into a day",
                    tier.step_ms / SECOND
                ));
            }
        }
        let grows = |pair: &[Tier]| {
            pair[0].after_ms < pair[1].after_ms
                && pair[0].step_ms < pair[1].step_ms
                && pair[1].step_ms % pair[0].step_ms == 0
        };
        if !tiers.windows(2).all(grows) || tiers.first().is_some_and(|tier| tier.after_ms < 0) {
            return Err(
                "each age must be longer than the one before, its step a multiple of the one before".into()
            );
        }
        Ok(Self { tiers })
    }

    /// The tiers, youngest first.
    pub fn tiers(&self) -> &[Tier] {
        &self.tiers
    }

    /// Length of the time buckets of samples of an age; 0 where they are exact.
    pub(crate) fn resolution_ms(&self, age_ms: i64) -> i64 {
        self.tiers.iter().rev().find(|tier| tier.after_ms <= age_ms).map_or(0, |tier| tier.step_ms)
    }

    /// How long samples are exact; none where it is for ever.
    pub(crate) fn exact_for_ms(&self) -> Option<i64> {
        self.tiers.first().map(|tier| tier.after_ms)
    }
}

/// `24h=10s,7d=1m,90d=1h`: an age and the step from it on; `exact` for none.
impl FromStr for Policy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim() == "exact" {
            return Ok(Self::exact());
        }
        let tier = |part: &str| {
            let (age, step) =
                part.split_once('=').ok_or_else(|| format!("`{part}` is not AGE=STEP, as 24h=10s"))?;
            Ok(Tier { after_ms: span(age)?, step_ms: span(step)? })
        };
        Self::new(text.split(',').map(tier).collect::<Result<_, String>>()?)
    }
}

fn span(text: &str) -> Result<i64, String> {
    let span = parse_span(text.trim()).filter(|span| *span <= MAX_AGE_MS);
    span.ok_or_else(|| format!("`{text}` is no span of time, as 10s, 5m, 24h or 7d"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_what_its_text_says() {
        assert_eq!("24h=10s,7d=1m,90d=1h".parse(), Ok(Policy::default()));
        assert_eq!("exact".parse(), Ok(Policy::exact()));
    }

    #[test]
    fn each_age_has_its_step() {
        let policy = Policy::default();
        let at =
            [0, DAY - 1, DAY, 7 * DAY - 1, 7 * DAY, 90 * DAY, 900 * DAY].map(|age| policy.resolution_ms(age));
        assert_eq!(at, [0, 0, 10_000, 10_000, 60_000, HOUR, HOUR]);
        assert_eq!(Policy::exact().resolution_ms(i64::MAX), 0);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let bad = [
            "",
            "1h",
            "1h=",
            "=10s",
            "1h=7s",
            "1h=5s",
            "1h=7h",
            "1h=2d",
            "2h=10s,1h=1m",
            "1h=1m,2h=10s",
            "1h=20s,2h=50s",
            "1h=ms",
            "9999999999999999w=1h",
            "日=本",
        ];
        for text in bad {
            assert!(text.parse::<Policy>().is_err(), "{text}");
        }
        assert!("1h=1d".parse::<Policy>().is_ok());
    }
}
