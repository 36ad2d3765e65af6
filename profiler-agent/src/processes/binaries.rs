//! The files behind mappings, opened once and kept open: a file that is deleted or replaced while its process runs
//! stays readable, and its inode number cannot be given to another.

use std::{
    fs::File,
    io,
    os::{
        fd::AsFd,
        unix::fs::{FileExt, MetadataExt},
    },
    sync::Arc,
    time::{Duration, Instant},
};

use rustc_hash::FxHashMap;

use super::mappings::FileKey;

/// Handle of a binary, unique for the life of the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct BinaryHandle(pub(crate) u32);

/// The vDSO's handle among binaries: no file is given it.
pub(crate) const VDSO: BinaryHandle = BinaryHandle(u32::MAX);

/// Files kept open. Beyond it the oldest is closed; frames in it are then named from what is cached.
const OPEN_FILES_MAX: usize = 4096;
/// How long a file that no known process maps any more is kept open for the next one: programs that are started every few
/// minutes need not be read again.
const KEEP_UNUSED: Duration = Duration::from_secs(600);
/// The same of a file that is deleted: its room on disk is free only when it is closed. What naming has of it is over by then.
const KEEP_DELETED: Duration = Duration::from_secs(120);

/// A file that was mapped.
#[derive(Clone, Debug)]
pub(crate) struct MappedFile {
    /// Path in its process's mount namespace.
    pub(crate) path: Arc<str>,
    /// The file, if it could be opened.
    pub(crate) file: Option<Arc<File>>,
}

impl MappedFile {
    /// Whether it is code made at run time all the same: a file in memory that is no ELF file, as .NET has its code in.
    pub(crate) fn is_made(&self) -> bool {
        let mut magic = [0; 4];
        self.path.starts_with("/memfd:")
            && self
                .file
                .as_ref()
                .is_some_and(|file| file.read_exact_at(&mut magic, 0).is_err() || magic != *b"\x7fELF")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    size: u64,
    modified_ns: i128,
}

impl Version {
    fn of(file: &File) -> io::Result<(Self, FileKey)> {
        let stat = rustix::fs::fstat(file.as_fd())?;
        let modified_ns = i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec);
        let key = FileKey {
            major: rustix::fs::major(stat.st_dev),
            minor: rustix::fs::minor(stat.st_dev),
            inode: stat.st_ino,
        };
        Ok((Self { size: stat.st_size as u64, modified_ns }, key))
    }
}

struct Entry {
    handle: BinaryHandle,
    version: Option<Version>,
    mapped: MappedFile,
    /// When it was last asked for.
    used: Instant,
}

impl Entry {
    /// Whether it is to be kept: someone has it, or may soon.
    fn stays(&self, now: Instant) -> bool {
        let Some(file) = &self.mapped.file else { return now.duration_since(self.used) < KEEP_DELETED };
        let is_deleted = || rustix::fs::fstat(file.as_fd()).is_ok_and(|stat| stat.st_nlink == 0);
        let age = now.duration_since(self.used);
        Arc::strong_count(file) > 1 || age < KEEP_DELETED || (age < KEEP_UNUSED && !is_deleted())
    }
}

/// All files seen, by identity.
#[derive(Default)]
pub(crate) struct Binaries {
    by_key: FxHashMap<(FileKey, Arc<str>), Entry>,
    next: u32,
    opened: std::collections::VecDeque<(FileKey, Arc<str>)>,
    /// Files that could not be opened, and files closed for room.
    pub(crate) unopened: u64,
    pub(crate) closed: u64,
}

/// Where a mapping of the file is, to open it by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MappedAt {
    pub(crate) pid: u32,
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl Binaries {
    /// The binary of a mapping. Opened on first sight; a failure is the process's (it may be exiting), not the
    /// file's, so the next process that maps the file tries again.
    pub(crate) fn get(&mut self, key: FileKey, path: &Arc<str>, at: MappedAt) -> (BinaryHandle, MappedFile) {
        let id = (key, path.clone());
        if let Some(entry) = self.by_key.get_mut(&id)
            && let Some(file) = &entry.mapped.file
            && Version::of(file).ok().map(|(version, _)| version) == entry.version
        {
            entry.used = Instant::now();
            return (entry.handle, entry.mapped.clone());
        }
        let file = open(key, path, at);
        if file.is_none()
            && let Some(entry) = self.by_key.get(&id)
            && entry.mapped.file.is_none()
        {
            return (entry.handle, entry.mapped.clone());
        }
        self.insert(id, file)
    }

    fn insert(&mut self, id: (FileKey, Arc<str>), file: Option<File>) -> (BinaryHandle, MappedFile) {
        let handle = BinaryHandle(self.next);
        self.next += 1;
        let version = file.as_ref().and_then(|file| Version::of(file).ok()).map(|(version, _)| version);
        match &file {
            Some(_) => self.opened.push_back(id.clone()),
            None => self.unopened += 1,
        }
        let mapped = MappedFile { path: id.1.clone(), file: file.map(Arc::new) };
        self.by_key.insert(id, Entry { handle, version, mapped: mapped.clone(), used: Instant::now() });
        if self.opened.len() > OPEN_FILES_MAX
            && let Some(oldest) = self.opened.pop_front()
        {
            self.by_key.remove(&oldest);
            self.closed += 1;
        }
        (handle, mapped)
    }

    /// Closes files that nobody has had lately. To be called from time to time.
    pub(crate) fn forget_unused(&mut self, now: Instant) {
        let before = self.by_key.len();
        self.by_key.retain(|_, entry| entry.stays(now));
        if self.by_key.len() < before {
            let by_key = &self.by_key;
            self.opened.retain(|id| by_key.contains_key(id));
        }
    }
}

/// The mapped file: through the mapping itself, which reaches deleted files and other mount namespaces; then by
/// its path as the process sees it, then as we see it, if what is there now is the same file.
fn open(key: FileKey, path: &str, MappedAt { pid, start, end }: MappedAt) -> Option<File> {
    if let Ok(file) = File::open(format!("/proc/{pid}/map_files/{start:x}-{end:x}"))
        && file.metadata().is_ok_and(|meta| meta.ino() == key.inode)
    {
        return Some(file);
    }
    [format!("/proc/{pid}/root{path}"), path.to_owned()].into_iter().find_map(|path| {
        let file = open_regular(&path).ok()?;
        let (_, found) = Version::of(&file).ok()?;
        (found == key).then_some(file)
    })
}

/// Opens without waiting: a path can lead to a pipe or a device.
fn open_regular(path: &str) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("not a regular file")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    fn key_of(path: &str) -> FileKey {
        Version::of(&File::open(path).unwrap()).unwrap().1
    }

    const NOWHERE: MappedAt = MappedAt { pid: 0, start: 0, end: 0 };

    #[test]
    fn a_replaced_file_is_another_binary_and_the_old_one_stays_readable() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program").to_str().unwrap().to_owned();
        std::fs::write(&path, "old").unwrap();
        let name: Arc<str> = Arc::from(path.as_str());
        let mut binaries = Binaries::default();
        let (old, file) = binaries.get(key_of(&path), &name, NOWHERE);
        assert_eq!(binaries.get(key_of(&path), &name, NOWHERE).0, old, "the same file is the same binary");
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "newer").unwrap();
        let (new, _) = binaries.get(key_of(&path), &name, NOWHERE);
        assert_ne!(new, old);
        let mut text = String::new();
        file.file.as_deref().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "old");
    }

    #[test]
    fn a_file_that_nobody_has_is_closed_and_sooner_if_it_is_deleted() {
        let (kept, deleted) =
            (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
        let mut binaries = Binaries::default();
        let get = |binaries: &mut Binaries, path: &str| {
            let (_, file) = binaries.get(key_of(path), &Arc::from(path), NOWHERE);
            file.file.unwrap()
        };
        let [kept, gone] = [&kept, &deleted].map(|file| file.path().to_str().unwrap().to_owned());
        let in_use = get(&mut binaries, "/proc/self/exe");
        drop((get(&mut binaries, &kept), get(&mut binaries, &gone)));
        drop(deleted);
        let after = |seconds| Instant::now() + Duration::from_secs(seconds);
        let mut left = |seconds| {
            binaries.forget_unused(after(seconds));
            (binaries.by_key.len(), binaries.opened.len())
        };
        assert_eq!([left(60), left(130), left(500), left(700)], [(3, 3), (2, 2), (2, 2), (1, 1)]);
        drop(in_use);
        assert_eq!(left(700), (0, 0));
    }

    #[test]
    fn a_file_written_over_in_place_is_another_binary() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        let name: Arc<str> = Arc::from(path.as_str());
        let mut binaries = Binaries::default();
        let (old, _) = binaries.get(key_of(&path), &name, NOWHERE);
        file.write_all(b"more").unwrap();
        assert_ne!(binaries.get(key_of(&path), &name, NOWHERE).0, old);
    }

    #[test]
    fn another_file_under_the_name_is_not_taken_for_it() {
        let name: Arc<str> = Arc::from("/etc/hostname");
        let other = FileKey { inode: key_of("/etc/hostname").inode + 1, ..key_of("/etc/hostname") };
        let mut binaries = Binaries::default();
        let (first, file) = binaries.get(other, &name, NOWHERE);
        assert!(file.file.is_none());
        assert_eq!(binaries.get(other, &name, NOWHERE).0, first, "a miss is one binary, not one per look");
        assert_eq!(binaries.unopened, 1);
    }
}
