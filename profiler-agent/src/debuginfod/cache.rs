//! Fetched debug info on disk, in the layout that debuggers use, and what servers are known not to have.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use symbols::elf::FileFacts;

use crate::cache_folder;

/// No more than this is taken of one file, whatever the quota: the largest debug packages have some hundred megabytes,
/// and names are looked up in less.
const FILE_BYTES_MAX: u64 = 1 << 30;
/// How long a server's "not found" holds: debug packages are published some time after their programs.
const MISSING_LIVE: Duration = Duration::from_secs(3600);
/// Notes of what is not there: 100,000 are some megabytes of disk. Beyond it the oldest go.
const NOTES_MAX: usize = 100_000;
/// Extensions of files and of those notes.
const FILE: &str = "debug";
const NOTE: &str = "missing";

/// What the disk says of a build ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    Here,
    NotThere,
    Nothing,
}

/// Whether it is a build ID as servers and folders have it: hexadecimal digits of 2 to 64 bytes, lower case.
pub(crate) fn is_build_id(text: &str) -> bool {
    (4..=128).contains(&text.len())
        && text.len().is_multiple_of(2)
        && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// A folder of debug info, of at most `limit` bytes.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    limit: u64,
    /// Files removed for lack of room.
    pub(super) removed: u64,
}

/// A body that is not kept, and why.
pub(super) type Refused = String;

impl Cache {
    /// Opens the folder, which is made if need be. One that others can write to is refused: they could put in files of
    /// their own.
    pub(super) fn open(folder: &Path, limit: u64) -> io::Result<Self> {
        cache_folder::open(folder)?;
        let mut cache = Self { folder: folder.to_owned(), limit, removed: 0 };
        cache.make_room(0)?;
        Ok(cache)
    }

    /// What is known of a build ID. Debug info that is here counts as used now.
    pub(super) fn look_up(&mut self, build_id: &str) -> Known {
        if let Ok(file) = File::options().append(true).open(self.path(build_id, FILE)) {
            // Only the order of removal hangs on it.
            let _ = file.set_modified(SystemTime::now());
            return Known::Here;
        }
        let note = self.path(build_id, NOTE);
        let age = fs::metadata(&note).and_then(|meta| meta.modified()).ok().map(|time| time.elapsed());
        match age {
            Some(Ok(age)) if age < MISSING_LIVE => Known::NotThere,
            _ => Known::Nothing,
        }
    }

    /// Remembers that no server has it.
    pub(super) fn note_missing(&self, build_id: &str) {
        let note = self.path(build_id, NOTE);
        let made = note.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| File::create(&note));
        if let Err(error) = made.and_then(|file| file.set_modified(SystemTime::now())) {
            tracing::debug!(%error, "it will be asked again what no server has");
        }
    }

    /// How long a body may be.
    pub(super) fn most(&self) -> u64 {
        self.limit.min(FILE_BYTES_MAX)
    }

    /// Keeps a body, if it is what it should be.
    pub(super) fn keep(&mut self, build_id: &str, body: &mut dyn Read) -> Result<(), Refused> {
        let path = self.path(build_id, FILE);
        let aside = cache_folder::aside(&self.folder);
        let kept = self.write(&aside, build_id, body).and_then(|bytes| {
            let told = |error: io::Error| error.to_string();
            self.make_room(bytes).map_err(told)?;
            path.parent().map_or(Ok(()), fs::create_dir_all).map_err(told)?;
            fs::rename(&aside, &path).map_err(told)
        });
        if kept.is_err() {
            // It may not even be there.
            let _ = fs::remove_file(&aside);
        }
        kept
    }

    fn write(&self, aside: &Path, build_id: &str, body: &mut dyn Read) -> Result<u64, Refused> {
        let told = |error: io::Error| error.to_string();
        let mut file = cache_folder::create_aside(aside).map_err(told)?;
        let most = self.most();
        let bytes = io::copy(&mut body.take(most + 1), &mut file).map_err(told)?;
        if bytes > most {
            return Err(format!("it is of more than {most} bytes"));
        }
        file.flush().map_err(told)?;
        match FileFacts::open(aside) {
            Ok(facts) if facts.build_id() == Some(build_id) => Ok(bytes),
            Ok(_) => Err("it is of another build".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Removes what was used longest ago until `more` bytes fit, and what writers that were killed left aside.
    fn make_room(&mut self, more: u64) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)?.flatten() {
            if cache_folder::is_aside(&entry.file_name())
                && let Ok(modified) = entry.metadata().and_then(|meta| meta.modified())
            {
                cache_folder::remove_if_stale(&entry.path(), modified);
            }
        }
        let (mut files, mut notes) = (Vec::new(), Vec::new());
        for folder in fs::read_dir(self.folder.join(".build-id")).into_iter().flatten().flatten() {
            for entry in fs::read_dir(folder.path()).into_iter().flatten().flatten() {
                // Gone meanwhile: another process makes room, too.
                let Ok(meta) = entry.metadata() else { continue };
                let used = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                match entry.path().extension().and_then(OsStr::to_str) {
                    Some(FILE) => files.push((used, entry.path(), meta.len())),
                    Some(NOTE) => notes.push((used, entry.path())),
                    _ => {}
                }
            }
        }
        let mut bytes = files.iter().map(|(.., size)| size).sum::<u64>().saturating_add(more);
        files.sort_unstable();
        for (_, path, size) in files {
            if bytes <= self.limit {
                break;
            }
            fs::remove_file(&path)?;
            bytes -= size;
            self.removed += 1;
        }
        notes.sort_unstable();
        let too_many = notes.len().saturating_sub(NOTES_MAX);
        notes.into_iter().take(too_many).try_for_each(|(_, path)| fs::remove_file(path))?;
        Ok(())
    }

    fn path(&self, build_id: &str, extension: &str) -> PathBuf {
        // Checked by whoever asks; what is no build ID has no path out of the folder all the same.
        let (start, rest) = build_id.split_at_checked(2).unwrap_or(("00", ""));
        self.folder.join(".build-id").join(start).join(format!("{rest}.{extension}"))
    }
}
