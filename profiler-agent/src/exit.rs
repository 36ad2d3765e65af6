//! How the program ends when it does not end well. docs/operations.md lists the codes for users.

use std::{fmt::Display, process::ExitCode};

use crate::{bpf::BpfError, config::ConfigError, pipeline::PipelineError};

/// Exit codes, stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    Error = 1,
    Usage = 2,
    /// No privileges, or the kernel lacks a feature.
    Machine = 3,
    /// The data directory.
    Store = 4,
    AddressInUse = 5,
    /// Interrupted before anything was written.
    Interrupted = 130,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// What went wrong, for the user.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    message: String,
}

impl Failure {
    pub(crate) fn new(code: Code, message: impl Display) -> Self {
        Self { code, message: message.to_string() }
    }

    pub(crate) fn usage(message: impl Display) -> Self {
        Self::new(Code::Usage, message)
    }

    pub(crate) fn error(message: impl Display) -> Self {
        Self::new(Code::Error, message)
    }

    /// The file that could not be written, and why.
    pub(crate) fn write(path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::error(format_args!("{} cannot be written: {error}", path.display()))
    }

    /// What is told.
    #[cfg(feature = "object-store")]
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// One message on standard error.
    pub(crate) fn tell(&self) {
        use std::io::Write;
        // Standard error may be closed; there is no one left to tell then.
        let _ = writeln!(std::io::stderr(), "vesta: {}", self.message);
    }
}

impl From<BpfError> for Failure {
    fn from(error: BpfError) -> Self {
        let mut message = bpf_message(&error);
        if error.is_permission() && !rustix::process::geteuid().is_root() {
            message = format!(
                "sampling the whole machine needs privileges: run it with sudo, or give it CAP_BPF and CAP_PERFMON\n({message})"
            );
        } else {
            message.push_str("\n`vesta doctor` says what this machine offers and what is missing");
        }
        Self::new(Code::Machine, message)
    }
}

impl From<PipelineError> for Failure {
    fn from(error: PipelineError) -> Self {
        match error {
            PipelineError::Bpf(error) => error.into(),
            PipelineError::Thread(_) => Self::error(error),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::usage(error)
    }
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::TooLarge { .. } | store::Error::Cancelled | store::Error::NoSql => {
                Self::error(error)
            }
            store::Error::Sql(error) => Self::usage(error),
            error => Self::new(Code::Store, error),
        }
    }
}

/// An error of the kernel program and its causes. That of a program that is refused holds the verifier's whole log, of
/// which its message has told enough.
pub(crate) fn bpf_message(error: &BpfError) -> String {
    if matches!(error, BpfError::Program { .. }) { error.to_string() } else { chain(error) }
}

/// An error and its causes, each once, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] std::io::Error);
        assert_eq!(chain(&Outer(std::io::Error::other("inner"))), "outer: inner");
        #[derive(Debug, thiserror::Error)]
        #[error("outer: {0}")]
        struct Telling(#[source] std::io::Error);
        assert_eq!(chain(&Telling(std::io::Error::other("inner"))), "outer: inner");
    }
}
