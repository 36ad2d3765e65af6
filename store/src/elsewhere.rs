//! What a store has beside its data directory: the border to object storage, which not every build has.

use std::any::Any;
use std::path::Path;
use std::sync::Arc;

use crate::catalog::Skipped;
use crate::pins::Pin;
use crate::segment::{LoadError, SegmentInfo, Table};

/// What is known of object storage, in the data directory.
pub(crate) const FOLDER: &str = "remote";

/// Whether segments of a data directory are on object storage, too, as far as that directory knows. What merges them
/// has to know which.
pub fn is_on_object_storage(data_dir: &Path) -> bool {
    data_dir.join(FOLDER).join("ours.json").exists()
}

/// Files that were brought here stay for as long as this is held.
pub(crate) type Lease = Option<Box<dyn Any + Send>>;

/// Segments that are the same party may be merged with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(not(feature = "object-store"), expect(dead_code, reason = "nobody makes them in such a build"))]
pub(crate) enum Party {
    /// In the data directory alone.
    Here,
    /// Elsewhere, whether there is a copy here or not.
    Elsewhere,
}

/// Segments that are kept elsewhere.
pub(crate) trait Elsewhere: Send + Sync {
    /// The segments that queries read, given those of the data directory that no other one there replaces.
    fn live(&self, local: Vec<Arc<SegmentInfo>>) -> Vec<Arc<SegmentInfo>>;

    /// Why an answer may lack what is elsewhere, if it may.
    fn trouble(&self) -> Option<Skipped>;

    /// Brings tables of a segment here, unless they are.
    fn fetch(&self, segment: &SegmentInfo, tables: &[Table]) -> Result<Lease, LoadError>;

    /// With which others a segment may be merged; none: with none, for now.
    fn party(&self, segment: &SegmentInfo) -> Option<Party>;

    /// Pins of others who keep segments at the same place.
    fn pins(&self) -> Vec<Pin>;

    /// Whether a segment is in the data directory alone, so that deleting it is for good.
    fn is_only_here(&self, segment: &SegmentInfo) -> bool;

    /// A segment that was in the data directory alone was deleted for lack of room.
    fn gave_up(&self, bytes: u64);
}
