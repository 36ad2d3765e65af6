//! `cargo xtask lint`: formatting and lints.

use std::process::Command;

use anyhow::{Result, bail};

use crate::process::{cargo, run, say};
use crate::{fuzz, page};

/// Runs every check, also after one has failed, so that one run shows all there is to mend.
pub(crate) fn lint() -> Result<()> {
    page::install()?;
    // Every member, profiler-bpf too: formatting needs no BPF compiler.
    let formatting = run(cargo().args(["fmt", "--all", "--check"]));
    let clippy = run(&mut clippy());
    // What is left when all that is optional is left out.
    let least = ["clippy", "-p", "profiler-agent", "--no-default-features", "--", "--deny", "warnings"];
    let least = run(cargo().args(least));
    let fuzz = fuzz::lint();
    let page = run(&mut page::npm(&["run", "--silent", "check"]));
    let failed: Vec<_> =
        [formatting, clippy, least, fuzz, page].into_iter().filter_map(Result::err).collect();
    for error in &failed {
        say(&format!("{error:#}"));
    }
    if !failed.is_empty() {
        bail!("{} of 5 checks failed", failed.len());
    }
    Ok(())
}

/// The packages that are optimized in test builds, for whose tests that is worth it: here it would only take time.
const OPTIMIZED: [&str; 3] = ["profiler-unwind", "store", "symbols"];

/// Clippy on all members and all their targets.
///
/// It builds them, with clippy as the compiler, rather than to check them by `cargo clippy`: builds find the dependencies that tests
/// have been built with, checks would have all five hundred of them checked first, which takes several minutes.
fn clippy() -> Command {
    let mut build = cargo();
    build.args(["build", "--all-targets"]);
    for package in OPTIMIZED {
        build.arg("--config").arg(format!("profile.dev.package.{package}.opt-level=0"));
    }
    clippy_in_place_of_compiler(&mut build);
    build
}

/// Has cargo compile its workspace by clippy, for which a warning is an error.
pub(crate) fn clippy_in_place_of_compiler(build: &mut Command) {
    build.env("RUSTC_WORKSPACE_WRAPPER", "clippy-driver");
    // How `cargo clippy` hands on what stands behind its `--`.
    build.env("CLIPPY_ARGS", ["--deny", "warnings", ""].join("__CLIPPY_HACKERY__"));
}
