//! One sample as it lies in the ring buffer: a header, then kernel frames, then user frames, both from the
//! leaf outwards.

use crate::Method;

/// Most kernel frames in a sample: `/proc/sys/kernel/perf_event_max_stack`'s default.
pub const KERNEL_FRAMES_MAX: usize = 127;
/// Most user frames in a sample: deep enough for recursive descent and for JITs' megamorphic towers, small
/// enough that a sample fits its scratch memory twice.
pub const USER_FRAMES_MAX: usize = 1024;
/// Room for frames in the scratch memory: a power of two above both limits, so that one mask bounds an index.
pub const FRAME_SLOTS: usize = 2048;
/// `TASK_COMM_LEN`.
pub const COMM_BYTES: usize = 16;

/// Where the sample was taken.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// In user code.
    User = 0,
    /// In the kernel, on behalf of a process.
    Kernel = 1,
    /// In a kernel thread.
    KernelThread = 2,
}

impl Mode {
    /// The mode of a number out of a record; none for a number this version does not know.
    pub fn from_raw(raw: u8) -> Option<Self> {
        [Self::User, Self::Kernel, Self::KernelThread].get(raw as usize).copied()
    }
}

/// What a record in the ring buffer is; its first word.
#[repr(u64)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// A [`SampleHeader`] and frames.
    Sample = 1,
    /// A [`StackHeader`] and bytes of a user stack, right before the sample it belongs to.
    Stack = 2,
}

impl RecordKind {
    /// The kind of a record's first word; none for a number this version does not know.
    pub fn from_raw(raw: u64) -> Option<Self> {
        [Self::Sample, Self::Stack].into_iter().find(|kind| *kind as u64 == raw)
    }
}

/// Most bytes of a user stack in one record. A deeper stack goes out in several, one after the other.
pub const STACK_BYTES_MAX: usize = 16 << 10;
/// Most records of a stack's innermost part: 64 KiB, as compilers' recursion takes 50 KB. The copy is for what has no
/// tables yet.
pub const STACK_INNER_RECORDS: u32 = 5;
/// Bytes of its outermost part, in pages. A thread of rustc has its first callers 530 KB from the leaf, in its last 50 KB.
pub const STACK_OUTER_BYTES: u64 = 64 << 10;
/// Turns of the loop that makes a copy: those records, and one for each page of the outermost part, if every other one is
/// missing.
pub const STACK_TURNS_MAX: u32 = STACK_INNER_RECORDS + 1 + (STACK_OUTER_BYTES >> 12) as u32;
/// Bytes below the stack pointer that are a function's own, by the System V ABI. At a function's end rules find there
/// what has been popped already.
pub const RED_ZONE_BYTES: u64 = 128;
/// Words of the kernel's `struct pt_regs`.
pub const PT_REGS_WORDS: usize = 21;

/// The fixed part of a copy of a user stack, or of a part of it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct StackHeader {
    /// [`RecordKind::Stack`].
    pub kind: u64,
    /// Time of its sample.
    pub time_ns: u64,
    /// Address of the first byte; of a stack's first record at most [`RED_ZONE_BYTES`] below the stack pointer.
    pub address: u64,
    /// CPU of its sample.
    pub cpu: u32,
    /// Bytes that follow.
    pub bytes: u32,
    /// The user registers, as the kernel's `struct pt_regs` has them.
    pub registers: [u64; PT_REGS_WORDS],
}

/// Bytes of the fixed part of a copy.
pub const STACK_HEADER_BYTES: usize = size_of::<StackHeader>();
const _: () = assert!(STACK_HEADER_BYTES == 200);

/// The fixed part of a sample.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct SampleHeader {
    /// [`RecordKind::Sample`].
    pub kind: u64,
    /// When: nanoseconds of CLOCK_MONOTONIC.
    pub time_ns: u64,
    /// When the process (its group leader) started: nanoseconds of CLOCK_BOOTTIME. With `pid` it names a process.
    pub start_time_ns: u64,
    /// Id of the cgroup (v2), as `/sys/fs/cgroup`'s inode numbers; 0 when there is none.
    pub cgroup_id: u64,
    /// Process (thread group) id in the initial pid namespace.
    pub pid: u32,
    /// Thread id in the initial pid namespace.
    pub tid: u32,
    /// CPU number.
    pub cpu: u32,
    /// How often the process has called exec, as far as the kernel counts (`task_struct.self_exec_id`). With `pid` and
    /// `start_time_ns` it names an address space.
    pub exec_id: u32,
    /// Number of kernel frames that follow, or a negative errno of the kernel's stack walk.
    pub kernel_frames: i32,
    /// Number of user frames that follow the kernel frames.
    pub user_frames: u32,
    /// A [`Mode`].
    pub mode: u8,
    /// A [`crate::WalkEnd`].
    pub walk_end: u8,
    /// 1: the process's unwind tables were there ([`crate::ProcessTables`]).
    pub had_tables: u8,
    /// 1: the step that ended the walk was by a rule; 0: by the frame pointer.
    pub end_by_rule: u8,
    /// Zero.
    pub reserved_2: u32,
    /// Name of the thread, padded with zero bytes.
    pub thread_comm: [u8; COMM_BYTES],
    /// Name of the process's group leader, padded with zero bytes.
    pub process_comm: [u8; COMM_BYTES],
    /// User registers at the sample: instruction, stack and frame pointer; 0 for kernel threads.
    pub ip: u64,
    /// Stack pointer.
    pub sp: u64,
    /// Frame pointer.
    pub bp: u64,
}

/// Bytes of the fixed part.
pub const HEADER_BYTES: usize = size_of::<SampleHeader>();
const _: () = assert!(HEADER_BYTES == 120 && HEADER_BYTES.is_multiple_of(8));

/// A sample in the kernel side's scratch memory; only the used frames are sent.
#[repr(C)]
pub struct Sample {
    /// The fixed part.
    pub header: SampleHeader,
    /// Kernel frames (absolute addresses), then user frames ([`tagged_frame`]s).
    pub frames: [u64; FRAME_SLOTS],
}
const _: () = assert!(KERNEL_FRAMES_MAX + USER_FRAMES_MAX <= FRAME_SLOTS && FRAME_SLOTS.is_power_of_two());
// A per-CPU map's value may not pass 32 KiB.
const _: () = assert!(size_of::<Sample>() <= 24 << 10);

/// User addresses have at most 57 bits (five-level paging): the top byte's upper half is free for the method.
pub const FRAME_ADDRESS_BITS: u32 = 60;

/// A user frame: its address, and how it was found.
#[inline(always)]
pub const fn tagged_frame(address: u64, method: Method) -> u64 {
    tagged_frame_raw(address, method as u8)
}

/// The same with the method's number.
#[inline(always)]
pub const fn tagged_frame_raw(address: u64, method: u8) -> u64 {
    frame_address(address) | (method as u64) << FRAME_ADDRESS_BITS
}

/// The address of a tagged frame.
#[inline(always)]
pub const fn frame_address(frame: u64) -> u64 {
    frame & ((1 << FRAME_ADDRESS_BITS) - 1)
}

/// How a tagged frame was found: the method's number.
#[inline(always)]
pub const fn frame_method_raw(frame: u64) -> u8 {
    (frame >> FRAME_ADDRESS_BITS) as u8
}

/// How a tagged frame was found.
pub fn frame_method(frame: u64) -> Option<Method> {
    Method::from_raw(frame_method_raw(frame))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_keeps_address_and_method() {
        let address = 0x00ff_dead_beef_0123;
        let frame = tagged_frame(address, Method::AfterPush);
        assert_eq!(frame_address(frame), address);
        assert_eq!(frame_method(frame), Some(Method::AfterPush));
        assert_eq!(frame_method(u64::MAX), None);
    }
}
