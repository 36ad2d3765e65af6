//! The view of samples: pages of their files that may have rows asked for, with labels and ids of stacks beside them.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, StringViewArray};
use datafusion::arrow::compute::{cast, take};
use datafusion::common::Result;
use datafusion::execution::memory_pool::MemoryReservation;

use super::tables::{batch, segment_names, stored_column};
use super::{BATCH, Scan, timestamp};
use crate::cache::size_of_profile;
use crate::model::{Profile, SeriesId};
use crate::query::{Wanted, pieces};
use crate::segment::{LoadError, PROMOTED, Part, SampleColumns, SamplesFile, SegmentInfo};
use crate::sql::sources::{Origin, Source};

/// Segments of at most so many rows are one thread's work; larger ones are shared by row group.
const ROWS_OF_ONE: u64 = 128 * 1024;

/// The rows of one partition.
pub(super) struct Rows {
    scan: Arc<Scan>,
    number: usize,
    next: usize,
    current: Option<Opened>,
    ready: VecDeque<RecordBatch>,
    memory: MemoryReservation,
    ended: bool,
}

/// A segment that is being read.
struct Opened {
    place: usize,
    samples: SamplesFile,
    labels: Labels,
    nodes: usize,
    tables_bytes: usize,
    parts: VecDeque<Part>,
}

impl Rows {
    pub(super) fn new(scan: Arc<Scan>, number: usize) -> Self {
        let memory = scan.sources.reservation("samples of a segment");
        Self { scan, number, next: 0, current: None, ready: VecDeque::new(), memory, ended: false }
    }

    fn step(&mut self) -> Result<Option<RecordBatch>> {
        let scan = self.scan.clone();
        loop {
            scan.sources.check()?;
            if let Some(batch) = self.ready.pop_front() {
                return Ok(Some(batch));
            }
            if let Some(opened) = &mut self.current {
                match opened.parts.pop_front() {
                    Some(part) => self.read(&part)?,
                    None => self.current = None,
                }
                continue;
            }
            self.memory.free();
            let Some(place) = scan.places.get(self.next).copied() else { return Ok(None) };
            let order = self.next;
            self.next += 1;
            let Some(source) = scan.sources.get(place) else { continue };
            match &source.origin {
                Origin::Segment(segment) => self.open(order, place, source, segment)?,
                Origin::Window(window) if order % scan.partitions == self.number => {
                    self.window(source, window)?;
                }
                Origin::Window(_) => {}
            }
        }
    }

    /// Opens a segment, if any of it is this partition's.
    fn open(&mut self, order: usize, place: usize, source: &Source, segment: &SegmentInfo) -> Result<()> {
        let scan = &self.scan;
        let is_small = segment.manifest.rows <= ROWS_OF_ONE;
        let is_mine = |number: usize| (order + number) % scan.partitions == self.number;
        if is_small && !is_mine(0) {
            return Ok(());
        }
        let Some(tables) = scan.sources.tables(source)? else { return Ok(()) };
        let tables_bytes = size_of_profile(&tables);
        self.memory.try_resize(tables_bytes)?;
        let decided = scan.conditions.decide(source, &tables);
        if decided.iter().all(|decided| *decided == Some(false)) {
            return Ok(());
        }
        let Some(samples) = scan.sources.samples(segment)? else { return Ok(()) };
        let wanted = Wanted::new(&decided);
        let groups = (0..samples.groups()).filter(|group| is_small || is_mine(*group));
        let parts = groups.flat_map(|group| pieces(&samples, group, &wanted, &scan.range));
        let parts = parts.map(|piece| piece.part).collect();
        let labels = Labels::new(&tables);
        let nodes = tables.stacks.len();
        self.current = Some(Opened { place, samples, labels, nodes, tables_bytes, parts });
        Ok(())
    }

    /// Makes the rows of a part ready.
    fn read(&mut self, part: &Part) -> Result<()> {
        let scan = self.scan.clone();
        let Some(opened) = &self.current else { return Ok(()) };
        let Some(source) = scan.sources.get(opened.place) else { return Ok(()) };
        let Some(segment) = source.segment() else { return Ok(()) };
        let mut batches = Vec::new();
        let columns = stored_columns(&scan);
        let read = || {
            let each = |batch: &RecordBatch| {
                check(batch, opened)?;
                batches.push(batch.clone());
                Ok(())
            };
            opened.samples.read(part, &columns, each, LoadError::Bad)
        };
        let done = scan.sources.readable(segment, true, read)?;
        debug_assert!(done.is_some(), "what is begun is read or starts over");
        let bytes: usize = batches.iter().map(RecordBatch::get_array_memory_size).sum();
        self.memory.try_resize(opened.tables_bytes + bytes)?;
        for stored in batches {
            let rows = view(&scan, source, &opened.labels, &stored)?;
            self.memory.try_grow(rows.get_array_memory_size())?;
            let starts = (0..rows.num_rows()).step_by(BATCH);
            self.ready.extend(starts.map(|start| rows.slice(start, BATCH.min(rows.num_rows() - start))));
        }
        Ok(())
    }

    /// Makes the rows of a window in memory ready.
    fn window(&mut self, source: &Source, window: &Profile) -> Result<()> {
        let labels = Labels::new(window);
        for rows in window.rows.chunks(BATCH) {
            let mut columns = SampleColumns::default();
            for row in rows {
                columns.push(row, window.exact_of(row));
            }
            let rows = view(&self.scan, source, &labels, &columns.take(&window.strings))?;
            self.memory.try_grow(rows.get_array_memory_size())?;
            self.ready.push_back(rows);
        }
        Ok(())
    }
}

impl Iterator for Rows {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let step = self.step();
        self.ended = !matches!(step, Ok(Some(_)));
        step.transpose()
    }
}

/// The labels of a segment's series, by series.
struct Labels {
    unit: ArrayRef,
    promoted: [ArrayRef; PROMOTED.len()],
}

impl Labels {
    fn new(tables: &Profile) -> Self {
        let ids = || (0..tables.series.len() as u32).map(SeriesId);
        let units = ids().map(|id| tables.text(tables.series(id).unit));
        let promoted = PROMOTED.map(|label| -> ArrayRef {
            Arc::new(ids().map(|id| tables.label(id, label)).collect::<StringViewArray>())
        });
        Self { unit: Arc::new(StringViewArray::from_iter_values(units)), promoted }
    }

    fn get(&self, name: &str) -> Option<&ArrayRef> {
        if name == "unit" {
            return Some(&self.unit);
        }
        let place = PROMOTED.iter().position(|label| *label == name)?;
        Some(&self.promoted[place])
    }
}

/// The stored column behind one of the view.
fn stored_name(name: &str) -> Option<&str> {
    match name {
        "segment" => None,
        "timestamp" => Some("time"),
        "stack" => Some("node"),
        "unit" => Some("series"),
        label if PROMOTED.contains(&label) => Some("series"),
        name => Some(name),
    }
}

/// The columns to read, at least one.
fn stored_columns(scan: &Scan) -> Vec<&str> {
    let mut columns: Vec<&str> =
        scan.schema.fields().iter().filter_map(|field| stored_name(field.name())).collect();
    columns.sort_unstable();
    columns.dedup();
    if columns.is_empty() {
        columns.push("samples");
    }
    columns
}

/// Rows of the file as rows of the view.
fn view(scan: &Scan, source: &Source, labels: &Labels, stored: &RecordBatch) -> Result<RecordBatch> {
    let rows = stored.num_rows();
    batch(scan, rows, |name| {
        if let Some(labels) = labels.get(name) {
            return Ok(take(labels, stored_column(stored, "series")?, None)?);
        }
        Ok(match name {
            "segment" => segment_names(source, rows),
            "timestamp" => cast(stored_column(stored, "time")?, &timestamp())?,
            "stack" => {
                let nodes = stored_column(stored, "node")?.as_primitive::<Int32Type>();
                let ids = nodes.values().iter().map(|node| source.stack_id(*node));
                Arc::new(Int64Array::from_iter_values(ids))
            }
            name => stored_column(stored, name)?.clone(),
        })
    })
}

/// Whether rows can be what they say: types, handles and numbers.
fn check(batch: &RecordBatch, opened: &Opened) -> std::result::Result<(), LoadError> {
    let bad = |reason: String| LoadError::Bad(format!("samples.parquet: {reason}"));
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        let name = field.name();
        if column.null_count() > 0 {
            return Err(bad(format!("column {name} has empty places")));
        }
        let is_typed = match name.as_str() {
            "series" | "node" => column.as_primitive_opt::<Int32Type>().is_some(),
            "thread" | "status" => column.as_dictionary_opt::<Int32Type>().is_some(),
            "offsets_ms" | "cpus" => {
                column.as_list_opt::<i32>().is_some_and(|list| list.values().null_count() == 0)
            }
            _ => column.as_primitive_opt::<Int64Type>().is_some(),
        };
        if !is_typed {
            return Err(bad(format!("column {name} has type {}", column.data_type())));
        }
    }
    let within = |name: &str, count: usize| {
        let Some(column) = batch.column_by_name(name) else { return Ok(()) };
        let outside = |value: &i32| usize::try_from(*value).map_or(true, |value| value >= count);
        match column.as_primitive::<Int32Type>().values().iter().find(|value| outside(value)) {
            Some(value) => Err(bad(format!("{name} {value} is not among the {count} there are"))),
            None => Ok(()),
        }
    };
    within("series", opened.labels.unit.len())?;
    within("node", opened.nodes)?;
    let samples = batch.column_by_name("samples").map(|column| column.as_primitive::<Int64Type>().values());
    match samples.is_some_and(|samples| samples.iter().any(|samples| *samples < 0)) {
        true => Err(bad("a row has less than no samples".to_owned())),
        false => Ok(()),
    }
}
