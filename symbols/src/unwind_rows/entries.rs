//! Which entries (FDEs) a section of call frame information has, and which of them count.

use std::ops::Range;

use gimli::{BaseAddresses, CommonInformationEntry, UnwindSection};
use rustc_hash::FxHashMap;

use super::Stats;
use super::evaluate::Bytes;

/// Common entries that are kept parsed; files have a handful.
const CIES_AT_MOST: usize = 256;
/// A common entry above this many bytes is broken: it is evaluated again with each of its entries. Some 30 are usual.
const CIE_AT_MOST: u32 = 4096;

/// One entry: the code it describes, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) start: u64,
    pub(super) end: u64,
    /// In its section, in bytes; of Go's functions the number; of code the number of its first row.
    pub(super) offset: u32,
    pub(super) source: Source,
}

/// What an entry comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    EhFrame,
    DebugFrame,
    /// Go's own table of functions.
    Go,
    /// The code itself.
    Code,
}

/// The common entries (CIEs) of a section, parsed once.
pub(super) struct Cies<'a> {
    bytes: &'a [u8],
    parsed: FxHashMap<usize, CommonInformationEntry<Bytes<'a>>>,
}

impl<'a> Cies<'a> {
    /// Those of the section with these bytes.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, parsed: FxHashMap::default() }
    }

    /// The common entry at this offset; one that is out of proportion is not even parsed.
    pub(super) fn get<S: UnwindSection<Bytes<'a>>>(
        &mut self,
        section: &S,
        bases: &BaseAddresses,
        offset: S::Offset,
    ) -> gimli::Result<CommonInformationEntry<Bytes<'a>>> {
        let key: usize = gimli::UnwindOffset::into(offset);
        if let Some(cie) = self.parsed.get(&key) {
            return Ok(cie.clone());
        }
        let length =
            self.bytes.get(key..).and_then(<[u8]>::first_chunk).map(|length| u32::from_le_bytes(*length));
        if length.is_none_or(|length| length > CIE_AT_MOST) {
            return Err(gimli::Error::UnexpectedEof(gimli::ReaderOffsetId(key as u64)));
        }
        let cie = section.cie_from_offset(bases, offset)?;
        if self.parsed.len() >= CIES_AT_MOST {
            self.parsed.clear();
        }
        self.parsed.insert(key, cie.clone());
        Ok(cie)
    }
}

/// The entries of one section that describe code of this file, in the order of the section. A broken one is
/// counted and left out.
pub(super) fn list<'a, S: UnwindSection<Bytes<'a>>>(
    section: &S,
    bytes: &'a [u8],
    end_is_known: bool,
    bases: &BaseAddresses,
    code: &[Range<u64>],
    source: Source,
    stats: &mut Stats,
) -> Vec<Entry>
where
    S::Offset: From<usize>,
{
    let mut cies = Cies::new(bytes);
    let mut starts = Starts { bytes, at: 0, end_is_known, is_broken: false };
    let mut list = Vec::with_capacity(starts.clone().count());
    for offset in &mut starts {
        let entry = section
            .partial_fde_from_offset(bases, S::Offset::from(offset))
            .and_then(|entry| entry.parse(|section, bases, offset| cies.get(section, bases, offset)));
        let entry = match entry {
            Ok(entry) => entry,
            Err(gimli::Error::NotCiePointer(_)) => continue, // a common entry
            Err(_) => {
                stats.broken_entries += 1;
                continue;
            }
        };
        let (start, end) = (entry.initial_address(), entry.end_address());
        // Linkers leave entries of functions they dropped: at address 0, or of no length.
        let area = code.partition_point(|code| code.end <= start);
        if !code.get(area).is_some_and(|code| code.contains(&start)) || end <= start {
            stats.entries_outside_code += 1;
            continue;
        }
        // Fits: a section is far smaller than 4 GiB.
        list.push(Entry { start, end, offset: offset as u32, source });
    }
    stats.broken_entries += u64::from(starts.is_broken);
    list
}

/// The offsets at which the section's entries begin, up to the first length that leads outside.
#[derive(Clone)]
struct Starts<'a> {
    bytes: &'a [u8],
    at: usize,
    end_is_known: bool,
    /// Whether such a length was met.
    is_broken: bool,
}

impl Starts<'_> {
    fn number<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.bytes.get(at..)?.first_chunk().copied()
    }
}

impl Iterator for Starts<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let mut length = u32::from_le_bytes(self.number(self.at)?);
        while length == 0 && self.end_is_known {
            self.at += 4;
            length = u32::from_le_bytes(self.number(self.at)?);
        }
        if length == 0 {
            return None;
        }
        let start = self.at;
        let (header, length) = match length {
            u32::MAX => (12, self.number(start + 4).map_or(u64::MAX, u64::from_le_bytes)),
            length => (4, u64::from(length)),
        };
        let end = (start as u64 + header).checked_add(length).filter(|&end| end <= self.bytes.len() as u64);
        self.is_broken = end.is_none();
        // Fits: it lies in the section. Behind a broken one there is nothing to go on.
        self.at = end.map_or(self.bytes.len(), |end| end as usize);
        end.map(|_| start)
    }
}

/// All entries by address. What a source describes is left to it by those after it.
pub(super) fn merge<const N: usize>(sources: [Vec<Entry>; N]) -> Vec<Entry> {
    let mut merged: Vec<Entry> = Vec::new();
    for source in sources {
        let is_free = |entry: &Entry| {
            let after = merged.partition_point(|other| other.start < entry.end);
            after.checked_sub(1).is_none_or(|last| merged[last].end <= entry.start)
        };
        let free: Vec<Entry> =
            source.into_iter().filter(|entry| merged.is_empty() || is_free(entry)).collect();
        merged.extend(free);
        merged.sort_unstable();
    }
    merged
}
