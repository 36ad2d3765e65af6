//! `vesta store`: verified, shown, given away and cleaned up, from the command line.

use std::{fs, io::Write, path::Path};

use serde_json::Value;

use crate::vesta::{Server, quiet, run, text};

/// A data directory with some samples in two segments.
fn filled(folder: &Path) -> String {
    let data = folder.join("data").to_str().unwrap().to_owned();
    for (name, time) in [("a", "1769860800"), ("b", "1769864400")] {
        let file = folder.join(format!("{name}.folded"));
        fs::write(&file, format!("{name};main;work 30\n{name};main;rest 12\n")).unwrap();
        run(&["import", "--data-dir", &data, "--time", time, file.to_str().unwrap()], 0);
    }
    data
}

fn store(data: &str, args: &[&str], code: i32) -> Value {
    let output = run(&[&["store", args[0], "--json", "--data-dir", data], &args[1..]].concat(), code);
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error} in {}", text(&output.stdout)))
}

fn samples(data: &str) -> u64 {
    let output = run(&["query", "--json", "--data-dir", data, "--from", "0"], 0);
    serde_json::from_slice::<Value>(&output.stdout).unwrap()["samples"].as_u64().unwrap()
}

#[test]
fn a_bad_segment_is_named_put_aside_and_the_rest_stays() {
    let dir = tempfile::tempdir().unwrap();
    let data = filled(dir.path());
    let whole = store(&data, &["check"], 0);
    assert_eq!((&whole["segments"], &whole["bad"]), (&2.into(), &Value::Array(vec![])));
    let all = samples(&data);
    let day = Path::new(&data).join("segments/date=2026-01-31");
    let victim = fs::read_dir(day).unwrap().next().unwrap().unwrap().path();
    fs::OpenOptions::new().append(true).open(victim.join("frames.parquet")).unwrap().write_all(b"x").unwrap();
    let output = run(&["store", "check", "--data-dir", &data], 4);
    let told = text(&output.stdout) + &text(&output.stderr);
    let name = victim.file_name().unwrap().to_str().unwrap();
    assert!(
        told.contains(name) && told.contains("frames.parquet") && told.contains("--quarantine"),
        "{told}"
    );
    let found = store(&data, &["check", "--quarantine"], 4);
    assert_eq!(found["quarantined"].as_array().unwrap().len(), 1);
    assert!(Path::new(&data).join("quarantine").join(name).join("frames.parquet").exists());
    assert_eq!((&store(&data, &["check"], 0)["segments"], samples(&data)), (&1.into(), all / 2));
    assert_eq!(store(&data, &["gc"], 0)["quarantined"], 1);
}

#[test]
fn figures_merging_and_a_part_to_give_away() {
    let dir = tempfile::tempdir().unwrap();
    let data = filled(dir.path());
    let stats = store(&data, &["stats"], 0);
    assert_eq!((&stats["total"]["samples"], &stats["total"]["segments"]), (&84.into(), &2.into()));
    assert_eq!(stats["days"][0]["day"], "2026-01-31");
    assert!(stats["total"]["files"]["stacks.parquet"].as_u64() > Some(100), "{stats}");
    let table = text(&run(&["store", "stats", "--days", "--data-dir", &data], 0).stdout);
    assert!(table.contains("2026-01-31") && table.contains("samples.parquet"), "{table}");

    let part = dir.path().join("part").to_str().unwrap().to_owned();
    let range = ["--from", "2026-01-31T12:00:00Z", "--until", "2026-01-31T12:30:00Z"];
    let exported = store(&data, &[&["export", &part, "process=\"a\""], &range[..]].concat(), 0);
    assert_eq!((&exported["samples"], samples(&part)), (&42.into(), 42));
    assert_eq!(store(&part, &["check"], 0)["segments"], 1);
    let again = run(&[&["store", "export", &part, "--data-dir", &data], &range[..]].concat(), 4);
    assert!(text(&again.stderr).contains("not empty"), "{}", text(&again.stderr));

    let merged = store(&data, &["compact", "--coarsen", "exact"], 0);
    assert_eq!((&merged["merged"], &merged["written"], samples(&data)), (&2.into(), &1.into(), 84));
    assert_eq!(store(&data, &["check"], 0)["segments"], 1);
    let missing = run(&["store", "gc", "--data-dir", dir.path().join("no").to_str().unwrap()], 4);
    assert!(text(&missing.stderr).contains("does not exist") && !dir.path().join("no").exists());
}

#[test]
fn ranges_are_pinned_listed_and_unpinned() {
    let dir = tempfile::tempdir().unwrap();
    let data = filled(dir.path());
    let pin = store(
        &data,
        &["pin", "--from", "1769860800", "--until", "1769860900", "--note", "the \x1b[31mred one"],
        0,
    );
    let list = text(&run(&["store", "pins", "--data-dir", &data], 0).stdout);
    let id = pin["id"].as_str().unwrap();
    assert!(list.contains(id) && list.contains("2026-01-31T12:00:00Z") && !list.contains('\x1b'), "{list}");
    let nothing = run(&["store", "unpin", "--data-dir", &data, "another"], 1);
    assert!(text(&nothing.stderr).contains("another"));
    run(&["store", "unpin", "--data-dir", &data, id], 0);
    assert_eq!(text(&run(&["store", "pins", "--data-dir", &data], 0).stdout), "");
}

#[test]
fn beside_an_agent_what_reads_works_and_what_writes_says_who_has_it() {
    let _quiet = quiet();
    let dir = tempfile::tempdir().unwrap();
    let data = filled(dir.path());
    let server = Server::start(Path::new(&data), &["--window", "1s", "--retention", "52w"]);
    server.wait("windows", |server| server.metrics()["vesta_windows_total"] >= 2.0);
    assert!(store(&data, &["check"], 0)["segments"].as_u64() > Some(2));
    assert!(store(&data, &["stats"], 0)["total"]["samples"].as_u64() > Some(84));
    let to = dir.path().join("part").to_str().unwrap().to_owned();
    let exported = store(&data, &["export", &to, "--from", "0"], 0);
    assert_eq!(exported["samples"].as_u64(), Some(samples(&to)));
    for write in
        [&["compact"][..], &["gc"], &["pin", "--from", "-1h"], &["unpin", "x"], &["check", "--quarantine"]]
    {
        let output = run(&[&["store"], write, &["--data-dir", &data]].concat(), 4);
        let told = text(&output.stderr);
        assert!(told.contains("written to by process") && told.contains(&server.pid().to_string()), "{told}");
    }
    assert_eq!(server.end(), Some(0));
}
