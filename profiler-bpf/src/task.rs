//! Fields of `task_struct`, by offsets that the loader took from the kernel's BTF.

use core::{ffi::c_void, ptr::read_volatile};

use aya_ebpf::{
    bindings::{pt_regs, task_struct},
    helpers::{bpf_get_current_task_btf, generated::bpf_probe_read_kernel, generated::bpf_task_pt_regs},
};
use profiler_abi::{COMM_BYTES, PT_REGS_WORDS, SampleHeader};
use profiler_unwind::registers::in_pt_regs;

use crate::{globals, kernel_memory};

/// `PF_KTHREAD` of `linux/sched.h`.
const PF_KTHREAD: u32 = 0x0020_0000;

/// The task on this CPU, or the first thread of its process. The verifier knows these addresses to be of tasks, so that
/// fields are loaded without a helper: several at once, where each is a cache miss.
#[derive(Clone, Copy)]
pub(crate) struct Running(*const u8);

impl Running {
    /// The task on this CPU.
    #[inline(always)]
    pub(crate) fn current() -> Self {
        // SAFETY: the helper takes nothing and returns the address of the running task.
        Self(unsafe { bpf_get_current_task_btf() } as *const u8)
    }

    #[inline(always)]
    fn field<T: Copy>(self, offset: u32) -> T {
        // SAFETY: the verifier accepts loads from a task only. Volatile because it wants single loads, and others write.
        unsafe { read_volatile(self.0.add(offset as usize) as *const T) }
    }

    /// Whether it is a kernel thread: those have no user registers.
    #[inline(always)]
    pub(crate) fn is_kernel_thread(self) -> bool {
        self.field::<u32>(globals::task_flags()) & PF_KTHREAD != 0
    }

    /// Whether its memory is gone: it is exiting.
    #[inline(always)]
    pub(crate) fn has_no_memory(self) -> bool {
        self.field::<u64>(globals::task_mm()) == 0
    }

    /// The process's first thread.
    #[inline(always)]
    pub(crate) fn group_leader(self) -> Self {
        Self(self.field::<*const u8>(globals::task_group_leader()))
    }

    /// When it started, nanoseconds of CLOCK_BOOTTIME.
    #[inline(always)]
    pub(crate) fn start_time(self) -> u64 {
        self.field::<u64>(globals::task_start_time())
    }

    /// How often it has called exec, in the kernel's count, which wraps.
    #[inline(always)]
    pub(crate) fn exec_id(self) -> u32 {
        self.field::<u32>(globals::task_exec_id())
    }

    /// Whether it has called exec since it was forked: until then it counts as its parent does.
    #[inline(always)]
    pub(crate) fn has_called_exec(self) -> bool {
        self.field::<u32>(globals::task_parent_exec_id()) != self.exec_id()
    }

    /// Writes its name; zeros if it cannot be read.
    #[inline(always)]
    pub(crate) fn read_comm(self, name: &mut [u8; COMM_BYTES]) {
        let at = self.0.wrapping_add(globals::task_comm() as usize);
        // SAFETY: the helper writes that many bytes, zeros if it cannot read.
        unsafe {
            bpf_probe_read_kernel(name as *mut _ as *mut c_void, COMM_BYTES as u32, at as *const c_void);
        }
    }

    /// Writes the user registers it entered the kernel with; whether they could be read. Only of the current task.
    #[inline(always)]
    pub(crate) fn read_user_registers(self, header: &mut SampleHeader) -> bool {
        let Some(regs) = kernel_memory::read::<pt_regs>(self.user_registers() as u64) else { return false };
        (header.ip, header.sp, header.bp) = (regs.rip, regs.rsp, regs.rbp);
        true
    }

    /// Writes all the user registers it entered the kernel with; whether they could be read. Only of the current task.
    #[inline(always)]
    pub(crate) fn read_all_user_registers(self, registers: &mut [u64; PT_REGS_WORDS]) -> bool {
        // SAFETY: the helper writes at most the given size, and fails instead of faulting.
        let result = unsafe {
            bpf_probe_read_kernel(
                registers as *mut _ as *mut c_void,
                size_of::<[u64; PT_REGS_WORDS]>() as u32,
                self.user_registers() as *const c_void,
            )
        };
        result == 0
    }

    /// A general register it entered the kernel with, by DWARF's number, but rsp. Only of the current task.
    #[inline(always)]
    pub(crate) fn user_register(self, number: u8) -> Option<u64> {
        kernel_memory::read(self.user_registers() as u64 + in_pt_regs(number))
    }

    /// Where it has its thread-local storage, as of the last time it was put on a CPU; 0, or anything, if it has none.
    #[inline(always)]
    pub(crate) fn thread_pointer(self) -> u64 {
        self.field::<u64>(globals::task_fsbase())
    }

    /// The address after its user stack, as far as is known: where the kernel made the first thread's, and of others the
    /// thread's control block, which C libraries put there. 0, or anything, where they do not.
    #[inline(always)]
    pub(crate) fn stack_end(self, header: &SampleHeader) -> u64 {
        if header.pid != header.tid {
            return self.thread_pointer();
        }
        let memory = self.field::<u64>(globals::task_mm());
        kernel_memory::read(memory.wrapping_add(u64::from(globals::mm_start_stack()))).unwrap_or(0)
    }

    /// Where the kernel keeps its user registers while it is in the kernel, be it for a system call or an interrupt.
    #[inline(always)]
    fn user_registers(self) -> *const u8 {
        // SAFETY: `self` is the current task here, which the helper wants.
        unsafe { bpf_task_pt_regs(self.0 as *mut task_struct) as *const u8 }
    }
}

/// A task out of a tracepoint's arguments: an address that the verifier knows nothing of.
#[derive(Clone, Copy)]
pub(crate) struct Traced(*const u8);

impl Traced {
    /// The task at an address.
    #[inline(always)]
    pub(crate) fn from_ptr(task: *const c_void) -> Self {
        Self(task as *const u8)
    }

    #[inline(always)]
    fn field<T: Copy>(self, offset: u32) -> Option<T> {
        kernel_memory::read(self.0.wrapping_add(offset as usize) as u64)
    }

    /// Process (thread group) id.
    #[inline(always)]
    pub(crate) fn tgid(self) -> u32 {
        self.field::<u32>(globals::task_tgid()).unwrap_or(0)
    }

    /// Whether no other thread of its process is alive. True in `sched_process_exit` of the last one: the
    /// kernel counts the exiting thread out before.
    #[inline(always)]
    pub(crate) fn is_last_of_its_process(self) -> bool {
        let Some(signal) = self.field::<u64>(globals::task_signal()) else { return false };
        Self(signal as *const u8).field::<i32>(globals::signal_live()).unwrap_or(1) <= 0
    }
}
