//! Statements over HTTP: the same answer by GET and POST, limits, errors with their place.

use serde_json::json;

use super::*;

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn a_statement_is_answered_by_column() {
    let server = Server::start(&[two_processes()]);
    let statement = "SELECT process, sum(samples) AS samples FROM samples GROUP BY 1 ORDER BY 2 DESC";
    let answer = server.get(&format!("/api/v1/sql?sql={}", encoded(statement))).json();
    let flame = server.get_range("/api/v1/flame").json();
    let sum: u64 = answer["columns"][1]["values"].as_array().unwrap().iter().filter_map(Value::as_u64).sum();
    assert_eq!(json!(sum), flame["samples"]);
    assert_eq!(answer["columns"][0]["name"], "process");
    assert_eq!(answer["columns"][0]["type"], "text");
    assert_eq!(
        (&answer["rows"], &answer["truncated"], &answer["skipped"]),
        (&json!(2), &json!(false), &json!([]))
    );
    let posted = server.send("POST", "/api/v1/sql", &[("content-type", "text/plain")], statement.as_bytes());
    assert_eq!(posted.json(), answer);
    let one = server.send("POST", "/api/v1/sql?rows=1", &[], statement.as_bytes()).json();
    assert_eq!((&one["rows"], &one["truncated"]), (&json!(1), &json!(true)));
    assert!(server.get("/metrics").text().contains("vesta_queries_total{kind=\"sql\"} 3\n"));
}

#[test]
fn statements_that_cannot_be_answered_are_explained() {
    let limits = Limits { query_bytes: 1 << 20, ..Limits::default() };
    let server = Server::with(&[crate::support::generated(3, 2000)], limits, None);
    let refused = |path: &str, body: Option<&[u8]>| {
        let reply = match body {
            Some(body) => server.send("POST", path, &[], body),
            None => server.get(path),
        };
        let json = reply.json();
        (
            reply.status,
            json["error"].as_str().unwrap_or("no error").to_owned(),
            json["detail"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let path = "/api/v1/sql";
    assert_eq!(refused(path, None), (400, "the parameter `sql` is missing".into(), String::new()));
    let (status, error, detail) = refused(path, Some(b"SELECT 'open"));
    assert_eq!(
        (status, error.as_str(), detail.as_str()),
        (400, "Unterminated string literal", "SELECT 'open\n       ^")
    );
    assert_eq!(refused(path, Some(b"DROP TABLE samples")).0, 400);
    assert_eq!(refused(path, Some(b"\xff")), (400, "the statement is not UTF-8".into(), String::new()));
    assert_eq!(refused(path, Some(&[b' '; 20_000])).0, 413);
    assert_eq!(refused("/api/v1/sql?rows=0", Some(b"SELECT 1")).0, 400);
    assert_eq!(refused("/api/v1/sql?rows=100001", Some(b"SELECT 1")).0, 400);
    assert_eq!(refused("/api/v1/sql?from=-1h", Some(b"SELECT 1")).0, 400);
    let large =
        b"SELECT a.thread, a.time, b.time, a.samples + b.samples FROM samples a, samples b ORDER BY 4, 2, 3";
    let (status, error, _) = refused("/api/v1/sql?rows=100000", Some(large));
    assert_eq!((status, error.contains("1 MiB")), (422, true), "{error}");
    assert_eq!(server.request("PUT", path, &[]).status, 405);
    // Answers are for our own page.
    let reply = server.request("POST", path, &[("origin", "https://viewer.example")]);
    assert_eq!(reply.header("access-control-allow-origin"), "");
}

#[test]
fn a_statement_that_takes_too_long_is_ended() {
    let limits = Limits { query_time: Duration::from_millis(300), queries: 1, ..Limits::default() };
    let server = Server::with(&[crate::support::generated(3, 20_000)], limits, None);
    let endless = "SELECT count(*) FROM samples a, samples b WHERE (a.time * b.time) % 7 = a.tid";
    let reply = server.send("POST", "/api/v1/sql", &[], endless.as_bytes());
    assert_eq!(reply.status, 504, "{}", reply.text());
    // The one that ran makes room: as soon as it has done with what it is at, which takes seconds on a busy machine.
    let mut reply = server.send("POST", "/api/v1/sql", &[], b"SELECT 1");
    let start = std::time::Instant::now();
    while reply.status == 503 && start.elapsed() < std::time::Duration::from_secs(30) {
        std::thread::sleep(std::time::Duration::from_millis(100));
        reply = server.send("POST", "/api/v1/sql", &[], b"SELECT 1");
    }
    assert_eq!(reply.status, 200, "{}", reply.text());
}
