//! Opening a file whose path a program names, such as where its debug info was put when it was built, or one that is stored
//! in a profile.
//!
//! Anyone who runs a program chooses that path. A file system of their own that never answers (FUSE), or a server's that
//! is away (NFS), would hold up all names: only files of file systems that answer by themselves are opened.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};

/// Of /proc/self/mountinfo: some ten thousand mounts.
const MOUNTS_AT_MOST: u64 = 4 << 20;
/// File systems that answer without asking another process or machine.
const LOCAL: [&str; 12] = [
    "ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "bcachefs", "tmpfs", "ramfs", "overlay", "squashfs",
    "erofs",
];

/// The regular file at this absolute path without links and `..`; none if there is none, or if it should not be asked for.
pub fn open(path: &Path) -> Option<File> {
    let mounts = read_mounts()?;
    let (mount, kind) = mount_of(&mounts, path)?;
    if !LOCAL.contains(&kind) && !is_zfs(kind) {
        tracing::debug!(path = %path.display(), kind, "not asked for debug info");
        return None;
    }
    let inside = path.strip_prefix(&mount).ok()?;
    let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mount = openat(CWD, &mount, folder, Mode::empty()).ok()?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    // Not onto another mount, not even by a link.
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let file = File::from(openat2(&mount, inside, flags, Mode::empty(), resolve).ok()?);
    file.metadata().ok()?.is_file().then_some(file)
}

fn is_zfs(kind: &str) -> bool {
    kind == "zfs"
}

fn read_mounts() -> Option<String> {
    use std::io::Read;
    let file = File::open("/proc/self/mountinfo").ok()?;
    let mut bytes = Vec::new();
    file.take(MOUNTS_AT_MOST).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Where the mount is that a path lies on, and what kind of file system it is; the last one where several cover each other.
fn mount_of<'a>(mountinfo: &'a str, path: &Path) -> Option<(PathBuf, &'a str)> {
    let is_plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if !is_plain || !path.is_absolute() {
        return None;
    }
    let mounts = mountinfo.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let at = PathBuf::from(unescaped(before.split(' ').nth(4)?));
        Some((at, after.split(' ').next()?))
    });
    mounts.filter(|(at, _)| path.starts_with(at)).reduce(|best, next| {
        if next.0.as_os_str().as_bytes().len() >= best.0.as_os_str().as_bytes().len() { next } else { best }
    })
}

/// Spaces and the like are written as `\040`.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (code, part.get(3..)) {
            (Some(code), Some(rest)) => {
                plain.push(char::from(code));
                plain.push_str(rest);
            }
            _ => {
                plain.push('\\');
                plain.push_str(part);
            }
        }
    }
    plain
}

/// The folder that an open file lies in, as this process sees it.
pub(crate) fn folder_of(file: &File) -> Option<PathBuf> {
    Some(fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()?.parent()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:40 / /mnt/far rw - fuse.sshfs user@host rw
31 22 0:41 / /mnt/a\\040b rw - tmpfs tmpfs rw
";

    #[test]
    fn the_innermost_mount_counts() {
        let kind = |path: &str| mount_of(MOUNTS, Path::new(path)).map(|(_, kind)| kind);
        assert_eq!(kind("/usr/lib/x"), Some("ext4"));
        assert_eq!(kind("/mnt/far/x"), Some("fuse.sshfs"));
        assert_eq!(kind("/mnt/farther"), Some("ext4"));
        assert_eq!(kind("/mnt/a b/x"), Some("tmpfs"));
        assert_eq!(kind("/usr/../mnt/far/x"), None);
        assert_eq!(kind("usr/x"), None);
    }

    #[test]
    fn only_plain_files_without_links_are_opened() {
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "x").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let is_open = |path: &Path| open(path).is_some();
        assert!(is_open(&file));
        assert!(!is_open(&link) && !is_open(folder.path()) && !is_open(Path::new("/proc/version")));
        assert!(!is_open(&folder.path().join("../").join(file.strip_prefix("/var/tmp").unwrap())));
    }
}
