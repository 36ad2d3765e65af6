//! Limits of the look-up in the kernel's unwind tables.

/// Bits of an offset within a block of the kernel's code: 512 bytes have a dozen entries, one or two cache lines.
pub const KERNEL_BLOCK_SHIFT: u32 = 9;
/// Most blocks: 64 MiB of code, three times the kernels of distributions, in 1 MiB.
pub const KERNEL_BLOCKS_MAX: u32 = 1 << 17;
/// Blocks that one run of the program that fills them takes: some 40 µs, as the machine cannot do anything else on that
/// CPU meanwhile.
pub const KERNEL_BLOCKS_A_RUN: u32 = 64;

/// Both ways to take a kernel stack, tried on one (`vesta debug kernel-stack`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct KernelComparison {
    /// Time of the walk by the kernel's unwind tables, nanoseconds.
    pub rules_ns: u64,
    /// Time of the kernel's own walk, nanoseconds.
    pub kernel_ns: u64,
    /// Frames that were found by the tables.
    pub rules_frames: u32,
    /// Frames that the kernel's own walk found, or a negative errno.
    pub kernel_frames: i32,
    /// How the walk by the tables ended: a `profiler_unwind::orc::KernelEnd`.
    pub end: u8,
    /// 1: the walk by the tables came first, and found the stack cold.
    pub rules_first: u8,
    /// 1: both found the same frames.
    pub is_same: u8,
    /// Zero.
    pub reserved: [u8; 5],
}
const _: () = assert!(size_of::<KernelComparison>() == 32);
