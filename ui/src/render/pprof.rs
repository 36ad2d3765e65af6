//! Gzipped `profile.proto`, as <https://github.com/google/pprof/blob/main/proto/profile.proto> has it.
//!
//! Messages of protocol buffers concatenate: samples go out in batches, each a `Profile` of its own, and the
//! tables follow in a last one, so that memory holds the tables and one batch only.

use std::io::{self, Write};

use ::pprof::protos;
use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;
use rustc_hash::FxHashMap;
use store::model::{BinaryId, Frame, FrameId, FrameKind, NodeId, Profile, Row, RowKey, SeriesId, StringId};

use super::names;
use super::values::{CPU, ValueType};
use crate::flame::NodeKind;
use crate::import::{INTERPRETED, JIT};

/// Samples per batch: some 100 kB each with usual stacks.
const BATCH: usize = 1000;
/// Share of the samples from which on a profile is one program's; the rest is what started it.
const MAIN_SHARE: f64 = 0.9;

/// The value type that every profile has.
const SAMPLES: ValueType<'_> = ValueType { name: "samples", unit: "count" };
/// How samples without any frame are told: `go tool pprof` drops samples without a location.
pub(crate) const NO_STACK: &str = "[no stack]";

/// Writes a profile. One sample per row, with the value types samples/count and those of its series, of which
/// it has one: cpu/nanoseconds, alloc_space/bytes, …; and as labels `process`, `thread`, `status` and all others of its series, and the numbers `pid` and `tid` (which
/// the format cannot tell from none when they are 0).
pub fn pprof(profile: &Profile, out: &mut dyn Write) -> io::Result<()> {
    // As Go's own writer does: an export should not take longer to pack than to make.
    let mut out = GzEncoder::new(out, Compression::fast());
    let mut export = Export::new(profile);
    let mut batch = protos::Profile::default();
    let mut rows = profile.rows.iter().filter(|row| row.samples > 0 || row.value != 0).peekable();
    while let Some(row) = rows.next() {
        let (mut samples, mut value) = (row.samples, row.value);
        // Rows that differ in time only follow each other.
        while let Some(more) = rows.next_if(|next| timeless(next.key) == timeless(row.key)) {
            samples = samples.saturating_add(more.samples);
            value = value.saturating_add(more.value);
        }
        batch.sample.push(export.sample(row, samples, value));
        if batch.sample.len() == BATCH {
            out.write_all(&batch.encode_to_vec())?;
            batch.sample.clear();
        }
    }
    out.write_all(&batch.encode_to_vec())?;
    out.write_all(&export.finish().encode_to_vec())?;
    out.finish().map(drop)
}

fn timeless(key: RowKey) -> RowKey {
    RowKey { time_ms: 0, ..key }
}

/// What makes one location: mapping (0 for none), address, and its lines (function, line), callee first.
type LocationKey = (u64, u64, Vec<(u64, i64)>);

/// The tables of the export, filled as samples need them.
struct Export<'a> {
    from: &'a Profile,
    strings: FxHashMap<String, i64>,
    functions: FxHashMap<(i64, i64, i64), u64>,
    locations: FxHashMap<LocationKey, u64>,
    /// By binary: its mapping.
    mappings: Vec<Option<u64>>,
    /// Mappings of code outside any file, by their names.
    outside: FxHashMap<&'static str, u64>,
    /// The value types of the series, and by series which of them it has.
    types: Vec<ValueType<'a>>,
    type_of: Vec<usize>,
    /// By node that a location starts at, going towards the root: the location, and the node after it.
    places: Vec<Option<(u64, NodeId)>>,
    tables: protos::Profile,
}

impl<'a> Export<'a> {
    fn new(from: &'a Profile) -> Self {
        let (types, type_of) = value_types(from);
        let mut export = Self {
            from,
            types,
            type_of,
            outside: FxHashMap::default(),
            strings: FxHashMap::default(),
            functions: FxHashMap::default(),
            locations: FxHashMap::default(),
            mappings: vec![None; from.binaries.len()],
            places: vec![None; from.stacks.len()],
            tables: protos::Profile::default(),
        };
        // The format wants the empty string first.
        export.string("");
        export.main_mapping();
        export
    }

    fn string(&mut self, text: &str) -> i64 {
        if let Some(known) = self.strings.get(text) {
            return *known;
        }
        let id = self.tables.string_table.len() as i64;
        self.tables.string_table.push(text.to_owned());
        self.strings.insert(text.to_owned(), id);
        id
    }

    fn text(&mut self, id: StringId) -> i64 {
        let from = self.from;
        self.string(from.text(id))
    }

    /// Readers take the first mapping for the one program that was profiled. Where hardly any other ran, it is
    /// that program's; else one that says so.
    fn main_mapping(&mut self) {
        let from = self.from;
        let mut by_program: FxHashMap<&str, u64> = FxHashMap::default();
        for row in &from.rows {
            *by_program.entry(from.label(row.key.series, "exe").unwrap_or_default()).or_default() +=
                row.samples;
        }
        let Some((main, samples)) = by_program.into_iter().max_by_key(|(_, samples)| *samples) else {
            return;
        };
        let binary = from.binaries.iter().position(|binary| from.text(binary.path) == main);
        match binary {
            Some(binary) if samples as f64 >= MAIN_SHARE * from.samples() as f64 => {
                self.mapping(Some(BinaryId(binary as u32)));
            }
            _ => {
                let filename = self.string("[several programs]");
                self.add_mapping(filename, 0);
            }
        }
    }

    fn sample(&mut self, row: &Row, samples: u64, value: i64) -> protos::Sample {
        let mut location_id = Vec::new();
        let mut at = row.key.node;
        while at != NodeId::ROOT {
            let (location, next) = self.place(at);
            location_id.push(location);
            at = next;
        }
        if location_id.is_empty() {
            location_id.push(self.no_stack());
        }
        let mut values = vec![0; 1 + self.types.len()];
        values[0] = i64::try_from(samples).unwrap_or(i64::MAX);
        values[1 + self.type_of[row.key.series.0 as usize]] = value;
        protos::Sample { location_id, value: values, label: self.labels(row) }
    }

    fn labels(&mut self, row: &Row) -> Vec<protos::Label> {
        let from = self.from;
        let mut labels = Vec::new();
        let own = [("thread", row.key.thread), ("status", row.key.status)];
        let series =
            from.series(row.key.series).labels.iter().map(|(name, value)| (from.text(*name), *value));
        for (name, value) in series.chain(own).filter(|(_, value)| *value != StringId::EMPTY) {
            let (key, str) = (self.string(name), self.text(value));
            labels.push(protos::Label { key, str, ..Default::default() });
        }
        for (name, num) in [("pid", row.key.pid), ("tid", row.key.tid)] {
            if num != 0 {
                labels.push(protos::Label { key: self.string(name), num: num.into(), ..Default::default() });
            }
        }
        labels
    }

    /// The location that starts at a node, with all that is inlined there, and the node after it.
    fn place(&mut self, start: NodeId) -> (u64, NodeId) {
        if let Some(known) = self.places[start.0 as usize] {
            return known;
        }
        let stacks = &self.from.stacks;
        let mut frames: Vec<FrameId> = Vec::new();
        let mut at = start;
        // A run of inlined frames ends with the function they are inlined into, at the same address. One
        // that does not is a location by itself, so that no frame is lost.
        while let Some(id) = stacks.frame(at) {
            if frames.first().is_some_and(|first| !self.same_address(*first, id)) {
                break;
            }
            frames.push(id);
            at = stacks.parent(at);
            if self.from.frame(id).kind != FrameKind::Inlined {
                break;
            }
        }
        let place = (self.location(&frames), at);
        *self.places[start.0 as usize].insert(place)
    }

    fn same_address(&self, a: FrameId, b: FrameId) -> bool {
        let (a, b) = (self.from.frame(a), self.from.frame(b));
        (a.binary, a.address) == (b.binary, b.address)
    }

    /// The location of samples without any frame.
    fn no_stack(&mut self) -> u64 {
        let name = self.string(NO_STACK);
        let function_id = self.function_named(name, name, 0);
        self.location_with((0, 0, vec![(function_id, 0)]))
    }

    fn location(&mut self, frames: &[FrameId]) -> u64 {
        let from = self.from;
        let Some(first) = frames.first().map(|id| *from.frame(*id)) else { return 0 };
        // The outermost frame is the function that the code is in; others are inlined into it.
        let kind = frames.last().map_or(first.kind, |id| from.frame(*id).kind);
        let mapping_id = match (first.binary, kind) {
            (None, FrameKind::Jit) => self.outside(JIT),
            (None, FrameKind::Interpreted) => self.outside(INTERPRETED),
            (binary, _) => self.mapping(binary),
        };
        let lines: Vec<_> = frames
            .iter()
            .map(|id| (self.function(from.frame(*id)), i64::from(from.frame(*id).line)))
            .collect();
        if let Some(mapping) = (mapping_id as usize).checked_sub(1).map(|i| &mut self.tables.mapping[i]) {
            mapping.has_filenames |= frames.iter().any(|id| from.frame(*id).file != StringId::EMPTY);
            mapping.has_line_numbers |= frames.iter().any(|id| from.frame(*id).line != 0);
            mapping.has_inline_frames |= frames.len() > 1;
        }
        let address = if first.kind == FrameKind::Truncated { 0 } else { first.address };
        self.location_with((mapping_id, address, lines))
    }

    fn location_with(&mut self, key: LocationKey) -> u64 {
        let next = self.tables.location.len() as u64 + 1;
        let id = *self.locations.entry(key.clone()).or_insert(next);
        if id == next {
            let (mapping_id, address, lines) = key;
            let line =
                lines.into_iter().map(|(function_id, line)| protos::Line { function_id, line }).collect();
            self.tables.location.push(protos::Location { id, mapping_id, address, line, is_folded: false });
        }
        id
    }

    fn function(&mut self, frame: &Frame) -> u64 {
        let from = self.from;
        let name = self.string(&names::plain(NodeKind::Frame(frame.kind), from.text(frame.function)));
        let system_name = self.text(frame.system_name);
        let filename = self.text(frame.file);
        self.function_named(name, system_name, filename)
    }

    fn function_named(&mut self, name: i64, system_name: i64, filename: i64) -> u64 {
        let next = self.tables.function.len() as u64 + 1;
        let id = *self.functions.entry((name, system_name, filename)).or_insert(next);
        if id == next {
            self.tables.function.push(protos::Function { id, name, system_name, filename, start_line: 0 });
        }
        id
    }

    /// The mapping of a binary. Addresses are the file's own already; a mapping over the whole address space
    /// at offset 0 is how pprof is told so (`GetBase` in its internal/elfexec).
    fn mapping(&mut self, binary: Option<BinaryId>) -> u64 {
        let Some(binary) = binary else { return 0 };
        if let Some(known) = self.mappings[binary.0 as usize] {
            return known;
        }
        let from = *self.from.binary(binary);
        let (filename, build_id) = (self.text(from.path), self.text(from.build_id));
        let id = self.add_mapping(filename, build_id);
        *self.mappings[binary.0 as usize].insert(id)
    }

    /// The mapping that stands for code outside any file, by which other tools tell it from unknown code.
    fn outside(&mut self, name: &'static str) -> u64 {
        if let Some(known) = self.outside.get(name) {
            return *known;
        }
        let filename = self.string(name);
        let id = self.add_mapping(filename, 0);
        self.outside.insert(name, id);
        id
    }

    fn add_mapping(&mut self, filename: i64, build_id: i64) -> u64 {
        let id = self.tables.mapping.len() as u64 + 1;
        self.tables.mapping.push(protos::Mapping {
            id,
            memory_start: 0,
            memory_limit: u64::MAX,
            file_offset: 0,
            filename,
            build_id,
            has_functions: true,
            ..Default::default()
        });
        id
    }

    fn finish(mut self) -> protos::Profile {
        let profile = self.from;
        let (period, period_of) = period(profile);
        let types = std::mem::take(&mut self.types);
        let mut value_type =
            |of: &ValueType<'_>| protos::ValueType { ty: self.string(of.name), unit: self.string(of.unit) };
        let sample_type = std::iter::once(&SAMPLES).chain(&types).map(&mut value_type).collect();
        let period_type = Some(value_type(&period_of));
        protos::Profile {
            sample_type,
            period_type,
            period,
            time_nanos: profile.start_ms.saturating_mul(1_000_000),
            duration_nanos: (profile.end_ms.saturating_sub(profile.start_ms)).saturating_mul(1_000_000),
            ..self.tables
        }
    }
}

/// The value types of a profile's series, each once, and by series its place among them.
fn value_types(profile: &Profile) -> (Vec<ValueType<'_>>, Vec<usize>) {
    let mut types: Vec<ValueType<'_>> = Vec::new();
    let place = |id| {
        let of = ValueType::of(profile, SeriesId(id));
        types.iter().position(|known| *known == of).unwrap_or_else(|| {
            types.push(of);
            types.len() - 1
        })
    };
    let type_of = (0..profile.series.len() as u32).map(place).collect();
    if types.is_empty() {
        types.push(CPU);
    }
    (types, type_of)
}

/// The one period that the format has room for: that of CPU time if there is any, else the first one known.
fn period(profile: &Profile) -> (i64, ValueType<'_>) {
    let of_cpu = |id: &u32| ValueType::of(profile, SeriesId(*id)) == CPU;
    if profile.series.is_empty() || (0..profile.series.len() as u32).any(|id| of_cpu(&id)) {
        return (super::period_ns(profile), CPU);
    }
    let known = profile.series.iter().map(|series| series.period).find(|period| period.every > 0);
    let period = known.unwrap_or_default();
    (period.every, ValueType { name: profile.text(period.event), unit: profile.text(period.unit) })
}
