//! `vesta record`: what it records, when it ends, what it says.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use testprogs::{
    Program,
    Variant::{FramePointers, NoFramePointers},
};

use crate::vesta::{Background, folded, go_pprof, pprof, program, quiet, record, run, signal, text, vesta};

#[test]
fn every_sample_taken_is_stored_or_lost_for_a_reason() {
    let _quiet = quiet();
    let _load = Background::start(&program(Program::Shares, FramePointers), &["8"]);
    let recording = record(&["--duration", "3s"], &[]);
    let lost: u64 =
        recording.summary["lost"].as_object().unwrap().values().map(|lost| lost.as_u64().unwrap()).sum();
    assert_eq!(recording.number("samples_taken"), recording.number("samples_stored") + lost);
    assert_eq!(lost, 0, "{}", recording.summary);
    assert_eq!(recording.samples(|_| true), recording.number("samples_stored"));
    let incomplete: u64 =
        recording.summary["incomplete"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(recording.number("user_stacks"), recording.number("complete") + incomplete);
    for key in ["duration_s", "agent_cpu_s", "bpf_ns_per_sample", "rss_bytes"] {
        assert!(recording.summary[key].as_f64().unwrap() > 0.0, "{key} in {}", recording.summary);
    }
    let seconds = recording.summary["duration_s"].as_f64().unwrap();
    assert!((2.9..4.5).contains(&seconds), "{seconds} s");
    // A clock ticks on idle CPUs, too, so that it is known how often it should have.
    let missed = &recording.summary["missed_ticks"];
    if recording.summary["event"] == "cpu-clock" {
        let due = seconds * (recording.number("frequency_hz") * recording.number("cpus")) as f64;
        assert!(missed.as_u64().unwrap() as f64 <= due / 2.0, "{missed} of {due} ticks");
    } else {
        assert!(missed.is_null(), "{missed}");
    }
}

#[test]
fn the_parts_of_the_kernel_program_are_measured_on_demand() {
    let _quiet = quiet();
    let shares = program(Program::Shares, FramePointers);
    let recording = record(&["--measure", "--frequency", "499"], &[&shares, "1"]);
    let parts = recording.summary["bpf_parts"].as_array().unwrap();
    let part =
        |name: &str| parts.iter().find(|part| part["part"] == name).unwrap_or_else(|| panic!("{parts:?}"));
    for name in ["identity", "output"] {
        // Each sample goes through them, and so may one that is sent after the last look.
        assert!(part(name)["runs"].as_u64().unwrap() >= recording.number("samples_taken"), "{parts:?}");
    }
    let user = part("user_stack");
    assert!(user["ns_per_run"].as_u64().unwrap() > 100, "{parts:?}");
    // A function, its caller, main, and what starts it; the dynamic linker goes a little deeper.
    assert!((3.0..12.0).contains(&user["frames_per_run"].as_f64().unwrap()), "{parts:?}");
    let plain = record(&["--duration", "1s"], &[&shares, "1"]);
    assert_eq!(plain.summary["bpf_parts"], serde_json::json!([]));
}

#[test]
fn the_files_behind_incomplete_stacks_are_named() {
    let _quiet = quiet();
    let [sorted, recursion] = [Program::Sorted, Program::Recursion].map(|one| program(one, NoFramePointers));
    // Many short runs: the first samples of a process, before it has its tables, are walked from copies.
    let script =
        format!("{sorted} 2 2 & for run in 1 2 3 4 5 6 7 8 9 10; do {recursion} 60 0.1 2; done; wait");
    let recording = record(&["--frequency", "499"], &["sh", "-c", &script]);
    // Nothing tells of the frame of a function that keeps its stack pointer in a variable. And of a copy that leaves out a
    // stack's middle, callers are missing behind its innermost part.
    for (reason, file, function) in [
        ("no_unwind_row", "/sorted", "sort_out_of_sight"),
        ("copy_too_short", "/recursion", "in_large_frame"),
    ] {
        let name = file.trim_start_matches('/');
        // Of the process: a sample or two may be cut in its C library, while it starts.
        let samples = recording.samples(|stack| stack.process == name && stack.is_cut_at(reason, function));
        assert!(samples > 0, "{reason} in\n{}", recording.show());
        let files = recording.summary["incomplete_binaries"][reason].as_array().unwrap();
        let behind = files.iter().find(|behind| behind["binary"].as_str().unwrap().ends_with(file));
        let behind = behind.unwrap_or_else(|| panic!("{file} in {files:?}"));
        assert_eq!((&behind["kind"], &behind["processes"][0]["name"]), (&"native".into(), &name.into()));
        let functions = behind["functions"].as_array().unwrap();
        assert!(functions.iter().any(|named| named["name"] == function), "{function} in {behind}");
        let mut of_file = 0;
        for named in functions {
            let function = named["name"].as_str().unwrap();
            let samples =
                recording.samples(|stack| stack.process == name && stack.is_cut_at(reason, function));
            assert_eq!(named["samples"], samples, "{function} in {behind}");
            of_file += samples;
        }
        assert_eq!(behind["samples"], of_file, "{behind}");
    }
}

#[test]
fn the_whole_machine_is_recorded_unless_processes_are_named() {
    let _quiet = quiet();
    let load = Background::start(&program(Program::Shares, FramePointers), &["20"]);
    let other = Background::start(&program(Program::Recursion, FramePointers), &["10", "20"]);
    let all = record(&["--duration", "1s", "--frequency", "499"], &[]);
    for process in ["shares", "recursion"] {
        assert!(all.samples(|stack| stack.process == process) > 50, "{}", all.show());
    }
    let pid = load.0.id().to_string();
    let one = record(&["--duration", "1s", "--frequency", "499", "--pid", &pid], &[]);
    assert!(one.samples(|stack| stack.process == "shares") > 50, "{}", one.show());
    assert_eq!(one.samples(|stack| stack.process != "shares"), 0, "{}", one.show());
    drop((load, other));
}

#[test]
fn a_recording_ends_with_its_command_and_its_children_belong_to_it() {
    let _quiet = quiet();
    let shares = program(Program::Shares, FramePointers);
    let started = Instant::now();
    let script = format!("{shares} 1 & wait; exit 7");
    let recording = record(&["--frequency", "499"], &["sh", "-c", &script]);
    assert!(started.elapsed() < Duration::from_secs(9), "it ended after {:?}", started.elapsed());
    assert!(recording.samples(|stack| stack.process == "shares") > 30, "{}", recording.show());
    assert_eq!(recording.samples(|stack| stack.process == "vesta"), 0, "{}", recording.show());
    assert!(recording.summary["command_exit"].as_str().unwrap().contains('7'), "{}", recording.summary);
}

#[test]
fn a_command_is_ended_when_the_duration_is_over() {
    let _quiet = quiet();
    let shares = program(Program::Shares, FramePointers);
    let started = Instant::now();
    let recording = record(&["--duration", "1s"], &[&shares, "600"]);
    assert!(started.elapsed() < Duration::from_secs(10));
    assert!(
        recording.summary["command_exit"].as_str().unwrap().contains("signal: 15"),
        "{}",
        recording.summary
    );
}

#[test]
fn an_interrupt_still_writes() {
    let _quiet = quiet();
    let _load = Background::start(&program(Program::Shares, FramePointers), &["10"]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("out.folded");
    let child = vesta(&["record", "--duration", "10m", "-o", file.to_str().unwrap()])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(2));
    signal(child.id(), Signal::INT);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    assert!(folded(&std::fs::read_to_string(file).unwrap()).len() > 1);
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing is left lying beside the file: {left:?}");
}

#[test]
fn pprof_files_open_in_go_tool_pprof_with_labels_and_both_values() {
    let _quiet = quiet();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("p.pb.gz");
    let path = file.to_str().unwrap();
    let shares = program(Program::Shares, FramePointers);
    let output = run(&["record", "--duration", "5s", "--output", path, "--", &shares, "3"], 0);
    let summary = text(&output.stdout);
    assert!(summary.contains("user stacks complete") && summary.contains("0 lost"), "{summary}");
    let top = go_pprof(&["-top", "-cum", path]);
    for function in ["main", "work", "burn_seventy", "burn_twenty", "burn_ten"] {
        assert!(top.contains(function), "{function} in\n{top}");
    }
    let profile = pprof(&file);
    let string = |index: i64| profile.string_table[index as usize].as_str();
    let types: Vec<_> = profile.sample_type.iter().map(|t| (string(t.ty), string(t.unit))).collect();
    assert_eq!(types, [("samples", "count"), ("cpu", "nanoseconds")]);
    for sample in &profile.sample {
        let keys: Vec<_> = sample.label.iter().map(|label| string(label.key)).collect();
        for key in ["process", "thread", "pid", "tid"] {
            assert!(keys.contains(&key), "{key} in {keys:?}");
        }
        assert_eq!(sample.value[1], sample.value[0] * profile.period, "both values tell the same");
    }
    assert!((2.0..5.5).contains(&(profile.duration_nanos as f64 / 1e9)), "{}", profile.duration_nanos);
    let tags = go_pprof(&["-tags", path]);
    assert!(tags.contains("shares"), "{tags}");
}

#[test]
fn a_profile_on_standard_output_has_it_for_itself() {
    let _quiet = quiet();
    let busy = "echo said; i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
    let output = run(&["record", "--output", "-", "--format", "folded", "--", "sh", "-c", busy], 0);
    assert!(text(&output.stderr).starts_with("said\n"), "{}", text(&output.stderr));
    assert!(folded(&text(&output.stdout)).len() > 1, "{}", text(&output.stdout));
    assert!(text(&output.stderr).contains("user stacks complete"), "{}", text(&output.stderr));
    let output = run(&["record", "--json", "--", "sh", "-c", "echo said"], 0);
    assert!(serde_json::from_slice::<serde_json::Value>(&output.stdout).is_ok(), "{}", text(&output.stdout));
    assert!(text(&output.stderr).contains("said"), "{}", text(&output.stderr));
    let output = run(&["record", "--", "sh", "-c", "echo said"], 0);
    assert!(text(&output.stdout).starts_with("said\n"), "{}", text(&output.stdout));
}
