//! From the tables of a segment to a profile. Files are hostile: every handle, length and time is checked,
//! and a reason names the file.

use arrow_array::{Array, Int32Array, Int64Array, ListArray, StringArray};
use bytes::Bytes;

use super::file::{Checked, Rows, TableFile};
use super::rows::Batch;
use super::source::Source;
use super::{MAX_EXACT, MAX_SUM, Manifest, PROMOTED, Table};
use crate::model::{
    Account, Binary, BinaryId, EVENT_CPU, Exact, Frame, FrameId, FrameKind, NodeId, Period, Profile, Row,
    RowKey, Series, SeriesId, StackTree, StringId, StringTable, UNIT_NANOSECONDS, Unwound,
};
use crate::query::MAX_TIME_MS;

/// The profile of a segment with the rows of a rollup in place of its samples.
pub(super) fn decode_rollup(
    manifest: &Manifest,
    table: Table,
    rollup: Source,
    bytes: impl Fn(Table) -> Bytes,
) -> Checked<Profile> {
    let file = TableFile::open(table, rollup)?;
    let mut profile = decode_all_but_samples(manifest, bytes)?;
    // Their times are the starts of their steps, which may lie before the segment's.
    let span = Manifest { min_ms: 0, max_ms: MAX_TIME_MS, ..manifest.clone() };
    rows(&mut profile, &file, &span)?;
    sort_rows(&mut profile);
    Ok(profile)
}

/// The samples file, if it is the one that the manifest is about.
pub(super) fn open_samples(manifest: &Manifest, source: impl Into<Source>) -> Checked<TableFile> {
    let samples = TableFile::open(Table::Samples, source)?;
    let own = Manifest::from_metadata(|key| samples.metadata(key), samples.rows() as u64)
        .map_err(|reason| samples.bad(reason))?;
    if own != (Manifest { files: own.files.clone(), ..manifest.clone() }) {
        return Err(samples.bad("its metadata contradicts the manifest"));
    }
    Ok(samples)
}

/// The profile of a segment without its rows: who was sampled and all stacks there are.
pub(super) fn decode_all_but_samples(
    manifest: &Manifest,
    bytes: impl Fn(Table) -> Bytes,
) -> Checked<Profile> {
    decode_among(StringTable::default(), manifest, bytes)
}

/// The same, with its texts among others.
pub(super) fn decode_among(
    strings: StringTable,
    manifest: &Manifest,
    bytes: impl Fn(Table) -> Bytes,
) -> Checked<Profile> {
    let open = |table| TableFile::open(table, bytes(table));
    let (start_ms, end_ms) = (manifest.start_ms, manifest.end_ms);
    let mut profile = Profile { start_ms, end_ms, strings, ..Profile::default() };
    binaries(&mut profile, &open(Table::Binaries)?)?;
    frames(&mut profile, &open(Table::Frames)?)?;
    stacks(&mut profile, &open(Table::Stacks)?)?;
    series(&mut profile, &open(Table::Series)?)?;
    accounts(&mut profile, &open(Table::Accounts)?, manifest)?;
    profile.accounts.sort_unstable();
    Ok(profile)
}

/// The frames and the binaries they lie in.
pub(super) fn decode_frames(manifest: &Manifest, bytes: impl Fn(Table) -> Bytes) -> Checked<Profile> {
    let open = |table| TableFile::open(table, bytes(table));
    let mut profile = Profile { start_ms: manifest.start_ms, end_ms: manifest.end_ms, ..Profile::default() };
    binaries(&mut profile, &open(Table::Binaries)?)?;
    frames(&mut profile, &open(Table::Frames)?)?;
    Ok(profile)
}

/// Series and accounts of a segment, and nothing else.
pub(super) fn decode_series(manifest: &Manifest, bytes: impl Fn(Table) -> Bytes) -> Checked<Profile> {
    let open = |table| TableFile::open(table, bytes(table));
    let mut profile = Profile { start_ms: manifest.start_ms, end_ms: manifest.end_ms, ..Profile::default() };
    series(&mut profile, &open(Table::Series)?)?;
    accounts(&mut profile, &open(Table::Accounts)?, manifest)?;
    profile.accounts.sort_unstable();
    Ok(profile)
}

fn binaries(profile: &mut Profile, file: &TableFile) -> Checked<()> {
    file.read(|done, rows| {
        check_ids(rows, "binary", done)?;
        let (paths, build_ids) = (rows.texts("path")?, rows.texts("build_id")?);
        for i in 0..rows.len() {
            let path = profile.strings.intern(paths.value(i));
            let build_id = profile.strings.intern(build_ids.value(i));
            profile.binaries.push(Binary { path, build_id });
        }
        Ok(())
    })
}

fn frames(profile: &mut Profile, file: &TableFile) -> Checked<()> {
    file.read(|done, rows| {
        check_ids(rows, "frame", done)?;
        let (kinds, ways) = (rows.texts("kind")?, rows.texts("unwound")?);
        let (functions, system_names) = (rows.texts("function")?, rows.texts("system_name")?);
        let (files, lines) = (rows.texts("file")?, rows.longs("line")?);
        let (binaries, addresses) = (rows.nullable_ints("binary")?, rows.longs("address")?);
        let mut intern =
            |texts: &StringArray| profile.strings.intern_all((0..texts.len()).map(|i| texts.value(i)));
        let (functions, system_names, files) = (intern(functions), intern(system_names), intern(files));
        for i in 0..rows.len() {
            let kind = FrameKind::from_name(kinds.value(i));
            let unwound = Unwound::from_name(ways.value(i));
            let binary = optional_index(rows, binaries, i, profile.binaries.len(), "binary")?;
            let unknown = |what, name: &str| rows.bad(format!("unknown {what} `{}`", name.escape_debug()));
            let frame = Frame {
                kind: kind.ok_or_else(|| unknown("kind", kinds.value(i)))?,
                unwound: unwound.ok_or_else(|| unknown("unwound", ways.value(i)))?,
                function: functions[i],
                system_name: system_names[i],
                file: files[i],
                line: unsigned(rows, lines, i, "line")?,
                binary: binary.map(BinaryId),
                address: addresses.value(i).cast_unsigned(),
            };
            profile.frames.push(frame);
        }
        Ok(())
    })
}

fn stacks(profile: &mut Profile, file: &TableFile) -> Checked<()> {
    let mut nodes = Vec::new();
    let mut shape = Vec::new();
    let mut root_is_first = false;
    file.read(|done, rows| {
        check_ids(rows, "node", done)?;
        let (parents, frames) = (rows.ints("parent")?, rows.nullable_ints("frame")?);
        let (subtrees, depths) = (rows.ints("subtree")?, rows.ints("depth")?);
        for i in 0..rows.len() {
            shape.push((subtrees.value(i), depths.value(i)));
            let frame = optional_index(rows, frames, i, profile.frames.len(), "frame")?;
            match (frame, u32::try_from(parents.value(i))) {
                (None, Ok(0)) if done + i == 0 => root_is_first = true,
                (Some(frame), Ok(distance)) if done + i > 0 => nodes.push((distance, FrameId(frame))),
                _ => return Err(rows.bad(format!("node {} has a bad parent or frame", done + i))),
            }
        }
        Ok(())
    })?;
    if !root_is_first {
        return Err(file.bad("it has no root"));
    }
    let tree = StackTree::from_preorder(nodes)
        .map_err(|node| file.bad(format!("node {} is not in preorder", node + 1)))?;
    let own = tree.nodes().map(|v| (tree.subtree(v) as i32, tree.depth(v) as i32));
    if let Some(node) = own.zip(&shape).position(|(own, stored)| own != *stored) {
        return Err(file.bad(format!("node {node} has a wrong subtree or depth")));
    }
    profile.stacks = tree;
    Ok(())
}

fn series(profile: &mut Profile, file: &TableFile) -> Checked<()> {
    file.read(|done, rows| {
        check_ids(rows, "series", done)?;
        let types = ValueTypes::of(rows)?;
        let (maps, keys, values) = rows.text_maps("labels")?;
        let mut promoted = Vec::new();
        for label in PROMOTED {
            promoted.push((label, rows.nullable_texts(label)?));
        }
        for i in 0..rows.len() {
            let own = promoted.iter().filter(|(_, column)| column.is_valid(i));
            let mut labels: Vec<(&str, &str)> =
                own.map(|(label, column)| (*label, column.value(i))).collect();
            let entries = range_of(maps.value_offsets(), i, keys.len().min(values.len()));
            let entries = entries.ok_or_else(|| rows.bad("bad map of labels"))?;
            labels.extend(entries.map(|entry| (keys.value(entry), values.value(entry))));
            labels.sort_unstable();
            if labels.windows(2).any(|pair| pair[0].0 == pair[1].0) {
                return Err(rows.bad(format!("series {} has a label twice", done + i)));
            }
            let strings = &mut profile.strings;
            let labels = labels.iter().map(|(name, value)| (strings.intern(name), strings.intern(value)));
            let labels = labels.collect();
            let (unit, period) = types.value(i, strings);
            profile.series.push(Series { labels, unit, period });
        }
        Ok(())
    })
}

/// What the values of series are.
enum ValueTypes<'a> {
    /// Schema 1: nanoseconds of CPU time.
    Cpu {
        periods_ns: &'a Int64Array,
    },
    Any {
        units: &'a StringArray,
        periods: &'a Int64Array,
        of: [&'a StringArray; 2],
    },
}

impl<'a> ValueTypes<'a> {
    fn of(rows: &Rows<'a>) -> Checked<Self> {
        if rows.version() == 1 {
            return Ok(Self::Cpu { periods_ns: rows.longs("period_ns")? });
        }
        let of = [rows.texts("period_event")?, rows.texts("period_unit")?];
        Ok(Self::Any { units: rows.texts("unit")?, periods: rows.longs("period")?, of })
    }

    fn value(&self, i: usize, strings: &mut StringTable) -> (StringId, Period) {
        match self {
            Self::Cpu { periods_ns } => {
                let unit = strings.intern(UNIT_NANOSECONDS);
                (unit, Period { every: periods_ns.value(i), event: strings.intern(EVENT_CPU), unit })
            }
            Self::Any { units, periods, of } => {
                let [event, unit] = of.map(|column| strings.intern(column.value(i)));
                (strings.intern(units.value(i)), Period { every: periods.value(i), event, unit })
            }
        }
    }
}

fn rows(profile: &mut Profile, file: &TableFile, span: &Manifest) -> Checked<()> {
    let mut decoder = RowDecoder::new(profile);
    let mut batch = Batch::default();
    file.read(|_, rows| decoder.decode(rows, span, &mut profile.strings, &mut batch))?;
    (profile.rows, profile.exact) = (batch.rows, batch.exact);
    Ok(())
}

/// Texts that repeat, as handles.
type Texts<'a> = (&'a Int32Array, Vec<StringId>);

fn text((keys, ids): &Texts<'_>, i: usize) -> StringId {
    ids.get(keys.value(i) as usize).copied().unwrap_or(StringId::EMPTY)
}

/// Columns of samples that rollups do not have.
struct FineColumns<'a> {
    pids: &'a Int64Array,
    tids: &'a Int64Array,
    threads: Texts<'a>,
    offsets: (&'a ListArray, &'a Int32Array),
    cpus: (&'a ListArray, &'a Int32Array),
}

/// From batches of the samples file, or of a rollup, to rows. Handles are those of the segment's own tables.
pub(super) struct RowDecoder {
    /// Of each series.
    periods: Vec<i64>,
    nodes: usize,
    sums: (i64, i64),
}

impl RowDecoder {
    /// A decoder for a segment with these tables.
    pub(super) fn new(tables: &Profile) -> Self {
        Self::with_nodes(tables, tables.stacks.len())
    }

    /// The same, where the stacks themselves are not among the tables, but so many nodes there are.
    pub(super) fn with_nodes(tables: &Profile, nodes: usize) -> Self {
        let periods = tables.series.iter().map(|series| series.period.every).collect();
        Self { periods, nodes, sums: (0, 0) }
    }

    /// Adds rows to `batch`.
    pub(super) fn decode(
        &mut self,
        rows: &Rows<'_>,
        span: &Manifest,
        strings: &mut StringTable,
        batch: &mut Batch,
    ) -> Checked<()> {
        let (series, nodes, times) = (rows.ints("series")?, rows.ints("node")?, rows.longs("time")?);
        let samples = rows.longs("samples")?;
        let values = match rows.is_of(Table::Samples) {
            true => rows.longs("value")?,
            false => rows.nullable_longs("value")?,
        };
        let mut intern = |name| -> Checked<_> {
            let (keys, texts) = rows.repeated(name)?;
            let ids: Vec<_> = (0..texts.len()).map(|i| strings.intern(texts.value(i))).collect();
            Ok((keys, ids))
        };
        let statuses = intern("status")?;
        // Rollups have none of the rest.
        let fine = match rows.is_of(Table::Samples) {
            true => Some(FineColumns {
                pids: rows.longs("pid")?,
                tids: rows.longs("tid")?,
                threads: intern("thread")?,
                offsets: rows.int_lists("offsets_ms")?,
                cpus: rows.int_lists("cpus")?,
            }),
            false => None,
        };
        for i in 0..rows.len() {
            let mut key = RowKey {
                status: text(&statuses, i),
                series: SeriesId(index(rows, series, i, self.periods.len(), "series")?),
                node: NodeId(index(rows, nodes, i, self.nodes, "node")?),
                time_ms: time(rows, times, i, span)?,
                ..RowKey::default()
            };
            let first = batch.exact.len();
            let count = samples.value(i);
            match &fine {
                Some(fine) => self.decode_fine(rows, fine, i, count, &mut key, batch)?,
                None if count < 0 => return Err(rows.bad(format!("a row of {count} samples"))),
                None => {}
            }
            let value = match values.is_null(i) {
                true => count.saturating_mul(self.periods[key.series.0 as usize]),
                false => values.value(i),
            };
            self.add(rows, count, value)?;
            batch.rows.push(Row {
                key,
                samples: count.cast_unsigned(),
                value,
                exact: first as u32..batch.exact.len() as u32,
            });
        }
        Ok(())
    }

    /// What only samples have: process, thread and exact times.
    fn decode_fine(
        &mut self,
        rows: &Rows<'_>,
        fine: &FineColumns<'_>,
        i: usize,
        count: i64,
        key: &mut RowKey,
        batch: &mut Batch,
    ) -> Checked<()> {
        key.pid = unsigned(rows, fine.pids, i, "pid")?;
        key.tid = unsigned(rows, fine.tids, i, "tid")?;
        key.thread = text(&fine.threads, i);
        let ((offset_lists, offsets), (cpu_lists, cpus)) = (fine.offsets, fine.cpus);
        let first = batch.exact.len();
        let a = range_of(offset_lists.value_offsets(), i, offsets.len());
        let b = range_of(cpu_lists.value_offsets(), i, cpus.len());
        let (Some(a), Some(b)) = (a, b) else { return Err(rows.bad("bad list of exact times")) };
        if a.len() != b.len() || !(a.is_empty() || i64::try_from(a.len()) == Ok(count)) || count < 0 {
            let (times, cpus) = (a.len(), b.len());
            return Err(rows.bad(format!("a row of {count} samples has {times} times and {cpus} CPUs")));
        }
        if first + a.len() > MAX_EXACT {
            return Err(rows.bad(format!("more than {MAX_EXACT} exact times at once")));
        }
        for (a, b) in a.zip(b) {
            let (Ok(offset_ms), Ok(cpu)) = (offsets.value(a).try_into(), cpus.value(b).try_into()) else {
                return Err(rows.bad("an exact time or CPU is out of range"));
            };
            batch.exact.push(Exact { offset_ms, cpu });
        }
        batch.exact[first..].sort_unstable();
        Ok(())
    }

    fn add(&mut self, rows: &Rows<'_>, samples: i64, value: i64) -> Checked<()> {
        self.sums.0 = self.sums.0.saturating_add(samples);
        self.sums.1 = self.sums.1.saturating_add(value.saturating_abs());
        if self.sums.0.max(self.sums.1) > MAX_SUM {
            return Err(rows.bad("its samples or values add up to more than a machine can take"));
        }
        Ok(())
    }
}

fn accounts(profile: &mut Profile, file: &TableFile, span: &Manifest) -> Checked<()> {
    file.read(|_, rows| {
        let (times, values) = (rows.longs("time")?, rows.longs("value")?);
        let (hosts, counters) = (rows.texts("host")?, rows.texts("counter")?);
        for i in 0..rows.len() {
            let value = u64::try_from(values.value(i)).map_err(|_| rows.bad("a counter is negative"))?;
            let host = profile.strings.intern(hosts.value(i));
            let counter = profile.strings.intern(counters.value(i));
            profile.accounts.push(Account { time_ms: time(rows, times, i, span)?, host, counter, value });
        }
        Ok(())
    })
}

/// Into the order of keys. Handles of strings are new, and the file has chunks before stacks.
pub(super) fn sort_rows(profile: &mut Profile) {
    let order = |row: &Row| (row.key, !row.exact.is_empty());
    if profile.rows.is_sorted_by_key(order) {
        return;
    }
    profile.rows.sort_by_key(order);
    let mut exact = Vec::with_capacity(profile.exact.len());
    for row in &mut profile.rows {
        let first = exact.len() as u32;
        exact.extend_from_slice(&profile.exact[row.exact.start as usize..row.exact.end as usize]);
        row.exact = first..exact.len() as u32;
    }
    profile.exact = exact;
}

/// The ids of a table are its row numbers, written out so that other tools can join by them.
fn check_ids(rows: &Rows<'_>, name: &str, done: usize) -> Checked<()> {
    let ids = rows.ints(name)?;
    let counts = |i: usize| usize::try_from(ids.value(i)) == Ok(done + i);
    if (0..rows.len()).all(counts) {
        Ok(())
    } else {
        Err(rows.bad(format!("column {name} does not count up")))
    }
}

fn index(rows: &Rows<'_>, column: &Int32Array, i: usize, len: usize, name: &str) -> Checked<u32> {
    let value = column.value(i);
    match u32::try_from(value) {
        Ok(index) if (index as usize) < len => Ok(index),
        _ => Err(rows.bad(format!("{name} {value} is not among the {len} there are"))),
    }
}

fn optional_index(
    rows: &Rows<'_>,
    column: &Int32Array,
    i: usize,
    len: usize,
    name: &str,
) -> Checked<Option<u32>> {
    if column.is_null(i) { Ok(None) } else { index(rows, column, i, len, name).map(Some) }
}

fn unsigned(rows: &Rows<'_>, column: &Int64Array, i: usize, name: &str) -> Checked<u32> {
    u32::try_from(column.value(i))
        .map_err(|_| rows.bad(format!("{name} {} is out of range", column.value(i))))
}

/// A time within the span that the segment claims: outside it, queries would miss the row.
fn time(rows: &Rows<'_>, column: &Int64Array, i: usize, span: &Manifest) -> Checked<i64> {
    let time = column.value(i);
    if (span.min_ms..=span.max_ms).contains(&time) && time < MAX_TIME_MS {
        return Ok(time);
    }
    Err(rows.bad(format!("time {time} ms is outside the segment's own span")))
}

fn range_of(offsets: &[i32], i: usize, len: usize) -> Option<std::ops::Range<usize>> {
    let start = usize::try_from(*offsets.get(i)?).ok()?;
    let end = usize::try_from(*offsets.get(i + 1)?).ok()?;
    (start <= end && end <= len).then_some(start..end)
}
