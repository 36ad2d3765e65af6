//! Storms of short-lived processes: whose samples they are said to be, what they cost the agent, and what is left of them.

use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::super::unwind::table::Table;
use super::agent::Agent;
use super::{Bench, Goal, goals};
use crate::process::say;

/// Processes a second, and seconds that each lives.
const STORMS: [(&str, &str); 2] = [("40", "0.03"), ("500", "0.001")];
const MIB: f64 = 1_048_576.0;
/// Until what the agent keeps of ended processes and unused files is gone, and a little more.
const REST: Duration = Duration::from_secs(150);
/// Until the agent has forgotten the files that only its first minutes needed (ten minutes after their last use), and has merged windows for
/// the first times. Before, its memory goes down by itself by more than storms leave.
const SETTLED: Duration = Duration::from_secs(780);
/// Two windows of the agent. No more looks, for whoever is sampled has its debug info read, and this program's is large.
const LOOKS: usize = 7;
const BETWEEN_LOOKS: Duration = Duration::from_secs(9);
/// Until the agent has read what the machine runs.
const WARM_UP: Duration = Duration::from_secs(20);

/// Samples of the program's own function, and how many of them are said to be another program's.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Attributed {
    all: u64,
    wrong: u64,
    nameless: u64,
}

/// Measures both.
pub(super) fn measure(bench: &Bench<'_>, seconds: u64) -> Result<Table> {
    let program = bench.variables.iter().find(|(name, _)| *name == "SHORT_LIVED").context("SHORT_LIVED")?;
    let agent = Agent::start(&bench.vesta, bench.folder)?;
    let started = Instant::now();
    let mut rows = Vec::new();
    sleep(WARM_UP);
    // The first one, and the first question, are to warm up: what the agent needs for such it keeps, if it is no more with each.
    run(&program.1, STORMS[1], 5)?;
    agent.settle();
    agent.folded(10)?;
    sleep(SETTLED.saturating_sub(started.elapsed()).max(REST));
    let before = median_resident(&agent)?;
    for storm in STORMS {
        rows.extend(measure_one(&agent, &program.1, storm, seconds)?);
    }
    say(&format!("{} s of rest", REST.as_secs()));
    sleep(REST);
    let after = median_resident(&agent)?;
    let from_to = format!(
        "resident memory {} s later, median of a minute: {:.1} MiB before, {:.1} MiB after",
        REST.as_secs(),
        before / MIB,
        after / MIB
    );
    rows.push(Goal::at_most(from_to, (after / before - 1.0) * 100.0, 5.0, " %", 1));
    let metrics = agent.metrics()?;
    for name in ["vesta_process_events_lost_total", "vesta_processes", "vesta_proc_maps_reads_total"] {
        rows.push(Goal::plain(name, format!("{:.0}", metrics.get(name).copied().unwrap_or_default())));
    }
    agent.end()?;
    Ok(goals(format!("Storms of short-lived processes, {seconds} s each"), rows))
}

/// One storm, and what it cost.
fn measure_one(agent: &Agent, program: &str, storm: (&str, &str), seconds: u64) -> Result<[Goal; 4]> {
    say(&format!("{} processes a second of {} s for {seconds} s", storm.0, storm.1));
    let start = agent.used()?;
    run(program, storm, seconds)?;
    agent.settle();
    let end = agent.used()?;
    let Attributed { all, wrong, nameless } = attributed(&agent.folded(seconds + 5)?);
    if all == 0 {
        bail!("no sample of the storm");
    }
    let name = format!("{}/s of {} s", storm.0, storm.1);
    let right = (all - wrong) as f64 * 100.0 / all as f64;
    let cpu = (end.user + end.system - start.user - start.system) * 100.0 / seconds as f64;
    let resident = format!("{:.1} MiB", end.resident as f64 / MIB);
    Ok([
        Goal::at_least(format!("{name}: {all} samples, attributed"), right, 100.0, " %", 2),
        Goal::plain(format!("{name}: its frames without names"), nameless.to_string()),
        Goal::plain(format!("{name}: the agent's CPU time"), format!("{cpu:.1} % of a CPU")),
        Goal::plain(format!("{name}: its resident memory at the end"), resident),
    ])
}

/// Its resident bytes in the median of a minute: they go up and down with each window that is written.
fn median_resident(agent: &Agent) -> Result<f64> {
    let mut looks = Vec::new();
    for _ in 0..LOOKS {
        looks.push(agent.used()?.resident as f64);
        sleep(BETWEEN_LOOKS);
    }
    looks.sort_by(f64::total_cmp);
    Ok(looks[looks.len() / 2])
}

fn run(program: &str, (per_second, child_seconds): (&str, &str), seconds: u64) -> Result<()> {
    let mut command = Command::new(program);
    command.args([per_second, &seconds.to_string(), child_seconds]).stdout(Stdio::null());
    let status = command.status().with_context(|| format!("cannot start {program}"))?;
    if !status.success() {
        bail!("{program} failed ({status})");
    }
    Ok(())
}

fn attributed(folded: &str) -> Attributed {
    let mut found = Attributed::default();
    for line in folded.lines() {
        let Some((stack, samples)) = line.rsplit_once(' ') else { continue };
        let samples: u64 = samples.parse().unwrap_or(0);
        let mut frames = stack.split(';');
        let process = frames.next().unwrap_or_default();
        let (mut has_work, mut has_nameless) = (false, false);
        for frame in frames {
            has_work |= frame == "short_work";
            has_nameless |= frame.starts_with("[short_lived+");
        }
        if has_work {
            found.all += samples;
            found.wrong += if process == "short_lived" { 0 } else { samples };
        }
        found.nameless += if has_nameless { samples } else { 0 };
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_the_programs_function_have_to_be_the_programs() {
        let folded =
            "short_lived;main;short_work 5\nsh;main;short_work 2\nshort_lived;[short_lived+0x12] 1\nx;y 9\n";
        assert_eq!(attributed(folded), Attributed { all: 7, wrong: 2, nameless: 1 });
    }
}
