//! The set of watched processes follows forks and exits.

use core::ffi::c_void;

use aya_ebpf::{EbpfContext as _, programs::RawTracePointContext};

use profiler_abi::{WATCH_AFTER_EXEC, WATCH_CHILDREN, WATCH_SAMPLED};

use crate::{
    maps::WATCHED,
    task::{Running, Traced},
};

#[inline(always)]
fn argument(ctx: &RawTracePointContext, index: usize) -> *const c_void {
    // SAFETY: both tracepoints have at least `index + 1` arguments, each a u64 in the context.
    unsafe { core::ptr::read_volatile((ctx.as_ptr() as *const u64).add(index)) as *const c_void }
}

/// Whether samples of the current process are taken.
#[inline(always)]
pub(crate) fn is_sampled(pid: u32) -> bool {
    match value(pid) {
        WATCH_SAMPLED => true,
        WATCH_AFTER_EXEC => Running::current().group_leader().has_called_exec(),
        _ => false,
    }
}

/// A process's value in the set; 0 if it is not there.
#[inline(always)]
fn value(pid: u32) -> u8 {
    let Some(value) = WATCHED.get_ptr(pid) else { return 0 };
    // SAFETY: a byte in a map's value; it may change under us, either value is right then.
    unsafe { *value }
}

/// `sched_process_fork(parent, child)`: a new process of a watched parent is watched. New threads are theirs
/// already.
#[inline(always)]
pub(crate) fn fork(ctx: &RawTracePointContext) -> Result<(), i32> {
    let parent = Traced::from_ptr(argument(ctx, 0)).tgid();
    let child = Traced::from_ptr(argument(ctx, 1)).tgid();
    let parents = value(parent);
    if child == parent || parents == 0 {
        return Ok(());
    }
    let childs = if parents == WATCH_CHILDREN { WATCH_AFTER_EXEC } else { WATCH_SAMPLED };
    WATCHED.insert(child, childs, 0).map_err(|error| error as i32)
}

/// `sched_process_exit(task)`: when the last thread of a process exits, its id is free to be reused.
#[inline(always)]
pub(crate) fn exit(ctx: &RawTracePointContext) {
    let task = Traced::from_ptr(argument(ctx, 0));
    if task.is_last_of_its_process() {
        // Not being in the set is fine.
        let _ = WATCHED.remove(task.tgid());
    }
}
