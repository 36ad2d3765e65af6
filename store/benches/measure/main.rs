//! `cargo xtask bench store`: what profiles take on disk, how fast they are written, merged and asked for.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints what it measured")]

mod data;
mod duckdb;
mod fleet;
mod goals;
mod pprof_files;
mod queries;
mod sizes;

use std::error::Error;
use std::path::{Path, PathBuf};

use rustix::time::{ClockId, clock_gettime};
use store::model::{Keep, Profile, ProfileBuilder, Row};
use store::{Pace, Policy, Selector, Store, TimeRange};

use crate::fleet::Fleet;
use crate::goals::{Goal, line, plain};
use crate::sizes::Sizes;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Start of the generated days, a midnight.
const START_MS: i64 = 1_769_817_600_000;
/// Length of a window, as `vesta run` has it by default.
const WINDOW_MS: i64 = 30_000;
/// Span of a pprof file, as others write them.
const PPROF_MS: i64 = 10_000;
const CHUNK_MS: i64 = 300_000;
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let what = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    let first = || rest.first().ok_or("use `cargo xtask bench store`");
    let keep = rest.first().map(PathBuf::from);
    match what.as_str() {
        "generated" => generated(first()?.parse()?),
        "recorded" => recorded(Path::new(first()?)),
        "day" => queries::one_day(keep.as_deref()),
        "growing" => queries::growing(),
        "month" => queries::fleet_month(keep.as_deref()),
        "peak" => queries::peak(&rest),
        other => Err(format!("`{other}`: use `cargo xtask bench store`").into()),
    }
}

/// A day of a fleet, or its first minutes.
fn generated(minutes: i64) -> Result<()> {
    let (hosts, services, rate) = (fleet::HOSTS, fleet::SERVICES, fleet::SAMPLES_PER_SECOND);
    let mut fleet = Fleet::new(hosts, rate);
    println!("{hosts} hosts × {services} services × {rate} samples/s on each host, {minutes} min, made up");
    let dir = tempfile::tempdir()?;
    let store = Store::open_writer(dir.path())?;
    let (mut samples, mut pprof_bytes, mut pprof_samples) = (0u64, 0u64, 0u64);
    let (mut window_s, mut append_s) = (0.0, 0.0);
    for n in 0..minutes * 60_000 / WINDOW_MS {
        let drawn = fleet.draw(WINDOW_MS);
        // Finding its made-up stacks and names takes as long again, and is the fleet's.
        let found = fleet.found(&drawn);
        let (window, seconds) = timed(|| found.window(START_MS + n * WINDOW_MS, WINDOW_MS));
        window_s += seconds;
        samples += window.samples();
        // One file for each host and service is what others write; one for all of them is kinder to pprof.
        if n % 10 == 0 {
            let drawn = fleet.draw(PPROF_MS);
            let window = fleet.window(&drawn, START_MS, PPROF_MS);
            pprof_bytes += pprof_files::gzipped(&window)?;
            pprof_samples += window.samples();
        }
        let (appended, seconds) = timed(|| store.append(&window));
        appended?;
        append_s += seconds;
    }
    println!("{samples} samples, on one core");
    let per_second = samples as f64 / window_s / 1e6;
    line("into the open window", per_second, "M samples/s", Goal::AtLeast(1.0));
    let append_us = append_s * 1e6 / samples as f64;
    plain("window to segment", append_us, "us/sample");
    let pprof = pprof_bytes as f64 / pprof_samples as f64;
    plain("gzip pprof files of 10 s of the whole fleet (one each 5 min)", pprof, "B/sample");
    levels(&store, &Source { samples, pprof, append_us, is_fleet: true })
}

/// What `vesta run` left in a data directory, written anew window by window.
fn recorded(data_dir: &Path) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let store = Store::open_writer(dir.path())?;
    let source = Store::open_reader(data_dir)?;
    let (mut samples, mut pprof_bytes, mut append_s) = (0, 0, 0.0);
    let (start, end) = source.span().map_or((0, 0), |span| (span.from_ms, span.until_ms));
    // Five minutes at once: a segment of an hour is decoded for each of them.
    let mut chunk = start - start.rem_euclid(CHUNK_MS);
    while chunk < end {
        let range = TimeRange::new(chunk, chunk + CHUNK_MS)?;
        let all = source.query(&Selector::all(), range, Keep::ALL)?.profile;
        let part = |from: i64, length: i64| -> Profile {
            let mut b = ProfileBuilder::default();
            let is_in = |row: &Row| (from..from + length).contains(&row.key.time_ms);
            b.merge(&all, Keep::ALL, from..from + length, is_in);
            b.finish(from, from + length)
        };
        for from in (chunk..chunk + CHUNK_MS).step_by(PPROF_MS as usize) {
            let file = part(from, PPROF_MS);
            pprof_bytes += if file.samples() > 0 { pprof_files::gzipped(&file)? } else { 0 };
        }
        for from in (chunk..chunk + CHUNK_MS).step_by(WINDOW_MS as usize) {
            let window = part(from, WINDOW_MS);
            if window.samples() > 0 {
                samples += window.samples();
                let (appended, seconds) = timed(|| store.append(&window));
                appended?;
                append_s += seconds;
            }
        }
        chunk += CHUNK_MS;
    }
    println!("{samples} samples of {} s, recorded", (end - start) / 1000);
    let pprof = pprof_bytes as f64 / samples as f64;
    plain("gzip pprof files of 10 s", pprof, "B/sample");
    let append_us = append_s * 1e6 / samples as f64;
    plain("window to segment", append_us, "us/sample");
    levels(&store, &Source { samples, pprof, append_us, is_fleet: false })
}

/// Where samples are from.
struct Source {
    samples: u64,
    /// Bytes a sample as gzip pprof.
    pprof: f64,
    /// CPU time of writing windows, microseconds a sample.
    append_us: f64,
    is_fleet: bool,
}

/// Bytes a sample, and the speed of what leads there, level by level.
fn levels(store: &Store, source: &Source) -> Result<()> {
    let samples = source.samples;
    Sizes::print_header();
    Sizes::of(store)?.print("as written", samples);
    let end = store.span().map_or(0, |span| span.until_ms);
    let steps = [
        ("5 min, exact", "exact", end - end % 300_000 + 330_000),
        ("1 h, exact", "exact", end + HOUR_MS + 30_000),
        ("1 day, exact", "exact", end + 2 * DAY_MS),
        ("1 day, 10 s", "0s=10s", end + 3 * DAY_MS),
        ("1 day, 1 min", "0s=1m", end + 3 * DAY_MS),
        ("1 day, 5 min", "0s=5m", end + 3 * DAY_MS),
        ("1 day, 1 h", "0s=1h", end + 3 * DAY_MS),
    ];
    let (mut merged, mut figures) = (Vec::new(), Vec::new());
    for (name, policy, now) in steps {
        let policy: Policy = policy.parse()?;
        let (done, seconds) = timed(|| store.compact_by(&policy, &Pace::default(), now));
        let done = done?;
        for skipped in &done.skipped {
            println!("skipped {}: {}", skipped.path.display(), skipped.reason);
        }
        let sizes = Sizes::of(store)?;
        sizes.print(name, samples);
        let speed = done.rows as f64 / seconds / 1e6;
        println!("    {} segments to {}: {speed:.2} M rows/s of CPU time", done.merged, done.written);
        merged.push((name, done.rows, seconds));
        figures.push((sizes.all_in(samples), sizes.five_minutes(samples)));
    }
    println!();
    let [first, _, exact_day, ten_seconds, ..] = figures[..] else { return Ok(()) };
    line("bytes a sample, all in, merged to 5 min", first.0, "B", Goal::AtMost(20.0));
    if source.is_fleet {
        line("bytes a sample, all in, at 10 s", ten_seconds.0, "B", Goal::AtMost(1.1));
        line(
            "bytes a sample of the rollup of 5 min, stacks and symbols",
            exact_day.1,
            "B",
            Goal::AtMost(0.3),
        );
    }
    line("gzip pprof against the store at 10 s", source.pprof / ten_seconds.0, "x", Goal::AtLeast(10.0));
    plain("gzip pprof against the store as exact as it is at first", source.pprof / first.0, "x");
    // To five minutes, an hour, a day of 10 s, and then coarser twice: what a sample goes through in its life.
    let (rows, seconds) =
        merged.iter().filter(|(_, rows, _)| *rows > 0).fold((0, 0.0), |sum, m| (sum.0 + m.1, sum.1 + m.2));
    line("merging, all levels together", rows as f64 / seconds / 1e6, "M rows/s", Goal::AtLeast(5.0));
    plain("memory of this process at its peak", peak_bytes()? as f64 / f64::from(1 << 20), "MiB");
    let merging_us = seconds * 1e6 / samples as f64;
    plain("merging, all levels together", merging_us, "us/sample");
    line(
        "CPU time for storing, written and merged",
        source.append_us + merging_us,
        "us/sample",
        Goal::AtMost(5.0),
    );
    Ok(())
}

/// The most memory that this process has had.
fn peak_bytes() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}

/// What something gives, and the CPU time of this thread that it took, in seconds.
fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let cpu = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    };
    let before = cpu();
    let done = work();
    (done, cpu() - before)
}
