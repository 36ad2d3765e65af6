//! Folded stacks: `outermost;…;leaf N` on each line, as Brendan Gregg's stackcollapse programs write them.

use std::io::BufRead;

use rustc_hash::FxHashMap;
use store::model::{FrameKind, NodeId, Period, Profile, ProfileBuilder, RowKey, Series, StringId};

use super::frames::{self, Named, Place};
use super::lines::{Lines, error_at, is_comment, shown};
use super::{ImportError, Options, STATUS_IMPORTED, check_size, labels};

/// What is counted when nobody says.
const EVENT: &str = "samples";
/// How `stackcollapse-perf --all` marks kinds of frames.
const SUFFIXES: [(&str, FrameKind); 3] =
    [("_[k]", FrameKind::Kernel), ("_[i]", FrameKind::Inlined), ("_[j]", FrameKind::Jit)];
/// How our own exports call a process without a name.
const NO_PROCESS: &str = "[none]";

/// Whether a line is a folded stack.
pub(super) fn is_line(line: &str) -> bool {
    split(line).is_some()
}

/// The stack and its count.
fn split(line: &str) -> Option<(&str, u64)> {
    let (stack, count) = line.trim_end().rsplit_once([' ', '\t'])?;
    let stack = stack.trim();
    if stack.is_empty() {
        return None;
    }
    if let Ok(count) = count.parse() {
        return Some((stack, count));
    }
    // Some tools write fractions of milliseconds and the like.
    let digits = count.chars().all(|c| c.is_ascii_digit() || c == '.');
    let count = count.parse::<f64>().ok().filter(|count| digits && *count < u64::MAX as f64)?;
    Some((stack, count.round() as u64))
}

/// Reads a text. The first frame of a stack of several is the process, unless the options name one.
pub(super) fn read(input: impl BufRead, options: &Options) -> Result<Profile, ImportError> {
    let start_ms = options.start_ms.unwrap_or(options.now_ms.saturating_sub(1));
    let mut import = Import {
        options,
        builder: ProfileBuilder::default(),
        series: FxHashMap::default(),
        names_process: options.labels.iter().any(|(name, _)| name == "process"),
        start_ms,
    };
    let mut lines = Lines::new(input, options);
    while let Some(line) = lines.next()? {
        if line.is_empty() || is_comment(&line) {
            continue;
        }
        let Some((stack, count)) = split(&line) else {
            let reason = format!("{} is not a folded stack, which ends in a space and a count", shown(&line));
            return Err(error_at(lines.number, reason));
        };
        import.stack(stack, count);
        check_size(&import.builder, options)?;
    }
    let profile = import.builder.finish(start_ms, start_ms.saturating_add(1));
    if profile.rows.is_empty() {
        return Err(ImportError::Nothing("all its counts are 0".to_owned()));
    }
    Ok(profile)
}

struct Import<'a> {
    options: &'a Options,
    builder: ProfileBuilder,
    /// By process.
    series: FxHashMap<String, store::model::SeriesId>,
    names_process: bool,
    start_ms: i64,
}

impl Import<'_> {
    fn stack(&mut self, stack: &str, count: u64) {
        if count == 0 {
            return;
        }
        let (process, frames) = match stack.split_once(';') {
            Some((process, frames)) if !self.names_process => (process, frames),
            _ => ("", stack),
        };
        let mut node = NodeId::ROOT;
        let mut status = STATUS_IMPORTED;
        for name in frames.split(';') {
            let frame = match frames::reason(name) {
                Some(reason) => {
                    status = reason;
                    frames::mark(&mut self.builder, name)
                }
                None => self.frame(name),
            };
            node = self.builder.child(node, frame);
        }
        let series = self.series_of(if process == NO_PROCESS { "" } else { process });
        let status = self.builder.string(status);
        let key = RowKey { series, node, status, time_ms: self.start_ms, ..RowKey::default() };
        self.builder.add(key, count, i64::try_from(count).unwrap_or(i64::MAX), &[]);
    }

    fn frame(&mut self, name: &str) -> store::model::FrameId {
        let marked = SUFFIXES.iter().find_map(|(suffix, kind)| Some((name.strip_suffix(suffix)?, *kind)));
        let (function, kind) =
            marked.filter(|(name, _)| !name.is_empty()).unwrap_or((name, FrameKind::Native));
        let named = Named { function, ..Named::default() };
        frames::frame(&mut self.builder, kind, &Place::default(), &named)
    }

    fn series_of(&mut self, process: &str) -> store::model::SeriesId {
        if let Some(known) = self.series.get(process) {
            return *known;
        }
        let event = self.options.event.as_deref().unwrap_or(EVENT);
        let own = [("process", process), ("event", event)].map(|(n, v)| (n.to_owned(), v.to_owned()));
        let labels = labels(&mut self.builder, own, self.options);
        let period = Period { every: 0, event: StringId::EMPTY, unit: StringId::EMPTY };
        let unit = self.builder.string("count");
        let series = self.builder.series(Series { labels, unit, period });
        self.series.insert(process.to_owned(), series);
        series
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_in_a_count() {
        assert_eq!(split("a;b c 12"), Some(("a;b c", 12)));
        assert_eq!(split("a;b\t3 "), Some(("a;b", 3)));
        assert_eq!(split("a 1.6"), Some(("a", 2)));
        for bad in ["", "12", " 12", "a;b", "a b", "a -1", "a 1e3", "a nan", "a inf", "a ;"] {
            assert_eq!(split(bad), None, "{bad}");
        }
    }
}
