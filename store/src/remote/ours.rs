//! What this data directory knows of its segments in the store: which were committed, and which commit was tried last.
//!
//! A segment that was committed and is not live any more has been replaced or has expired: it must not be uploaded
//! again. So each commit is noted before it is tried, and the store keeps the last commit of each writer: after a
//! crash the two tell whether it happened.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::error::{RemoteError, Result};
use super::format::{LAYOUT, State, seal, unseal};
use crate::segment::{sync_folder, write_file};

const NAME: &str = "ours.json";
const STATE_NAME: &str = "state.json.zst";

/// The file, in memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ours {
    layout: u32,
    /// Of which store this is said.
    pub(super) store: Option<Ulid>,
    /// Our name among its writers.
    pub(super) writer: Ulid,
    /// Segments known to be, or to have been, in the store: those with a copy here, and those that a segment here
    /// replaces.
    pub(super) committed: BTreeSet<Ulid>,
    /// A commit that was tried, and its segments.
    pub(super) tried: Option<Tried>,
}

/// A commit on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tried {
    pub(super) commit: Ulid,
    pub(super) segments: Vec<Ulid>,
}

impl Ours {
    fn new(store: Option<Ulid>) -> Self {
        Self { layout: LAYOUT, store, writer: Ulid::new(), committed: BTreeSet::new(), tried: None }
    }

    /// Another store is another story: everything here is new to it.
    pub(super) fn of_store(self, store: Ulid) -> Self {
        if self.store == Some(store) { self } else { Self::new(Some(store)) }
    }

    /// The commit that was tried last is in the store if it is this writer's last there.
    pub(super) fn settle(&mut self, state: &State) {
        if let Some(tried) = &self.tried
            && state.writers.get(&self.writer).is_some_and(|writer| writer.commit == tried.commit)
        {
            self.committed.extend(&tried.segments);
            self.tried = None;
        }
    }
}

/// The folder with what is known of the store.
#[derive(Clone, Debug)]
pub(super) struct Notes {
    folder: PathBuf,
}

impl Notes {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// What is known; a damaged file is an error, because segments would be uploaded again without it.
    pub(super) fn read(&self) -> Result<Ours> {
        let path = self.folder.join(NAME);
        match fs::read(&path) {
            Ok(json) => unseal(&json).map_err(|reason| {
                let help = "remove it if the store is to get all segments here again";
                RemoteError::Local(format!("{} is damaged: {reason} ({help})", path.display()))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Ours::new(None)),
            Err(error) => Err(local(&path, &error)),
        }
    }

    pub(super) fn write(&self, ours: &Ours) -> Result<()> {
        let json = seal(ours).map_err(|error| RemoteError::Local(error.to_string()))?;
        self.replace(NAME, &json)
    }

    /// The store as it was known last, if it is this one.
    pub(super) fn read_state(&self, store: Option<Ulid>) -> Option<State> {
        let packed = fs::read(self.folder.join(STATE_NAME)).ok()?;
        let (id, packed) = packed.split_at_checked(16)?;
        let is_this = store.is_some_and(|store| store.to_bytes() == id);
        is_this.then(|| State::unpack(packed).ok()).flatten()
    }

    pub(super) fn write_state(&self, store: Ulid, packed: &[u8]) -> Result<()> {
        let bytes = [&store.to_bytes()[..], packed].concat();
        self.replace(STATE_NAME, &bytes)
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let aside = self.folder.join(format!("{name}.new"));
        let path = self.folder.join(name);
        let written = || -> io::Result<()> {
            fs::create_dir_all(&self.folder)?;
            if aside.exists() {
                fs::remove_file(&aside)?;
            }
            Ok(())
        };
        written().map_err(|error| local(&aside, &error))?;
        write_file(&aside, bytes).map_err(|error| RemoteError::Local(error.to_string()))?;
        fs::rename(&aside, &path).map_err(|error| local(&path, &error))?;
        sync_folder(&self.folder).map_err(|error| RemoteError::Local(error.to_string()))
    }
}

fn local(path: &Path, error: &io::Error) -> RemoteError {
    RemoteError::Local(format!("{}: {error}", path.display()))
}
