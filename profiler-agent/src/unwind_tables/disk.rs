//! Compiled tables on disk, so that a restart, an eviction or the next recording need not compile them again.
//!
//! A file is named by the fingerprint of what its table is made of (`symbols::unwind_rows::Fingerprint`), so there is
//! nothing to invalidate: another file is another name. It is written aside and renamed, and its checksum and all its
//! rows are checked when it is read (`UnwindTable::from_bytes`); nothing is synced, as a torn file is only built again.
//! Its time of modification is that of its last use. None of this can fail a table: what the disk refuses is counted.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use symbols::unwind_rows::{Fingerprint, TableBytesError, UnwindTable};

use crate::cache_folder;

/// A stored table above this is none of ours: twice the largest that is ever built.
const FILE_BYTES_MAX: u64 = 128 << 20;

/// What became of the cache so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DiskCounts {
    /// Bytes in it.
    pub(crate) bytes: u64,
    /// Files removed for lack of room, and for being damaged.
    pub(crate) removed: u64,
    pub(crate) corrupt: u64,
    /// Times the disk refused to read or write.
    pub(crate) errors: u64,
}

/// A folder of tables, of at most `limit` bytes.
#[derive(Debug)]
pub(super) struct DiskCache {
    folder: PathBuf,
    limit: u64,
    counts: DiskCounts,
    warned: bool,
}

impl DiskCache {
    /// Opens the folder, which is made if need be. One that others can write to is refused: they could put in tables of
    /// their own.
    pub(super) fn open(folder: &Path, limit: u64) -> io::Result<Self> {
        cache_folder::open(folder)?;
        let mut cache =
            Self { folder: folder.to_owned(), limit, counts: DiskCounts::default(), warned: false };
        cache.shrink(limit)?;
        Ok(cache)
    }

    /// The table that was stored under a fingerprint.
    pub(super) fn load(&mut self, fingerprint: &Fingerprint) -> Option<UnwindTable> {
        let path = self.path_of(fingerprint);
        let bytes = match read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                self.failed(&path, &error);
                return None;
            }
        };
        match UnwindTable::from_bytes(&bytes) {
            Ok(table) => Some(table),
            Err(error) => {
                // One of another release is only old.
                if !matches!(error, TableBytesError::Version { .. }) {
                    tracing::warn!(path = %path.display(), %error, "a stored unwind table is built again");
                    self.counts.corrupt += 1;
                }
                self.remove(&path, bytes.len() as u64);
                None
            }
        }
    }

    /// Stores a table; the least recently used ones make room for it.
    pub(super) fn store(&mut self, fingerprint: &Fingerprint, table: &UnwindTable) {
        let bytes = table.to_bytes();
        let size = bytes.len() as u64;
        if size > self.limit {
            return;
        }
        let path = self.path_of(fingerprint);
        let stored =
            if self.counts.bytes + size > self.limit { self.shrink(self.limit - size) } else { Ok(()) }
                .and_then(|()| self.write(&path, &bytes));
        match stored {
            Ok(()) => self.counts.bytes += size,
            Err(error) => self.failed(&path, &error),
        }
    }

    /// Counters.
    pub(super) fn counts(&self) -> DiskCounts {
        self.counts
    }

    fn path_of(&self, fingerprint: &Fingerprint) -> PathBuf {
        self.folder.join(fingerprint.to_string())
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let aside = cache_folder::aside(&self.folder);
        let written = cache_folder::create_aside(&aside)
            .and_then(|mut file| file.write_all(bytes))
            .and_then(|()| fs::rename(&aside, path));
        if written.is_err() {
            // It may not even be there.
            let _ = fs::remove_file(&aside);
        }
        written
    }

    /// Removes what was used longest ago until `target` bytes are left, and what killed writers left aside.
    fn shrink(&mut self, target: u64) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            // Gone meanwhile: another process shrinks, too.
            let Ok(meta) = entry.metadata() else { continue };
            if !meta.is_file() {
                continue;
            }
            let used = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            if cache_folder::is_aside(&entry.file_name()) {
                cache_folder::remove_if_stale(&entry.path(), used);
                continue;
            }
            files.push((used, meta.len(), entry.path()));
        }
        files.sort_unstable();
        self.counts.bytes = files.iter().map(|(_, size, _)| size).sum();
        for (_, size, path) in files {
            if self.counts.bytes <= target {
                break;
            }
            self.counts.removed += 1;
            self.remove(&path, size);
        }
        Ok(())
    }

    fn remove(&mut self, path: &Path, size: u64) {
        self.counts.bytes = self.counts.bytes.saturating_sub(size);
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => self.failed(path, &error),
            _ => {}
        }
    }

    fn failed(&mut self, path: &Path, error: &io::Error) {
        self.counts.errors += 1;
        // A full disk refuses every table: once is enough to say so.
        if !std::mem::replace(&mut self.warned, true) {
            tracing::warn!(path = %path.display(), %error, "unwind tables are not kept on disk; profiling goes on");
        }
    }
}

/// All of a regular file, which is marked as used.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    use rustix::fs::OFlags;
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() || meta.len() > FILE_BYTES_MAX {
        return Err(io::Error::other("no file of ours"));
    }
    let mut bytes = Vec::with_capacity(meta.len() as usize);
    (&file).take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    mark_used(&file);
    Ok(bytes)
}

fn mark_used(file: &File) {
    // On a read-only disk the order of use is the order of writing.
    let _ = file.set_modified(SystemTime::now());
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use symbols::unwind_rows::CallFrameInfo;

    /// Fingerprint and table of this test program, which no two tests change.
    fn sample() -> (Fingerprint, UnwindTable) {
        let path = std::env::current_exe().unwrap();
        let info = CallFrameInfo::read(&File::open(&path).unwrap(), &path).unwrap();
        (info.fingerprint(), UnwindTable::compile(&info, &path).unwrap())
    }

    fn cache(limit: u64) -> (tempfile::TempDir, DiskCache) {
        let folder = tempfile::tempdir().unwrap();
        let cache = DiskCache::open(&folder.path().join("unwind-tables"), limit).unwrap();
        (folder, cache)
    }

    fn names(cache: &DiskCache) -> Vec<String> {
        let names = fs::read_dir(&cache.folder).unwrap();
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn what_was_stored_is_loaded_by_the_next_one_to_open_it() {
        let (_folder, mut first) = cache(1 << 30);
        let (fingerprint, table) = sample();
        assert_eq!(first.load(&fingerprint), None);
        first.store(&fingerprint, &table);
        let mut next = DiskCache::open(&first.folder, 1 << 30).unwrap();
        assert_eq!(next.load(&fingerprint), Some(table));
        assert_eq!(names(&next), [fingerprint.to_string()], "nothing is left aside");
        assert!(next.counts().bytes > 0 && next.counts() == first.counts());
    }

    #[test]
    fn a_damaged_one_is_removed_and_counted_wherever_it_is_damaged() {
        let (_folder, mut cache) = cache(1 << 30);
        let (fingerprint, table) = sample();
        let path = cache.path_of(&fingerprint);
        let whole = table.to_bytes();
        let mut damaged = vec![Vec::new(), whole[..whole.len() / 2].to_vec(), [&whole[..], &[0]].concat()];
        for at in (0..whole.len()).step_by(whole.len() / 50) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            damaged.push(bytes);
        }
        let count = damaged.len() as u64;
        for bytes in damaged {
            fs::write(&path, bytes).unwrap();
            assert_eq!(cache.load(&fingerprint), None);
            assert!(!path.exists());
        }
        assert_eq!((cache.counts().corrupt, cache.counts().errors), (count, 0));
        cache.store(&fingerprint, &table);
        assert_eq!(cache.load(&fingerprint), Some(table), "and it is built and stored again");
    }

    #[test]
    fn one_of_another_release_is_only_old() {
        let (_folder, mut cache) = cache(1 << 30);
        let (fingerprint, table) = sample();
        let mut bytes = table.to_bytes();
        bytes[4] += 1; // the version
        fs::write(cache.path_of(&fingerprint), bytes).unwrap();
        assert_eq!(cache.load(&fingerprint), None);
        assert!(names(&cache).is_empty() && cache.counts().corrupt == 0);
    }

    #[test]
    fn the_least_recently_used_make_room() {
        let (fingerprint, table) = sample();
        let size = table.to_bytes().len() as u64;
        let (_folder, mut cache) = cache(size * 2 + size / 2);
        let age = |name: &str, seconds| {
            let path = cache.folder.join(name);
            fs::write(&path, vec![0; size as usize]).unwrap();
            let used = SystemTime::now() - Duration::from_secs(seconds);
            File::options().write(true).open(&path).unwrap().set_modified(used).unwrap();
        };
        age("older", 200);
        age("newer", 100);
        cache.shrink(cache.limit).unwrap();
        assert_eq!(cache.counts().bytes, size * 2);
        cache.store(&fingerprint, &table);
        let mut left = names(&cache);
        left.sort();
        let mut expected = vec!["newer".to_owned(), fingerprint.to_string()];
        expected.sort();
        assert_eq!(left, expected);
        assert_eq!((cache.counts().bytes, cache.counts().removed), (size * 2, 1));
        // Being read is being used.
        let used = |cache: &DiskCache| fs::metadata(cache.path_of(&fingerprint)).unwrap().modified().unwrap();
        let file = File::options().write(true).open(cache.path_of(&fingerprint)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert!(cache.load(&fingerprint).is_some());
        assert!(used(&cache) > SystemTime::UNIX_EPOCH);
        // One larger than all the room is not kept at all.
        cache.limit = size - 1;
        cache.store(&fingerprint, &table);
        assert_eq!(cache.counts().removed, 1);
    }

    #[test]
    fn a_disk_that_refuses_is_counted_and_nothing_else() {
        let (_folder, mut cache) = cache(1 << 30);
        let (fingerprint, table) = sample();
        fs::remove_dir(&cache.folder).unwrap();
        cache.store(&fingerprint, &table);
        cache.store(&fingerprint, &table);
        assert_eq!(cache.load(&fingerprint), None);
        assert_eq!((cache.counts().errors, cache.counts().bytes), (2, 0));
        // A device that is always full.
        fs::create_dir(&cache.folder).unwrap();
        let aside = cache_folder::aside(&cache.folder);
        std::os::unix::fs::symlink("/dev/full", aside).unwrap();
        cache.store(&fingerprint, &table);
        assert_eq!(cache.counts().errors, 3);
        assert!(names(&cache).is_empty(), "{:?}", names(&cache));
    }

    #[test]
    fn what_a_killed_writer_left_is_removed_once_it_is_old() {
        let (_folder, mut cache) = cache(1 << 30);
        for (name, seconds) in [("aside-1", 7200), ("aside-2", 10)] {
            let file = File::create(cache.folder.join(name)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
        }
        cache.shrink(cache.limit).unwrap();
        assert_eq!(names(&cache), ["aside-2"]);
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(DiskCache::open(folder.path(), 1).unwrap_err().to_string().contains("others"));
    }
}
