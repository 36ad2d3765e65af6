//! From the tables of a segment to a profile. Files are hostile: every handle, length and time is checked,
//! and a reason names the file.

use arrow_array::{Array, Int32Array, Int64Array, StringArray};
use bytes::Bytes;

use super::file::{Rows, TableFile};
use super::{MAX_EXACT, MAX_SUM, Manifest, PROMOTED, Table};
use crate::model::{
    Account, Binary, BinaryId, EVENT_CPU, Exact, Frame, FrameId, FrameKind, NodeId, Period, Profile, Row,
    RowKey, Series, SeriesId, StackTree, StringId, StringTable, UNIT_NANOSECONDS, Unwound,
};
use crate::query::MAX_TIME_MS;

type Checked<T> = Result<T, String>;

/// The profile of a segment. The manifest must agree with the metadata of the samples file.
pub(super) fn decode(manifest: &Manifest, bytes: impl Fn(Table) -> Bytes) -> Checked<Profile> {
    let samples = TableFile::open(Table::Samples, bytes(Table::Samples))?;
    let own = Manifest::from_metadata(|key| samples.metadata(key), samples.rows() as u64)
        .map_err(|reason| samples.bad(reason))?;
    if own != (Manifest { files: own.files.clone(), ..manifest.clone() }) {
        return Err(samples.bad("its metadata contradicts the manifest"));
    }
    let mut profile = decode_all_but_samples(&own, bytes)?;
    rows(&mut profile, &samples, &own)?;
    sort_rows(&mut profile);
    Ok(profile)
}

/// The profile of a segment without its rows: who was sampled and all stacks there are.
pub(super) fn decode_all_but_samples(
    manifest: &Manifest,
    bytes: impl Fn(Table) -> Bytes,
) -> Checked<Profile> {
    let open = |table| TableFile::open(table, bytes(table));
    let mut profile = Profile { start_ms: manifest.start_ms, end_ms: manifest.end_ms, ..Profile::default() };
    binaries(&mut profile, &open(Table::Binaries)?)?;
    frames(&mut profile, &open(Table::Frames)?)?;
    stacks(&mut profile, &open(Table::Stacks)?)?;
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
        for i in 0..rows.len() {
            let kind = FrameKind::from_name(kinds.value(i));
            let unwound = Unwound::from_name(ways.value(i));
            let binary = optional_index(rows, binaries, i, profile.binaries.len(), "binary")?;
            let unknown = |what, name: &str| rows.bad(format!("unknown {what} `{}`", name.escape_debug()));
            let frame = Frame {
                kind: kind.ok_or_else(|| unknown("kind", kinds.value(i)))?,
                unwound: unwound.ok_or_else(|| unknown("unwound", ways.value(i)))?,
                function: profile.strings.intern(functions.value(i)),
                system_name: profile.strings.intern(system_names.value(i)),
                file: profile.strings.intern(files.value(i)),
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
    let (mut samples_sum, mut value_sum) = (0i64, 0i64);
    let mut last = [("", StringId::EMPTY), ("", StringId::EMPTY)].map(|(text, id)| (text.to_owned(), id));
    file.read(|_, rows| {
        let (series, nodes, times) = (rows.ints("series")?, rows.ints("node")?, rows.longs("time")?);
        let (pids, tids) = (rows.longs("pid")?, rows.longs("tid")?);
        let (threads, statuses) = (rows.texts("thread")?, rows.texts("status")?);
        let (samples, values) = (rows.longs("samples")?, rows.longs("value")?);
        let (offset_lists, offsets) = rows.int_lists("offsets_ms")?;
        let (cpu_lists, cpus) = rows.int_lists("cpus")?;
        for i in 0..rows.len() {
            let mut intern = |which: usize, column: &StringArray| {
                // Neighbours mostly agree.
                if last[which].0 != column.value(i) {
                    last[which] = (column.value(i).to_owned(), profile.strings.intern(column.value(i)));
                }
                last[which].1
            };
            let key = RowKey {
                thread: intern(0, threads),
                status: intern(1, statuses),
                series: SeriesId(index(rows, series, i, profile.series.len(), "series")?),
                node: NodeId(index(rows, nodes, i, profile.stacks.len(), "node")?),
                pid: unsigned(rows, pids, i, "pid")?,
                tid: unsigned(rows, tids, i, "tid")?,
                time_ms: time(rows, times, i, span)?,
            };
            let first = profile.exact.len();
            let a = range_of(offset_lists.value_offsets(), i, offsets.len());
            let b = range_of(cpu_lists.value_offsets(), i, cpus.len());
            let (Some(a), Some(b)) = (a, b) else { return Err(rows.bad("bad list of exact times")) };
            let count = samples.value(i);
            if a.len() != b.len() || !(a.is_empty() || i64::try_from(a.len()) == Ok(count)) || count < 0 {
                return Err(rows.bad(format!(
                    "a row of {count} samples has {} times and {} CPUs",
                    a.len(),
                    b.len()
                )));
            }
            if first + a.len() > MAX_EXACT {
                return Err(rows.bad(format!("more than {MAX_EXACT} exact times")));
            }
            for (a, b) in a.zip(b) {
                let (Ok(offset_ms), Ok(cpu)) = (offsets.value(a).try_into(), cpus.value(b).try_into()) else {
                    return Err(rows.bad("an exact time or CPU is out of range"));
                };
                profile.exact.push(Exact { offset_ms, cpu });
            }
            profile.exact[first..].sort_unstable();
            samples_sum = samples_sum.saturating_add(count);
            value_sum = value_sum.saturating_add(values.value(i).saturating_abs());
            profile.rows.push(Row {
                key,
                samples: count.cast_unsigned(),
                value: values.value(i),
                exact: first as u32..profile.exact.len() as u32,
            });
        }
        Ok(())
    })?;
    match samples_sum.max(value_sum) {
        sum if sum > MAX_SUM => Err(file.bad("its samples or values add up to more than a machine can take")),
        _ => Ok(()),
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
fn sort_rows(profile: &mut Profile) {
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
