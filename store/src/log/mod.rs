//! The log: what was sampled is on disk a second later, long before its window is a segment.
//!
//! A file for each open window, `log/ID.log`, to which each call of [`WindowLog::append`] adds one record with what is
//! new: strings, frames and stacks not seen before, and the rows that were counted. The segment that is made of the
//! window names the log among those it replaces, and from the moment it is there the log counts no more; then it is
//! deleted. A crash at any point leaves the log, or the log and the segment, or the segment alone: each gives the same
//! answers. Readers in this process and in others read logs as they read segments, without a lock.
//!
//! docs/formats.md describes the file.

mod file;
mod part;
mod readers;
mod settle;
mod window;

pub(crate) use file::is_of_later_version;
pub(crate) use readers::Readers;
pub use settle::Settled;
pub(crate) use window::OpenLogs;
pub use window::WindowLog;

/// The version of the log's format that this version writes and reads.
pub const LOG_VERSION: u32 = 1;

/// Bytes of the log of one window. A window of a million samples takes some 15 MB.
const MAX_LOG_BYTES: u64 = 256 << 20;
/// Logs that wait to become segments: that many windows the disk may be behind before no new one is begun.
const MAX_LOGS: usize = 64;
