//! What the loader sets before the program is verified: offsets in this kernel's structures, and the filter.

use core::ptr;

macro_rules! globals {
    ($($(#[$doc:meta])* $name:ident, $get:ident: $type:ty;)*) => {$(
        $(#[$doc])*
        #[unsafe(no_mangle)]
        static $name: $type = 0;

        $(#[$doc])*
        #[inline(always)]
        pub(crate) fn $get() -> $type {
            // SAFETY: a static of ours; volatile because the loader, not the compiler, knows its value.
            unsafe { ptr::read_volatile(&raw const $name) }
        }
    )*};
}

globals! {
    /// Offset of `task_struct.flags`.
    TASK_FLAGS, task_flags: u32;
    /// Offset of `task_struct.mm`.
    TASK_MM, task_mm: u32;
    /// Offset of `task_struct.group_leader`.
    TASK_GROUP_LEADER, task_group_leader: u32;
    /// Offset of `task_struct.comm`.
    TASK_COMM, task_comm: u32;
    /// Offset of `task_struct.tgid`.
    TASK_TGID, task_tgid: u32;
    /// Offset of `task_struct.signal`.
    TASK_SIGNAL, task_signal: u32;
    /// Offset of `signal_struct.live`: threads not yet exiting.
    SIGNAL_LIVE, signal_live: u32;
    /// Offset of `task_struct.start_boottime` (`real_start_time` before 5.5).
    TASK_START_TIME, task_start_time: u32;
    /// Offset of `task_struct.self_exec_id`.
    TASK_EXEC_ID, task_exec_id: u32;
    /// Offset of `task_struct.parent_exec_id`.
    TASK_PARENT_EXEC_ID, task_parent_exec_id: u32;
    /// Offset of `task_struct.thread.fsbase`.
    TASK_FSBASE, task_fsbase: u32;
    /// Offset of `mm_struct.start_stack`.
    MM_START_STACK, mm_start_stack: u32;
    /// 1: only processes in the `WATCHED` map are sampled.
    WATCHED_ONLY, watched_only: u32;
    /// How long a CPU copies no more user stacks, for each KiB that it has copied, nanoseconds.
    COPY_NS_PER_KIB, copy_ns_per_kib: u64;
    /// 1: the parts of each run are measured.
    MEASURED, measured: u32;
    /// Where the code of the kernel's image begins (`_stext`).
    KERNEL_TEXT_START, kernel_text_start: u64;
    /// Where it ends (`_etext`).
    KERNEL_TEXT_END, kernel_text_end: u64;
    /// The kernel's unwind tables: where code begins that an entry holds for (`__start_orc_unwind_ip`).
    ORC_STARTS, orc_starts: u64;
    /// The entries (`__start_orc_unwind`).
    ORC_ENTRIES, orc_entries: u64;
    /// Their number; 0: the kernel's own walk is used.
    ORC_COUNT, orc_count: u32;
    /// A `profiler_unwind::orc::Layout`.
    ORC_LAYOUT, orc_layout: u32;
    /// What the function graph tracer puts in the place of return addresses; 1: nothing.
    RETURN_TO_HANDLER, return_to_handler: u64;
    /// What probes on returns put there; 1: nothing.
    RETHOOK_TRAMPOLINE, rethook_trampoline: u64;
    /// Bytes in the ring buffer beyond which the agent is woken.
    WAKE_BYTES, wake_bytes: u64;
}
