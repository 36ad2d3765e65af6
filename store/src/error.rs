//! What can go wrong with a data directory, in sentences a user can act on.

use std::io;
use std::path::{Path, PathBuf};

use crate::sql::SqlError;

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data directory does not exist.
    #[error("data directory {0} does not exist")]
    Missing(PathBuf),
    /// The directory exists, but Vesta did not make it.
    #[error("{0} is not a Vesta data directory (it has no `vesta-data.json`)")]
    NotADataDirectory(PathBuf),
    /// The directory was laid out by a version this one does not know.
    #[error("{path} has layout {found}; this version of Vesta knows layout {known}")]
    UnknownLayout {
        /// The data directory.
        path: PathBuf,
        /// What its marker says.
        found: String,
        /// The layout this version writes.
        known: u32,
    },
    /// The file that makes it a data directory says nothing.
    #[error("{0} is damaged: it is to be {{\"layout\":1}} and no more")]
    DamagedMarker(PathBuf),
    /// Another process writes to the directory.
    #[error("data directory {path} is written to by {holder}; only one agent can write to it at a time")]
    Locked {
        /// The data directory.
        path: PathBuf,
        /// Process id and host of the other writer, as far as known.
        holder: String,
    },
    /// A change was asked of a store opened for reading.
    #[error("data directory {0} was opened for reading only")]
    ReadOnly(PathBuf),
    /// The directory that was opened for writing is not there any more.
    #[error(
        "data directory {0} was removed, or another one stands in its place; start Vesta again to write to it"
    )]
    Replaced(PathBuf),
    /// A profile that does not fit the file format.
    #[error("cannot store the profile: {0}")]
    Unstorable(String),
    /// A query that needs more memory than it may have.
    #[error("the query needs more than {} MiB of memory; ask for a shorter range or select less", limit >> 20)]
    TooLarge {
        /// What it may have, bytes.
        limit: u64,
    },
    /// A query that nobody waits for any more.
    #[error("the query was cancelled")]
    Cancelled,
    /// A statement of SQL that is wrong, or does more than read.
    #[error("{0}")]
    Sql(SqlError),
    /// SQL was asked for, but is not built in.
    #[error("this build of Vesta has no SQL; it comes with the feature `sql`, which is on by default")]
    NoSql,
    /// The operating system refused.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// Result of an operation of the store.
pub type Result<T> = std::result::Result<T, Error>;

/// Adds what was tried, and with which file, to an I/O error.
pub(crate) trait IoContext<T> {
    fn context(self, action: &'static str, path: &Path) -> Result<T>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn context(self, action: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| Error::Io { action, path: path.to_owned(), source })
    }
}
