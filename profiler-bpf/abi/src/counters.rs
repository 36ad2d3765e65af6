//! Per-CPU counters of the kernel program: every run ends in exactly one of them.

/// What became of one run of the sampling program.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// The CPU was idle: nothing to sample.
    Idle = 0,
    /// Outside the set of processes asked for.
    FilteredOut = 1,
    /// A sample was taken and is in the ring buffer.
    Emitted = 2,
    /// A sample was taken and lost: the ring buffer was full.
    LostRingFull = 3,
    /// A sample was taken and lost: the program's scratch memory was not there (cannot happen on a healthy
    /// kernel; counted because nothing may vanish).
    LostNoScratch = 4,
    /// A forked child of a watched process could not be watched: the set was full. Not a sample.
    FilterFull = 5,
    /// A copy of a user stack did not fit the ring buffer; its sample did. Not a sample.
    StackRingFull = 6,
    /// A kernel stack that the kernel's own walk was asked for, because the rules did not lead to its end. Not a sample.
    KernelWalkHandedOver = 7,
}

/// Number of counters; the map's size.
pub const COUNTERS: u32 = 8;

impl Counter {
    /// All, by number.
    pub const ALL: [Self; COUNTERS as usize] = [
        Self::Idle,
        Self::FilteredOut,
        Self::Emitted,
        Self::LostRingFull,
        Self::LostNoScratch,
        Self::FilterFull,
        Self::StackRingFull,
        Self::KernelWalkHandedOver,
    ];
}
