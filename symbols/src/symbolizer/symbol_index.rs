//! Names by symbol table: of a file's symbols only where they start is kept, eight bytes each, and what a look-up
//! needs beside that is read from the file. Nothing is mapped, and the largest programs take some megabytes.

use std::cmp::Reverse;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use object::elf::{SHN_ABS, SHN_UNDEF, STT_FUNC, STT_GNU_IFUNC, STT_NOTYPE, STT_OBJECT, Sym64};
use object::endian::LittleEndian;

use crate::elf::image::{ENDIAN, Image, records_of};
use crate::elf::sections::{Section, Sections};
use crate::elf::{ElfError, Headers};

/// 16 million symbols: more than memory for one file allows anyway.
const TABLE_AT_MOST: u64 = 384 << 20;
/// Tables are read in pieces of about this size.
const PIECE: usize = 256 * 1024;
/// Longer names are cut nowhere, but left alone: templates have some kilobytes.
const NAME_AT_MOST: usize = 64 * 1024;
/// Symbols that start at the same place and are looked at: aliases of a function are a handful.
const ALIASES_AT_MOST: usize = 64;

type Symbol = Sym64<LittleEndian>;
const SYMBOL_BYTES: usize = size_of::<Symbol>();

/// The symbols of a file.
pub(super) struct SymbolIndex(Vec<Table>);

/// One table of them.
struct Table {
    /// Start less `base`, then the number in the table: sorted.
    starts: Box<[u64]>,
    base: u64,
    /// Offsets in the file, and bytes of names.
    symbols: u64,
    names: u64,
    names_size: u64,
    is_dynamic: bool,
}

impl SymbolIndex {
    /// Reads the tables of an open file; a file without any has none.
    ///
    /// # Errors
    /// When the file is no ELF file, or a table lies outside of it or is out of all proportion.
    pub(super) fn read(file: &File, path: &Path) -> Result<Self, ElfError> {
        let image = Image::new(file, path)?;
        let sections = Headers::read(&image)?.sections(&image)?;
        let mut tables = Vec::new();
        for name in [".symtab", ".dynsym"] {
            if let Some(section) = sections.stored(name) {
                tables.extend(Table::read(&image, &sections, section, name == ".dynsym")?);
            }
        }
        Ok(Self(tables))
    }

    /// The name of the function at an ELF virtual address of the file, which is the one that this was read of.
    pub(super) fn name(&self, file: &File, vaddr: u64) -> Option<String> {
        self.0.iter().find_map(|table| table.name(file, vaddr))
    }
}

impl Table {
    fn read(
        image: &Image<'_>,
        sections: &Sections,
        section: &Section,
        is_dynamic: bool,
    ) -> Result<Option<Self>, ElfError> {
        let Some(names) = sections.linked(section) else { return Ok(None) };
        let mut base = u64::MAX;
        each(image, section, |_, symbol| base = base.min(symbol.st_value.get(ENDIAN)))?;
        let mut starts = Vec::with_capacity((section.size / SYMBOL_BYTES as u64).min(1 << 24) as usize);
        each(image, section, |number, symbol| {
            // Nobody has four gigabytes of code in one file.
            if let Ok(start) = u32::try_from(symbol.st_value.get(ENDIAN) - base) {
                starts.push(u64::from(start) << 32 | u64::from(number));
            }
        })?;
        starts.sort_unstable();
        let ((symbols, _), (names, names_size)) = (section.place(), names.place());
        Ok(Some(Self { starts: starts.into(), base, symbols, names, names_size, is_dynamic }))
    }

    fn name(&self, file: &File, vaddr: u64) -> Option<String> {
        let at = u32::try_from(vaddr.checked_sub(self.base)?).ok()?;
        let up_to = self.starts.partition_point(|entry| (entry >> 32) as u32 <= at);
        let start = self.starts.get(up_to.checked_sub(1)?)? >> 32;
        let nearest = self.starts[..up_to].iter().rev().take_while(|entry| *entry >> 32 == start);
        let nearest = nearest.take(ALIASES_AT_MOST).filter_map(|entry| self.symbol(file, *entry as u32));
        let nearest = nearest.filter(|symbol| self.covers(symbol, vaddr));
        // Of several the largest, then the one that comes last in the table: what others may call comes after what they may not.
        let symbol = nearest.min_by_key(|symbol| Reverse(symbol.st_size.get(ENDIAN)))?;
        self.text(file, symbol.st_name.get(ENDIAN).into())
    }

    /// A symbol without size goes on to the next one. In the table of what is exported, which leaves out most, nobody knows
    /// how far.
    fn covers(&self, symbol: &Symbol, vaddr: u64) -> bool {
        let (start, size) = (symbol.st_value.get(ENDIAN), symbol.st_size.get(ENDIAN));
        match size {
            0 => !self.is_dynamic || vaddr == start,
            size => vaddr < start.saturating_add(size),
        }
    }

    fn symbol(&self, file: &File, number: u32) -> Option<Symbol> {
        let mut bytes = [0; SYMBOL_BYTES];
        file.read_exact_at(&mut bytes, self.symbols + u64::from(number) * SYMBOL_BYTES as u64).ok()?;
        records_of::<Symbol>(&bytes).first().copied()
    }

    fn text(&self, file: &File, at: u64) -> Option<String> {
        let left = self.names_size.checked_sub(at)?.min(NAME_AT_MOST as u64) as usize;
        let mut bytes = vec![0; left.min(128)];
        loop {
            let size = bytes.len();
            file.read_exact_at(&mut bytes, self.names + at).ok()?;
            if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
                bytes.truncate(end);
                return String::from_utf8(bytes).ok().filter(|text| !text.is_empty());
            }
            if size == left {
                return None;
            }
            bytes.resize((size * 8).min(left), 0);
        }
    }
}

/// Gives each symbol of code or data that the file defines to `take`, with its number.
fn each(image: &Image<'_>, section: &Section, mut take: impl FnMut(u32, &Symbol)) -> Result<(), ElfError> {
    let whole = PIECE - PIECE % SYMBOL_BYTES;
    section.pieces(image, (whole, 0), TABLE_AT_MOST, "symbol table", |offset, bytes| {
        let first = (offset / SYMBOL_BYTES as u64) as u32;
        for (number, symbol) in (first..).zip(records_of::<Symbol>(bytes)) {
            let is_place = matches!(symbol.st_type(), STT_FUNC | STT_NOTYPE | STT_GNU_IFUNC | STT_OBJECT);
            let section = symbol.st_shndx.get(ENDIAN);
            if is_place && section != SHN_UNDEF && section != SHN_ABS {
                take(number, symbol);
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn this_program() -> (File, SymbolIndex) {
        let path = std::env::current_exe().unwrap();
        let file = File::open(&path).unwrap();
        let index = SymbolIndex::read(&file, &path).unwrap();
        (file, index)
    }

    /// Where a function of the symbol table begins and ends.
    fn place_of(file: &File, part: &str) -> (u64, u64) {
        let path = Path::new("self");
        let image = Image::new(file, path).unwrap();
        let sections = Headers::read(&image).unwrap().sections(&image).unwrap();
        let section = sections.stored(".symtab").unwrap();
        let table = Table::read(&image, &sections, section, false).unwrap().unwrap();
        let mut found = None;
        each(&image, section, |_, symbol| {
            let name = table.text(file, symbol.st_name.get(ENDIAN).into());
            if symbol.st_type() == STT_FUNC && name.is_some_and(|name| name.contains(part)) {
                found = Some((symbol.st_value.get(ENDIAN), symbol.st_size.get(ENDIAN)));
            }
        })
        .unwrap();
        found.unwrap()
    }

    #[test]
    fn a_function_is_found_from_its_first_byte_to_its_last() {
        let (file, index) = this_program();
        let (start, size) = place_of(&file, "a_function_is_found_from_its_first_byte_to_its_last");
        for (vaddr, inside) in
            [(start, true), (start + size - 1, true), (start - 1, false), (start + size, false)]
        {
            let name = index.name(&file, vaddr).unwrap_or_default();
            assert_eq!(name.contains("from_its_first_byte_to_its_last"), inside, "{vaddr:#x}: {name}");
        }
        assert_eq!(index.name(&file, 0), None);
        assert_eq!(index.name(&file, u64::MAX), None);
    }

    #[test]
    fn long_names_are_whole_and_broken_places_have_none() {
        let (file, index) = this_program();
        let table = &index.0[0];
        assert_eq!(table.text(&file, table.names_size), None);
        assert_eq!(table.text(&file, u64::MAX), None);
        let longest = (0..table.starts.len() as u32).filter_map(|number| {
            let symbol = table.symbol(&file, table.starts[number as usize] as u32)?;
            table.text(&file, symbol.st_name.get(ENDIAN).into())
        });
        assert!(longest.map(|name| name.len()).max().unwrap() > 128, "some name takes two reads");
    }

    #[test]
    fn a_cut_file_is_an_error() {
        let path = std::env::current_exe().unwrap();
        let whole = std::fs::read(&path).unwrap();
        for size in [0, 63, 4096, whole.len() / 2] {
            let mut cut = tempfile::tempfile().unwrap();
            std::io::Write::write_all(&mut cut, &whole[..size]).unwrap();
            assert!(SymbolIndex::read(&cut, &path).is_err(), "{size}");
        }
    }
}
