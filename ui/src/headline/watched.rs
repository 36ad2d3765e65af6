//! How much of a range was watched: the rest says nothing about load.

use store::{TimeRange, Timeline};

/// A stretch without any sample that is this long is no idle machine: an agent's own work makes some.
const UNWATCHED_MS: i64 = 20_000;
/// From so many neighbours the nearest two tell how coarse times are.
const FEW_PAIRS: usize = 3;
/// Buckets of a time line that tells.
const BUCKETS: i64 = 1500;

/// The length of buckets that tell how much of a range was watched.
pub(super) fn step_ms(range: TimeRange) -> i64 {
    (range.len_ms() / BUCKETS).max(1000)
}

/// Milliseconds of a range that were watched: those for which there is data, without the stretches in which nothing at
/// all was sampled. `everything` is a time line of all samples.
pub fn watched_ms(everything: &Timeline, data: TimeRange) -> i64 {
    let mut seen = vec![false; everything.complete.len()];
    let groups = everything.groups.iter().map(|group| &group.samples);
    for samples in groups.chain([&everything.other.samples]) {
        for (seen, samples) in seen.iter_mut().zip(samples) {
            *seen |= *samples > 0;
        }
    }
    let observed: Vec<i64> = (0..).zip(&seen).filter(|(_, seen)| **seen).map(|(bucket, _)| bucket).collect();
    let (Some(_), Some(last)) = (observed.first(), observed.last()) else { return 0 };
    let step_ms = everything.step_ms;
    let newest_ms = everything.from_ms + last * step_ms;
    let from_ms = everything.from_ms.max(data.from_ms);
    let until_ms = everything.until_ms.min(data.until_ms.max(newest_ms));
    // Old samples stand at the starts of coarser buckets: what lies between two of these is no gap.
    let distances = || observed.windows(2).map(|pair| (pair[1] - pair[0]) * step_ms);
    let resolution_ms = distances().min().filter(|_| observed.len() > FEW_PAIRS).unwrap_or(step_ms);
    let unwatched = distances().filter(|ms| ms - step_ms >= UNWATCHED_MS.max(resolution_ms * 2));
    let gaps: i64 = unwatched.map(|ms| ms - resolution_ms).sum();
    (until_ms - from_ms - gaps).max(0)
}

#[cfg(test)]
mod tests {
    use store::{Group, OtherGroups};

    use super::*;

    /// A time line of one group.
    fn line(from_ms: i64, step_ms: i64, samples: &[u64]) -> Timeline {
        let buckets = samples.len();
        let until_ms = from_ms + step_ms * buckets as i64;
        let total = samples.iter().sum();
        Timeline {
            from_ms,
            until_ms,
            step_ms,
            period_ns: 1,
            by: "host".to_owned(),
            groups: vec![Group { value: "a".to_owned(), total, samples: samples.to_vec() }],
            other: OtherGroups { groups: 0, total: 0, samples: vec![0; buckets] },
            complete: vec![0; buckets],
            lost: vec![0; buckets],
            rates: Vec::new(),
            skipped: Vec::new(),
        }
    }

    #[test]
    fn an_idle_moment_is_watched_and_a_long_silence_is_not() {
        let data = TimeRange { from_ms: 0, until_ms: 1_000_000 };
        let mut samples = vec![1; 100];
        samples[40..50].fill(0);
        assert_eq!(watched_ms(&line(0, 1000, &samples), data), 100_000);
        samples[40..70].fill(0);
        assert_eq!(watched_ms(&line(0, 1000, &samples), data), 70_000);
        assert_eq!(watched_ms(&line(0, 1000, &[0; 100]), data), 0);
    }

    #[test]
    fn what_lies_outside_the_data_was_not_watched() {
        let line = line(0, 1000, &[1; 100]);
        assert_eq!(watched_ms(&line, TimeRange { from_ms: 30_000, until_ms: 200_000 }), 70_000);
        // Samples prove more than an older look at the data.
        assert_eq!(watched_ms(&line, TimeRange { from_ms: 0, until_ms: 20_000 }), 99_000);
    }

    #[test]
    fn coarse_samples_have_no_gaps_between_them() {
        let minutes: Vec<u64> = (0..600).map(|second| u64::from(second % 60 == 0)).collect();
        let data = TimeRange { from_ms: 0, until_ms: 1_000_000 };
        assert_eq!(watched_ms(&line(0, 1000, &minutes), data), 600_000);
    }
}
