//! What long links lead to: the state of a page, kept under a short id.

use std::path::Path;

use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::checked::{read_checked, to_checked};
use crate::error::{Error, IoContext, Result};
use crate::handle::Store;

/// Name of the file, in the data directory.
const FILE_NAME: &str = "links.json";
/// Links kept: more than a team shares before the samples behind them are gone. The one that was not asked to be kept
/// for longest gives way.
const MAX_LINKS: usize = 1000;
/// Bytes of a state: as much as a server takes in the head of a request.
const MAX_STATE: usize = 64 << 10;
/// Bytes of all states: the file is written anew with each.
const MAX_STATES: usize = 4 << 20;
/// Bytes of the file: all states, escaped, and what stands around each.
const MAX_BYTES: u64 = 16 << 20;

/// A state and its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Names it. Half of it is random, so that nobody finds what was not shared with them by trying.
    pub id: String,
    /// The query part of a URL, without the question mark.
    pub state: String,
}

impl Store {
    /// Keeps a state under an id, the same one where it is kept already. Where there are too many, the ones that were
    /// not asked to be kept for longest give way.
    ///
    /// # Errors
    /// When the store is open for reading only, the state is empty, longer than 64 KiB or not what a URL holds, or
    /// the file of links cannot be read or written.
    pub fn keep_link(&self, state: &str) -> Result<Link> {
        self.dir().require_writer()?;
        if state.is_empty() || state.len() > MAX_STATE {
            let reason = format!("a state has from 1 to {MAX_STATE} bytes, not {}", state.len());
            return Err(Error::Unstorable(reason));
        }
        if !state.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::Unstorable("a state is the query part of a URL, percent-encoded".to_owned()));
        }
        let _alone = self.maintenance();
        let mut links = self.links()?;
        let link = match links.iter().position(|link| link.state == state) {
            Some(place) => links.remove(place),
            None => Link { id: Ulid::new().to_string(), state: state.to_owned() },
        };
        links.push(link.clone());
        let surplus = surplus(&links);
        if surplus > 0 {
            tracing::warn!(links = surplus, "the oldest links give way");
            links.drain(..surplus);
        }
        let json = to_checked(&links).map_err(|error| Error::Unstorable(error.to_string()))?;
        self.replace(Path::new(FILE_NAME), &json)?;
        Ok(link)
    }

    /// The link of an id, if it is (still) kept.
    ///
    /// # Errors
    /// When the file of links cannot be read.
    pub fn link(&self, id: &str) -> Result<Option<Link>> {
        Ok(self.links()?.into_iter().find(|link| link.id == id))
    }

    /// All of them, the one that was asked to be kept last at the end.
    pub(crate) fn links(&self) -> Result<Vec<Link>> {
        let path = self.path().join(FILE_NAME);
        read_checked(&path, MAX_BYTES, "mend or remove it").context("read", &path)
    }
}

/// How many from the front on are too many.
fn surplus(links: &[Link]) -> usize {
    let mut bytes = 0;
    let fitting = links.iter().rev().take(MAX_LINKS).take_while(|link| {
        bytes += link.state.len();
        bytes <= MAX_STATES
    });
    links.len() - fitting.count()
}
