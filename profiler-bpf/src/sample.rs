//! One sample: who, the kernel stack, the user stack.

use core::ptr;

use aya_ebpf::{
    EbpfContext as _,
    bindings::bpf_perf_event_data,
    helpers::{
        bpf_get_current_pid_tgid, bpf_get_smp_processor_id,
        generated::{bpf_get_current_cgroup_id, bpf_ktime_get_ns},
    },
    programs::PerfEventContext,
};
use profiler_abi::{Counter, Mode, Sample, WalkEnd};
use profiler_unwind::Walk;

use crate::{globals, kernel_stack, maps, output, task::Task, user_stack, watch};

/// Takes a sample of this CPU and says what became of it.
#[inline(always)]
pub(crate) fn take(ctx: &PerfEventContext) -> Counter {
    let id = bpf_get_current_pid_tgid();
    // Thread id 0 is the idle task of each CPU: no CPU time is used.
    if id as u32 == 0 {
        return Counter::Idle;
    }
    let pid = (id >> 32) as u32;
    if globals::watched_only() != 0 && !watch::is_sampled(pid) {
        return Counter::FilteredOut;
    }
    let Some(sample) = maps::scratch() else { return Counter::LostNoScratch };
    let task = Task::current();
    identify(sample, task, id);
    let leaf = registers(ctx, sample, task);
    if sample.header.mode != Mode::User as u8 {
        kernel_stack::walk(ctx, sample);
    }
    if let Some(leaf) = leaf {
        (sample.header.ip, sample.header.sp, sample.header.bp) = (leaf.ip, leaf.sp, leaf.bp);
        user_stack::walk(sample, task, leaf);
    }
    output::send(sample)
}

#[inline(always)]
fn identify(sample: &mut Sample, task: Task, id: u64) {
    let leader = task.group_leader();
    let header = &mut sample.header;
    // SAFETY: these helpers take nothing and only return numbers.
    unsafe {
        header.time_ns = bpf_ktime_get_ns();
        header.cgroup_id = bpf_get_current_cgroup_id();
        header.cpu = bpf_get_smp_processor_id();
    }
    header.pid = (id >> 32) as u32;
    header.tid = id as u32;
    header.start_time_ns = leader.start_time();
    header.thread_comm = task.comm();
    header.process_comm = leader.comm();
    header.kernel_frames = 0;
    header.user_frames = 0;
    header.reserved = [0; 2];
    (header.ip, header.sp, header.bp) = (0, 0, 0);
}

/// The leaf of the user stack, if there is one; sets the mode, and the end of a walk that cannot start.
#[inline(always)]
fn registers(ctx: &PerfEventContext, sample: &mut Sample, task: Task) -> Option<Walk> {
    let data = ctx.as_ptr() as *const bpf_perf_event_data;
    // SAFETY: the context of a perf event program; volatile because the verifier wants single loads.
    let (cs, ip, sp, bp) = unsafe {
        (
            ptr::read_volatile(&raw const (*data).regs.cs),
            ptr::read_volatile(&raw const (*data).regs.rip),
            ptr::read_volatile(&raw const (*data).regs.rsp),
            ptr::read_volatile(&raw const (*data).regs.rbp),
        )
    };
    // The two low bits of the code segment are the privilege level: 3 is user code.
    if cs & 3 == 3 {
        sample.header.mode = Mode::User as u8;
        return Some(Walk::leaf(ip, sp, bp));
    }
    if task.is_kernel_thread() {
        sample.header.mode = Mode::KernelThread as u8;
        sample.header.walk_end = WalkEnd::NoUserStack as u8;
        return None;
    }
    sample.header.mode = Mode::Kernel as u8;
    let Some((ip, sp, bp)) = task.user_registers() else {
        sample.header.walk_end = WalkEnd::NoRegisters as u8;
        return None;
    };
    // In a system call the leaf stands at the instruction after `syscall`, and its function's edge is looked at
    // as in user mode: libc's wrappers return right after it.
    Some(Walk::leaf(ip, sp, bp))
}
