//! A process with very many mappings: what it waits for because it is profiled, and what it costs the agent.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use testprogs::{Program, Variant};

use super::super::unwind::table::Table;
use super::agent::Agent;
use super::{Bench, Goal, goals};
use crate::process::say;

const LIMIT: &str = "/proc/sys/vm/max_map_count";
const MAPPINGS: u64 = 100_000;
/// What `docs/operations.md` promises: the share of time for which maps are read, in percent.
const READING_PERCENT: f64 = 2.0;
const READING: &str = "vesta_proc_maps_read_seconds_total";

/// Lets processes have as many mappings, until it is dropped.
struct MapLimit(String);

impl MapLimit {
    fn raise() -> Result<MapLimit> {
        let before = fs::read_to_string(LIMIT).with_context(|| format!("cannot read {LIMIT}"))?;
        let wanted = MAPPINGS * 2;
        if before.trim().parse::<u64>().is_ok_and(|limit| limit < wanted) {
            fs::write(LIMIT, wanted.to_string()).with_context(|| format!("cannot write {LIMIT}"))?;
        }
        Ok(MapLimit(before))
    }
}

impl Drop for MapLimit {
    fn drop(&mut self) {
        // There is nobody to tell.
        let _ = fs::write(LIMIT, &self.0);
    }
}

/// What the program says of its own calls of mmap and munmap.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Waited {
    calls: f64,
    seconds: f64,
    longest_us: f64,
}

/// Measures it.
pub(super) fn measure(bench: &Bench<'_>, seconds: u64) -> Result<Table> {
    let _limit = MapLimit::raise()?;
    let program = testprogs::build(Program::Mapped, Variant::NoFramePointers);
    say("without an agent");
    let alone = run(&program, seconds)?;
    let agent = Agent::start(&bench.vesta, bench.folder)?;
    sleep(Duration::from_secs(10));
    say("with one, idle");
    let before = agent.used()?;
    sleep(Duration::from_secs(seconds));
    let idle = agent.used()?;
    say("with one");
    let read_before = agent.metric(READING)?;
    let watched = run(&program, seconds)?;
    agent.settle();
    let (end, metrics) = (agent.used()?, agent.metrics()?);
    let reading = metrics.get(READING).copied().unwrap_or_default() - read_before;
    let folded = agent.folded(seconds + 15)?;
    agent.end()?;
    let (right, all) = named(&folded);
    let own = |from: &super::agent::Used, to: &super::agent::Used| {
        (to.user + to.system - from.user - from.system) / seconds as f64 * 100.0
    };
    let each = |waited: Waited| waited.seconds * 1e6 / waited.calls.max(1.0);
    Ok(goals(
        format!("A process with {MAPPINGS} mappings of code, {seconds} s"),
        vec![
            Goal::plain(
                "a call of mmap and munmap, alone",
                format!("{:.2} us, at most {:.0} us", each(alone), alone.longest_us),
            ),
            Goal::plain(
                "the same while it is profiled",
                format!("{:.2} us, at most {:.0} us", each(watched), watched.longest_us),
            ),
            Goal::at_most(
                "reading maps, of all processes",
                reading * 100.0 / seconds as f64,
                READING_PERCENT,
                " % of the time",
                2,
            ),
            Goal::plain(
                "the agent's CPU time, idle machine",
                format!("{:.1} % of a CPU", own(&before, &idle)),
            ),
            Goal::plain("the same with the process", format!("{:.1} % of a CPU", own(&idle, &end))),
            Goal::plain(
                "its resident memory at the end",
                format!("{:.1} MiB", end.resident as f64 / 1048576.0),
            ),
            Goal::at_least(
                format!("{all} samples of it, at their places"),
                right as f64 * 100.0 / all.max(1) as f64,
                99.0,
                " %",
                2,
            ),
        ],
    ))
}

/// Samples of the burning function, and those of them with all their callers.
fn named(folded: &str) -> (u64, u64) {
    let (mut right, mut all) = (0, 0);
    for line in folded.lines().filter(|line| line.starts_with("mapped;")) {
        let Some((stack, samples)) = line.rsplit_once(' ') else { continue };
        let samples: u64 = samples.parse().unwrap_or(0);
        let frames: Vec<&str> = stack.split(';').collect();
        all += samples;
        right += if frames.contains(&"main") { samples } else { 0 };
    }
    (right, all)
}

fn run(program: &Path, seconds: u64) -> Result<Waited> {
    let mut command = Command::new(program);
    command.args([&MAPPINGS.to_string(), &seconds.to_string()]).stdin(Stdio::null());
    let output = command.output().with_context(|| format!("cannot start {}", program.display()))?;
    if !output.status.success() {
        bail!("{} failed ({})", program.display(), output.status);
    }
    let said: Value = serde_json::from_slice(&output.stdout).context("mapped prints no JSON")?;
    let number = |key: &str| said[key].as_f64().with_context(|| format!("mapped does not say `{key}`"));
    Ok(Waited { calls: number("calls")?, seconds: number("seconds")?, longest_us: number("longest_us")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_without_their_callers_are_not_right() {
        let folded = "mapped;_start;main;burn 5\nmapped;[unknown 0x7] 2\nother;main 9\n";
        assert_eq!(named(folded), (5, 7));
    }
}
