//! What one run works in.

use aya_ebpf::{macros::map, maps::PerCpuArray};
use profiler_abi::{CodeMapping, Sample};

use crate::last_walk::LastWalk;

/// Mappings that are remembered beside the last: those of a program and its libraries that a stack goes through. A large
/// program has several, one for each set of rules.
pub(crate) const RECENT_MAPPINGS: usize = 8;

/// A mapping that was found.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Recent {
    pub(crate) start: u64,
    pub(crate) mapping: CodeMapping,
}

/// What the loop carries from frame to frame. Plain integers: a map's value may hold anything, so it has no enums.
#[repr(C)]
pub(crate) struct Turns {
    pub(crate) ip: u64,
    pub(crate) sp: u64,
    pub(crate) bp: u64,
    pub(crate) registers: u64,
    /// Where the next frame goes.
    pub(crate) at: u64,
    pub(crate) frames: u32,
    pub(crate) method: u8,
    pub(crate) end: u8,
    pub(crate) is_caller: u8,
    pub(crate) by_rule: u8,
    /// A table was missed: the agent can do better with a copy of the stack.
    pub(crate) missed: u8,
    /// A frame was in code that has no unwind information, made at run time mostly: if that leads to no end, the agent may read more
    /// out of the code.
    pub(crate) made: u8,
    reserved: [u8; 6],
    /// The frame pointer of the first such frame: some runtimes keep the stack there that they have left for the thread's.
    pub(crate) made_bp: u64,
    /// The mapping of the last frame: most calls stay in it.
    pub(crate) start: u64,
    pub(crate) mapping: CodeMapping,
    /// The mappings before it, and the process's entry by which they were found; they hold while it is there.
    pub(crate) recent: [Recent; RECENT_MAPPINGS],
    pub(crate) generation: u32,
    pub(crate) next_recent: u32,
    /// The process's code mappings.
    pub(crate) first: u32,
    pub(crate) count: u32,
    /// A bisection at work.
    pub(crate) low: u32,
    pub(crate) high: u32,
    pub(crate) wanted: u64,
    /// The second word of the rule that was found.
    pub(crate) second: u64,
    /// Where the current frame was read: `profiler_unwind::origin`.
    pub(crate) origin: u64,
    /// The frame of the last walk that is looked at; [`LastWalk::NOWHERE`] if there is nothing to follow any more.
    pub(crate) cursor: u32,
    /// Frames of the last walk.
    pub(crate) last_count: u32,
    /// Whether the walk is where the last one was, at the cursor; and whether it has followed it to its end.
    pub(crate) met: u8,
    pub(crate) followed: u8,
    reserved_2: [u8; 6],
}

/// Words of the stack that are read at once: a few frames of most code, eight cache lines that are fetched side by side.
pub(crate) const WINDOW_WORDS: usize = 64;

/// A part of the user stack.
#[repr(C)]
pub(crate) struct Window {
    /// Its address; [`Window::NONE`] while there is none.
    pub(crate) start: u64,
    pub(crate) words: [u64; WINDOW_WORDS],
}

impl Window {
    /// So far off that no address of a user lies in it.
    pub(crate) const NONE: u64 = 1 << 63;
}

/// What the loop over the kernel's frames carries, and a search in its entries.
#[repr(C)]
pub(crate) struct KernelTurns {
    pub(crate) ip: u64,
    pub(crate) sp: u64,
    pub(crate) bp: u64,
    pub(crate) bp_at: u64,
    pub(crate) frames: u32,
    pub(crate) is_caller: u8,
    pub(crate) end: u8,
    reserved: [u8; 2],
    /// A bisection at work.
    pub(crate) low: u32,
    pub(crate) high: u32,
    pub(crate) wanted: u64,
    /// The block that is filled, and the entries before it.
    pub(crate) block: u32,
    pub(crate) before: u32,
}

/// What one run works in: far larger than a BPF stack. The walk's state lies here and not on the stack because the
/// verifier knows nothing of a map's values, so that every turn of the loop looks the same to it.
#[repr(C)]
pub(crate) struct Scratch {
    pub(crate) sample: Sample,
    pub(crate) turns: Turns,
    pub(crate) kernel: KernelTurns,
    pub(crate) window: Window,
    pub(crate) last: LastWalk,
}

/// Perf events of one CPU do not nest, so one per CPU is enough.
#[map]
static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// This CPU's scratch memory.
#[inline(always)]
pub(crate) fn current() -> Option<&'static mut Scratch> {
    // SAFETY: an element of a per-CPU array; the program runs once at a time on a CPU, so the borrow is the only one.
    SCRATCH.get_ptr_mut(0).map(|scratch| unsafe { &mut *scratch })
}
