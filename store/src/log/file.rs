//! The log's file: a header, then records, each with its length and checksum.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use ulid::Ulid;

use super::{LOG_VERSION, MAX_LOG_BYTES};

/// What every log begins with.
const MAGIC: [u8; 8] = *b"vestalog";
/// Magic, version, start of the window, checksum of these.
pub(super) const HEADER_BYTES: usize = 24;
/// Length and checksum of a record's content.
pub(super) const FRAME_BYTES: usize = 8;
const EXTENSION: &str = "log";

/// The header of a window's log.
pub(super) fn header(start_ms: i64) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&LOG_VERSION.to_le_bytes());
    header[12..20].copy_from_slice(&start_ms.to_le_bytes());
    let crc32 = crc32fast::hash(&header[..20]);
    header[20..].copy_from_slice(&crc32.to_le_bytes());
    header
}

/// Starts a record at the end of `out`; [`end_record`] takes what this returns.
pub(super) fn begin_record(out: &mut Vec<u8>) -> usize {
    let at = out.len();
    out.extend([0; FRAME_BYTES]);
    at
}

/// Fills in length and checksum.
pub(super) fn end_record(out: &mut [u8], at: usize) {
    let length = (out.len() - at - FRAME_BYTES) as u32;
    out[at..at + 4].copy_from_slice(&length.to_le_bytes());
    let crc32 = record_sum(length, &out[at + FRAME_BYTES..]);
    out[at + 4..at + FRAME_BYTES].copy_from_slice(&crc32.to_le_bytes());
}

/// The length is part of it: zeros, which a crash leaves behind, are no record.
fn record_sum(length: u32, content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&MAGIC);
    hasher.update(&length.to_le_bytes());
    hasher.update(content);
    hasher.finalize()
}

/// The file of a log.
pub(super) fn path(folder: &Path, id: Ulid) -> PathBuf {
    folder.join(format!("{id}.{EXTENSION}"))
}

/// The logs in a folder, oldest first, and what else lies there. None at all if the folder is missing.
pub(super) fn list(folder: &Path) -> io::Result<(Vec<Ulid>, Vec<PathBuf>)> {
    let (mut ids, mut strays) = (Vec::new(), Vec::new());
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((ids, strays)),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str());
        let id = name.filter(|_| path.extension().is_some_and(|extension| extension == EXTENSION));
        match id.and_then(|id| Ulid::from_string(id).ok()) {
            Some(id) => ids.push(id),
            None => strays.push(path),
        }
    }
    ids.sort_unstable();
    Ok((ids, strays))
}

/// Why there is nothing to read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HeaderError {
    /// The writer did not get to its end.
    Torn,
    /// Of another version.
    Version(u32),
    Damaged,
}

/// The start of the window.
fn read_header(bytes: &[u8]) -> Result<i64, HeaderError> {
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else { return Err(HeaderError::Torn) };
    if header.iter().all(|byte| *byte == 0) {
        return Err(HeaderError::Torn);
    }
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if header[..8] != MAGIC || word(20) != crc32fast::hash(&header[..20]) {
        return Err(HeaderError::Damaged);
    }
    if word(8) != LOG_VERSION {
        return Err(HeaderError::Version(word(8)));
    }
    let mut start = [0; 8];
    start.copy_from_slice(&header[12..20]);
    Ok(i64::from_le_bytes(start))
}

/// Whether a later version of Vesta wrote a log.
pub(crate) fn is_of_later_version(path: &Path) -> bool {
    let mut header = [0; HEADER_BYTES];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut header));
    read.is_ok()
        && matches!(read_header(&header), Err(HeaderError::Version(version)) if version > LOG_VERSION)
}

/// What follows the last whole record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// Nothing.
    Clean,
    /// A record that the writer did not get to its end, or is about to.
    Torn,
    /// Something else: the file has been changed.
    Damaged,
}

/// A log that is read from where it was last read to.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    /// End of the last whole record.
    end: u64,
    length: u64,
}

impl LogFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, end: 0, length: 0 }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it has grown since it was last read, or been cut.
    pub(super) fn has_changed(&self) -> io::Result<bool> {
        Ok(self.length != std::fs::metadata(&self.path)?.len())
    }

    /// Gives the start of the window, if it was not read before, to `start`, and the content of each new record to
    /// `take`, which may refuse it with a reason.
    pub(super) fn read(
        &mut self,
        start: impl FnOnce(i64),
        mut take: impl FnMut(&[u8]) -> Result<(), String>,
    ) -> io::Result<Result<Tail, ReadError>> {
        let mut file = File::open(&self.path)?;
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(self.end))?;
        file.take(MAX_LOG_BYTES.saturating_sub(self.end)).read_to_end(&mut bytes)?;
        self.length = self.end + bytes.len() as u64;
        let mut rest = &bytes[..];
        if self.end == 0 {
            match read_header(rest) {
                Ok(start_ms) => start(start_ms),
                Err(error) => return Ok(Err(ReadError::Header(error))),
            }
            rest = &rest[HEADER_BYTES..];
            self.end = HEADER_BYTES as u64;
        }
        loop {
            let (content, after) = match next_record(rest) {
                Ok(record) => record,
                Err(tail) => return Ok(Ok(tail)),
            };
            if let Err(reason) = take(content) {
                return Ok(Err(ReadError::Record(reason)));
            }
            self.end += (rest.len() - after.len()) as u64;
            rest = after;
        }
    }
}

/// Why a log cannot be read, or not to its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReadError {
    Header(HeaderError),
    /// A record that is whole says what cannot be.
    Record(String),
}

/// The content of the next record, and what follows it.
fn next_record(bytes: &[u8]) -> Result<(&[u8], &[u8]), Tail> {
    if bytes.is_empty() {
        return Err(Tail::Clean);
    }
    let Some((frame, rest)) = bytes.split_first_chunk::<FRAME_BYTES>() else { return Err(Tail::Torn) };
    let length = u32::from_le_bytes([frame[0], frame[1], frame[2], frame[3]]);
    let crc32 = u32::from_le_bytes([frame[4], frame[5], frame[6], frame[7]]);
    let after = match rest.split_at_checked(length as usize) {
        Some((content, after)) if record_sum(length, content) == crc32 => return Ok((content, after)),
        Some((_, after)) => after,
        None => &[],
    };
    // The last record may be there in parts: blocks that did not reach the disk before a power cut are zeros.
    let is_last = after.is_empty() || bytes.iter().all(|byte| *byte == 0);
    // A writer adds nothing to a record that it did not get to its end: what is followed by a whole one was changed.
    Err(if is_last && !holds_record(&bytes[1..]) { Tail::Torn } else { Tail::Damaged })
}

/// Bytes that are summed up while looking for a record: there are few places that can be one by their length.
const MAX_SUMMED: usize = 64 << 20;

/// Whether a whole record stands somewhere in these bytes. The empty one is none: a few bytes can look like it.
fn holds_record(bytes: &[u8]) -> bool {
    let mut summed = 0;
    bytes.windows(FRAME_BYTES).enumerate().any(|(at, frame)| {
        let length = u32::from_le_bytes([frame[0], frame[1], frame[2], frame[3]]);
        let crc32 = u32::from_le_bytes([frame[4], frame[5], frame[6], frame[7]]);
        let content = bytes.get(at + FRAME_BYTES..).and_then(|rest| rest.get(..length as usize));
        content.is_some_and(|content| {
            summed += content.len();
            length > 0 && summed <= MAX_SUMMED && record_sum(length, content) == crc32
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_of(records: &[&[u8]]) -> Vec<u8> {
        let mut bytes = header(7).to_vec();
        for record in records {
            let at = begin_record(&mut bytes);
            bytes.extend_from_slice(record);
            end_record(&mut bytes, at);
        }
        bytes
    }

    fn read(bytes: &[u8]) -> (Vec<Vec<u8>>, Result<Tail, ReadError>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        std::fs::write(&path, bytes).unwrap();
        let mut records = Vec::new();
        let found = LogFile::new(path).read(
            |start| assert_eq!(start, 7),
            |record| {
                records.push(record.to_vec());
                Ok(())
            },
        );
        (records, found.unwrap())
    }

    #[test]
    fn wherever_a_log_is_cut_the_whole_records_before_are_read() {
        let records = [&b"one"[..], b"", b"three"];
        let bytes = log_of(&records);
        let ends = [24, 35, 43, 56];
        for cut in 0..=bytes.len() {
            let (found, tail) = read(&bytes[..cut]);
            let whole = ends.iter().filter(|end| **end <= cut).count();
            assert_eq!(found.len(), whole.saturating_sub(1), "cut at {cut}");
            match (whole, ends.contains(&cut)) {
                (0, _) => assert_eq!(tail, Err(ReadError::Header(HeaderError::Torn))),
                (_, true) => assert_eq!(tail, Ok(Tail::Clean)),
                (_, false) => assert_eq!(tail, Ok(Tail::Torn)),
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_noticed_wherever_it_is() {
        let bytes = log_of(&[b"one", b"two", b"six"]);
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 4;
            let (found, tail) = read(&flipped);
            match at {
                ..24 => assert_eq!(tail, Err(ReadError::Header(HeaderError::Damaged)), "{at}"),
                _ => assert_eq!(found.len(), (at - 24) / 11, "{at}: {tail:?}"),
            }
            // Of the last record nobody can say whether its writer got to its end.
            let expected = if at < 46 { Ok(Tail::Damaged) } else { Ok(Tail::Torn) };
            assert!(at < 24 || tail == expected, "{at}: {tail:?}");
        }
    }

    #[test]
    fn zeros_after_a_power_cut_are_no_records_and_no_damage() {
        let mut bytes = log_of(&[b"one"]);
        bytes.extend([0; 4096]);
        assert_eq!(read(&bytes), (vec![b"one".to_vec()], Ok(Tail::Torn)));
        assert_eq!(read(&[0; 100]).1, Err(ReadError::Header(HeaderError::Torn)));
    }

    #[test]
    fn a_later_version_is_not_taken_for_damage() {
        let mut bytes = header(7);
        bytes[8] = 9;
        let crc32 = crc32fast::hash(&bytes[..20]).to_le_bytes();
        bytes[20..].copy_from_slice(&crc32);
        assert_eq!(read(&bytes).1, Err(ReadError::Header(HeaderError::Version(9))));
    }
}
