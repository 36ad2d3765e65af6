//! Samples out of the ring buffer's bytes.

use std::{mem::offset_of, sync::Arc};

use profiler_abi::{
    HEADER_BYTES, Mode, RED_ZONE_BYTES, RecordKind, STACK_HEADER_BYTES, SampleHeader, StackHeader,
    USER_FRAMES_MAX, WalkEnd,
};
use profiler_unwind::registers;
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

/// A user stack as it was, with what is needed to walk it.
#[derive(Clone, Debug)]
pub(crate) struct StackCopy {
    /// Instruction pointer.
    pub(crate) ip: u64,
    /// General registers by their DWARF numbers.
    pub(crate) registers: [u64; 16],
    /// Address of the first byte: the stack pointer, or a little below.
    pub(crate) address: u64,
    pub(crate) bytes: Vec<u8>,
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
}

/// A record of the ring buffer.
#[derive(Clone, Debug)]
pub(crate) enum RawRecord {
    Sample(RawSample),
    Stack(RawStack),
}

/// The copy of a user stack, or a part of it; it belongs to the sample of the same time and CPU.
#[derive(Clone, Debug)]
pub(crate) struct RawStack {
    pub(crate) time_ns: u64,
    pub(crate) cpu: u32,
    copy: StackCopy,
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
        let bytes = stack.get(..(sizes >> 32) as usize)?.to_vec();
        let ip = saved(registers::RIP_IN_PT_REGS)?;
        Some(Self { time_ns, cpu: sizes as u32, copy: StackCopy { ip, registers, address, bytes } })
    }

    /// Gives the stack to its sample, as all of it or as a further part.
    pub(crate) fn attach(self, sample: &mut RawSample) {
        match sample.stack.as_mut().and_then(Arc::get_mut) {
            None if self.copy.sp().wrapping_sub(self.copy.address) <= RED_ZONE_BYTES => {
                sample.stack = Some(Arc::new(self.copy));
            }
            Some(copy) if copy.address.wrapping_add(copy.bytes.len() as u64) == self.copy.address => {
                copy.bytes.extend(self.copy.bytes);
            }
            _ => {}
        }
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
        assert_eq!((got.time_ns, got.cpu, got.copy.bytes.as_slice()), (77, 3, &b"bytes"[..]));
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
    fn parts_of_a_stack_are_joined_unless_one_is_missing() {
        let mut sample = decode(&record(0, 0, &[])).unwrap();
        // the stack pointer of these registers is 0x7013
        for (address, bytes) in [(0x7013, b"first."), (0x7019, b"second"), (0x7100, b"fourth")] {
            decode_stack(&stack(address, bytes)).attach(&mut sample);
        }
        assert_eq!(sample.stack.unwrap().bytes, b"first.second");
    }

    #[test]
    fn a_stack_begins_at_the_stack_pointer_or_in_the_red_zone_below() {
        for (address, begins) in
            [(0x7013, true), (0x7013 - 128, true), (0x7013 - 129, false), (0x7014, false), (0, false)]
        {
            let mut sample = decode(&record(0, 0, &[])).unwrap();
            decode_stack(&stack(address, b"bytes")).attach(&mut sample);
            let attached = sample.stack.as_ref().map(|copy| (copy.address, copy.sp()));
            assert_eq!(attached, begins.then_some((address, 0x7013)), "{address:#x}");
        }
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
