//! Where things are.

use std::path::{Path, PathBuf};

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// The target directory that cargo uses for this workspace.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// The page's sources.
pub(crate) fn page() -> PathBuf {
    root().join("ui/web")
}

/// What tests leave for people to look at: pictures and logs.
pub(crate) fn artifacts() -> PathBuf {
    root().join("ci/artifacts")
}

/// The Python environment of the tests.
pub(crate) fn venv() -> PathBuf {
    target().join("venv")
}

/// What is kept outside the checkout, so that a fresh clone does not build or fetch it again.
pub(crate) fn cache() -> Option<PathBuf> {
    let cache = match std::env::var_os("XDG_CACHE_HOME").filter(|dir| Path::new(dir).is_absolute()) {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(std::env::var_os("HOME")?).join(".cache"),
    };
    Some(cache.join("vesta"))
}

/// Where setup builds bpf-linker, and profiler-agent's build script looks for it.
pub(crate) fn toolchain() -> Option<PathBuf> {
    Some(cache()?.join("toolchain"))
}

/// The program of this name on the PATH.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|candidate| candidate.is_file())
}
