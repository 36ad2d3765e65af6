//! Stacks that perf has copied, walked by perf and by us. `cargo xtask bench unwind-agreement` runs it; its arguments are
//! what `perf record --call-graph dwarf` has written, what `perf script` makes of it, and how many differences to show.
#![expect(clippy::print_stdout, reason = "its results are for people, or for xtask")]

#[path = "../../tests/it/perf_lists.rs"]
mod perf_lists;
mod trace;
mod walk;

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::fs;
use std::path::Path;

use perf_lists::{Difference, Frame, Key, Ours, difference};
use trace::{Process, Sample};
use walk::{Files, Known, Walked};

/// Frames that are shown before the first difference, and from there on.
const SHOWN_BEFORE: usize = 3;
const SHOWN_AFTER: usize = 3;

/// What was found.
struct Comparison {
    perf: HashMap<Key, Vec<u64>>,
    files: Files,
    samples: u64,
    differences: BTreeMap<Difference, u64>,
    /// Samples of which perf has no copy of the stack: of processes in exec or exit.
    without_copy: u64,
    /// Samples that perf's own list does not have.
    without_list: u64,
    /// Differences that are still to be shown.
    to_show: u64,
}

impl Comparison {
    fn add(&mut self, sample: &Sample, process: &Process) {
        if sample.stack.is_empty() {
            self.without_copy += 1;
            return;
        }
        let Some(theirs) = self.perf.get(&(sample.tid, sample.time_ns)) else {
            self.without_list += 1;
            return;
        };
        let known = Known::of(sample, process, &self.files);
        let walked = known.walk();
        let took_popped = known.took_popped.get();
        let ours = Ours { frames: frames(&known, &walked), end: walked.end, took_popped };
        let difference = difference(&ours, theirs);
        self.samples += 1;
        *self.differences.entry(difference).or_default() += 1;
        if difference != Difference::None && self.to_show > 0 {
            self.to_show -= 1;
            show(&known, &walked, &ours.frames, theirs, difference);
        }
    }
}

/// Our frames, as perf names them.
fn frames(known: &Known<'_>, walked: &Walked) -> Vec<Frame> {
    let frame = |(address, method): (&u64, &_)| Frame {
        place: known.process.place(*address),
        method: *method,
        is_in_file: known.has_file(*address),
        is_described: known.is_described(*address),
        is_misplaced_by_perf: known.process.is_misplaced_by_perf(*address),
    };
    walked.addresses.iter().zip(&walked.methods).map(frame).collect()
}

/// For people: lines that begin with a space.
fn show(known: &Known<'_>, walked: &Walked, ours: &[Frame], theirs: &[u64], difference: Difference) {
    let judge = known.by_call_frame_information();
    println!(
        " {}: thread {}, {} of ours, {} of perf's, ended by {:?}; the call frame information itself leads to {}",
        difference.name(),
        known.sample.tid,
        ours.len(),
        theirs.len(),
        walked.end,
        if judge.addresses == walked.addresses { "ours" } else { "other frames" }
    );
    let first = ours.iter().zip(theirs).take_while(|(frame, place)| frame.place == **place).count();
    for at in first.saturating_sub(SHOWN_BEFORE)..first + SHOWN_AFTER {
        let text = |place: Option<u64>| place.map_or_else(String::new, |place| format!("{place:x}"));
        let file = walked.addresses.get(at).and_then(|address| known.process.mapping(*address));
        println!(
            "   {at:>4} {:>16} {:>16}  {:?} {}",
            text(ours.get(at).map(|frame| frame.place)),
            text(theirs.get(at).copied()),
            walked.methods.get(at),
            file.map_or("", |mapping| &mapping.path),
        );
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [data, script, to_show] = &arguments[..] else {
        return Err("the arguments are perf.data, perf script's output, and a number".into());
    };
    let mut comparison = Comparison {
        perf: perf_lists::lists(&fs::read_to_string(script)?),
        files: Files::default(),
        samples: 0,
        differences: BTreeMap::new(),
        without_copy: 0,
        without_list: 0,
        to_show: to_show.parse()?,
    };
    trace::read(Path::new(data), |sample, process| comparison.add(sample, process))?;
    println!("{} samples", comparison.samples);
    println!("{} without a copy of the stack", comparison.without_copy);
    println!("{} that perf script does not print", comparison.without_list);
    for (difference, count) in &comparison.differences {
        println!("{count} {}", difference.name());
    }
    Ok(())
}
