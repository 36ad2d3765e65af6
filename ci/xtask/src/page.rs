//! The page: fetching what it is built with, building it, its unit tests and checks.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use anyhow::Result;

use crate::paths;
use crate::process::{run, run_with_retries, say};

/// An `npm` command in the page's folder.
pub(crate) fn npm(arguments: &[&str]) -> Command {
    let mut command = Command::new("npm");
    command.current_dir(paths::page()).args(arguments);
    command
}

/// Installs the page's packages if the lock file is newer than what is installed.
pub(crate) fn install() -> Result<()> {
    let page = paths::page();
    let installed = changed(&page.join("node_modules/.package-lock.json"));
    if installed.is_some() && installed >= changed(&page.join("package-lock.json")) {
        return Ok(());
    }
    run_with_retries(&mut npm(&["ci", "--no-audit", "--no-fund"]))
}

/// Builds the page if a source is newer than the built page.
pub(crate) fn build() -> Result<()> {
    install()?;
    let page = paths::page();
    let built = changed(&page.join("dist/index.html"));
    if built.is_some() && built >= newest_source(&page) {
        return Ok(());
    }
    say("building the page");
    run(&mut npm(&["run", "--silent", "build"]))
}

fn newest_source(page: &Path) -> Option<SystemTime> {
    let files = ["index.html", "package.json", "package-lock.json", "tsconfig.json", "vite.config.ts"];
    let files = files.into_iter().map(|name| changed(&page.join(name)));
    let folders = ["src", "public"].into_iter().map(|name| newest_below(&page.join(name)));
    files.chain(folders).max().flatten()
}

fn newest_below(folder: &Path) -> Option<SystemTime> {
    let entries = fs::read_dir(folder).ok()?.flatten();
    let times = entries.map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => newest_below(&entry.path()),
        _ => changed(&entry.path()),
    });
    // The folder itself: a file that was taken away.
    times.chain([changed(folder)]).max().flatten()
}

fn changed(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}
