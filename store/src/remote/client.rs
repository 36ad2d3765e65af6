//! Requests to object storage, from threads that wait for the answer; all of them counted.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use tokio::runtime::{Builder, Runtime};

use super::error::{RemoteError, Result, meaning};

/// Requests on their way at once, of each call.
const AT_ONCE: usize = 8;
/// A store that could not be reached is not asked for files for so long: a query of a hundred segments would wait a
/// hundred times.
const DOWN: Duration = Duration::from_secs(5);

/// A store's objects.
pub(super) struct Client {
    store: Arc<dyn ObjectStore>,
    base: Path,
    url: String,
    /// Taken when it is ended.
    runtime: Option<Runtime>,
    pub(super) requests: Requests,
    /// Since when it cannot be reached, and why.
    down: Mutex<Option<(Instant, String)>>,
}

/// Requests so far, as they are charged for: the client's own further tries are not among them.
#[derive(Debug, Default)]
pub(super) struct Requests {
    pub(super) puts: AtomicU64,
    pub(super) gets: AtomicU64,
    pub(super) lists: AtomicU64,
    pub(super) deletes: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) bytes_up: AtomicU64,
    pub(super) bytes_down: AtomicU64,
}

/// An object, as listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Object {
    /// Below the store's prefix.
    pub(super) name: String,
    pub(super) modified_ms: i64,
}

/// What became of an object that was to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made {
    Made,
    /// One of this name is there already; it may be ours, if an answer was lost.
    Exists,
}

impl Client {
    pub(super) fn new(store: Arc<dyn ObjectStore>, base: Path, url: String) -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("vesta-objects")
            .enable_all()
            .build()
            .map_err(|error| RemoteError::Local(format!("no thread for requests: {error}")))?;
        Ok(Self {
            store,
            base,
            url,
            runtime: Some(runtime),
            requests: Requests::default(),
            down: Mutex::new(None),
        })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Why it is no use to ask at the moment, if it is not.
    pub(super) fn is_down(&self) -> Option<RemoteError> {
        let down = self.down();
        let (_, reason) = down.as_ref().filter(|(since, _)| since.elapsed() < DOWN)?;
        Some(RemoteError::Unreachable { url: self.url.clone(), reason: reason.clone() })
    }

    fn down(&self) -> MutexGuard<'_, Option<(Instant, String)>> {
        self.down.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An object as a whole, if it is no longer than `limit` bytes.
    pub(super) fn get(&self, name: &str, limit: u64) -> Result<Bytes> {
        self.wait(self.get_async(name, limit))
    }

    /// Several objects; answers come in the order of the names.
    pub(super) fn get_all(&self, names: &[(String, u64)]) -> Vec<Result<Bytes>> {
        let gets = names.iter().map(|(name, limit)| self.get_async(name, *limit));
        let gets: Vec<_> = gets.collect();
        self.wait(stream::iter(gets).buffered(AT_ONCE).collect())
    }

    async fn get_async(&self, name: &str, limit: u64) -> Result<Bytes> {
        count(&self.requests.gets, 1);
        let read = async {
            let found = self.store.get(&self.path(name)).await?;
            if found.meta.size > limit {
                return Ok(Err(found.meta.size));
            }
            found.bytes().await.map(Ok)
        };
        match read.await {
            Ok(Ok(bytes)) => {
                count(&self.requests.bytes_down, bytes.len() as u64);
                self.answered();
                Ok(bytes)
            }
            Ok(Err(size)) => {
                Err(self.damaged(name, format!("it is {size} bytes long, at most {limit} are read")))
            }
            Err(error) => Err(self.failed(name, "read", &error)),
        }
    }

    /// Writes an object, in place of one that may be there.
    pub(super) fn put(&self, name: &str, bytes: Bytes) -> Result<()> {
        self.wait(self.put_async(name, bytes))
    }

    /// Writes several objects.
    pub(super) fn put_all(&self, objects: Vec<(String, Bytes)>) -> Result<()> {
        let puts = objects.iter().map(|(name, bytes)| self.put_async(name, bytes.clone()));
        let puts: Vec<_> = puts.collect();
        self.wait(stream::iter(puts).buffer_unordered(AT_ONCE).try_collect::<()>())
    }

    async fn put_async(&self, name: &str, bytes: Bytes) -> Result<()> {
        count(&self.requests.puts, 1);
        count(&self.requests.bytes_up, bytes.len() as u64);
        match self.store.put(&self.path(name), PutPayload::from(bytes)).await {
            Ok(_) => {
                self.answered();
                Ok(())
            }
            Err(error) => Err(self.failed(name, "write", &error)),
        }
    }

    /// Writes an object unless there is one of this name. After an error it may be there all the same.
    pub(super) fn make(&self, name: &str, bytes: Bytes) -> Result<Made> {
        count(&self.requests.puts, 1);
        count(&self.requests.bytes_up, bytes.len() as u64);
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.wait(self.store.put_opts(&self.path(name), PutPayload::from(bytes), options)) {
            Ok(_) => {
                self.answered();
                Ok(Made::Made)
            }
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Ok(Made::Exists)
            }
            Err(error) => Err(self.failed(name, "write", &error)),
        }
    }

    /// The objects of a folder, those after a name in it if one is given, in the order of their names.
    pub(super) fn list(&self, folder: &str, after: Option<&str>) -> Result<Vec<Object>> {
        let path = self.path(folder);
        let objects: std::result::Result<Vec<_>, _> = self.wait(async {
            match after {
                Some(after) => {
                    self.store.list_with_offset(Some(&path), &self.path(after)).try_collect::<Vec<_>>().await
                }
                None => self.store.list(Some(&path)).try_collect().await,
            }
        });
        // A list comes in pages of a thousand.
        count(&self.requests.lists, objects.as_ref().map_or(1, |objects| objects.len() as u64 / 1000 + 1));
        let objects = objects.map_err(|error| self.failed(folder, "list", &error))?;
        self.answered();
        let skip = if self.base.as_ref().is_empty() { 0 } else { self.base.as_ref().len() + 1 };
        let mut objects: Vec<_> = objects
            .into_iter()
            .map(|meta| Object {
                name: meta.location.as_ref().get(skip..).unwrap_or_default().to_owned(),
                modified_ms: meta.last_modified.timestamp_millis(),
            })
            .collect();
        objects.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(objects)
    }

    /// The name of any object below the prefix; none if there is none.
    pub(super) fn any(&self) -> Result<Option<String>> {
        count(&self.requests.lists, 1);
        let base = Some(&self.base).filter(|base| !base.as_ref().is_empty());
        let first = self.wait(async { self.store.list(base).next().await }).transpose();
        let first = first.map_err(|error| self.failed("", "list what is there", &error))?;
        Ok(first.map(|meta| meta.location.to_string()))
    }

    /// Deletes objects; those that are not there are no error.
    pub(super) fn delete_all(&self, names: Vec<String>) -> Result<()> {
        // Deleted by the thousand.
        count(&self.requests.deletes, names.len() as u64 / 1000 + 1);
        let paths: Vec<_> = names.iter().map(|name| Ok(self.path(name))).collect();
        let mut deleted = self.store.delete_stream(stream::iter(paths).boxed());
        self.wait(async {
            while let Some(outcome) = deleted.next().await {
                match outcome {
                    Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                    Err(error) => return Err(self.failed("", "delete", &error)),
                }
            }
            Ok(())
        })
    }

    fn path(&self, name: &str) -> Path {
        let below = Path::from(name);
        self.base.parts().chain(below.parts()).collect()
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        match &self.runtime {
            Some(runtime) => runtime.block_on(future),
            None => unreachable!("it is there until this is dropped"),
        }
    }

    /// The store can be reached, whatever was found before.
    fn answered(&self) {
        *self.down() = None;
    }

    fn failed(&self, name: &str, action: &str, error: &object_store::Error) -> RemoteError {
        let error = meaning(&self.url, name, action, error);
        if !error.is_missing() {
            count(&self.requests.failed, 1);
        }
        if let RemoteError::Unreachable { reason, .. } = &error {
            *self.down() = Some((Instant::now(), reason.clone()));
        }
        error
    }

    pub(super) fn damaged(&self, name: &str, reason: impl Into<String>) -> RemoteError {
        RemoteError::Damaged { url: self.url.clone(), object: name.to_owned(), reason: reason.into() }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Whoever drops it may not wait.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn count(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}
