//! The data directory: its marker, its folders, and the lock of its one writer.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use ulid::Ulid;

use crate::error::{Error, IoContext, Result};
use crate::segment::sync_folder;

/// The layout of data directories this version writes and reads.
pub const LAYOUT: u32 = 1;

/// How long a lock may be held by what is left of a process that has gone.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);
const LOCK_PAUSE: Duration = Duration::from_millis(10);

const MARKER: &str = "vesta-data.json";
const LOCK: &str = "lock";

#[derive(serde::Serialize, serde::Deserialize)]
struct Marker {
    layout: u32,
}

/// A data directory that has been checked to be one.
#[derive(Debug)]
pub(crate) struct DataDir {
    root: PathBuf,
    /// Held for as long as this process may write.
    lock: Option<File>,
}

impl DataDir {
    /// Opens an existing data directory for reading.
    pub(crate) fn open(root: &Path) -> Result<Self> {
        match fs::metadata(root) {
            Ok(meta) if meta.is_dir() => {}
            Ok(_) => return Err(Error::NotADataDirectory(root.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::Missing(root.to_owned()));
            }
            Err(error) => return Err(error).context("open", root),
        }
        let marker = root.join(MARKER);
        let mut text = String::new();
        match File::open(&marker).and_then(|file| file.take(4096).read_to_string(&mut text)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::NotADataDirectory(root.to_owned()));
            }
            Err(error) => return Err(error).context("read", &marker),
        }
        let found = match serde_json::from_str::<Marker>(&text) {
            Ok(Marker { layout: LAYOUT }) => {
                // Not only the marker must be readable.
                fs::read_dir(root.join("segments")).context("read", &root.join("segments"))?;
                return Ok(Self { root: root.to_owned(), lock: None });
            }
            Ok(marker) => marker.layout.to_string(),
            Err(_) => return Err(Error::DamagedMarker(marker)),
        };
        Err(Error::UnknownLayout { path: root.to_owned(), found, known: LAYOUT })
    }

    /// Opens a data directory for writing, making it if it does not exist or is empty, and clears what a
    /// crashed writer left.
    pub(crate) fn open_for_writing(root: &Path) -> Result<Self> {
        fs::create_dir_all(root).context("create", root)?;
        if !root.join(MARKER).exists() {
            Self::initialise(root)?;
        }
        let lock = lock(root)?;
        let dir = Self { lock: Some(lock), ..Self::open(root)? };
        clear_folder(&dir.tmp())?;
        Ok(dir)
    }

    fn initialise(root: &Path) -> Result<()> {
        let ours = ["segments", "tmp", "log", LOCK, "vesta-data.json.new", "lost+found"];
        for entry in fs::read_dir(root).context("read", root)? {
            let name = entry.context("read", root)?.file_name();
            if !ours.iter().any(|known| name == *known) {
                return Err(Error::NotADataDirectory(root.to_owned()));
            }
        }
        for folder in ["segments", "tmp"] {
            let folder = root.join(folder);
            fs::create_dir_all(&folder).context("create", &folder)?;
        }
        // Last, and whole: a directory with a marker has everything else.
        let (marker, aside) = (root.join(MARKER), root.join("vesta-data.json.new"));
        fs::write(&aside, format!("{{\"layout\":{LAYOUT}}}\n")).context("write", &aside)?;
        fs::rename(&aside, &marker).context("write", &marker)?;
        sync_folder(root)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where segments live, in a folder for each UTC day.
    pub(crate) fn segments(&self) -> PathBuf {
        self.root.join("segments")
    }

    /// Where segments are built and taken apart; readers do not look here.
    pub(crate) fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Where the logs of open windows are.
    pub(crate) fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// Where damaged segments and logs are kept; nobody reads them.
    pub(crate) fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    /// Moves a damaged segment or log out of everyone's way. Returns where it is now.
    pub(crate) fn put_in_quarantine(&self, path: &Path) -> Result<PathBuf> {
        let folder = self.quarantine();
        fs::create_dir_all(&folder).context("create", &folder)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let mut to = folder.join(&*name);
        if fs::symlink_metadata(&to).is_ok() {
            to = folder.join(format!("{name}.{}", Ulid::new()));
        }
        fs::rename(path, &to).context("move", path)?;
        sync_folder(&folder)?;
        sync_folder(path.parent().unwrap_or(&self.root))?;
        Ok(to)
    }

    /// Whether this process opened it for writing.
    pub(crate) fn is_writer(&self) -> bool {
        self.lock.is_some()
    }

    /// Fails unless this process is the writer of the directory that is there now: who removes it takes the lock's file away, too,
    /// and another process can have locked a new one since.
    pub(crate) fn require_writer(&self) -> Result<()> {
        let Some(lock) = &self.lock else { return Err(Error::ReadOnly(self.root.clone())) };
        let path = self.root.join(LOCK);
        let held = lock.metadata().context("look at", &path)?;
        match fs::metadata(&path) {
            Ok(found) if (found.dev(), found.ino()) == (held.dev(), held.ino()) => Ok(()),
            Ok(_) => Err(Error::Replaced(self.root.clone())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::Replaced(self.root.clone())),
            Err(error) => Err(error).context("look at", &path),
        }
    }
}

/// Takes the writer's lock, which the kernel drops with the process, and writes into it who holds it.
fn lock(root: &Path) -> Result<File> {
    let path = root.join(LOCK);
    let mut options = OpenOptions::new();
    let mut file =
        options.read(true).write(true).create(true).truncate(false).open(&path).context("open", &path)?;
    match locked(&file) {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let read = file.take(256).read_to_string(&mut holder);
            let holder = match holder.trim() {
                text if read.is_ok() && !text.is_empty() => text.escape_debug().to_string(),
                _ => "another process".to_owned(),
            };
            return Err(Error::Locked { path: root.to_owned(), holder });
        }
        Err(TryLockError::Error(error)) => return Err(error).context("lock", &path),
    }
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    file.set_len(0).context("write", &path)?;
    file.rewind().context("write", &path)?;
    writeln!(file, "process {} on {host}", std::process::id()).context("write", &path)?;
    Ok(file)
}

/// Whoever had the lock may have gone just now, and a child that it was about to start has it until it is another program.
fn locked(file: &File) -> std::result::Result<(), TryLockError> {
    let begin = Instant::now();
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if begin.elapsed() < LOCK_PATIENCE => thread::sleep(LOCK_PAUSE),
            locked => return locked,
        }
    }
}

fn clear_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).context("create", folder)?;
    for entry in fs::read_dir(folder).context("read", folder)? {
        let path = entry.context("read", folder)?.path();
        let removed = if path.is_dir() && !path.is_symlink() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.context("remove", &path)?;
        tracing::info!(path = %path.display(), "removed what an earlier process left unfinished");
    }
    Ok(())
}
