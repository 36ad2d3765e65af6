//! Which segments there are: listed anew for every query, at the price of one `stat` per day.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ulid::Ulid;

use super::Skipped;
use crate::error::{IoContext, Result};
use crate::segment::{LoadError, SegmentInfo, read_manifest};

/// A folder's time of change only counts as settled this long after it: file systems' clocks tick coarsely,
/// and a change in the same tick leaves no trace.
const SETTLED: Duration = Duration::from_secs(2);
/// A folder that changes faster than it can be listed is taken as it was found after this many tries.
const MAX_TRIES: usize = 16;

/// The segments of a data directory as last seen.
#[derive(Debug)]
pub(crate) struct Catalog {
    root: PathBuf,
    days: BTreeMap<OsString, Day>,
    /// Not folders of a day.
    strays: Vec<Skipped>,
}

#[derive(Debug, Default)]
struct Day {
    changed: Option<SystemTime>,
    entries: BTreeMap<OsString, Entry>,
}

type Entry = std::result::Result<Arc<SegmentInfo>, Skipped>;

impl Catalog {
    /// The catalog of a `segments` folder; nothing is read yet.
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root, days: BTreeMap::new(), strays: Vec::new() }
    }

    /// Looks for what came and went.
    pub(crate) fn refresh(&mut self) -> Result<()> {
        self.strays.clear();
        let mut days = BTreeMap::new();
        for name in list(&self.root).context("read", &self.root)? {
            let path = self.root.join(&name);
            if !name.to_string_lossy().starts_with("date=") {
                self.strays.push(Skipped { path, reason: "not the folder of a day".to_owned() });
                continue;
            }
            let mut day = self.days.remove(&name).unwrap_or_default();
            match day.refresh(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => self.strays.push(Skipped { path, reason: error.to_string() }),
            }
            days.insert(name, day);
        }
        self.days = days;
        Ok(())
    }

    /// The segments to read: all that no other one replaces, oldest first. What was written twice (a window that was sent
    /// again, a folder that was copied) is there once.
    pub(crate) fn live(&self) -> Vec<Arc<SegmentInfo>> {
        let replaced: HashSet<Ulid> =
            self.segments().flat_map(|segment| segment.manifest.replaces.iter().copied()).collect();
        let mut live: Vec<_> =
            self.segments().filter(|segment| !replaced.contains(&segment.id)).cloned().collect();
        live.sort_by_key(|segment| (segment.manifest.min_ms, segment.id));
        let mut seen = HashSet::new();
        live.retain(|segment| segment.manifest.content().is_none_or(|content| seen.insert(content)));
        live
    }

    /// Segments that another one replaces and that are still there.
    pub(crate) fn replaced(&self) -> Vec<Arc<SegmentInfo>> {
        let replaced: HashSet<Ulid> =
            self.segments().flat_map(|segment| segment.manifest.replaces.iter().copied()).collect();
        self.segments().filter(|segment| replaced.contains(&segment.id)).cloned().collect()
    }

    /// The ids of all segments that are the same as one of these, which are among them: whoever replaces one replaces all.
    pub(crate) fn same_as(&self, segments: &[Arc<SegmentInfo>]) -> BTreeSet<Ulid> {
        let contents: HashSet<_> = segments.iter().filter_map(|segment| segment.manifest.content()).collect();
        let is_same = |segment: &&Arc<SegmentInfo>| {
            segment.manifest.content().is_some_and(|content| contents.contains(&content))
        };
        let same = self.segments().filter(is_same).map(|segment| segment.id);
        segments.iter().map(|segment| segment.id).chain(same).collect()
    }

    /// The segment that replaces what has this id.
    pub(crate) fn replacement_of(&self, id: Ulid) -> Option<Arc<SegmentInfo>> {
        self.segments().find(|segment| segment.manifest.replaces.contains(&id)).cloned()
    }

    /// Folders that are named as segments but cannot be read: path, time by the name (Unix milliseconds),
    /// bytes on disk.
    pub(crate) fn damaged(&self) -> Vec<(PathBuf, i64, u64)> {
        let skipped = self.skipped().into_iter();
        let damaged = skipped.filter_map(|Skipped { path, .. }| {
            let id = id_of(&path)?;
            let bytes = fs::read_dir(&path).ok()?.flatten().filter_map(|file| file.metadata().ok());
            let bytes = bytes.map(|file| file.len()).sum();
            Some((path, i64::try_from(id.timestamp_ms()).ok()?, bytes))
        });
        damaged.collect()
    }

    /// What lies among the segments and is none.
    pub(crate) fn skipped(&self) -> Vec<Skipped> {
        let entries = self.days.values().flat_map(|day| day.entries.values());
        entries.filter_map(|entry| entry.as_ref().err()).chain(&self.strays).cloned().collect()
    }

    fn segments(&self) -> impl Iterator<Item = &Arc<SegmentInfo>> {
        self.days.values().flat_map(|day| day.entries.values()).filter_map(|entry| entry.as_ref().ok())
    }
}

impl Day {
    /// Lists until two listings agree: then nothing was renamed in and something else removed between the
    /// two, so either a merged segment or all that it replaces has been seen.
    fn refresh(&mut self, folder: &Path) -> io::Result<()> {
        let changed = fs::metadata(folder)?.modified()?;
        if self.changed == Some(changed) {
            return Ok(());
        }
        let now = SystemTime::now();
        let mut names = list(folder)?;
        for _ in 0..MAX_TRIES {
            self.entries.retain(|name, entry| names.contains(name) && entry.is_ok());
            for name in &names {
                if !self.entries.contains_key(name)
                    && let Some(entry) = open(&folder.join(name))
                {
                    self.entries.insert(name.clone(), entry);
                }
            }
            let again = list(folder)?;
            if again == names {
                break;
            }
            names = again;
        }
        let settled = now.duration_since(changed).is_ok_and(|age| age > SETTLED);
        self.changed = settled.then_some(changed);
        Ok(())
    }
}

/// Names in a folder, without hidden ones.
fn list(folder: &Path) -> io::Result<BTreeSet<OsString>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if !name.as_encoded_bytes().starts_with(b".") && !name.as_encoded_bytes().starts_with(b"_") {
            names.insert(name);
        }
    }
    Ok(names)
}

/// The segment in a folder; none if it is gone again.
fn open(path: &Path) -> Option<Entry> {
    let skipped = |reason: String| Some(Err(Skipped { path: path.to_owned(), reason }));
    let Some(id) = id_of(path) else { return skipped("not a segment of Vesta".to_owned()) };
    match read_manifest(path) {
        Ok((manifest, bytes)) => {
            Some(Ok(Arc::new(SegmentInfo { id, path: path.to_owned(), bytes, manifest })))
        }
        Err(LoadError::Vanished) => None,
        Err(LoadError::Bad(reason) | LoadError::Refused(reason)) => skipped(reason),
    }
}

fn id_of(path: &Path) -> Option<Ulid> {
    let name = path.file_name()?.to_str()?;
    Ulid::from_string(name.strip_prefix("segment=")?).ok()
}
