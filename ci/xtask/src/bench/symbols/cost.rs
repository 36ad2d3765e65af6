//! What the agent costs while redis is under load: user CPU time per sample, all in, and memory.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::super::unwind::cgroup::Cgroup;
use super::super::unwind::measure::NICENESS;
use super::super::unwind::table::Table;
use super::super::unwind::workloads::WORKLOADS;
use super::agent::{Agent, Used};
use super::{Bench, Goal, goals};
use crate::process::say;

/// User CPU time that lightswitch was measured to take for each sample, microseconds.
const LIGHTSWITCH_US: f64 = 186.0;
/// How long starting is over at the latest: files read, tables built.
const START: Duration = Duration::from_secs(15);

/// A moment: what was used, and samples stored, by then.
struct Mark {
    used: Used,
    samples: f64,
}

impl Mark {
    fn now(agent: &Agent) -> Result<Mark> {
        Ok(Mark { used: agent.used()?, samples: agent.metric("vesta_samples_stored_total")? })
    }

    /// Microseconds of user code for each sample since an earlier moment.
    fn us_per_sample(&self, before: &Mark) -> f64 {
        (self.used.user - before.used.user) * 1e6 / (self.samples - before.samples).max(1.0)
    }
}

/// Measures it.
pub(super) fn measure(bench: &Bench<'_>, seconds: u64) -> Result<Table> {
    let redis = WORKLOADS.iter().find(|workload| workload.name == "redis").context("no redis")?;
    say(&format!("redis for {seconds} s"));
    let agent = Agent::start(&bench.vesta, bench.folder)?;
    let group = Cgroup::create()?;
    let mut shell = group.start(redis.script, NICENESS, &bench.variables)?;
    let start = Instant::now();
    let mut after_start = None;
    while start.elapsed() < Duration::from_secs(seconds) {
        sleep(Duration::from_millis(500));
        if after_start.is_none() && start.elapsed() >= START.min(Duration::from_secs(seconds) / 3) {
            after_start = Some(Mark::now(&agent)?);
        }
        if let Some(status) = shell.try_wait()? {
            bail!("redis ended by itself ({status})");
        }
    }
    let (first, last) = (after_start.context("too short")?, Mark::now(&agent)?);
    group.end()?;
    let _killed = shell.wait();
    agent.end()?;
    let nothing = Mark { used: Used::default(), samples: 0.0 };
    let most = 0.3 * LIGHTSWITCH_US;
    let total = last.used.user + last.used.system;
    Ok(goals(
        format!("The agent while redis is under load, {seconds} s"),
        vec![
            Goal::plain("samples stored", format!("{:.0}", last.samples)),
            Goal::at_most(
                "user CPU time per sample, from its start on",
                last.us_per_sample(&nothing),
                most,
                " us",
                1,
            ),
            Goal::plain(
                "the same after the start, which is the first quarter",
                format!("{:.1} us", last.us_per_sample(&first)),
            ),
            Goal::plain("CPU time in all", format!("{total:.2} s, {:.2} s of it user", last.used.user)),
            Goal::at_most(
                "resident memory at the end",
                last.used.resident as f64 / 1048576.0,
                256.0,
                " MiB",
                0,
            ),
        ],
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_per_sample_is_that_between_two_moments() {
        let mark = |user, samples| Mark { used: Used { user, ..Used::default() }, samples };
        let us = mark(2.0, 30_000.0).us_per_sample(&mark(1.0, 10_000.0));
        assert!((us - 50.0).abs() < 1e-9, "{us}");
    }
}
