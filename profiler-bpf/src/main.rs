//! What runs in the kernel: entry points only. Policy (which processes, how often, for how long) is the agent's.
//!
//! One program samples; two follow forks and exits of processes that are watched, so that a filter holds for
//! children that live shorter than any poll.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(
    missing_docs,
    unreachable_pub,
    reason = "the macros export entry points by public items of their own"
)]

mod globals;
mod kept_rules;
mod kernel_comparison;
mod kernel_memory;
mod kernel_rules;
mod kernel_stack;
mod last_walk;
mod maps;
mod measure;
mod output;
mod sample;
mod scratch;
mod stack_copy;
mod tables;
mod task;
mod user_stack;
mod watch;

use aya_ebpf::{
    macros::{perf_event, raw_tracepoint},
    programs::{PerfEventContext, RawTracePointContext},
};
use profiler_abi::Counter;

/// Takes one sample: runs on every tick of a CPU's perf event.
#[perf_event]
pub fn sample_cpu(ctx: PerfEventContext) -> u32 {
    maps::count(sample::take(&ctx));
    0
}

/// A fork: children of watched processes are watched.
#[raw_tracepoint(tracepoint = "sched_process_fork")]
pub fn watch_fork(ctx: RawTracePointContext) -> i32 {
    if watch::fork(&ctx).is_err() {
        maps::count(Counter::FilterFull);
    }
    0
}

/// An exit: a process that is gone need not be watched.
#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn watch_exit(ctx: RawTracePointContext) -> i32 {
    watch::exit(&ctx);
    0
}

/// Prepares the look-up in the kernel's unwind tables, some blocks of code in a run: the first one's number is the
/// argument. The loader runs it before anything is sampled.
#[raw_tracepoint]
pub fn fill_kernel_blocks(ctx: RawTracePointContext) -> i32 {
    if let Some(scratch) = scratch::current() {
        kernel_rules::fill_blocks(scratch, ctx.arg::<u64>(0) as u32);
    }
    0
}

/// Takes the kernel stack in both ways and compares them, instead of sampling: `vesta debug kernel-stack`.
#[perf_event]
pub fn compare_kernel_stacks(ctx: PerfEventContext) -> u32 {
    kernel_comparison::take(&ctx);
    0
}

/// Never reached: the verifier refuses an object with a path to it.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Helpers that read memory are open to GPL-compatible programs only.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
