//! An object store in memory whose requests fail when a test wants it, whose answers get lost, and whose clock can be
//! moved.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Put,
    Get,
    List,
    Delete,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The store refuses; nothing happens.
    Busy,
    /// The request does not arrive.
    Unreachable,
    /// The request is done, but the answer does not arrive.
    LostAnswer,
}

type Plan = Box<dyn FnMut(Op, &str) -> Option<Fault> + Send>;

/// The store; clones are one.
#[derive(Clone)]
pub(super) struct Faulty(Arc<Shared>);

struct Shared {
    inner: InMemory,
    plan: Mutex<Plan>,
    done: Mutex<Vec<(Op, String)>>,
    /// How far the store's clock is behind ours.
    behind_ms: AtomicI64,
    /// The same when an object was written.
    written: Mutex<HashMap<String, i64>>,
}

impl Faulty {
    /// It is noon there.
    pub(super) fn new() -> Self {
        let ours_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
        Self(Arc::new(Shared {
            inner: InMemory::new(),
            plan: Mutex::new(Box::new(|_, _| None)),
            done: Mutex::default(),
            behind_ms: AtomicI64::new(ours_ms - super::NOON),
            written: Mutex::default(),
        }))
    }

    /// What goes wrong from now on.
    pub(super) fn plan(&self, plan: impl FnMut(Op, &str) -> Option<Fault> + Send + 'static) {
        *self.0.plan.lock().unwrap() = Box::new(plan);
    }

    /// From now on all is well.
    pub(super) fn heal(&self) {
        self.plan(|_, _| None);
    }

    /// Moves the store's clock.
    pub(super) fn pass(&self, ms: i64) {
        self.0.behind_ms.fetch_sub(ms, Ordering::Relaxed);
    }

    /// Requests since the last time.
    pub(super) fn take_done(&self) -> Vec<(Op, String)> {
        std::mem::take(&mut *self.0.done.lock().unwrap())
    }

    fn enter(&self, op: Op, path: &str) -> Result<bool> {
        self.0.done.lock().unwrap().push((op, path.to_owned()));
        let generic = |text: &str| Error::Generic { store: "test", source: text.to_owned().into() };
        match (self.0.plan.lock().unwrap())(op, path) {
            None => Ok(true),
            Some(Fault::Busy) => Err(generic("503 SlowDown")),
            Some(Fault::Unreachable) => Err(generic("error sending request")),
            Some(Fault::LostAnswer) => Ok(false),
        }
    }

    fn answer<T>(&self, arrives: bool, answer: Result<T>) -> Result<T> {
        let lost =
            || Error::Generic { store: "test", source: "error sending request: connection reset".into() };
        if arrives { answer } else { Err(lost()) }
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let arrives = self.enter(Op::Put, location.as_ref())?;
        let answer = self.0.inner.put_opts(location, payload, opts).await;
        if answer.is_ok() {
            let behind_ms = self.0.behind_ms.load(Ordering::Relaxed);
            self.0.written.lock().unwrap().insert(location.to_string(), behind_ms);
        }
        self.answer(arrives, answer)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.0.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let arrives = self.enter(Op::Get, location.as_ref())?;
        let answer = self.0.inner.get_opts(location, options).await;
        self.answer(arrives, answer)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        let locations = locations.map(move |location| {
            let location = location?;
            this.enter(Op::Delete, location.as_ref())?;
            Ok(location)
        });
        self.0.inner.delete_stream(locations.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let arrives = match self.enter(Op::List, prefix.map_or("", |prefix| prefix.as_ref())) {
            Ok(arrives) => arrives,
            Err(error) => return stream::iter([Err(error)]).boxed(),
        };
        let this = self.clone();
        let list = self.0.inner.list(prefix).map(move |meta| {
            let meta = this.answer(arrives, meta)?;
            let behind_ms = this.0.written.lock().unwrap().get(meta.location.as_ref()).copied().unwrap_or(0);
            let behind = Duration::from_millis(behind_ms.unsigned_abs());
            let there = meta.last_modified;
            let last_modified = if behind_ms < 0 { there + behind } else { there - behind };
            Ok(ObjectMeta { last_modified, ..meta })
        });
        list.boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.inner.copy_opts(from, to, options).await
    }
}
