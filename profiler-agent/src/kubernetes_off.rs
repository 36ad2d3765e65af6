//! In place of `kubernetes`, in builds without that feature: says so.

use std::{io, sync::atomic::AtomicU64};

use crate::config::KubernetesOptions;

/// What happened so far: nothing.
#[derive(Debug, Default)]
pub(crate) struct PodCounts {
    pub(crate) lists: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) pods: AtomicU64,
    pub(crate) unknown: AtomicU64,
}

/// There are none.
#[derive(Clone, Debug)]
pub(crate) enum Pods {}

impl Pods {
    pub(crate) fn start(options: &KubernetesOptions) -> io::Result<Self> {
        let KubernetesOptions { url, .. } = options;
        Err(io::Error::other(format!(
            "{url} cannot be asked: this vesta was built without Kubernetes (the feature `kubernetes`)"
        )))
    }

    pub(crate) fn labels(&self, _: &str, _: Option<&str>) -> Option<Vec<(String, String)>> {
        match *self {}
    }

    pub(crate) fn counts(&self) -> &PodCounts {
        match *self {}
    }
}
