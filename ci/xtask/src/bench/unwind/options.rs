//! The command line of `cargo xtask bench unwind`.

pub(crate) const HELP: &str = "\
Lists the workloads and tools that stacks are compared with, and what this machine lacks of them.

Usage: cargo xtask bench unwind --list";

/// What is measured, and how.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {}

impl Options {
    /// Reads the arguments after `bench unwind`; the error is for the user.
    pub(crate) fn parse(arguments: &[String]) -> Result<Options, String> {
        match arguments.iter().find(|argument| *argument != "--list") {
            None => Ok(Options {}),
            Some(other) => Err(format!("unexpected `{other}`; see `cargo xtask bench unwind --help`")),
        }
    }
}
