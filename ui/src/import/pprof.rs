//! pprof files: `profile.proto`, as <https://github.com/google/pprof/blob/main/proto/profile.proto> has it.
//!
//! A first pass notes where the entries of the tables are, a second one takes sample after sample: what a file
//! costs in memory is the file, some bytes for each entry, and the profile.

use ::pprof::protos;
use prost::Message;
use rustc_hash::FxHashMap;
use store::model::{NodeId, Period, ProfileBuilder, RowKey, Series, SeriesId, StringId};

use super::pprof_frames::Frames;
use super::pprof_tables::{Tables, bad};
use super::pprof_types::Types;
use super::wire::{Fields, Value, integers};
use super::{ImportError, Imported, Options, STATUS_IMPORTED, check_size, labels};

/// Bytes of one sample or location: a thousand times what a deep stack takes.
pub(super) const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Label sets that are remembered as they stand in the file; a file has as many as there were threads.
const LABEL_SETS_MAX: usize = 100_000;

/// Reads an unpacked file.
pub(super) fn read(bytes: &[u8], options: &Options) -> Result<Imported, ImportError> {
    let tables = Tables::new(bytes)?;
    let types = Types::new(&tables, options.event.as_deref())?;
    let duration_ms = tables.duration_ms();
    let file_start = tables.start_ms().unwrap_or(options.now_ms.saturating_sub(duration_ms));
    let start_ms = options.start_ms.unwrap_or(file_start);
    let mut import = Import {
        frames: Frames::new(),
        tables: &tables,
        types: &types,
        options,
        builder: ProfileBuilder::default(),
        label_sets: FxHashMap::default(),
        start_ms,
    };
    let mut samples = 0u64;
    for field in Fields(bytes) {
        if let (protos_tags::SAMPLE, Value::Bytes(sample)) = field.map_err(bad)? {
            samples += 1;
            import.sample(sample).map_err(|error| match error {
                ImportError::Pprof(reason) => ImportError::Pprof(format!("sample {samples}: {reason}")),
                error => error,
            })?;
            check_size(&import.builder, options)?;
        }
    }
    let profile = import.builder.finish(start_ms, start_ms.saturating_add(duration_ms));
    if profile.rows.is_empty() {
        return Err(ImportError::Nothing(format!("none of its {samples} samples has a value")));
    }
    Ok(Imported { profile, main_event: types.main() })
}

/// Tags of the fields of `Profile`, `Sample` and `Location` that are read by hand.
pub(super) mod protos_tags {
    pub(in super::super) const SAMPLE: u32 = 2;
    pub(in super::super) const SAMPLE_LOCATION: u32 = 1;
    pub(in super::super) const SAMPLE_VALUE: u32 = 2;
    pub(in super::super) const SAMPLE_LABEL: u32 = 3;
}

/// What the labels of a sample say.
#[derive(Clone, Default)]
struct Who {
    pid: u32,
    tid: u32,
    thread: StringId,
    status: StringId,
    /// The value type that the label `event` names.
    only: Option<usize>,
    /// Labels of its series, without `event`.
    labels: Vec<(String, String)>,
    /// The label `event`.
    event: Option<String>,
    /// By value type: the series.
    series: Vec<Option<SeriesId>>,
}

struct Import<'a> {
    tables: &'a Tables<'a>,
    types: &'a Types,
    frames: Frames,
    options: &'a Options,
    builder: ProfileBuilder,
    /// By the bytes of the labels as they stand in the file.
    label_sets: FxHashMap<Vec<u8>, Who>,
    start_ms: i64,
}

impl Import<'_> {
    fn sample(&mut self, message: &[u8]) -> Result<(), ImportError> {
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(ImportError::TooLarge(format!("a sample of {} bytes", message.len())));
        }
        let (mut locations, mut values, mut label_bytes) = (Vec::new(), Vec::new(), Vec::new());
        for field in Fields(message) {
            match field.map_err(bad)? {
                (protos_tags::SAMPLE_LOCATION, value) => integers(value, &mut locations).map_err(bad)?,
                (protos_tags::SAMPLE_VALUE, value) => integers(value, &mut values).map_err(bad)?,
                (protos_tags::SAMPLE_LABEL, Value::Bytes(label)) => {
                    label_bytes.extend((label.len() as u32).to_le_bytes());
                    label_bytes.extend(label);
                }
                _ => {}
            }
        }
        let values: Vec<i64> = values.into_iter().map(|value| value as i64).collect();
        if values.len() != self.types.len() {
            return Err(bad(format!("{} values of {} types", values.len(), self.types.len())));
        }
        let node = self.stack(&locations)?;
        let mut who = match self.label_sets.remove(&label_bytes) {
            Some(known) => known,
            None => self.who(&label_bytes)?,
        };
        for (of, samples, value) in self.types.parts(&values, who.only)? {
            let series = *who.series[of].get_or_insert_with(|| self.series(&who.labels, &who.event, of));
            let key = RowKey {
                series,
                node,
                pid: who.pid,
                tid: who.tid,
                thread: who.thread,
                status: who.status,
                time_ms: self.start_ms,
            };
            self.builder.add(key, samples, value, &[]);
        }
        if self.label_sets.len() >= LABEL_SETS_MAX {
            self.label_sets.clear();
        }
        self.label_sets.insert(label_bytes, who);
        Ok(())
    }

    /// The node of a stack of locations, leaf first.
    fn stack(&mut self, locations: &[u64]) -> Result<NodeId, ImportError> {
        let mut node = NodeId::ROOT;
        for id in locations.iter().rev() {
            // A location's lines are innermost first.
            for frame in self.frames.of_location(*id, self.tables, &mut self.builder)?.iter().rev() {
                node = self.builder.child(node, *frame);
            }
        }
        Ok(node)
    }

    fn who(&mut self, mut label_bytes: &[u8]) -> Result<Who, ImportError> {
        let tables = self.tables;
        let mut who = Who { series: vec![None; self.types.len()], ..Who::default() };
        let mut status = String::new();
        while let Some((length, rest)) = label_bytes.split_first_chunk() {
            let (label, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
            label_bytes = rest;
            let protos::Label { key, str, num, .. } = protos::Label::decode(label).map_err(bad)?;
            let name = tables.text(key)?.into_owned();
            let value = if str == 0 { num.to_string() } else { tables.text(str)?.into_owned() };
            match (name.as_str(), value.parse::<u32>()) {
                ("pid", Ok(pid)) => who.pid = pid,
                ("tid", Ok(tid)) => who.tid = tid,
                ("thread", _) => who.thread = self.builder.string(&value),
                ("status", _) => status = value,
                ("event", _) => who.event = Some(value),
                // A number of 0 without a text is a label without a value.
                _ if str == 0 && num == 0 => {}
                _ => who.labels.push((name, value)),
            }
        }
        let ours = who.event.is_some() || who.labels.iter().any(|(name, _)| name == "process");
        if let (false, Some(exe)) = (ours, tables.program()?) {
            let process = exe.rsplit('/').next().unwrap_or(&exe).to_owned();
            who.labels.extend([("process".to_owned(), process), ("exe".to_owned(), exe)]);
        }
        who.only = who.event.as_deref().and_then(|event| self.types.of_event(event));
        who.status = self.builder.string(if status.is_empty() { STATUS_IMPORTED } else { &status });
        Ok(who)
    }

    fn series(&mut self, own: &[(String, String)], event: &Option<String>, of: usize) -> SeriesId {
        let value_type = self.types.get(of);
        // The sample's own word for what its values are, if that is what they are.
        let event = event.clone().filter(|event| self.types.of_event(event) == Some(of));
        let event = event.unwrap_or_else(|| value_type.name.clone());
        let own = own.iter().cloned().chain([("event".to_owned(), event)]);
        let labels = labels(&mut self.builder, own, self.options);
        let period = Period {
            every: value_type.period.0,
            event: self.builder.string(&value_type.period.1),
            unit: self.builder.string(&value_type.period.2),
        };
        let unit = self.builder.string(&value_type.unit);
        self.builder.series(Series { labels, unit, period })
    }
}
