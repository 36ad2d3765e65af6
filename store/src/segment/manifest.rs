//! What a segment holds, without opening its tables.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::statistics::Statistics;
use super::{KNOWN_VERSIONS, MAX_RESOLUTION_MS};
use crate::query::MAX_TIME_MS;

/// Name of the manifest's file. Readers of Parquet folders ignore names that start with `_`.
pub(crate) const FILE_NAME: &str = "_manifest.json";
/// Longest manifest read: a day of 10-second segments replaced by one takes 260 kB.
pub(crate) const MAX_BYTES: u64 = 4 << 20;

/// The manifest of a segment. The same facts stand in the key-value metadata of its samples file, so that
/// a segment without manifest can still be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    /// The profile's span, Unix milliseconds.
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    /// First and last millisecond that any of its rows or accounts needs; the last is not included.
    pub(crate) min_ms: i64,
    pub(crate) max_ms: i64,
    /// 0: as the agent wrote it; 1, 2, 3: merged to five minutes, an hour, a day.
    pub(crate) level: u8,
    /// Rows of samples.
    pub(crate) rows: u64,
    /// Segments that this one was merged from; readers ignore them.
    pub(crate) replaces: BTreeSet<Ulid>,
    /// By name; empty when the manifest was made from the metadata of the samples file.
    pub(crate) files: BTreeMap<String, FileSum>,
    /// Length of the time buckets in milliseconds; 0 where times are as the agent wrote them. Not in version 1.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) resolution_ms: i64,
    /// Not in version 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) statistics: Option<Statistics>,
}

/// Left out, so that a manifest of version 1 has the checksum that it was written with.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(value: &i64) -> bool {
    *value == 0
}

/// Length and checksum of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct FileSum {
    pub(crate) bytes: u64,
    /// CRC-32 (IEEE).
    pub(crate) crc32: u32,
}

#[derive(Serialize, Deserialize)]
struct Checked {
    /// CRC-32 of the compact JSON of `segment`.
    crc32: u32,
    segment: Manifest,
}

impl Manifest {
    pub(crate) fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        let crc32 = crc32fast::hash(&serde_json::to_vec(self)?);
        let mut json = serde_json::to_vec_pretty(&Checked { crc32, segment: self.clone() })?;
        json.push(b'\n');
        Ok(json)
    }

    /// The manifest, unless the text is damaged.
    pub(crate) fn from_json(json: &[u8]) -> Option<Self> {
        let Checked { crc32, segment } = serde_json::from_slice(json).ok()?;
        let own = crc32fast::hash(&serde_json::to_vec(&segment).ok()?);
        (own == crc32).then_some(segment)
    }

    /// What tables say that stay as they are when times become coarser, and are copied then.
    pub(crate) fn to_short_metadata(&self) -> Vec<(&'static str, String)> {
        vec![("vesta.schema_version", self.schema_version.to_string())]
    }

    /// The same facts as key-value metadata of samples and rollups.
    pub(crate) fn to_metadata(&self) -> Vec<(&'static str, String)> {
        let replaces: Vec<_> = self.replaces.iter().map(Ulid::to_string).collect();
        vec![
            ("vesta.schema_version", self.schema_version.to_string()),
            ("vesta.start_ms", self.start_ms.to_string()),
            ("vesta.end_ms", self.end_ms.to_string()),
            ("vesta.min_ms", self.min_ms.to_string()),
            ("vesta.max_ms", self.max_ms.to_string()),
            ("vesta.level", self.level.to_string()),
            ("vesta.replaces", replaces.join(",")),
            ("vesta.resolution_ms", self.resolution_ms.to_string()),
            ("vesta.statistics", serde_json::to_string(&self.statistics).unwrap_or_default()),
        ]
    }

    /// The manifest from key-value metadata and the number of rows.
    pub(crate) fn from_metadata(get: impl Fn(&str) -> Option<String>, rows: u64) -> Result<Self, String> {
        fn number<T: std::str::FromStr>(text: Option<String>, key: &str) -> Result<T, String> {
            let text = text.ok_or_else(|| format!("it has no metadata `{key}`: not a file of Vesta"))?;
            text.parse().map_err(|_| format!("metadata `{key}` is `{text}`, not a number"))
        }
        let get = |key| get(key);
        let replaces = get("vesta.replaces").unwrap_or_default();
        let replaces = replaces.split(',').filter(|id| !id.is_empty()).map(|id| {
            Ulid::from_string(id)
                .map_err(|_| format!("metadata `vesta.replaces` names `{id}`, not a segment"))
        });
        let manifest = Self {
            schema_version: number(get("vesta.schema_version"), "vesta.schema_version")?,
            start_ms: number(get("vesta.start_ms"), "vesta.start_ms")?,
            end_ms: number(get("vesta.end_ms"), "vesta.end_ms")?,
            min_ms: number(get("vesta.min_ms"), "vesta.min_ms")?,
            max_ms: number(get("vesta.max_ms"), "vesta.max_ms")?,
            level: number(get("vesta.level"), "vesta.level")?,
            rows,
            replaces: replaces.collect::<Result<_, _>>()?,
            files: BTreeMap::new(),
            resolution_ms: get("vesta.resolution_ms")
                .map_or(Ok(0), |text| number(Some(text), "vesta.resolution_ms"))?,
            statistics: match get("vesta.statistics") {
                Some(text) => serde_json::from_str(&text)
                    .map_err(|error| format!("metadata `vesta.statistics` cannot be read: {error}"))?,
                None => None,
            },
        };
        manifest.check()?;
        Ok(manifest)
    }

    /// What tells its content from that of other segments: its span, and the sums of all of its files. Two segments of the
    /// same content are one that was written twice, since samples of different windows have different times, and those of
    /// different hosts other labels. None where the sums are not known.
    pub(crate) fn content(&self) -> Option<(i64, i64, Vec<FileSum>)> {
        let is_known = !self.files.is_empty();
        is_known.then(|| (self.start_ms, self.end_ms, self.files.values().copied().collect()))
    }

    /// Whether this version can read the segment.
    pub(crate) fn check(&self) -> Result<(), String> {
        check_version(self.schema_version)?;
        let times = [self.start_ms, self.end_ms, self.min_ms, self.max_ms];
        let outside = times.iter().find(|time| !(0..=MAX_TIME_MS).contains(*time));
        match outside {
            Some(time) => Err(format!("time {time} ms is outside the years 1970 to 9999")),
            None if self.min_ms > self.max_ms => Err("its last time is before its first".to_owned()),
            None if !(0..=MAX_RESOLUTION_MS).contains(&self.resolution_ms) => {
                Err(format!("a resolution of {} ms", self.resolution_ms))
            }
            None => Ok(()),
        }
    }
}

pub(crate) fn check_version(version: u32) -> Result<(), String> {
    if KNOWN_VERSIONS.contains(&version) {
        return Ok(());
    }
    Err(format!("schema version {version}; this version of Vesta reads {KNOWN_VERSIONS:?}"))
}

/// A segment in a data directory.
#[derive(Clone, Debug)]
pub struct SegmentInfo {
    pub(crate) id: Ulid,
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    pub(crate) manifest: Manifest,
}

impl SegmentInfo {
    /// Its id, a ULID whose time is the start of the segment.
    pub fn id(&self) -> String {
        self.id.to_string()
    }

    /// Its folder.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// First millisecond of any of its samples, Unix time.
    pub fn min_ms(&self) -> i64 {
        self.manifest.min_ms
    }

    /// First millisecond after all of its samples.
    pub fn max_ms(&self) -> i64 {
        self.manifest.max_ms
    }

    /// 0 as written by the agent; 1, 2 and 3 merged to five minutes, an hour and a day.
    pub fn level(&self) -> u8 {
        self.manifest.level
    }

    /// Length of its time buckets in milliseconds; 0 where times are as the agent wrote them.
    pub fn resolution_ms(&self) -> i64 {
        self.manifest.resolution_ms
    }

    /// Rows of samples.
    pub fn rows(&self) -> u64 {
        self.manifest.rows
    }

    /// Bytes on disk, all files together.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}
