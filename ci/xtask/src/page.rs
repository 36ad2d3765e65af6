//! The page's packages and commands. The page itself is built by the build script of `ui`.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use anyhow::Result;

use crate::paths;
use crate::process::{run_with_retries, say};

/// An `npm` command in the page's folder.
pub(crate) fn npm(arguments: &[&str]) -> Command {
    let mut command = Command::new("npm");
    command.current_dir(paths::page()).args(arguments);
    command
}

/// True if VESTA_PAGE_DIST names a page that was built elsewhere: then building needs no packages.
pub(crate) fn is_given() -> bool {
    std::env::var_os("VESTA_PAGE_DIST").is_some_and(|path| !path.is_empty())
}

/// Installs the page's packages if the lock file is newer than what is installed. The build script could do that, too,
/// but has no patience with a slow network.
pub(crate) fn install() -> Result<()> {
    let page = paths::page();
    let installed = changed(&page.join("node_modules/.package-lock.json"));
    if installed.is_some() && installed >= changed(&page.join("package-lock.json")) {
        return Ok(());
    }
    say("fetching what the page is built with");
    // As ui/build.rs does, which says why not `npm ci`.
    run_with_retries(&mut npm(&["install", "--no-save", "--no-audit", "--no-fund"]))
}

fn changed(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}
