//! Real S3 servers: s3s-fs, and moto, from which other programs read, too.

#![expect(
    clippy::unwrap_used,
    clippy::zombie_processes,
    reason = "helpers of tests; servers are ended when they are dropped"
)]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use store::model::Keep;
use store::remote::{Remote, RemoteOptions, SyncOptions};
use store::{Retention, Selector, Store, TimeRange};

use crate::common::{NOON, at_times, window};
use crate::other_readers::python;

const HOUR: i64 = 3_600_000;
const BUCKET: &str = "profiles";
const KEY: &str = "test";

/// A server that is ended when it goes out of scope.
struct Server {
    child: Child,
    output: BufReader<ChildStdout>,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("gone");
    }
}

impl Server {
    /// Starts a program that tells its address in its output.
    fn start(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut child =
            child.unwrap_or_else(|error| panic!("{command:?}: {error}; run `cargo xtask setup` first"));
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        loop {
            line.clear();
            let read = output.read_line(&mut line).unwrap();
            assert!(
                read > 0,
                "{command:?} ends without an address; run `cargo xtask setup` if a package is missing"
            );
            if let Some(at) = line.find("http://127.0.0.1:") {
                let address = &line[at..];
                let is_port = |c: char| c.is_ascii_digit();
                let end = address.rfind(':').unwrap() + 1;
                let port: String = address[end..].chars().take_while(|c| is_port(*c)).collect();
                let address = format!("{}{port}", &address[..end]);
                return Self { child, output, address };
            }
        }
    }

    /// s3s-fs with one bucket, which is a folder, and one pair of keys.
    fn s3s(root: &Path) -> Self {
        std::fs::create_dir(root.join(BUCKET)).unwrap();
        let mut command = Command::new(s3s_fs());
        command.args(["--host", "127.0.0.1", "--port", "0", "--access-key", KEY, "--secret-key", KEY]);
        Self::start(command.arg(root).env("RUST_LOG", "info").env("NO_COLOR", "1"))
    }

    /// moto, by a script that reads from it, too.
    fn moto() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/read_from_s3.py");
        Self::start(Command::new(python()).arg(script))
    }

    /// What others find below a prefix.
    fn read(&mut self, prefix: &str) -> Value {
        writeln!(self.child.stdin.as_mut().unwrap(), "read {prefix}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).expect("JSON")
    }

    fn settings(&self) -> Vec<(String, String)> {
        settings(&self.address, KEY)
    }
}

fn s3s_fs() -> PathBuf {
    if let Some(program) = std::env::var_os("VESTA_TEST_S3S_FS") {
        return program.into();
    }
    let caches = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let caches = caches.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    caches.expect("HOME").join("vesta/toolchain/bin/s3s-fs")
}

fn settings(address: &str, secret: &str) -> Vec<(String, String)> {
    let settings = [
        ("AWS_ACCESS_KEY_ID", KEY),
        ("AWS_SECRET_ACCESS_KEY", secret),
        ("AWS_ENDPOINT_URL", address),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ALLOW_HTTP", "true"),
    ];
    settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// A data directory, attached.
struct Host {
    _dir: tempfile::TempDir,
    store: Store,
    remote: Remote,
}

impl Host {
    fn new(url: &str, settings: Vec<(String, String)>, is_writer: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_writer(dir.path().join("data")).unwrap();
        let (url, cache_dir, cache_bytes) = (url.to_owned(), dir.path().join("cache"), 1 << 20);
        let options = RemoteOptions { url, cache_dir, cache_bytes, is_writer, settings };
        let remote = Remote::attach(&store, &options).unwrap();
        Self { _dir: dir, store, remote }
    }

    fn flush(&self, now_ms: i64) -> store::remote::Synced {
        self.remote.sync(&self.store, SyncOptions { flush: true, max_age_ms: None }, now_ms).unwrap()
    }

    fn samples(&self) -> u64 {
        let answer = self.store.query(&Selector::all(), TimeRange::ALL, Keep::STACKS).unwrap();
        assert_eq!(answer.skipped, []);
        answer.profile.samples()
    }
}

/// Two hosts write, merge, and read back what they do not have any more; a third one reads.
fn lives_through_a_day(url: &str, settings: &[(String, String)]) -> u64 {
    let hosts = [(); 2].map(|()| Host::new(url, settings.to_vec(), true));
    let mut all = 0;
    for n in 0..12 {
        for (i, host) in hosts.iter().enumerate() {
            let window = window(n as u64 * 2 + i as u64, NOON + n * HOUR / 4, 60);
            all += window.samples();
            host.store.append(&window).unwrap();
            host.flush(NOON + 3 * HOUR);
        }
    }
    let reader = Host::new(url, settings.to_vec(), false);
    reader.remote.refresh().unwrap();
    assert_eq!(reader.samples(), all);
    for host in &hosts {
        host.store.retain(Retention { max_age_ms: None, max_bytes: Some(0) }, NOON + 3 * HOUR).unwrap();
        host.store.compact(NOON + 4 * HOUR).unwrap();
        assert_eq!(host.flush(NOON + 4 * HOUR).uploaded, 3);
        host.remote.refresh().unwrap();
        assert_eq!(host.samples(), all);
    }
    reader.remote.refresh().unwrap();
    assert_eq!(reader.samples(), all);
    let stats = reader.remote.stats();
    assert_eq!((stats.segments, stats.writers, stats.sequence), (6, 2, 26));
    assert!(stats.cache_bytes <= 1 << 20, "{}", stats.cache_bytes);
    all
}

#[test]
fn two_hosts_share_a_bucket_of_s3s_fs() {
    let root = tempfile::tempdir().unwrap();
    let server = Server::s3s(root.path());
    lives_through_a_day("s3://profiles/fleet/web", &server.settings());
    let top = root.path().join("profiles/fleet/web");
    assert!(
        top.join("vesta-store.json").is_file() && top.join("commits/00000000000000000001.json").is_file()
    );
    std::fs::create_dir(root.path().join("whole-bucket")).unwrap();
    lives_through_a_day("s3://whole-bucket", &server.settings());
}

#[test]
fn two_hosts_share_a_folder() {
    let root = tempfile::tempdir().unwrap();
    lives_through_a_day(&format!("file://{}", root.path().display()), &[]);
}

#[test]
fn pyarrow_polars_and_duckdb_find_in_a_bucket_what_was_uploaded() {
    let mut server = Server::moto();
    let all = lives_through_a_day("s3://profiles/fleet", &server.settings());
    let host = Host::new("s3://profiles/one", server.settings(), true);
    for (n, process) in ["nginx", "redis", "redis"].into_iter().enumerate() {
        let start = NOON + n as i64 * HOUR;
        host.store.append(&at_times(start, process, &[start, start + 1])).unwrap();
    }
    assert_eq!(host.flush(NOON + 3 * HOUR).uploaded, 3);
    let found = server.read("one");
    let by_process = json!([["nginx", 2], ["redis", 4]]);
    let expected = json!({"pyarrow": 6, "segments": 3, "polars": by_process, "duckdb": by_process});
    assert_eq!(found, expected);
    // Those that were merged are there for a while, for readers that began before.
    let found = server.read("fleet");
    assert_eq!((&found["pyarrow"], &found["segments"]), (&json!(2 * all), &json!(24 + 6)));
}

#[test]
fn of_many_that_commit_at_once_to_a_server_each_gets_its_number() {
    const HOSTS: i64 = 6;
    const EACH: i64 = 4;
    let server = Server::moto();
    let conflicts: u64 = std::thread::scope(|scope| {
        let hosts = (0..HOSTS).map(|n| {
            let settings = server.settings();
            scope.spawn(move || {
                let host = Host::new("s3://profiles/race", settings, true);
                for i in 0..EACH {
                    let start = NOON + (i * HOSTS + n) * 10_000;
                    host.store.append(&at_times(start, "a", &[start])).unwrap();
                    assert_eq!(host.flush(NOON + HOUR).uploaded, 1);
                }
                host.remote.stats().conflicts
            })
        });
        hosts.collect::<Vec<_>>().into_iter().map(|host| host.join().unwrap()).sum()
    });
    let reader = Host::new("s3://profiles/race", server.settings(), false);
    reader.remote.refresh().unwrap();
    assert_eq!(reader.samples(), (HOSTS * EACH) as u64);
    assert_eq!(reader.remote.stats().sequence, (HOSTS * EACH) as u64);
    assert!(conflicts > 0, "nobody met anybody: nothing was tested");
}

#[test]
fn what_is_wrong_with_a_server_is_told_in_a_sentence() {
    let root = tempfile::tempdir().unwrap();
    let server = Server::s3s(root.path());
    let told = |url: &str, settings: Vec<(String, String)>, is_writer| {
        let error = Host::new(url, settings, is_writer).remote.refresh().unwrap_err();
        (error.to_string(), error.is_passing())
    };
    let (text, is_passing) = told("s3://nowhere/x", server.settings(), true);
    assert_eq!(
        (&text[..], is_passing),
        (
            "s3://nowhere/x: there is no such bucket; it has to be made before, in the region of AWS_REGION",
            false
        )
    );
    let (text, is_passing) = told("s3://profiles/x", settings(&server.address, "wrong"), true);
    assert!(text.starts_with("s3://profiles/x refuses the credentials (SignatureDoesNotMatch)"), "{text}");
    assert!(!is_passing);
    let (text, _) = told("s3://profiles/x", server.settings(), false);
    assert!(
        text.starts_with("s3://profiles/x holds no store of Vesta (it has no `vesta-store.json`)"),
        "{text}"
    );
    let address = server.address.clone();
    drop(server);
    let (text, is_passing) = told("s3://profiles/x", settings(&address, KEY), true);
    assert!(text.starts_with("s3://profiles/x cannot be reached: "), "{text}");
    assert!(is_passing);
    let secure = address.replace("http://", "https://");
    let (text, _) = told("s3://profiles/x", settings(&secure, KEY), true);
    assert!(text.starts_with("s3://profiles/x cannot be reached: "), "{text}");
}
