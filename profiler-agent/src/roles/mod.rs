//! One module per command.

mod ask;
pub(crate) mod care;
pub(crate) mod convert;
pub(crate) mod debug;
pub(crate) mod debug_names;
pub(crate) mod doctor;
pub(crate) mod import;
pub(crate) mod kernel_stack;
pub(crate) mod query;
pub(crate) mod record;
pub(crate) mod run;
mod source;
pub(crate) mod sql;
pub(crate) mod symbols;

use crate::{
    bpf::{KernelProgram, SamplingOptions},
    exit::Failure,
    naming::Origin,
};

/// The loaded kernel program, and what profiles of it say of themselves.
fn load(
    options: SamplingOptions,
    mut labels: Vec<(String, String)>,
) -> Result<(KernelProgram, Origin), Failure> {
    raise_file_limit();
    let program = KernelProgram::load(options)?;
    let said = labels.iter().rposition(|(name, _)| name == "host").map(|at| labels[at].1.clone());
    labels.retain(|(name, _)| name != "host");
    // Of one that is given twice the last holds, as with other options.
    let last: std::collections::BTreeMap<_, _> = labels.into_iter().collect();
    let labels = last.into_iter().collect();
    let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    let period_ns = (1_000_000_000 / options.frequency_hz) as i64;
    Ok((program, Origin { host: said.unwrap_or_else(host), period_ns, labels }))
}

/// Mapped files are kept open; the soft limit of 1,024 is for programs that use select().
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// Prints one JSON value on a line of standard output.
fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(Failure::error)?;
    print_text(&format!("{text}\n"))
}

/// Prints to standard output; a closed pipe is the reader's way of saying that it has enough.
fn print_text(text: &str) -> Result<(), Failure> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::error(format_args!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}
