//! In place of `objects`, in builds without the feature `object-store`: says so.

use std::{path::Path, thread::JoinHandle, time::Duration};

use store::Store;

use crate::{config::ObjectStoreConfig, exit::Failure, signals::StopRequest};

const REASON: &str = "this vesta was built without object storage (the feature `object-store`)";

/// There are none.
#[derive(Clone)]
pub(crate) enum Objects {}

impl Objects {
    pub(crate) fn for_writing(_: &Store, _: &ObjectStoreConfig) -> Result<Self, Failure> {
        Err(Failure::usage(REASON))
    }

    pub(crate) fn open_for_reading(_: &Path, _: bool, _: &ObjectStoreConfig) -> Result<Store, Failure> {
        Err(Failure::usage(REASON))
    }

    pub(crate) fn probe(_: &ObjectStoreConfig) -> Result<String, String> {
        Err(REASON.to_owned())
    }

    pub(crate) fn keep_up(self, _: &Store, _: Duration, _: StopRequest) -> Result<JoinHandle<()>, Failure> {
        match self {}
    }

    pub(crate) fn end(_: JoinHandle<()>) {}

    pub(crate) fn upload_all(&self, _: &Store) -> Result<(), Failure> {
        match *self {}
    }

    pub(crate) fn metrics(&self) -> String {
        match *self {}
    }
}
