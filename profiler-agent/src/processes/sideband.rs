//! What processes do that changes their addresses: exec, fork, exit and executable mmaps, from perf's own
//! records, so that a process that has ended before anyone looks is known all the same.

use std::collections::{BTreeMap, btree_map::Entry};

use perf_event::{Builder, SampleFlag, Sampler, data::Record, events::Software};
use thiserror::Error;

use super::{
    mappings::{Backing, FileKey, Mapping},
    shared::Shared,
};

/// Ring of one CPU: about 500 mmap records, several execs a millisecond between two looks.
const RING_BYTES: usize = 64 << 10;
/// `PERF_RECORD_MISC_COMM_EXEC` of `linux/perf_event.h`.
const MISC_COMM_EXEC: u16 = 1 << 13;
/// `PERF_RECORD_MISC_CPUMODE_MASK` and `PERF_RECORD_MISC_KERNEL`.
const MISC_CPUMODE_MASK: u16 = 7;
const MISC_KERNEL: u16 = 1;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Exec,
    Fork { parent: u32 },
    Exit,
    Mmap(Mapping),
}

/// What happened to a process, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProcessEvent {
    /// Nanoseconds of CLOCK_MONOTONIC, the clock of samples.
    pub(crate) time_ns: u64,
    pub(crate) pid: u32,
    pub(crate) change: Change,
}

/// The records cannot be had; processes are then known from /proc alone.
#[derive(Debug, Error)]
#[error("process events on CPU {cpu} cannot be followed: {source}")]
pub(crate) struct SidebandError {
    cpu: usize,
    source: std::io::Error,
}

/// One record ring per online CPU.
#[derive(Default)]
pub(crate) struct Sideband {
    rings: BTreeMap<usize, Sampler>,
    paths: Shared<str>,
    /// Read already, and newer than the look that read them.
    held: Vec<ProcessEvent>,
    lost: u64,
}

impl Sideband {
    /// Opens rings on these CPUs, closes those of others.
    pub(crate) fn follow_cpus(&mut self, cpus: &[u32]) -> Result<(), SidebandError> {
        self.rings.retain(|cpu, _| cpus.iter().any(|online| *online as usize == *cpu));
        for cpu in cpus.iter().map(|cpu| *cpu as usize) {
            if let Entry::Vacant(place) = self.rings.entry(cpu) {
                place.insert(open(cpu).map_err(|source| SidebandError { cpu, source })?);
            }
        }
        Ok(())
    }

    /// Takes the records up to the time it is called, oldest first: all of them, as what comes later waits for the next call.
    ///
    /// Rings are read one after the other. A process may exec on a CPU whose ring was just read, move, and map its program on one
    /// whose ring is read next: in that order, the exec would forget the program. But whatever follows a record that was not there
    /// yet when its ring was read is newer than this call.
    pub(crate) fn drain(&mut self, events: &mut Vec<ProcessEvent>) {
        let until_ns = monotonic_ns();
        for ring in self.rings.values_mut() {
            while let Some(record) = ring.next_record() {
                let misc = record.misc();
                match record.parse_record() {
                    Ok(Record::Lost(lost)) => self.lost += lost.lost,
                    Ok(parsed) => {
                        self.held.extend(event(misc, record_time(&record), parsed, &mut self.paths));
                    }
                    Err(_) => self.lost += 1,
                }
            }
        }
        events.append(&mut up_to(&mut self.held, until_ns));
    }

    /// Records that did not fit their ring or were not understood; what they said is found out from /proc.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }
}

/// Takes out the events up to then, oldest first; those of one CPU stay in their order.
fn up_to(held: &mut Vec<ProcessEvent>, until_ns: u64) -> Vec<ProcessEvent> {
    held.sort_by_key(|event| event.time_ns);
    let later = held.split_off(held.partition_point(|event| event.time_ns <= until_ns));
    std::mem::replace(held, later)
}

/// Now, by the clock of records and samples.
fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

fn open(cpu: usize) -> std::io::Result<Sampler> {
    let mut builder = Builder::new(Software::DUMMY);
    builder.any_pid().one_cpu(cpu).include_kernel().enabled(true);
    builder.mmap(true).mmap2(true).comm(true).comm_exec(true).task(true);
    builder.sample(SampleFlag::TIME).sample_id_all(true).clockid(perf_event::Clock::MONOTONIC);
    builder.build()?.sampled(RING_BYTES)
}

/// The time all records end with: the last word, as only `TIME` is asked for in `sample_id_all`.
fn record_time(record: &perf_event::Record<'_>) -> u64 {
    let bytes = record.to_contiguous();
    bytes.last_chunk::<8>().map_or(0, |word| u64::from_le_bytes(*word))
}

fn event(misc: u16, time_ns: u64, record: Record<'_>, paths: &mut Shared<str>) -> Option<ProcessEvent> {
    let (pid, change) = match record {
        Record::Comm(comm) if misc & MISC_COMM_EXEC != 0 => (comm.pid, Change::Exec),
        Record::Fork(fork) if fork.pid != fork.ppid => (fork.pid, Change::Fork { parent: fork.ppid }),
        Record::Exit(exit) if exit.pid == exit.tid => (exit.pid, Change::Exit),
        Record::Mmap2(map) if misc & MISC_CPUMODE_MASK != MISC_KERNEL => {
            let key = FileKey {
                major: map.maj().unwrap_or(0),
                minor: map.min().unwrap_or(0),
                inode: map.ino().unwrap_or(0),
            };
            let name = map.filename.split(|byte| *byte == 0).next().unwrap_or_default();
            let backing = Backing::of(&String::from_utf8_lossy(name), key, paths);
            let end = map.addr.checked_add(map.len)?;
            (map.pid, Change::Mmap(Mapping { start: map.addr, end, file_offset: map.pgoff, backing }))
        }
        _ => return None,
    };
    Some(ProcessEvent { time_ns, pid, change })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time_ns: u64, pid: u32, change: Change) -> ProcessEvent {
        ProcessEvent { time_ns, pid, change }
    }

    #[test]
    fn what_followed_a_record_that_was_read_late_waits_for_it() {
        // The look of time 10 read CPU 0 before the exec of time 11, and CPU 1 after what it mapped at 12.
        let mut held = vec![at(12, 7, Change::Fork { parent: 1 }), at(9, 8, Change::Exit)];
        assert_eq!(up_to(&mut held, 10), [at(9, 8, Change::Exit)]);
        held.extend([at(11, 7, Change::Exec), at(30, 9, Change::Exit)]);
        assert_eq!(up_to(&mut held, 20), [at(11, 7, Change::Exec), at(12, 7, Change::Fork { parent: 1 })]);
        assert_eq!(held, [at(30, 9, Change::Exit)]);
    }

    #[test]
    fn records_of_one_moment_keep_their_order() {
        let mut held = vec![at(5, 7, Change::Exec), at(5, 7, Change::Exit)];
        assert_eq!(up_to(&mut held, 5), [at(5, 7, Change::Exec), at(5, 7, Change::Exit)]);
    }
}
