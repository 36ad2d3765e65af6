//! The segments of a data directory.

mod data_dir;
mod scan;

pub(crate) use data_dir::DataDir;
pub use data_dir::LAYOUT;
pub(crate) use scan::Catalog;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A segment, or something among the segments that is none, left out of an answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Skipped {
    /// The folder or file.
    pub path: PathBuf,
    /// Why, naming the file within the segment.
    pub reason: String,
}
