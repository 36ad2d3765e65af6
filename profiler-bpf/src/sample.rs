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
use profiler_abi::{Counter, Mode, Part, RecordKind, Sample, WalkEnd};

use crate::{
    globals, kernel_stack, measure::Laps, output, scratch, stack_copy, task::Running, user_stack, watch,
};

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
    let mut laps = Laps::start();
    let Some(scratch) = scratch::current() else { return Counter::LostNoScratch };
    let sample = &mut scratch.sample;
    let task = Running::current();
    identify(sample, task, id);
    let has_user_stack = registers(ctx, sample, task);
    laps.end(Part::Identity, 0);
    if sample.header.mode != Mode::User as u8 {
        kernel_stack::walk(ctx, scratch);
        laps.end(Part::KernelStack, scratch.sample.header.kernel_frames.max(0) as u64);
    }
    if has_user_stack {
        user_stack::walk(scratch, task);
        laps.end(Part::UserStack, scratch.turns.frames as u64);
    }
    let mut wakes = false;
    if has_user_stack && (scratch.turns.missed | scratch.turns.made) != 0 {
        let other = if scratch.turns.made != 0 { scratch.turns.made_bp } else { 0 };
        let is_cut = stack_copy::send(&scratch.sample.header, task, other);
        // Tables that come soon help the next sample; for made code there will never be any.
        wakes = is_cut && scratch.turns.missed != 0;
        laps.end(Part::StackCopy, 0);
    }
    let sent = output::send(&mut scratch.sample, wakes);
    laps.end(Part::Output, 0);
    sent
}

#[inline(always)]
fn identify(sample: &mut Sample, task: Running, id: u64) {
    let leader = task.group_leader();
    let header = &mut sample.header;
    header.kind = RecordKind::Sample as u64;
    // SAFETY: these helpers take nothing and only return numbers.
    unsafe {
        header.time_ns = bpf_ktime_get_ns();
        header.cgroup_id = bpf_get_current_cgroup_id();
        header.cpu = bpf_get_smp_processor_id();
    }
    header.pid = (id >> 32) as u32;
    header.tid = id as u32;
    header.start_time_ns = leader.start_time();
    header.exec_id = leader.exec_id();
    task.read_comm(&mut header.thread_comm);
    if header.tid == header.pid {
        header.process_comm = header.thread_comm;
    } else {
        leader.read_comm(&mut header.process_comm);
    }
    header.kernel_frames = 0;
    header.user_frames = 0;
    header.had_tables = 0;
    (header.end_by_rule, header.reserved_2) = (0, 0);
    (header.ip, header.sp, header.bp) = (0, 0, 0);
}

/// Writes the user registers to the header, sets the mode, and the end of a walk that cannot start. Whether there is a
/// user stack to walk. (An `Option` of registers would make LLVM spill what is not there, which the verifier refuses.)
#[inline(always)]
fn registers(ctx: &PerfEventContext, sample: &mut Sample, task: Running) -> bool {
    let header = &mut sample.header;
    let data = ctx.as_ptr() as *const bpf_perf_event_data;
    // SAFETY: the context of a perf event program; volatile because the verifier wants single loads.
    let cs = unsafe { ptr::read_volatile(&raw const (*data).regs.cs) };
    // The two low bits of the code segment are the privilege level: 3 is user code.
    if cs & 3 == 3 {
        header.mode = Mode::User as u8;
        // SAFETY: as above.
        unsafe {
            header.ip = ptr::read_volatile(&raw const (*data).regs.rip);
            header.sp = ptr::read_volatile(&raw const (*data).regs.rsp);
            header.bp = ptr::read_volatile(&raw const (*data).regs.rbp);
        }
        return true;
    }
    if task.is_kernel_thread() {
        header.mode = Mode::KernelThread as u8;
        header.walk_end = WalkEnd::NoUserStack as u8;
        return false;
    }
    // In a system call the leaf stands at the instruction after `syscall`, and its function's edge is looked at as in
    // user mode: libc's wrappers return right after it.
    header.mode = Mode::Kernel as u8;
    header.walk_end = WalkEnd::NoRegisters as u8;
    task.read_user_registers(header)
}
