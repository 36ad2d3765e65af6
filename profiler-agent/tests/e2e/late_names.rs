//! Names that come after the samples.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use serde_json::Value;
use testprogs::{Program, Variant::NoFramePointers};

use crate::{
    tls,
    vesta::{Background, Server, Stack, folded, program, quiet, run, text},
};

const BURNS: [&str; 3] = ["burn_seventy", "burn_twenty", "burn_ten"];

/// The program without symbols, its debug info, and its build ID.
fn stripped(folder: &Path) -> (PathBuf, PathBuf, String) {
    let whole = program(Program::Shares, NoFramePointers);
    let (stripped, debug) = (folder.join("bare"), folder.join("bare.debug"));
    for (arguments, to) in [("--strip-all", &stripped), ("--only-keep-debug", &debug)] {
        assert!(Command::new("objcopy").arg(arguments).arg(&whole).arg(to).status().unwrap().success());
    }
    let build_id = symbols::elf::FileFacts::open(&stripped).unwrap().build_id().unwrap().to_owned();
    (stripped, debug, build_id)
}

fn stacks(data: &str) -> Vec<Stack> {
    let output =
        run(&["query", "--format", "folded", "--data-dir", data, "--from", "-1h", "process=\"bare\""], 0);
    folded(&text(&output.stdout))
}

fn samples(stacks: &[Stack], wanted: impl Fn(&Stack) -> bool) -> u64 {
    stacks.iter().filter(|stack| wanted(stack)).map(|stack| stack.samples).sum()
}

fn is_named(stack: &Stack) -> bool {
    BURNS.iter().any(|function| stack.has(function)) && stack.has("main")
}

fn is_nameless(stack: &Stack) -> bool {
    stack.frames.iter().any(|frame| frame.starts_with("[bare+0x"))
}

fn resolve(data: &str, more: &[&str]) -> Value {
    let output = run(&[&["symbols", "resolve", "--json", "--data-dir", data], more].concat(), 0);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stdout)))
}

#[test]
fn what_was_stored_without_names_gets_them_from_debug_info() {
    let _quiet = quiet();
    let folder = tempfile::tempdir().unwrap();
    let (bare, debug, build_id) = stripped(folder.path());
    let data = folder.path().join("data");
    let server = Server::start(&data, &["--frequency", "499", "--window", "2s", "--debuginfod", ""]);
    let status = Command::new(&bare).arg("3").status().unwrap();
    assert!(status.success());
    assert_eq!(server.end(), Some(0));
    // So that the debug info is all there is.
    fs::remove_file(&bare).unwrap();

    let data = data.to_str().unwrap();
    let before = stacks(data);
    let all = samples(&before, |_| true);
    assert!(samples(&before, is_nameless) > 100 && samples(&before, is_named) == 0);
    let packages = folder.path().join("packages");
    let nothing = resolve(data, &["--debug-dir", packages.to_str().unwrap()]);
    // The whole machine was recorded: another program's file may well be there that could not be read in time.
    let left = nothing["left"].as_array().unwrap().iter().find(|file| file["build_id"] == *build_id);
    let places = left.map(|file| file["places"].as_u64()).unwrap_or_default();
    assert!(places > Some(2), "{nothing}");
    assert!(samples(&stacks(data), is_nameless) > 100, "{nothing}");

    let (start, rest) = build_id.split_at(2);
    fs::create_dir_all(packages.join(".build-id").join(start)).unwrap();
    fs::rename(debug, packages.join(format!(".build-id/{start}/{rest}.debug"))).unwrap();
    let with = ["--debug-dir", packages.to_str().unwrap()];
    let would = resolve(data, &[&with[..], &["--dry-run"]].concat());
    assert!(would["named"].as_u64() >= places && samples(&stacks(data), is_named) == 0, "{would}");
    let done = resolve(data, &with);
    assert_eq!(done["named"], would["named"]);
    assert!(done["renamed"].as_u64() > Some(0), "{done}");
    let after = stacks(data);
    assert_eq!((samples(&after, |_| true), samples(&after, is_nameless)), (all, 0));
    let named = samples(&after, is_named);
    let whole = samples(&after, Stack::is_whole);
    assert!(whole > 100 && named * 100 >= whole * 95, "{named} of {whole}");
    // Of stacks that are cut, as an agent's first ones on a busy machine, what is there has its names.
    let burning = samples(&after, |stack| BURNS.iter().any(|function| stack.has(function)));
    assert!(burning * 100 >= all * 95, "{burning} of {all}");
    // Shares are what they are: names went to their own places.
    let seventy = samples(&after, |stack| stack.has("burn_seventy")) as f64 / burning as f64;
    assert!((0.6..0.8).contains(&seventy), "{seventy}");
    assert_eq!(resolve(data, &with)["renamed"], 0, "and again there is nothing to do");
    let check = run(&["store", "check", "--json", "--data-dir", data], 0);
    let check: Value = serde_json::from_slice(&check.stdout).unwrap();
    assert_eq!(check["bad"], Value::Array(vec![]));
}

/// A debuginfod server for one file.
fn serve(build_id: &str, file: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let path = format!("/buildid/{build_id}/debuginfo");
    // It ends with the test's process.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut first, mut line) = (String::new(), String::new());
            reader.read_line(&mut first).unwrap();
            while reader.read_line(&mut line).is_ok_and(|bytes| bytes > 2) {
                line.clear();
            }
            let is_it = first.split(' ').nth(1) == Some(&path);
            let (status, body) = if is_it { ("200 OK", &file[..]) } else { ("404 Not Found", &b""[..]) };
            let head =
                format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(&[head.as_bytes(), body].concat());
        }
    });
    url
}

#[test]
fn a_running_agent_fetches_debug_info_and_names_the_past_by_it() {
    let _quiet = quiet();
    let folder = tempfile::tempdir().unwrap();
    let (bare, debug, build_id) = stripped(folder.path());
    let url = serve(&build_id, fs::read(debug).unwrap());
    let data = folder.path().join("data");
    let server =
        Server::start(&data, &["--frequency", "199", "--window", "2s", "--debuginfod", &url, "--sync", "1s"]);
    let running = Background::start(bare.to_str().unwrap(), &["120"]);
    server.wait("it is fetched", |server| {
        server.metrics().get("vesta_debuginfod_fetched_total").is_some_and(|fetched| *fetched >= 1.0)
    });
    let (start, rest) = build_id.split_at(2);
    assert!(data.join(format!("debuginfod/.build-id/{start}/{rest}.debug")).exists());
    // What is sampled now has names soon, and the past has them after the next round of maintenance.
    server.wait("late names", |server| server.metrics()["vesta_late_names_total"] >= 3.0);
    let data = data.to_str().unwrap();
    server.wait("names of all there is", |_| {
        let stacks = stacks(data);
        samples(&stacks, is_named) * 100 >= samples(&stacks, |_| true) * 95
    });
    drop(running);
    assert_eq!(server.end(), Some(0));
}

#[test]
fn debug_info_comes_by_tls_from_servers_whose_certificate_is_trusted_only() {
    let _quiet = quiet();
    let folder = tempfile::tempdir().unwrap();
    let (bare, debug, build_id) = stripped(folder.path());
    let served = folder.path().join("buildid").join(&build_id);
    fs::create_dir_all(&served).unwrap();
    fs::copy(debug, served.join("debuginfo")).unwrap();
    let tls = tls::serve(folder.path(), None);
    let running = Background::start(bare.to_str().unwrap(), &["120"]);
    let arguments = ["--frequency", "199", "--window", "2s", "--debuginfod", &tls.url, "--sync", "1s"];
    let counted = |server: &Server, what: &str| server.metrics().get(what).copied().unwrap_or_default();
    let trusting =
        Server::start_with(&folder.path().join("a"), &arguments, &[("SSL_CERT_FILE", &tls.certificate)]);
    trusting.wait("it is fetched", |server| counted(server, "vesta_debuginfod_fetched_total") >= 1.0);
    assert_eq!(trusting.end(), Some(0));
    let wary = Server::start(&folder.path().join("b"), &arguments);
    wary.wait("it is refused", |server| counted(server, "vesta_debuginfod_failed_total") >= 1.0);
    assert_eq!(counted(&wary, "vesta_debuginfod_fetched_total"), 0.0);
    drop(running);
    assert_eq!(wary.end(), Some(0));
}
