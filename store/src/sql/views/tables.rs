//! The views of what is small: series, stacks, frames, binaries, accounts, and the segments themselves.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, Int32Array, Int64Array, RecordBatch, RecordBatchOptions, StringViewArray,
};
use datafusion::arrow::compute::cast;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::memory_pool::MemoryReservation;

use super::{BATCH, Scan, View, timestamp};
use crate::cache::size_of_profile;
use crate::model::{FrameId, NodeId, Profile};
use crate::segment::encode;
use crate::sql::sources::{Origin, Source};

/// The rows of one partition: those of every so manieth source.
pub(super) struct Rows {
    scan: Arc<Scan>,
    next: usize,
    ready: VecDeque<RecordBatch>,
    memory: MemoryReservation,
    ended: bool,
}

impl Rows {
    pub(super) fn new(scan: Arc<Scan>, number: usize) -> Self {
        let memory = scan.sources.reservation("a table of a segment");
        Self { scan, next: number, ready: VecDeque::new(), memory, ended: false }
    }

    fn step(&mut self) -> Result<Option<RecordBatch>> {
        let scan = self.scan.clone();
        loop {
            scan.sources.check()?;
            if let Some(batch) = self.ready.pop_front() {
                return Ok(Some(batch));
            }
            self.memory.free();
            let Some(place) = scan.places.get(self.next) else { return Ok(None) };
            self.next += scan.partitions;
            let Some(source) = scan.sources.get(*place) else { continue };
            if scan.view == View::Segments {
                self.ready.push_back(one_segment(&scan, source)?);
            } else if let Some(tables) = scan.sources.tables(source)? {
                self.memory.try_resize(size_of_profile(&tables))?;
                self.load(source, &tables)?;
            }
        }
    }

    /// Makes the rows of a source ready, as its file would have them.
    fn load(&mut self, source: &Source, tables: &Profile) -> Result<()> {
        let scan = &self.scan;
        let Some(table) = scan.view.table() else { return Ok(()) };
        let stored = encode(tables, table).map_err(DataFusionError::from)?;
        let rows = stored.num_rows();
        let column = |name: &str| -> Result<ArrayRef> {
            Ok(match (scan.view, name) {
                (_, "segment") => segment_names(source, rows),
                (View::Stacks, "stack") => {
                    Arc::new(Int64Array::from_iter_values((0..rows).map(|node| source.stack_id(node as i32))))
                }
                (View::Stacks, "parent_stack") => {
                    let parent = |node: usize| {
                        let parent = tables.stacks.parent(NodeId(node as u32));
                        (node > 0).then(|| source.stack_id(parent.0 as i32))
                    };
                    Arc::new((0..rows).map(parent).collect::<Int64Array>())
                }
                (View::Stacks, "function") => {
                    let frame = |node: usize| tables.stacks.frame(NodeId(node as u32));
                    let name = |frame: FrameId| tables.text(tables.frame(frame).function);
                    Arc::new((0..rows).map(|node| frame(node).map(name)).collect::<StringViewArray>())
                }
                (View::Frames, "path") => {
                    let binaries = tables.frames.iter().map(|frame| frame.binary);
                    let path = |binary| tables.text(tables.binary(binary).path);
                    Arc::new(binaries.map(|binary| binary.map(path)).collect::<StringViewArray>())
                }
                (View::Accounts, "timestamp") => cast(stored_column(&stored, "time")?, &timestamp())?,
                (_, name) => stored_column(&stored, name)?.clone(),
            })
        };
        let batch = batch(scan, rows, column)?;
        self.memory.try_grow(batch.get_array_memory_size())?;
        let starts = (0..rows).step_by(BATCH);
        self.ready.extend(starts.map(|start| batch.slice(start, BATCH.min(rows - start))));
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

/// The columns that a scan asks for, with the types of its view.
pub(super) fn batch(
    scan: &Scan,
    rows: usize,
    column: impl Fn(&str) -> Result<ArrayRef>,
) -> Result<RecordBatch> {
    let fields = scan.schema.fields().iter();
    let columns = fields.map(|field| {
        let column = column(field.name())?;
        match column.data_type() == field.data_type() {
            true => Ok(column),
            false => Ok(cast(&column, field.data_type())?),
        }
    });
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let columns = columns.collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new_with_options(scan.schema.clone(), columns, &options)?)
}

pub(super) fn stored_column<'a>(stored: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    stored.column_by_name(name).ok_or_else(|| DataFusionError::Internal(format!("no column {name} was read")))
}

/// The name of a source, for each of its rows.
pub(super) fn segment_names(source: &Source, rows: usize) -> ArrayRef {
    Arc::new(StringViewArray::from_iter_values(std::iter::repeat_n(source.name.as_str(), rows)))
}

/// The row of a source in the view of segments.
fn one_segment(scan: &Scan, source: &Source) -> Result<RecordBatch> {
    let long = |value: Option<i64>| -> ArrayRef { Arc::new(Int64Array::from(vec![value])) };
    let int = |value: Option<i32>| -> ArrayRef { Arc::new(Int32Array::from(vec![value])) };
    let count = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let (segment, window) = match &source.origin {
        Origin::Segment(segment) => (Some(segment), None),
        Origin::Window(window) => (None, Some(window)),
    };
    let manifest = segment.map(|segment| &segment.manifest);
    let (start, end) = source.span();
    batch(scan, 1, |name| {
        Ok(match name {
            "segment" => segment_names(source, 1),
            "start" => cast(&long(Some(start)), &timestamp())?,
            "end" => cast(&long(Some(end)), &timestamp())?,
            "level" => int(manifest.map(|manifest| i32::from(manifest.level))),
            "resolution_ms" => long(Some(manifest.map_or(0, |manifest| manifest.resolution_ms))),
            "rows" => long(Some(match (manifest, window) {
                (Some(manifest), _) => count(manifest.rows),
                (None, window) => count(window.map_or(0, |window| window.rows.len() as u64)),
            })),
            "samples" => long(match (manifest, window) {
                (Some(manifest), _) => manifest.statistics.as_ref().map(|known| count(known.samples)),
                (None, window) => window.map(|window| count(window.samples())),
            }),
            "bytes" => long(segment.map(|segment| count(segment.bytes))),
            "schema_version" => {
                int(manifest.and_then(|manifest| i32::try_from(manifest.schema_version).ok()))
            }
            "path" => {
                let path = segment.map(|segment| segment.path().display().to_string());
                Arc::new(StringViewArray::from_iter([path]))
            }
            name => return Err(DataFusionError::Internal(format!("no column {name} in segments"))),
        })
    })
}
