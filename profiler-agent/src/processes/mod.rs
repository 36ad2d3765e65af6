//! Which processes there are, and which file stands behind each of their addresses.
//!
//! Learned from perf's records as things happen; processes older than the agent, and whatever the records lost,
//! are read from /proc on the first sample that needs it. A process is (pid, start time): an id that is used again
//! is another process.

mod binaries;
mod code;
mod labels;
mod mappings;
mod maps_file;
mod process;
mod shared;
mod sideband;
mod vdso;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rustc_hash::FxHashMap;

pub(crate) use binaries::{BinaryHandle, MappedFile, VDSO};
pub(crate) use code::{CodeBacking, CodeRange, ProcessCode};
pub(crate) use sideband::{ProcessEvent, Sideband};
pub(crate) use vdso::vdso_image;

use labels::Label;

use crate::{
    jit::{JitCounts, JitFollower, JitProcess},
    kubernetes::Pods,
    room::give_back,
};
use binaries::Binaries;
use mappings::{Backing, Mappings};
use process::{MAPS_REST, Process, forget_resolved, resolve};
use shared::Shared;
use sideband::Change;

/// Handle of a process, unique for the life of the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ProcessHandle(pub(crate) u32);

/// Processes known at once: `pid_max` on small machines. Beyond it, those longest gone are forgotten.
const PROCESSES_MAX: usize = 32_768;
/// How long an ended process is kept for samples still under way, from its last one on. Samples are taken from the kernel in
/// the same turn as the record of the end, or one turn later.
const KEEP_ENDED: Duration = Duration::from_secs(2);

/// What a process is labelled with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct ProcessLabels {
    /// Name of its first thread.
    pub(crate) process: String,
    /// Path of its executable; empty for kernel threads.
    pub(crate) exe: String,
    /// Path of its cgroup (v2).
    pub(crate) cgroup: String,
    /// What the path says of containers, pods and units; its command line, if it was asked for.
    pub(crate) more: Vec<Label>,
}

/// What is asked of processes beside their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LabelOptions {
    /// Whether command lines are wanted.
    pub(crate) command_line: bool,
    /// Words in the names of options whose values are secrets, beside the usual ones; lower case.
    pub(crate) redact: Vec<String>,
}

/// Where a user address lies.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// In a file, at this offset.
    File { binary: BinaryHandle, file: MappedFile, file_offset: u64 },
    /// In the vDSO, at this offset.
    Vdso { offset: u64 },
    /// In code made at run time.
    Anonymous,
    /// In no mapping we know of.
    Unknown,
}

/// What tells a process from another of the same id, and a program from the next one in the same process: when it
/// started (nanoseconds of CLOCK_BOOTTIME), and how often it has called exec.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProcessIdentity {
    pub(crate) start_time_ns: u64,
    pub(crate) exec_id: u32,
}

/// Counters of the table, for /metrics.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ProcessCounts {
    pub(crate) known: u64,
    pub(crate) maps_reads: u64,
    pub(crate) maps_read_ns: u64,
    pub(crate) unopened_files: u64,
    pub(crate) forgotten: u64,
    pub(crate) jit: JitCounts,
}

/// All processes.
#[derive(Default)]
pub(crate) struct ProcessTable {
    by_pid: FxHashMap<u32, Process>,
    binaries: Binaries,
    /// Of the maps that were read.
    paths: Shared<str>,
    labels: Shared<ProcessLabels>,
    vdso: Option<MappedFile>,
    jit: Option<JitFollower>,
    label_options: LabelOptions,
    pods: Option<Pods>,
    cgroups: FxHashMap<u64, Cgroup>,
    next: u32,
    maps_rest_until: Option<Instant>,
    maps_reads: u64,
    maps_read_ns: u64,
    forgotten: u64,
}

impl ProcessTable {
    /// The same, which labels processes so; `pods` is told of pods as soon as they are seen.
    pub(crate) fn with_labels(self, label_options: LabelOptions, pods: Option<Pods>) -> Self {
        Self { label_options, pods, ..self }
    }

    /// A table without any process. `vdso` is the image of the kernel's vDSO; `jit` has names of code made at run time.
    pub(crate) fn new(vdso: Option<MappedFile>, jit: Option<JitFollower>) -> Self {
        Self { vdso, jit, ..Self::default() }
    }

    /// Takes in what happened.
    pub(crate) fn apply(&mut self, event: ProcessEvent) {
        match event.change {
            Change::Exec => {
                let process = Process::new(&mut self.next, Mappings::default(), true);
                self.by_pid.insert(event.pid, process);
            }
            Change::Fork { parent } => {
                let (mappings, complete) = match self.by_pid.get(&parent) {
                    Some(parent) => (parent.mappings.clone(), parent.complete),
                    None => (Mappings::default(), false),
                };
                let process = Process::new(&mut self.next, mappings, complete);
                self.by_pid.insert(event.pid, process);
            }
            Change::Exit => {
                if let Some(process) = self.by_pid.get_mut(&event.pid) {
                    process.ended = Some(Instant::now());
                }
            }
            Change::Mmap(mapping) => {
                // Of a process that is not known yet all maps are read when a sample needs them.
                if let Some(process) = self.by_pid.get_mut(&event.pid) {
                    forget_resolved(&mut process.resolved, mapping.start, mapping.end);
                    process.note_dump(&mapping);
                    process.mappings.insert(mapping);
                    process.version += 1;
                }
            }
        }
    }

    /// Records were lost. What they said, the maps of processes say, too: they are read again, each when a sample needs it
    /// and the process has rested from the last reading.
    pub(crate) fn events_lost(&mut self) {
        for process in self.by_pid.values_mut().filter(|process| process.ended.is_none()) {
            process.complete = false;
            process.maps_read = None;
        }
    }

    /// A thread was sampled. The first one of a process may end before the others: the process goes on.
    pub(crate) fn sampled(&mut self, pid: u32, tid: u32) {
        if tid != pid
            && let Some(process) = self.by_pid.get_mut(&pid)
            && process.ended.take().is_some()
        {
            process.headless = true;
        }
    }

    /// The process of a sample and its labels. `comm` is its first thread's name as sampled.
    pub(crate) fn process(
        &mut self,
        pid: u32,
        identity: ProcessIdentity,
        comm: &str,
        cgroup_id: u64,
    ) -> (ProcessHandle, Arc<ProcessLabels>) {
        // Labels are made once; a process that moves to another cgroup keeps the first.
        let is_new = self.by_pid.get(&pid).is_none_or(|process| {
            process.identity != Some(identity)
                || process.labels.as_ref().is_none_or(|labels| labels.process != comm)
        });
        let cgroup = if is_new { self.cgroup(pid, cgroup_id) } else { Cgroup::default() };
        let next = &mut self.next;
        let process =
            self.by_pid.entry(pid).or_insert_with(|| Process::new(next, Mappings::default(), false));
        if process.is_another(identity) {
            *process = Process::new(next, Mappings::default(), false);
        }
        process.identity = Some(identity);
        process.ended = process.ended.map(|_| Instant::now());
        let labels = match &process.labels {
            // A program may rename itself.
            Some(labels) if labels.process == comm => labels.clone(),
            previous => {
                let exe = previous.as_ref().map(|labels| labels.exe.clone()).filter(|exe| !exe.is_empty());
                let exe = exe.unwrap_or_else(|| exe_of(pid));
                let mut more = cgroup.labels;
                if self.label_options.command_line {
                    let known = previous.as_ref().and_then(|labels| labels.command_line());
                    let command = known.or_else(|| labels::command_line(pid, &self.label_options.redact));
                    more.extend(command.map(|command| ("command", command)));
                }
                let labels = ProcessLabels { process: comm.to_owned(), exe, cgroup: cgroup.path, more };
                let labels = self.labels.get(labels);
                // Asked now, it is answered when naming wants it.
                if let (Some(pods), Some((uid, container))) = (&self.pods, labels.pod()) {
                    pods.labels(uid, container);
                }
                process.labels = Some(labels.clone());
                labels
            }
        };
        (process.handle, labels)
    }

    fn cgroup(&mut self, pid: u32, cgroup_id: u64) -> Cgroup {
        // Few cgroups, many processes: the id names the path for all of them.
        if let Some(known) = self.cgroups.get(&cgroup_id) {
            return known.clone();
        }
        let Some(cgroup) = cgroup_of(pid) else { return Cgroup::default() };
        // With version 1 beside it all processes are in the root of version 2, and tell apart by the others only.
        if cgroup.path != "/" {
            // As many as a large host has pods and units, several times over.
            if self.cgroups.len() >= 65_536 {
                self.cgroups.clear();
            }
            self.cgroups.insert(cgroup_id, cgroup.clone());
        }
        cgroup
    }

    /// Where an address of a process lies; a `guess` is one that a walk without tables took for code. The process must have been
    /// asked for by [`ProcessTable::process`].
    pub(crate) fn locate(&mut self, pid: u32, address: u64, guess: bool) -> Place {
        let Some(process) = self.by_pid.get_mut(&pid) else { return Place::Unknown };
        let missing = process.mappings.find(address).is_none();
        if process.wants_maps(missing, guess, self.maps_rest_until) {
            let start = Instant::now();
            self.maps_reads += 1;
            // A process that is gone keeps what the records said, and so does one that runs another program by now: that
            // one is not at this address.
            if let Some(mappings) = maps_file::read(pid, &mut self.paths).ok().map(Mappings::from_list)
                && mappings.find(address).is_some()
            {
                mappings.iter().for_each(|mapping| process.note_dump(mapping));
                process.mappings = mappings;
                process.complete = true;
                process.resolved.clear();
                process.version += 1;
            }
            let took = start.elapsed();
            self.maps_read_ns += took.as_nanos() as u64;
            let rest_until = Some(start + took * (MAPS_REST + 1));
            (process.maps_read, process.maps_rest_until) = (Some(start), rest_until);
            self.maps_rest_until = rest_until;
        }
        let Some(mapping) = process.mappings.find(address) else { return Place::Unknown };
        let file_offset = mapping.file_offset.wrapping_add(address - mapping.start);
        match &mapping.backing {
            Backing::Vdso => Place::Vdso { offset: address - mapping.start },
            Backing::Anonymous => Place::Anonymous,
            Backing::File { key, path } => {
                let (binary, file) =
                    resolve(&mut self.binaries, &mut process.resolved, pid, mapping, *key, path);
                match file.is_made() {
                    true => Place::Anonymous,
                    false => Place::File { binary, file, file_offset },
                }
            }
        }
    }

    /// Names of the code that a process has made at run time. The process must have been asked for by
    /// [`ProcessTable::process`]. From the first call on they are followed.
    pub(crate) fn jit(&mut self, pid: u32) -> Option<Arc<JitProcess>> {
        let process = self.by_pid.get_mut(&pid)?;
        if process.jit.is_none() {
            process.jit = self.jit.as_ref()?.follow(pid, process.identity?);
        }
        let jit = process.jit.clone()?;
        if let Some(mapping) = process.dump.take()
            && let Backing::File { key, path } = &mapping.backing
        {
            let (_, file) = resolve(&mut self.binaries, &mut process.resolved, pid, &mapping, *key, path);
            file.file.into_iter().for_each(|file| jit.set_dump(file));
        }
        Some(jit)
    }

    /// The version of a process's mappings, and which process it is.
    pub(crate) fn version(&self, pid: u32) -> Option<(ProcessHandle, u64)> {
        self.by_pid.get(&pid).map(|process| (process.handle, process.version))
    }

    /// Forgets processes that have ended. To be called from time to time.
    pub(crate) fn forget_ended(&mut self) {
        for (pid, process) in self.by_pid.iter_mut().filter(|(_, process)| process.headless) {
            // No record tells when the last thread ends.
            if process.ended.is_none() && !std::path::Path::new(&format!("/proc/{pid}")).exists() {
                process.ended = Some(Instant::now());
            }
        }
        self.by_pid.retain(|_, process| process.ended.is_none_or(|at| at.elapsed() < KEEP_ENDED));
        self.binaries.forget_unused(Instant::now());
        if self.by_pid.len() > PROCESSES_MAX {
            // Whoever is alive and sampled comes back with its next sample.
            self.forgotten += self.by_pid.len() as u64;
            self.by_pid.retain(|_, process| process.identity.is_some() && process.ended.is_none());
            self.forgotten -= self.by_pid.len() as u64;
        }
        give_back(&mut self.by_pid);
    }

    /// Counters.
    pub(crate) fn counts(&self) -> ProcessCounts {
        ProcessCounts {
            known: self.by_pid.len() as u64,
            maps_reads: self.maps_reads,
            maps_read_ns: self.maps_read_ns,
            unopened_files: self.binaries.unopened,
            forgotten: self.forgotten,
            jit: self.jit.as_ref().map(JitFollower::counts).unwrap_or_default(),
        }
    }
}

fn exe_of(pid: u32) -> String {
    let exe = maps_file::of_any_thread(pid, |folder| std::fs::read_link(format!("{folder}/exe")).ok());
    let exe = exe.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
    exe.strip_suffix(" (deleted)").map_or_else(|| exe.clone(), str::to_owned)
}

/// A cgroup: its path in the unified hierarchy (the line `0::/path`), and what its paths say.
#[derive(Clone, Debug, Default)]
struct Cgroup {
    path: String,
    labels: Vec<Label>,
}

fn cgroup_of(pid: u32) -> Option<Cgroup> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?.to_owned();
    let mut labels = labels::of_cgroups(&text);
    labels.extend(labels::of_logs(std::path::Path::new("/var/log"), &labels));
    Some(Cgroup { path, labels })
}

impl ProcessLabels {
    fn get(&self, wanted: &str) -> Option<&str> {
        self.more.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.as_str())
    }

    /// The pod and the container in it, as its cgroup calls them.
    pub(crate) fn pod(&self) -> Option<(&str, Option<&str>)> {
        Some((self.get("pod_uid")?, self.get("container")))
    }

    fn command_line(&self) -> Option<String> {
        self.get("command").map(str::to_owned)
    }
}

#[cfg(test)]
mod tests;
