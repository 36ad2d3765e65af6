//! From the samples of one segment, or of a window in memory, to the rows that a query asks for.

use std::borrow::Cow;
use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, RecordBatch};

use super::Tables;
use super::batch::{Batch, Codes, Columns, Lists, Run};
use super::limits::Cancel;
use super::plan::{self, Piece, Wanted};
use crate::error::Error;
use crate::model::{Row, SeriesId, StringTable};
use crate::query::{Offsets, RowLabels, Selected, Selector};
use crate::segment::{LoadError, SamplesFile};

/// Why there is nothing from a segment.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It cannot be read; the answer does without it.
    Load(LoadError),
    /// The query ends.
    Stop(Error),
}

impl From<LoadError> for Fault {
    fn from(error: LoadError) -> Self {
        Self::Load(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Stop(error)
    }
}

impl Fault {
    /// What is wrong with the samples of a segment.
    pub(crate) fn bad(reason: impl std::fmt::Display) -> Self {
        Self::Load(LoadError::Bad(format!("samples.parquet: {reason}")))
    }
}

fn bad(reason: impl std::fmt::Display) -> Fault {
    Fault::bad(reason)
}

/// What is asked of each segment.
pub(crate) struct Request<'a> {
    pub(crate) selector: &'a Selector,
    /// Unix milliseconds.
    pub(crate) range: Range<i64>,
    /// The parts of seconds that count; none for all of them.
    pub(crate) offsets: Option<&'a Offsets>,
    pub(crate) columns: Columns,
    pub(crate) cancel: &'a Cancel,
}

/// Takes rows; `Err` ends the scan.
pub(crate) type Take<'a> = dyn FnMut(&Batch<'_>) -> Result<(), Fault> + 'a;

/// Feeds the selected rows of some row groups of one of a segment's tables to `take`. Returns the rows that were read for it. `texts` goes from
/// table to table: whoever takes the rows of several knows texts by their handles.
pub(crate) fn scan_segment(
    request: &Request<'_>,
    tables: &Tables,
    (samples, groups): (&SamplesFile, impl Iterator<Item = usize>),
    texts: &mut StringTable,
    take: &mut Take<'_>,
) -> Result<u64, Fault> {
    let mut scan = Scan::new(request, tables, texts);
    let decided = scan.selected.by_series().to_vec();
    if decided.iter().all(|decided| *decided == Some(false)) {
        return Ok(0);
    }
    let mut rows = 0;
    for group in groups {
        for Piece { part, is_edge } in plan::pieces(samples, group, &Wanted::new(&decided), &request.range) {
            let is_edge = is_edge || request.offsets.is_some();
            let known = Known::of(samples, group, scan.texts);
            let columns = scan.columns(is_edge, samples.has_exact_times(), &known);
            let each = |batch: &RecordBatch| {
                request.cancel.check()?;
                rows += batch.num_rows() as u64;
                scan.segment_rows(batch, &known, is_edge, take)
            };
            samples.read(&part, &columns, each, |reason| Fault::Load(LoadError::Bad(reason)))?;
        }
    }
    Ok(rows)
}

/// Feeds the selected rows of a window in memory to `take`.
pub(crate) fn scan_head(request: &Request<'_>, head: &Tables, take: &mut Take<'_>) -> Result<u64, Fault> {
    request.cancel.check()?;
    let mut texts = StringTable::default();
    let mut scan = Scan::new(request, head, &mut texts);
    let rows = &head.rows;
    let ints = |of: fn(&Row) -> u32| rows.iter().map(|row| of(row) as i32).collect::<Vec<_>>();
    let longs = |of: fn(&Row) -> i64| rows.iter().map(of).collect::<Vec<_>>();
    let thread: Vec<_> = rows.iter().map(|row| scan.texts.intern(head.text(row.key.thread)).0).collect();
    let status: Vec<_> = rows.iter().map(|row| scan.texts.intern(head.text(row.key.status)).0).collect();
    let mut starts = vec![0i32];
    let (mut offsets, mut cpus) = (Vec::new(), Vec::new());
    for row in rows {
        offsets.extend(head.exact_of(row).iter().map(|exact| i32::from(exact.offset_ms)));
        cpus.extend(head.exact_of(row).iter().map(|exact| i32::from(exact.cpu)));
        starts.push(offsets.len() as i32);
    }
    let (series, node) = (ints(|row| row.key.series.0), ints(|row| row.key.node.0));
    let raw = Raw {
        series: Series::Each(&series),
        node: &node,
        time: &longs(|row| row.key.time_ms),
        samples: &longs(|row| i64::try_from(row.samples).unwrap_or(i64::MAX)),
        value: &longs(|row| row.value),
        pid: &longs(|row| i64::from(row.key.pid)),
        tid: &longs(|row| i64::from(row.key.tid)),
        thread: Codes::Each(&thread),
        status: Codes::Each(&status),
        exact: Some(Lists { starts: &starts, values: &offsets }),
        cpus: Some(Lists { starts: &starts, values: &cpus }),
    };
    scan.rows(&raw, true, take)?;
    Ok(rows.len() as u64)
}

/// What the statistics of a row group say about all of its rows.
struct Known {
    series: Option<i32>,
    thread: Option<u32>,
    status: Option<u32>,
}

impl Known {
    fn of(samples: &SamplesFile, group: usize, texts: &mut StringTable) -> Self {
        let series = samples.bounds(group, "series").filter(|(first, last)| first == last);
        let mut text = |column| samples.only_text(group, column).map(|text| texts.intern(text).0);
        Self {
            series: series.and_then(|(only, _)| i32::try_from(only).ok()),
            thread: text("thread"),
            status: text("status"),
        }
    }
}

/// The series of rows.
#[derive(Clone, Copy)]
enum Series<'a> {
    One(i32),
    Each(&'a [i32]),
}

/// Rows as they are stored; columns that were not read are empty.
struct Raw<'a> {
    series: Series<'a>,
    node: &'a [i32],
    time: &'a [i64],
    samples: &'a [i64],
    value: &'a [i64],
    pid: &'a [i64],
    tid: &'a [i64],
    thread: Codes<'a>,
    status: Codes<'a>,
    exact: Option<Lists<'a>>,
    cpus: Option<Lists<'a>>,
}

struct Scan<'a> {
    request: &'a Request<'a>,
    tables: &'a Tables,
    selected: Selected<'a>,
    /// Whether rows must be looked at to know whether they are selected.
    by_row: bool,
    texts: &'a mut StringTable,
}

impl<'a> Scan<'a> {
    fn new(request: &'a Request<'a>, tables: &'a Tables, texts: &'a mut StringTable) -> Self {
        let selected = Selected::new(tables, request.selector);
        let by_row = selected.by_series().contains(&None);
        Self { request, tables, selected, by_row, texts }
    }

    /// The columns to read.
    fn columns(&self, is_edge: bool, has_exact_times: bool, known: &Known) -> Vec<&'static str> {
        let Columns { node, value, threads, status, time, cpus } = self.request.columns;
        let asked = |label| self.by_row && self.request.selector.asks_for(label);
        let mut columns = vec!["samples"];
        let mut need = |name, needed: bool| columns.extend(needed.then_some(name));
        need("series", known.series.is_none());
        need("node", node);
        need("value", value);
        need("pid", threads || asked("pid"));
        need("tid", threads || asked("tid"));
        need("thread", (threads || asked("thread")) && known.thread.is_none());
        need("status", (status || asked("status")) && known.status.is_none());
        need("time", time || is_edge);
        need("offsets_ms", has_exact_times && (time || is_edge));
        need("cpus", cpus);
        columns
    }

    fn segment_rows(
        &mut self,
        batch: &RecordBatch,
        known: &Known,
        is_edge: bool,
        take: &mut Take<'_>,
    ) -> Result<(), Fault> {
        let thread = self.codes(batch, "thread")?;
        let status = self.codes(batch, "status")?;
        let series = ints(batch, "series")?;
        let series = known.series.filter(|_| series.is_empty()).map_or(Series::Each(series), Series::One);
        let samples = longs(batch, "samples")?;
        let value = values(batch, series, samples, self.tables)?;
        let raw = Raw {
            series,
            node: ints(batch, "node")?,
            time: longs(batch, "time")?,
            samples,
            value: &value,
            pid: longs(batch, "pid")?,
            tid: longs(batch, "tid")?,
            thread: codes_or(thread.as_deref(), known.thread),
            status: codes_or(status.as_deref(), known.status),
            exact: lists(batch, "offsets_ms")?,
            cpus: lists(batch, "cpus")?,
        };
        self.rows(&raw, is_edge, take)
    }

    /// The texts of a column as handles of our own table.
    fn codes(&mut self, batch: &RecordBatch, name: &str) -> Result<Option<Vec<u32>>, Fault> {
        let Some(column) = batch.column_by_name(name) else { return Ok(None) };
        let dictionary = column.as_dictionary_opt::<Int32Type>();
        let dictionary = dictionary.ok_or_else(|| bad(format_args!("column {name} is not text")))?;
        let values = dictionary.values().as_string_opt::<i32>();
        let values = values.ok_or_else(|| bad(format_args!("column {name} is not text")))?;
        if dictionary.null_count() + values.null_count() > 0 {
            return Err(bad(format_args!("column {name} has empty places")));
        }
        let ours: Vec<u32> = values.iter().map(|text| self.texts.intern(text.unwrap_or("")).0).collect();
        let code = |key: &i32| usize::try_from(*key).ok().and_then(|key| ours.get(key)).copied();
        let codes = dictionary.keys().values().iter().map(code).collect::<Option<Vec<_>>>();
        codes.map(Some).ok_or_else(|| bad(format_args!("column {name} is damaged")))
    }

    /// Checks rows, cuts them to the range, and hands over those that are selected.
    fn rows(&mut self, raw: &Raw<'_>, is_edge: bool, take: &mut Take<'_>) -> Result<(), Fault> {
        check(raw, self.tables)?;
        let cut = is_edge.then(|| match self.request.offsets {
            Some(offsets) => pick(raw, &self.request.range, offsets),
            None => cut(raw, &self.request.range),
        });
        let (samples, value) =
            cut.as_ref().map_or((raw.samples, raw.value), |(samples, value)| (&samples[..], &value[..]));
        let runs = self.runs(raw, samples)?;
        take(&Batch {
            runs: &runs,
            node: raw.node,
            time: raw.time,
            samples,
            value,
            pid: raw.pid,
            tid: raw.tid,
            thread: raw.thread,
            status: raw.status,
            texts: self.texts,
            exact: raw.exact,
            cpus: raw.cpus,
            range: &self.request.range,
            offsets: self.request.offsets,
        })
    }

    /// Runs of selected rows that have samples.
    fn runs(&mut self, raw: &Raw<'_>, samples: &[i64]) -> Result<Vec<Run>, Fault> {
        let all_count = samples.iter().fold(i64::MAX, |min, n| min.min(*n)) > 0;
        let mut runs = Vec::new();
        let mut start = 0;
        while start < samples.len() {
            let (id, end) = match raw.series {
                Series::One(id) => (id, samples.len()),
                Series::Each(ids) => {
                    let same = ids[start..].iter().take_while(|id| **id == ids[start]).count();
                    (ids[start], start + same)
                }
            };
            let series = SeriesId(id.cast_unsigned());
            match self.selected.by_series().get(series.0 as usize).copied() {
                None => return Err(bad(format_args!("series {id} is not among those there are"))),
                Some(Some(false)) => {}
                Some(Some(true)) if all_count => runs.push(Run { series, rows: start..end }),
                Some(decided) => {
                    for (row, own) in samples.iter().enumerate().take(end).skip(start) {
                        let counts = *own > 0 && (decided == Some(true) || self.selects(raw, series, row)?);
                        match runs.last_mut() {
                            _ if !counts => {}
                            Some(last) if last.series == series && last.rows.end == row => last.rows.end += 1,
                            _ => runs.push(Run { series, rows: row..row + 1 }),
                        }
                    }
                }
            }
            start = end;
        }
        Ok(runs)
    }

    fn selects(&mut self, raw: &Raw<'_>, series: SeriesId, row: usize) -> Result<bool, Fault> {
        let id = |column: &[i64], name: &str| match column.get(row) {
            None => Ok(0),
            Some(id) => u32::try_from(*id).map_err(|_| bad(format_args!("{name} {id} is out of range"))),
        };
        let (pid, tid) = (id(raw.pid, "pid")?, id(raw.tid, "tid")?);
        let (thread, status) = (raw.thread.get(row), raw.status.get(row));
        let text = |code| self.texts.get(crate::model::StringId(code));
        let labels = RowLabels { pid, tid, thread: text(thread), status: text(status) };
        Ok(self.selected.contains_labels((series, pid, tid, thread, status), labels))
    }
}

/// Whether rows can be what they say: lengths, handles and numbers.
fn check(raw: &Raw<'_>, tables: &Tables) -> Result<(), Fault> {
    let nodes = tables.nodes;
    let (least, most) = raw.node.iter().fold((0, 0), |(a, b), node| (a.min(*node), b.max(*node)));
    if least < 0 || (most.cast_unsigned() as usize >= nodes && !raw.node.is_empty()) {
        let node = if least < 0 { least } else { most };
        return Err(bad(format_args!("node {node} is not among the {nodes} there are")));
    }
    if raw.samples.iter().any(|samples| *samples < 0) {
        return Err(bad("a row has less than no samples"));
    }
    for lists in [raw.exact, raw.cpus].into_iter().flatten() {
        check_lists(raw, lists)?;
    }
    Ok(())
}

/// Whether each row has an entry for each of its samples, or none.
fn check_lists(raw: &Raw<'_>, lists: Lists<'_>) -> Result<(), Fault> {
    for (row, samples) in raw.samples.iter().enumerate() {
        let bounds = (usize::try_from(lists.starts[row]), usize::try_from(lists.starts[row + 1]));
        match bounds {
            (Ok(start), Ok(end)) if start <= end && end <= lists.values.len() => {
                if start != end && i64::try_from(end - start) != Ok(*samples) {
                    return Err(bad(format_args!(
                        "a row of {samples} samples has {} times or CPUs",
                        end - start
                    )));
                }
            }
            _ => return Err(bad("bad list of exact times or CPUs")),
        }
    }
    if lists.values.iter().any(|offset| u16::try_from(*offset).is_err()) {
        return Err(bad("an exact time or a CPU is out of range"));
    }
    Ok(())
}

/// Samples and values within the range: see [`Profile::part_within`].
fn cut(raw: &Raw<'_>, range: &Range<i64>) -> (Vec<i64>, Vec<i64>) {
    let mut samples = Vec::with_capacity(raw.samples.len());
    let mut values = Vec::with_capacity(raw.value.len());
    for row in 0..raw.samples.len() {
        let (time, all) = (raw.time[row], raw.samples[row]);
        let offsets = raw.exact.map_or(&[][..], |lists| lists.get(row));
        let before = |limit: i64| {
            let is_before = |offset: &i32| time.saturating_add(i64::from(*offset)) < limit;
            offsets.iter().filter(|offset| is_before(offset)).count() as i64
        };
        let (first, last, of) = match offsets.is_empty() {
            true if range.contains(&time) => (0, all, all),
            true => (0, 0, all),
            false => (before(range.start), before(range.end).max(before(range.start)), all),
        };
        samples.push(last - first);
        if let Some(value) = raw.value.get(row) {
            let upto = |n: i64| (i128::from(*value) * i128::from(n)).div_euclid(i128::from(of.max(1))) as i64;
            // Of most rows all samples are within, or none: those need no division, which is slow.
            values.push(match last - first {
                0 => 0,
                own if own == of => *value,
                _ => upto(last).wrapping_sub(upto(first)),
            });
        }
    }
    (samples, values)
}

/// Samples and values within parts of the range's seconds. Rows that do not know their times have none.
fn pick(raw: &Raw<'_>, range: &Range<i64>, picked: &Offsets) -> (Vec<i64>, Vec<i64>) {
    let mut samples = Vec::with_capacity(raw.samples.len());
    let mut values = Vec::with_capacity(raw.value.len());
    for row in 0..raw.samples.len() {
        let times = raw.exact.map_or(&[][..], |lists| lists.get(row));
        let is_in = |offset: &&i32| {
            let time = raw.time[row].saturating_add(i64::from(**offset));
            range.contains(&time) && picked.contains(time)
        };
        let own = times.iter().filter(is_in).count() as i64;
        samples.push(own);
        if let Some(value) = raw.value.get(row) {
            let all = i128::from(raw.samples[row].max(1));
            values.push((i128::from(*value) * i128::from(own)).div_euclid(all) as i64);
        }
    }
    (samples, values)
}

/// The texts of rows, or the one of all.
fn codes_or(own: Option<&[u32]>, of_group: Option<u32>) -> Codes<'_> {
    own.map_or(Codes::One(of_group.unwrap_or(0)), Codes::Each)
}

fn ints<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a [i32], Fault> {
    let Some(column) = batch.column_by_name(name) else { return Ok(&[]) };
    match column.as_primitive_opt::<Int32Type>() {
        Some(column) if column.null_count() == 0 => Ok(column.values()),
        _ => Err(bad(format_args!("column {name} is not one of whole numbers"))),
    }
}

fn longs<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a [i64], Fault> {
    let Some(column) = batch.column_by_name(name) else { return Ok(&[]) };
    match column.as_primitive_opt::<Int64Type>() {
        Some(column) if column.null_count() == 0 => Ok(column.values()),
        _ => Err(bad(format_args!("column {name} is not one of whole numbers"))),
    }
}

/// Values of rows. Rollups do not say them where they are the samples times the series' period.
fn values<'a>(
    batch: &'a RecordBatch,
    series: Series<'_>,
    samples: &[i64],
    tables: &Tables,
) -> Result<Cow<'a, [i64]>, Fault> {
    let Some(column) = batch.column_by_name("value") else { return Ok(Cow::Borrowed(&[])) };
    let column = column.as_primitive_opt::<Int64Type>();
    let column = column.ok_or_else(|| bad("column value is not one of whole numbers"))?;
    if column.null_count() == 0 {
        return Ok(Cow::Borrowed(column.values()));
    }
    // A series that there is not has been named before, or will be.
    let period =
        |id: i32| tables.series.get(id.cast_unsigned() as usize).map_or(0, |known| known.period.every);
    let of_one = if let Series::One(id) = series { period(id) } else { 0 };
    let mut values = Vec::with_capacity(samples.len());
    for (row, count) in samples.iter().enumerate() {
        let period = match series {
            Series::One(_) => of_one,
            Series::Each(ids) => period(ids[row]),
        };
        values.push(if column.is_null(row) { count.saturating_mul(period) } else { column.value(row) });
    }
    Ok(Cow::Owned(values))
}

fn lists<'a>(batch: &'a RecordBatch, name: &str) -> Result<Option<Lists<'a>>, Fault> {
    let Some(column) = batch.column_by_name(name) else { return Ok(None) };
    let wrong = || bad(format_args!("column {name} is not a list of whole numbers"));
    let list = column.as_list_opt::<i32>().filter(|list| list.null_count() == 0).ok_or_else(wrong)?;
    let values = list.values().as_primitive_opt::<Int32Type>().filter(|values| values.null_count() == 0);
    Ok(Some(Lists { starts: list.value_offsets(), values: values.ok_or_else(wrong)?.values() }))
}
