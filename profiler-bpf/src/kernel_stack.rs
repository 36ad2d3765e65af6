//! The kernel's own stack.

use core::ffi::c_void;

use aya_ebpf::{EbpfContext as _, helpers::generated::bpf_get_stack, programs::PerfEventContext};
use profiler_abi::{KERNEL_FRAMES_MAX, Sample};

/// Writes the kernel frames to the front of `sample.frames`, their number or an errno to the header.
#[inline(always)]
pub(crate) fn walk(ctx: &PerfEventContext, sample: &mut Sample) {
    // SAFETY: the buffer holds FRAME_SLOTS words, more than asked for.
    let bytes = unsafe {
        bpf_get_stack(ctx.as_ptr(), &raw mut sample.frames as *mut c_void, (KERNEL_FRAMES_MAX * 8) as u32, 0)
    };
    sample.header.kernel_frames = if bytes >= 0 { (bytes as u64 >> 3) as i32 } else { bytes as i32 };
}
