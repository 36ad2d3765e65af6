//! `cargo xtask bench store`: what profiles take on disk, and how fast they are written and merged.
#![expect(clippy::print_stdout, reason = "a program that prints what it measured")]

mod fleet;
mod pprof_files;
mod sizes;

use std::error::Error;
use std::path::Path;

use rustix::time::{ClockId, clock_gettime};
use store::model::Keep;
use store::{Pace, Policy, Selector, Store, TimeRange};

use crate::fleet::Fleet;
use crate::sizes::Sizes;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Start of the generated day, a midnight.
const START_MS: i64 = 1_769_817_600_000;
const WINDOW_MS: i64 = 10_000;
const DAY_MS: i64 = 86_400_000;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let what = arguments.next().unwrap_or_default();
    let value = arguments.next().ok_or("use `cargo xtask bench store`")?;
    match what.as_str() {
        "generated" => generated(value.parse()?),
        "recorded" => recorded(Path::new(&value)),
        other => Err(format!("`{other}`: use `cargo xtask bench store`").into()),
    }
}

/// A day of a fleet, or its first minutes.
fn generated(minutes: i64) -> Result<()> {
    let mut fleet = Fleet::new();
    let (hosts, services, rate) = (fleet::HOSTS, fleet::SERVICES, fleet::SAMPLES_PER_SECOND);
    println!("{hosts} hosts × {services} services × {rate} samples/s on each host, {minutes} min, made up");
    let dir = tempfile::tempdir()?;
    let store = Store::open_writer(dir.path())?;
    let (mut samples, mut pprof_bytes) = (0u64, 0u64);
    let (mut window_s, mut append_s, mut added) = (0.0, 0.0, 0u64);
    for n in 0..minutes * 60_000 / WINDOW_MS {
        let drawn = fleet.draw();
        let (window, seconds) = timed(|| fleet.window(&drawn, START_MS + n * WINDOW_MS));
        window_s += seconds;
        added += drawn.len() as u64;
        samples += window.samples();
        // One file for each host and service is what others write; one for all of them is kinder to pprof.
        if n % 30 == 0 {
            pprof_bytes += 30 * pprof_files::gzipped(&window)?;
        }
        let (appended, seconds) = timed(|| store.append(&window));
        appended?;
        append_s += seconds;
    }
    println!("{samples} samples");
    println!("into the open window: {:.2} M samples/s of CPU time", added as f64 / window_s / 1e6);
    println!("window to segment:    {:.2} us of CPU time a sample", append_s * 1e6 / samples as f64);
    println!(
        "gzip pprof, 10 s:     {:.2} B a sample (every 30th window)",
        pprof_bytes as f64 / samples as f64
    );
    levels(&store, samples)
}

/// What `vesta run` left in a data directory, written anew in windows of ten seconds.
fn recorded(data_dir: &Path) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let store = Store::open_writer(dir.path())?;
    let source = Store::open_reader(data_dir)?;
    let (mut samples, mut pprof_bytes) = (0, 0);
    let everything = TimeRange::ALL;
    let (start, end) = source.span().map_or((0, 0), |span| (span.from_ms, span.until_ms));
    let mut from = start - start.rem_euclid(WINDOW_MS);
    while from < end {
        let range = TimeRange::new(from, from + WINDOW_MS).unwrap_or(everything);
        let window = source.query(&Selector::all(), range, Keep::ALL)?.profile;
        from += WINDOW_MS;
        if window.samples() > 0 {
            samples += window.samples();
            pprof_bytes += pprof_files::gzipped(&window)?;
            store.append(&window)?;
        }
    }
    println!("{samples} samples of {} s, recorded", (end - start) / 1000);
    println!("gzip pprof, 10 s:     {:.2} B a sample", pprof_bytes as f64 / samples as f64);
    levels(&store, samples)
}

/// Bytes a sample, and the speed of what leads there, level by level.
fn levels(store: &Store, samples: u64) -> Result<()> {
    Sizes::print_header();
    Sizes::of(store)?.print("as written", samples);
    let end = store.span().map_or(0, |span| span.until_ms);
    let steps = [
        ("5 min, exact", "exact", end - end % 300_000 + 330_000),
        ("1 h, exact", "exact", end + 3_600_000 + 30_000),
        ("1 day, exact", "exact", end + 2 * DAY_MS),
        ("1 day, 10 s", "0s=10s", end + 3 * DAY_MS),
        ("1 day, 1 min", "0s=1m", end + 3 * DAY_MS),
        ("1 day, 5 min", "0s=5m", end + 3 * DAY_MS),
        ("1 day, 1 h", "0s=1h", end + 3 * DAY_MS),
    ];
    for (name, policy, now) in steps {
        let policy: Policy = policy.parse()?;
        let (done, seconds) = timed(|| store.compact_by(&policy, &Pace::default(), now));
        let done = done?;
        for skipped in &done.skipped {
            println!("skipped {}: {}", skipped.path.display(), skipped.reason);
        }
        let sizes = Sizes::of(store)?;
        sizes.print(name, samples);
        println!(
            "    {} segments to {}: {:.2} M rows/s of CPU time",
            done.merged,
            done.written,
            done.rows as f64 / seconds / 1e6
        );
    }
    Ok(())
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
