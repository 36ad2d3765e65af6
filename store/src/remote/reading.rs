//! What queries ask of a store: which segments are live, and their files.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use ulid::Ulid;

use super::error::RemoteError;
use super::known::{Known, Place};
use super::{Inner, folder_of};
use crate::catalog::Skipped;
use crate::elsewhere::{Elsewhere, Lease, Party};
use crate::pins::Pin;
use crate::segment::{FileSum, LoadError, SegmentInfo, Table};

impl Inner {
    /// Another process may write to the data directory: what it committed and merged since we read the log would count
    /// beside what it was merged from.
    fn catch_up(&self, local: &[Arc<SegmentInfo>]) {
        if self.is_writer {
            return;
        }
        match self.notes.read() {
            Ok(ours) if self.known().ours.store == ours.store => self.known().ours = ours,
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "what is in the store already is not known"),
        }
        let is_behind = {
            let known = self.known();
            let is_missed = |id: &Ulid| {
                let Known { state, ours, .. } = &*known;
                let is_known = state.live.contains_key(id) || state.removed.contains_key(id);
                !is_known && ours.committed.contains(id)
            };
            local
                .iter()
                .any(|segment| is_missed(&segment.id) || segment.manifest.replaces.iter().any(is_missed))
        };
        let caught_up = !is_behind || self.refresh().is_ok();
        self.known().is_behind = !caught_up;
    }

    fn bring(
        &self,
        segment: &SegmentInfo,
        missing: &[(Table, FileSum)],
    ) -> std::result::Result<(), LoadError> {
        let id = segment.id;
        let fetch: Vec<_> =
            missing.iter().filter(|(table, sum)| !self.cache.find(id, *table, *sum)).collect();
        if !fetch.is_empty()
            && let Some(error) = self.client.is_down()
        {
            return Err(LoadError::Refused(error.to_string()));
        }
        let folder = folder_of(id, segment.min_ms());
        let name = |table: Table| format!("{folder}/{}", table.file_name());
        let names: Vec<_> = fetch.iter().map(|(table, sum)| (name(*table), sum.bytes)).collect();
        for ((table, sum), bytes) in fetch.iter().zip(self.client.get_all(&names)) {
            let mut bytes = bytes.map_err(|error| self.unavailable(id, &error))?;
            let is_right =
                |bytes: &[u8]| bytes.len() as u64 == sum.bytes && crc32fast::hash(bytes) == sum.crc32;
            if !is_right(&bytes) {
                // It may have been damaged on its way.
                bytes = self
                    .client
                    .get(&name(*table), sum.bytes)
                    .map_err(|error| self.unavailable(id, &error))?;
            }
            if !is_right(&bytes) {
                let reason = "its checksum is wrong, the object has been changed";
                return Err(LoadError::Bad(self.client.damaged(&name(*table), reason).to_string()));
            }
            self.cache.fill(id, *table, &bytes).map_err(|error| {
                LoadError::Refused(format!("{}: not kept in the cache: {error}", table.file_name()))
            })?;
        }
        Ok(())
    }

    /// What it means that a segment's object cannot be read.
    fn unavailable(&self, id: Ulid, error: &RemoteError) -> LoadError {
        match error {
            RemoteError::Missing { .. } => match self.refresh() {
                Ok(()) if !self.known().state.live.contains_key(&id) => LoadError::Vanished,
                Ok(()) => LoadError::Bad(error.to_string()),
                Err(error) => LoadError::Refused(error.to_string()),
            },
            RemoteError::Damaged { .. } => LoadError::Bad(error.to_string()),
            error => LoadError::Refused(error.to_string()),
        }
    }
}

impl Elsewhere for Inner {
    fn live(&self, local: Vec<Arc<SegmentInfo>>) -> Vec<Arc<SegmentInfo>> {
        self.catch_up(&local);
        let mut known = self.known();
        known.asked = Some(Instant::now());
        let (mut here, mut hidden) = (BTreeSet::new(), BTreeSet::new());
        let mut live = Vec::with_capacity(local.len());
        let mut pending = (0, 0);
        for segment in local {
            match known.place(&segment) {
                Place::Gone => continue,
                Place::Pending => pending = (pending.0 + 1, pending.1 + segment.bytes),
                Place::Live => {}
            }
            if !known.state.live.contains_key(&segment.id) {
                hidden.extend(segment.manifest.replaces.iter().copied());
            }
            here.insert(segment.id);
            live.push(segment);
        }
        known.pending = pending;
        let is_read = |id: &&Ulid| !here.contains(*id) && !hidden.contains(*id);
        let there = known.infos.iter().filter(|(id, _)| is_read(id)).map(|(_, info)| info.clone());
        live.extend(there);
        live.sort_by_key(|segment| (segment.manifest.min_ms, segment.id));
        live
    }

    fn trouble(&self) -> Option<Skipped> {
        let known = self.known();
        let reason = match (&known.trouble, known.refreshed) {
            (Some(trouble), _) => trouble.clone(),
            (None, Some(_)) => return None,
            (None, None) => "it has not been read yet".to_owned(),
        };
        let reason = format!("{reason}; what it got lately may be missing");
        Some(Skipped { path: PathBuf::from(self.client.url()), reason })
    }

    fn fetch(&self, segment: &SegmentInfo, tables: &[Table]) -> std::result::Result<Lease, LoadError> {
        if !self.cache.is_ours(&segment.path) {
            return Ok(None);
        }
        let files = &segment.manifest.files;
        let wanted = tables.iter().filter_map(|table| Some((*table, *files.get(table.file_name())?)));
        let wanted: Vec<_> = wanted.collect();
        // As often as others may fail to bring what they were to.
        for _ in 0..8 {
            let claim = self.cache.claim(segment.id, &wanted);
            let brought = self.bring(segment, &claim.missing);
            self.cache.done(segment.id, &claim.missing);
            brought?;
            if self.cache.wait(&claim.held) {
                return Ok(Some(Box::new(claim.held)));
            }
        }
        Err(LoadError::Refused("its files were not kept in the cache".to_owned()))
    }

    fn party(&self, segment: &SegmentInfo) -> Option<Party> {
        let known = self.known();
        match (known.state.live.get(&segment.id), known.place(segment)) {
            (Some(live), _) => known.state.is_in_care_of(live, known.ours.writer).then_some(Party::Elsewhere),
            (None, Place::Pending) => known.replaced_there(segment).is_empty().then_some(Party::Here),
            (None, _) => None,
        }
    }

    fn pins(&self) -> Vec<Pin> {
        self.known().state.writers.values().flat_map(|writer| writer.pins.iter().cloned()).collect()
    }

    fn is_only_here(&self, segment: &SegmentInfo) -> bool {
        self.known().place(segment) == Place::Pending
    }

    fn gave_up(&self, bytes: u64) {
        self.counts.given_up.fetch_add(1, Ordering::Relaxed);
        self.counts.given_up_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}
