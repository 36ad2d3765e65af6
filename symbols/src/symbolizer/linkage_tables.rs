//! Names of the entries of procedure linkage tables, such as `printf@plt`.
//!
//! Symbol tables do not have them, and whoever takes the nearest symbol names them after what lies before the table.
//! An entry jumps through a slot of the global offset table; a relocation says whose address the slot gets.
//!
//! Formats: x86-64 psABI, sections 5.2 and 4.4.1; the instructions: Intel SDM, volume 2.

use std::fs::File;
use std::ops::Range;
use std::path::Path;

use object::elf::{R_X86_64_GLOB_DAT, R_X86_64_JUMP_SLOT, Rela64, SHT_RELA, Sym64};
use object::endian::LittleEndian;
use rustc_hash::FxHashMap;

use super::Name;
use super::demangle::demangle;
use crate::elf::image::{ENDIAN, Image, records_of};
use crate::elf::sections::{Section, Sections};
use crate::elf::{ElfError, Headers};

const TABLES: [&[u8]; 3] = [b".plt", b".plt.sec", b".plt.got"];
/// 65,536 entries. The largest libraries have some ten thousand.
const TABLE_AT_MOST: u64 = 1 << 20;
/// Relocations of the slots are few, but with them come those of all other data: of browsers some 20 MiB.
const RELOCATIONS_AT_MOST: u64 = 64 << 20;
/// As many as the largest libraries export.
const SYMBOLS_AT_MOST: u64 = 64 << 20;
/// Of one name; mangled ones of nested templates reach some thousand bytes.
const NAME_AT_MOST: usize = 4096;
/// Bytes of an entry, but for those of .plt.got: see [`entry_bytes`].
const ENTRY_BYTES: u64 = 16;

const ENDBR64: &[u8] = &[0xf3, 0x0f, 0x1e, 0xfa];
/// The prefix `bnd`.
const BND: &[u8] = &[0xf2];
/// `push distance(%rip)`, without the distance: a lazy table's first entry, which all others go on with while their slots
/// have not been filled.
const PUSH_FROM: &[u8] = &[0xff, 0x35];
/// Where that entry jumps to. Its slot is filled by the loader, without a relocation.
const RESOLVER: &str = "_dl_runtime_resolve";
/// `jmp *distance(%rip)`, without the distance.
const JUMP_THROUGH: &[u8] = &[0xff, 0x25];

/// The tables of one file.
#[derive(Default)]
pub(super) struct LinkageTables {
    ranges: Vec<Range<u64>>,
    /// Read when the first address in a table is asked for.
    tables: Option<Vec<Table>>,
}

struct Table {
    start: u64,
    entry_bytes: u64,
    /// What the entries jump to, in their order.
    targets: Vec<Option<Box<str>>>,
}

impl LinkageTables {
    /// Where the tables lie.
    pub(super) fn of(sections: &Sections) -> Self {
        let ranges = tables_in(sections).map(|table| table.address..table.address.saturating_add(table.size));
        Self { ranges: ranges.collect(), tables: None }
    }

    /// Gives those of the addresses that lie in a table the entry's name instead of any other; none where the entry's
    /// target has no name.
    pub(super) fn rename(&mut self, file: &File, path: &Path, vaddrs: &[u64], names: &mut [Vec<Name>]) {
        for (vaddr, names) in vaddrs.iter().zip(names) {
            if self.ranges.iter().any(|range| range.contains(vaddr)) {
                let tables = self.tables.get_or_insert_with(|| {
                    read(file, path).unwrap_or_else(|error| {
                        tracing::debug!(%error, "entries of the procedure linkage table have no names");
                        Vec::new()
                    })
                });
                *names = tables.iter().find_map(|table| table.name_at(*vaddr)).into_iter().collect();
            }
        }
    }
}

impl Table {
    fn name_at(&self, vaddr: u64) -> Option<Name> {
        let number = vaddr.checked_sub(self.start)? / self.entry_bytes;
        let target = self.targets.get(number as usize)?.as_deref()?;
        Some(Name {
            function: format!("{}@plt", demangle(target)),
            system_name: format!("{target}@plt"),
            ..Name::default()
        })
    }
}

fn tables_in(sections: &Sections) -> impl Iterator<Item = &Section> {
    sections.iter().filter(|section| TABLES.contains(&&*section.name) && section.is_stored())
}

fn read(file: &File, path: &Path) -> Result<Vec<Table>, ElfError> {
    let image = Image::new(file, path)?;
    let sections = Headers::read(&image)?.sections(&image)?;
    let slots = slots(&image, &sections)?;
    tables_in(&sections)
        .map(|section| {
            let code = section.bytes(&image, TABLE_AT_MOST, "procedure linkage table")?;
            let entry_bytes = entry_bytes(section, &code);
            let starts = (section.address..).step_by(entry_bytes as usize);
            let entries = code.chunks(entry_bytes as usize).zip(starts);
            let target = |(code, start): (&[u8], u64)| match code.starts_with(PUSH_FROM) {
                true => Some(RESOLVER.into()),
                false => slots.get(&slot(code, start)?).cloned(),
            };
            let targets = entries.map(target).collect();
            Ok(Table { start: section.address, entry_bytes, targets })
        })
        .collect()
}

/// Entries of .plt.got are half as long, unless they begin with `endbr64`.
fn entry_bytes(section: &Section, code: &[u8]) -> u64 {
    if section.name == b".plt.got" && !code.starts_with(ENDBR64) { ENTRY_BYTES / 2 } else { ENTRY_BYTES }
}

/// Address of the slot that an entry jumps through.
fn slot(code: &[u8], start: u64) -> Option<u64> {
    let rest = code.strip_prefix(ENDBR64).unwrap_or(code);
    let rest = rest.strip_prefix(BND).unwrap_or(rest);
    let distance = rest.strip_prefix(JUMP_THROUGH)?.first_chunk()?;
    let next = start.wrapping_add((code.len() - rest.len()) as u64 + 6);
    Some(next.wrapping_add_signed(i32::from_le_bytes(*distance).into()))
}

/// The names of the symbols whose addresses slots get, by slot.
fn slots(image: &Image<'_>, sections: &Sections) -> Result<FxHashMap<u64, Box<str>>, ElfError> {
    let mut slots = FxHashMap::default();
    let Some(symbols) = sections.stored(".dynsym") else { return Ok(slots) };
    let Some(names) = sections.linked(symbols) else { return Ok(slots) };
    let symbols = symbols.bytes(image, SYMBOLS_AT_MOST, "dynamic symbols")?;
    let symbols = records_of::<Sym64<LittleEndian>>(&symbols);
    let names = names.bytes(image, SYMBOLS_AT_MOST, "names of dynamic symbols")?;
    for section in sections.iter().filter(|section| section.kind == SHT_RELA && section.is_stored()) {
        if sections.linked(section).is_none_or(|linked| linked.name != b".dynsym") {
            continue;
        }
        let relocations = section.bytes(image, RELOCATIONS_AT_MOST, "relocations")?;
        for relocation in records_of::<Rela64<LittleEndian>>(&relocations) {
            let kind = relocation.r_type(ENDIAN, false);
            if !matches!(kind, R_X86_64_JUMP_SLOT | R_X86_64_GLOB_DAT) {
                continue;
            }
            let Some(symbol) = symbols.get(relocation.r_sym(ENDIAN, false) as usize) else { continue };
            let text = names.get(symbol.st_name.get(ENDIAN) as usize..).unwrap_or_default();
            let name = text.iter().take(NAME_AT_MOST).position(|&byte| byte == 0);
            let name = name.and_then(|end| str::from_utf8(&text[..end]).ok()).unwrap_or_default();
            if !name.is_empty() {
                slots.insert(relocation.r_offset.get(ENDIAN), name.into());
            }
        }
    }
    Ok(slots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_every_form_lead_to_their_slots() {
        let jump = [JUMP_THROUGH, &0x100i32.to_le_bytes()].concat();
        assert_eq!(slot(&jump, 0x1000), Some(0x1106));
        assert_eq!(slot(&[BND, &jump].concat(), 0x1000), Some(0x1107));
        assert_eq!(slot(&[ENDBR64, &jump].concat(), 0x1000), Some(0x110a));
        assert_eq!(slot(&[ENDBR64, BND, &jump].concat(), 0x1000), Some(0x110b));
        assert_eq!(slot(&[JUMP_THROUGH, &(-6i32).to_le_bytes()].concat(), 0x1000), Some(0x1000));
        assert_eq!(slot(&jump[..5], 0x1000), None);
        // push slot(%rip): a lazy table's first entry
        assert_eq!(slot(&[0xff, 0x35, 0, 0, 0, 0], 0x1000), None);
    }
}
