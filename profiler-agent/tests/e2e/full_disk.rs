//! A disk that is full for a while, and one that is read-only: said, counted, and nothing lost that was stored.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use testprogs::{Program, Variant::FramePointers};

use crate::vesta::{Background, Server, program, quiet, run, text};

/// A small file system of its own, unmounted at the end.
struct Disk(PathBuf);

impl Disk {
    fn new(folder: &Path, size: &str) -> Self {
        let path = folder.join("disk");
        fs::create_dir(&path).unwrap();
        let options = format!("size={size}");
        mount(&["-t", "tmpfs", "-o", &options, "tmpfs", path.to_str().unwrap()]);
        Self(path)
    }

    fn make_read_only(&self) {
        mount(&["-o", "remount,ro", self.0.to_str().unwrap()]);
    }
}

fn mount(args: &[&str]) {
    let output = Command::new("mount").args(args).output().unwrap();
    assert!(output.status.success(), "mount {args:?}: {}", text(&output.stderr));
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn samples(data: &Path) -> u64 {
    let args = ["query", "--json", "--data-dir", data.to_str().unwrap(), "--from", "-10m"];
    let answer: serde_json::Value = serde_json::from_slice(&run(&args, 0).stdout).unwrap();
    answer["samples"].as_u64().unwrap()
}

fn is_lost(name: &str) -> bool {
    name.starts_with("vesta_samples_lost_total")
}

#[test]
fn an_agent_outlives_a_full_disk_and_counts_what_it_cost() {
    let _quiet = quiet();
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::new(dir.path(), "8m");
    let data = disk.0.join("data");
    let _load = Background::start(&program(Program::Shares, FramePointers), &["120"]);
    let args = ["--window", "2s", "--sync", "250ms", "--unwind-cache-bytes", "0", "--log", "error"];
    let server = Server::start(&data, &args);
    let stored = |server: &Server| server.metrics()["vesta_samples_stored_total"];
    server.wait("stored samples", |server| stored(server) > 100.0);
    // All that is left, to the last byte.
    let filler = disk.0.join("filler");
    let fill = Command::new("dd")
        .arg("if=/dev/zero")
        .arg(format!("of={}", filler.display()))
        .args(["bs=4k"])
        .output();
    assert!(text(&fill.unwrap().stderr).contains("No space left"));
    server.wait("refused samples", |server| {
        server.metrics()["vesta_log_failures_total"] > 2.0
            && server.metrics()["vesta_samples_lost_total{reason=\"store_failed\"}"] > 0.0
    });
    let metrics = server.metrics();
    let lost: f64 = metrics.iter().filter(|(name, _)| is_lost(name)).map(|(_, n)| n).sum();
    assert_eq!(metrics["vesta_samples_taken_total"], metrics["vesta_samples_stored_total"] + lost);
    assert!(samples(&data) as f64 >= metrics["vesta_samples_stored_total"], "what is stored can be read");
    fs::remove_file(&filler).unwrap();
    let before = stored(&server);
    server.wait("stored samples again", |server| stored(server) > before + 100.0);
    let stored = stored(&server);
    server.kill();
    assert!(samples(&data) as f64 >= stored, "{} of {stored}", samples(&data));
    run(&["store", "gc", "--data-dir", data.to_str().unwrap()], 0);
    assert!(samples(&data) as f64 >= stored);
    run(&["store", "check", "--data-dir", data.to_str().unwrap()], 0);

    disk.make_read_only();
    assert!(samples(&data) as f64 >= stored, "it can still be read");
    run(&["store", "check", "--data-dir", data.to_str().unwrap()], 0);
    for args in
        [&["run", "--listen", "127.0.0.1:0"][..], &["store", "compact"], &["store", "pin", "--from", "-1m"]]
    {
        let output = run(&[args, &["--data-dir", data.to_str().unwrap()]].concat(), 4);
        let told = text(&output.stderr);
        assert!(told.contains("Read-only file system") && told.contains("data"), "{told}");
    }
}
