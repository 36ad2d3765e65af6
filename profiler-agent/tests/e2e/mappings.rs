//! Code at addresses that change hands: processes with the id of another, mappings that are moved, cut and replaced.

use std::{fs, process::Command, thread, time::Duration};

use testprogs::{
    Program,
    Variant::{FramePointers, NoFramePointers},
};

use crate::vesta::{Background, Recording, program, quiet, record};

const FAST: &[&str] = &["--frequency", "499"];
/// The id after this one is given to the next process, if no other is quicker.
const LAST_PID: &str = "/proc/sys/kernel/ns_last_pid";

/// Starts a program under this id, which nobody has. None where others were quicker, many times.
fn start_as(pid: u32, program: &str, arguments: &[&str]) -> Option<Background> {
    for _ in 0..200 {
        fs::write(LAST_PID, (pid - 1).to_string()).expect("CONFIG_CHECKPOINT_RESTORE, and root");
        let child = Background::start(program, arguments);
        if child.0.id() == pid {
            return Some(child);
        }
    }
    None
}

#[test]
fn a_process_with_the_id_of_another_that_has_ended_has_its_own_names() {
    let _quiet = quiet();
    let (shares, recursion) =
        (program(Program::Shares, NoFramePointers), program(Program::Recursion, NoFramePointers));
    let recorder = thread::spawn(|| record(&[FAST, &["--duration", "7s"]].concat(), &[]));
    thread::sleep(Duration::from_millis(1500));
    let mut reused = 0;
    for _ in 0..3 {
        let mut first = Command::new(&shares).arg("0.6").spawn().unwrap();
        let pid = first.id();
        assert!(first.wait().unwrap().success());
        if let Some(mut second) = start_as(pid, &recursion, &["60", "0.6"]) {
            reused += 1;
            assert!(second.0.wait().unwrap().success());
        }
    }
    let recording: Recording = recorder.join().unwrap();
    assert!(reused > 0, "no id was used again");
    let burns = ["burn_seventy", "burn_twenty", "burn_ten"];
    for (process, own, other) in
        [("shares", &burns[..], &["descend"][..]), ("recursion", &["descend"], &burns)]
    {
        let of = |functions: &[&str]| {
            recording.samples(|stack| {
                stack.process == process && functions.iter().any(|function| stack.has(function))
            })
        };
        let all = recording.samples(|stack| stack.process == process);
        assert!(of(own) > 20 && of(own) * 100 >= all * 90, "{process}: {all}\n{}", recording.show());
        assert_eq!(of(other), 0, "{process}\n{}", recording.show());
    }
}

#[test]
fn code_that_was_moved_cut_free_or_replaced_has_its_own_names() {
    let _quiet = quiet();
    let recording = record(FAST, &[&program(Program::Remapped, NoFramePointers), "5"]);
    for (caller, right, wrong) in [
        ("run_moved", "first_burn", "second_burn"),
        ("run_cut", "second_burn", "first_burn"),
        ("run_first", "first_burn", "second_burn"),
        ("run_second", "second_burn", "first_burn"),
    ] {
        let named = recording.samples(|stack| stack.has(caller) && stack.has(right) && stack.has("main"));
        let all = recording.samples(|stack| stack.has(caller));
        let mistaken = recording.samples(|stack| stack.has(caller) && stack.has(wrong));
        assert!(all > 20 && named * 100 >= all * 95, "{caller}: {named} of {all}\n{}", recording.show());
        // A sample between the call of mmap and its record has the clock to tell them apart, and nothing else.
        assert!(mistaken * 100 <= all, "{caller}: {mistaken} of {all}\n{}", recording.show());
    }
}

#[test]
fn a_process_with_sixty_thousand_mappings_has_names_and_its_maps_are_hardly_ever_read() {
    let _quiet = quiet();
    // As many as the kernel allows by default, but for those that every process has.
    let recording = record(FAST, &[&program(Program::Mapped, NoFramePointers), "60000", "4"]);
    let all = recording.samples(|stack| stack.process == "mapped" && stack.has("burn"));
    let named = recording.samples(|stack| stack.has("burn") && stack.has("main") && stack.is_whole());
    assert!(all > 40 && named * 100 >= all * 95, "{named} of {all}\n{}", recording.show());
    // One reading takes tens of milliseconds at least, and 99 times as long must pass before the next one.
    assert!(recording.number("maps_reads") <= 4, "{}", recording.summary);
    assert_eq!(recording.summary["lost"]["queue_full"], 0, "{}", recording.summary);
}

#[test]
fn nested_templates_and_what_is_inlined_into_them_have_names() {
    let _quiet = quiet();
    let recording = record(FAST, &[&program(Program::Templates, FramePointers), "3"]);
    let has = |start: &'static str| {
        move |stack: &crate::vesta::Stack| stack.frames.iter().any(|frame| frame.starts_with(start))
    };
    let evaluate = has("forest::evaluate<forest::Sum<forest::Product<forest::Sum<");
    let leaf = has("forest::Leaf<");
    let fold = has("forest::fold<unsigned long, main::{lambda");
    // Of an inlined function whose parameters have no name of their own, debug info has no full name.
    let accumulate = has("accumulate<__gnu_cxx::");
    let trees = recording.samples(|stack| evaluate(stack));
    let leaves = recording.samples(|stack| evaluate(stack) && leaf(stack));
    let folds = recording.samples(|stack| fold(stack));
    let inlined = recording.samples(|stack| fold(stack) && accumulate(stack));
    let inside = recording.samples(|stack| {
        evaluate(stack) && stack.frames.iter().any(|frame| frame.ends_with("::at(unsigned long)_[i]"))
    });
    assert!(trees > 20 && inside * 100 >= trees * 80, "{inside} of {trees}\n{}", recording.show());
    assert!(leaves * 100 >= trees * 20, "{leaves} of {trees}\n{}", recording.show());
    assert!(folds > 20 && inlined * 100 >= folds * 80, "{inlined} of {folds}\n{}", recording.show());
}
