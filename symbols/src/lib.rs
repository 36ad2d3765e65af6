//! All that is true of a file or of the kernel image: what an ELF file says of itself, where stacks end in it,
//! how its functions keep their callers, and the names of its addresses.
//!
//! Files are hostile: whatever they contain leads to an error or to nothing found, never to a panic. They are
//! read, not mapped, so that a file cut short under our hands is an error too (only blazesym maps files).
//!
//! Addresses are ELF virtual addresses: the ones the file's own tables speak of, the same in every process.
//! [`elf::FileFacts::vaddr_of`] makes them from file offsets.

pub mod all_registers;
pub mod elf;
pub mod frame_pointer_rules;
pub mod jit;
pub mod kernel;
pub mod local_files;
pub mod stack_ends;
pub mod symbolizer;
pub mod unwind_rows;
