//! Bad input gets a clear error and changes nothing.

use std::os::unix::process::CommandExt;

use crate::vesta::{run, text, vesta};

#[track_caller]
fn refused(args: &[&str], code: i32, words: &[&str]) {
    let said = text(&run(args, code).stderr);
    for word in words {
        assert!(said.contains(word), "`{word}` in what {args:?} says:\n{said}");
    }
}

#[test]
fn wrong_usage_is_told_with_what_would_be_right() {
    refused(&["record", "--frobnicate"], 2, &["--frobnicate"]);
    refused(&["record", "--frequency", "0"], 2, &["1 to 10000"]);
    refused(&["record", "--duration", "soon"], 2, &["10s"]);
    refused(&["record", "--unwind-table-bytes", "1GB"], 2, &["1MiB to 256MiB"]);
    refused(&["record", "--output", "profile.xyz"], 2, &["profile.xyz", ".pb.gz"]);
    refused(&["query", "--data-dir", "/nonexistent", "process=\"a\" and"], 2, &["^"]);
    refused(&["query", "--data-dir", "/nonexistent", "process=~\"(\""], 2, &["^"]);
    refused(&["query", "--from", "yesterday"], 2, &["yesterday", "-15m"]);
    refused(&["query", "--from", "-1m", "--until", "-2m"], 2, &["empty"]);
    refused(&["query", "--format", "gif"], 2, &["gif"]);
    refused(&["--log", "vesta=[", "doctor"], 2, &["vesta=["]);
    refused(&["--log", "wran", "doctor"], 2, &["`wran`", "warn"]);
    refused(&["query", "--server", "127.0.0.1:1"], 2, &["http://127.0.0.1:1"]);
    refused(&["record", "--json", "--output", "-", "--format", "folded"], 2, &["standard output"]);
    refused(&["--config", "/nonexistent.toml", "run"], 2, &["/nonexistent.toml"]);
    refused(&[], 2, &["Usage"]);
}

#[test]
fn what_is_not_there_is_named() {
    refused(&["query", "--data-dir", "/nonexistent/vesta"], 4, &["/nonexistent/vesta", "does not exist"]);
    let dir = tempfile::tempdir().unwrap();
    refused(&["query", "--data-dir", dir.path().to_str().unwrap()], 4, &["not a Vesta data directory"]);
    refused(&["record", "--pid", "4194305"], 1, &["4194305"]);
    let own = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().file_name());
    let own: Vec<String> = own.map(|task| task.into_string().unwrap()).collect();
    let thread = own.iter().find(|task| **task != std::process::id().to_string()).unwrap();
    refused(&["record", "--pid", thread], 1, &[&format!("thread of process {}", std::process::id())]);
    refused(&["record", "--output", "/nonexistent/p.svg"], 1, &["/nonexistent/p.svg"]);
    refused(&["record", "--", "/nonexistent/program"], 1, &["/nonexistent/program"]);
    refused(&["query", "--server", "http://127.0.0.1:1"], 1, &["127.0.0.1:1"]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    // An address that is for documents and nobody's.
    refused(&["run", "--listen", "192.0.2.1:80", "--data-dir", path], 5, &["no address of this machine"]);
}

#[test]
fn a_foreign_folder_is_not_written_into() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("precious.txt"), "mine").unwrap();
    let path = dir.path().to_str().unwrap();
    refused(&["run", "--listen", "127.0.0.1:0", "--data-dir", path], 4, &[path]);
    let left: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["precious.txt"]);
}

#[test]
fn without_privileges_it_says_what_is_needed() {
    for command in
        [&["record", "--duration", "1s"][..], &["run", "--listen", "127.0.0.1:0", "--data-dir", "/tmp/x"]]
    {
        // nobody
        let output = vesta(command).uid(65534).gid(65534).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains("sudo") && said.contains("CAP_BPF"), "{said}");
    }
    let output = vesta(&["doctor"]).uid(65534).gid(65534).output().unwrap();
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("CAP_PERFMON") && said.contains("MISSING"), "{said}");
}

#[test]
fn this_machine_passes_the_doctor() {
    let output = run(&["doctor", "--json"], 0);
    let findings: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(findings["ok"], true);
    let names: Vec<_> =
        findings["findings"].as_array().unwrap().iter().map(|f| f["name"].as_str().unwrap()).collect();
    for name in [
        "kernel",
        "BTF",
        "capabilities",
        "BPF program",
        "sampling",
        "lockdown",
        "perf settings",
        "tracefs",
        "debug info",
    ] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
}
