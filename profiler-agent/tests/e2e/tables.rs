//! The life of unwind tables: kept on disk, given up for room, and back again.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::vesta::{Stack, quiet, record, text, vesta};

/// Builds a program with 20 unwind rows for each of these entries.
fn many_rows(folder: &Path, name: &str, entries: u32) -> PathBuf {
    let program = folder.join(name);
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/many_rows.c");
    let define = format!("-DENTRIES={entries}");
    let gcc = Command::new("gcc")
        .args(["-O2", "-g", "-fno-optimize-sibling-calls", &define, source, "-o"])
        .arg(&program)
        .output()
        .unwrap();
    assert!(gcc.status.success(), "{}", text(&gcc.stderr));
    program
}

/// Records a program with tables that are kept in `cache`; what became of them.
fn record_with(cache: &Path, program: &Path, args: &[&str]) -> Value {
    let all = [&["record", "--json"], args, &["--", program.to_str().unwrap(), "2"]].concat();
    let output = vesta(&all).env("XDG_CACHE_HOME", cache).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (user, complete) = (summary["user_stacks"].as_u64().unwrap(), summary["complete"].as_u64().unwrap());
    assert!(user > 0 && complete * 2 > user, "{summary}");
    summary["unwind_tables"].clone()
}

#[test]
fn tables_are_kept_on_disk_and_a_damaged_one_is_built_again() {
    let _quiet = quiet();
    let dir = tempfile::tempdir().unwrap();
    let program = many_rows(dir.path(), "rows", 7_500);
    let folder = dir.path().join("vesta/unwind-tables");
    let stored = || -> Vec<PathBuf> {
        let files = fs::read_dir(&folder).unwrap();
        files.map(|file| file.unwrap().path()).collect()
    };
    let none = record_with(dir.path(), &program, &["--unwind-cache-bytes", "0"]);
    assert!(none["built"].as_u64() >= Some(1) && !folder.exists(), "{none}");

    let first = record_with(dir.path(), &program, &[]);
    assert!(first["built"].as_u64() >= Some(1) && first["from_cache"] == 0, "{first}");
    assert!(!stored().is_empty() && stored().iter().all(|file| fs::metadata(file).unwrap().len() > 10_000));

    let second = record_with(dir.path(), &program, &[]);
    assert!(second["from_cache"].as_u64() >= Some(1) && second["cache_damaged"] == 0, "{second}");

    for path in stored() {
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).unwrap();
    }
    let third = record_with(dir.path(), &program, &[]);
    assert!(third["cache_damaged"].as_u64() >= Some(1) && third["from_cache"] == 0, "{third}");
    assert!(third["built"].as_u64() >= Some(1), "{third}");

    let refused = dir.path().join("refused");
    fs::write(&refused, "no folder").unwrap();
    let fourth = record_with(&refused, &program, &[]);
    assert!(fourth["built"].as_u64() >= Some(1), "what cannot be written is no error");
}

#[test]
fn programs_that_need_more_than_the_budget_take_turns_and_their_stacks_stay_true() {
    let _quiet = quiet();
    let dir = tempfile::tempdir().unwrap();
    // Five with tables of 300 kB, and one whose table would take all the room.
    let names = ["rows_a", "rows_b", "rows_c", "rows_d", "rows_e"];
    let first = many_rows(dir.path(), names[0], 7_500);
    for name in &names[1..] {
        fs::copy(&first, dir.path().join(name)).unwrap();
    }
    many_rows(dir.path(), "large", 30_000);
    let loads: String =
        names.iter().chain(&["large"]).map(|name| format!("{}/{name} 20 & ", dir.path().display())).collect();
    let room = ["--unwind-table-bytes", "1MiB", "--unwind-cache-bytes", "0"];
    let recording =
        record(&[&["--frequency", "49"], &room[..]].concat(), &["sh", "-c", &format!("{loads} wait")]);
    let lost: u64 = recording.summary["lost"].as_object().unwrap().values().filter_map(|n| n.as_u64()).sum();
    assert_eq!(lost, 0, "{}", recording.summary);
    assert_eq!(recording.number("samples_taken"), recording.number("samples_stored"));
    let tables = &recording.summary["unwind_tables"];
    let number = |key: &str| tables[key].as_u64().unwrap();
    assert!(number("evicted") >= 2 && number("rebuilt") >= 1, "{tables}");
    assert!(number("rebuilt") <= number("evicted") && number("bytes") <= 1 << 20, "{tables}");
    assert_eq!(tables["failed"]["too_large"], 1, "tried once: {tables}");
    // All files once, then a twentieth of a CPU beyond what was saved up.
    assert!(tables["build_cpu_s"].as_f64() < Some(1.5 + 20.0 * 0.05), "{tables}");
    for process in names.iter().chain(&["large"]) {
        let of = |stack: &Stack| stack.process == *process;
        let (all, whole) = (recording.samples(of), recording.samples(|stack| of(stack) && stack.is_whole()));
        assert!(
            all > 20 && whole * 10 >= all * 8,
            "{process}: {whole} of {all} whole, {}",
            recording.summary
        );
        // Whole ones reach the program's start: no reader has seen half a table, or another's.
        for stack in recording.stacks.iter().filter(|stack| of(stack) && stack.is_whole()) {
            let is_true = match stack.has("burn") {
                true => stack.has("main") && stack.has("_start"),
                false => stack.has("_start") || stack.frames.iter().any(|frame| frame.contains("ld-linux")),
            };
            assert!(is_true || stack.has("_dl_start_user"), "called complete: {process} {:?}", stack.frames);
        }
    }
}

#[test]
fn a_program_with_a_million_rows_holds_up_nobody() {
    let _quiet = quiet();
    let dir = tempfile::tempdir().unwrap();
    let (large, small) = (many_rows(dir.path(), "large", 50_000), many_rows(dir.path(), "small", 10));
    let loads = format!("{} 3 & {} 3 & wait", large.display(), small.display());
    let recording = record(&["--frequency", "199", "--unwind-cache-bytes", "0"], &["sh", "-c", &loads]);
    assert_eq!(recording.number("samples_taken"), recording.number("samples_stored"));
    assert!(recording.summary["unwind_tables"]["rows"].as_u64() > Some(1_000_000), "{}", recording.summary);
    let of = |process: &'static str| move |stack: &Stack| stack.process == process;
    let (large, small) = (recording.samples(of("large")), recording.samples(of("small")));
    assert!(small > 20 && small * 4 > large, "{small} samples beside {large}");
    let whole = recording.samples(|stack| of("small")(stack) && stack.is_whole());
    assert!(whole * 10 >= small * 8, "{whole} of {small} whole, {}", recording.summary);
}
