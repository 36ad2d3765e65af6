//! `cargo xtask run`: from a checkout to a running Vesta.

use std::os::unix::process::CommandExt as _;

use anyhow::{Context as _, Result};

use crate::process::{as_root, cargo, is_root, line, run as run_command, say};
use crate::setup::{self, Scope};
use crate::{page, paths};

/// Builds Vesta and becomes it: signals and the exit code are its own from then on.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    setup::ensure(Scope::Build)?;
    if !page::is_given() {
        page::install()?;
    }
    say("building Vesta (release)");
    run_command(cargo().args(["build", "--release", "--package", "profiler-agent"]))?;
    let vesta = paths::target().join("release/vesta");
    if !is_root() {
        say("sudo is needed to load the BPF program");
    }
    let mut command = as_root(vesta);
    command.arg("run").args(arguments);
    say(&format!("starting {}", line(&command)));
    Err(command.exec()).with_context(|| format!("cannot start `{}`", line(&command)))
}
