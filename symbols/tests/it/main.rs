//! The package against the test programs, the system's own files, and broken copies of both.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod all_registers;
mod common;
mod elf;
mod followed_agreement;
mod followed_code;
mod frame_pointer_rules;
mod gdb_oracle;
mod go_functions;
mod kernel_names;
mod linkage_tables;
mod linked_debug_info;
mod live_stacks;
mod perf_agreement;
mod perf_lists;
mod split_debug_info;
mod stack_ends;
mod stripped_names;
mod symbolizer;
mod unwind_agreement;
mod unwind_framehop;
mod unwind_hostile;
mod unwind_oracle;
mod unwind_random;
mod unwind_rows;
mod unwind_rules;
mod unwind_stored;
