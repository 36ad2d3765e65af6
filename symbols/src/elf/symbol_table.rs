//! Where a few functions of given names lie.

use std::collections::BTreeMap;
use std::ops::Range;

use object::elf::{SHN_UNDEF, STT_FUNC, STT_GNU_IFUNC, STT_NOTYPE, Sym64};
use object::endian::LittleEndian;

use super::image::{ENDIAN, ElfError, Image, records_of};
use super::sections::{Section, Sections};

/// 11 million symbols, or their names; those of whole browsers with debug info are near it.
const TABLE_AT_MOST: u64 = 256 * 1024 * 1024;
/// Tables are read in pieces of this size: whole ones would be the most memory that the agent ever takes.
const PIECE: usize = 256 * 1024;
/// Names that are wanted, in a table of names: a file has each of them once or twice.
const PLACES_AT_MOST: usize = 4096;

/// A function of a wanted name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) addresses: Range<u64>,
}

/// The functions of these exact names (versions and the like stripped) that the file defines, by `.symtab` and `.dynsym`.
/// A table that is missing, broken or too large has none.
pub(crate) fn functions(image: &Image<'_>, sections: &Sections, wanted: &[&'static str]) -> Vec<Function> {
    let mut found = Vec::new();
    for table in [".symtab", ".dynsym"] {
        if let Err(error) = functions_of(image, sections, table, wanted, &mut found) {
            tracing::debug!(%error, "symbols that end stacks are not looked up in {table}");
        }
    }
    found
}

fn functions_of(
    image: &Image<'_>,
    sections: &Sections,
    table: &'static str,
    wanted: &[&'static str],
    found: &mut Vec<Function>,
) -> Result<(), ElfError> {
    let Some(section) = sections.stored(table) else { return Ok(()) };
    let Some(names) = sections.linked(section) else { return Ok(()) };
    let places = places_of(image, names, wanted, PIECE)?;
    if places.is_empty() {
        return Ok(());
    }
    let mut symbols = Vec::new();
    each(image, section, |symbol| {
        if let Ok(at) = places.binary_search_by_key(&symbol.st_name.get(ENDIAN), |(place, _)| *place) {
            symbols.push((places[at].1, symbol.st_value.get(ENDIAN), symbol.st_size.get(ENDIAN)));
        }
    })?;
    let ends = starts_after(image, section, symbols.iter().filter(|(.., size)| *size == 0))?;
    for (name, start, size) in symbols {
        let end = match ends.get(&start).filter(|_| size == 0) {
            Some(next) => *next,
            None => start.saturating_add(size),
        };
        let function = Function { name, addresses: start..end };
        if !found.contains(&function) {
            found.push(function);
        }
    }
    Ok(())
}

/// Where in a table of names the wanted ones stand, in order. A name may be the end of another one.
fn places_of(
    image: &Image<'_>,
    names: &Section,
    wanted: &[&'static str],
    piece: usize,
) -> Result<Vec<(u32, &'static str)>, ElfError> {
    let wanted = Wanted::new(wanted);
    // What begins in a piece may end in the next one.
    let beyond = wanted.longest() + SUFFIX.len();
    let mut places = Vec::new();
    names.pieces(image, (piece, beyond), TABLE_AT_MOST, "symbol names", |offset, bytes| {
        for end in memchr::memchr2_iter(0, b'@', bytes) {
            for (at, name) in wanted.ending(bytes, end).filter(|(at, _)| *at < piece) {
                places.push(((offset + at as u64) as u32, name));
            }
        }
        if places.len() > PLACES_AT_MOST {
            return Err(ElfError::Strange { path: image.path.to_owned(), what: "symbol names" });
        }
        Ok(())
    })?;
    places.sort_unstable();
    Ok(places)
}

/// Names to look for at the end of each text of a table, of which there are some dozens of times fewer than bytes: the last
/// two bytes tell nearly always that none is there.
struct Wanted<'a> {
    names: &'a [&'static str],
    ends: Box<[bool; 1 << 16]>,
}

impl<'a> Wanted<'a> {
    fn new(names: &'a [&'static str]) -> Self {
        let mut ends = Box::new([false; 1 << 16]);
        for name in names {
            ends[end(name.as_bytes()).unwrap_or_default()] = true;
        }
        Self { names, ends }
    }

    fn longest(&self) -> usize {
        self.names.iter().map(|name| name.len()).max().unwrap_or(0)
    }

    /// The names that end where a text or what is before its version does, with where they begin; with what Go puts behind
    /// names of assembly, or without.
    fn ending<'b>(&'b self, bytes: &'b [u8], at: usize) -> impl Iterator<Item = (usize, &'static str)> + 'b {
        let text = &bytes[..at];
        let without_suffix = text.strip_suffix(SUFFIX).filter(|_| bytes[at] == 0);
        [Some(text), without_suffix].into_iter().flatten().flat_map(|text| {
            let may_be = end(text).is_some_and(|end| self.ends[end]);
            let names = if may_be { self.names } else { &[] };
            let found = names.iter().filter(|name| text.ends_with(name.as_bytes()));
            found.map(|name| (text.len() - name.len(), *name))
        })
    }
}

/// The last two bytes as a number.
fn end(bytes: &[u8]) -> Option<usize> {
    let [.., a, b] = bytes else { return None };
    Some(usize::from(*a) << 8 | usize::from(*b))
}

/// Gives each function's symbol of a table to `take`.
fn each(
    image: &Image<'_>,
    table: &Section,
    mut take: impl FnMut(&Sym64<LittleEndian>),
) -> Result<(), ElfError> {
    let whole = PIECE - PIECE % size_of::<Sym64<LittleEndian>>();
    table.pieces(image, (whole, 0), TABLE_AT_MOST, "symbol table", |_, bytes| {
        records_of(bytes).iter().filter(|symbol| is_function(symbol)).for_each(&mut take);
        Ok(())
    })
}

fn is_function(symbol: &Sym64<LittleEndian>) -> bool {
    matches!(symbol.st_type(), STT_FUNC | STT_NOTYPE | STT_GNU_IFUNC)
        && symbol.st_shndx.get(ENDIAN) != SHN_UNDEF
        && symbol.st_value.get(ENDIAN) != 0
}

/// What Go puts behind the names of assembly.
const SUFFIX: &[u8] = b".abi0";

/// Assembly often gives no size: such a function goes on to the next one. The ends of these, by their starts.
fn starts_after<'a>(
    image: &Image<'_>,
    table: &Section,
    without_size: impl Iterator<Item = &'a (&'static str, u64, u64)>,
) -> Result<BTreeMap<u64, u64>, ElfError> {
    let mut ends: BTreeMap<u64, u64> = without_size.map(|(_, start, _)| (*start, u64::MAX)).collect();
    if !ends.is_empty() {
        each(image, table, |symbol| {
            let start = symbol.st_value.get(ENDIAN);
            // Of those that begin before it only the last one can end here: the others end where that one begins.
            if let Some((_, end)) = ends.range_mut(..start).next_back() {
                *end = start.min(*end);
            }
        })?;
    }
    for (start, end) in &mut ends {
        *end = if *end == u64::MAX { start.saturating_add(1) } else { *end };
    }
    Ok(ends)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::Headers;
    use std::{fs::File, path::Path};

    #[test]
    fn names_are_found_however_the_table_is_cut() {
        let path = std::env::current_exe().unwrap();
        let file = File::open(&path).unwrap();
        let image = Image::new(&file, Path::new("self")).unwrap();
        let sections = Headers::read(&image).unwrap().sections(&image).unwrap();
        let names = sections.linked(sections.stored(".dynsym").unwrap()).unwrap();
        let wanted = ["malloc", "free", "__errno_location"];
        let whole = places_of(&image, names, &wanted, PIECE).unwrap();
        assert!(wanted.iter().all(|name| whole.iter().any(|(_, found)| found == name)), "{whole:?}");
        for piece in [1, 7, 64, 1000] {
            assert_eq!(places_of(&image, names, &wanted, piece).unwrap(), whole, "pieces of {piece}");
        }
    }

    #[test]
    fn names_end_where_texts_versions_and_gos_suffix_do() {
        let table = b"\0__clone\0_start@@V1\0start.abi0\0start.abi0@V\0_startle\0";
        let wanted = Wanted::new(&["clone", "_start", "start"]);
        let ends = memchr::memchr2_iter(0, b'@', table);
        let found: Vec<_> = ends.flat_map(|end| wanted.ending(table, end)).collect();
        let at = |text: &str| table.windows(text.len()).position(|window| window == text.as_bytes()).unwrap();
        let expected = [
            (at("clone"), "clone"),
            (at("_start@"), "_start"),
            (at("start@"), "start"),
            (at("start.abi0\0"), "start"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_function_without_size_ends_where_the_next_one_begins() {
        let path = std::env::current_exe().unwrap();
        let file = File::open(&path).unwrap();
        let image = Image::new(&file, Path::new("self")).unwrap();
        let sections = Headers::read(&image).unwrap().sections(&image).unwrap();
        let table = sections.stored(".symtab").unwrap();
        let mut starts = Vec::new();
        each(&image, table, |symbol| starts.push(symbol.st_value.get(ENDIAN))).unwrap();
        starts.sort_unstable();
        starts.dedup();
        let asked: Vec<_> = starts.iter().step_by(50).map(|start| ("", *start, 0)).collect();
        let ends = starts_after(&image, table, asked.iter()).unwrap();
        assert!(asked.len() > 10 && ends.len() == asked.len());
        for (start, end) in ends {
            let next = starts.iter().find(|other| **other > start).copied().unwrap_or(start + 1);
            assert_eq!(end, next, "{start:#x}");
        }
    }
}
