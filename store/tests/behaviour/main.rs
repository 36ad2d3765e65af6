//! What the store promises, checked through its public interface.

mod annotations;
mod basics;
mod care;
mod common;
mod compaction;
mod concurrent;
mod counters;
mod crash;
mod full_disk;
mod golden;
mod hostile;
mod kills;
mod late_names;
mod levels;
mod links;
mod logs;
#[cfg(feature = "object-store")]
mod object_storage;
mod offsets;
mod other_readers;
mod pins;
mod queries;
mod rollups;
#[cfg(feature = "sql")]
mod sql;
mod sql_limits;
mod twice;
