//! `cargo xtask tidy`: rules of the house that no compiler checks.

mod arrows;
mod bpf_object;
mod documents;
mod licences;
mod sources;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::paths;
use crate::process::{cargo, output, say};

/// What breaks a rule: where, and which.
type Findings = Vec<String>;

/// A text file of the checkout.
struct Source {
    /// Relative to the root, with `/`.
    path: String,
    text: String,
}

/// Checks every rule; an error if one is broken.
pub(crate) fn tidy() -> Result<()> {
    let mut findings = rules()?;
    let object = bpf_object::newest().and_then(|path| bpf_object::check(&path));
    findings.extend(object.unwrap_or_else(|error| vec![format!("{error:#}")]));
    for finding in &findings {
        say(finding);
    }
    if !findings.is_empty() {
        bail!("{} findings", findings.len());
    }
    say("tidy");
    Ok(())
}

/// The rules that need nothing built.
fn rules() -> Result<Findings> {
    let sources = sources()?;
    let workspace = metadata(&["--no-deps"])?;
    let everything = metadata(&["--locked"])?;
    let mut findings = arrows::check(&workspace);
    findings.extend(arrows::check_uses(&sources));
    findings.extend(sources::check(&sources));
    findings.extend(documents::check(&sources, &workspace));
    findings.extend(licences::check(&everything, &paths::root().join(licences::FILE))?);
    Ok(findings)
}

fn metadata(options: &[&str]) -> Result<Value> {
    let mut command = cargo();
    command.args(["metadata", "--format-version", "1", "--quiet"]).args(options);
    let text = output(&mut command).context("`cargo metadata` failed; is Cargo.lock up to date?")?;
    serde_json::from_str(&text).context("`cargo metadata` did not answer with JSON")
}

/// Every text file that is part of the project: what git knows, or would if it were added.
fn sources() -> Result<Vec<Source>> {
    let mut git = Command::new("git");
    // Also where the checkout is another user's, as in containers: only names are asked for.
    git.current_dir(paths::root()).args(["-c", "safe.directory=*"]);
    git.args(["ls-files", "--cached", "--others", "--exclude-standard"]);
    let listing = output(&mut git).context("`git ls-files` failed: tidy wants a git checkout")?;
    let read = |path: &str| {
        // Pictures and fonts are not text; a file that was just removed is no source.
        let text = fs::read_to_string(paths::root().join(PathBuf::from(path))).ok()?;
        Some(Source { path: path.to_owned(), text })
    };
    Ok(listing.lines().filter_map(read).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_house_is_tidy() {
        let findings = rules().unwrap();
        assert!(findings.is_empty(), "{findings:#?}");
    }
}
