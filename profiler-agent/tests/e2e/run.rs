//! `vesta run` and `vesta query`: sampled, kept, and shown.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use testprogs::{Program, Variant::FramePointers};

use crate::vesta::{Background, Server, folded, go_pprof, pprof, program, quiet, run, text, vesta};

fn wait_for_windows(server: &Server, windows: u64) {
    server.wait("windows in the store", |server| {
        server.metrics().get("vesta_windows_total").copied().unwrap_or(0.0) >= windows as f64
    });
}

fn samples_of(stacks: &str) -> u64 {
    folded(stacks).iter().map(|stack| stack.samples).sum()
}

#[test]
fn the_heap_is_one_for_all_threads_and_gives_back_what_is_free() {
    let mut command = vesta(&["--version"]);
    let output = command.env("_RJEM_MALLOC_CONF", "stats_print:true").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    for option in ["opt.narenas: 1", "opt.background_thread: true", "opt.dirty_decay_ms: 1000"] {
        assert!(said.contains(option), "no `{option}` in what the allocator says of itself: {said}");
    }
}

#[test]
fn what_was_sampled_is_kept_over_a_restart_and_every_export_of_a_range_agrees() {
    let _quiet = quiet();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let load = Background::start(&program(Program::Shares, FramePointers), &["60"]);
    let server = Server::start(&data, &["--window", "2s"]);
    wait_for_windows(&server, 3);
    // Another process reads what the agent is writing.
    let query = |args: &[&str]| {
        let all = [&["query", "--data-dir", data.to_str().unwrap()], args].concat();
        text(&run(&all, 0).stdout)
    };
    let top = query(&["process=\"shares\"", "--from", "-5m"]);
    assert!(top.contains("burn_seventy"), "{top}");
    let metrics = server.metrics();
    let lost: f64 =
        metrics.iter().filter(|(name, _)| name.starts_with("vesta_samples_lost_total")).map(|(_, n)| n).sum();
    assert_eq!(metrics["vesta_samples_taken_total"], metrics["vesta_samples_stored_total"] + lost);
    assert!(metrics["vesta_samples_stored_total"] > 100.0 && lost == 0.0, "{metrics:?}");
    let status = server.json("/api/v1/status");
    assert_eq!(status["event"].as_str().map(str::is_empty), Some(false));
    assert_eq!(status["frequency_hz"], 99);
    assert_eq!(server.get("/healthz"), (200, "ok\n".to_owned()));
    let range = now_range();
    let before = samples_of(&query(&["--format", "folded", "--from", &range.0, "--until", &range.1]));
    assert_eq!(server.end(), Some(0), "SIGTERM ends it cleanly");
    drop(load);

    // The past is still there, and it is the same to the sample in every form.
    let server = Server::start(&data, &["--window", "2s"]);
    let span = ["--from", &range.0, "--until", &range.1];
    let stacks = query(&[&["--format", "folded"], &span[..]].concat());
    assert!(samples_of(&stacks) >= before && before > 100, "{} then {before}", samples_of(&stacks));
    let file = dir.path().join("range.pb.gz");
    query(&[&["--output", file.to_str().unwrap()], &span[..]].concat());
    let exported: i64 = pprof(&file).sample.iter().map(|sample| sample.value[0]).sum();
    assert_eq!(exported as u64, samples_of(&stacks), "pprof and folded stacks of the same range");
    let from_server =
        run(&[&["query", "--server", &server.url, "--format", "folded"], &span[..]].concat(), 0);
    assert_eq!(text(&from_server.stdout), stacks, "the server's answer is the data directory's");
    let tables = [["--data-dir", data.to_str().unwrap()], ["--server", &server.url]].map(|from| {
        let output = run(&[&["query", "--json"], &from[..], &span[..]].concat(), 0);
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    });
    assert_eq!(tables[0], tables[1]);
    assert_eq!(tables[0]["samples"].as_u64(), Some(samples_of(&stacks)));
    assert!(tables[0]["rows"][0]["self"].as_u64() > Some(0), "{}", tables[0]);
    let flame = server.json(&format!("/api/v1/flame?from={}&until={}", range.0, range.1));
    assert_eq!(flame["samples"].as_u64(), Some(samples_of(&stacks)));
    let url = format!("{}/pprof?query=process%3D%22shares%22&from={}&until={}", server.url, range.0, range.1);
    let top = go_pprof(&["-top", "-cum", &url]);
    assert!(top.contains("burn_seventy") && top.contains("main"), "{top}");
    let (status, page) = server.get("/");
    assert!(status == 200 && page.contains("<title>Vesta"), "{page}");
    assert_eq!(server.end(), Some(0));
}

/// The last minutes in absolute Unix seconds, so that two readings are of the same range.
fn now_range() -> (String, String) {
    let now = since_1970().as_secs();
    ((now - 300).to_string(), now.to_string())
}

#[test]
fn the_open_window_can_be_watched_before_it_is_stored() {
    let _quiet = quiet();
    let dir = tempfile::tempdir().unwrap();
    let _load = Background::start(&program(Program::Shares, FramePointers), &["60"]);
    let server = Server::start(&dir.path().join("data"), &["--window", "60s"]);
    server.wait("samples of the open window", |server| {
        server.json("/api/v1/status");
        server.json("/api/v1/flame?from=-1m&query=process%3D%22shares%22")["samples"].as_u64() > Some(100)
    });
    let watched =
        server.json("/api/v1/flame?from=-1m&query=process%3D%22shares%22")["samples"].as_u64().unwrap();
    let data = dir.path().join("data");
    assert_eq!(server.end(), Some(0));
    let stacks = run(
        &[
            "query",
            "process=\"shares\"",
            "--data-dir",
            data.to_str().unwrap(),
            "--from",
            "-10m",
            "--format",
            "folded",
        ],
        0,
    );
    assert!(samples_of(&text(&stacks.stdout)) >= watched, "the window that was watched is stored whole");
}

#[test]
fn what_was_brought_to_disk_outlives_a_kill() {
    let _quiet = quiet();
    wait_for_a_minute_with_room();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let query = |args: &[&str]| {
        let all = [&["query", "--data-dir", data.to_str().unwrap(), "--from", "-10m"], args].concat();
        text(&run(&all, 0).stdout)
    };
    let samples = || samples_of(&query(&["--format", "folded"]));
    let _load = Background::start(&program(Program::Shares, FramePointers), &["60"]);
    let server = Server::start(&data, &["--window", "60s", "--sync", "250ms"]);
    server.wait("logged samples", |server| server.metrics()["vesta_samples_stored_total"] > 300.0);
    // Another process sees what is logged, while its window is open.
    assert!(samples() > 300);
    assert_eq!(glob(&data.join("segments")).len(), 0);
    let stored = server.metrics()["vesta_samples_stored_total"] as u64;
    server.kill();
    let left = samples();
    assert!(left >= stored, "{left} of {stored}");
    let logs = || fs::read_dir(data.join("log")).unwrap().count();
    assert_eq!(logs(), 1);
    let top: serde_json::Value = serde_json::from_str(&query(&["--json"])).unwrap();
    assert_eq!(top["samples"].as_u64(), Some(left));

    // The next one takes it over, to the sample.
    let server = Server::start(&data, &["--window", "60s", "--sync", "60s"]);
    assert_eq!((glob(&data.join("segments")).len(), logs()), (1, 0));
    assert_eq!(samples(), left);
    assert_eq!(server.end(), Some(0));
    assert!(samples() >= left);
}

/// Windows end with the minute: what is about one that is open begins well before.
fn wait_for_a_minute_with_room() {
    let into_minute = since_1970().as_secs() % 60;
    if into_minute > 30 {
        std::thread::sleep(Duration::from_secs(60 - into_minute));
    }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

fn spoil(data: &Path, how: impl Fn(&Path)) -> String {
    let mut segments: Vec<_> = glob(&data.join("segments"));
    segments.sort();
    let victim = segments.first().expect("a segment").clone();
    how(&victim.join("samples.parquet"));
    victim.file_name().unwrap().to_str().unwrap().to_owned()
}

fn glob(segments: &Path) -> Vec<std::path::PathBuf> {
    let days = fs::read_dir(segments).unwrap().map(|day| day.unwrap().path());
    days.flat_map(|day| fs::read_dir(day).unwrap().map(|segment| segment.unwrap().path())).collect()
}

#[test]
fn a_damaged_segment_is_skipped_and_named_and_the_rest_is_read() {
    let _quiet = quiet();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let _load = Background::start(&program(Program::Shares, FramePointers), &["60"]);
    let server = Server::start(&data, &["--window", "1s"]);
    wait_for_windows(&server, 4);
    assert_eq!(server.end(), Some(0));
    let args = ["query", "--data-dir", data.to_str().unwrap(), "--format", "folded"];
    let all = samples_of(&text(&run(&args, 0).stdout));
    let names = [spoil(&data, |file| {
        let bytes = fs::read(file).unwrap();
        fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
    })];
    let output = run(&args, 0);
    for name in &names {
        assert!(text(&output.stderr).contains(name.as_str()), "{name} in {}", text(&output.stderr));
    }
    let rest = samples_of(&text(&output.stdout));
    assert!(rest > 0 && rest < all, "{rest} of {all}");
    // A running agent goes on beside it, names it and counts it.
    let server = Server::start(&data, &["--window", "1s"]);
    server.json("/api/v1/flame?from=-10m");
    server.wait("the damaged segment is named", |server| {
        let status = server.json("/api/v1/status");
        let skipped = status["data"]["skipped"].as_array().cloned().unwrap_or_default();
        names
            .iter()
            .all(|name| skipped.iter().any(|one| one["path"].as_str().unwrap().contains(name.as_str())))
    });
    assert_eq!(server.end(), Some(0));
}

#[test]
fn a_second_agent_on_the_same_data_or_port_is_refused() {
    let _quiet = quiet();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data, &[]);
    let address = server.url.strip_prefix("http://").unwrap();
    let other = dir.path().join("other");
    let output = run(&["run", "--listen", address, "--data-dir", other.to_str().unwrap()], 5);
    assert!(text(&output.stderr).contains(address), "{}", text(&output.stderr));
    assert!(!other.exists(), "a refused start changes nothing");
    let output = run(&["run", "--listen", "127.0.0.1:0", "--data-dir", data.to_str().unwrap()], 4);
    assert!(text(&output.stderr).contains("written to by"), "{}", text(&output.stderr));
    assert_eq!(server.end(), Some(0));
}
