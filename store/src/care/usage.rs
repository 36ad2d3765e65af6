//! What takes the room.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::handle::Store;
use crate::query::TimeRange;
use crate::segment::LoadError;

/// The segments of one day that have the same level and resolution.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// UTC day, as 2026-01-31.
    pub day: String,
    /// 0 as the agent wrote them; 1, 2 and 3 merged to five minutes, an hour and a day.
    pub level: u8,
    /// Length of their time buckets in milliseconds; 0 where times are as the agent wrote them.
    pub resolution_ms: i64,
    /// How many.
    pub segments: usize,
    /// Rows of samples.
    pub rows: u64,
    /// Samples.
    pub samples: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Bytes of each file, by its name; manifests are not among them.
    pub files: BTreeMap<String, u64>,
}

impl Store {
    /// What the segments take on disk, by day, level and resolution. Segments that cannot be read are left out.
    ///
    /// # Errors
    /// When the data directory cannot be listed.
    pub fn usage(&self) -> Result<Vec<Usage>> {
        let mut all: BTreeMap<(String, u8, i64), Usage> = BTreeMap::new();
        for segment in self.snapshot(TimeRange::ALL)?.segments {
            let day = segment.path.parent().and_then(|day| day.file_name()).unwrap_or_default();
            let day = day.to_string_lossy().trim_start_matches("date=").to_owned();
            let samples = match &segment.manifest.statistics {
                Some(statistics) => statistics.samples,
                // Version 1 did not say.
                None => {
                    let mut samples = 0;
                    let counted = self.scan(&segment, &TimeRange::ALL.as_range(), |rows| {
                        samples += rows.samples();
                        Ok::<_, LoadError>(())
                    });
                    if counted.is_err() {
                        continue;
                    }
                    samples
                }
            };
            let (level, resolution_ms) = (segment.level(), segment.resolution_ms());
            let usage = all.entry((day.clone(), level, resolution_ms)).or_insert_with(|| Usage {
                day,
                level,
                resolution_ms,
                ..Usage::default()
            });
            usage.segments += 1;
            usage.rows += segment.rows();
            usage.samples += samples;
            usage.bytes += segment.bytes();
            for (name, sum) in &segment.manifest.files {
                *usage.files.entry(name.clone()).or_default() += sum.bytes;
            }
        }
        Ok(all.into_values().collect())
    }
}
