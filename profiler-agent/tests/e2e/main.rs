//! End to end: the real program, the real kernel, real stacks. They load BPF, so they need root; they never skip.

mod errors;
mod help;
mod record;
mod run;
mod stacks;
mod vesta;
