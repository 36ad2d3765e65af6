//! Health, metrics, compression, the page, connections.

use std::io::Write;
use std::net::TcpStream;
use std::time::Instant;

use serde_json::json;

use super::*;
use crate::support::{START_MS, generated};

#[test]
fn health_follows_the_store() {
    let server = Server::start(&[two_processes()]);
    let reply = server.get("/healthz");
    assert_eq!((reply.status, reply.text()), (200, "ok\n"));
    let segments = server.folder.path().join("data/segments");
    std::fs::remove_dir_all(&segments).unwrap();
    std::fs::write(&segments, "not a folder").unwrap();
    let reply = server.get("/healthz");
    assert_eq!(reply.status, 503, "{}", reply.text());
    let reply = server.get_range("/api/v1/flame");
    assert_eq!(reply.status, 500);
    assert!(reply.error().contains("segments"), "{}", reply.error());
}

#[test]
fn metrics_are_those_of_agent_and_server() {
    let server = Server::with(&[two_processes()], Limits::default(), Some(Arc::new(TestAgent)));
    server.get_range("/api/v1/flame");
    server.get_range("/api/v1/flame?by=pid");
    let reply = server.get("/metrics");
    assert_eq!(reply.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let lines: Vec<_> = reply.text().lines().collect();
    for line in [
        "vesta_samples_taken_total 12",
        "vesta_queries_total{kind=\"flame\"} 2",
        "vesta_queries_total{kind=\"timeline\"} 0",
        "vesta_query_errors_total{kind=\"flame\"} 0",
        "vesta_queries_running 0",
        "vesta_store_segments 1",
    ] {
        assert!(lines.contains(&line), "{line} in {}", reply.text());
    }
    let is_metric = |line: &&str| {
        line.starts_with("# HELP ")
            || line.starts_with("# TYPE ")
            || line
                .rsplit_once(' ')
                .is_some_and(|(name, value)| name.starts_with("vesta_") && value.parse::<f64>().is_ok())
    };
    assert!(lines.iter().all(is_metric), "{}", reply.text());
}

#[test]
fn answers_are_compressed_for_those_who_take_it() {
    let server = Server::start(&[generated(1, 300)]);
    let plain = server.get_range("/api/v1/flame");
    assert_eq!(plain.header("content-encoding"), "");
    let path = format!("/api/v1/flame?from={}&until={}", START_MS / 1000, START_MS / 1000 + 10);
    let packed = server.request("GET", &path, &[("accept-encoding", "gzip")]);
    assert_eq!(packed.header("content-encoding"), "gzip");
    assert!(packed.body.len() < plain.body.len() / 2);
    assert_eq!(unpacked(&packed.body), plain.body);
    let pprof = server.request("GET", "/pprof", &[("accept-encoding", "gzip")]);
    assert_eq!(pprof.header("content-encoding"), "", "is compressed already");
}

#[test]
fn the_page_is_served_and_cached_by_its_content() {
    let server = Server::start(&[]);
    let index = server.get("/");
    assert_eq!((index.status, index.header("content-type")), (200, "text/html; charset=utf-8"));
    assert_eq!(index.header("cache-control"), "no-cache");
    assert!(index.header("content-security-policy").starts_with("default-src 'self'"));
    assert_eq!(index.header("x-content-type-options"), "nosniff");
    assert_eq!(index.header("cross-origin-resource-policy"), "same-origin");
    assert_eq!(index.header("access-control-allow-origin"), "");
    let mut assets = index.text().split('"').filter(|text| text.starts_with("/assets/"));
    let script = assets.find(|path| path.ends_with(".js")).unwrap();
    let asset = server.get(script);
    assert_eq!((asset.status, asset.header("content-type")), (200, "text/javascript; charset=utf-8"));
    assert_eq!(asset.header("cache-control"), "public, max-age=31536000, immutable");
    for (path, reply) in [("/", &index), (script, &asset)] {
        let again = server.request("GET", path, &[("if-none-match", reply.header("etag"))]);
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
        assert_eq!(again.header("etag"), reply.header("etag"));
    }
}

#[test]
fn the_api_is_not_cached() {
    let server = Server::start(&[]);
    for path in ["/api/v1/status", "/api/v1/flame", "/nothing"] {
        assert_eq!(server.get(path).header("cache-control"), "no-store", "{path}");
    }
}

/// A connection that has sent only half a request.
fn half_a_request(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n").unwrap();
    stream
}

#[test]
fn connections_beyond_the_limit_wait_for_their_turn() {
    let limits = Limits { connections: 2, ..Limits::default() };
    let server = Server::with(&[], limits, None);
    let first = half_a_request(&server);
    let _second = half_a_request(&server);
    let mut third = half_a_request(&server);
    third.write_all(b"Connection: close\r\n\r\n").unwrap();
    third.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let error = third.read(&mut [0; 1]).expect_err("the third waits");
    assert!(matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut), "{error}");
    drop(first);
    third.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut answer = String::new();
    third.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

#[test]
fn a_connection_without_a_byte_is_closed() {
    let limits = Limits { idle_time: Duration::from_millis(50), ..Limits::default() };
    let server = Server::with(&[], limits, None);
    let mut stream = half_a_request(&server);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("closed, not timed out");
    assert_eq!(String::from_utf8_lossy(&rest), "");
}

#[test]
fn a_client_that_never_finishes_does_not_keep_the_server_from_stopping() {
    let server = Server::start(&[]);
    let _open = half_a_request(&server);
    let start = Instant::now();
    drop(server);
    assert!(start.elapsed() < GRACE * 4, "stopping took {:?}", start.elapsed());
}

#[test]
fn a_question_with_a_name_tells_how_far_it_is_while_it_is_answered() {
    let limits = Limits { query_time: Duration::from_secs(3), queries: 1, ..Limits::default() };
    let server = Server::with(&[crate::support::generated(3, 20_000)], limits, None);
    let ask = |name: &str| server.get(&format!("/api/v1/progress?question={name}")).json();
    let nobody = json!({"read": null, "segments": null});
    assert_eq!(ask("a"), nobody);
    std::thread::scope(|scope| {
        // Takes the only place, so that the other question waits.
        let endless = "SELECT count(*) FROM samples a, samples b WHERE (a.time * b.time) % 7 = a.tid";
        scope.spawn(|| server.send("POST", "/api/v1/sql", &[], endless.as_bytes()));
        std::thread::sleep(Duration::from_millis(300));
        let waiting = scope.spawn(|| server.request("GET", "/api/v1/flame", &[("x-vesta-question", "a")]));
        let seen = (0..100).find_map(|_| {
            std::thread::sleep(Duration::from_millis(5));
            Some(ask("a")).filter(|answer| *answer != nobody)
        });
        assert_eq!(seen, Some(json!({"read": 0, "segments": 0})));
        waiting.join().unwrap();
        assert_eq!(ask("a"), nobody, "it is over");
    });
    let long = "x".repeat(65);
    server.request("GET", "/api/v1/flame", &[("x-vesta-question", &long)]);
    assert_eq!(ask(&long), nobody);
}
