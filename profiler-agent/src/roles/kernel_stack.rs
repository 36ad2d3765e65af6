//! `vesta debug kernel-stack`: the two ways to take a kernel stack, compared.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use profiler_unwind::orc::KernelEnd;
use serde_json::{Value, json};

use crate::{
    bpf::{Comparison, ComparisonError, KernelComparisons},
    cli::debug::KernelStackArgs,
    exit::{Code, Failure},
    roles::{print_json, print_text},
    signals::StopRequest,
};

/// How often the ring is emptied.
const POLL: Duration = Duration::from_millis(50);
/// Times that are kept, of each way: enough for any percentile, in 8 MB.
const TIMES_MAX: usize = 1 << 20;

/// Compares for a while and prints what came out.
pub(crate) fn run(args: &KernelStackArgs) -> Result<(), Failure> {
    let stop = StopRequest::listen().map_err(Failure::error)?;
    let mut comparisons = KernelComparisons::start(args.frequency).map_err(failure)?;
    let started = Instant::now();
    let mut found = Findings::default();
    while started.elapsed() < args.duration.0 && !stop.requested() {
        std::thread::sleep(POLL);
        comparisons.drain(|comparison| found.add(&comparison));
    }
    comparisons.stop()?;
    comparisons.drain(|comparison| found.add(&comparison));
    if args.json { print_json(&found.json()) } else { print_text(&found.text()) }
}

fn failure(error: ComparisonError) -> Failure {
    match error {
        ComparisonError::Bpf(error) => error.into(),
        ComparisonError::NoRules(_) => Failure::new(Code::Machine, error),
    }
}

/// What was found.
#[derive(Default)]
struct Findings {
    samples: u64,
    frames: u64,
    /// Walks by the tables that got to the end.
    whole: u64,
    /// Of these: the kernel's own walk found other frames.
    different: u64,
    ends: BTreeMap<&'static str, u64>,
    rules: Times,
    kernel: Times,
}

impl Findings {
    fn add(&mut self, comparison: &Comparison) {
        self.samples += 1;
        self.frames += comparison.frames;
        *self.ends.entry(comparison.end.map_or("unknown", KernelEnd::name)).or_default() += 1;
        if comparison.end.is_some_and(|end| KernelEnd::is_whole(end as u8)) {
            self.whole += 1;
            self.different += u64::from(!comparison.is_same);
        }
        // Whoever comes second finds the stack in the cache.
        if comparison.rules_first {
            self.rules.add(comparison.rules_ns);
        } else {
            self.kernel.add(comparison.kernel_ns);
        }
    }

    fn frames_per_sample(&self) -> f64 {
        self.frames as f64 / self.samples.max(1) as f64
    }

    fn json(&mut self) -> Value {
        json!({
            "samples": self.samples,
            "frames_per_sample": self.frames_per_sample(),
            "whole": self.whole,
            "different": self.different,
            "ends": self.ends,
            "by_tables_ns": self.rules.json(),
            "by_kernel_ns": self.kernel.json(),
        })
    }

    fn text(&mut self) -> String {
        let ends: Vec<String> = self.ends.iter().map(|(end, count)| format!("{end} {count}")).collect();
        format!(
            "{} samples in the kernel, {:.1} frames each\n\
             {} walks by the tables reached the end, {} of them differ from the kernel's own\n\
             ends: {}\n\
             by the tables {}\nby the kernel {}\n",
            self.samples,
            self.frames_per_sample(),
            self.whole,
            self.different,
            ends.join(", "),
            self.rules.text(),
            self.kernel.text(),
        )
    }
}

/// Times of one way, where it came first.
#[derive(Default)]
struct Times(Vec<u64>);

impl Times {
    fn add(&mut self, ns: u64) {
        if self.0.len() < TIMES_MAX {
            self.0.push(ns);
        }
    }

    fn percentile(&mut self, percent: usize) -> Option<u64> {
        self.0.sort_unstable();
        self.0.get(self.0.len().saturating_sub(1) * percent / 100).copied()
    }

    fn mean(&self) -> u64 {
        self.0.iter().sum::<u64>() / (self.0.len() as u64).max(1)
    }

    fn json(&mut self) -> Value {
        json!({ "p50": self.percentile(50), "p90": self.percentile(90), "mean": self.mean() })
    }

    fn text(&mut self) -> String {
        let us =
            |ns: Option<u64>| ns.map_or_else(|| "unknown".into(), |ns| format!("{:.1} µs", ns as f64 / 1e3));
        format!(
            "p50 {}, p90 {}, mean {}",
            us(self.percentile(50)),
            us(self.percentile(90)),
            us(Some(self.mean()))
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_of_a_sample_is_timed_and_only_whole_walks_are_compared() {
        let whole = Comparison {
            rules_ns: 1,
            kernel_ns: 20,
            frames: 3,
            end: Some(KernelEnd::Complete),
            rules_first: true,
            is_same: true,
        };
        let handed_over =
            Comparison { end: Some(KernelEnd::ForeignCode), rules_first: false, is_same: false, ..whole };
        let mut found = Findings::default();
        for comparison in [whole, handed_over, Comparison { is_same: false, rules_ns: 3, ..whole }] {
            found.add(&comparison);
        }
        let json = found.json();
        assert_eq!((&json["samples"], &json["whole"], &json["different"]), (&json!(3), &json!(2), &json!(1)));
        assert_eq!(json["by_tables_ns"], json!({ "p50": 1, "p90": 1, "mean": 2 }));
        assert_eq!(json["by_kernel_ns"]["mean"], json!(20));
        assert_eq!(json["ends"], json!({ "complete": 2, "foreign_code": 1 }));
        assert!(Findings::default().text().contains("p50 unknown"));
    }
}
