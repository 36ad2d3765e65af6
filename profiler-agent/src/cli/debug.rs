//! `vesta debug …`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Span, frequency, hexadecimal, span};

#[derive(Debug, Subcommand)]
pub(crate) enum DebugCommand {
    /// Compile a file's call frame information as the agent does, and print the rows
    UnwindTable(UnwindTableArgs),
    /// Name addresses of a file as the agent does: functions, those inlined there, files and lines
    Names(NamesArgs),
    /// Take kernel stacks in both ways, by the kernel's unwind tables and by its own walk, and compare them
    KernelStack(KernelStackArgs),
}

#[derive(Debug, Args)]
pub(crate) struct KernelStackArgs {
    /// How long
    #[arg(long, value_name = "SPAN", default_value = "10s", value_parser = span)]
    pub(crate) duration: Span,

    /// How often a second, on each CPU
    #[arg(long, value_name = "HZ", default_value = "97", value_parser = frequency)]
    pub(crate) frequency: u64,

    /// Print as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct UnwindTableArgs {
    /// An ELF file: a program or a library
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Print only the rule at this address: ELF virtual address of an instruction, hexadecimal
    #[arg(long, value_name = "PC", value_parser = hexadecimal, conflicts_with = "stats")]
    pub(crate) at: Option<u64>,

    /// Print what went into the table and how large it is, instead of its rows
    #[arg(long)]
    pub(crate) stats: bool,

    /// Print as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct NamesArgs {
    /// An ELF file: a program or a library
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// ELF virtual addresses of instructions, hexadecimal
    #[arg(value_name = "PC", value_parser = hexadecimal)]
    pub(crate) at: Vec<u64>,

    /// Read more addresses from this file, one a line; - is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) addresses: Option<PathBuf>,

    /// Print how many have names and what that took, instead of the names
    #[arg(long)]
    pub(crate) stats: bool,

    /// Print as JSON
    #[arg(long)]
    pub(crate) json: bool,
}
