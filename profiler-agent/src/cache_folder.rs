//! What folders of cached files have in common: they are this user's alone, and files are written aside and renamed.

use std::{
    ffi::OsStr,
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process,
    time::{Duration, SystemTime},
};

/// A file that is being written is named so, with the id of its writer.
const ASIDE: &str = "aside-";
/// A file left aside by a writer that was killed; writing takes minutes at most.
const ASIDE_STALE: Duration = Duration::from_secs(3600);

/// Makes the folder if need be. One that others can write to is refused: they could put in files of their own.
pub(crate) fn open(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let meta = fs::metadata(folder)?;
    if meta.uid() != rustix::process::geteuid().as_raw() || meta.mode() & 0o022 != 0 {
        return Err(io::Error::other("others than this user can write to it"));
    }
    Ok(())
}

/// Where this process writes a file of the folder.
pub(crate) fn aside(folder: &Path) -> PathBuf {
    folder.join(format!("{ASIDE}{}", process::id()))
}

/// Begins a file that [`aside`] names.
pub(crate) fn create_aside(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Whether a file of the folder is one that is being written.
pub(crate) fn is_aside(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(ASIDE.as_bytes())
}

/// Removes a file that was left aside, if nobody can be writing it any more.
pub(crate) fn remove_if_stale(path: &Path, modified: SystemTime) {
    if modified.elapsed().is_ok_and(|age| age > ASIDE_STALE) {
        // Another process may have been faster.
        let _ = fs::remove_file(path);
    }
}
