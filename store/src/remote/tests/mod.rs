//! Stores in memory, with everything that can go wrong on the way to them.

mod collecting;
mod committing;
mod damage;
mod faulty;
mod queries;
mod random;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use object_store::{ObjectStoreExt, PutPayload};

use super::{Remote, RemoteOptions, SyncOptions, client_of};
use crate::model::{
    Exact, Frame, FrameKind, Keep, NodeId, Profile, ProfileBuilder, RowKey, StringId, Unwound,
};
use crate::{Selector, Store, TimeRange};
use faulty::{Fault, Faulty, Op};

/// 2026-01-31T12:00:00Z, the start of an hour.
const NOON: i64 = 1_769_860_800_000;
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const GRACE: Duration = Duration::from_secs(900);

/// A folder in memory where there is such: nothing here is about disks, and each segment is brought to them.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// A data directory with its store.
struct Host {
    dir: tempfile::TempDir,
    store: Store,
    remote: Remote,
}

impl Host {
    fn new(objects: &Faulty) -> Self {
        Self::open(folder(), objects)
    }

    fn open(dir: tempfile::TempDir, objects: &Faulty) -> Self {
        let store = Store::open_writer(dir.path().join("data")).unwrap();
        let remote = attach(&store, &dir.path().join("cache"), objects, true, 1 << 30);
        Self { dir, store, remote }
    }

    /// The process is killed and starts again.
    fn restart(self, objects: &Faulty) -> Self {
        let Self { dir, store, remote } = self;
        drop((store, remote));
        Self::open(dir, objects)
    }

    /// A window of ten seconds with one sample at each of its seconds.
    fn append(&self, process: &str, start_ms: i64) {
        self.store.append(&window(process, start_ms)).unwrap();
    }

    fn sync(&self, now_ms: i64) -> super::Result<super::Synced> {
        self.remote.sync(&self.store, SyncOptions::default(), now_ms)
    }

    fn flush(&self, now_ms: i64) -> super::Synced {
        let how = SyncOptions { flush: true, ..SyncOptions::default() };
        self.remote.sync(&self.store, how, now_ms).unwrap()
    }

    fn times(&self) -> Vec<i64> {
        times(&self.store)
    }

    /// While the store cannot be read, which an answer says.
    fn times_without_store(&self) -> Vec<i64> {
        let (times, skipped) = times_and_skipped(&self.store);
        assert_eq!(skipped.len(), 1, "{skipped:?}");
        assert_eq!(skipped[0].path, Path::new("s3://test"));
        assert!(skipped[0].reason.ends_with("; what it got lately may be missing"), "{skipped:?}");
        times
    }
}

fn attach(store: &Store, cache: &Path, objects: &Faulty, is_writer: bool, cache_bytes: u64) -> Remote {
    let url = "s3://test".to_owned();
    let options =
        RemoteOptions { url, cache_dir: cache.to_owned(), cache_bytes, is_writer, settings: Vec::new() };
    let client = client_of(Arc::new(objects.clone()), "s3://test").unwrap();
    Remote::attach_client(store, client, &options, GRACE).unwrap()
}

/// A store that reads what is in the bucket, and nothing else.
fn reader(objects: &Faulty, cache_bytes: u64) -> (tempfile::TempDir, Store, Remote) {
    let dir = folder();
    let store = Store::open_writer(dir.path().join("empty")).unwrap();
    let remote = attach(&store, &dir.path().join("cache"), objects, false, cache_bytes);
    remote.refresh().unwrap();
    (dir, store, remote)
}

/// The times of all samples, of which there must be nothing to be left out.
fn times(store: &Store) -> Vec<i64> {
    let (times, skipped) = times_and_skipped(store);
    assert_eq!(skipped, []);
    times
}

fn times_and_skipped(store: &Store) -> (Vec<i64>, Vec<crate::Skipped>) {
    let answer = store.query(&Selector::all(), TimeRange::ALL, Keep::ALL).unwrap();
    let rows = answer.profile.rows.iter();
    let mut times: Vec<_> = rows
        .flat_map(|row| {
            let exact = answer.profile.exact_of(row).iter();
            exact.map(|exact| row.key.time_ms + i64::from(exact.offset_ms)).collect::<Vec<_>>()
        })
        .collect();
    times.sort_unstable();
    (times, answer.skipped)
}

/// What [`times`] finds of windows at these times.
fn of_windows(starts: impl IntoIterator<Item = i64>) -> Vec<i64> {
    let mut times: Vec<_> =
        starts.into_iter().flat_map(|start| (0..10).map(move |n| start + n * 1000)).collect();
    times.sort_unstable();
    times
}

fn window(process: &str, start_ms: i64) -> Profile {
    let mut b = ProfileBuilder::default();
    let labels = vec![(b.string("process"), b.string(process)), (b.string("event"), b.string("cpu-clock"))];
    let series = b.cpu_series(labels, 10_101_010);
    let function = b.string("main");
    let frame = b.frame(Frame {
        kind: FrameKind::Native,
        unwound: Unwound::Leaf,
        function,
        system_name: function,
        file: StringId::EMPTY,
        line: 0,
        binary: None,
        address: 1,
    });
    let node = b.child(NodeId::ROOT, frame);
    let status = b.string("complete");
    let exact: Vec<_> = (0..10).map(|n| Exact { offset_ms: n * 1000, cpu: 0 }).collect();
    let key = RowKey { series, node, pid: 7, tid: 8, thread: StringId::EMPTY, status, time_ms: start_ms };
    b.add(key, 10, 10 * 10_101_010, &exact);
    b.finish(start_ms, start_ms + 10_000)
}

/// Names of the objects below a folder.
fn objects(store: &Faulty, folder: &str) -> Vec<String> {
    let client = client_of(Arc::new(store.clone()), "s3://test").unwrap();
    client.list(folder, None).unwrap().into_iter().map(|object| object.name).collect()
}

fn write(store: &Faulty, name: &str, bytes: &[u8]) {
    let path = object_store::path::Path::from(name);
    let payload = PutPayload::from(bytes.to_vec());
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(store.put(&path, payload))
        .unwrap();
}

fn remove(store: &Faulty, name: &str) {
    let path = object_store::path::Path::from(name);
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(store.delete(&path)).unwrap();
}

fn read(store: &Faulty, name: &str) -> Vec<u8> {
    let path = object_store::path::Path::from(name);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { store.get(&path).await.unwrap().bytes().await.unwrap().to_vec() })
}

fn is_commit(path: &str) -> bool {
    path.starts_with("commits/")
}

fn puts_of_segments(done: &[(Op, String)]) -> usize {
    done.iter().filter(|(op, path)| *op == Op::Put && path.starts_with("segments/")).count()
}
