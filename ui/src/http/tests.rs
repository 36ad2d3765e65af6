use std::io::Read;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use store::model::{FrameKind, Profile};
use tempfile::TempDir;

use super::*;
use crate::render::Format;
use crate::support::{Maker, PERIOD_NS, REDIS, START_MS, Who, generated, native};

/// A server on a port of its own, over a store in a folder of its own.
struct Server {
    address: SocketAddr,
    folder: TempDir,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<Result<(), ServeError>>>,
}

/// An answer with its body decompressed.
struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Reply {
    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), "application/json", "{}", self.text());
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The one sentence of an error.
    fn error(&self) -> String {
        self.json()["error"].as_str().unwrap().to_owned()
    }
}

struct TestAgent;

impl AgentView for TestAgent {
    fn status(&self) -> AgentStatus {
        AgentStatus {
            frequency_hz: 99,
            event: "cpu-clock".to_owned(),
            window_ms: 10_000,
            samples_taken: 12,
            lost: BTreeMap::from([("ring_full".to_owned(), 2)]),
            bpf_ns_per_sample: Some(900.0),
            ..AgentStatus::default()
        }
    }

    fn metrics(&self) -> String {
        "vesta_samples_taken_total 12".to_owned()
    }
}

impl Server {
    fn start(profiles: &[Profile]) -> Self {
        Self::with(profiles, Limits::default(), None)
    }

    fn with(profiles: &[Profile], limits: Limits, agent: Option<Arc<dyn AgentView>>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_writer(folder.path().join("data")).unwrap();
        for profile in profiles {
            store.append(profile).unwrap();
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let host = "web-01".to_owned();
        let config = ServerConfig { listener, names: Vec::new(), host, store, agent, limits };
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let thread = std::thread::spawn(move || {
            runtime.block_on(serve(config, async move {
                stopped.await.ok();
            }))
        });
        Self { address, folder, stop: Some(stop), thread: Some(thread) }
    }

    fn get(&self, path: &str) -> Reply {
        self.request("GET", path, &[])
    }

    /// With the range of the profiles in `support`.
    fn get_range(&self, path: &str) -> Reply {
        let separator = if path.contains('?') { '&' } else { '?' };
        let (from, until) = (START_MS / 1000, START_MS / 1000 + 10);
        self.get(&format!("{path}{separator}from={from}&until={until}"))
    }

    fn request(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .timeout_global(Some(Duration::from_secs(60)))
            .build()
            .into();
        let mut request =
            ureq::http::Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let reply = agent.run(request.body(()).unwrap()).unwrap();
        let (head, body) = reply.into_parts();
        let headers: Vec<_> =
            head.headers.iter().map(|(n, v)| (n.to_string(), v.to_str().unwrap().to_owned())).collect();
        let mut raw = Vec::new();
        body.into_reader().read_to_end(&mut raw).unwrap();
        Reply { status: head.status.as_u16(), headers, body: raw }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().unwrap().join();
        if !std::thread::panicking() {
            ended.unwrap().unwrap();
        }
    }
}

/// Two processes, one stack of them incomplete.
fn two_processes() -> Profile {
    let mut maker = Maker::default();
    maker.stack(REDIS, &[native("main"), native("serve")], 30);
    let python =
        Who { process: "python3", thread: "worker", pid: 21, tid: 22, status: "no_frame_pointer", ..REDIS };
    let truncated = (FrameKind::Truncated, "no_frame_pointer", "", 0);
    maker.stack(Who { time_ms: START_MS + 5000, ..python }, &[truncated, native("eval")], 10);
    maker.account("samples_taken", 42).account("lost_ring_full", 2).finish()
}

fn unpacked(gzip: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(gzip).read_to_end(&mut plain).unwrap();
    plain
}

#[test]
fn status_tells_of_data_and_agent() {
    let server = Server::with(&[two_processes()], Limits::default(), Some(Arc::new(TestAgent)));
    let status = server.get("/api/v1/status").json();
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&status["host"], &status["event"]), (&json!("web-01"), &json!("cpu-clock")));
    assert_eq!((&status["frequency_hz"], &status["window_ms"]), (&json!(99), &json!(10_000)));
    assert_eq!(status["data"]["from_ms"], START_MS);
    assert_eq!(status["data"]["segments"], 1);
    assert!(status["data"]["bytes"].as_u64().unwrap() > 0);
    assert_eq!(status["agent"]["lost"], json!({"ring_full": 2}));
    let mut keys: Vec<_> = status["agent"].as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    let documented = [
        "agent_cpu_s",
        "bpf_ns_per_sample",
        "complete",
        "incomplete",
        "lost",
        "rss_bytes",
        "samples_stored",
        "samples_taken",
        "user_stacks",
    ];
    assert_eq!(keys, documented);
    assert!(status["now_ms"].as_i64().unwrap() >= status["started_ms"].as_i64().unwrap());
}

#[test]
fn status_without_data_and_agent_has_nulls() {
    let status = Server::start(&[]).get("/api/v1/status").json();
    assert_eq!(
        status["data"],
        json!({"from_ms": null, "until_ms": null, "segments": 0, "bytes": 0, "skipped": []})
    );
    assert_eq!((&status["agent"], &status["frequency_hz"]), (&Value::Null, &Value::Null));
}

#[test]
fn timeline_counts_samples_by_group_and_bucket() {
    let server = Server::start(&[two_processes()]);
    let timeline = server.get_range("/api/v1/timeline?step_ms=5000&top=1").json();
    assert_eq!((&timeline["step_ms"], &timeline["by"]), (&json!(5000), &json!("process")));
    assert_eq!(timeline["groups"], json!([{"value": "redis-server", "total": 30, "samples": [30, 0]}]));
    assert_eq!(timeline["other"], json!({"groups": 1, "total": 10, "samples": [0, 10]}));
    assert_eq!((&timeline["complete"], &timeline["lost"]), (&json!([30, 0]), &json!([2, 0])));
    assert_eq!(timeline["period_ns"], PERIOD_NS);
    let timeline = server.get_range("/api/v1/timeline?by=status").json();
    assert_eq!(timeline["groups"][1]["value"], "no_frame_pointer");
    assert!((250..=350).contains(&timeline["complete"].as_array().unwrap().len()), "about 300 buckets");
}

#[test]
fn flame_is_the_tree_of_what_is_selected() {
    let server = Server::start(&[two_processes()]);
    let flame = server.get_range("/api/v1/flame").json();
    assert_eq!(flame["nodes"]["total"], json!([40, 10, 10, 10, 30, 30, 30]));
    assert_eq!((&flame["complete"], &flame["incomplete"]), (&json!(30), &json!({"no_frame_pointer": 10})));
    assert_eq!((&flame["taken"], &flame["lost"]), (&json!(42), &json!({"ring_full": 2})));
    assert_eq!((&flame["from_ms"], &flame["until_ms"]), (&json!(START_MS), &json!(START_MS + 10_000)));
    let flame = server.get_range("/api/v1/flame?query=process%3D%22python3%22&by=thread&max_nodes=2").json();
    assert_eq!(flame["nodes"]["total"], json!([10, 10]));
    assert_eq!((&flame["pruned"], &flame["nodes"]["pruned"]), (&json!(10), &json!([0, 10])));
    assert!(flame["strings"].as_array().unwrap().contains(&json!("worker")));
}

#[test]
fn labels_and_their_values_are_listed() {
    let server = Server::start(&[two_processes()]);
    let names = server.get_range("/api/v1/labels").json();
    let expected = ["event", "exe", "host", "pid", "process", "status", "thread", "tid"];
    assert_eq!(names["labels"], json!(expected));
    let values = server.get_range("/api/v1/labels/process/values").json();
    let expected = json!([{"value": "redis-server", "samples": 30}, {"value": "python3", "samples": 10}]);
    assert_eq!(values, json!({"values": expected, "truncated": false}));
    let values = server.get_range("/api/v1/labels/pid/values?query=process%3D%22python3%22").json();
    assert_eq!(values["values"], json!([{"value": "21", "samples": 10}]));
}

#[test]
fn more_than_a_thousand_values_are_cut_and_said_to_be() {
    let mut maker = Maker::default();
    for tid in 1..=1001 {
        maker.stack(Who { tid, ..REDIS }, &[native("main")], u64::from(tid));
    }
    let values = Server::start(&[maker.finish()]).get_range("/api/v1/labels/tid/values").json();
    assert_eq!(values["truncated"], true);
    assert_eq!(values["values"].as_array().unwrap().len(), 1000);
    assert_eq!(values["values"][0], json!({"value": "1001", "samples": 1001}));
}

#[test]
fn every_export_has_the_same_samples() {
    let profiles = [generated(1, 300), generated(2, 300)];
    let expected: u64 = profiles.iter().map(Profile::samples).sum();
    let server = Server::start(&profiles);
    let export = |format: Format| server.get_range(&format!("/api/v1/query?format={}", format.name()));

    let folded = export(Format::Folded);
    let sum: u64 =
        folded.text().lines().map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum();
    assert_eq!(sum, expected);

    for pprof in [export(Format::Pprof), server.get_range("/pprof")] {
        assert_eq!(pprof.header("content-type"), "application/octet-stream");
        let name =
            format!("attachment; filename=\"vesta-{}-{}.pb.gz\"", START_MS / 1000, START_MS / 1000 + 10);
        assert_eq!(pprof.header("content-disposition"), name);
        let proto: ::pprof::protos::Profile = prost::Message::decode(&*unpacked(&pprof.body)).unwrap();
        assert_eq!(proto.sample.iter().map(|sample| sample.value[0] as u64).sum::<u64>(), expected);
        assert_eq!(proto.time_nanos, START_MS * 1_000_000);
    }

    let svg = export(Format::Svg);
    assert_eq!(svg.header("content-type"), "image/svg+xml");
    assert!(svg.header("content-security-policy").starts_with("sandbox"));
    assert!(svg.text().contains(&format!("total_samples=\"{expected}\"")));

    assert_eq!(export(Format::Json).json()["nodes"]["total"][0], expected);
    assert_eq!(export(Format::Json).body, server.get_range("/api/v1/flame").body);
    let top = export(Format::Top);
    assert!(top.text().starts_with(&format!("{expected} samples")), "{}", top.text());
    assert_eq!(top.header("content-disposition"), "");
}

#[test]
fn pprof_of_the_last_seconds_covers_them() {
    let server = Server::start(&[two_processes()]);
    let proto: ::pprof::protos::Profile =
        prost::Message::decode(&*unpacked(&server.get("/pprof?seconds=30").body)).unwrap();
    assert_eq!(proto.duration_nanos, 30_000_000_000);
    let both = server.get("/pprof?seconds=30&from=-1m");
    assert_eq!((both.status, both.text()), (400, "give either seconds, or from and until\n"));
}

#[test]
fn go_reads_a_profile_from_its_address() {
    let server = Server::start(&[two_processes()]);
    let folder = tempfile::tempdir().unwrap();
    let (from, until) = (START_MS / 1000, START_MS / 1000 + 10);
    let go = |url: String| {
        std::process::Command::new("go")
            .args(["tool", "pprof", "-top", "-sample_index=samples", &url])
            .env("PPROF_TMPDIR", folder.path())
            .output()
            .expect("no Go on this machine: run `cargo xtask setup`")
    };
    let good = go(format!("http://{}/pprof?from={from}&until={until}", server.address));
    let said = String::from_utf8_lossy(&good.stdout);
    assert!(said.lines().any(|line| line.contains("30 75.00%") && line.ends_with("serve")), "{said}");
    let bad = go(format!("http://{}/pprof?query=%7Boops", server.address));
    let said = String::from_utf8_lossy(&bad.stderr);
    assert!(said.contains("bad selector") && said.contains('^'), "the error is shown: {said}");
}

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
        ("/api/v1/timeline?step_ms=-1", "step_ms must be"),
        ("/api/v1/timeline?top=1000", "top must be a whole number from 1 to 100"),
        ("/api/v1/labels/a%3Bb/values", "no label name"),
        ("/api/v1/query?format=xml", "unknown format `xml`: use top, folded, pprof, svg or json"),
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
fn a_damaged_segment_is_named_and_counted() {
    let server = Server::start(&[two_processes(), {
        let mut maker = Maker::default();
        maker.stack(REDIS, &[native("main")], 5).finish()
    }]);
    let segments = server.folder.path().join("data/segments");
    let day = std::fs::read_dir(&segments).unwrap().next().unwrap().unwrap().path();
    let segment = std::fs::read_dir(&day).unwrap().next().unwrap().unwrap().path();
    std::fs::write(segment.join("samples.parquet"), b"PAR1 but no more").unwrap();
    let flame = server.get_range("/api/v1/flame").json();
    let skipped = flame["skipped"].as_array().unwrap();
    assert_eq!(skipped.len(), 1, "{skipped:?}");
    assert_eq!(skipped[0]["path"], segment.to_str().unwrap());
    assert!(skipped[0]["reason"].as_str().unwrap().contains("samples.parquet"), "{skipped:?}");
    assert!(flame["samples"].as_u64().unwrap() > 0, "the other segment is there");
    assert!(server.get("/metrics").text().contains("\nvesta_query_skipped_segments_total 1\n"));
    assert_eq!(server.get("/api/v1/status").json()["data"]["skipped"].as_array().unwrap().len(), 1);
}

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
    assert_eq!(index.header("access-control-allow-origin"), "");
    let start = index.text().find("/assets/").unwrap();
    let script = index.text()[start..].split('"').next().unwrap();
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
