//! Where a few functions of given names lie.

use std::ops::Range;

use object::elf::{SHN_UNDEF, STT_FUNC, STT_GNU_IFUNC, STT_NOTYPE, Sym64};
use object::endian::LittleEndian;

use super::image::{ENDIAN, ElfError, Image, records_of};
use super::sections::Sections;

/// 2.8 million symbols; the largest tables known, of whole browsers, are near it. Held only while they are searched.
const TABLE_AT_MOST: u64 = 64 * 1024 * 1024;

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
    let bytes = section.bytes(image, TABLE_AT_MOST, "symbol table")?;
    let names = names.bytes(image, TABLE_AT_MOST, "symbol names")?;
    let symbols = records_of::<Sym64<LittleEndian>>(&bytes);
    for symbol in symbols.iter().filter(|symbol| is_function(symbol)) {
        let name = names.get(symbol.st_name.get(ENDIAN) as usize..).unwrap_or_default();
        let Some(name) = wanted.iter().find(|wanted| is_named(name, wanted)) else { continue };
        let start = symbol.st_value.get(ENDIAN);
        let end = match symbol.st_size.get(ENDIAN) {
            0 => start_after(symbols, start),
            size => start.saturating_add(size),
        };
        let function = Function { name, addresses: start..end };
        if !found.contains(&function) {
            found.push(function);
        }
    }
    Ok(())
}

fn is_function(symbol: &Sym64<LittleEndian>) -> bool {
    matches!(symbol.st_type(), STT_FUNC | STT_NOTYPE | STT_GNU_IFUNC)
        && symbol.st_shndx.get(ENDIAN) != SHN_UNDEF
        && symbol.st_value.get(ENDIAN) != 0
}

/// Whether the string table's text at a symbol's name is `wanted`, with or without a version, or with the suffix that
/// Go gives to assembly.
fn is_named(text: &[u8], wanted: &str) -> bool {
    let rest = text.strip_prefix(wanted.as_bytes());
    rest.is_some_and(|rest| matches!(rest.first(), Some(0 | b'@')) || rest.starts_with(b".abi0\0"))
}

/// Assembly often gives no size: such a function goes on to the next one.
fn start_after(symbols: &[Sym64<LittleEndian>], start: u64) -> u64 {
    let starts =
        symbols.iter().filter(|symbol| is_function(symbol)).map(|symbol| symbol.st_value.get(ENDIAN));
    starts.filter(|&other| other > start).min().unwrap_or(start.saturating_add(1))
}
