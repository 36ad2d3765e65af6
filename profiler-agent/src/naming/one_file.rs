//! Names in one file, asked for as windows ask: for `vesta debug names`.

use std::{fs::File, path::Path, sync::Arc};

use rustc_hash::FxHashMap;

use super::{
    files::KnownFiles,
    names::{NameCache, Names, Place},
};
use crate::processes::{BinaryHandle, MappedFile};

const ONE: BinaryHandle = BinaryHandle(0);

/// The names of one file.
pub(crate) struct FileNames {
    files: KnownFiles,
    names: NameCache,
}

impl FileNames {
    /// Of an open file.
    pub(crate) fn new(file: File, path: &Path) -> Self {
        let mapped = MappedFile { path: Arc::from(&*path.to_string_lossy()), file: Some(Arc::new(file)) };
        let mut files = KnownFiles::default();
        files.add(&FxHashMap::from_iter([(ONE, mapped)]));
        Self { files, names: NameCache::new(None) }
    }

    /// Whether it is a file that can have names.
    pub(crate) fn is_elf(&self) -> bool {
        self.files.get(ONE).is_some_and(|file| file.elf.is_some())
    }

    /// The names at ELF virtual addresses, in their order.
    pub(crate) fn at(&mut self, vaddrs: &[u64]) -> Vec<Names> {
        let place = |vaddr: &u64| Place::File(ONE, *vaddr);
        self.names.look_up(vaddrs.iter().map(place), &self.files);
        vaddrs.iter().map(|vaddr| self.names.get(place(vaddr))).collect()
    }
}
