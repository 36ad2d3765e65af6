//! Annotations and pins: from this machine and our page only, and within limits.

use serde_json::{Value, json};

use super::*;

const TYPE: (&str, &str) = ("content-type", "application/json");

fn post(server: &Server, path: &str, body: &Value) -> Reply {
    server.send("POST", path, &[TYPE], body.to_string().as_bytes())
}

#[test]
fn annotations_are_made_found_and_taken_back() {
    let server = Server::start(&[]);
    let path = "/api/v1/annotations";
    let deploy = json!({"time": START_MS + 5, "kind": "deploy", "text": "api <2.7.1>"});
    let made = post(&server, path, &deploy);
    assert_eq!(made.status, 200, "{}", made.text());
    let made = made.json();
    assert_eq!(
        (&made["text"], &made["kind"], &made["time_ms"]),
        (&json!("api <2.7.1>"), &json!("deploy"), &json!(START_MS + 5))
    );
    // From our own page, at a time as in a query.
    let own = format!("http://{}", server.address);
    let headers = [TYPE, ("origin", &*own), ("sec-fetch-site", "same-origin")];
    let at = (START_MS / 1000).to_string();
    let body = json!({"time": at, "text": "note"}).to_string();
    assert_eq!(server.send("POST", path, &headers, body.as_bytes()).status, 200);
    let found = server.get_range(path).json();
    let texts: Vec<_> = found["annotations"].as_array().unwrap().iter().map(|a| &a["text"]).collect();
    assert_eq!(texts, [&json!("note"), &json!("api <2.7.1>")]);
    let one = format!("{path}/{}", made["id"].as_str().unwrap());
    assert_eq!(server.request("DELETE", &one, &[("origin", "http://127.0.0.1:1")]).status, 403);
    assert_eq!(server.request("DELETE", &one, &[]).status, 204);
    assert_eq!(server.request("DELETE", &one, &[]).status, 404);
    assert_eq!(server.get_range(path).json()["annotations"].as_array().unwrap().len(), 1);
    let now = post(&server, path, &json!({"text": "now"})).json();
    assert!((now["time_ms"].as_i64().unwrap() - now_ms()).abs() < 60_000);
}

#[test]
fn pins_are_made_listed_and_taken_back() {
    let server = Server::start(&[two_processes()]);
    let path = "/api/v1/pins";
    let made = post(&server, path, &json!({"from": START_MS, "until": START_MS + 1000, "note": "why"}));
    assert_eq!(made.status, 200, "{}", made.text());
    let expected =
        json!({"id": made.json()["id"], "from_ms": START_MS, "until_ms": START_MS + 1000, "note": "why"});
    assert_eq!(made.json(), expected);
    assert_eq!(server.get(path).json(), json!({"pins": [expected]}));
    let one = format!("{path}/{}", made.json()["id"].as_str().unwrap());
    assert_eq!(server.request("DELETE", &one, &[]).status, 204);
    assert_eq!(server.get(path).json(), json!({"pins": []}));
    assert_eq!(server.request("DELETE", &one, &[]).status, 404);
}

#[test]
fn long_states_are_kept_and_found_by_their_ids() {
    let server = Server::start(&[]);
    let state = format!("t=now-1h&x=hide:{}", "%22".repeat(20_000));
    let made = post(&server, "/api/v1/links", &json!({ "state": state }));
    assert_eq!(made.status, 200, "{}", made.text());
    let made = made.json();
    let one = format!("/api/v1/links/{}", made["id"].as_str().unwrap());
    assert_eq!(server.get(&one).json(), json!({"id": made["id"], "state": state}));
    let quotes = json!({"state": "\"".repeat(64 << 10)});
    assert_eq!(post(&server, "/api/v1/links", &quotes).status, 200, "the longest, all of it escaped");
    let unknown = server.get("/api/v1/links/01ARZ3NDEKTSV4RRFFQ69G5FAV");
    assert_eq!((unknown.status, unknown.error().contains("leads to nothing")), (404, true));
}

#[test]
fn a_server_that_only_reads_says_that_it_keeps_nothing() {
    let server = Server::start(&[two_processes()]);
    let folder = server.folder.path().join("data");
    let reading = Server::over(Store::open_reader(folder).unwrap());
    for (path, body) in [
        ("links", json!({"state": "t=now-1h"})),
        ("pins", json!({"from": "-1h", "until": "now"})),
        ("annotations", json!({"text": "x"})),
    ] {
        let reply = post(&reading, &format!("/api/v1/{path}"), &body);
        assert_eq!(reply.status, 409, "{path}: {}", reply.text());
        assert!(reply.error().contains("only reads its data directory"), "{}", reply.text());
    }
}

#[test]
fn what_is_wrong_with_a_body_is_said() {
    let server = Server::start(&[]);
    for (path, body, part) in [
        ("annotations", json!({}), "missing field `text`"),
        ("annotations", json!({"text": " "}), "from 1 to 200 bytes"),
        ("annotations", json!({"text": "x".repeat(201)}), "from 1 to 200 bytes"),
        ("annotations", json!({"text": "x", "time": "soon"}), "`soon` is not a time"),
        ("annotations", json!({"text": "x", "time": -5}), "out of range"),
        ("annotations", json!({"text": "x", "kind": "party"}), "party"),
        ("annotations", json!({"text": "x", "colour": "red"}), "colour"),
        ("links", json!({}), "missing field `state`"),
        ("links", json!({"state": ""}), "from 1 to 65536 bytes"),
        ("links", json!({"state": "a b"}), "percent-encoded"),
        ("pins", json!({"from": 5, "until": 5}), "the range is empty"),
        ("pins", json!({"from": "-1h", "until": "now", "note": "x".repeat(1025)}), "at most 1024"),
    ] {
        let reply = post(&server, &format!("/api/v1/{path}"), &body);
        assert_eq!(reply.status, 400, "{body}: {}", reply.text());
        assert!(reply.text().contains(part), "{body}: {}", reply.text());
    }
    let long = json!({"text": "x".repeat(20_000)});
    assert_eq!(post(&server, "/api/v1/annotations", &long).status, 413);
    assert_eq!(server.send("POST", "/api/v1/pins", &[("content-type", "text/plain")], b"{}").status, 415);
}

#[test]
fn a_server_that_other_machines_reach_takes_no_changes() {
    let server = Server::start(&[]);
    assert_eq!(server.get("/api/v1/status").json()["takes_marks"], true);
    let open = Names::new("0.0.0.0:1".parse().unwrap(), &[]);
    assert!(!open.are_local());
}
