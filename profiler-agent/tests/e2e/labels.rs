//! Labels of processes and of hosts, and finding samples by them.

use testprogs::{Program, Variant::FramePointers};

use crate::{
    cgroups::Cgroup,
    vesta::{Background, Server, folded, program, quiet, run, text},
};

#[test]
fn samples_are_found_by_container_command_line_and_labels_of_the_user() {
    let _quiet = quiet();
    let id = format!("{:064x}", std::process::id());
    let container = Cgroup::new(&format!("docker-{id}.scope"));
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let shares = program(Program::Shares, FramePointers);
    let inside = container.start(&format!("{shares} 60 --password hunter2"));
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
    let by_container = format!("container=\"{}\",container_runtime=\"docker\"", id);
    assert!(samples(&by_container) > 20);
    assert_eq!(samples(&format!("{by_container},process!=\"shares\"")), 0);
    assert!(samples("process=\"recursion\",env=\"test\",host=\"elsewhere\"") > 20);
    assert_eq!(samples("env!=\"test\""), 0);
    assert!(samples("command=~\".*/shares 60 --password .redacted.\"") > 20);
    assert_eq!(samples("command=~\".*hunter2.*\""), 0);
    drop((inside, outside));
    assert_eq!(server.end(), Some(0));
}
