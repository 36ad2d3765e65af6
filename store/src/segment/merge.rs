//! Segments to one, in one pass over their sorted rows: memory is needed for their tables and for some thousand rows of
//! each, not for all of them.

use std::cmp::Ordering;
use std::path::Path;
use std::sync::Arc;

use super::decode::{self, RowDecoder};
use super::file::{Batches, Checked, TableFile};
use super::folder::{CopyError, LoadError, bytes_of, guarded, read_tables, source_of};
use super::order::{Place, RowOrder, compare_within, span_of};
use super::rows::{Adder, Batch, coarse};
use super::same::Same;
use super::writer::{SegmentWriter, Target};
use super::{Manifest, SegmentInfo, Table, chunk_ms, chunk_ms_of};
use crate::dictionary::Places;
use crate::error::Error;
use crate::model::{LateNames, NodeId, Profile, ProfileBuilder, SeriesId, StringTable};
use crate::pace::Pace;

/// Stack nodes of a merged segment. All stacks are held while its rows pass by: some 150 bytes for each node while they are
/// put in order. A day of a fleet with 300,000 stacks has 1.5 million.
/// Few in tests, which need not make millions.
const MAX_MERGED_NODES: usize = if cfg!(test) { 1000 } else { 4 << 20 };

/// Why segments were not merged.
#[derive(Debug)]
pub(crate) enum MergeError {
    /// The input of this place cannot be read.
    Input(usize, LoadError),
    /// So many of the inputs have as many stacks together as one segment may have; more of them have too many.
    Full(usize),
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
    let same = Same::of(segments, &target, names.is_some());
    let (mut tables, mut inputs) = match &same {
        Some(same) => open_same(same, &target).map_err(|error| MergeError::Input(0, error))?,
        None => open(segments, &target, names)?,
    };
    let order = RowOrder::new(&tables, target.resolution_ms);
    let mut writer = SegmentWriter::create(folder, target.clone(), &tables, same.as_ref(), pace)?;
    let mut adder = Adder::new(target.resolution_ms);
    let mut heap = Vec::with_capacity(inputs.len());
    for (i, input) in inputs.iter_mut().enumerate() {
        if input.look_ahead(&order, &mut tables.strings).map_err(|error| MergeError::Input(i, error))? {
            heap.push(i);
        }
    }
    for at in (0..heap.len()).rev() {
        sift_down(&mut heap, at, &inputs, &tables.strings);
    }
    while let Some(&first) = heap.first() {
        if inputs[first].is_due() {
            let filled = inputs[first].fill(&order, &mut tables.strings);
            filled.map_err(|error| MergeError::Input(first, error))?;
            sift_down(&mut heap, 0, &inputs, &tables.strings);
            continue;
        }
        let second = heap.get(1..3.min(heap.len())).unwrap_or_default().iter().copied();
        let second = second.min_by(|a, b| compare(&inputs[*a], &inputs[*b], &tables.strings));
        // Inputs mostly follow each other: rows are taken from one for as long as it is ahead.
        loop {
            let input = &inputs[first];
            let row = &input.batch.rows[input.at];
            let strings = &tables.strings;
            adder.push(row, input.batch.exact_of(row), |row, exact| writer.push(row, exact, strings))?;
            inputs[first].at += 1;
            if inputs[first].is_due() {
                pace.rest(0);
                let more = inputs[first].look_ahead(&order, &mut tables.strings);
                if !more.map_err(|error| MergeError::Input(first, error))? {
                    heap.swap_remove(0);
                }
                break;
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
    writer.finish(&tables).map_err(|error| match error {
        CopyError::Output(error) => MergeError::Output(error),
        CopyError::Input(error) => MergeError::Input(0, error),
    })
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
        let files = read_tables(&segment.path, &segment.manifest, &Table::ALL_BUT_SAMPLES).map_err(bad)?;
        let strings = if names.is_none() { builder.lend_strings() } else { StringTable::default() };
        let bytes = |table| bytes_of(&files, table);
        let read = guarded(|| decode::decode_among(strings, &segment.manifest, bytes));
        let mut tables = read.map_err(bad)?;
        (start_ms, end_ms) = (start_ms.min(tables.start_ms), end_ms.max(tables.end_ms));
        let decoder = RowDecoder::new(&tables);
        let (series, nodes) = match names {
            None => builder.add_own_tables(&mut tables, target.resolution_ms),
            Some(names) => builder.add_tables_naming(&tables, target.resolution_ms, names),
        };
        if builder.nodes() > MAX_MERGED_NODES && i > 0 {
            return Err(MergeError::Full(i));
        }
        let order = InputOrder::of(&segment.manifest, target, names.is_some());
        let input = Input::open(segment, target, decoder, order, series, Places::new(nodes.into_iter()));
        inputs.push(input.map_err(bad)?);
    }
    let (mut tables, places) = builder.finish_with_places(start_ms, end_ms);
    let moves = tables.put_tables_in_order();
    for input in &mut inputs {
        let node = |node: NodeId| moves.nodes[places[node.0 as usize].0 as usize];
        input.nodes = Places::new(input.nodes.iter().map(node));
        input.series = input.series.iter().map(|id| moves.series[id.0 as usize]).collect();
    }
    Ok((tables, inputs))
}

/// The same of one segment, whose tables stay as they are. Where its rollups do, too, nobody needs its stacks.
fn open_same(same: &Same<'_>, target: &Target) -> Result<(Profile, Vec<Input>), LoadError> {
    let (manifest, path) = (&same.segment.manifest, &same.segment.path);
    let files = read_tables(path, manifest, &Table::ALL_BUT_SAMPLES)?;
    let bytes = |table| bytes_of(&files, table);
    let (mut tables, nodes) = guarded(|| {
        if same.rollups.is_empty() {
            let tables = decode::decode_all_but_samples(manifest, bytes)?;
            let nodes = tables.stacks.len();
            return Ok((tables, nodes));
        }
        let nodes = TableFile::open(Table::Stacks, bytes(Table::Stacks))?.rows();
        Ok((decode::decode_series(manifest, bytes)?, nodes))
    })?;
    tables.coarsen_accounts(target.resolution_ms);
    let decoder = RowDecoder::with_nodes(&tables, nodes);
    let series = (0..tables.series.len() as u32).map(SeriesId).collect();
    let order = InputOrder::of(manifest, target, false);
    let places = Places::new((0..nodes as u32).map(NodeId));
    let input = Input::open(same.segment, target, decoder, order, series, places)?;
    Ok((tables, vec![input]))
}

/// How a segment's rows come in the order of the merged one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InputOrder {
    /// As they are.
    Same,
    /// Sorted span by span of so many milliseconds: the merged one has longer chunks or shorter ones, or nodes that got
    /// names have other places.
    BySpan(i64),
    /// Sorted all together: version 1 had tables in the order of arrival.
    Whole,
}

impl InputOrder {
    fn of(manifest: &Manifest, target: &Target, is_renamed: bool) -> Self {
        let (own_ms, new_ms) =
            (chunk_ms_of(manifest.schema_version, manifest.resolution_ms), chunk_ms(target.resolution_ms));
        match manifest.schema_version {
            1 => Self::Whole,
            _ if !is_renamed && own_ms == new_ms => Self::Same,
            _ => Self::BySpan(own_ms.max(new_ms)),
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
    /// By the segment's own nodes.
    nodes: Places,
    hint: usize,
    /// Rows as read, those before `source_at` taken.
    source: Batch,
    source_at: usize,
    /// Rows in order, those before `at` taken.
    batch: Batch,
    places: Vec<Place>,
    at: usize,
    /// None of the rows after the batch is before this place.
    next: Place,
}

impl Input {
    /// The rows of a segment, whose series and nodes have these handles in the merged one.
    fn open(
        segment: &SegmentInfo,
        target: &Target,
        decoder: RowDecoder,
        order: InputOrder,
        series: Vec<SeriesId>,
        nodes: Places,
    ) -> Result<Self, LoadError> {
        let manifest = segment.manifest.clone();
        let source = source_of(&segment.path, &manifest, Table::Samples)?;
        let (file, batches) = guarded(|| {
            let file = decode::open_samples(&manifest, source)?;
            let batches = file.batches()?;
            Ok((file, batches))
        })?;
        Ok(Self {
            manifest,
            order,
            resolution_ms: target.resolution_ms,
            file,
            batches,
            decoder,
            series,
            nodes,
            hint: 0,
            source: Batch::default(),
            source_at: 0,
            batch: Batch::default(),
            places: Vec::new(),
            at: 0,
            next: 0,
        })
    }

    /// Whether its batch has to be filled before it has a next row. That is done when it is its turn, so that of a
    /// day's segments only those of the hour in hand are held.
    fn is_due(&self) -> bool {
        self.at == self.batch.rows.len()
    }

    /// The place of the next row, or one that none of its rows is before.
    fn place(&self) -> Place {
        self.places.get(self.at).copied().unwrap_or(self.next)
    }

    /// Finds out where the rows after the batch begin. False when there are none.
    fn look_ahead(&mut self, order: &RowOrder, strings: &mut StringTable) -> Result<bool, LoadError> {
        if self.source_at == self.source.rows.len() && !guarded(|| self.read(strings))? {
            return Ok(false);
        }
        let key = coarse(self.source.rows[self.source_at].key, self.resolution_ms);
        self.next = match self.order {
            InputOrder::Same => order.place(&key),
            InputOrder::BySpan(span_ms) => order.start_of_span(&key, span_ms),
            InputOrder::Whole => 0,
        };
        Ok(true)
    }

    /// Makes the next rows, of which there are some, the batch.
    fn fill(&mut self, order: &RowOrder, strings: &mut StringTable) -> Result<(), LoadError> {
        self.at = 0;
        self.batch.clear();
        if self.order == InputOrder::Same {
            std::mem::swap(&mut self.batch, &mut self.source);
            self.source_at = 0;
            self.places = self.batch.places(order);
        } else {
            self.collect(order, strings)?;
            self.places = self.batch.sort(order, strings);
        }
        Ok(())
    }

    /// Takes rows of one span, or all there are.
    fn collect(&mut self, order: &RowOrder, strings: &mut StringTable) -> Result<(), LoadError> {
        let mut span = None;
        loop {
            if self.source_at == self.source.rows.len() && !guarded(|| self.read(strings))? {
                return Ok(());
            }
            let row = &self.source.rows[self.source_at];
            let key = coarse(row.key, self.resolution_ms);
            if let InputOrder::BySpan(span_ms) = self.order {
                let own = order.group(&key);
                let (group, times) = span.get_or_insert_with(|| (own, span_of(key.time_ms, span_ms)));
                if *group != own || !times.contains(&key.time_ms) {
                    return Ok(());
                }
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
            row.key.node = NodeId(self.nodes.get(row.key.node.0, &mut self.hint));
        }
        Ok(true)
    }
}

fn compare(a: &Input, b: &Input, strings: &StringTable) -> Ordering {
    let places = a.place().cmp(&b.place());
    places.then_with(|| match (a.batch.rows.get(a.at), b.batch.rows.get(b.at)) {
        (Some(a), Some(b)) => compare_within(strings, a, b),
        // What is not filled yet may have rows before the other's.
        (a, b) => a.is_some().cmp(&b.is_some()),
    })
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
