//! Names that were found after the samples were stored.

use rustc_hash::FxHashMap;

use super::{Binary, Frame, FrameKind, Profile};

/// A function at an address, as it was found late.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LateName {
    /// Demangled name. Never empty.
    pub function: String,
    /// Name as the symbol table has it.
    pub system_name: String,
    /// Source file; empty when unknown.
    pub file: String,
    /// Source line; 0 when unknown.
    pub line: u32,
    /// Whether it is inlined into the one that follows.
    pub inlined: bool,
}

/// Names by build ID and ELF virtual address; for each place the inlined functions innermost first, then the one that
/// holds them.
#[derive(Clone, Debug, Default)]
pub struct LateNames {
    by_place: FxHashMap<String, FxHashMap<u64, Vec<LateName>>>,
    places: usize,
}

impl LateNames {
    /// Adds the names of a place; none are no news.
    pub fn insert(&mut self, build_id: &str, address: u64, names: Vec<LateName>) {
        let names: Vec<_> = names.into_iter().filter(|name| !name.function.is_empty()).collect();
        if !names.is_empty() {
            let places = self.by_place.entry(build_id.to_owned()).or_default();
            self.places += usize::from(places.insert(address, names).is_none());
        }
    }

    /// How many places have names.
    pub fn len(&self) -> usize {
        self.places
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.places == 0
    }

    /// The names of a frame that has none.
    pub(crate) fn of(&self, profile: &Profile, frame: &Frame) -> Option<&[LateName]> {
        let binary = nameless(profile, frame)?;
        Some(self.by_place.get(profile.text(binary.build_id))?.get(&frame.address)?)
    }
}

/// The binary of a frame that has no name, and that can get one: its file is known by build ID.
pub(crate) fn nameless<'a>(profile: &'a Profile, frame: &Frame) -> Option<&'a Binary> {
    if frame.kind != FrameKind::Native || !profile.text(frame.system_name).is_empty() {
        return None;
    }
    let function = profile.text(frame.function);
    let is_place = function.starts_with('[') && function.ends_with(']') && function.contains("+0x");
    let binary = profile.binary(frame.binary.filter(|_| is_place)?);
    (!profile.text(binary.build_id).is_empty()).then_some(binary)
}
