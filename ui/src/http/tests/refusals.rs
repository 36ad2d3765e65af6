//! What is refused, and in which words.

use super::*;
use crate::support::generated;

#[test]
fn bad_requests_say_what_is_bad() {
    let server = Server::start(&[two_processes()]);
    for (path, part) in [
        ("/api/v1/flame?query=%7Bprocess", "bad selector"),
        ("/api/v1/flame?from=soon", "`soon` is not a time"),
        ("/api/v1/flame?from=now&until=-1m", "the range is empty"),
        ("/api/v1/flame?by=a%20b", "`a b` is no label name"),
        ("/api/v1/flame?max_nodes=0", "max_nodes must be a whole number from 1 to 1000000, not `0`"),
        ("/api/v1/flame?max_nodes=many", "not `many`"),
        ("/api/v1/flame?untill=now", "unknown parameter `untill`"),
        ("/api/v1/flame?from=-1m&from=-2m", "the parameter `from` is given twice"),
        ("/api/v1/flame?query=%ff%fe", "bad selector"),
        ("/api/v1/timeline?step_ms=-1", "step_ms must be a number above 0, not `-1`"),
        ("/api/v1/timeline?step_ms=NaN", "not `NaN`"),
        ("/api/v1/timeline?top=1000", "top must be a whole number from 1 to 100"),
        ("/api/v1/labels/a%3Bb/values", "no label name"),
        (
            "/api/v1/query?format=xml",
            "unknown format `xml`: use top, top-json, folded, pprof, svg, json, firefox",
        ),
    ] {
        let reply = server.get(path);
        assert_eq!(reply.status, 400, "{path}: {}", reply.text());
        assert!(reply.error().contains(part), "{path}: {}", reply.error());
    }
    let reply = server.get("/api/v1/flame?query=process%3D%22x");
    assert!(
        reply.json()["detail"].as_str().unwrap().contains('^'),
        "a caret shows the place: {}",
        reply.text()
    );
}

#[test]
fn errors_of_file_formats_are_plain_text() {
    let server = Server::start(&[]);
    for path in
        ["/pprof?from=soon", "/api/v1/query?format=folded&from=soon", "/api/v1/query?from=soon&format=svg"]
    {
        let reply = server.get(path);
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (400, "text/plain; charset=utf-8"),
            "{path}"
        );
        assert_eq!(reply.header("x-go-pprof"), "1");
        assert!(reply.text().starts_with("`soon` is not a time"), "{}", reply.text());
    }
    let reply = server.request("GET", "/api/v1/flame?from=soon", &[("X-Go-Pprof", "1")]);
    assert_eq!(reply.header("content-type"), "text/plain; charset=utf-8");
}

#[test]
fn other_paths_and_methods_are_refused() {
    let server = Server::start(&[]);
    for path in
        ["/nothing", "/api/v1/nothing", "/api/v2/status", "/assets/../secret", "/..%2f..%2fetc/passwd"]
    {
        let reply = server.get(path);
        assert_eq!(reply.status, 404, "{path}");
        assert!(reply.error().starts_with("there is nothing at /"), "{}", reply.error());
    }
    for path in ["/api/v1/flame", "/", "/pprof", "/nothing"] {
        assert_eq!(server.request("POST", path, &[("content-length", "0")]).status, 405, "{path}");
    }
    assert_eq!(server.request("HEAD", "/api/v1/status", &[]).status, 200);
}

#[test]
fn a_foreign_host_name_is_refused_everywhere() {
    let server = Server::start(&[two_processes()]);
    for path in ["/", "/api/v1/status", "/pprof", "/metrics"] {
        let reply = server.request("GET", path, &[("host", "evil.example")]);
        assert_eq!(reply.status, 403, "{path}");
        assert_eq!(server.request("GET", path, &[("host", "localhost:9999")]).status, 200, "{path}");
    }
}

#[test]
fn oversize_requests_are_refused() {
    let server = Server::start(&[]);
    let long = format!("process=\"{}\"", "x".repeat(20_000)).replace('"', "%22");
    let reply = server.get(&format!("/api/v1/flame?query={long}"));
    assert_eq!(reply.status, 400);
    assert!(reply.error().starts_with("bad selector"), "{}", reply.error());
    let reply = server.get(&format!("/api/v1/flame?query={}", "x".repeat(65_000)));
    assert!([400, 414].contains(&reply.status), "{}", reply.status);
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn too_large_an_answer_is_refused_with_what_to_do() {
    let limits = Limits { answer_bytes: 2000, ..Limits::default() };
    let server = Server::with(&[generated(1, 300)], limits, None);
    let reply = server.get_range("/api/v1/flame");
    assert_eq!(reply.status, 422);
    assert!(reply.error().contains("shorter range"), "{}", reply.error());
}

#[test]
fn a_query_that_needs_too_much_memory_is_refused_with_what_to_do() {
    let limits = Limits { query_bytes: 2000, ..Limits::default() };
    let server = Server::with(&[generated(1, 300)], limits, None);
    let reply = server.get_range("/api/v1/flame");
    assert_eq!(reply.status, 422);
    assert!(reply.error().contains("shorter range"), "{}", reply.error());
}

#[test]
fn too_slow_a_query_is_answered_in_time() {
    let limits = Limits { query_time: Duration::ZERO, ..Limits::default() };
    let server = Server::with(&[generated(1, 300)], limits, None);
    let reply = server.get_range("/api/v1/flame");
    assert_eq!(reply.status, 504);
    assert!(reply.error().contains("shorter range"), "{}", reply.error());
    assert!(server.get("/metrics").text().contains("\nvesta_query_timeouts_total 1\n"));
}

#[test]
fn too_many_queries_at_once_are_turned_away() {
    let limits = Limits { queries: 0, ..Limits::default() };
    let server = Server::with(&[], limits, None);
    let reply = server.get("/api/v1/flame");
    assert_eq!((reply.status, reply.header("retry-after")), (503, "1"));
    assert!(server.get("/metrics").text().contains("\nvesta_queries_rejected_total 1\n"));
    assert_eq!(server.get("/api/v1/status").status, 200, "what costs little is answered still");
}

#[test]
fn a_crowd_of_queries_is_answered_or_turned_away_and_counted() {
    let limits = Limits { queries: 1, ..Limits::default() };
    let server = Server::with(&[generated(1, 300)], limits, None);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let asked: Vec<_> =
            (0..12).map(|_| scope.spawn(|| server.get_range("/api/v1/flame").status)).collect();
        asked.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let count = |status| statuses.iter().filter(|s| **s == status).count();
    let (answered, turned_away) = (count(200), count(503));
    assert!(answered > 0 && answered + turned_away == 12, "{statuses:?}");
    let metrics = server.get("/metrics");
    for line in [
        format!("\nvesta_queries_total{{kind=\"flame\"}} {answered}\n"),
        format!("\nvesta_queries_rejected_total {turned_away}\n"),
        "\nvesta_queries_running 0\n".to_owned(),
    ] {
        assert!(metrics.text().contains(&line), "{line} in {}", metrics.text());
    }
}
