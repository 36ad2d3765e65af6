//! Against small servers of our own, friendly and not.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use serde_json::json;

use super::*;
use crate::test_server::{Server, answer};

fn options(server: &Server) -> KubernetesOptions {
    KubernetesOptions {
        url: server.url.clone(),
        node: "node-1".to_owned(),
        token_file: None,
        ca_file: None,
        pod_labels: Vec::new(),
    }
}

/// A list of pods, each with its uid and the containers that run.
fn list(pods: &[(&str, &[&str])]) -> Vec<u8> {
    let item = |(uid, containers): &(&str, &[&str])| {
        let statuses: Vec<_> = containers
            .iter()
            .map(|id| json!({"name": format!("c-{id}"), "containerID": format!("containerd://{id}")}))
            .collect();
        json!({
            "metadata": {"name": format!("pod-{uid}"), "namespace": "shop", "uid": uid},
            "status": {"containerStatuses": statuses},
        })
    };
    let items: Vec<_> = pods.iter().map(item).collect();
    json!({"kind": "PodList", "apiVersion": "v1", "items": items}).to_string().into_bytes()
}

fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "in vain: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn container_name(labels: &[Label]) -> Option<&str> {
    labels.iter().find(|(name, _)| name == "container_name").map(|(_, value)| value.as_str())
}

#[test]
fn pods_are_asked_for_when_they_are_wanted_and_no_more_once_they_are_known() {
    let now: Arc<Mutex<Vec<u8>>> = Arc::new(Mutex::new(list(&[("u1", &["a"])])));
    let sent = now.clone();
    let server = Server::start(Box::new(move |request| {
        assert_eq!(request.path, "/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-1&resourceVersion=0");
        assert!(!request.headers.to_lowercase().contains("authorization"));
        answer("200 OK", &sent.lock().unwrap())
    }));
    let pods = Pods::start(&options(&server)).unwrap();
    assert_eq!((pods.labels("u1", Some("a")), server.asked()), (None, 0), "nobody waits");
    wait("the list", || pods.labels("u1", Some("a")).is_some());
    let labels = pods.labels("u1", Some("a")).unwrap();
    assert_eq!(container_name(&labels), Some("c-a"));
    assert!(labels.contains(&("pod".to_owned(), "pod-u1".to_owned())));
    assert_eq!(container_name(&pods.labels("u1", None).unwrap()), None, "of the pod, in no container");
    assert_eq!(server.asked(), 1);
    // Another container starts in it, and one in a pod that is new.
    *now.lock().unwrap() = list(&[("u1", &["a", "b"]), ("u2", &["c"])]);
    wait("the other container", || pods.labels("u1", Some("b")).is_some());
    assert_eq!((pods.labels("u2", Some("c")).is_some(), server.asked()), (true, 2));
    // What is gone is remembered for a while.
    *now.lock().unwrap() = list(&[("u3", &["d"])]);
    wait("the third pod", || pods.labels("u3", Some("d")).is_some());
    assert!(pods.labels("u1", Some("b")).is_some());
    assert_eq!(pods.counts().pods.load(Ordering::Relaxed), 3);
}

#[test]
fn what_the_server_does_not_know_is_asked_for_ever_more_rarely() {
    let mut known = Known::default();
    let start = Instant::now();
    let mut asked = Vec::new();
    for second in 0..1000 {
        let now = start + Duration::from_secs(second);
        if known.want("u", Some("a"), now) && known.is_due(now) {
            asked.push(second);
            known.take_in(HashMap::new(), now);
        }
    }
    assert_eq!(asked, [0, 2, 6, 14, 30, 62, 126, 246, 366, 486, 606, 726, 846, 966]);
    let other = (Pod { containers: HashMap::from([("a".to_owned(), Vec::new())]), ..Pod::default() }, "u");
    known.take_in(HashMap::from([(other.1.to_owned(), other.0)]), start);
    assert!(known.asked.is_empty());
    for number in 0..3 * ASKED_MAX {
        known.want(&number.to_string(), None, start);
    }
    assert!(known.asked.len() <= ASKED_MAX);
}

#[test]
fn the_token_is_read_anew_each_time_and_shown() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    let server = Server::start(Box::new(|request| match request.headers.contains("Bearer second") {
        true => answer("200 OK", &list(&[])),
        false => answer("401 Unauthorized", br#"{"kind":"Status","message":"Unauthorized token"}"#),
    }));
    let options = KubernetesOptions { token_file: Some(token.clone()), ..options(&server) };
    let client = Client::new(&options).unwrap();
    let missing = client.pods().unwrap_err();
    assert!(missing.contains(token.to_str().unwrap()) && server.asked() == 0, "{missing}");
    fs::write(&token, "first\n").unwrap();
    assert_eq!(client.pods().unwrap_err(), "it answers 401: Unauthorized token");
    fs::write(&token, "second\n").unwrap();
    assert_eq!(client.pods(), Ok(HashMap::new()));
    fs::write(&token, "\n").unwrap();
    assert!(client.pods().unwrap_err().contains("no token in it"));
}

#[test]
fn hostile_answers_are_told_and_nothing_more() {
    let endless =
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4100000\r\n".to_vec(), vec![b' '; 65 << 20]];
    for (what, sent, reason) in [
        ("no list", answer("200 OK", b"<html>"), "expected value"),
        ("an error", answer("500 Internal Server Error", b""), "it answers 500"),
        (
            "one passed on",
            b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n".to_vec(),
            "it answers 302",
        ),
        ("no HTTP", b"\0\xff\r\n\r\n".to_vec(), "error"),
        ("closed at once", Vec::new(), "error"),
        ("cut short", b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{".to_vec(), "error"),
        ("endless", endless.concat(), "more than 64 MiB"),
    ] {
        let server = Server::start(Box::new(move |_| sent.clone()));
        let error = Client::new(&options(&server)).unwrap().pods().unwrap_err();
        assert!(error.contains(reason), "{what}: {error}");
    }
}

#[test]
fn certificates_that_cannot_be_used_are_named_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(Box::new(|_| Vec::new()));
    let with = |ca: PathBuf| Pods::start(&KubernetesOptions { ca_file: Some(ca), ..options(&server) });
    let missing = with(folder.path().join("missing.crt")).unwrap_err().to_string();
    assert!(missing.contains("missing.crt"), "{missing}");
    let other = folder.path().join("other.crt");
    fs::write(&other, "no certificate").unwrap();
    let refused = with(other).unwrap_err().to_string();
    assert!(refused.contains("other.crt"), "{refused}");
}
