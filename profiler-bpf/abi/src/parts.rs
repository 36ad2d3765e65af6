//! The parts of a run of the sampling program, when it is measured.

/// A part.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Who runs: process, thread, names, registers.
    Identity = 0,
    /// The kernel's walk of its own stack.
    KernelStack = 1,
    /// The walk of the user stack.
    UserStack = 2,
    /// The record into the ring buffer.
    Output = 3,
    /// The copy of the user stack, where tables are missing.
    StackCopy = 4,
}

/// Number of parts; the map's size.
pub const PARTS: u32 = 5;

impl Part {
    /// All, by number.
    pub const ALL: [Self; PARTS as usize] =
        [Self::Identity, Self::KernelStack, Self::UserStack, Self::Output, Self::StackCopy];
}

/// What a part took so far, on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartCost {
    /// Nanoseconds.
    pub ns: u64,
    /// Times it was gone through.
    pub runs: u64,
    /// Frames it found, of the two that find any.
    pub frames: u64,
}
