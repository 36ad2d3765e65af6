//! Bounded reading of an ELF file.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use object::endian::LittleEndian;
use object::pod::{self, Pod};
use rustix::fs::OFlags;

/// The byte order of every file we can profile.
pub(crate) const ENDIAN: LittleEndian = LittleEndian;

/// Why a file gives no facts. Every variant names the file.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum ElfError {
    #[error("cannot open {}: {source}", path.display())]
    Open { path: PathBuf, source: std::io::Error },
    #[error("cannot read {what} of {}: {source}", path.display())]
    Read { path: PathBuf, what: &'static str, source: std::io::Error },
    #[error("{} is not a regular file", path.display())]
    NotAFile { path: PathBuf },
    #[error("{} is not an ELF file", path.display())]
    NotElf { path: PathBuf },
    #[error("{} is no x86-64 ELF file: class {class}, byte order {order}, machine {machine}", path.display())]
    Foreign { path: PathBuf, class: u8, order: u8, machine: u16 },
    #[error("{what} of {} lies outside the file", path.display())]
    Outside { path: PathBuf, what: &'static str },
    #[error("{what} of {} is of a form that no executable needs", path.display())]
    Strange { path: PathBuf, what: &'static str },
    #[error("{what} of {} is of {size} bytes or entries, more than the {limit} we read", path.display())]
    TooLarge { path: PathBuf, what: &'static str, size: u64, limit: u64 },
}

/// Opens a file for reading; a pipe or device is refused, and does not block.
pub(crate) fn open(path: &Path) -> Result<File, ElfError> {
    // Without NONBLOCK the opening of a pipe would wait for its writer.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .map_err(|source| ElfError::Open { path: path.to_owned(), source })
}

/// A file of known length, and the path that its errors name.
#[derive(Clone, Copy)]
pub(crate) struct Image<'a> {
    file: &'a File,
    pub(crate) path: &'a Path,
    length: u64,
}

impl<'a> Image<'a> {
    pub(crate) fn new(file: &'a File, path: &'a Path) -> Result<Self, ElfError> {
        let metadata = file.metadata().map_err(|source| ElfError::Open { path: path.to_owned(), source })?;
        if !metadata.is_file() {
            return Err(ElfError::NotAFile { path: path.to_owned() });
        }
        Ok(Self { file, path, length: metadata.len() })
    }

    /// `size` bytes at `offset`: all of them, within the file, and no more than `limit`.
    pub(crate) fn bytes(
        &self,
        offset: u64,
        size: u64,
        limit: u64,
        what: &'static str,
    ) -> Result<Vec<u8>, ElfError> {
        self.within(size, limit, what)?;
        self.contains(offset, size, what)?;
        // `size` fits: it is at most `limit`, which is a constant of this package.
        let mut bytes = vec![0; size as usize];
        self.fill(offset, &mut bytes, what)?;
        Ok(bytes)
    }

    /// Fills `bytes` with those at `offset`: all of them, within the file.
    pub(crate) fn fill(&self, offset: u64, bytes: &mut [u8], what: &'static str) -> Result<(), ElfError> {
        self.contains(offset, bytes.len() as u64, what)?;
        self.file.read_exact_at(bytes, offset).map_err(|source| ElfError::Read {
            path: self.path.to_owned(),
            what,
            source,
        })
    }

    fn contains(&self, offset: u64, size: u64, what: &'static str) -> Result<(), ElfError> {
        if offset.checked_add(size).is_none_or(|end| end > self.length) {
            return Err(ElfError::Outside { path: self.path.to_owned(), what });
        }
        Ok(())
    }

    /// `count` records of type `T` at `offset`.
    pub(crate) fn records<T: Pod + Clone>(
        &self,
        offset: u64,
        count: u64,
        limit: u64,
        what: &'static str,
    ) -> Result<Vec<T>, ElfError> {
        self.within(count, limit, what)?;
        let bytes = self.bytes(offset, count * size_of::<T>() as u64, u64::MAX, what)?;
        Ok(records_of(&bytes).to_vec())
    }

    fn within(&self, size: u64, limit: u64, what: &'static str) -> Result<(), ElfError> {
        if size > limit {
            return Err(ElfError::TooLarge { path: self.path.to_owned(), what, size, limit });
        }
        Ok(())
    }
}

/// The whole records that `bytes` hold, one after the other.
pub(crate) fn records_of<T: Pod>(bytes: &[u8]) -> &[T] {
    let count = bytes.len() / size_of::<T>();
    // The types used here are unaligned and the count fits, so that this never fails.
    pod::slice_from_bytes(bytes, count).map_or(&[], |(records, _)| records)
}
