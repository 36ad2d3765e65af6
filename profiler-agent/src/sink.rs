//! Where finished profiles go. One pipeline, many sinks: `run` and `record` differ in nothing else.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use store::{
    Store,
    model::{Keep, Profile, ProfileBuilder},
};
use ui::{flame::GroupBy, render::Format};

/// Takes finished profiles.
pub(crate) trait Sink: Send {
    /// Keeps a closed window for good; an error means that its samples are lost.
    fn keep(&mut self, profile: Profile) -> Result<(), store::Error>;

    /// Shows the open window to those who watch; the closed one of the same start replaces it.
    fn show(&mut self, _profile: Profile) {}
}

/// Into the store.
pub(crate) struct StoreSink(pub(crate) Store);

impl Sink for StoreSink {
    fn keep(&mut self, profile: Profile) -> Result<(), store::Error> {
        self.0.append(&profile).map(drop)
    }

    fn show(&mut self, profile: Profile) {
        self.0.publish_head(Some(Arc::new(profile)));
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
