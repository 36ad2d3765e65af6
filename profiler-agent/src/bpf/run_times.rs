//! How long the BPF programs of the machine ran from one look to the next, whoever loaded them.

use std::collections::BTreeMap;

use aya::programs::{ProgramInfo, loaded_programs};

use super::loaded::{MOST_PROGRAMS, gone, run_time_ns};

/// Programs of a look that are told of by name, the longest first; the others are told of together. More are never of
/// interest, and each is a row of the store for every window.
const MOST_NAMED: usize = 32;
/// What counters of the store begin with; the tag of a program and its name follow, with a colon before each.
const COUNTER: &str = "bpf_run_ns";

/// What one look found, by the kernel's number of a program.
type Look = BTreeMap<u32, Ran>;

/// A program, and for how long it ran in all.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ran {
    /// Its tag and name: what is the same program after it was loaded anew.
    counter: String,
    ns: u64,
}

/// The last look.
#[derive(Debug, Default)]
pub(crate) struct RunTimes(Option<Look>);

impl RunTimes {
    /// The counters of the time since the last look, in nanoseconds; none the first time.
    ///
    /// # Errors
    /// In words, when the kernel does not tell of its programs.
    pub(crate) fn since_last(&mut self) -> Result<Vec<(String, u64)>, String> {
        let now = look()?;
        let told = self.0.as_ref().map(|before| differences(before, &now)).unwrap_or_default();
        self.0 = Some(now);
        Ok(told)
    }
}

fn look() -> Result<Look, String> {
    let mut found = Look::new();
    for info in loaded_programs().take(MOST_PROGRAMS) {
        match info {
            Ok(info) => {
                // Nobody measures, or it is gone already.
                let Some(ns) = run_time_ns(&info) else { continue };
                found.insert(info.id(), Ran { counter: counter(&info), ns });
            }
            Err(error) if gone(&error) => {}
            Err(error) => return Err(format!("the kernel does not tell of its BPF programs: {error}")),
        }
    }
    Ok(found)
}

fn counter(info: &ProgramInfo) -> String {
    format!("{COUNTER}:{:016x}:{}", info.tag(), String::from_utf8_lossy(info.name()))
}

/// What ran, longest first: those of the same code and name together.
fn differences(before: &Look, now: &Look) -> Vec<(String, u64)> {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for (id, ran) in now {
        // Loaded since: all that it ran. A number that was given to another program counts as such.
        let last = before.get(id).filter(|last| last.counter == ran.counter).map_or(0, |last| last.ns);
        *sums.entry(&ran.counter).or_default() += ran.ns.saturating_sub(last);
    }
    let mut told: Vec<(String, u64)> =
        sums.into_iter().filter(|(_, ns)| *ns > 0).map(|(counter, ns)| (counter.to_owned(), ns)).collect();
    told.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let others: u64 = told.iter().skip(MOST_NAMED).map(|(_, ns)| ns).sum();
    told.truncate(MOST_NAMED);
    if others > 0 {
        told.push((format!("{COUNTER}_others"), others));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looked(programs: &[(u32, &str, u64)]) -> Look {
        programs.iter().map(|(id, name, ns)| (*id, Ran { counter: (*name).to_owned(), ns: *ns })).collect()
    }

    fn told(before: &[(u32, &str, u64)], now: &[(u32, &str, u64)]) -> Vec<(String, u64)> {
        differences(&looked(before), &looked(now))
    }

    #[test]
    fn a_program_is_told_of_for_what_it_ran_since_the_last_look() {
        let before = [(1, "a", 100), (2, "b", 50), (3, "c", 70)];
        // 2 did not run, 3 is gone, 4 is new, 5 is the same code as 1.
        let now = [(1, "a", 130), (2, "b", 50), (4, "d", 5), (5, "a", 10)];
        assert_eq!(told(&before, &now), [("a".to_owned(), 40), ("d".to_owned(), 5)]);
    }

    #[test]
    fn a_number_that_another_program_has_now_counts_anew() {
        assert_eq!(told(&[(1, "a", 100)], &[(1, "b", 30)]), [("b".to_owned(), 30)]);
        // Somebody set the counters back.
        assert_eq!(told(&[(1, "a", 100)], &[(1, "a", 30)]), []);
    }

    #[test]
    fn many_programs_are_told_of_together() {
        let names: Vec<String> = (0..40).map(|n| format!("p{n:02}")).collect();
        let now: Vec<_> =
            names.iter().zip(0..).map(|(name, id)| (id, &**name, 100 - u64::from(id))).collect();
        let told = told(&[], &now);
        assert_eq!((told.len(), &told[0].0[..]), (MOST_NAMED + 1, "p00"));
        assert_eq!(told[MOST_NAMED], ("bpf_run_ns_others".to_owned(), (61..=68).sum()));
    }
}
