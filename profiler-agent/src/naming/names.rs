//! Names of places, asked for in batches, once each, and kept.

use std::{path::Path, sync::Arc, time::Duration};

use rustc_hash::{FxHashMap, FxHashSet};
use symbols::symbolizer::{Name, Options, Symbolizer};

use super::files::KnownFiles;
use crate::{
    processes::{BinaryHandle, VDSO},
    room::give_back,
    window::RawFrame,
};

/// Places whose names are kept: about 150 bytes each. A large host shows some ten thousand in an hour; beyond the
/// limit all are dropped and asked for anew.
const NAMES_MAX: usize = 200_000;

/// Inlined functions innermost first, then the function itself; empty when nothing is known.
pub(crate) type Names = Arc<[Name]>;

/// A place that can have a name: the code address of the instruction itself, return addresses less one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Kernel(u64),
    File(BinaryHandle, u64),
}

/// The place of a frame; none for code outside any file.
pub(crate) fn place(frame: &RawFrame, files: &KnownFiles) -> Option<Place> {
    let less = |leaf: bool| u64::from(!leaf);
    match *frame {
        RawFrame::Kernel { address, leaf } => Some(Place::Kernel(address - less(leaf).min(address))),
        RawFrame::File { binary, file_offset, method } => {
            let vaddr = files.get(binary)?.vaddr(file_offset.checked_sub(less(method.is_exact()))?)?;
            Some(Place::File(binary, vaddr))
        }
        RawFrame::Vdso { offset, method } => {
            let vaddr = files.get(VDSO)?.vaddr(offset.checked_sub(less(method.is_exact()))?)?;
            Some(Place::File(VDSO, vaddr))
        }
        RawFrame::Anonymous { .. } | RawFrame::Unmapped { .. } => None,
    }
}

/// All names known.
pub(crate) struct NameCache {
    names: FxHashMap<Place, Names>,
    symbolizer: Symbolizer,
    kernel_failed: bool,
    nothing: Names,
    /// Files with places that debug info would name, or name better.
    wanting: FxHashSet<BinaryHandle>,
    /// Times the cache went over its limit.
    pub(crate) evictions: u64,
}

impl NameCache {
    /// Without any name. `fetched` is where debug info of servers lies.
    pub(crate) fn new(fetched: Option<&Path>) -> Self {
        let options = Options { fetched: fetched.map(Path::to_owned), ..Options::default() };
        Self {
            names: FxHashMap::default(),
            symbolizer: Symbolizer::new(options),
            kernel_failed: false,
            nothing: Arc::from([]),
            wanting: FxHashSet::default(),
            evictions: 0,
        }
    }

    /// Looks up every place that has no name yet, file by file.
    pub(crate) fn look_up(&mut self, places: impl Iterator<Item = Place>, files: &KnownFiles) {
        if self.names.len() >= NAMES_MAX {
            self.names.clear();
            self.evictions += 1;
        }
        let mut kernel = FxHashSet::default();
        let mut by_file: FxHashMap<BinaryHandle, FxHashSet<u64>> = FxHashMap::default();
        for place in places.filter(|place| !self.names.contains_key(place)) {
            match place {
                Place::Kernel(address) => {
                    kernel.insert(address);
                }
                Place::File(binary, vaddr) => {
                    by_file.entry(binary).or_default().insert(vaddr);
                }
            }
        }
        self.look_up_kernel(kernel.into_iter().collect());
        for (binary, vaddrs) in by_file {
            self.look_up_file(binary, vaddrs.into_iter().collect(), files);
        }
    }

    fn look_up_kernel(&mut self, mut addresses: Vec<u64>) {
        if addresses.is_empty() || self.kernel_failed {
            return;
        }
        addresses.sort_unstable();
        match self.symbolizer.kernel(&addresses) {
            Ok(names) => self.keep(addresses.into_iter().map(Place::Kernel), names),
            Err(error) => {
                tracing::warn!(%error, "kernel functions stay without names");
                self.kernel_failed = true;
            }
        }
    }

    fn look_up_file(&mut self, binary: BinaryHandle, mut vaddrs: Vec<u64>, files: &KnownFiles) {
        let Some(path) = files.get(binary).and_then(|file| file.open_path()) else { return };
        vaddrs.sort_unstable();
        let names = self.symbolizer.file(&path, &vaddrs);
        if binary != VDSO && names.iter().any(|names| names.last().is_none_or(|name| name.file.is_empty())) {
            self.wanting.insert(binary);
        }
        self.keep(vaddrs.into_iter().map(|vaddr| Place::File(binary, vaddr)), names);
    }

    /// Files that were found to lack debug info since this was last asked.
    pub(crate) fn take_wanting(&mut self) -> FxHashSet<BinaryHandle> {
        std::mem::take(&mut self.wanting)
    }

    /// Debug info has come: what is known of files is looked up anew.
    pub(crate) fn forget_files(&mut self) {
        self.symbolizer.forget_files();
        self.names.retain(|place, _| matches!(place, Place::Kernel(_)));
    }

    /// Forgets what is known of files without new places for so long, and the names of those that nobody samples any more.
    pub(crate) fn forget_unused(&mut self, age: Duration, is_used: impl Fn(BinaryHandle) -> bool) {
        self.symbolizer.forget_unused(age);
        self.names.retain(|place, _| match place {
            Place::Kernel(_) => true,
            Place::File(binary, _) => *binary == VDSO || is_used(*binary),
        });
        give_back(&mut self.names);
    }

    fn keep(&mut self, places: impl Iterator<Item = Place>, names: Vec<Vec<Name>>) {
        self.names.extend(places.zip(names.into_iter().map(Names::from)));
    }

    /// The names of a place looked up before.
    pub(crate) fn get(&self, place: Place) -> Names {
        self.names.get(&place).unwrap_or(&self.nothing).clone()
    }
}
