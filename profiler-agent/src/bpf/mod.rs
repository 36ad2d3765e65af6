//! The kernel program: loading, attaching, draining, counting. Nothing outside this module knows aya.

mod attach;
mod btf;
mod kernel_comparison;
mod kernel_rules;
mod loaded;
mod parts;
mod record;
mod run_times;
mod tables;

use std::{collections::BTreeMap, os::fd::OwnedFd, path::Path, time::Duration};

use aya::{
    Ebpf, EbpfLoader,
    maps::{HashMap, MapData, PerCpuArray, RingBuf},
    programs::{PerfEvent, RawTracePoint},
};
use profiler_abi::{COUNTERS, Counter};
use thiserror::Error;

pub(crate) use attach::CpuEvent;
pub(crate) use btf::{Btf, BtfError};
pub(crate) use kernel_comparison::{Comparison, ComparisonError, KernelComparisons};
pub(crate) use loaded::programs;
pub(crate) use parts::{PartCosts, PartSummary};
pub(crate) use record::{OpenStacks, RawRecord, RawSample, RecordError, StackCopy};
pub(crate) use run_times::RunTimes;
pub(crate) use tables::TableMaps;

use kernel_rules::KernelRules;

/// The object that the build script made, aligned as an ELF reader wants it.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/vesta-bpf.o"));

/// The kernel's type information.
pub(crate) const BTF_PATH: &str = "/sys/kernel/btf/vmlinux";

/// Why the kernel program does not run.
#[derive(Debug, Error)]
pub(crate) enum BpfError {
    #[error(transparent)]
    Btf(#[from] BtfError),
    #[error("the BPF object does not load: {0}")]
    Load(#[source] Box<aya::EbpfError>),
    #[error("the kernel refuses the BPF program {program}: {}", shortened(&source.to_string()))]
    Program { program: &'static str, source: Box<aya::programs::ProgramError> },
    #[error("the BPF object lacks {0}: it was built from another version of Vesta")]
    Missing(&'static str),
    #[error("the BPF map {map} fails: {source}")]
    Map { map: &'static str, source: Box<aya::maps::MapError> },
    #[error("a perf event on CPU {cpu} cannot be opened: {source}")]
    PerfEvent { cpu: u32, source: Box<aya::programs::ProgramError> },
    #[error("the list of online CPUs cannot be read: {0}")]
    Cpus(std::io::Error),
}

impl BpfError {
    /// Whether more privileges would help. EACCES from the verifier means that it refuses the program, to anyone.
    pub(crate) fn is_permission(&self) -> bool {
        const EPERM: i32 = 1;
        let from_verifier = matches!(self, Self::Program { .. });
        let denied = |io: &std::io::Error| {
            io.raw_os_error() == Some(EPERM)
                || (io.kind() == std::io::ErrorKind::PermissionDenied && !from_verifier)
        };
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = cause {
            if error.downcast_ref::<std::io::Error>().is_some_and(denied) {
                return true;
            }
            cause = error.source();
        }
        false
    }
}

/// The verifier's log can be a hundred thousand lines: its first and its last ones say what is wrong.
fn shortened(text: &str) -> String {
    const KEEP: usize = 6;
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    if lines.len() <= 2 * KEEP {
        return lines.join("\n");
    }
    let (first, last) = (&lines[..1], &lines[lines.len() - KEEP..]);
    format!(
        "{}\n… {} lines of the verifier's log …\n{}",
        first.join("\n"),
        lines.len() - KEEP - 1,
        last.join("\n")
    )
}

fn map_error(map: &'static str) -> impl FnOnce(aya::maps::MapError) -> BpfError {
    move |source| BpfError::Map { map, source: Box::new(source) }
}

fn program_error(program: &'static str) -> impl FnOnce(aya::programs::ProgramError) -> BpfError {
    move |source| BpfError::Program { program, source: Box::new(source) }
}

/// Records taken at one look: more than a ring holds of the smallest. On a machine that is so busy that samples come as
/// fast as they are read, a look has an end all the same.
const RECORDS_A_DRAIN: usize = 1 << 19;

/// How much to sample.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SamplingOptions {
    /// Samples per second and CPU.
    pub(crate) frequency_hz: u64,
    /// Only processes in the set of [`KernelProgram::watched`].
    pub(crate) watched_only: bool,
    /// Whether the program's parts are measured.
    pub(crate) measured: bool,
}

/// What became of the program's runs so far, summed over CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts([u64; COUNTERS as usize]);

impl Counts {
    /// Runs of the sampling program: the ticks that came.
    pub(crate) fn runs(&self) -> u64 {
        [Counter::Idle, Counter::FilteredOut, Counter::Emitted, Counter::LostRingFull, Counter::LostNoScratch]
            .map(|counter| self.get(counter))
            .iter()
            .sum()
    }

    /// One counter.
    pub(crate) fn get(&self, counter: Counter) -> u64 {
        self.0[counter as usize]
    }
}

/// The processes that are sampled when only watched ones are. Children of members become members as they are forked.
pub(crate) struct Watched(HashMap<MapData, u32, u8>);

impl Watched {
    /// Samples a process.
    pub(crate) fn add(&mut self, pid: u32) -> Result<(), BpfError> {
        self.0.insert(pid, profiler_abi::WATCH_SAMPLED, 0).map_err(map_error("WATCHED"))
    }

    /// Samples the programs that a process starts from now on, from their exec on, and not the process itself.
    pub(crate) fn watch_children_of(&mut self, pid: u32) -> Result<(), BpfError> {
        self.0.insert(pid, profiler_abi::WATCH_CHILDREN, 0).map_err(map_error("WATCHED"))
    }

    /// Takes a process out; its children stay.
    pub(crate) fn remove(&mut self, pid: u32) -> Result<(), BpfError> {
        self.0.remove(&pid).map_err(map_error("WATCHED"))
    }
}

/// The loaded program.
pub(crate) struct KernelProgram {
    ebpf: Ebpf,
    ring: RingBuf<MapData>,
    counts: PerCpuArray<MapData, u64>,
    watched: Option<Watched>,
    tables: Option<TableMaps>,
    part_costs: Option<PartCosts>,
    events: attach::Attachments,
    /// While this is open the kernel counts run times.
    _stats: Option<OwnedFd>,
}

impl KernelProgram {
    /// Loads the program; it does not run before [`KernelProgram::attach`].
    pub(crate) fn load(options: SamplingOptions) -> Result<Self, BpfError> {
        let btf = Btf::read(Path::new(BTF_PATH))?;
        let start_time = btf
            .offset("task_struct", "start_boottime")
            .or_else(|_| btf.offset("task_struct", "real_start_time"))?;
        let offsets = [
            ("TASK_FLAGS", btf.offset("task_struct", "flags")?),
            ("TASK_MM", btf.offset("task_struct", "mm")?),
            ("TASK_GROUP_LEADER", btf.offset("task_struct", "group_leader")?),
            ("TASK_COMM", btf.offset("task_struct", "comm")?),
            ("TASK_TGID", btf.offset("task_struct", "tgid")?),
            ("TASK_SIGNAL", btf.offset("task_struct", "signal")?),
            ("SIGNAL_LIVE", btf.offset("signal_struct", "live")?),
            ("TASK_START_TIME", start_time),
            ("TASK_EXEC_ID", btf.offset("task_struct", "self_exec_id")?),
            ("TASK_PARENT_EXEC_ID", btf.offset("task_struct", "parent_exec_id")?),
            ("TASK_FSBASE", btf.offset("task_struct", "thread")? + btf.offset("thread_struct", "fsbase")?),
            ("MM_START_STACK", btf.offset("mm_struct", "start_stack")?),
        ];
        let ring_bytes = ring_bytes(possible_cpus()?, options.frequency_hz);
        let wake_bytes = u64::from(ring_bytes / 2);
        let watched_only = u32::from(options.watched_only);
        let mut loader = EbpfLoader::new();
        for (name, offset) in &offsets {
            loader.override_global(name, offset, true);
        }
        loader.override_global("WAKE_BYTES", &wake_bytes, true);
        let copy_ns_per_kib = copy_ns_per_kib(possible_cpus()?);
        loader.override_global("COPY_NS_PER_KIB", &copy_ns_per_kib, true);
        loader.override_global("WATCHED_ONLY", &watched_only, true);
        let measured = u32::from(options.measured);
        loader.override_global("MEASURED", &measured, true);
        loader.map_max_entries("SAMPLES", ring_bytes);
        let kernel_rules = KernelRules::find(&btf);
        match &kernel_rules {
            Ok(rules) => rules.set(&mut loader),
            Err(reason) => {
                tracing::info!(%reason, "the kernel's unwind tables are not used: kernel stacks cost more");
                // No map is empty.
                loader.map_max_entries("KERNEL_BLOCKS", 1);
            }
        }
        let mut ebpf = loader.load(OBJECT).map_err(|error| BpfError::Load(Box::new(error)))?;
        let program: &mut PerfEvent = program(&mut ebpf, "sample_cpu")?;
        program.load().map_err(program_error("sample_cpu"))?;
        if let Ok(rules) = &kernel_rules {
            rules.fill(&mut ebpf)?;
        }
        if options.watched_only {
            for (name, tracepoint) in
                [("watch_fork", "sched_process_fork"), ("watch_exit", "sched_process_exit")]
            {
                let program: &mut RawTracePoint = self::program(&mut ebpf, name)?;
                program.load().map_err(program_error(name))?;
                program.attach(tracepoint).map_err(program_error(name))?;
            }
        }
        Ok(Self {
            ring: RingBuf::try_from(take(&mut ebpf, "SAMPLES")?).map_err(map_error("SAMPLES"))?,
            counts: PerCpuArray::try_from(take(&mut ebpf, "COUNTS")?).map_err(map_error("COUNTS"))?,
            watched: Some(Watched(
                HashMap::try_from(take(&mut ebpf, "WATCHED")?).map_err(map_error("WATCHED"))?,
            )),
            tables: Some(TableMaps::take_from(&mut ebpf)?),
            part_costs: parts::PartCosts::take_from(&mut ebpf, options.measured)?,
            events: attach::Attachments::new(options.frequency_hz),
            // Without it (kernels before 5.8) the cost is shown as unknown.
            _stats: aya::sys::enable_stats(aya::sys::Stats::RunTime).ok(),
            ebpf,
        })
    }

    /// The set of watched processes, to be taken once by whoever decides.
    pub(crate) fn watched(&mut self) -> Result<Watched, BpfError> {
        self.watched.take().ok_or(BpfError::Missing("WATCHED"))
    }

    /// The maps of unwind tables, to be taken once by whoever fills them.
    pub(crate) fn tables(&mut self) -> Result<TableMaps, BpfError> {
        self.tables.take().ok_or(BpfError::Missing("SLABS"))
    }

    /// What the program's parts take, to be taken once by whoever shows it; none if they are not measured.
    pub(crate) fn part_costs(&mut self) -> Option<PartCosts> {
        self.part_costs.take()
    }

    /// Starts sampling on CPUs that are online and not sampled yet, stops on those that went away. To be called
    /// once to start, then from time to time. Says which event is counted, and how many CPUs are sampled.
    pub(crate) fn attach(&mut self) -> Result<(CpuEvent, usize), BpfError> {
        let program: &mut PerfEvent = program(&mut self.ebpf, "sample_cpu")?;
        self.events.follow_online_cpus(program)
    }

    /// Stops sampling; what is in the ring stays there to be drained.
    pub(crate) fn detach(&mut self) -> Result<(), BpfError> {
        let program: &mut PerfEvent = program(&mut self.ebpf, "sample_cpu")?;
        self.events.detach_all(program);
        Ok(())
    }

    /// The file descriptor that becomes readable when the ring fills faster than it is polled.
    pub(crate) fn ring_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(&self.ring)
    }

    /// Takes the records out of the ring, but for those beyond [`RECORDS_A_DRAIN`].
    pub(crate) fn drain(&mut self, mut each: impl FnMut(Result<RawRecord, RecordError>)) {
        for _ in 0..RECORDS_A_DRAIN {
            let Some(record) = self.ring.next() else { return };
            each(RawRecord::decode(&record));
        }
    }

    /// The counters now.
    pub(crate) fn counts(&self) -> Result<Counts, BpfError> {
        let mut sums = Counts::default();
        for counter in Counter::ALL {
            let values = self.counts.get(&(counter as u32), 0).map_err(map_error("COUNTS"))?;
            sums.0[counter as usize] = values.iter().sum();
        }
        Ok(sums)
    }

    /// Ticks of the clock that there must have been so far; none where that is not known, as an idle CPU's do not come.
    pub(crate) fn due_ticks(&self) -> Option<u64> {
        self.events.due_ticks()
    }

    /// Time spent in the sampling program so far, all CPUs together; none where the kernel does not count it.
    pub(crate) fn run_time(&self) -> Option<Duration> {
        self._stats.as_ref()?;
        let program = self.ebpf.program("sample_cpu")?;
        program.info().ok().map(|info| info.run_time())
    }

    /// Instructions the verifier looked at in each program: how far it is from the limit of a million. Nothing of
    /// programs whose kernel does not say.
    pub(crate) fn verified_instructions(&self) -> BTreeMap<String, u32> {
        let counted = self.ebpf.programs().filter_map(|(name, program)| {
            Some((name.to_owned(), program.info().ok()?.verified_instruction_count()?))
        });
        counted.collect()
    }
}

fn program<'a, P>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut P, BpfError>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = aya::programs::ProgramError>,
{
    ebpf.program_mut(name).ok_or(BpfError::Missing(name))?.try_into().map_err(program_error(name))
}

fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<aya::maps::Map, BpfError> {
    ebpf.take_map(name).ok_or(BpfError::Missing(name))
}

/// CPUs that are online now.
pub(crate) fn online_cpus() -> Result<Vec<u32>, BpfError> {
    aya::util::online_cpus().map_err(|(_, error)| BpfError::Cpus(error))
}

/// CPUs that can ever be online.
fn possible_cpus() -> Result<usize, BpfError> {
    aya::util::nr_cpus().map_err(|(_, error)| BpfError::Cpus(error))
}

/// How long a CPU copies no more user stacks, for each KiB copied: 40 MiB a second on the whole machine, 300 deep stacks
/// or some 5,000 of short-lived programs, but at least a deep one of 128 KiB a second on each CPU, so that no CPU's new
/// processes go without.
fn copy_ns_per_kib(cpus: usize) -> u64 {
    (cpus as u64).saturating_mul(1_000_000_000 / (40 << 10)).min(1_000_000_000 / 128)
}

/// Ring size: two seconds of samples of 1 KiB (100 frames and a header, deeper than most) from every CPU, a power
/// of two, at least 4 MiB and at most 64 MiB. The agent polls ten times a second, and is woken at half. Copies of stacks
/// are 40 MiB in a second at most, 4 MiB between two looks if it is not woken for them, and stop at half of the ring.
fn ring_bytes(cpus: usize, frequency_hz: u64) -> u32 {
    let wanted = (cpus as u64).saturating_mul(frequency_hz).saturating_mul(2 << 10);
    wanted.clamp(4 << 20, 64 << 20).next_power_of_two() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_of_stacks_are_shared_out_among_cpus() {
        assert_eq!(copy_ns_per_kib(2), 48_828);
        assert_eq!(copy_ns_per_kib(100_000), 7_812_500);
    }

    #[test]
    fn the_ring_grows_with_cpus_and_frequency_within_bounds() {
        assert_eq!(ring_bytes(2, 99), 4 << 20);
        assert_eq!(ring_bytes(64, 99), 16 << 20);
        assert_eq!(ring_bytes(512, 10_000), 64 << 20);
        assert_eq!(ring_bytes(usize::MAX, u64::MAX), 64 << 20);
    }
}
