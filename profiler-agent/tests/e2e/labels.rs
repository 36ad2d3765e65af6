//! Labels of processes and of hosts, and finding samples by them.

use std::{fs, path::PathBuf};

use testprogs::{Program, Variant::FramePointers};

use crate::vesta::{Background, Server, folded, program, quiet, run, text};

/// A cgroup named as Docker names its own, removed at the end.
struct Container {
    folder: PathBuf,
    id: String,
}

impl Container {
    fn new() -> Self {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let unified = mounts.lines().find_map(|line| {
            let mut fields = line.split(' ');
            let (folder, kind) = (fields.nth(1)?, fields.next()?);
            (kind == "cgroup2").then(|| PathBuf::from(folder))
        });
        let id = format!("{:064x}", std::process::id());
        let folder = unified.expect("cgroup version 2").join(format!("docker-{id}.scope"));
        fs::create_dir(&folder).unwrap();
        Self { folder, id }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // The kernel needs a moment for those that have just ended.
        for _ in 0..50 {
            if fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

#[test]
fn samples_are_found_by_container_command_line_and_labels_of_the_user() {
    let _quiet = quiet();
    let container = Container::new();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let shares = program(Program::Shares, FramePointers);
    let script = format!(
        "echo $$ > {}/cgroup.procs && exec {shares} 60 --password hunter2",
        container.folder.display()
    );
    let inside = Background::start("sh", &["-c", &script]);
    let outside = Background::start(&program(Program::Recursion, FramePointers), &["60", "60"]);
    let labels = ["--label", "env=test", "--label", "host=elsewhere", "--command-line"];
    let server = Server::start(&data, &[&["--window", "1s"], &labels[..]].concat());
    let samples = |selector: &str| -> u64 {
        let args = ["query", "--server", &server.url, selector, "--format", "folded", "--from", "-5m"];
        folded(&text(&run(&args, 0).stdout)).iter().map(|stack| stack.samples).sum()
    };
    server.wait("samples of both", |_| {
        samples("process=\"shares\"") > 20 && samples("process=\"recursion\"") > 20
    });
    let by_container = format!("container=\"{}\",container_runtime=\"docker\"", container.id);
    assert!(samples(&by_container) > 20);
    assert_eq!(samples(&format!("{by_container},process!=\"shares\"")), 0);
    assert!(samples("process=\"recursion\",env=\"test\",host=\"elsewhere\"") > 20);
    assert_eq!(samples("env!=\"test\""), 0);
    assert!(samples("command=~\".*/shares 60 --password .redacted.\"") > 20);
    assert_eq!(samples("command=~\".*hunter2.*\""), 0);
    drop((inside, outside));
    assert_eq!(server.end(), Some(0));
}
