//! How long questions take, and how much memory.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use store::{Limits, Selector, Store, TimeRange};

use crate::data::{Days, Shape};
use crate::duckdb::DuckDb;
use crate::goals::{Goal, line, plain};
use crate::{DAY_MS, HOUR_MS, Result, fleet};

/// Answers of each kind, of which the median counts.
const ROUNDS: usize = 9;

/// What `vesta query` takes as its limit.
const MEMORY_BYTES: u64 = 512 << 20;
/// What a decoder works with, of each thread.
const DECODER_BYTES: u64 = 16 << 20;

fn range(from_ms: i64, until_ms: i64) -> Result<TimeRange> {
    Ok(TimeRange::new(from_ms, until_ms)?)
}

fn with_threads(store: &Store, threads: usize) -> Store {
    store.with_limits(Limits { threads, ..Limits::default() })
}

/// A flame graph's samples: seconds, samples, and what was read for it.
fn flame(store: &Store, range: TimeRange) -> Result<(f64, u64, String)> {
    let begin = Instant::now();
    let answer = store.query_by(&Selector::all(), range, "process")?;
    let seconds = begin.elapsed().as_secs_f64();
    let stacks = answer.profile.rows.len();
    let read = format!("{} rows of {} segments, {stacks} stacks", answer.rows_read, answer.segments_read);
    Ok((seconds, answer.profile.samples(), read))
}

/// The nodes of a flame graph that the page asks for, and those that it asks for first, at 1,600 pixels.
const PAGE_NODES: usize = 60_000;
const FIRST_NODES: usize = 8_000;

/// The flame graph of the page: by function, its largest nodes. Seconds, nodes, and the samples of all.
fn page_graph(store: &Store, range: TimeRange, nodes: usize) -> Result<(f64, usize, u64)> {
    let begin = Instant::now();
    let (tree, _) = store.function_tree(&Selector::all(), range, "process", nodes, |_| false)?;
    let seconds = begin.elapsed().as_secs_f64();
    let groups = tree.nodes.iter().filter(|node| node.parent.is_none());
    Ok((seconds, tree.nodes.len(), groups.map(|group| group.total).sum::<u64>() + tree.pruned))
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

/// The median time of a flame graph, once it has been asked for before.
fn warm(store: &Store, range: TimeRange) -> Result<(f64, u64, String)> {
    let (_, samples, read) = flame(store, range)?;
    let seconds = (0..ROUNDS).map(|_| Ok(flame(store, range)?.0)).collect::<Result<Vec<_>>>()?;
    Ok((median(seconds), samples, read))
}

/// One day of one host, beside DuckDB.
pub(crate) fn one_day(keep: Option<&Path>) -> Result<()> {
    let shape = Shape { hosts: 1, samples_per_second: 200, window_ms: 300_000, every_ms: 300_000 };
    let mut days = Days::open(shape, keep, "host-day")?;
    days.grow_to(1)?;
    println!("\nOne host, {} samples in 24 h, exact, one thread, warm", days.samples());
    let end = days.end_ms();
    let store = with_threads(&days.store, 1);
    let (whole, hour) = (range(end - DAY_MS, end)?, range(end - 2 * HOUR_MS, end - HOUR_MS)?);
    let (cold, samples, read) = flame(&store, whole)?;
    println!("  24 h: {read}");
    let mut duckdb = DuckDb::start(&days.samples_files(), 1)?;
    let (_, found) = duckdb.ask()?;
    if (samples, found) != (days.samples(), days.samples()) {
        return Err(format!("{samples} samples, DuckDB found {found} of {}", days.samples()).into());
    }
    let (_, nodes, of_page) = page_graph(&store, whole, PAGE_NODES)?;
    let (_, nodes_of_hour, _) = page_graph(&store, hour, PAGE_NODES)?;
    if of_page != samples {
        return Err(format!("the page's graph has {of_page} of {samples} samples").into());
    }
    let (mut ours, mut theirs, mut hours) = (Vec::new(), Vec::new(), Vec::new());
    let (mut graphs, mut hour_graphs, mut first) = (Vec::new(), Vec::new(), Vec::new());
    println!("   1 h: {}", flame(&store, hour)?.2);
    for _ in 0..ROUNDS {
        ours.push(flame(&store, whole)?.0);
        theirs.push(duckdb.ask()?.0);
        hours.push(flame(&store, hour)?.0);
        graphs.push(page_graph(&store, whole, PAGE_NODES)?.0);
        hour_graphs.push(page_graph(&store, hour, PAGE_NODES)?.0);
        first.push(page_graph(&store, hour, FIRST_NODES)?.0);
    }
    duckdb.finish()?;
    let (ours, theirs, hour) = (median(ours), median(theirs), median(hours));
    plain("flame graph over 24 h, first time", cold * 1e3, "ms");
    plain("flame graph over 24 h", ours * 1e3, "ms");
    plain("DuckDB: GROUP BY node over the same files", theirs * 1e3, "ms");
    plain("flame graph over 1 h", hour * 1e3, "ms");
    line("flame graph over 24 h, of DuckDB's GROUP BY node", ours / theirs, "x", Goal::AtMost(1.0));
    line("flame graph over 1 h, of that over 24 h", hour / ours, "x", Goal::AtMost(0.1));
    let (graph, hour_graph) = (median(graphs), median(hour_graphs));
    plain(&format!("the page's graph over 24 h, {nodes} nodes"), graph * 1e3, "ms");
    plain(&format!("the page's graph over 1 h, {nodes_of_hour} nodes"), hour_graph * 1e3, "ms");
    plain("the page's first question for an hour", median(first) * 1e3, "ms");
    line("the page's graph over 24 h, of DuckDB's GROUP BY node", graph / theirs, "x", Goal::AtMost(1.0));
    line("the page's graph over 1 h, of that over 24 h", hour_graph / graph, "x", Goal::AtMost(0.1));
    others(&store, whole)
}

/// The other questions of the page, over the same day.
fn others(store: &Store, range: TimeRange) -> Result<()> {
    let all = Selector::all();
    let timed = |what: &str, ask: &dyn Fn() -> Result<()>| -> Result<()> {
        ask()?;
        let time = |_| {
            let begin = Instant::now();
            ask()?;
            Ok(begin.elapsed().as_secs_f64())
        };
        plain(what, median((0..3).map(time).collect::<Result<Vec<_>>>()?) * 1e3, "ms");
        Ok(())
    };
    timed("timeline over 24 h in steps of 5 min, by process", &|| {
        store.timeline(&all, range, 300_000, "process", 10)?;
        Ok(())
    })?;
    timed("values of the label process over 24 h", &|| {
        store.label_values("process", &all, range)?;
        Ok(())
    })?;
    timed("history of a function over 24 h in steps of 5 min", &|| {
        let name = store::FunctionName::parse("~process_77$")?;
        store.function_history(&all, range, 300_000, &name, 10)?;
        Ok(())
    })
}

/// The same questions with ever more days in the store.
pub(crate) fn growing() -> Result<()> {
    let shape = Shape { hosts: 1, samples_per_second: 200, window_ms: 30_000, every_ms: 900_000 };
    let mut days = Days::open(shape, None, "host-month")?;
    let minutes = shape.minutes_a_day();
    println!(
        "\nOne host, {minutes} min of samples spread over each day, coarsened with age; one thread, warm"
    );
    println!("days stored      samples  1 h, ms  24 h, ms  all days, ms  of which was read");
    for stored in [1, 7, 30] {
        days.grow_to(stored)?;
        let (end, store) = (days.end_ms(), with_threads(&days.store, 1));
        let (hour, ..) = warm(&store, range(end - 2 * HOUR_MS, end - HOUR_MS)?)?;
        let (day, ..) = warm(&store, range(end - DAY_MS, end)?)?;
        let (all, samples, read) = warm(&store, range(end - stored * DAY_MS, end)?)?;
        if samples != days.samples() {
            return Err(format!("{samples} samples found of {}", days.samples()).into());
        }
        let [hour, day, all] = [hour, day, all].map(|seconds| seconds * 1e3);
        println!("{stored:>11} {samples:>12} {hour:>8.1} {day:>9.1} {all:>13.1}  {read}");
    }
    Ok(())
}

/// A month of a fleet.
pub(crate) fn fleet_month(keep: Option<&Path>) -> Result<()> {
    let shape = Shape {
        hosts: fleet::HOSTS,
        samples_per_second: fleet::SAMPLES_PER_SECOND,
        window_ms: 30_000,
        every_ms: 4_320_000,
    };
    let mut days = Days::open(shape, keep, "fleet-month")?;
    days.grow_to(30)?;
    let (hosts, minutes) = (shape.hosts, shape.minutes_a_day());
    println!(
        "\n{hosts} hosts, 30 days with {minutes} min of samples spread over each: {} samples",
        days.samples()
    );
    let month = range(days.end_ms() - 30 * DAY_MS, days.end_ms())?;
    let begin = Instant::now();
    let (_, samples, read) = flame(&days.store, month)?;
    plain("flame graph over 30 days of a fleet, first time", begin.elapsed().as_secs_f64() * 1e3, "ms");
    println!("  {read}");
    if samples != days.samples() {
        return Err(format!("{samples} samples found of {}", days.samples()).into());
    }
    let (seconds, ..) = warm(&days.store, month)?;
    line("flame graph over 30 days of 20 hosts", seconds * 1e3, "ms", Goal::AtMost(300.0));
    let (seconds, ..) = warm(&with_threads(&days.store, 1), month)?;
    plain("the same on one thread", seconds * 1e3, "ms");
    memory(days.store.path(), month)
}

/// Memory of a process that asks for a range: its own high-water mark.
fn memory(data_dir: &Path, range: TimeRange) -> Result<()> {
    let ask = |what: &str| -> Result<f64> {
        let output = Command::new(std::env::current_exe()?)
            .args(["peak", &data_dir.to_string_lossy()])
            .args([what, &range.from_ms.to_string(), &range.until_ms.to_string()])
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let bytes: f64 = text
            .parse()
            .map_err(|_| format!("no peak: {text}{}", String::from_utf8_lossy(&output.stderr)))?;
        Ok(bytes / f64::from(1 << 20))
    };
    let decoders = Limits::default().threads as u64 * DECODER_BYTES;
    let bound = (MEMORY_BYTES + store::CACHE_BYTES as u64 + decoders) as f64 / f64::from(1 << 20);
    plain("memory of a process that only opens the store", ask("nothing")?, "MiB");
    line("memory of one that asks for 30 days, at its peak", ask("flame")?, "MiB", Goal::AtMost(bound));
    line(
        "memory of one that asks for 30 days by host, at its peak",
        ask("hosts")?,
        "MiB",
        Goal::AtMost(bound),
    );
    Ok(())
}

/// In a process of its own: asks, and prints how much memory the process took at most, in bytes.
pub(crate) fn peak(arguments: &[String]) -> Result<()> {
    let [data_dir, what, from, until] = arguments else { return Err("peak DIR WHAT FROM UNTIL".into()) };
    let store = Store::open_reader(data_dir)?;
    let store = store.with_limits(Limits { memory_bytes: MEMORY_BYTES, ..Limits::default() });
    let range = range(from.parse()?, until.parse()?)?;
    let by = if what == "hosts" { "host" } else { "process" };
    if what != "nothing" {
        match store.query_by(&Selector::all(), range, by) {
            Ok(answer) => drop(answer),
            // That is how the bound is held.
            Err(store::Error::TooLarge { .. }) => eprintln!("refused: it takes more"),
            Err(error) => return Err(error.into()),
        }
    }
    println!("{}", crate::peak_bytes()?);
    Ok(())
}
