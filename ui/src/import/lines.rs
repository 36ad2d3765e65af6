//! Text line by line, with numbers for errors and a limit for hostile files.

use std::borrow::Cow;
use std::io::{BufRead, Read};

use super::{ImportError, Options, within};

/// A line: names of C++ templates can be a hundred kilobytes.
pub(super) const LINE_BYTES_MAX: u64 = 4 << 20;

/// The lines of a text.
pub(super) struct Lines<'a, R> {
    input: R,
    options: &'a Options,
    line: Vec<u8>,
    /// Number of the last line, from 1.
    pub(super) number: u64,
}

impl<'a, R: BufRead> Lines<'a, R> {
    pub(super) fn new(input: R, options: &'a Options) -> Self {
        Self { input, options, line: Vec::new(), number: 0 }
    }

    /// The next line without its end; bytes that are no UTF-8 are replaced. None at the end.
    pub(super) fn next(&mut self) -> Result<Option<Cow<'_, str>>, ImportError> {
        self.line.clear();
        self.number += 1;
        let mut bounded = self.input.by_ref().take(LINE_BYTES_MAX);
        let read = bounded.read_until(b'\n', &mut self.line).map_err(|error| within(error, self.options))?;
        if read as u64 == LINE_BYTES_MAX && self.line.last() != Some(&b'\n') {
            return Err(error_at(self.number, format!("longer than {} MiB", LINE_BYTES_MAX >> 20)));
        }
        Ok((read > 0).then(|| String::from_utf8_lossy(self.line.trim_ascii_end())))
    }
}

/// Whether a line says nothing. A `#` may begin a name, too.
pub(super) fn is_comment(line: &str) -> bool {
    line.starts_with("# ") || line.trim_end() == "#"
}

/// An error in a line.
pub(super) fn error_at(line: u64, reason: impl Into<String>) -> ImportError {
    ImportError::Line { line, reason: reason.into() }
}

/// A line as an error shows it: its beginning, printable.
pub(super) fn shown(line: &str) -> String {
    let start: String = crate::render::printable(line.trim()).chars().take(60).collect();
    if start.len() < line.trim().len() { format!("`{start}…`") } else { format!("`{start}`") }
}
