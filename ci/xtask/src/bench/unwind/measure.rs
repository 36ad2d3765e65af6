//! One cell: one workload under one tool. The tool samples before the first process of the workload starts and after
//! the last has ended, so that every tick of the workload's CPU time is one that the tool should have a sample of.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::cgroup::{Cgroup, first_in_line};
use super::ends::Ends;
use super::stacks::{Judged, Whose, judge};
use super::system::{self, BpfRuns, Usage};
use super::tools::{self, Binaries, Tool};
use super::workloads::Workload;

/// The priority of workload and tool alike: what else the machine does disturbs them little.
pub(in crate::bench) const NICENESS: i32 = -20;
/// Samples per second and CPU: prime, as lightswitch wants it, and close to what all use by default.
pub(in crate::bench) const HZ: u64 = 97;
/// The same where caches are warm.
pub(super) const WARM_HZ: u64 = 4999;
/// How often the processes of the workload are listed: those that live shorter may be missed.
const LOOK: Duration = Duration::from_millis(4);
/// How long a tool may take to be ready, and to write its profile.
const TOOL_GRACE: Duration = Duration::from_secs(180);

/// The circumstances of all cells.
pub(super) struct Bench<'a> {
    pub(super) binaries: &'a Binaries,
    pub(super) variables: &'a [(&'a str, String)],
    pub(super) folder: &'a Path,
    pub(super) cpus: usize,
    pub(super) time: Duration,
}

/// What one run gave.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) workload: &'static Workload,
    pub(super) tool: Tool,
    pub(super) hz: u64,
    pub(super) judged: Judged,
    /// CPU time of the workload's processes, from first to last, times the frequency.
    pub(super) ticks: f64,
    /// The same of the whole machine, while the workload ran.
    pub(super) machine_ticks: f64,
    /// Samples of the whole machine that the tool says it took, and how many of them it kept.
    pub(super) taken_and_kept: Option<(u64, u64)>,
    /// Of the program that takes the samples, while the workload ran; idle CPUs included.
    pub(super) bpf: BpfRuns,
    /// Bytes of the maps that unwind tables lie in, at the end of the workload.
    pub(super) map_bytes: u64,
    /// Of the tool, from its start to its end.
    pub(super) usage: Usage,
}

/// Runs the workload under the tool.
pub(super) fn cell(bench: &Bench<'_>, workload: &'static Workload, tool: Tool, hz: u64) -> Result<Cell> {
    tools::clean(bench.folder)?;
    let maps_before: BTreeSet<u64> = system::maps()?.iter().map(|map| map.id).collect();
    let mut running = Running::start(bench, tool, hz)?;
    running.wait_until_ready(bench.cpus)?;

    let group = Cgroup::create()?;
    let (bpf, busy) = (system::bpf_state(running.pid()).sampling, system::busy_seconds()?);
    let mut shell = group.start(workload.script, NICENESS, bench.variables)?;
    let seen = watch(&group, bench.time, &mut shell, &mut running)?;
    let map_bytes = map_bytes(tool, running.pid(), &maps_before)?;
    group.end()?;
    let _killed = shell.wait();
    let state = system::bpf_state(running.pid());
    let machine = system::busy_seconds()? - busy;
    let ticks = group.cpu_time()?.as_secs_f64() * hz as f64;

    let (usage, stdout) = running.stop()?;
    let findings = tool.findings(bench.folder, &stdout)?;
    let judged = judge(&findings.stacks, seen.whose(workload), &seen.files, &mut Ends::default());
    Ok(Cell {
        workload,
        tool,
        hz,
        judged,
        ticks,
        machine_ticks: machine * hz as f64,
        taken_and_kept: findings.taken_and_kept,
        bpf: state.sampling.since(bpf),
        map_bytes,
        usage,
    })
}

/// What was seen of a workload's processes.
#[derive(Default)]
struct Seen {
    pids: BTreeSet<u32>,
    files: BTreeSet<PathBuf>,
}

impl Seen {
    fn whose(&self, workload: &Workload) -> Whose<'_> {
        Whose { pids: &self.pids, name: workload.process }
    }
}

/// Looks at the workload until its time is over.
fn watch(group: &Cgroup, time: Duration, shell: &mut Child, tool: &mut Running) -> Result<Seen> {
    let (start, mut seen) = (Instant::now(), Seen::default());
    let mut mapped_at = Duration::ZERO;
    while start.elapsed() < time {
        seen.pids.extend(group.pids());
        // Twice a second is enough to meet every kind of process in a loop of the same work.
        if start.elapsed() >= mapped_at {
            mapped_at += Duration::from_millis(500);
            group.pids().into_iter().for_each(|pid| seen.files.extend(system::mapped_files(pid)));
            tool.look();
        }
        if let Some(status) = shell.try_wait()? {
            bail!("the workload ended by itself ({status}); run its script by hand to see why");
        }
        sleep(LOOK);
    }
    seen.pids.extend(group.pids());
    Ok(seen)
}

fn map_bytes(tool: Tool, pid: u32, before: &BTreeSet<u64>) -> Result<u64> {
    let open = system::bpf_state(pid).maps;
    let maps = system::maps()?;
    let new = maps.iter().filter(|map| !before.contains(&map.id));
    Ok(new.filter(|map| tool.is_unwind_map(map, open.contains(&map.id))).map(|map| map.bytes).sum())
}

/// A tool at work; killed when it is dropped before its end.
struct Running {
    tool: Tool,
    child: Child,
    usage: Usage,
    stdout: PathBuf,
}

impl Running {
    fn start(bench: &Bench<'_>, tool: Tool, hz: u64) -> Result<Running> {
        let inner = tool.command(bench.binaries, hz, bench.folder)?;
        let mut command = first_in_line(NICENESS, inner.get_program());
        command.args(inner.get_args());
        let file = |name: &str| {
            let path = bench.folder.join(name);
            let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
            anyhow::Ok((path, file))
        };
        let ((stdout, out), (_, err)) = (file("tool.out")?, file("tool.err")?);
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        let child = command.spawn().with_context(|| format!("cannot start {}", tool.name()))?;
        Ok(Running { tool, child, usage: Usage::default(), stdout })
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Remembers what it has used: at its end nobody can tell any more.
    fn look(&mut self) {
        if let Some(usage) = system::usage(self.pid()) {
            self.usage = usage;
        }
    }

    /// Waits until it has an event on each CPU, and then until it is done with starting: it rests for half a second.
    fn wait_until_ready(&mut self, cpus: usize) -> Result<()> {
        let start = Instant::now();
        let mut before = f64::INFINITY;
        loop {
            sleep(Duration::from_millis(500));
            self.look();
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended at once ({status}): {}", self.tool.name(), self.complaint());
            }
            let rests = self.usage.cpu_seconds - before < 0.1;
            if rests && system::bpf_state(self.pid()).events >= cpus {
                return Ok(());
            }
            before = self.usage.cpu_seconds;
            if start.elapsed() > TOOL_GRACE {
                bail!("{} does not get ready: {}", self.tool.name(), self.complaint());
            }
        }
    }

    fn complaint(&self) -> String {
        let text = fs::read_to_string(self.stdout.with_file_name("tool.err")).unwrap_or_default();
        text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it says nothing").to_owned()
    }

    /// Interrupts it, and waits until it has written its profile; what it has used, and what it printed.
    fn stop(mut self) -> Result<(Usage, String)> {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args(["-INT", &pid]).status().context("cannot run kill")?;
        let start = Instant::now();
        let status = loop {
            self.look();
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if !sent.success() || start.elapsed() > TOOL_GRACE {
                bail!("{} does not end: {}", self.tool.name(), self.complaint());
            }
            sleep(Duration::from_millis(5));
        };
        // perf ends by the signal it was sent, after it has written all.
        if status.code().is_some_and(|code| code != 0 && code != 130) {
            bail!("{} failed ({status}): {}", self.tool.name(), self.complaint());
        }
        let mut text = String::new();
        File::open(&self.stdout).and_then(|mut file| file.read_to_string(&mut text)).context("tool.out")?;
        Ok((self.usage, text))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // It has failed already; the reason is on its way to the user.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
