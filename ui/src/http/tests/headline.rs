//! The headline, parts of seconds, conversions, and answers that a client has already.

use serde_json::json;

use super::*;
use crate::support::{PERIOD_NS, generated};

const DAY: i64 = 86_400;

fn at(path: &str, from: i64) -> String {
    let separator = if path.contains('?') { '&' } else { '?' };
    format!("{path}{separator}from={from}&until={}", from + 10)
}

#[test]
fn the_headline_has_a_baseline_only_where_there_is_data() {
    let server = Server::start(&[two_processes()]);
    let found = server.get_range("/api/v1/headline").json();
    assert_eq!(
        (&found["samples"], &found["baseline"], &found["cause"]),
        (&json!(40), &json!(null), &json!(null))
    );
    let watched = found["watched_ms"].as_f64().unwrap();
    let cores = 40.0 * PERIOD_NS as f64 / 1e6 / watched;
    assert!((found["cores"].as_f64().unwrap() - cores).abs() < 1e-9, "{found}");
    let from = START_MS / 1000;
    let range = format!("/api/v1/headline?baseline=range&before_from={from}&before_until={}", from + 10);
    let found = server.get(&at(&range, from)).json();
    assert_eq!((&found["ratio"], &found["significant"]), (&json!(1.0), &json!(false)));
    let refused = server.get("/api/v1/headline?baseline=monday");
    assert_eq!((refused.status, refused.error().contains("yesterday, week")), (400, true));
}

#[test]
fn a_part_of_every_second_leaves_out_samples_without_exact_times() {
    let server = Server::start(&[two_processes()]);
    // The test's samples have none.
    for path in ["/api/v1/flame", "/api/v1/truth"] {
        let part = server.get_range(&format!("{path}?offset_from_ms=100&offset_until_ms=900")).json();
        assert_eq!(part["samples"], 0, "{path}");
    }
    let folded = server.get_range("/api/v1/query?format=folded&offset_from_ms=100");
    assert_eq!((folded.status, folded.text()), (200, ""));
    let rectangle = format!("part={START_MS},{},100,900", START_MS + 5000);
    let parts = server.get_range(&format!("/api/v1/flame?{rectangle}&{rectangle}"));
    assert_eq!((parts.status, &parts.json()["samples"]), (200, &json!(0)));
    let many = vec![&*rectangle; 33].join("&");
    let both = format!("{rectangle}&offset_from_ms=5");
    let wrong = ["offset_from_ms=1000", "offset_until_ms=0", "offset_until_ms=1001", "offset_from_ms=x"];
    let wrong_parts = [
        "part=",
        "part=1,2,3",
        "part=1,2,3,4,5",
        "part=2,1,0,5",
        "part=1,2,5,5",
        "part=1,2,0,1001",
        "part=a,b,c,d",
    ];
    for wrong in wrong.into_iter().chain(wrong_parts).chain([&*many, &*both]) {
        assert_eq!(server.get_range(&format!("/api/v1/flame?{wrong}")).status, 400, "{wrong}");
    }
}

#[test]
fn a_file_is_converted_for_our_page_and_nothing_is_kept() {
    let server = Server::start(&[]);
    let own = format!("http://{}", server.address);
    let kind = ("content-type", "application/octet-stream");
    let folded = b"app;main;work 7\napp;main 1\n";
    let reply = server.send("POST", "/api/v1/convert?max_nodes=100", &[kind, ("origin", &own)], folded);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let flame = reply.json();
    assert_eq!((&flame["samples"], &flame["nodes"]["total"]), (&json!(8), &json!([8, 8, 8, 7])));
    let back = server.send("POST", "/api/v1/convert?format=folded", &[kind], folded);
    assert_eq!(back.text(), "app;main 1\napp;main;work 7\n");
    assert_eq!(server.send("POST", "/api/v1/convert", &[kind], b"{}").status, 400);
    assert_eq!(server.send("POST", "/api/v1/convert", &[("content-type", "text/plain")], folded).status, 415);
    assert_eq!(server.get("/api/v1/status").json()["data"]["segments"], 0);
}

#[test]
fn an_answer_that_a_client_has_is_not_made_again_until_its_data_changes() {
    let server = Server::start(&[generated(3, 50)]);
    let from = START_MS / 1000;
    for path in
        ["/api/v1/flame", "/api/v1/timeline?by=thread", "/api/v1/query?format=folded", "/api/v1/labels"]
    {
        let path = at(path, from);
        let first = server.get(&path);
        assert_eq!((first.status, first.header("cache-control")), (200, "private, no-cache"), "{path}");
        let tag = first.header("etag");
        assert!(tag.starts_with("W/\""), "{tag}");
        let again = server.request("GET", &path, &[("if-none-match", tag)]);
        assert_eq!((again.status, again.body.len(), again.header("etag")), (304, 0, tag), "{path}");
        let other = server.request("GET", &path, &[("if-none-match", "W/\"0\"")]);
        assert_eq!((other.status, &other.body), (200, &first.body));
    }
    let path = at("/api/v1/flame", from);
    let before = server.get(&path);
    let body = b"app;main 3\n";
    let kind = ("content-type", "application/octet-stream");
    let far = format!("/api/v1/import?time={}", from - 30 * DAY);
    assert_eq!(server.send("POST", &far, &[kind], body).status, 200);
    let tag = before.header("etag").to_owned();
    assert_eq!(server.request("GET", &path, &[("if-none-match", &tag)]).status, 304);
    assert_eq!(server.send("POST", &format!("/api/v1/import?time={from}"), &[kind], body).status, 200);
    let after = server.request("GET", &path, &[("if-none-match", &tag)]);
    assert_eq!(after.status, 200);
    assert_ne!(after.header("etag"), tag);
    // What may still change, and what is wrong, is not tagged.
    for path in ["/api/v1/flame", "/api/v1/flame?from=0&until=now", &at("/api/v1/flame?by=a%20b", from)] {
        let reply = server.get(path);
        assert_eq!((reply.header("etag"), reply.header("cache-control")), ("", "no-store"), "{path}");
    }
}

#[test]
fn a_selector_is_compared_with_everything() {
    let server = Server::start(&[two_processes()]);
    let from = START_MS / 1000;
    let path = format!(
        "/api/v1/diff?query=process%3D%22python3%22&before_query=%7B%7D&before_from={from}&before_until={}",
        from + 10
    );
    let both = server.get_range(&path).json();
    assert_eq!((&both["before"]["samples"], &both["samples"]), (&json!(40), &json!(50)), "{both}");
}

#[test]
fn the_size_of_a_range_is_that_of_its_segments() {
    let server = Server::start(&[two_processes()]);
    let size = server.get_range("/api/v1/size").json();
    assert!(size["segments"] == 1 && size["bytes"].as_u64().unwrap() > 0, "{size}");
    assert_eq!(server.get(&at("/api/v1/size", 1000)).json(), json!({"segments": 0, "bytes": 0}));
    let status = server.get("/api/v1/status").json();
    assert_eq!(status["origins"], json!(["https://viewer.example"]));
    assert!(status["exact_from_ms"].as_i64().unwrap() >= START_MS);
}
