//! Profiles of other tools in, and ours out: `vesta convert`, `vesta import`, and the formats of `vesta record`.

use std::{path::Path, process::Command};

use serde_json::Value;
use testprogs::{Program, Variant::FramePointers};

use crate::vesta::{go_pprof, program, quiet, run, text};

fn done(command: &mut Command) -> Vec<u8> {
    let output =
        command.output().unwrap_or_else(|error| panic!("{command:?}: {error}: run `cargo xtask setup`"));
    assert!(output.status.success(), "{command:?}: {}", text(&output.stderr));
    output.stdout
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().unwrap().to_owned()
}

/// The table of `vesta convert`.
fn table(args: &[&str]) -> Value {
    serde_json::from_slice(&run(&[&["convert", "--json"], args].concat(), 0).stdout).unwrap()
}

fn row<'a>(table: &'a Value, function: &str) -> &'a Value {
    let rows = table["rows"].as_array().unwrap();
    rows.iter().find(|row| row["function"] == function).unwrap_or_else(|| panic!("{function} in {table:#}"))
}

#[test]
fn what_perf_prints_is_converted_sample_by_sample() {
    let folder = tempfile::tempdir().unwrap();
    let (data, script, pprof) =
        (path(folder.path(), "p.data"), path(folder.path(), "perf.txt"), path(folder.path(), "p.pb.gz"));
    {
        let _quiet = quiet();
        let shares = program(Program::Shares, FramePointers);
        let mut record = Command::new("perf");
        done(record.args([
            "record",
            "-e",
            "cpu-clock",
            "-F",
            "199",
            "-g",
            "--buildid-mmap",
            "-o",
            &data,
            &shares,
            "2",
        ]));
    }
    let printed =
        done(Command::new("perf").args(["script", "-i", &data, "--show-mmap-events", "-F", "+pid"]));
    std::fs::write(&script, &printed).unwrap();
    let samples = text(&printed).lines().filter(|line| line.contains(" cpu-clock")).count();
    assert!(samples > 100, "{samples} samples");
    let converted = table(&[&script]);
    assert_eq!(converted["samples"], samples);
    assert_eq!(converted["period_ns"], 5_025_125, "199 Hz");
    let share = |function: &str| row(&converted, function)["self_percent"].as_f64().unwrap();
    for (function, expected) in [("burn_seventy", 70.0), ("burn_twenty", 20.0), ("burn_ten", 10.0)] {
        let found = share(function);
        assert!((found - expected).abs() < 12.0, "{function}: {found} %");
    }
    assert!(row(&converted, "burn_seventy")["binary"].as_str().unwrap().ends_with("/shares"));
    run(&["convert", &script, "-o", &pprof], 0);
    let raw = go_pprof(&["-raw", &pprof]);
    let mapping = raw.lines().find(|line| line.contains("/shares ")).unwrap_or_else(|| panic!("{raw}"));
    let build_id = mapping.split("/shares ").nth(1).unwrap().split(' ').next().unwrap();
    assert_eq!(build_id.len(), 40, "{mapping}");
    // Stacks, not only leaves: all but what starts the program is below work.
    let top = go_pprof(&["-top", "-cum", "-sample_index=samples", &pprof]);
    let work = top.lines().find(|line| line.ends_with(" work")).unwrap_or_else(|| panic!("{top}"));
    let percent: f64 = work.split_whitespace().nth(4).unwrap().trim_end_matches('%').parse().unwrap();
    assert!(percent > 90.0, "{top}");
}

#[test]
fn what_go_programs_write_keeps_its_values() {
    let folder = tempfile::tempdir().unwrap();
    let name = |name: &str| path(folder.path(), name);
    let (program, cpu, heap) = (name("profiled"), name("cpu.pprof"), name("heap.pb.gz"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/profiled.go");
    done(Command::new("go").args(["build", "-o", &program]).arg(source));
    {
        let _quiet = quiet();
        done(Command::new(&program).args([&cpu, &heap]));
    }
    // The totals that Go's own tool prints of a file.
    let total = |file: &str, index: &str| {
        let top = go_pprof(&["-top", "-unit=raw", &format!("-sample_index={index}"), file]);
        let line = top.lines().find(|line| line.starts_with("Showing nodes")).unwrap_or_default().to_owned();
        line.rsplit(" of ").next().unwrap_or_default().to_owned()
    };
    for (file, indexes) in [
        (&cpu, &["samples", "cpu"][..]),
        (&heap, &["alloc_objects", "alloc_space", "inuse_objects", "inuse_space"]),
    ] {
        let converted = name("out.pb.gz");
        run(&["convert", file, "-o", &converted], 0);
        for index in indexes {
            let (before, after) = (total(file, index), total(&converted, index));
            assert!(!before.is_empty() && before == after, "{index} of {file}: {before:?} and {after:?}");
        }
    }
    let converted = table(&[&cpu]);
    assert_eq!(converted["period_ns"], 10_000_000);
    // A table has one of a file's value types: the one that Go's own tool shows first.
    let (shown, told) = (table(&[&heap]), text(&run(&["convert", &heap, "-o", "-"], 0).stderr));
    assert_eq!(format!("{}B total", shown["sum"]), total(&heap, "inuse_space"), "{shown:#}");
    assert_eq!(shown["unit"], "bytes");
    assert!(told.contains("this is `inuse_space`") && told.contains("alloc_objects, alloc_space"), "{told}");
    let hot = row(&converted, "main.hot")["total_percent"].as_f64().unwrap();
    assert!((60.0..90.0).contains(&hot), "{hot} %");
    let folded = text(&run(&["convert", &cpu, "--format", "folded"], 0).stdout);
    assert!(folded.lines().all(|line| line.starts_with("profiled;")), "{folded}");
    let refused = text(&run(&["convert", &heap, "--event", "wall"], 1).stderr);
    assert!(refused.contains("heap.pb.gz") && refused.contains("`alloc_space`"), "{refused}");
}

#[test]
fn imported_profiles_are_selected_as_others() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (path(folder.path(), "data"), path(folder.path(), "a.folded"));
    std::fs::write(&file, "app;main;work 7\napp;main 1\n").unwrap();
    let import = |label: &str| {
        let args = ["import", &file, "--json", "--data-dir", &data, "--label", label, "--time", "-1m"];
        serde_json::from_slice::<Value>(&run(&args, 0).stdout).unwrap()
    };
    let imported = import("run=before");
    assert_eq!((&imported["samples"], &imported["events"][0]), (&8.into(), &"samples".into()));
    import("run=after");
    let query = |selector: &str| {
        text(&run(&["query", selector, "--data-dir", &data, "--format", "folded"], 0).stdout)
    };
    assert_eq!(query("run=\"before\""), "app;main 1\napp;main;work 7\n");
    assert_eq!(query(""), "app;main 2\napp;main;work 14\n");
}

#[test]
fn files_that_are_none_are_named_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (path(folder.path(), "data"), path(folder.path(), "bad.txt"));
    std::fs::write(&file, "a;b 1\nwhat\n").unwrap();
    for args in [&["convert", &file][..], &["import", &file, "--data-dir", &data]] {
        let error = text(&run(args, 1).stderr);
        assert!(error.contains("bad.txt: line 2: `what` is not a folded stack"), "{error}");
    }
    assert!(!Path::new(&data).exists(), "nothing is made for a file that is refused");
    assert!(text(&run(&["convert", "/nonexistent"], 1).stderr).contains("/nonexistent cannot be read"));
    assert!(text(&run(&["convert", &file, "--label", "x"], 2).stderr).contains("NAME=VALUE"));
    assert!(text(&run(&["convert", &file, "--time", "soon"], 2).stderr).contains("`soon` is not a time"));
}

#[test]
fn a_running_agent_takes_files_and_says_so_when_its_directory_is_written_to() {
    let _quiet = quiet();
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("data"), path(folder.path(), "a.folded"));
    std::fs::write(&file, "app;main;work 7\n").unwrap();
    let server = crate::vesta::Server::start(&data, &[]);
    let refused = run(&["import", &file, "--data-dir", data.to_str().unwrap()], 4);
    assert!(text(&refused.stderr).contains("vesta import --server"), "{}", text(&refused.stderr));
    run(&["import", &file, "--server", &server.url, "--label", "run=mine"], 0);
    let folded = server.get("/api/v1/query?format=folded&query=run%3D%22mine%22");
    assert_eq!(folded, (200, "app;main;work 7\n".to_owned()));
    std::fs::write(&file, "{}").unwrap();
    let refused = run(&["import", &file, "--server", &server.url], 1);
    let said = text(&refused.stderr);
    assert!(said.contains("a.folded") && said.contains("it is JSON"), "{said}");
    assert_eq!(server.end(), Some(0));
}

#[test]
fn recordings_for_viewers_have_every_sample_at_its_time() {
    let _quiet = quiet();
    let folder = tempfile::tempdir().unwrap();
    let shares = program(Program::Shares, FramePointers);
    let record = |name: &str| {
        let file = path(folder.path(), name);
        let output = run(&["record", "--json", "-o", &file, "--", &shares, "1"], 0);
        let summary: Value =
            serde_json::from_slice(output.stdout.trim_ascii_end().rsplit(|b| *b == b'\n').next().unwrap())
                .unwrap();
        (std::fs::read_to_string(file).unwrap(), summary["samples_stored"].as_u64().unwrap())
    };
    let (firefox, stored) = record("p.firefox.json");
    let firefox: Value = serde_json::from_str(&firefox).unwrap();
    let threads = firefox["threads"].as_array().unwrap();
    let times: Vec<i64> = threads
        .iter()
        .flat_map(|thread| thread["samples"]["time"].as_array().unwrap())
        .map(|time| time.as_i64().unwrap())
        .collect();
    assert_eq!(times.len() as u64, stored);
    let distinct: std::collections::BTreeSet<_> = times.iter().collect();
    assert!(distinct.len() > times.len() / 2, "{times:?}");
    let (script, stored) = record("p.perf.txt");
    assert_eq!(script.matches("\n\n").count() as u64, stored);
    // Our own text comes in again, with all samples.
    assert_eq!(table(&[&path(folder.path(), "p.perf.txt")])["samples"], stored);
    let (speedscope, _) = record("p.speedscope.json");
    let speedscope: Value = serde_json::from_str(&speedscope).unwrap();
    assert_eq!(speedscope["profiles"][0]["unit"], "nanoseconds");
}
