//! Profiles of other tools: pprof, folded stacks, and the text of `perf script`, read into the model.
//!
//! What a file is shows in its content. Files are hostile: what is wrong with one is an error that says where,
//! and what it can make us keep in memory is bounded ([`Limits`]).

mod folded;
mod frames;
mod lines;
mod one_event;
mod perf_line;
mod perf_script;
mod pprof;
mod pprof_frames;
mod pprof_tables;
mod pprof_types;
mod wire;

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod round_trip_tests;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Cursor, Read};

use flate2::read::MultiGzDecoder;
use store::model::{Profile, ProfileBuilder, SeriesId, StringId};

pub(crate) use frames::{INTERPRETED, JIT};
pub use one_event::OneEvent;

/// The status of stacks that another tool took: whether they are whole is not known.
pub const STATUS_IMPORTED: &str = "imported";

/// A pprof file, unpacked: it is held as a whole. A day of a large machine takes a tenth of it.
const PPROF_BYTES_MAX: u64 = 512 << 20;
/// All samples, or all values, together: what data directories hold, too.
const SUM_MAX: u64 = 1 << 60;
/// How much of a file is looked at to tell text from bytes.
const HEAD_BYTES: usize = 8 << 10;
/// How much of it to tell one text from another: deep stacks have long lines, and the first one tells.
const TEXT_HEAD_BYTES: u64 = lines::LINE_BYTES_MAX;

/// What to say of a file beside what it says itself.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Labels of all samples; they win over the file's own.
    pub labels: Vec<(String, String)>,
    /// When the profile starts, Unix milliseconds. None: as the file says, or else so that it ends now.
    pub start_ms: Option<i64>,
    /// Folded stacks: what was counted. Other formats: only samples of this event are taken.
    pub event: Option<String>,
    /// Unix milliseconds.
    pub now_ms: i64,
    /// What a file may cost.
    pub limits: Limits,
}

/// What a file may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the file, unpacked.
    pub file_bytes: u64,
    /// Bytes of memory that the profile may take, roughly.
    pub memory_bytes: usize,
}

impl Default for Limits {
    /// An hour of `perf script` of eight busy CPUs; a million stacks.
    fn default() -> Self {
        Self { file_bytes: 8 << 30, memory_bytes: 1 << 30 }
    }
}

/// A file that cannot be imported. The message does not name the file, which is not known here.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It cannot be read, or unpacked.
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
    /// It is none of the formats.
    #[error("{0}; what can be read is pprof, folded stacks and the text of `perf script`")]
    Unknown(&'static str),
    /// A line of text is wrong.
    #[error("line {line}: {reason}")]
    Line {
        /// Counted from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The pprof message is wrong.
    #[error("not a valid pprof file: {0}")]
    Pprof(String),
    /// It has no samples, or none of the event that was asked for.
    #[error("{0}")]
    Nothing(String),
    /// It exceeds a limit.
    #[error("it is too large: {0}")]
    TooLarge(String),
}

/// What a file holds.
#[derive(Clone, Debug)]
pub struct Imported {
    /// All of it.
    pub profile: Profile,
    /// The event that its writer means to be seen first; none where the file does not say.
    pub main_event: Option<String>,
}

/// Reads a profile in any of the formats, packed by gzip or not.
///
/// # Errors
/// [`ImportError`]; nothing of a file that is wrong in one place is taken.
pub fn read(input: impl Read, options: &Options) -> Result<Profile, ImportError> {
    read_file(input, options).map(|imported| imported.profile)
}

/// The same, with what the file says of its events.
///
/// # Errors
/// As [`read`].
pub fn read_file(input: impl Read, options: &Options) -> Result<Imported, ImportError> {
    let limit = options.limits.file_bytes;
    let (head, rest) = peek(input)?;
    let imported = if head.starts_with(&[0x1f, 0x8b]) {
        let (head, rest) = peek(MultiGzDecoder::new(BufReader::new(rest)))?;
        unpacked(&head, Bounded { inner: BufReader::new(rest), left: limit }, options)?
    } else {
        unpacked(&head, Bounded { inner: BufReader::new(rest), left: limit }, options)?
    };
    check_sums(&imported.profile)?;
    Ok(imported)
}

/// Refuses numbers that cannot be added up.
fn check_sums(profile: &Profile) -> Result<(), ImportError> {
    let (mut samples, mut values) = (0u64, 0u64);
    for row in &profile.rows {
        samples = samples.saturating_add(row.samples);
        values = values.saturating_add(row.value.unsigned_abs());
    }
    if samples.max(values) <= SUM_MAX {
        return Ok(());
    }
    Err(ImportError::TooLarge(format!(
        "{samples} samples of together {values}, at most {SUM_MAX} are allowed"
    )))
}

/// The events of a profile: what its series count.
pub fn events(profile: &Profile) -> BTreeSet<String> {
    let series = (0..profile.series.len() as u32).map(SeriesId);
    series.filter_map(|series| profile.label(series, "event")).map(str::to_owned).collect()
}

/// Whether selectors can ask for a label of this name.
pub fn is_label_name(name: &str) -> bool {
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts_well && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

/// The first bytes, and a reader of all of them.
fn peek<R: Read>(mut input: R) -> io::Result<(Vec<u8>, impl Read)> {
    let mut head = Vec::new();
    input.by_ref().take(TEXT_HEAD_BYTES).read_to_end(&mut head)?;
    Ok((head.clone(), Cursor::new(head).chain(input)))
}

fn unpacked(head: &[u8], input: impl BufRead, options: &Options) -> Result<Imported, ImportError> {
    let profile = match format_of(head)? {
        Source::Pprof => {
            let mut bytes = Vec::new();
            let mut bounded = input.take(PPROF_BYTES_MAX + 1);
            bounded.read_to_end(&mut bytes).map_err(|error| within(error, options))?;
            if bytes.len() as u64 > PPROF_BYTES_MAX {
                let limit = PPROF_BYTES_MAX >> 20;
                return Err(ImportError::TooLarge(format!(
                    "a pprof file of more than {limit} MiB, unpacked"
                )));
            }
            return pprof::read(&bytes, options);
        }
        Source::Folded => folded::read(input, options)?,
        Source::PerfScript => perf_script::read(input, options)?,
    };
    Ok(Imported { profile, main_event: None })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Pprof,
    Folded,
    PerfScript,
}

/// What begins like this.
fn format_of(head: &[u8]) -> Result<Source, ImportError> {
    for (magic, what) in [
        (&b"PERFILE2"[..], "it is perf's own data: `perf script -i FILE` makes text of it"),
        (b"2ELIFREP", "it is perf's own data: `perf script -i FILE` makes text of it"),
        (b"\x7fELF", "it is a program or a library"),
        (b"PAR1", "it is a Parquet file: `vesta query` reads data directories"),
    ] {
        if head.starts_with(magic) {
            return Err(ImportError::Unknown(what));
        }
    }
    if head.trim_ascii().is_empty() {
        return Err(ImportError::Nothing("it is empty".to_owned()));
    }
    // Every message of pprof has such bytes in its first fields; text has none.
    if head.iter().take(HEAD_BYTES).any(|byte| *byte < b'\t' || (0x0e..0x1b).contains(byte)) {
        return Ok(Source::Pprof);
    }
    let text = String::from_utf8_lossy(head);
    let says_nothing =
        |line: &str| line.trim().is_empty() || lines::is_comment(line) && !perf_line::is_head(line);
    match text.lines().find(|line| !says_nothing(line)) {
        Some(line) if perf_line::is_head(line) => Ok(Source::PerfScript),
        Some(line) if folded::is_line(line) => Ok(Source::Folded),
        Some(line) if line.trim_start().starts_with('<') => Err(ImportError::Unknown("it is XML, as an SVG")),
        Some(line) if line.trim_start().starts_with(['{', '[']) => Err(ImportError::Unknown("it is JSON")),
        _ => Err(ImportError::Unknown("its text is neither folded stacks nor samples of `perf script`")),
    }
}

/// A reader that fails beyond a limit, so that what a small packed file becomes is bounded.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: BufRead> Read for Bounded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let n = bytes.len().min(into.len());
        into[..n].copy_from_slice(&bytes[..n]);
        self.consume(n);
        Ok(n)
    }
}

impl<R: BufRead> BufRead for Bounded<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let bytes = self.inner.fill_buf()?;
        if bytes.len() as u64 > self.left {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        Ok(bytes)
    }

    fn consume(&mut self, n: usize) {
        self.left = self.left.saturating_sub(n as u64);
        self.inner.consume(n);
    }
}

/// An error of [`Bounded`], or another one.
fn within(error: io::Error, options: &Options) -> ImportError {
    match error.kind() {
        io::ErrorKind::FileTooLarge => {
            let limit = options.limits.file_bytes >> 20;
            ImportError::TooLarge(format!("more than {limit} MiB, unpacked"))
        }
        _ => ImportError::Read(error),
    }
}

/// Fails when what is built has become too large.
fn check_size(builder: &ProfileBuilder, options: &Options) -> Result<(), ImportError> {
    let limit = options.limits.memory_bytes;
    if builder.bytes() <= limit as u64 {
        return Ok(());
    }
    Err(ImportError::TooLarge(format!("its profile takes more than {} MiB of memory", limit >> 20)))
}

/// Labels of a series: the file's own, but for those that the options set.
fn labels(
    builder: &mut ProfileBuilder,
    own: impl IntoIterator<Item = (String, String)>,
    options: &Options,
) -> Vec<(StringId, StringId)> {
    let set = |name: &str| options.labels.iter().any(|(known, _)| known == name);
    let own = own.into_iter().filter(|(name, value)| !value.is_empty() && !set(name));
    let all = own.chain(options.labels.iter().cloned());
    all.map(|(name, value)| (builder.string(&name), builder.string(&value))).collect()
}
