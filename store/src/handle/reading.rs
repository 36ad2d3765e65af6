//! Tables of segments, decoded or opened, and what is known of those that cannot be read.

use std::path::Path;
use std::sync::{Arc, PoisonError};

use ulid::Ulid;

use super::Store;
use crate::cache::Depth;
use crate::dictionary::{Dictionary, Known};
use crate::elsewhere::Lease;
use crate::model::Profile;
use crate::segment::{self, LoadError, Manifest, SamplesFile, SegmentInfo, Table};

impl Store {
    /// A segment's profile without rows; without stacks, too, if they are not asked for.
    pub(crate) fn tables(
        &self,
        segment: &SegmentInfo,
        depth: Depth,
    ) -> std::result::Result<Arc<Profile>, LoadError> {
        self.require_good(segment)?;
        if let Some(tables) = self.cache().get(segment.id, depth) {
            return Ok(tables);
        }
        type Load = fn(&Path, &Manifest) -> std::result::Result<Profile, LoadError>;
        let (load, files): (Load, &[Table]) = match depth {
            Depth::Series => (segment::load_series, &[Table::Series, Table::Accounts]),
            Depth::Stacks => (segment::load_all_but_samples, &Table::ALL_BUT_SAMPLES),
        };
        let _lease = self.fetch(segment, files)?;
        let tables = Arc::new(load(&segment.path, &segment.manifest)?);
        self.cache().insert(segment.id, depth, tables.clone());
        Ok(tables)
    }

    /// What the tree of all stacks knows of a segment.
    pub(crate) fn known(
        &self,
        segment: &SegmentInfo,
        dictionary: &Dictionary,
    ) -> std::result::Result<Option<Arc<Known>>, LoadError> {
        self.require_good(segment)?;
        Ok(dictionary.get(segment.id))
    }

    /// The tree of all stacks for a query: an empty one when the last has grown too large.
    pub(crate) fn dictionary(&self) -> Arc<Dictionary> {
        let mut dictionary = self.inner.dictionary.lock().unwrap_or_else(PoisonError::into_inner);
        if dictionary.beyond_its_share() > 0 {
            *dictionary = Arc::default();
        }
        dictionary.clone()
    }

    /// A segment's samples or one of its rollups, opened. Its checksum is looked at once.
    pub(crate) fn samples(
        &self,
        segment: &SegmentInfo,
        table: Table,
    ) -> std::result::Result<SamplesFile, LoadError> {
        let _lease = self.fetch(segment, &[table])?;
        let key = (segment.id, table);
        let is_verified = self.state().verified.contains(&key);
        let samples = segment::open_samples(&segment.path, table, &segment.manifest, is_verified)?;
        if !is_verified {
            self.state().verified.insert(key);
        }
        Ok(samples)
    }

    /// Whether a segment has a rollup that can be read, as far as known.
    pub(crate) fn has_rollup(&self, segment: &SegmentInfo, table: Table) -> bool {
        segment.manifest.files.contains_key(table.file_name())
            && !self.state().bad_rollups.contains(&segment.id)
    }

    /// Remembers that a segment's rollups cannot be read.
    pub(crate) fn mark_bad_rollups(&self, segment: &SegmentInfo, reason: &str) {
        if self.state().bad_rollups.insert(segment.id) {
            tracing::warn!(segment = %segment.path.display(), reason, "reading samples in place of rollups");
        }
    }

    /// Fails if a segment is known to be damaged.
    pub(crate) fn require_good(&self, segment: &SegmentInfo) -> std::result::Result<(), LoadError> {
        match self.state().bad.get(&segment.id) {
            Some(reason) => Err(LoadError::Bad(reason.clone())),
            None => Ok(()),
        }
    }

    /// Remembers that a segment cannot be read.
    pub(crate) fn mark_bad(&self, segment: &SegmentInfo, reason: &str) {
        if self.state().bad.insert(segment.id, reason.to_owned()).is_none() {
            tracing::warn!(segment = %segment.path.display(), reason, "skipping a segment");
        }
    }

    /// Brings tables of a segment into its folder, if they are elsewhere. They are there for as long as the lease is.
    pub(crate) fn fetch(
        &self,
        segment: &SegmentInfo,
        tables: &[Table],
    ) -> std::result::Result<Lease, LoadError> {
        self.elsewhere().map_or(Ok(None), |elsewhere| elsewhere.fetch(segment, tables))
    }

    /// Nothing more is known of a segment that is gone.
    pub(crate) fn forget(&self, id: Ulid) {
        self.cache().remove(id);
        self.inner.dictionary.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}
