//! Segments to one, in one pass over their sorted rows: memory is needed for their tables and for some thousand rows of
//! each, not for all of them.

use std::cmp::Ordering;
use std::path::Path;
use std::sync::Arc;

use super::decode::{self, RowDecoder};
use super::file::{Batches, Checked, TableFile};
use super::folder::{LoadError, bytes_of, guarded, read_tables};
use super::order::{Place, RowOrder, compare_within};
use super::rows::{Adder, Batch, coarse};
use super::writer::{SegmentWriter, Target};
use super::{Manifest, SegmentInfo, Table, chunk_ms};
use crate::error::Error;
use crate::model::{LateNames, NodeId, Profile, ProfileBuilder, SeriesId, StringTable};
use crate::pace::Pace;

/// Why segments were not merged.
#[derive(Debug)]
pub(crate) enum MergeError {
    /// The input of this place cannot be read.
    Input(usize, LoadError),
    /// What comes out cannot be written.
    Output(Error),
}

impl From<Error> for MergeError {
    fn from(error: Error) -> Self {
        Self::Output(error)
    }
}

/// Merges segments into the new folder `folder` and brings it to disk. Times become no finer than `target` says.
pub(crate) fn merge(
    folder: &Path,
    segments: &[Arc<SegmentInfo>],
    target: Target,
    pace: &Pace,
) -> Result<(Manifest, u64), MergeError> {
    merge_with(folder, segments, target, None, pace)
}

/// The same, and frames without names get these.
pub(crate) fn merge_naming(
    folder: &Path,
    segments: &[Arc<SegmentInfo>],
    target: Target,
    names: &LateNames,
    pace: &Pace,
) -> Result<(Manifest, u64), MergeError> {
    merge_with(folder, segments, target, Some(names), pace)
}

fn merge_with(
    folder: &Path,
    segments: &[Arc<SegmentInfo>],
    target: Target,
    names: Option<&LateNames>,
    pace: &Pace,
) -> Result<(Manifest, u64), MergeError> {
    pace.begin();
    let (mut tables, mut inputs) = open(segments, &target, names)?;
    let order = RowOrder::new(&tables, target.resolution_ms);
    let mut writer = SegmentWriter::create(folder, target.clone(), &tables, pace)?;
    let mut adder = Adder::new(target.resolution_ms);
    let mut heap = Vec::with_capacity(inputs.len());
    for (i, input) in inputs.iter_mut().enumerate() {
        if input.fill(&order, &mut tables.strings).map_err(|error| MergeError::Input(i, error))? {
            heap.push(i);
        }
    }
    for at in (0..heap.len()).rev() {
        sift_down(&mut heap, at, &inputs, &tables.strings);
    }
    while let Some(&first) = heap.first() {
        let second = heap.get(1..3.min(heap.len())).unwrap_or_default().iter().copied();
        let second = second.min_by(|a, b| compare(&inputs[*a], &inputs[*b], &tables.strings));
        // Inputs mostly follow each other: rows are taken from one for as long as it is ahead.
        loop {
            let input = &inputs[first];
            let row = &input.batch.rows[input.at];
            let strings = &tables.strings;
            adder.push(row, input.batch.exact_of(row), |row, exact| writer.push(row, exact, strings))?;
            inputs[first].at += 1;
            if inputs[first].at == inputs[first].batch.rows.len() {
                pace.rest(0);
                let filled = inputs[first].fill(&order, &mut tables.strings);
                if !filled.map_err(|error| MergeError::Input(first, error))? {
                    heap.swap_remove(0);
                    break;
                }
            }
            let second = second.map(|second| &inputs[second]);
            if second
                .is_some_and(|second| compare(&inputs[first], second, &tables.strings) == Ordering::Greater)
            {
                break;
            }
        }
        sift_down(&mut heap, 0, &inputs, &tables.strings);
    }
    adder.finish(|row, exact| writer.push(row, exact, &tables.strings))?;
    Ok(writer.finish(&tables)?)
}

/// The union of the segments' tables, in order, and the segments' rows.
fn open(
    segments: &[Arc<SegmentInfo>],
    target: &Target,
    names: Option<&LateNames>,
) -> Result<(Profile, Vec<Input>), MergeError> {
    let mut builder = ProfileBuilder::default();
    let mut inputs = Vec::with_capacity(segments.len());
    let (mut start_ms, mut end_ms) = (i64::MAX, i64::MIN);
    for (i, segment) in segments.iter().enumerate() {
        let bad = |error| MergeError::Input(i, error);
        let files = read_tables(&segment.path, &segment.manifest, &Table::ALL).map_err(bad)?;
        let read = guarded(|| {
            let tables = decode::decode_all_but_samples(&segment.manifest, |table| bytes_of(&files, table))?;
            let file = decode::open_samples(&segment.manifest, bytes_of(&files, Table::Samples))?;
            let batches = file.batches()?;
            Ok((tables, file, batches))
        });
        let (tables, file, batches) = read.map_err(bad)?;
        (start_ms, end_ms) = (start_ms.min(tables.start_ms), end_ms.max(tables.end_ms));
        let (series, nodes) = builder.add_tables(&tables, target.resolution_ms, names);
        inputs.push(Input {
            decoder: RowDecoder::new(series.len(), nodes.len()),
            order: InputOrder::of(&segment.manifest, target, names.is_some()),
            manifest: segment.manifest.clone(),
            resolution_ms: target.resolution_ms,
            file,
            batches,
            series,
            nodes,
            source: Batch::default(),
            source_at: 0,
            batch: Batch::default(),
            places: Vec::new(),
            at: 0,
        });
    }
    let (mut tables, places) = builder.finish_with_places(start_ms, end_ms);
    let moves = tables.put_tables_in_order();
    for input in &mut inputs {
        let node = |node: &NodeId| moves.nodes[places[node.0 as usize].0 as usize];
        input.nodes = input.nodes.iter().map(node).collect();
        input.series = input.series.iter().map(|id| moves.series[id.0 as usize]).collect();
    }
    Ok((tables, inputs))
}

/// How a segment's rows come in the order of the merged one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InputOrder {
    /// As they are.
    Same,
    /// Sorted chunk by chunk: the merged one has longer chunks, or nodes that got names have other places.
    ByChunk,
    /// Sorted all together: version 1 had tables in the order of arrival.
    Whole,
}

impl InputOrder {
    fn of(manifest: &Manifest, target: &Target, is_renamed: bool) -> Self {
        match manifest.schema_version {
            1 => Self::Whole,
            _ if is_renamed => Self::ByChunk,
            _ if chunk_ms(manifest.resolution_ms) == chunk_ms(target.resolution_ms) => Self::Same,
            _ => Self::ByChunk,
        }
    }
}

/// The rows of one segment, with the handles of the merged tables.
struct Input {
    manifest: Manifest,
    order: InputOrder,
    resolution_ms: i64,
    file: TableFile,
    batches: Batches,
    decoder: RowDecoder,
    series: Vec<SeriesId>,
    nodes: Vec<NodeId>,
    /// Rows as read, those before `source_at` taken.
    source: Batch,
    source_at: usize,
    /// Rows in order, those before `at` taken.
    batch: Batch,
    places: Vec<Place>,
    at: usize,
}

impl Input {
    /// Makes the next rows the batch. False when there are no more.
    fn fill(&mut self, order: &RowOrder, strings: &mut StringTable) -> Result<bool, LoadError> {
        self.at = 0;
        self.batch.clear();
        if self.order == InputOrder::Same {
            guarded(|| self.read(strings))?;
            std::mem::swap(&mut self.batch, &mut self.source);
            self.places = self.batch.places(order);
        } else {
            self.collect(order, strings)?;
            self.places = self.batch.sort(order, strings);
        }
        Ok(!self.batch.rows.is_empty())
    }

    /// Takes rows of one chunk, or all there are.
    fn collect(&mut self, order: &RowOrder, strings: &mut StringTable) -> Result<(), LoadError> {
        let mut chunk = None;
        loop {
            if self.source_at == self.source.rows.len() && !guarded(|| self.read(strings))? {
                return Ok(());
            }
            let row = &self.source.rows[self.source_at];
            let key = coarse(row.key, self.resolution_ms);
            let own = RowOrder::chunk_of(order.place(&key));
            if self.order == InputOrder::ByChunk && *chunk.get_or_insert(own) != own {
                return Ok(());
            }
            self.source_at += 1;
            match self.batch.rows.last_mut() {
                Some(last) if self.resolution_ms > 0 && last.key == key => {
                    last.samples = last.samples.saturating_add(row.samples);
                    last.value = last.value.saturating_add(row.value);
                }
                _ => {
                    let exact = if self.resolution_ms > 0 { &[] } else { self.source.exact_of(row) };
                    let row = crate::model::Row { key, ..row.clone() };
                    self.batch.push(&row, exact);
                }
            }
        }
    }

    /// Reads some rows from the file. False when there are no more.
    fn read(&mut self, strings: &mut StringTable) -> Checked<bool> {
        self.source.clear();
        self.source_at = 0;
        while self.source.rows.is_empty() {
            let Some((_, batch)) = self.batches.next(&self.file)? else { return Ok(false) };
            self.decoder.decode(&self.file.rows_of(&batch), &self.manifest, strings, &mut self.source)?;
        }
        for row in &mut self.source.rows {
            row.key.series = self.series[row.key.series.0 as usize];
            row.key.node = self.nodes[row.key.node.0 as usize];
        }
        Ok(true)
    }
}

fn compare(a: &Input, b: &Input, strings: &StringTable) -> Ordering {
    let places = a.places[a.at].cmp(&b.places[b.at]);
    places.then_with(|| compare_within(strings, &a.batch.rows[a.at], &b.batch.rows[b.at]))
}

/// Puts the input at `at` where it belongs in a heap with the least input first.
fn sift_down(heap: &mut [usize], mut at: usize, inputs: &[Input], strings: &StringTable) {
    loop {
        let children = (2 * at + 1)..(2 * at + 3).min(heap.len());
        let least = children.min_by(|a, b| compare(&inputs[heap[*a]], &inputs[heap[*b]], strings));
        match least {
            Some(child) if compare(&inputs[heap[child]], &inputs[heap[at]], strings) == Ordering::Less => {
                heap.swap(at, child);
                at = child;
            }
            _ => return,
        }
    }
}
