//! The programs build in every variant, end by themselves, and refuse what they cannot do.

use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use testprogs::{Program, Variant, build};

fn run(program: Program, variant: Variant, arguments: &[&str]) -> Output {
    let mut command = Command::new(build(program, variant));
    let child = command.args(arguments).stdout(Stdio::piped()).spawn().expect("the program starts");
    let map = format!("/tmp/perf-{}.map", child.id());
    let output = child.wait_with_output().expect("the program ends");
    if program.makes_code() {
        std::fs::remove_file(map).expect("the map it leaves behind can be removed");
    }
    output
}

/// Arguments for a run of 0.2 s.
fn short_run(program: Program) -> &'static [&'static str] {
    match program {
        Program::Recursion => &["300", "0.2"],
        Program::Threads => &["4", "0.2"],
        Program::Mapped => &["100", "0.2"],
        Program::ShortLived => &["40", "0.2"],
        Program::Signals | Program::Plt | Program::Sorted => &["1", "0.2"],
        _ => &["0.2"],
    }
}

#[test]
fn every_program_runs_for_its_time_in_every_variant() {
    for program in Program::ALL {
        // All variants at once: the time is wall time.
        thread::scope(|scope| {
            for &variant in program.variants() {
                scope.spawn(move || runs_for_its_time(program, variant));
            }
        });
    }
}

fn runs_for_its_time(program: Program, variant: Variant) {
    build(program, variant);
    let start = Instant::now();
    let output = run(program, variant, short_run(program));
    assert!(output.status.success(), "{program:?} {variant:?}: {output:?}");
    let elapsed = start.elapsed();
    assert!(elapsed >= Duration::from_millis(190), "{program:?} {variant:?} ended after {elapsed:?}");
}

#[test]
fn short_lived_tells_how_many_children_it_started() {
    let output = run(Program::ShortLived, Variant::FramePointers, &["50", "0.2"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "children 10\n");
}

#[test]
fn arguments_out_of_range_are_refused() {
    for (program, arguments) in [
        (Program::Shares, vec!["0"]),
        (Program::Recursion, vec!["0"]),
        (Program::Threads, vec!["1001"]),
        (Program::Inlines, vec!["x"]),
        (Program::ShortLived, vec!["100000"]),
    ] {
        let output = run(program, Variant::FramePointers, &arguments);
        assert_eq!(output.status.code(), Some(2), "{program:?} {arguments:?}");
    }
}

#[test]
fn a_second_build_is_the_first_one_also_when_many_ask_at_once() {
    let paths: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> =
            (0..4).map(|_| scope.spawn(|| build(Program::Jit, Variant::NoFramePointers))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(paths.iter().all(|path| *path == paths[0] && path.exists()));
}

#[test]
fn the_jit_program_names_its_code_in_a_perf_map() {
    let child = Command::new(build(Program::Jit, Variant::FramePointers)).arg("0.2").spawn();
    let mut child = child.expect("the program starts");
    let path = format!("/tmp/perf-{}.map", child.id());
    assert!(child.wait().expect("it ends").success());
    let map = std::fs::read_to_string(&path).expect("the map is there");
    std::fs::remove_file(&path).expect("the map can be removed");
    let names: Vec<_> = map.lines().filter_map(|line| line.split(' ').nth(2)).collect();
    assert_eq!(names, ["emitted_outer", "emitted_loop"]);
}
