//! Values in the kernel's memory.

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;

/// A value at an address; none if it cannot be read. For types of integers only.
#[inline(always)]
pub(crate) fn read<T: Copy>(address: u64) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the helper writes at most the given size, and fails instead of faulting.
    let result = unsafe {
        bpf_probe_read_kernel(
            value.as_mut_ptr() as *mut c_void,
            size_of::<T>() as u32,
            address as *const c_void,
        )
    };
    // SAFETY: on success the helper wrote all of it, and only integers are read.
    if result == 0 { Some(unsafe { value.assume_init() }) } else { None }
}
