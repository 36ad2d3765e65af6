//! The text of `perf script`: a paragraph for each sample, its stack from the leaf to the outermost caller.
//!
//! perf prints the files' own addresses in stacks, as offsets, and those of the process on lines of their own;
//! the latter become the files' where the text says where they lie (`--show-mmap-events`).

use std::collections::BTreeMap;
use std::io::BufRead;

use rustc_hash::FxHashMap;
use store::model::{
    EVENT_CPU, Exact, FrameId, NodeId, Period, Profile, ProfileBuilder, RowKey, Series, SeriesId, StringId,
    UNIT_NANOSECONDS,
};

use super::frames::{self, Named, Place};
use super::lines::{Lines, error_at, is_comment, shown};
use super::perf_line::{self, Head};
use super::{ImportError, Options, STATUS_IMPORTED, check_size, labels};
use crate::render::values::is_cpu_event;

/// How perf calls the kernel's image.
const KERNEL: &str = "[kernel.kallsyms]";
/// Samples of one row lie in such a span, as the agent's do.
const BUCKET_MS: i64 = 10_000;
/// Times from here on are Unix times (2001), earlier ones count from a machine's start.
const UNIX_TIME_MS: i64 = 1_000_000_000_000;
/// Mappings of all processes: a large machine has a million.
const MAPPINGS_MAX: usize = 4_000_000;

/// Reads a text.
pub(super) fn read(input: impl BufRead, options: &Options) -> Result<Profile, ImportError> {
    let mut import = Import::new(options);
    let mut lines = Lines::new(input, options);
    while let Some(line) = lines.next()? {
        let known = import.line(&line)?;
        if !known {
            let reason = format!("{} is neither a sample of `perf script` nor a frame", shown(&line));
            return Err(error_at(lines.number, reason));
        }
    }
    import.end_of_sample()?;
    import.finish()
}

/// What the samples of a row share, but for their time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    event: StringId,
    pid: u32,
    tid: u32,
    comm: StringId,
    node: NodeId,
    status: StringId,
}

/// One sample.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// Which key.
    key: u32,
    cpu: u16,
    /// Milliseconds of perf's clock; none when not printed.
    time_ms: Option<i64>,
    period: u64,
}

/// What is said of an event's samples.
#[derive(Clone, Copy, Debug, Default)]
struct EventSum {
    samples: u64,
    periods: u128,
    without_period: bool,
}

/// A sample whose frames are being read.
struct Open {
    key: Key,
    cpu: u16,
    time_ms: Option<i64>,
    period: Option<u64>,
    /// Leaf first.
    frames: Vec<OpenFrame>,
}

#[derive(Clone, Debug, Default)]
struct OpenFrame {
    address: u64,
    function: String,
    path: String,
    file_offset: Option<u64>,
    inlined: bool,
    source: Option<(String, u32)>,
}

/// Where files lie, and their build IDs, as far as the text says.
#[derive(Default)]
struct Mappings {
    /// By process and start: end and offset in the file.
    ranges: BTreeMap<(u32, u64), (u64, u64)>,
    /// By path; empty where files of one path have several.
    build_ids: FxHashMap<String, String>,
}

struct Import<'a> {
    options: &'a Options,
    builder: ProfileBuilder,
    open: Option<Open>,
    keys: FxHashMap<Key, u32>,
    samples: Vec<Sample>,
    events: BTreeMap<StringId, EventSum>,
    /// By process: the name of its first thread.
    leaders: FxHashMap<u32, StringId>,
    mappings: Mappings,
    /// Events that were passed over.
    others: BTreeMap<String, u64>,
}

impl<'a> Import<'a> {
    fn new(options: &'a Options) -> Self {
        Self {
            options,
            builder: ProfileBuilder::default(),
            open: None,
            keys: FxHashMap::default(),
            samples: Vec::new(),
            events: BTreeMap::new(),
            leaders: FxHashMap::default(),
            mappings: Mappings::default(),
            others: BTreeMap::new(),
        }
    }

    /// Takes a line; false if it is none of `perf script`.
    fn line(&mut self, line: &str) -> Result<bool, ImportError> {
        if line.is_empty() {
            self.end_of_sample()?;
            return Ok(true);
        }
        if let Some(open) = &mut self.open {
            if let Some(frame) = perf_line::frame(line) {
                open.frames.push(OpenFrame::new(&frame));
                return Ok(true);
            }
            if let (Some(frame), Some((file, line))) = (open.frames.last_mut(), perf_line::source_line(line))
            {
                frame.source = Some((file.to_owned(), line));
                return Ok(true);
            }
            if !open.frames.is_empty() && perf_line::is_place_without_line(line) {
                return Ok(true);
            }
        }
        if line.contains("PERF_RECORD_") {
            self.end_of_sample()?;
            return self.mapping(line).map(|()| true);
        }
        // A thread may be called `#`.
        let Some(head) = perf_line::head(line) else { return Ok(is_comment(line)) };
        self.end_of_sample()?;
        self.head(&head);
        Ok(true)
    }
}

impl Import<'_> {
    fn mapping(&mut self, line: &str) -> Result<(), ImportError> {
        let Some(m) = perf_line::mapping(line) else { return Ok(()) };
        let Mappings { ranges, build_ids } = &mut self.mappings;
        if ranges.len().max(build_ids.len()) >= MAPPINGS_MAX {
            return Err(ImportError::TooLarge(format!("more than {MAPPINGS_MAX} mappings")));
        }
        ranges.insert((m.pid, m.start), (m.start.saturating_add(m.length), m.file_offset));
        // The kernel's image is told with a symbol behind its name.
        let path = if m.path.starts_with(KERNEL) { KERNEL } else { m.path };
        if !m.build_id.is_empty() {
            let known = build_ids.entry(path.to_owned()).or_insert_with(|| m.build_id.to_owned());
            if known != m.build_id {
                known.clear();
            }
        }
        Ok(())
    }

    fn head(&mut self, head: &Head<'_>) {
        let comm = self.builder.string(head.comm);
        let pid = head.pid.unwrap_or(0);
        if head.pid == Some(head.tid) {
            self.leaders.entry(pid).or_insert(comm);
        }
        let event = self.builder.string(head.event);
        let (node, status) = (NodeId::ROOT, StringId::EMPTY);
        self.open = Some(Open {
            key: Key { event, pid, tid: head.tid, comm, node, status },
            cpu: head.cpu.unwrap_or(0),
            time_ms: head.time_us.map(|us| us.div_euclid(1000)),
            period: head.period,
            // Without stacks, the sampled instruction stands on the same line.
            frames: perf_line::frame(head.rest).iter().map(OpenFrame::new).collect(),
        });
    }

    fn end_of_sample(&mut self) -> Result<(), ImportError> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        let event = self.builder.text(open.key.event);
        if self.options.event.as_deref().is_some_and(|wanted| wanted != event) {
            *self.others.entry(event.to_owned()).or_default() += 1;
            return Ok(());
        }
        let mut status = STATUS_IMPORTED;
        // An inlined function is where the function around it is, which stands below it.
        let mut around = (Place::default(), store::model::FrameKind::Native);
        let mut ids: Vec<FrameId> = Vec::with_capacity(open.frames.len());
        for frame in open.frames.iter().rev() {
            if let Some(reason) = frames::reason(&frame.function).filter(|_| frame.address == 0) {
                status = reason;
                ids.push(frames::mark(&mut self.builder, &frame.function));
                continue;
            }
            if !frame.inlined {
                let place = place(frame, &self.mappings, &open.key);
                around = (place, frames::kind(&place));
            }
            let (file, line) = frame.source.as_ref().map_or(("", 0), |(file, line)| (file, *line));
            let named =
                Named { function: &frame.function, system_name: "", file, line, inlined: frame.inlined };
            ids.push(frames::frame(&mut self.builder, around.1, &around.0, &named));
        }
        open.key.node = ids.iter().fold(NodeId::ROOT, |node, frame| self.builder.child(node, *frame));
        open.key.status = self.builder.string(status);
        self.add(&open)
    }

    fn add(&mut self, open: &Open) -> Result<(), ImportError> {
        let sum = self.events.entry(open.key.event).or_default();
        sum.samples += 1;
        sum.periods += u128::from(open.period.unwrap_or(0));
        sum.without_period |= open.period.is_none();
        let next = self.keys.len() as u32;
        let key = *self.keys.entry(open.key).or_insert(next);
        let period = open.period.unwrap_or(0);
        self.samples.push(Sample { key, cpu: open.cpu, time_ms: open.time_ms, period });
        // Each sample is here now and in a row later.
        let own = self.samples.len() * size_of::<Sample>() + self.keys.len() * 64;
        let limit = self.options.limits.memory_bytes;
        if own > limit {
            return Err(ImportError::TooLarge(format!(
                "its samples take more than {} MiB of memory",
                limit >> 20
            )));
        }
        check_size(&self.builder, self.options)
    }

    /// All samples as rows, at the times that they were taken or are said to be.
    fn finish(mut self) -> Result<Profile, ImportError> {
        if self.samples.is_empty() {
            return Err(self.nothing());
        }
        let times = || self.samples.iter().filter_map(|sample| sample.time_ms);
        let (first, last) = (times().min().unwrap_or(0), times().max().unwrap_or(0));
        let shift = match self.options.start_ms {
            Some(start_ms) => start_ms.saturating_sub(first),
            None if first >= UNIX_TIME_MS => 0,
            None => self.options.now_ms.saturating_sub(last).saturating_sub(1),
        };
        let keys: BTreeMap<u32, Key> = self.keys.drain().map(|(key, id)| (id, key)).collect();
        let keys: Vec<(Key, SeriesId)> = keys.into_values().map(|key| (key, self.series(&key))).collect();
        for sample in std::mem::take(&mut self.samples) {
            let (key, series) = keys[sample.key as usize];
            let at = sample.time_ms.unwrap_or(first).saturating_add(shift);
            let time_ms = at.saturating_sub(at.rem_euclid(BUCKET_MS));
            let exact = Exact { offset_ms: at.saturating_sub(time_ms) as u16, cpu: sample.cpu };
            let Key { pid, tid, comm: thread, node, status, .. } = key;
            let row = RowKey { series, node, pid, tid, thread, status, time_ms };
            let value = if self.events[&key.event].without_period { 1 } else { sample.period };
            let value = i64::try_from(value).unwrap_or(i64::MAX);
            let exact = [exact];
            self.builder.add(row, 1, value, if sample.time_ms.is_some() { &exact } else { &[] });
        }
        let start_ms = first.saturating_add(shift);
        let end_ms = last.saturating_add(shift).saturating_add(1);
        Ok(self.builder.finish(start_ms, end_ms))
    }

    fn series(&mut self, key: &Key) -> SeriesId {
        let text = |id: StringId| self.builder.text(id).to_owned();
        let (comm, event) = (text(key.comm), text(key.event));
        // A process is called as its first thread is.
        let process =
            self.leaders.get(&key.pid).filter(|_| key.pid != 0).map_or(comm, |leader| text(*leader));
        let sum = self.events[&key.event];
        let of_time = is_cpu_event(&event) && event != "cycles" && !sum.without_period;
        let own = [("process", process), ("event", event)].map(|(name, value)| (name.to_owned(), value));
        let labels = labels(&mut self.builder, own, self.options);
        let unit = self.builder.string(if of_time { UNIT_NANOSECONDS } else { "count" });
        let every = (sum.periods + u128::from(sum.samples) / 2) / u128::from(sum.samples.max(1));
        let period = match of_time {
            true => Period {
                every: i64::try_from(every).unwrap_or(i64::MAX),
                event: self.builder.string(EVENT_CPU),
                unit,
            },
            false => Period { every: 0, event: StringId::EMPTY, unit: StringId::EMPTY },
        };
        self.builder.series(Series { labels, unit, period })
    }

    fn nothing(&self) -> ImportError {
        let others: Vec<_> = self.others.keys().map(|event| format!("`{event}`")).collect();
        ImportError::Nothing(match (&self.options.event, others.is_empty()) {
            (Some(event), false) => format!("it has no samples of `{event}`, but of {}", others.join(", ")),
            _ => "it has no samples".to_owned(),
        })
    }
}

impl OpenFrame {
    fn new(frame: &perf_line::Frame<'_>) -> Self {
        Self {
            address: frame.address,
            function: frame.function.to_owned(),
            path: frame.path.to_owned(),
            file_offset: frame.file_offset,
            inlined: frame.inlined,
            source: None,
        }
    }
}

/// Where a frame is, in the file's own addresses if it is known where the file lies.
fn place<'a>(frame: &'a OpenFrame, mappings: &'a Mappings, key: &Key) -> Place<'a> {
    let Key { pid, tid, .. } = *key;
    // Where process ids are not printed, a thread may be its process's first one.
    let process = if pid == 0 { tid } else { pid };
    let before = mappings.ranges.range((process, 0)..=(process, frame.address)).next_back();
    let mapped = before.filter(|(_, (end, _))| frame.address < *end);
    let address = match (frame.file_offset, mapped) {
        (Some(offset), _) => offset,
        (None, Some(((_, start), (_, offset)))) => frames::own_address(frame.address, *start, *offset),
        (None, None) => frame.address,
    };
    let build_id = mappings.build_ids.get(&frame.path).map_or("", |id| id);
    Place { path: &frame.path, build_id, address }
}
