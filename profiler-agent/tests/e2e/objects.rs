//! `--store`: profiles on object storage, here in a folder; servers are the store's own tests' matter.

use crate::vesta::{Server, quiet, run, text};

fn path(folder: &std::path::Path, name: &str) -> String {
    folder.join(name).to_str().unwrap().to_owned()
}

#[test]
fn what_one_imports_another_queries_without_a_data_directory() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (path(folder.path(), "data"), path(folder.path(), "a.folded"));
    std::fs::create_dir(folder.path().join("shared")).unwrap();
    let store = format!("file://{}", path(folder.path(), "shared"));
    std::fs::write(&file, "app;main;work 7\napp;main 1\n").unwrap();
    let nothing = text(&run(&["query", "--store", &store], 4).stderr);
    assert!(nothing.contains("holds no store of Vesta"), "{nothing}");
    run(&["import", &file, "--data-dir", &data, "--store", &store, "--time", "-1m"], 0);
    assert!(folder.path().join("shared/commits/00000000000000000001.json").is_file());
    let folded = |more: &[&str]| {
        let args = [&["query", "--store", &store, "--format", "folded", "--from", "-5m"], more].concat();
        text(&run(&args, 0).stdout)
    };
    let all = "app;main 1\napp;main;work 7\n";
    assert_eq!(folded(&[]), all);
    assert_eq!(folded(&["--data-dir", &data]), all, "once, although it is in both");
    // What is only here is there, too.
    run(&["import", &file, "--data-dir", &data, "--time", "-1m"], 0);
    assert_eq!(folded(&[]), all);
    assert_eq!(folded(&["--data-dir", &data]), "app;main 2\napp;main;work 14\n");

    // What is uploaded and what is not must not be merged by one who cannot tell them apart.
    let refused = text(&run(&["store", "compact", "--data-dir", &data], 4).stderr);
    assert!(refused.contains("are on object storage"), "{refused}");

    let wrong = text(&run(&["query", "--store", "ftp://x"], 2).stderr);
    assert!(wrong.contains("`ftp://x` is no address of a store"), "{wrong}");
    let doctor = text(&crate::vesta::vesta(&["doctor", "--store", &store]).output().unwrap().stdout);
    let line = doctor.lines().find(|line| line.contains("object storage")).unwrap_or_default();
    assert!(line.starts_with("ok ") && line.contains(": 1 segments of 1 hosts, "), "{doctor}");
}

#[test]
fn an_agent_uploads_and_says_what_waits() {
    let _quiet = quiet();
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("shared")).unwrap();
    let store = format!("file://{}", path(dir.path(), "shared"));
    let server = Server::start(&dir.path().join("data"), &["--window", "1s", "--store", &store]);
    server.wait("windows that wait", |server| {
        server.metrics().get("vesta_objects_pending_segments").copied().unwrap_or(0.0) > 0.0
    });
    let metrics = server.metrics();
    assert_eq!(metrics["vesta_objects_requests_failed_total"], 0.0);
    assert!(metrics["vesta_objects_requests_total{kind=\"put\"}"] >= 1.0);
    assert!(metrics["vesta_objects_age_seconds"] < 120.0);
    let (code, _) = server.get("/healthz");
    assert_eq!(code, 200);
    assert_eq!(server.end(), Some(0));
    // A prefix with other things in it is refused at the start.
    std::fs::create_dir(dir.path().join("other")).unwrap();
    std::fs::write(dir.path().join("other/cat.jpg"), "meow").unwrap();
    let store = format!("file://{}", path(dir.path(), "other"));
    let data = path(dir.path(), "data");
    let refused =
        text(&run(&["run", "--data-dir", &data, "--listen", "127.0.0.1:0", "--store", &store], 4).stderr);
    assert!(refused.contains("is not empty (it has `cat.jpg`)"), "{refused}");
}
