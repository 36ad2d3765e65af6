//! Types that cross the border between the kernel program and the agent: one record per sample in the ring
//! buffer, one array of counters per CPU, and the limits both sides rely on.
//!
//! Layouts are asserted at compile time; both sides are built from this file, so no version is sent along.
#![no_std]

mod counters;
mod kernel;
mod parts;
mod sample;
mod status;
mod tables;

pub use counters::{COUNTERS, Counter};
pub use kernel::{KERNEL_BLOCK_SHIFT, KERNEL_BLOCKS_A_RUN, KERNEL_BLOCKS_MAX, KernelComparison};
pub use parts::{PARTS, Part, PartCost};
pub use sample::{
    COMM_BYTES, FRAME_ADDRESS_BITS, FRAME_SLOTS, HEADER_BYTES, KERNEL_FRAMES_MAX, Mode, PT_REGS_WORDS,
    RED_ZONE_BYTES, RecordKind, STACK_BYTES_MAX, STACK_HEADER_BYTES, STACK_INNER_RECORDS, STACK_OUTER_BYTES,
    STACK_TURNS_MAX, Sample, SampleHeader, StackHeader, USER_FRAMES_MAX, frame_address, frame_method,
    frame_method_raw, tagged_frame, tagged_frame_raw,
};
pub use status::{Method, WalkEnd};
pub use tables::{
    CodeKind, CodeMapping, KEPT_RULES, KEPT_RULES_BITS, MAPPINGS_MAX, PAGE_WORDS, PROCESS_SETS,
    ProcessTables, SET_PROCESSES, SLAB_PAGES, SLAB_WORDS, SLABS_MAX,
};

/// Value of a process id in the set of watched processes: it is sampled, and so are children it starts.
pub const WATCH_SAMPLED: u8 = 1;
/// Value of a process id in the set of watched processes: only children it starts are sampled.
pub const WATCH_CHILDREN: u8 = 2;
/// Value of a child of such a process: until it calls exec it is still its parent's program, and not sampled.
pub const WATCH_AFTER_EXEC: u8 = 3;
