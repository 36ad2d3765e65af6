mod api;
mod exports;
mod headline;
mod imports;
mod marks;
mod openapi;
mod refusals;
mod serving;
mod sql;

use std::io::Read;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use store::model::{FrameKind, Profile};
use tempfile::TempDir;

use super::*;
use crate::support::{Maker, REDIS, START_MS, Who, native};

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

    fn cpus(&self) -> Option<usize> {
        Some(4)
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
        Self::serving(store, folder, limits, agent)
    }

    /// Over a store of somebody else.
    fn over(store: Store) -> Self {
        Self::serving(store, tempfile::tempdir().unwrap(), Limits::default(), None)
    }

    fn serving(store: Store, folder: TempDir, limits: Limits, agent: Option<Arc<dyn AgentView>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let host = "web-01".to_owned();
        let origins = vec!["https://viewer.example".to_owned()];
        let sources = folder.path().join("src");
        std::fs::create_dir(&sources).unwrap();
        std::fs::write(sources.join("app.c"), "int main() {}\n").unwrap();
        // Frames call it src/app.c.
        let sources = SourceDirs::new(&[folder.path().to_path_buf()]).unwrap();
        let names = Vec::new();
        let config = ServerConfig { listener, names, origins, host, sources, store, agent, limits };
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
        self.send(method, path, headers, &[])
    }

    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
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
        let reply = if body.is_empty() {
            agent.run(request.body(()).unwrap()).unwrap()
        } else {
            agent.run(request.body(body).unwrap()).unwrap()
        };
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
