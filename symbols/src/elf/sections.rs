//! The section headers of an ELF file.

use std::ops::Range;

use object::elf::{
    FileHeader64, SHF_COMPRESSED, SHF_EXECINSTR, SHN_XINDEX, SHT_NOBITS, SHT_NOTE, SectionHeader64,
};
use object::endian::LittleEndian;

use super::image::{ENDIAN, ElfError, Image};
use super::notes;

/// Executables have some 30 to 100 sections.
const SECTIONS_AT_MOST: u64 = 4096;
/// The names of 4,096 sections, at 64 bytes each.
const SECTION_NAMES_AT_MOST: u64 = 256 * 1024;
/// Notes are some dozens of bytes.
const NOTE_AT_MOST: u64 = 64 * 1024;

pub(crate) struct Section {
    pub(crate) name: Vec<u8>,
    pub(crate) kind: u32,
    pub(crate) address: u64,
    offset: u64,
    pub(crate) size: u64,
    link: u32,
    flags: u64,
}

impl Section {
    /// Whether the file holds the section's bytes: files of split-off debug info have headers only.
    pub(crate) fn is_stored(&self) -> bool {
        self.kind != SHT_NOBITS && self.size > 0
    }

    pub(crate) fn is_compressed(&self) -> bool {
        self.flags & u64::from(SHF_COMPRESSED) != 0
    }

    pub(crate) fn bytes(
        &self,
        image: &Image<'_>,
        limit: u64,
        what: &'static str,
    ) -> Result<Vec<u8>, ElfError> {
        image.bytes(self.offset, self.size, limit, what)
    }

    /// Where it lies in the file, and its size.
    pub(crate) fn place(&self) -> (u64, u64) {
        (self.offset, self.size)
    }

    /// Gives its bytes to `take` in pieces of `piece` bytes, each with its offset in the section, and with up to `beyond` of
    /// those that follow it.
    pub(crate) fn pieces(
        &self,
        image: &Image<'_>,
        (piece, beyond): (usize, usize),
        limit: u64,
        what: &'static str,
        mut take: impl FnMut(u64, &[u8]) -> Result<(), ElfError>,
    ) -> Result<(), ElfError> {
        if self.size > limit {
            let path = image.path.to_owned();
            return Err(ElfError::TooLarge { path, what, size: self.size, limit });
        }
        // One buffer for all: a fresh one for each piece would be fresh pages each time.
        let mut buffer = vec![0; self.size.min((piece + beyond) as u64) as usize];
        for offset in (0..self.size).step_by(piece) {
            let size = (self.size - offset).min((piece + beyond) as u64) as usize;
            image.fill(self.offset.saturating_add(offset), &mut buffer[..size], what)?;
            take(offset, &buffer[..size])?;
        }
        Ok(())
    }

    /// The first `size` bytes.
    pub(crate) fn start(&self, image: &Image<'_>, size: u64) -> Result<Vec<u8>, ElfError> {
        image.bytes(self.offset, size.min(self.size), size, "start of a section")
    }
}

pub(crate) struct Sections(Vec<Section>);

impl Sections {
    /// All sections that the header names; none where the headers were stripped off.
    pub(crate) fn read(image: &Image<'_>, header: &FileHeader64<LittleEndian>) -> Result<Self, ElfError> {
        let (count, names) = (header.e_shnum.get(ENDIAN), header.e_shstrndx.get(ENDIAN));
        // Files of 65,280 sections and more hide their true number in the first one.
        if (count == 0 && header.e_shoff.get(ENDIAN) != 0) || names == SHN_XINDEX {
            return Err(ElfError::Strange { path: image.path.to_owned(), what: "number of sections" });
        }
        let headers: Vec<SectionHeader64<LittleEndian>> =
            image.records(header.e_shoff.get(ENDIAN), count.into(), SECTIONS_AT_MOST, "section headers")?;
        let names = match headers.get(usize::from(names)) {
            Some(names) => image.bytes(
                names.sh_offset.get(ENDIAN),
                names.sh_size.get(ENDIAN),
                SECTION_NAMES_AT_MOST,
                "section names",
            )?,
            None => Vec::new(),
        };
        Ok(Self(headers.iter().map(|header| section(header, &names)).collect()))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Section> {
        self.0.iter()
    }

    /// The section of this name, if the file holds its bytes.
    pub(crate) fn stored(&self, name: &str) -> Option<&Section> {
        self.iter().find(|section| section.name == name.as_bytes() && section.is_stored())
    }

    /// Where code lies, in ascending order.
    pub(crate) fn code(&self) -> Vec<Range<u64>> {
        let is_code = |section: &&Section| {
            section.is_stored() && section.flags & u64::from(SHF_EXECINSTR) != 0 && section.address != 0
        };
        let range = |section: &Section| section.address..section.address.saturating_add(section.size);
        let mut code: Vec<Range<u64>> = self.iter().filter(is_code).map(range).collect();
        code.sort_unstable_by_key(|code| code.start);
        code
    }

    /// The section that `section` refers to: of a symbol table, its names.
    pub(crate) fn linked(&self, section: &Section) -> Option<&Section> {
        self.0.get(section.link as usize).filter(|linked| linked.is_stored())
    }

    pub(crate) fn build_id(&self, image: &Image<'_>) -> Option<String> {
        self.iter()
            .filter(|section| section.kind == SHT_NOTE)
            .find_map(|section| notes::build_id(&section.bytes(image, NOTE_AT_MOST, "note").ok()?))
    }
}

fn section(header: &SectionHeader64<LittleEndian>, names: &[u8]) -> Section {
    let name = names.get(header.sh_name.get(ENDIAN) as usize..).unwrap_or_default();
    Section {
        name: name.split(|&byte| byte == 0).next().unwrap_or_default().to_vec(),
        kind: header.sh_type.get(ENDIAN),
        address: header.sh_addr.get(ENDIAN),
        offset: header.sh_offset.get(ENDIAN),
        size: header.sh_size.get(ENDIAN),
        link: header.sh_link.get(ENDIAN),
        flags: header.sh_flags.get(ENDIAN),
    }
}
