//! `cargo xtask lint`: formatting and lints.

use anyhow::{Result, bail};

use crate::process::{cargo, run, say};
use crate::{fuzz, page};

/// Runs every check, also after one has failed, so that one run shows all there is to mend.
pub(crate) fn lint() -> Result<()> {
    page::install()?;
    // Every member, profiler-bpf too: formatting needs no BPF compiler.
    let formatting = run(cargo().args(["fmt", "--all", "--check"]));
    let clippy = run(cargo().args(["clippy", "--all-targets", "--", "--deny", "warnings"]));
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
