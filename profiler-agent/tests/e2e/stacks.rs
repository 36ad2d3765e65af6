//! Stacks of programs whose stacks are known.

use testprogs::{
    Program,
    Variant::{FramePointers, NoFramePointers, Static, Stripped},
};

use crate::vesta::{Recording, Stack, program, quiet, record};

/// Fast enough for narrow confidence within seconds.
const FAST: &[&str] = &["--frequency", "997"];
/// Samples that make a finding one, even when the machine is busy with other tests and a program gets a fifth of a CPU.
const ENOUGH: u64 = 100;

fn share(recording: &Recording, process: &str, function: &str) -> f64 {
    let part = recording.samples(|stack| stack.process == process && stack.has(function));
    part as f64 * 100.0 / recording.samples(|stack| stack.process == process) as f64
}

/// Never called complete unless it reaches the start of the program. In exec and exit there is no user stack.
fn no_whole_stack_misses_main(recording: &Recording, process: &str) {
    let is_kernel = |frame: &String| frame.ends_with("_[k]");
    let whole = |stack: &&Stack| stack.is_whole() && !stack.frames.iter().all(is_kernel);
    for stack in recording.stacks.iter().filter(|stack| stack.process == process).filter(whole) {
        let starts = ["main", "_start", "_dl_start_user", "start_thread"];
        // A stripped dynamic linker has no name for its start.
        let in_linker = stack.frames.first().is_some_and(|frame| frame.starts_with("[ld-linux"));
        assert!(
            in_linker || starts.iter().any(|start| stack.has(start)),
            "called complete: {:?}",
            stack.frames
        );
    }
}

#[test]
fn a_mix_of_known_shares_is_measured_and_every_stack_reaches_main() {
    let _quiet = quiet();
    for variant in [FramePointers, Static] {
        let recording = record(FAST, &[&program(Program::Shares, variant), "3"]);
        assert!(recording.number("samples_taken") > 5 * ENOUGH, "{}", recording.summary);
        for (function, expected) in [("burn_seventy", 70.0), ("burn_twenty", 20.0), ("burn_ten", 10.0)] {
            let measured = share(&recording, "shares", function);
            assert!((measured - expected).abs() < 4.0, "{function}: {measured} %\n{}", recording.show());
        }
        let (complete, user) = (recording.number("complete"), recording.number("user_stacks"));
        // The first milliseconds are the dynamic linker's, which keeps no frame pointers.
        assert!(complete * 1000 >= user * 985, "{complete} of {user} complete\n{}", recording.show());
        let burning = |stack: &Stack| stack.has("work");
        assert_eq!(
            recording.samples(|stack| burning(stack) && !(stack.has("main") && stack.is_whole())),
            0,
            "{}",
            recording.show()
        );
        no_whole_stack_misses_main(&recording, "shares");
    }
}

/// A walk follows the last one of its thread where the stack is the same: here it looks the same, but for one word.
#[test]
fn callers_that_take_turns_at_the_same_place_are_told_apart() {
    let _quiet = quiet();
    for variant in [FramePointers, NoFramePointers] {
        let recording = record(FAST, &[&program(Program::Callers, variant), "3"]);
        for (caller, burning) in [("one_caller", "burn_for_one"), ("other_caller", "burn_for_other")] {
            let found = |stack: &Stack| stack.is_whole() && stack.has(burning);
            assert!(recording.samples(found) > 3 * ENOUGH, "{}", recording.show());
            let path = ["main", "by_turns", caller, "between"];
            let wrong = |stack: &Stack| {
                let callers = stack.has("one_caller") && stack.has("other_caller");
                found(stack) && (callers || !path.iter().all(|function| stack.has(function)))
            };
            assert_eq!(recording.samples(wrong), 0, "{}", recording.show());
        }
    }
}

#[test]
fn a_program_without_frame_pointers_is_walked_by_its_tables() {
    let _quiet = quiet();
    let recording = record(FAST, &[&program(Program::Shares, NoFramePointers), "4"]);
    let (complete, user) = (recording.number("complete"), recording.number("user_stacks"));
    // Until the tables are built copies of stacks are walked, fewer than are sampled at this rate.
    assert!(complete * 10 > user * 6, "{complete} of {user} complete\n{}", recording.show());
    no_whole_stack_misses_main(&recording, "shares");
    let by_table = |stack: &Stack| stack.is_whole() && stack.has("_start");
    let walked = recording.samples(by_table) as f64;
    for (function, expected) in [("burn_seventy", 70.0), ("burn_twenty", 20.0), ("burn_ten", 10.0)] {
        let burning = |stack: &Stack| by_table(stack) && stack.has(function);
        let measured = recording.samples(burning) as f64 * 100.0 / walked;
        assert!((measured - expected).abs() < 5.0, "{function}: {measured} %\n{}", recording.show());
        let path = |stack: &Stack| burning(stack) && !(stack.has("work") && stack.has("main"));
        assert_eq!(recording.samples(path), 0, "{}", recording.show());
    }
    // What is not complete says so in the stack, too.
    let marked = recording.samples(|stack| stack.frames.iter().any(|frame| frame == "[no frame pointer]"));
    assert_eq!(marked, recording.summary["incomplete"]["no_frame_pointer"].as_u64().unwrap_or(0));
}

#[test]
fn deep_recursion_is_walked_frame_by_frame_and_the_limit_is_told() {
    let _quiet = quiet();
    let recursion = program(Program::Recursion, FramePointers);
    for depth in [60usize, 900] {
        let recording = record(FAST, &[&recursion, &depth.to_string(), "1"]);
        let mut seen = 0;
        for stack in recording.stacks.iter().filter(|stack| stack.has("burn_at_bottom")) {
            let descents = stack.frames.iter().filter(|frame| *frame == "descend").count();
            assert_eq!(descents, depth, "{:?}", stack.frames);
            assert!(stack.is_whole() && stack.has("main"));
            seen += stack.samples;
        }
        assert!(seen > ENOUGH, "{seen} samples at the bottom");
    }
    let recording = record(FAST, &[&recursion, "1500", "1"]);
    let reasons = &recording.summary["incomplete"];
    assert!(reasons["depth_limit"].as_u64() > Some(ENOUGH), "{}", recording.summary);
    let cut = recording.stacks.iter().find(|stack| stack.has("burn_at_bottom")).unwrap();
    assert_eq!(cut.frames[0], "[depth limit]");
    assert!(cut.frames.iter().filter(|frame| *frame == "descend").count() > 1000);
}

#[test]
fn callers_beyond_a_large_frame_are_found_before_there_are_tables() {
    let _quiet = quiet();
    let recursion = program(Program::Recursion, NoFramePointers);
    // Each process lives for some samples, of which the first has a copy for certain.
    let script = format!(
        "for run in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do {recursion} 60 0.03 1; done"
    );
    let recording = record(&["--frequency", "149"], &["sh", "-c", &script]);
    let mut seen = 0;
    for stack in recording.stacks.iter().filter(|stack| stack.has("burn_at_bottom")) {
        let descents = stack.frames.iter().filter(|frame| *frame == "descend").count();
        assert!(stack.is_whole() && descents == 120 && stack.has("in_large_frame"), "{:?}", stack.frames);
        seen += stack.samples;
    }
    assert!(seen > 20, "{}", recording.show());
}

#[test]
fn threads_have_names_and_cpp_functions_are_demangled_with_what_is_inlined() {
    let _quiet = quiet();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("threads.pb.gz");
    let threads = program(Program::Threads, FramePointers);
    crate::vesta::run(
        &["record", "--frequency", "997", "-o", file.to_str().unwrap(), "--", &threads, "4", "2"],
        0,
    );
    let profile = crate::vesta::pprof(&file);
    let string = |index: i64| profile.string_table[index as usize].as_str();
    let mut by_thread = std::collections::BTreeMap::<&str, std::collections::BTreeSet<&str>>::new();
    for sample in &profile.sample {
        let thread =
            sample.label.iter().find(|label| string(label.key) == "thread").map(|l| string(l.str)).unwrap();
        let names = by_thread.entry(thread).or_default();
        for id in &sample.location_id {
            let location = profile.location.iter().find(|location| location.id == *id).unwrap();
            for line in &location.line {
                let function =
                    profile.function.iter().find(|function| function.id == line.function_id).unwrap();
                names.insert(string(function.name));
            }
        }
    }
    for (thread, function) in [
        ("worker-0", "mill::Grinder<mill::Coarse>::grind(unsigned long)"),
        ("worker-1", "mill::Grinder<mill::Fine>::grind(unsigned long)"),
        ("worker-2", "mill::press(unsigned long, int)"),
        ("worker-3", "mill::(anonymous namespace)::sift(std::pair<unsigned long, int> const&)"),
    ] {
        let names = by_thread.get(thread).unwrap_or_else(|| panic!("{thread} in {by_thread:?}"));
        for wanted in [function, "mill::Wheel::turn(unsigned long)", "mill::tooth(unsigned long)"] {
            assert!(names.contains(wanted), "{wanted} in {thread}: {names:?}");
        }
    }
}

#[test]
fn a_rust_programs_inlined_functions_are_told_from_real_ones() {
    let _quiet = quiet();
    let recording = record(FAST, &[&program(Program::Inlines, FramePointers), "1"]);
    let inlined = recording.samples(|stack| stack.frames.iter().any(|frame| frame.ends_with("_[i]")));
    assert!(inlined > ENOUGH, "{}", recording.show());
    no_whole_stack_misses_main(&recording, "inlines");
}

#[test]
fn system_calls_show_the_kernel_on_top_of_the_function_that_made_them() {
    let _quiet = quiet();
    let recording = record(FAST, &[&program(Program::Syscalls, FramePointers), "2"]);
    let in_kernel = |stack: &Stack| stack.frames.iter().any(|frame| frame.ends_with("_[k]"));
    let reading = recording.samples(|stack| stack.has("read_zero") && in_kernel(stack));
    let all = recording.samples(|stack| stack.process == "syscalls");
    assert!(reading * 3 > all, "{reading} of {all}\n{}", recording.show());
    for stack in recording.stacks.iter().filter(|stack| stack.has("read_zero") && in_kernel(stack)) {
        let user = stack.frames.iter().position(|frame| frame == "read_zero").unwrap();
        let kernel = stack.frames.iter().position(|frame| frame.ends_with("_[k]")).unwrap();
        assert!(user < kernel, "{:?}", stack.frames);
        assert!(stack.has("busy_syscalls") && stack.has("main"), "{:?}", stack.frames);
    }
}

#[test]
fn processes_that_live_thirty_milliseconds_are_named() {
    let _quiet = quiet();
    let recording = record(FAST, &[&program(Program::ShortLived, FramePointers), "20", "3"]);
    let working = recording.samples(|stack| stack.has("short_work"));
    let all = recording.samples(|stack| stack.process == "short_lived");
    assert!(working > ENOUGH, "{working} samples in short_work\n{}", recording.show());
    // The rest are exec, the dynamic linker and exit.
    assert!(working * 10 > all * 6, "{working} of {all} samples are in short_work\n{}", recording.show());
    let nameless = recording.samples(|stack| {
        stack.frames.iter().any(|frame| frame.starts_with("[short_lived+") || frame == "[unknown]")
    });
    assert_eq!(nameless, 0, "{}", recording.show());
    no_whole_stack_misses_main(&recording, "short_lived");
}

#[test]
fn the_first_samples_of_processes_that_live_thirty_milliseconds_are_whole() {
    let _quiet = quiet();
    let recording = record(&[], &[&program(Program::ShortLived, NoFramePointers), "20", "4"]);
    let working = recording.samples(|stack| stack.has("short_work"));
    let whole = recording.samples(|stack| stack.has("short_work") && stack.has("main") && stack.is_whole());
    assert!(working > 20 && whole * 100 >= working * 95, "{whole} of {working} whole\n{}", recording.show());
}

#[test]
fn code_made_at_run_time_is_walked_through() {
    let _quiet = quiet();
    for in_memfd in ["0", "1"] {
        let recording = record(FAST, &[&program(Program::Jit, FramePointers), "1", in_memfd]);
        let through = recording.samples(|stack| {
            stack.is_whole() && stack.has("main") && stack.has("run_emitted") && stack.has("emitted_outer")
        });
        assert!(through > ENOUGH, "{}", recording.show());
    }
}

#[test]
fn a_stripped_programs_functions_show_as_file_and_offset() {
    let _quiet = quiet();
    let recording = record(FAST, &[&program(Program::Shares, Stripped), "1"]);
    let nameless =
        recording.samples(|stack| stack.frames.iter().any(|frame| frame.starts_with("[shares+0x")));
    let all = recording.samples(|stack| stack.process == "shares");
    assert!(nameless * 10 > all * 9, "{nameless} of {all}\n{}", recording.show());
}
