//! Samples out of the ring buffer's bytes.

use std::{collections::hash_map::Entry, mem::offset_of, sync::Arc};

use profiler_abi::{
    HEADER_BYTES, Mode, RecordKind, STACK_HEADER_BYTES, SampleHeader, StackHeader, USER_FRAMES_MAX, WalkEnd,
};
use profiler_unwind::registers;
use rustc_hash::FxHashMap;
use thiserror::Error;

use crate::processes::ProcessIdentity;

/// Where a stack's header keeps `struct pt_regs`, in bytes.
const REGISTERS_AT: usize = offset_of!(StackHeader, registers);

/// A record that is neither a sample nor a stack; counted, since kernel and agent are built together and it should not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a record of {bytes} bytes in the ring buffer is not understood")]
pub(crate) struct RecordError {
    bytes: usize,
}

/// One sample.
#[derive(Clone, Debug)]
pub(crate) struct RawSample {
    /// Nanoseconds of CLOCK_MONOTONIC.
    pub(crate) time_ns: u64,
    pub(crate) identity: ProcessIdentity,
    pub(crate) cgroup_id: u64,
    pub(crate) pid: u32,
    pub(crate) tid: u32,
    pub(crate) cpu: u32,
    pub(crate) mode: Mode,
    pub(crate) walk_end: WalkEnd,
    /// The step that ended the walk was by a rule of a table.
    pub(crate) end_by_rule: bool,
    /// The process had unwind tables.
    pub(crate) had_tables: bool,
    pub(crate) thread_comm: String,
    pub(crate) process_comm: String,
    /// The kernel's walk failed.
    pub(crate) kernel_stack_failed: bool,
    /// Absolute addresses, leaf first.
    pub(crate) kernel: Vec<u64>,
    /// Tagged frames (`profiler_abi::tagged_frame`), leaf first.
    pub(crate) user: Vec<u64>,
    /// The user stack, if tables were missing.
    pub(crate) stack: Option<Arc<StackCopy>>,
}

/// A user stack as it was, as far as it was copied, with what is needed to walk it.
#[derive(Clone, Debug)]
pub(crate) struct StackCopy {
    /// Instruction pointer.
    pub(crate) ip: u64,
    /// General registers by their DWARF numbers.
    pub(crate) registers: [u64; 16],
    /// Addresses and bytes, two or three mostly: from the stack pointer on, or a little below it, and where the stack
    /// begins. What lies between two of them is not known.
    parts: Vec<(u64, Vec<u8>)>,
}

impl StackCopy {
    /// The stack pointer.
    pub(crate) fn sp(&self) -> u64 {
        self.registers[usize::from(registers::RSP)]
    }

    /// The frame pointer.
    pub(crate) fn bp(&self) -> u64 {
        self.registers[usize::from(registers::RBP)]
    }

    /// Bytes that were copied.
    pub(crate) fn size(&self) -> usize {
        self.parts.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    /// Whether an address is in what was copied.
    pub(crate) fn contains(&self, address: u64) -> bool {
        self.parts.iter().any(|(start, bytes)| address.wrapping_sub(*start) < bytes.len() as u64)
    }

    /// Whether two addresses are in two parts of what was copied. Of these, one may be of another stack.
    pub(crate) fn are_apart(&self, one: u64, other: u64) -> bool {
        let part = |address: u64| {
            self.parts.iter().position(|(start, bytes)| address.wrapping_sub(*start) < bytes.len() as u64)
        };
        part(one).zip(part(other)).is_some_and(|(one, other)| one != other)
    }

    /// The word at an address.
    pub(crate) fn word(&self, address: u64) -> Option<u64> {
        self.parts.iter().find_map(|(start, bytes)| {
            let bytes = bytes.get(usize::try_from(address.checked_sub(*start)?).ok()?..)?;
            bytes.first_chunk().map(|word| u64::from_le_bytes(*word))
        })
    }

    fn add(&mut self, address: u64, bytes: &[u8]) {
        match self.parts.last_mut() {
            Some((start, known)) if start.wrapping_add(known.len() as u64) == address => known.extend(bytes),
            _ => self.parts.push((address, bytes.to_vec())),
        }
    }
}

/// A record of the ring buffer.
#[derive(Clone, Debug)]
pub(crate) enum RawRecord {
    Sample(RawSample),
    Stack(RawStack),
}

/// The copy of a user stack, or a part of it; it belongs to the sample of the same time and CPU, which comes after it.
#[derive(Clone, Debug)]
pub(crate) struct RawStack {
    time_ns: u64,
    cpu: u32,
    copy: StackCopy,
}

/// Copied stacks whose samples are still to come: at most one of each CPU.
#[derive(Debug, Default)]
pub(crate) struct OpenStacks(FxHashMap<u32, RawStack>);

impl OpenStacks {
    /// Takes in a stack, or a further part of one.
    pub(crate) fn add(&mut self, stack: RawStack) {
        match self.0.entry(stack.cpu) {
            Entry::Occupied(open) if open.get().time_ns == stack.time_ns => {
                let known = &mut open.into_mut().copy;
                stack.copy.parts.iter().for_each(|(address, bytes)| known.add(*address, bytes));
            }
            // The sample of one that was there was lost.
            open => {
                open.insert_entry(stack);
            }
        }
    }

    /// The stack of a sample, if it was copied.
    pub(crate) fn take(&mut self, sample: &RawSample) -> Option<Arc<StackCopy>> {
        let stack = self.0.remove(&sample.cpu).filter(|stack| stack.time_ns == sample.time_ns)?;
        Some(Arc::new(stack.copy))
    }
}

impl RawRecord {
    /// The record in these bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let decode = || {
            let kind = u64::from_le_bytes(*bytes.first_chunk()?);
            Some(match RecordKind::from_raw(kind)? {
                RecordKind::Sample => Self::Sample(RawSample::decode(bytes)?),
                RecordKind::Stack => Self::Stack(RawStack::decode(bytes)?),
            })
        };
        decode().ok_or(RecordError { bytes: bytes.len() })
    }
}

impl RawStack {
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (header, stack) = bytes.split_at_checked(STACK_HEADER_BYTES)?;
        let word = |at: usize| header.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
        let (time_ns, address, sizes) = (word(8)?, word(16)?, word(24)?);
        let saved = |place: u64| word(REGISTERS_AT + place as usize);
        let mut registers = [0; 16];
        for (number, register) in registers.iter_mut().enumerate() {
            *register = saved(registers::in_pt_regs(number as u8))?;
        }
        registers[usize::from(registers::RSP)] = saved(registers::RSP_IN_PT_REGS)?;
        let parts = vec![(address, stack.get(..(sizes >> 32) as usize)?.to_vec())];
        let ip = saved(registers::RIP_IN_PT_REGS)?;
        Some(Self { time_ns, cpu: sizes as u32, copy: StackCopy { ip, registers, parts } })
    }
}

impl RawSample {
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (header, frames) = bytes.split_at_checked(HEADER_BYTES)?;
        let header = read_header(header)?;
        let kernel = header.kernel_frames.max(0) as usize;
        let user = header.user_frames as usize;
        if user > USER_FRAMES_MAX || frames.len() < kernel.checked_add(user)?.checked_mul(8)? {
            return None;
        }
        let mut words =
            frames.chunks_exact(8).filter_map(|word| word.try_into().ok().map(u64::from_le_bytes));
        Some(Self {
            time_ns: header.time_ns,
            identity: ProcessIdentity { start_time_ns: header.start_time_ns, exec_id: header.exec_id },
            cgroup_id: header.cgroup_id,
            pid: header.pid,
            tid: header.tid,
            cpu: header.cpu,
            mode: Mode::from_raw(header.mode)?,
            walk_end: WalkEnd::from_raw(header.walk_end)?,
            end_by_rule: header.end_by_rule != 0,
            had_tables: header.had_tables != 0,
            thread_comm: comm(&header.thread_comm),
            process_comm: comm(&header.process_comm),
            kernel_stack_failed: header.kernel_frames < 0,
            kernel: words.by_ref().take(kernel).collect(),
            user: words.take(user).collect(),
            stack: None,
        })
    }
}

/// The header's fields, one by one: no unsafe cast, and any alignment will do.
fn read_header(bytes: &[u8]) -> Option<SampleHeader> {
    let mut rest = bytes;
    let mut take = |n: usize| {
        let (head, tail) = rest.split_at_checked(n)?;
        rest = tail;
        Some(head)
    };
    macro_rules! number {
        ($type:ty) => {
            <$type>::from_le_bytes(take(size_of::<$type>())?.try_into().ok()?)
        };
    }
    Some(SampleHeader {
        kind: number!(u64),
        time_ns: number!(u64),
        start_time_ns: number!(u64),
        cgroup_id: number!(u64),
        pid: number!(u32),
        tid: number!(u32),
        cpu: number!(u32),
        exec_id: number!(u32),
        kernel_frames: number!(i32),
        user_frames: number!(u32),
        mode: number!(u8),
        walk_end: number!(u8),
        had_tables: number!(u8),
        end_by_rule: number!(u8),
        reserved_2: number!(u32),
        thread_comm: take(16)?.try_into().ok()?,
        process_comm: take(16)?.try_into().ok()?,
        ip: number!(u64),
        sp: number!(u64),
        bp: number!(u64),
    })
}

fn comm(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use profiler_abi::{Method, PT_REGS_WORDS, tagged_frame};

    fn record(kernel: i32, user: u32, frames: &[u64]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [RecordKind::Sample as u64, 11, 22, 33] {
            bytes.extend(word.to_le_bytes());
        }
        for word in [44u32, 55, 1, 66, kernel as u32, user] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend([Mode::Kernel as u8, WalkEnd::DepthLimit as u8, 1, 0, 0, 0, 0, 0]);
        bytes.extend(b"worker-1\0garbage");
        bytes.extend(b"sixteen-bytes-ok");
        for word in [1u64, 2, 3] {
            bytes.extend(word.to_le_bytes());
        }
        assert_eq!(bytes.len(), HEADER_BYTES);
        bytes.extend(frames.iter().flat_map(|frame| frame.to_le_bytes()));
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<RawSample, RecordError> {
        match RawRecord::decode(bytes)? {
            RawRecord::Sample(sample) => Ok(sample),
            RawRecord::Stack(stack) => panic!("{stack:?}"),
        }
    }

    /// Part of a stack at an address, with registers that tell their places in `struct pt_regs`.
    fn stack(address: u64, bytes: &[u8]) -> Vec<u8> {
        let mut record = Vec::new();
        for word in [RecordKind::Stack as u64, 77, address, 3 | (bytes.len() as u64) << 32] {
            record.extend(word.to_le_bytes());
        }
        for word in 0..PT_REGS_WORDS as u64 {
            record.extend((0x7000 + word).to_le_bytes());
        }
        record.extend(bytes);
        record.extend(b"and more");
        record
    }

    fn decode_stack(bytes: &[u8]) -> RawStack {
        match RawRecord::decode(bytes) {
            Ok(RawRecord::Stack(stack)) => stack,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_stack_is_read_back_and_a_cut_one_is_an_error() {
        let bytes = stack(0x7000, b"bytes");
        let got = decode_stack(&bytes);
        assert_eq!((got.time_ns, got.cpu, &got.copy.parts), (77, 3, &vec![(0x7000, b"bytes".to_vec())]));
        // rax, rbp, rsp, r15
        assert_eq!([0, 6, 7, 15].map(|number| got.copy.registers[number]), [0x700a, 0x7004, 0x7013, 0x7000]);
        assert_eq!(got.copy.ip, 0x7010);
        for length in 0..STACK_HEADER_BYTES + 5 {
            assert!(RawRecord::decode(&bytes[..length]).is_err(), "{length} bytes");
        }
        let unknown_kind = [&[9], &bytes[1..]].concat();
        assert!(RawRecord::decode(&unknown_kind).is_err());
    }

    #[test]
    fn parts_that_meet_are_one_and_what_lies_between_others_is_not_known() {
        let mut open = OpenStacks::default();
        for (address, bytes) in
            [(0x7013, b"first..."), (0x701b, b"second.."), (0x7100, b"outermost"[..8].try_into().unwrap())]
        {
            open.add(decode_stack(&stack(address, bytes)));
        }
        let mut sample = decode(&record(0, 0, &[])).unwrap();
        (sample.time_ns, sample.cpu) = (77, 3);
        let copy = open.take(&sample).unwrap();
        assert_eq!(copy.parts, [(0x7013, b"first...second..".to_vec()), (0x7100, b"outermos".to_vec())]);
        assert_eq!(copy.size(), 24);
        let word = |text: &[u8; 8]| Some(u64::from_le_bytes(*text));
        assert_eq!(
            [0x7013, 0x7017, 0x7100].map(|at| copy.word(at)),
            [word(b"first..."), word(b"t...seco"), word(b"outermos")]
        );
        assert_eq!([0x7012, 0x701c, 0x7023, 0x70ff, 0x7101, u64::MAX].map(|at| copy.word(at)), [None; 6]);
        assert_eq!([0x7012, 0x7013, 0x7022, 0x7023].map(|at| copy.contains(at)), [false, true, true, false]);
        assert!(open.take(&sample).is_none(), "it is taken once");
    }

    #[test]
    fn a_stack_is_its_samples_own() {
        let mut open = OpenStacks::default();
        let mut sample = decode(&record(0, 0, &[])).unwrap();
        (sample.time_ns, sample.cpu) = (78, 3);
        open.add(decode_stack(&stack(0x7000, b"of another sample")));
        assert!(open.take(&sample).is_none());
        sample.time_ns = 77;
        assert!(open.take(&sample).is_none(), "its own sample was lost");
        open.add(decode_stack(&stack(0x7000, b"of this sample")));
        sample.cpu = 4;
        assert!(open.take(&sample).is_none());
        sample.cpu = 3;
        assert!(open.take(&sample).is_some());
        // one whose sample never came gives way to the next
        open.add(decode_stack(&stack(0x7000, b"old")));
        let mut next = decode_stack(&stack(0x7000, b"new"));
        next.time_ns = 79;
        open.add(next);
        sample.time_ns = 79;
        assert_eq!(open.take(&sample).unwrap().parts, [(0x7000, b"new".to_vec())]);
    }

    #[test]
    fn a_record_is_read_back() {
        let user = tagged_frame(0x1234, Method::FramePointer);
        let sample = decode(&record(2, 1, &[7, 8, user])).unwrap();
        assert_eq!((sample.time_ns, sample.identity.start_time_ns, sample.cgroup_id), (11, 22, 33));
        assert_eq!((sample.pid, sample.tid, sample.cpu, sample.identity.exec_id), (44, 55, 1, 66));
        assert_eq!(
            (sample.thread_comm.as_str(), sample.process_comm.as_str()),
            ("worker-1", "sixteen-bytes-ok")
        );
        assert_eq!((sample.kernel, sample.user), (vec![7, 8], vec![user]));
        assert_eq!((sample.mode, sample.walk_end), (Mode::Kernel, WalkEnd::DepthLimit));
    }

    #[test]
    fn a_failed_kernel_walk_is_told_from_an_empty_one() {
        let sample = decode(&record(-14, 0, &[])).unwrap();
        assert!(sample.kernel_stack_failed && sample.kernel.is_empty());
    }

    #[test]
    fn what_is_no_sample_is_an_error() {
        let good = record(2, 1, &[7, 8, 9]);
        for bytes in 0..good.len() {
            assert!(decode(&good[..bytes]).is_err(), "{bytes} bytes");
        }
        assert!(decode(&record(0, u32::MAX, &[])).is_err());
        assert!(decode(&record(i32::MAX, 1, &[])).is_err());
        let mut unknown_mode = good;
        unknown_mode[56] = 9;
        assert!(decode(&unknown_mode).is_err());
    }
}
