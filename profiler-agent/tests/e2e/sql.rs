//! `vesta sql`, from a data directory and from a running Vesta.

use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::vesta::{Server, quiet, run, text, vesta};

const FOLDED: &str = "app;main;work 7\napp;main;work;malloc 2\napp;main 1\n";

/// A data directory with an imported profile of ten samples.
fn imported(folder: &std::path::Path) -> String {
    let (data, file) = (folder.join("data"), folder.join("stacks.folded"));
    std::fs::write(&file, FOLDED).unwrap();
    let data = data.to_str().unwrap().to_owned();
    run(
        &[
            "import",
            file.to_str().unwrap(),
            "--data-dir",
            &data,
            "--time",
            "-1m",
            "--label",
            "process=a,\"b\"",
        ],
        0,
    );
    data
}

#[test]
fn statements_are_answered_in_the_form_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let data = imported(folder.path());
    let statement =
        "SELECT leaf(stack) AS function, sum(samples) AS samples, min(process) AS process FROM samples
        GROUP BY 1 ORDER BY 2 DESC";
    let sql = |args: &[&str], code| {
        let output = run(&[&["sql", "--data-dir", &data], args].concat(), code);
        (text(&output.stdout), text(&output.stderr))
    };
    let table = "function  samples  process\nwork            7  a,\"b\"\nmalloc          2  a,\"b\"\nmain            1  a,\"b\"\n";
    assert_eq!(sql(&[statement], 0), (table.to_owned(), String::new()));
    let csv = "function,samples,process\nwork,7,\"a,\"\"b\"\"\"\nmalloc,2,\"a,\"\"b\"\"\"\nmain,1,\"a,\"\"b\"\"\"\n";
    assert_eq!(sql(&[statement, "--format", "csv"], 0).0, csv);
    let answer: Value = serde_json::from_str(&sql(&[statement, "--format", "json"], 0).0).unwrap();
    assert_eq!(answer["columns"][1], json!({"name": "samples", "type": "int64", "values": [7, 2, 1]}));
    assert_eq!(
        (&answer["rows"], &answer["truncated"], &answer["skipped"]),
        (&json!(3), &json!(false), &json!([]))
    );
    let (lines, told) = sql(&[statement, "--format", "jsonl", "--limit", "1"], 0);
    let line: Value = serde_json::from_str(&lines).unwrap();
    assert_eq!(line, json!({"function": "work", "samples": 7, "process": "a,\"b\""}));
    assert_eq!(told, "vesta: these are the first 1 rows; --limit shows more\n");

    let contained = "SELECT sum(samples) FROM samples WHERE contains_function(stack, '~^w.rk$')";
    let mut child = vesta(&["sql", "-", "--format", "csv", "--data-dir", &data])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(contained.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output.stdout).lines().last(), Some("9"));

    let (shown, told) = sql(&["SELECT nosuch FROM samples"], 2);
    assert_eq!(shown, "");
    assert!(told.contains("nosuch") && told.ends_with("       ^\n"), "{told}");
    let told = sql(&["DROP VIEW samples"], 2).1;
    assert_eq!(told, "vesta: only SELECT, EXPLAIN, DESCRIBE and SHOW TABLES or COLUMNS are answered\n");
    run(&["sql", "SELECT 1", "--data-dir", "/nonexistent"], 4);

    // What cannot be read is named beside the answer.
    let segments = std::fs::read_dir(folder.path().join("data/segments")).unwrap();
    let day = segments.map(|entry| entry.unwrap().path()).next().unwrap();
    std::fs::create_dir(day.join("segment=01ARZ3NDEKTSV4RRFFQ69G5FAV")).unwrap();
    let (shown, told) = sql(&["SELECT sum(samples) FROM samples", "--format", "csv"], 0);
    assert_eq!(shown.lines().last(), Some("10"));
    assert!(told.starts_with("vesta: skipped ") && told.contains("01ARZ3NDEKTSV4RRFFQ69G5FAV"), "{told}");
}

#[test]
fn a_running_vesta_answers_of_all_it_has() {
    let _quiet = quiet();
    let folder = tempfile::tempdir().unwrap();
    let data = imported(folder.path());
    let server =
        Server::start(folder.path().join("data").as_path(), &["--window", "60s", "--frequency", "99"]);
    let ask = |statement: &str| {
        let output = run(&["sql", "--server", &server.url, "--format", "csv", statement], 0);
        text(&output.stdout).lines().last().unwrap().to_owned()
    };
    assert_eq!(ask("SELECT sum(samples) FROM samples WHERE event = 'samples'"), "10");
    // Its open window is no segment yet, but in the answer.
    server.wait("samples of the open window", |_| {
        ask("SELECT count(*) FROM samples WHERE segment LIKE 'memory-%' AND event = 'cpu'") != "0"
    });
    // Another process has it, too, by its log.
    let segments = "SELECT count(*), count(*) FILTER (WHERE segment LIKE 'memory-%') FROM segments";
    let disk = run(&["sql", "--data-dir", &data, "--format", "csv", segments], 0);
    assert_eq!(text(&disk.stdout).lines().last(), Some("2,1"));
    let refused = run(&["sql", "--server", &server.url, "SELECT 1 +"], 2);
    assert!(text(&refused.stderr).contains("Expected"), "{}", text(&refused.stderr));
    assert_eq!(server.end(), Some(0));
}
