//! A profile as a segment: a folder of Parquet files, written once and never changed.
//!
//! docs/formats.md describes every file and column.

mod columns;
mod decode;
mod encode;
mod file;
mod folder;
mod functions;
mod hybrid;
mod manifest;
mod merge;
mod order;
mod repeated;
mod rollup;
mod rows;
mod same;
mod samples;
mod scan;
mod slot;
mod source;
mod statistics;
mod table_writer;
mod verify;
mod writer;

#[cfg(feature = "sql")]
pub(crate) use columns::schema as schema_of;
#[cfg(feature = "sql")]
pub(crate) use encode::{SampleColumns, encode};
pub(crate) use folder::{
    CopyError, LoadError, copy, is_of_later_version, load_all_but_samples, load_frames, load_rollup,
    load_series, open_samples, read_manifest, sync_folder, write_file,
};
pub(crate) use manifest::FILE_NAME as MANIFEST;
#[cfg(feature = "object-store")]
pub(crate) use manifest::FileSum;
pub(crate) use manifest::Manifest;
pub use manifest::SegmentInfo;
pub(crate) use merge::{MergeError, merge, merge_naming};
pub(crate) use rollup::STEPS as ROLLUPS;
pub(crate) use samples::{Page, Part, SamplesFile, rows_of};
pub(crate) use scan::scan;
pub(crate) use verify::verify;
pub(crate) use writer::{Target, write};

/// The version of the schema this version writes.
pub const SCHEMA_VERSION: u32 = 3;
/// The versions this version reads.
pub const KNOWN_VERSIONS: [u32; 3] = [1, 2, 3];

/// Length of a chunk: rows of a stack are stored together for this long, then the next stack follows.
pub const CHUNK_MS: i64 = 300_000;
/// The same once exact times are gone: what is old is asked for in hours.
const COARSE_CHUNK_MS: i64 = 3_600_000;
/// Times in a chunk are numbers of so many bits at most, or rather what fits into a byte: zstd finds nothing in numbers
/// that do not end where bytes end. With buckets of ten seconds an hour has 360.
const MAX_TIMES_IN_CHUNK: i64 = 256;
/// Coarsest time buckets.
pub(crate) const MAX_RESOLUTION_MS: i64 = 86_400_000;
/// Segments of this level and above, an hour or more, have rollups.
const ROLLUP_LEVEL: u8 = 2;

/// Length of a chunk in a segment of this resolution, as it is written now. Longer ones are whole numbers of shorter ones.
fn chunk_ms(resolution_ms: i64) -> i64 {
    if resolution_ms == 0 {
        return CHUNK_MS;
    }
    let half_ms = COARSE_CHUNK_MS / 2;
    let is_fine = COARSE_CHUNK_MS / resolution_ms > MAX_TIMES_IN_CHUNK && half_ms % resolution_ms == 0;
    if is_fine { half_ms } else { COARSE_CHUNK_MS.max(resolution_ms) }
}

/// The same in a segment of an earlier version.
fn chunk_ms_of(version: u32, resolution_ms: i64) -> i64 {
    if version < 3 && resolution_ms > 0 {
        COARSE_CHUNK_MS.max(resolution_ms)
    } else {
        chunk_ms(resolution_ms)
    }
}

/// Rows of a table that is held in memory: stacks, frames, series and all others but samples and rollups.
pub(crate) const MAX_ROWS: usize = 8 << 20;
/// Rows of samples, or of a rollup. They are read some thousand at a time: a day of 20 hosts at 100 samples a second each
/// has 173 Mi.
const MAX_SAMPLE_ROWS: usize = 1 << 30;
/// Exact times of rows that are decoded at once (4 bytes each in memory).
pub(crate) const MAX_EXACT: usize = 64 << 20;
/// Bytes of a file that is read as a whole.
pub(crate) const MAX_FILE_BYTES: u64 = 256 << 20;
/// Bytes of a file of samples, or of a rollup.
pub(crate) const MAX_SAMPLES_BYTES: u64 = 4 << 30;
/// Sum of samples, and of values (36 years in nanoseconds), of one segment: sums over segments cannot overflow.
pub(crate) const MAX_SUM: i64 = 1 << 60;

/// The tables of a segment; each is one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Table {
    Samples,
    Series,
    Stacks,
    Frames,
    Binaries,
    Accounts,
    /// In segments of an hour and more only.
    Rollup5m,
    Rollup1h,
    Rollup1d,
    Functions,
}

impl Table {
    /// The tables that every segment has.
    pub(crate) const ALL: [Self; 6] =
        [Self::Samples, Self::Series, Self::Stacks, Self::Frames, Self::Binaries, Self::Accounts];

    /// All that a segment can have.
    pub(crate) const EVERY: [Self; 10] = [
        Self::Samples,
        Self::Series,
        Self::Stacks,
        Self::Frames,
        Self::Binaries,
        Self::Accounts,
        Self::Rollup5m,
        Self::Rollup1h,
        Self::Rollup1d,
        Self::Functions,
    ];

    pub(crate) const ALL_BUT_SAMPLES: [Self; 5] =
        [Self::Series, Self::Stacks, Self::Frames, Self::Binaries, Self::Accounts];

    /// Whether it has rows of samples, or of a rollup: it can be larger than memory.
    pub(crate) fn is_long(self) -> bool {
        matches!(self, Self::Samples | Self::Rollup5m | Self::Rollup1h | Self::Rollup1d)
    }

    /// The most rows it may have.
    pub(crate) fn max_rows(self) -> usize {
        if self.is_long() { MAX_SAMPLE_ROWS } else { MAX_ROWS }
    }

    /// The most bytes its file may have.
    pub(crate) fn max_bytes(self) -> u64 {
        if self.is_long() { MAX_SAMPLES_BYTES } else { MAX_FILE_BYTES }
    }

    pub(crate) fn file_name(self) -> &'static str {
        match self {
            Self::Samples => "samples.parquet",
            Self::Series => "series.parquet",
            Self::Stacks => "stacks.parquet",
            Self::Frames => "frames.parquet",
            Self::Binaries => "binaries.parquet",
            Self::Accounts => "accounts.parquet",
            Self::Rollup5m => "rollup_5m.parquet",
            Self::Rollup1h => "rollup_1h.parquet",
            Self::Rollup1d => "rollup_1d.parquet",
            Self::Functions => "func_5m.parquet",
        }
    }
}

/// Labels of series that are columns of their own; all others are in the map `labels`.
pub(crate) const PROMOTED: [&str; 5] = ["event", "host", "process", "exe", "cgroup"];
