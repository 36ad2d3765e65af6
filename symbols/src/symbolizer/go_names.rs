//! Names of Go's functions by Go's own table, which stripped programs have, too.

use std::fs::File;
use std::path::Path;

use super::Name;
use crate::elf::image::Image;
use crate::elf::sections::Sections;
use crate::elf::{ElfError, Headers};
use crate::unwind_rows::go_functions::{self, GoFunctions};

/// Names of the section, in fixed and in position-independent programs.
const SECTIONS: [&str; 2] = [".gopclntab", ".data.rel.ro.gopclntab"];
/// Twice that of the largest programs known. Held only while names are looked up.
const TABLE_AT_MOST: u64 = 128 << 20;
/// Of one name.
const NAME_AT_MOST: usize = 4096;

/// Whether the file has such a table.
pub(super) fn is_there(sections: &Sections) -> bool {
    SECTIONS.iter().any(|name| sections.stored(name).is_some())
}

/// Fills in the names of those addresses that have none.
pub(super) fn fill(file: &File, path: &Path, vaddrs: &[u64], names: &mut [Vec<Name>]) {
    if names.iter().all(|names| !names.is_empty()) {
        return;
    }
    if let Err(error) = try_fill(file, path, vaddrs, names) {
        tracing::debug!(%error, "Go's functions have no names");
    }
}

fn try_fill(file: &File, path: &Path, vaddrs: &[u64], names: &mut [Vec<Name>]) -> Result<(), ElfError> {
    let image = Image::new(file, path)?;
    let sections = Headers::read(&image)?.sections(&image)?;
    let Some(section) = SECTIONS.iter().find_map(|name| sections.stored(name)) else { return Ok(()) };
    let bytes = section.bytes(&image, TABLE_AT_MOST, ".gopclntab")?;
    let text_start = go_functions::text_start(&image, &sections);
    let Some(functions) = GoFunctions::parse(&bytes, text_start) else { return Ok(()) };
    for (vaddr, names) in vaddrs.iter().zip(names).filter(|(_, names)| names.is_empty()) {
        let Some((function, file, line)) = functions.name_at(*vaddr) else { continue };
        let shown =
            |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(NAME_AT_MOST)]).into_owned();
        let function = shown(function);
        names.push(Name { system_name: function.clone(), function, file: shown(file), line, inlined: false });
    }
    Ok(())
}
