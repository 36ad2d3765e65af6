//! Names of code made at run time: those that the code had when it was sampled.

use std::{fs, path::Path};

use testprogs::{Program, Variant::FramePointers};

use crate::vesta::{Background, Stack, program, quiet, record};

const FAST: &[&str] = &["--frequency", "499"];

/// Perf maps are left behind by what writes them.
fn remove_maps() {
    for entry in fs::read_dir("/tmp").unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix("perf-").and_then(|rest| rest.strip_suffix(".map"));
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn has_jit(stack: &Stack, name: &str) -> bool {
    stack.frames.iter().any(|frame| frame == &format!("{name}_[j]"))
}

#[test]
fn an_address_that_is_used_again_has_the_name_of_its_time() {
    let _quiet = quiet();
    let recording = record(FAST, &[&program(Program::JitReuse, FramePointers), "6"]);
    remove_maps();
    let both = |caller, name| recording.samples(|stack| stack.has(caller) && has_jit(stack, name));
    let right = both("run_red", "red") + both("run_blue", "blue");
    let wrong = both("run_red", "blue") + both("run_blue", "red");
    let nameless = recording.samples(|stack| has_jit(stack, "[jit]"));
    // Times of files are those of the tick before, 1 to 10 ms; half a tick is made up for.
    assert!(right > 300 && wrong * 100 <= right * 4, "{right} right, {wrong} wrong\n{}", recording.show());
    assert_eq!(nameless, 0, "{}", recording.show());
    assert!(both("run_red", "red") * 3 > right && both("run_blue", "blue") * 3 > right);
}

#[test]
fn code_of_a_process_in_other_namespaces_is_named_by_the_map_in_its_own_tmp() {
    let _quiet = quiet();
    // Its pid is another one inside, and so is its /tmp: nobody else sees the map.
    // Until it is killed: on a busy machine the recording begins seconds later.
    let script = format!("mount -t tmpfs none /tmp && exec {} 60", program(Program::Jit, FramePointers));
    let arguments = ["--mount", "--pid", "--kill-child", "--fork", "--mount-proc", "sh", "-c", &script];
    let inside = Background::start("unshare", &arguments);
    let recording = record(&["--frequency", "499", "--duration", "2s"], &[]);
    drop(inside);
    let named = recording.samples(|stack| stack.has("run_emitted") && has_jit(stack, "emitted_loop"));
    let all = recording.samples(|stack| stack.has("run_emitted"));
    assert!(named > 20 && named * 100 >= all * 98, "{named} of {all}\n{}", recording.show());
}

/// Calls itself often enough to be compiled, and stays busy.
const FIBONACCI: &str = "
function fibonacci(n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }
function work() { const end = Date.now() + 4000; let sum = 0; while (Date.now() < end) sum += fibonacci(20); return sum; }
work();
";

#[test]
fn functions_of_node_have_their_names_and_files() {
    let _quiet = quiet();
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("fibonacci.js");
    fs::write(&script, FIBONACCI).unwrap();
    let script = script.to_str().unwrap();
    for option in ["--perf-basic-prof", "--perf-prof"] {
        let run = format!("cd {} && exec node {option} --no-opt {script}", folder.path().display());
        let recording = record(FAST, &["sh", "-c", &run]);
        remove_maps();
        let is_jit = |stack: &Stack| stack.frames.iter().any(|frame| frame.ends_with("_[j]"));
        let made = recording.samples(is_jit);
        let nameless = recording.samples(|stack| has_jit(stack, "[jit]"));
        let fibonacci = recording.samples(|stack| {
            stack.frames.iter().any(|f| f.ends_with("fibonacci_[j]") && f.starts_with("JS:"))
        });
        assert!(made > 20 && nameless == 0, "{option}: {nameless} of {made}\n{}", recording.show());
        assert!(fibonacci * 10 > made * 9, "{option}: {fibonacci} of {made}\n{}", recording.show());
    }
}

#[test]
fn a_map_of_another_user_and_a_link_name_nothing() {
    let _quiet = quiet();
    // Whoever writes /tmp/perf-PID.map first, before the process does: here a link, and a file of another user.
    let jit = program(Program::Jit, FramePointers);
    for prepare in ["ln -s /dev/null /tmp/perf-$$.map", "touch /tmp/perf-$$.map; chown 4711 /tmp/perf-$$.map"]
    {
        let script = format!("mount -t tmpfs none /tmp && {prepare} && exec {jit} 60");
        let arguments = ["--mount", "sh", "-c", &script];
        let inside = Background::start("unshare", &arguments);
        let recording = record(&["--frequency", "499", "--duration", "3s"], &[]);
        drop(inside);
        let named = recording.samples(|stack| stack.has("run_emitted") && has_jit(stack, "emitted_loop"));
        let nameless = recording.samples(|stack| stack.has("run_emitted") && has_jit(stack, "[jit]"));
        assert!(named == 0 && nameless > 20, "{prepare}: {named}, {nameless}\n{}", recording.show());
    }
}

#[test]
fn samples_of_a_process_that_has_ended_are_named() {
    let _quiet = quiet();
    let jit = program(Program::Jit, FramePointers);
    let script = format!("for run in 1 2 3 4 5 6 7 8 9 10; do {jit} 0.1; done");
    let recording = record(FAST, &["sh", "-c", &script]);
    remove_maps();
    let all = recording.samples(|stack| stack.has("run_emitted"));
    let named = recording.samples(|stack| stack.has("run_emitted") && has_jit(stack, "emitted_loop"));
    assert!(named > 40 && named * 100 >= all * 95, "{named} of {all}\n{}", recording.show());
}

#[test]
fn code_that_ran_before_its_map_was_written_is_named_by_it() {
    let _quiet = quiet();
    let recording = record(FAST, &[&program(Program::Jit, FramePointers), "3", "0", "2"]);
    remove_maps();
    let all = recording.samples(|stack| stack.has("run_emitted"));
    let named = recording.samples(|stack| stack.has("run_emitted") && has_jit(stack, "emitted_loop"));
    let nameless = recording.samples(|stack| has_jit(stack, "[jit]"));
    assert!(named > 200 && named * 100 >= all * 98, "{named} of {all}\n{}", recording.show());
    assert_eq!(nameless, 0, "{}", recording.show());
}
