//! The content of a record: what is new in a window. Numbers are LEB128, those with a sign zigzag-encoded first.

use crate::model::{
    Binary, BinaryId, Entry, Exact, Frame, FrameId, FrameKind, NodeId, Period, ProfileBuilder, RowKey,
    Series, SeriesId, StringId, Unwound,
};
use crate::segment::MAX_ROWS;

/// How much of a window's tables is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// The empty string is in every table, and in no log.
    strings: usize,
    binaries: usize,
    frames: usize,
    nodes: usize,
    series: usize,
}

/// Writes what is new since `marks`; returns the marks for the next time. None if nothing is new.
pub(super) fn encode(window: &ProfileBuilder, marks: Marks, end_ms: i64, out: &mut Vec<u8>) -> Option<Marks> {
    let journal = window.journal()?;
    if journal.is_empty() {
        return None;
    }
    let tables = window.tables();
    let known = Marks { strings: marks.strings.max(1), ..marks };
    let mut out = Out(out);
    out.signed(end_ms);
    out.size(tables.strings.len() - known.strings);
    for text in tables.strings.iter().skip(known.strings) {
        out.size(text.len());
        out.0.extend_from_slice(text.as_bytes());
    }
    out.each(&tables.binaries[known.binaries..], |out, binary| {
        out.string(binary.path);
        out.string(binary.build_id);
    });
    out.each(&tables.frames[known.frames..], Out::frame);
    out.size(tables.nodes.len() - known.nodes);
    for (i, (parent, frame)) in tables.nodes.iter().enumerate().skip(known.nodes) {
        out.number(i as u64 + 1 - u64::from(parent.0));
        out.number(u64::from(frame.0));
    }
    out.each(&tables.series[known.series..], Out::series);
    let mut exact = &journal.exact[..];
    out.size(journal.entries.len());
    for entry in &journal.entries {
        let (own, rest) = exact.split_at_checked(entry.times as usize).unwrap_or((exact, &[]));
        exact = rest;
        let every = tables.series.get(entry.key.series.0 as usize).map_or(0, |series| series.period.every);
        out.entry(entry, own, every, end_ms);
    }
    out.each(&journal.accounts, |out, account| {
        out.signed(account.time_ms.wrapping_sub(end_ms));
        out.string(account.host);
        out.string(account.counter);
        out.number(account.value);
    });
    Some(Marks {
        strings: tables.strings.len(),
        binaries: tables.binaries.len(),
        frames: tables.frames.len(),
        nodes: tables.nodes.len(),
        series: tables.series.len(),
    })
}

struct Out<'a>(&'a mut Vec<u8>);

impl Out<'_> {
    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn signed(&mut self, value: i64) {
        self.number(((value << 1) ^ (value >> 63)).cast_unsigned());
    }

    fn size(&mut self, value: usize) {
        self.number(value as u64);
    }

    fn string(&mut self, id: StringId) {
        self.number(u64::from(id.0));
    }

    fn each<T>(&mut self, items: &[T], write: impl Fn(&mut Self, &T)) {
        self.size(items.len());
        for item in items {
            write(self, item);
        }
    }

    fn frame(&mut self, frame: &Frame) {
        let place = |found: Option<usize>| found.unwrap_or(usize::MAX);
        self.size(place(FrameKind::ALL.iter().position(|kind| *kind == frame.kind)));
        self.size(place(Unwound::ALL.iter().position(|way| *way == frame.unwound)));
        self.string(frame.function);
        self.string(frame.system_name);
        self.string(frame.file);
        self.number(u64::from(frame.line));
        self.number(frame.binary.map_or(0, |binary| u64::from(binary.0) + 1));
        self.number(frame.address);
    }

    fn series(&mut self, series: &Series) {
        self.each(&series.labels, |out, (name, value)| {
            out.string(*name);
            out.string(*value);
        });
        self.string(series.unit);
        self.signed(series.period.every);
        self.string(series.period.event);
        self.string(series.period.unit);
    }

    /// The value is mostly that of its samples' periods, and a thread's id near its process's.
    fn entry(&mut self, entry: &Entry, exact: &[Exact], every: i64, end_ms: i64) {
        let key = entry.key;
        self.number(u64::from(key.series.0));
        self.number(u64::from(key.node.0));
        self.number(u64::from(key.pid));
        self.signed(i64::from(key.tid) - i64::from(key.pid));
        self.string(key.thread);
        self.string(key.status);
        self.signed(key.time_ms.wrapping_sub(end_ms));
        self.number(entry.samples);
        self.signed(entry.value.wrapping_sub(every.wrapping_mul(entry.samples.cast_signed())));
        self.size(exact.len());
        for time in exact {
            self.number(u64::from(time.offset_ms));
            self.number(u64::from(time.cpu));
        }
    }
}

/// Adds a record's content to the window that the records before it made. Returns the end of the window.
pub(super) fn decode(content: &[u8], window: &mut ProfileBuilder) -> Result<i64, String> {
    let mut input = In(content);
    let end_ms = input.signed()?;
    for _ in 0..input.count()? {
        let length = input.size()?;
        let (text, rest) = input.0.split_at_checked(length).ok_or("a text goes beyond its end")?;
        input.0 = rest;
        let text = std::str::from_utf8(text).map_err(|error| format!("a text is not UTF-8: {error}"))?;
        let next = window.tables().strings.len();
        if window.string(text).0 as usize != next {
            return Err(format!("the text `{}` comes twice", text.escape_debug()));
        }
        limit(next, "texts")?;
    }
    for _ in 0..input.count()? {
        let binary = Binary { path: input.string(window)?, build_id: input.string(window)? };
        let next = window.tables().binaries.len();
        new(window.binary(binary).0, next, "binaries")?;
    }
    for _ in 0..input.count()? {
        let frame = input.frame(window)?;
        let next = window.tables().frames.len();
        new(window.frame(frame).0, next, "frames")?;
    }
    for _ in 0..input.count()? {
        let next = window.tables().nodes.len() + 1;
        let back = input.size()?;
        let parent = next.checked_sub(back).filter(|_| back > 0).ok_or("a stack's caller is not there")?;
        let frame = FrameId(input.id(window.tables().frames.len(), "frame")?);
        new(window.child(NodeId(parent as u32), frame).0, next, "stacks")?;
    }
    for _ in 0..input.count()? {
        let series = input.series(window)?;
        let next = window.tables().series.len();
        new(window.series(series).0, next, "series")?;
    }
    for _ in 0..input.count()? {
        input.entry(window, end_ms)?;
    }
    for _ in 0..input.count()? {
        let time_ms = end_ms.wrapping_add(input.signed()?);
        let (host, counter) = (input.string(window)?, input.string(window)?);
        window.account(time_ms, host, counter, input.number()?);
    }
    if input.0.is_empty() { Ok(end_ms) } else { Err("something follows its end".to_owned()) }
}

fn limit(count: usize, what: &str) -> Result<(), String> {
    if count < MAX_ROWS { Ok(()) } else { Err(format!("more than {MAX_ROWS} {what}")) }
}

/// What was written once, and comes in order, has the next id.
fn new(id: u32, expected: usize, what: &str) -> Result<(), String> {
    if id as usize != expected {
        return Err(format!("number {expected} of its {what} comes twice"));
    }
    limit(expected, what)
}

struct In<'a>(&'a [u8]);

impl In<'_> {
    fn number(&mut self) -> Result<u64, String> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or("it ends within a number")?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number is too large".to_owned())
    }

    fn signed(&mut self) -> Result<i64, String> {
        let value = self.number()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    fn size(&mut self) -> Result<usize, String> {
        usize::try_from(self.number()?).map_err(|_| "a number is too large".to_owned())
    }

    /// How many follow; each takes a byte at least.
    fn count(&mut self) -> Result<usize, String> {
        let count = self.size()?;
        if count <= self.0.len() { Ok(count) } else { Err("it has more items than bytes".to_owned()) }
    }

    fn small<T: TryFrom<u64>>(&mut self, what: &str) -> Result<T, String> {
        let value = self.number()?;
        T::try_from(value).map_err(|_| format!("{what} {value} is out of range"))
    }

    fn id(&mut self, known: usize, what: &str) -> Result<u32, String> {
        let id = self.small::<u32>(what)?;
        if (id as usize) < known {
            Ok(id)
        } else {
            Err(format!("{what} {id} is not among the {known} there are"))
        }
    }

    fn string(&mut self, window: &ProfileBuilder) -> Result<StringId, String> {
        self.id(window.tables().strings.len(), "text").map(StringId)
    }

    fn frame(&mut self, window: &ProfileBuilder) -> Result<Frame, String> {
        let kind = *FrameKind::ALL.get(self.size()?).ok_or("a frame of a kind that is not known")?;
        let unwound = *Unwound::ALL.get(self.size()?).ok_or("a frame found in a way that is not known")?;
        Ok(Frame {
            kind,
            unwound,
            function: self.string(window)?,
            system_name: self.string(window)?,
            file: self.string(window)?,
            line: self.small("line")?,
            binary: self.id(window.tables().binaries.len() + 1, "binary")?.checked_sub(1).map(BinaryId),
            address: self.number()?,
        })
    }

    fn series(&mut self, window: &ProfileBuilder) -> Result<Series, String> {
        let mut labels = Vec::new();
        for _ in 0..self.count()? {
            labels.push((self.string(window)?, self.string(window)?));
        }
        let unit = self.string(window)?;
        let every = self.signed()?;
        let period = Period { every, event: self.string(window)?, unit: self.string(window)? };
        Ok(Series { labels, unit, period })
    }

    fn entry(&mut self, window: &mut ProfileBuilder, end_ms: i64) -> Result<(), String> {
        let series = SeriesId(self.id(window.tables().series.len(), "series")?);
        let node = NodeId(self.id(window.tables().nodes.len() + 1, "stack")?);
        let pid = self.small("pid")?;
        let tid = i64::from(pid).saturating_add(self.signed()?);
        let tid = u32::try_from(tid).map_err(|_| format!("tid {tid} is out of range"))?;
        let (thread, status) = (self.string(window)?, self.string(window)?);
        let time_ms = end_ms.wrapping_add(self.signed()?);
        let samples = self.number()?;
        let every = window.tables().series.get(series.0 as usize).map_or(0, |series| series.period.every);
        let value = self.signed()?.wrapping_add(every.wrapping_mul(samples.cast_signed()));
        let mut exact = Vec::new();
        for _ in 0..self.count()? {
            exact.push(Exact { offset_ms: self.small("time")?, cpu: self.small("CPU")? });
        }
        if !exact.is_empty() && exact.len() as u64 != samples {
            return Err(format!("a row of {samples} samples has {} times", exact.len()));
        }
        window.add(RowKey { series, node, pid, tid, thread, status, time_ms }, samples, value, &exact);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
