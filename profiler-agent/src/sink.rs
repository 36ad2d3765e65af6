//! Where finished profiles go. One pipeline, many sinks: `run` and `record` differ in nothing else.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use store::{
    Store, WindowLog,
    model::{Keep, Profile, ProfileBuilder},
};
use ui::{flame::GroupBy, render::Format};

/// Takes profiles of windows.
pub(crate) trait Sink: Send {
    /// Brings to disk what was added to the open window since the last time; false if this sink has no log. After an
    /// error the samples are in the window all the same.
    fn log(
        &mut self,
        _window: &mut ProfileBuilder,
        _start_ms: i64,
        _end_ms: i64,
    ) -> Result<bool, store::Error> {
        Ok(false)
    }

    /// Keeps a closed window for good; an error means that its samples are lost, unless they were logged.
    fn keep(&mut self, profile: Profile) -> Result<(), store::Error>;
}

/// Into the store.
pub(crate) struct StoreSink {
    store: Store,
    /// Of the open window.
    log: Option<WindowLog>,
}

impl StoreSink {
    /// A sink into this store.
    pub(crate) fn new(store: Store) -> Self {
        Self { store, log: None }
    }
}

impl Sink for StoreSink {
    fn log(&mut self, window: &mut ProfileBuilder, start_ms: i64, end_ms: i64) -> Result<bool, store::Error> {
        let log = match &mut self.log {
            Some(log) => log,
            None => self.log.insert(self.store.open_log(start_ms)?),
        };
        log.append(window, end_ms).map(|()| true)
    }

    fn keep(&mut self, profile: Profile) -> Result<(), store::Error> {
        match self.log.take() {
            Some(log) => log.close(&self.store, &profile).map(drop),
            None => self.store.append(&profile).map(drop),
        }
    }
}

/// All windows merged into one profile, in memory.
#[derive(Clone)]
pub(crate) struct MergeSink {
    keep: Keep,
    builder: Arc<Mutex<ProfileBuilder>>,
}

impl MergeSink {
    /// Keeps what a file of this format holds; times only where it has a place for them.
    pub(crate) fn new(format: Option<Format>) -> Self {
        let times = format.is_some_and(|format| format.keep(&GroupBy::default()).exact);
        let keep = if times { Keep::ALL } else { Keep { exact: false, bucket_ms: None, ..Keep::ALL } };
        Self { keep, builder: Arc::default() }
    }

    /// The merged profile of `start_ms..end_ms`; what comes later starts a new one.
    pub(crate) fn take(&self, start_ms: i64, end_ms: i64) -> Profile {
        std::mem::take(&mut *self.builder()).finish(start_ms, end_ms)
    }

    fn builder(&self) -> MutexGuard<'_, ProfileBuilder> {
        self.builder.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for MergeSink {
    fn keep(&mut self, profile: Profile) -> Result<(), store::Error> {
        self.builder().merge(&profile, self.keep, i64::MIN..i64::MAX, |_| true);
        Ok(())
    }
}
