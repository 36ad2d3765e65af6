//! Kernel stacks by the kernel's unwind tables are those that the kernel's own walk finds.

use std::process::Command;

use testprogs::{Program, Variant};

use crate::vesta::{program, quiet, run};

#[test]
fn the_tables_find_the_frames_that_the_kernel_finds() {
    let _quiet = quiet();
    // System calls on one core; files, page faults, pipes and new processes on the other.
    let mut calls =
        Command::new(program(Program::Syscalls, Variant::NoFramePointers)).arg("5").spawn().unwrap();
    let busy = "end=$((SECONDS + 5)); while [ $SECONDS -lt $end ]; do find /usr/lib -size +1k | sort >/dev/null; done";
    let mut files = Command::new("bash").args(["-c", busy]).spawn().unwrap();
    let output = run(&["debug", "kernel-stack", "--duration", "4s", "--frequency", "1999", "--json"], 0);
    calls.wait().unwrap();
    files.wait().unwrap();
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let number = |key: &str| found[key].as_u64().unwrap();
    assert!(number("samples") > 500 && found["frames_per_sample"].as_f64() > Some(2.0), "{found}");
    assert_eq!(number("different"), 0, "{found}");
    // Code of BPF programs is handed over: how much of that there is depends on what else this machine does. Anything
    // else that the tables do not lead out of is rare.
    let foreign = found["ends"]["foreign_code"].as_u64().unwrap_or(0);
    assert!((number("whole") + foreign) * 200 >= number("samples") * 199, "{found}");
    assert!(number("whole") * 5 >= number("samples") * 4, "{found}");
    for way in ["by_tables_ns", "by_kernel_ns"] {
        assert!(found[way]["p50"].as_u64() > Some(0), "{found}");
    }
}
