//! Where finished profiles go. One pipeline, many sinks: `run` and `record` differ in nothing else.

use std::sync::{Arc, Mutex, PoisonError};

use store::{
    Store,
    model::{Keep, Profile, ProfileBuilder},
};

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
#[derive(Clone, Default)]
pub(crate) struct MergeSink(Arc<Mutex<Merged>>);

#[derive(Default)]
struct Merged {
    builder: ProfileBuilder,
    span: Option<(i64, i64)>,
}

impl MergeSink {
    /// The merged profile; what comes later starts a new one.
    pub(crate) fn take(&self) -> Profile {
        let merged = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let (start_ms, end_ms) = merged.span.unwrap_or_default();
        merged.builder.finish(start_ms, end_ms)
    }
}

impl Sink for MergeSink {
    fn keep(&mut self, profile: Profile) -> Result<(), store::Error> {
        let mut merged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Files do not hold exact times, so they need not be kept.
        let keep = Keep { exact: false, bucket_ms: None, ..Keep::ALL };
        merged.builder.merge(&profile, keep, i64::MIN..i64::MAX, |_| true);
        let (start, end) = merged.span.unwrap_or((profile.start_ms, profile.end_ms));
        merged.span = Some((start.min(profile.start_ms), end.max(profile.end_ms)));
        Ok(())
    }
}
