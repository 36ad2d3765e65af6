//! The objects beside the segments: what they say, as JSON with a checksum. docs/formats.md describes them.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::pins::Pin;
use crate::segment::Manifest;

/// The layout of object storage that this version writes and reads.
pub const LAYOUT: u32 = 1;

/// Name of the object that makes a prefix a store.
pub(super) const MARKER: &str = "vesta-store.json";
/// Longest marker, commit and packed and unpacked checkpoint that are read: a commit of 64 segments with long labels
/// takes 1 MB, a checkpoint of 10,000 days of hosts 20 MB.
pub(super) const MAX_MARKER: u64 = 4096;
pub(super) const MAX_COMMIT: u64 = 32 << 20;
pub(super) const MAX_CHECKPOINT: u64 = 64 << 20;
const MAX_UNPACKED: usize = 512 << 20;

/// What makes a prefix a store, and tells it from others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Marker {
    pub(super) layout: u32,
    pub(super) id: Ulid,
}

/// A segment that is in the store, as queries plan with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) id: Ulid,
    /// All files together.
    pub(super) bytes: u64,
    pub(super) segment: Manifest,
}

/// One step of the store, visible as a whole from the moment that its object is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Commit {
    pub(super) layout: u32,
    pub(super) sequence: u64,
    /// Tells this commit from any other that was tried at the same number.
    pub(super) id: Ulid,
    pub(super) writer: Ulid,
    pub(super) host: String,
    /// The writer's clock.
    pub(super) time_ms: i64,
    pub(super) added: Vec<Entry>,
    /// Segments whose samples are in added ones now.
    pub(super) replaced: Vec<Ulid>,
    /// Segments past their retention.
    pub(super) expired: Vec<Ulid>,
    /// Segments removed before, whose objects have been deleted.
    pub(super) deleted: Vec<Ulid>,
    /// All pins of this writer; none where they have not changed.
    pub(super) pins: Option<Vec<Pin>>,
}

/// All of a store at one commit; a checkpoint is this.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) layout: u32,
    /// The last commit that is in it; 0 before the first.
    pub(super) sequence: u64,
    pub(super) live: BTreeMap<Ulid, Live>,
    pub(super) removed: BTreeMap<Ulid, Removed>,
    pub(super) writers: BTreeMap<Ulid, Writer>,
    /// Segments whose samples are in others now, by their content, and when they were replaced, by the store's clock: one that
    /// is sent again is recognised when nothing else is left of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) merged: BTreeMap<u64, i64>,
    /// The store's clock at the last commit, Unix milliseconds.
    pub(super) now_ms: i64,
}

/// A segment that queries read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Live {
    pub(super) writer: Ulid,
    pub(super) entry: Entry,
}

/// A segment that queries do not read any more, and whose objects may still be there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Removed {
    /// Who removed it.
    pub(super) writer: Ulid,
    /// By the store's clock.
    pub(super) at_ms: i64,
    /// First millisecond of its samples, by which its objects are found.
    pub(super) min_ms: i64,
    /// Whether its samples are in another segment; else they are past their retention.
    pub(super) is_replaced: bool,
}

/// What is known of a writer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Writer {
    pub(super) host: String,
    /// Its last commit, and when that was by the store's clock.
    pub(super) commit: Ulid,
    pub(super) at_ms: i64,
    /// How far its own clock was ahead then.
    pub(super) ahead_ms: i64,
    pub(super) pins: Vec<Pin>,
}

#[derive(Serialize, Deserialize)]
struct Sealed<T> {
    /// CRC-32 (IEEE) of the compact JSON of `body`.
    crc32: u32,
    body: T,
}

/// What a body says of its layout, before anything else of it is looked at.
#[derive(Deserialize)]
struct Layout {
    body: OnlyLayout,
}

#[derive(Deserialize)]
struct OnlyLayout {
    layout: u32,
}

/// JSON of a body with its checksum.
pub(super) fn seal<T: Serialize>(body: &T) -> serde_json::Result<Vec<u8>> {
    let crc32 = crc32fast::hash(&serde_json::to_vec(body)?);
    serde_json::to_vec(&Sealed { crc32, body })
}

/// The body, or what is wrong with it.
pub(super) fn unseal<T: Serialize + DeserializeOwned>(json: &[u8]) -> Result<T, String> {
    if let Ok(Layout { body: OnlyLayout { layout } }) = serde_json::from_slice(json)
        && layout != LAYOUT
    {
        return Err(format!("it has layout {layout}; this version of Vesta knows layout {LAYOUT}"));
    }
    let Sealed { crc32, body } =
        serde_json::from_slice::<Sealed<T>>(json).map_err(|error| format!("it cannot be read: {error}"))?;
    let own = serde_json::to_vec(&body).map_err(|error| error.to_string())?;
    if crc32fast::hash(&own) != crc32 {
        return Err("its checksum is wrong".to_owned());
    }
    Ok(body)
}

impl Commit {
    /// The commit in an object, which must be that of this number.
    pub(super) fn read(json: &[u8], sequence: u64) -> Result<Self, String> {
        let commit: Self = unseal(json)?;
        if commit.sequence != sequence {
            return Err(format!("it says that it is commit {}", commit.sequence));
        }
        commit.added.iter().try_for_each(|entry| entry.segment.check())?;
        Ok(commit)
    }
}

impl State {
    /// Packed, as it is kept.
    pub(super) fn pack(&self) -> Result<Vec<u8>, String> {
        let json = seal(self).map_err(|error| error.to_string())?;
        zstd::bulk::compress(&json, 3).map_err(|error| error.to_string())
    }

    /// The state in a packed object.
    pub(super) fn unpack(packed: &[u8]) -> Result<Self, String> {
        let json = zstd::bulk::decompress(packed, unpacked_bytes(packed)?)
            .map_err(|error| format!("it cannot be unpacked: {error}"))?;
        let state: Self = unseal(&json)?;
        for (id, live) in &state.live {
            live.entry.segment.check()?;
            if live.entry.id != *id {
                return Err(format!("segment {id} stands under another id"));
            }
        }
        Ok(state)
    }
}

/// What a frame says of its length, so that no more memory is taken than that.
fn unpacked_bytes(packed: &[u8]) -> Result<usize, String> {
    let bytes = zstd::zstd_safe::get_frame_content_size(packed);
    let bytes = bytes.ok().flatten().and_then(|bytes| usize::try_from(bytes).ok());
    bytes.filter(|bytes| *bytes <= MAX_UNPACKED).ok_or_else(|| "it is no packed checkpoint".to_owned())
}
