//! `vesta store …`: care for a data directory. What only reads works beside a running agent.

use std::{
    collections::BTreeMap,
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use store::{Check, Pace, Pin, Selector, Skipped, Store, TimeRange, Usage};

use crate::{
    cli::care::{
        CheckArgs, CompactArgs, ExportArgs, PinArgs, RangeArgs, StatsArgs, StoreArgs, StoreCommand, UnpinArgs,
    },
    config,
    exit::{Code, Failure},
    processor::unix_ms,
    roles::{print_json, print_text},
};

/// Runs the command.
pub(crate) fn care(command: &StoreCommand, file: Option<&Path>) -> Result<(), Failure> {
    match command {
        StoreCommand::Check(args) => check(args, file),
        StoreCommand::Stats(args) => stats(args, file),
        StoreCommand::Compact(args) => compact(args, file),
        StoreCommand::Export(args) => export(args, file),
        StoreCommand::Gc(args) => gc(args, file),
        StoreCommand::Pin(args) => pin(args, file),
        StoreCommand::Unpin(args) => unpin(args, file),
        StoreCommand::Pins(args) => pins(args, file),
    }
}

pub(super) fn data_dir(args: &StoreArgs, file: Option<&Path>) -> Result<PathBuf, Failure> {
    match &args.data_dir {
        Some(data_dir) => Ok(data_dir.clone()),
        None => Ok(config::data_dir(file)?),
    }
}

fn reader(args: &StoreArgs, file: Option<&Path>) -> Result<Store, Failure> {
    Ok(Store::open_reader(data_dir(args, file)?)?)
}

/// A data directory is made by `vesta run` and `vesta import`; here a missing one is a typing mistake.
fn writer(args: &StoreArgs, file: Option<&Path>) -> Result<Store, Failure> {
    let data_dir = data_dir(args, file)?;
    Store::open_reader(&data_dir)?;
    Ok(Store::open_writer(&data_dir)?)
}

fn range(args: &RangeArgs) -> Result<TimeRange, Failure> {
    TimeRange::parse(&args.from, &args.until, unix_ms()).map_err(Failure::usage)
}

fn check(args: &CheckArgs, file: Option<&Path>) -> Result<(), Failure> {
    // Whoever wants to move things is refused before the hour that reading may take.
    let store = if args.quarantine { writer(&args.store, file)? } else { reader(&args.store, file)? };
    let shows_progress = std::io::stderr().is_terminal();
    let done = |check: &Check| {
        if shows_progress {
            // Only a terminal sees it; where that is gone there is no one to tell.
            let _ = write!(std::io::stderr(), "\r{} segments are whole …\r", check.segments);
        }
        true
    };
    let check = store.check(done)?;
    let moved = if args.quarantine { store.quarantine(&check.bad)? } else { Vec::new() };
    if args.store.json {
        print_json(&json!({
            "segments": check.segments,
            "bytes": check.bytes,
            "rows": check.rows,
            "logs": check.logs,
            "bad": named(&check.bad),
            "later": named(&check.later),
            "quarantined": moved,
        }))?;
    } else {
        print_text(&told(&check, &moved))?;
    }
    if check.bad.is_empty() {
        return Ok(());
    }
    let help = if args.quarantine { "" } else { "; `vesta store check --quarantine` puts them aside" };
    Err(Failure::new(Code::Store, format_args!("{} bad{help}", check.bad.len())))
}

pub(super) fn named(skipped: &[Skipped]) -> Vec<Value> {
    skipped.iter().map(|skipped| json!({ "path": skipped.path, "reason": skipped.reason })).collect()
}

fn told(check: &Check, moved: &[PathBuf]) -> String {
    let Check { segments, bytes, rows, logs, bad, later } = check;
    let mut text = format!("{segments} segments are whole: {}, {rows} rows of samples", size(*bytes));
    if *logs > 0 {
        text += &format!("; {logs} logs");
    }
    text.push('\n');
    for Skipped { path, reason } in bad {
        text += &format!("bad: {}: {reason}\n", path.display());
    }
    for Skipped { path, reason } in later {
        text += &format!("of a later version: {}: {reason}\n", path.display());
    }
    for path in moved {
        text += &format!("put aside: {}\n", path.display());
    }
    text
}

fn stats(args: &StatsArgs, file: Option<&Path>) -> Result<(), Failure> {
    let store = reader(&args.store, file)?;
    let usage = store.usage()?;
    let stats = store.stats();
    if args.store.json {
        let days: Vec<_> = usage.iter().map(|usage| to_json(usage, Some(&usage.day))).collect();
        let levels: Vec<_> = by(&usage, |usage| (usage.level, usage.resolution_ms)).into_values().collect();
        return print_json(&json!({
            "total": to_json(&sum(&usage), None),
            "levels": levels.iter().map(|usage| to_json(usage, None)).collect::<Vec<_>>(),
            "days": days,
            "logs": stats.logs,
            "log_bytes": stats.log_bytes,
            "skipped": named(&stats.skipped),
        }));
    }
    let mut text =
        String::from("level  resolution  segments        rows       samples       size  bytes/sample\n");
    for ((level, resolution_ms), usage) in by(&usage, |usage| (usage.level, usage.resolution_ms)) {
        text += &line(&format!("{level:>5}  {:>10}", resolution(resolution_ms)), &usage);
    }
    let total = sum(&usage);
    text += &line(&format!("{:>17}", "all"), &total);
    text += "\nfile                    size  bytes/sample\n";
    for (name, bytes) in &total.files {
        text += &format!("{name:<18}{:>10}  {:>12}\n", size(*bytes), per(*bytes, total.samples));
    }
    if args.days {
        text += "\nday              segments        rows       samples       size  bytes/sample\n";
        for (day, usage) in by(&usage, |usage| usage.day.clone()) {
            text += &line(&format!("{day:<17}"), &usage);
        }
    }
    if stats.logs > 0 {
        text += &format!(
            "\n{} logs of windows that are no segments yet: {}\n",
            stats.logs,
            size(stats.log_bytes)
        );
    }
    for Skipped { path, reason } in &stats.skipped {
        text += &format!("cannot be read: {}: {reason}\n", path.display());
    }
    print_text(&text)
}

fn line(head: &str, usage: &Usage) -> String {
    let Usage { segments, rows, samples, bytes, .. } = usage;
    let (size, per) = (size(*bytes), per(*bytes, *samples));
    format!("{head}  {segments:>8}  {rows:>10}  {samples:>12}  {size:>9}  {per:>12}\n")
}

fn by<K: Ord>(usage: &[Usage], key: impl Fn(&Usage) -> K) -> BTreeMap<K, Usage> {
    let mut groups: BTreeMap<K, Vec<Usage>> = BTreeMap::new();
    for usage in usage {
        groups.entry(key(usage)).or_default().push(usage.clone());
    }
    groups.into_iter().map(|(key, group)| (key, sum(&group))).collect()
}

/// The sum; its level and resolution are those of the first.
fn sum(all: &[Usage]) -> Usage {
    let mut total = Usage::default();
    if let Some(first) = all.first() {
        (total.level, total.resolution_ms) = (first.level, first.resolution_ms);
    }
    for usage in all {
        total.segments += usage.segments;
        total.rows += usage.rows;
        total.samples += usage.samples;
        total.bytes += usage.bytes;
        for (name, bytes) in &usage.files {
            *total.files.entry(name.clone()).or_default() += bytes;
        }
    }
    total
}

fn to_json(usage: &Usage, day: Option<&str>) -> Value {
    json!({
        "day": day,
        "level": usage.level,
        "resolution_ms": usage.resolution_ms,
        "segments": usage.segments,
        "rows": usage.rows,
        "samples": usage.samples,
        "bytes": usage.bytes,
        "bytes_per_sample": (usage.samples > 0).then(|| usage.bytes as f64 / usage.samples as f64),
        "files": usage.files,
    })
}

fn resolution(ms: i64) -> String {
    match ms {
        0 => "exact".to_owned(),
        ms if ms % 3_600_000 == 0 => format!("{}h", ms / 3_600_000),
        ms if ms % 60_000 == 0 => format!("{}m", ms / 60_000),
        ms => format!("{}s", ms / 1000),
    }
}

fn per(bytes: u64, samples: u64) -> String {
    if samples == 0 { "-".to_owned() } else { format!("{:.2}", bytes as f64 / samples as f64) }
}

/// In powers of 1000, as `--retention-bytes` takes it.
fn size(bytes: u64) -> String {
    let units = [("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
    let unit = units.into_iter().find(|(_, factor)| bytes as f64 >= *factor);
    unit.map_or_else(|| format!("{bytes} B"), |(unit, factor)| format!("{:.1} {unit}", bytes as f64 / factor))
}

fn compact(args: &CompactArgs, file: Option<&Path>) -> Result<(), Failure> {
    let policy = config::coarsen(args.coarsen.clone(), file)?;
    let dir = data_dir(&args.store, file)?;
    if store::is_on_object_storage(&dir) {
        let message = format_args!(
            "segments of {} are on object storage; `vesta run --store` merges them",
            dir.display()
        );
        return Err(Failure::new(Code::Store, message));
    }
    let done = writer(&args.store, file)?.compact_by(&policy, &Pace::default(), unix_ms())?;
    if args.store.json {
        return print_json(&json!({
            "merged": done.merged,
            "written": done.written,
            "rows": done.rows,
            "skipped": named(&done.skipped),
        }));
    }
    let mut text = format!("{} segments became {}, {} rows\n", done.merged, done.written, done.rows);
    for Skipped { path, reason } in &done.skipped {
        text += &format!("stays as it is: {}: {reason}\n", path.display());
    }
    print_text(&text)
}

fn export(args: &ExportArgs, file: Option<&Path>) -> Result<(), Failure> {
    let selector = Selector::parse(args.selector.as_deref().unwrap_or("")).map_err(Failure::usage)?;
    let range = range(&args.range)?;
    let from = reader(&args.store, file)?;
    if std::fs::read_dir(&args.to).is_ok_and(|mut entries| entries.next().is_some()) {
        let message = format_args!("{} is not empty: name a new data directory", args.to.display());
        return Err(Failure::new(Code::Store, message));
    }
    let to = Store::open_writer(&args.to)?;
    let exported = from.export(&selector, range, &to)?;
    if args.store.json {
        print_json(&json!({
            "data_dir": args.to,
            "segments": exported.segments,
            "samples": exported.samples,
            "bytes": exported.bytes,
            "skipped": named(&exported.skipped),
        }))?;
    } else {
        let (segments, samples, bytes) = (exported.segments, exported.samples, size(exported.bytes));
        print_text(&format!("{}: {samples} samples in {segments} segments, {bytes}\n", args.to.display()))?;
    }
    if exported.skipped.is_empty() {
        return Ok(());
    }
    let named: Vec<_> =
        exported.skipped.iter().map(|s| format!("{}: {}", s.path.display(), s.reason)).collect();
    Err(Failure::new(
        Code::Store,
        format_args!("not all could be read, and what could not is missing:\n{}", named.join("\n")),
    ))
}

fn gc(args: &StoreArgs, file: Option<&Path>) -> Result<(), Failure> {
    let data_dir = data_dir(args, file)?;
    let found = store::leftovers(&data_dir)?;
    // That is what removes them.
    let store = writer(args, file)?;
    let left = store::leftovers(&data_dir)?;
    drop(store);
    let freed = found.bytes.saturating_sub(left.bytes);
    let (unfinished, replaced, logs) = (
        found.unfinished.saturating_sub(left.unfinished),
        found.replaced.saturating_sub(left.replaced),
        found.logs.saturating_sub(left.logs),
    );
    let (quarantined, quarantined_bytes) = (left.quarantined, left.quarantined_bytes);
    if args.json {
        return print_json(&json!({
            "unfinished": unfinished,
            "replaced": replaced,
            "logs": logs,
            "bytes": freed,
            "quarantined": quarantined,
            "quarantined_bytes": quarantined_bytes,
        }));
    }
    let mut text = format!(
        "removed {unfinished} unfinished and {replaced} replaced segments and {logs} logs: {}\n",
        size(freed)
    );
    if quarantined > 0 {
        text += &format!("{quarantined} in quarantine stay: {}\n", size(quarantined_bytes));
    }
    print_text(&text)
}

fn pin(args: &PinArgs, file: Option<&Path>) -> Result<(), Failure> {
    let range = range(&args.range)?;
    let pin = writer(&args.store, file)?.pin(range, &args.note)?;
    show_pins(&[pin], args.store.json)
}

fn unpin(args: &UnpinArgs, file: Option<&Path>) -> Result<(), Failure> {
    if !writer(&args.store, file)?.unpin(&args.id)? {
        return Err(Failure::error(format_args!(
            "there is no pin `{}`: `vesta store pins` lists them",
            args.id
        )));
    }
    if args.store.json { print_json(&json!({ "unpinned": args.id })) } else { Ok(()) }
}

fn pins(args: &StoreArgs, file: Option<&Path>) -> Result<(), Failure> {
    show_pins(&reader(args, file)?.pins()?, args.json)
}

fn show_pins(pins: &[Pin], json: bool) -> Result<(), Failure> {
    if json {
        return pins.iter().try_for_each(print_json);
    }
    let time = |ms: i64| {
        jiff::Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |time| time.to_string())
    };
    let line = |pin: &Pin| {
        // A note may be anyone's: what it says to a terminal stays text.
        let note = pin.note.escape_debug();
        format!("{}  {} to {}  {note}\n", pin.id, time(pin.from_ms), time(pin.until_ms))
    };
    print_text(&pins.iter().map(line).collect::<String>())
}
