//! End to end: the real program, the real kernel, real stacks. They load BPF, so they need root; they never skip.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

mod care;
mod cgroups;
mod errors;
mod formats;
mod full_disk;
mod help;
mod jit;
mod kernel_stacks;
mod known_stacks;
mod kubernetes;
mod labels;
mod late_names;
mod mappings;
mod objects;
mod processes;
mod record;
mod run;
mod sql;
mod stacks;
mod tables;
mod tls;
mod vesta;
