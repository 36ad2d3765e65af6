//! What `perf record --call-graph dwarf` has written: samples with their registers and a copy of their stack, and which
//! file was mapped where when they were taken.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::rc::Rc;

use linux_perf_data::linux_perf_event_reader::{CpuMode, EventRecord, Mmap2Record, SampleRecord};
use linux_perf_data::{Error, PerfFileReader, PerfFileRecord};

/// perf's numbers of the registers that DWARF numbers 0 to 15 (the kernel's arch/x86/include/uapi/asm/perf_regs.h; x86-64
/// psABI, figure 3.36): rax, rdx, rcx, rbx, rsi, rdi, rbp, rsp, r8 to r15.
const IN_PERF: [u64; 16] = [0, 3, 2, 1, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23];
/// The same of rip.
const IP_IN_PERF: u64 = 8;

/// A stretch of a process's code.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mapping {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Of its start in the file.
    pub(crate) file_offset: u64,
    /// A file's path, `[vdso]`, or `//anon`.
    pub(crate) path: Rc<str>,
}

impl Mapping {
    /// Where in its file an address is.
    pub(crate) fn offset(&self, address: u64) -> u64 {
        self.file_offset + (address - self.start)
    }
}

/// Mappings, by their first address.
#[derive(Clone, Debug, Default)]
struct Mappings(BTreeMap<u64, Mapping>);

impl Mappings {
    fn find(&self, address: u64) -> Option<&Mapping> {
        self.0.range(..=address).next_back().map(|(_, mapping)| mapping).filter(|it| address < it.end)
    }

    /// Where the first part of a file is.
    fn lowest(&self, path: &str) -> Option<u64> {
        self.0.values().find(|mapping| &*mapping.path == path).map(|mapping| mapping.start)
    }

    /// Takes the place of what was there.
    fn map(&mut self, new: Mapping) {
        let under = self.0.range(..new.end).filter(|(_, old)| old.end > new.start);
        let under: Vec<Mapping> = under.map(|(_, old)| old.clone()).collect();
        for old in under {
            self.0.remove(&old.start);
            if old.end > new.end {
                let file_offset = old.file_offset + (new.end - old.start);
                self.0.insert(new.end, Mapping { start: new.end, file_offset, ..old.clone() });
            }
            if old.start < new.start {
                self.0.insert(old.start, Mapping { end: new.start, ..old });
            }
        }
        self.0.insert(new.start, new);
    }
}

/// What a process has mapped.
#[derive(Clone, Debug, Default)]
pub(crate) struct Process {
    now: Mappings,
    /// As perf 6.1 keeps them: those of before an exec stay, but for what is mapped over them.
    in_perf: Mappings,
}

impl Process {
    /// The mapping that an address is in.
    pub(crate) fn mapping(&self, address: u64) -> Option<&Mapping> {
        self.now.find(address)
    }

    /// Where in its file an address is, as perf prints it; the address itself where there is no mapping.
    pub(crate) fn place(&self, address: u64) -> u64 {
        self.mapping(address).map_or(address, |mapping| mapping.offset(address))
    }

    /// Whether perf believes that the file at this address starts elsewhere: it takes the lowest address at which the
    /// process has it, also from before its exec.
    pub(crate) fn is_misplaced_by_perf(&self, address: u64) -> bool {
        let path = self.mapping(address).map(|mapping| &mapping.path);
        path.is_some_and(|path| self.now.lowest(path) != self.in_perf.lowest(path))
    }

    fn map(&mut self, new: &Mapping) {
        self.now.map(new.clone());
        self.in_perf.map(new.clone());
    }
}

/// A sample that has a user stack.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) tid: u32,
    pub(crate) time_ns: u64,
    pub(crate) ip: u64,
    /// By DWARF number.
    pub(crate) registers: [u64; 16],
    /// From the stack pointer on.
    pub(crate) stack: Vec<u8>,
}

/// Goes through a recording; shows every sample with its process as it was then.
pub(crate) fn read(path: &Path, mut show: impl FnMut(&Sample, &Process)) -> Result<(), Error> {
    let file = BufReader::new(File::open(path)?);
    let PerfFileReader { mut perf_file, mut record_iter } = PerfFileReader::parse_file(file)?;
    let mut processes: HashMap<i32, Process> = HashMap::new();
    while let Some(record) = record_iter.next_record(&mut perf_file)? {
        let PerfFileRecord::EventRecord { record, .. } = record else { continue };
        match record.parse()? {
            EventRecord::Mmap2(map) if map.cpu_mode == CpuMode::User => {
                processes.entry(map.pid).or_default().map(&mapping(&map));
            }
            EventRecord::Fork(fork) if fork.pid != fork.ppid => {
                let parent = processes.get(&fork.ppid).cloned().unwrap_or_default();
                processes.insert(fork.pid, parent);
            }
            EventRecord::Comm(comm) if comm.is_execve => {
                processes.entry(comm.pid).or_default().now = Mappings::default();
            }
            EventRecord::Sample(record) => {
                let process = record.pid.and_then(|pid| processes.get(&pid));
                if let (Some(process), Some(sample)) = (process, sample(&record)) {
                    show(&sample, process);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn mapping(map: &Mmap2Record<'_>) -> Mapping {
    Mapping {
        start: map.address,
        end: map.address.saturating_add(map.length),
        file_offset: map.page_offset,
        path: String::from_utf8_lossy(&map.path.as_slice()).into(),
    }
}

/// None of kernel threads, and of processes without memory: of what has no user stack.
fn sample(record: &SampleRecord<'_>) -> Option<Sample> {
    let registers = record.user_regs.as_ref()?;
    let (stack, copied) = record.user_stack?;
    let mut by_dwarf = [0; 16];
    for (value, number) in by_dwarf.iter_mut().zip(IN_PERF) {
        *value = registers.get(number)?;
    }
    Some(Sample {
        tid: record.tid? as u32,
        time_ns: record.timestamp?,
        ip: registers.get(IP_IN_PERF)?,
        registers: by_dwarf,
        stack: stack.get(0..copied as usize)?.as_slice().into_owned(),
    })
}
