//! What an ELF file says of itself: its build ID and where its code lies.
//!
//! Format: System V ABI, chapters 4 and 5, with the x86-64 supplement.

pub(crate) mod image;
pub(crate) mod notes;
pub(crate) mod sections;
pub(crate) mod symbol_table;

use std::fs::File;
use std::path::Path;

use object::elf::{
    ELFCLASS64, ELFDATA2LSB, ELFMAG, EM_X86_64, FileHeader64, PF_X, PT_GNU_EH_FRAME, PT_LOAD, PT_NOTE,
    ProgramHeader64,
};
use object::endian::LittleEndian;

pub use image::ElfError;
use image::{ENDIAN, Image};
use sections::Sections;

/// Executables have about a dozen program headers.
const PROGRAM_HEADERS_AT_MOST: u64 = 4096;
/// Notes are some dozens of bytes.
const NOTE_AT_MOST: u64 = 64 * 1024;

/// What the headers and notes of an ELF file say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFacts {
    build_id: Option<String>,
    entry: u64,
    segments: Box<[Segment]>,
}

/// A stretch of the file that is loaded as code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it starts in the file, in bytes.
    pub file_offset: u64,
    /// The ELF virtual address of its start.
    pub vaddr: u64,
    /// Its size in the file, in bytes.
    pub size: u64,
}

impl FileFacts {
    /// The facts of the file at `path`.
    pub fn open(path: &Path) -> Result<Self, ElfError> {
        Self::read(&image::open(path)?, path)
    }

    /// The facts of an open file; `path` only serves error messages.
    pub fn read(file: &File, path: &Path) -> Result<Self, ElfError> {
        let image = Image::new(file, path)?;
        let headers = Headers::read(&image)?;
        Ok(Self {
            build_id: headers.build_id(&image),
            entry: headers.file.e_entry.get(ENDIAN),
            segments: headers.code_segments().collect(),
        })
    }

    /// The GNU build ID in lower-case hex.
    pub fn build_id(&self) -> Option<&str> {
        self.build_id.as_deref()
    }

    /// Where the process starts: address of the first instruction; 0 where the file is no program.
    pub fn entry(&self) -> u64 {
        self.entry
    }

    /// The stretches of the file that are loaded as code.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The ELF virtual address of the code at this offset of the file; none where no code is loaded from.
    pub fn vaddr_of(&self, file_offset: u64) -> Option<u64> {
        self.segments.iter().find_map(|segment| {
            let within = file_offset.checked_sub(segment.file_offset)?;
            (within < segment.size).then(|| segment.vaddr.wrapping_add(within))
        })
    }

    /// Where in the file the code at this ELF virtual address lies, and how many bytes from there to the end of
    /// its segment.
    pub fn file_range_of(&self, vaddr: u64) -> Option<(u64, u64)> {
        self.segments.iter().find_map(|segment| {
            let within = vaddr.checked_sub(segment.vaddr)?;
            let rest = segment.size.checked_sub(within).filter(|&rest| rest > 0)?;
            Some((segment.file_offset.checked_add(within)?, rest))
        })
    }
}

/// The file header and the program headers, checked for class, byte order and machine.
pub(crate) struct Headers {
    pub(crate) file: FileHeader64<LittleEndian>,
    programs: Vec<ProgramHeader64<LittleEndian>>,
}

impl Headers {
    pub(crate) fn read(image: &Image<'_>) -> Result<Self, ElfError> {
        let not_elf = || ElfError::NotElf { path: image.path.to_owned() };
        let header: Vec<FileHeader64<LittleEndian>> =
            image.records(0, 1, 1, "ELF header").map_err(|error| match error {
                ElfError::Outside { .. } => not_elf(),
                other => other,
            })?;
        let file = *header.first().ok_or_else(not_elf)?;
        if file.e_ident.magic != ELFMAG {
            return Err(not_elf());
        }
        let (class, order) = (file.e_ident.class, file.e_ident.data);
        let machine = file.e_machine.get(ENDIAN);
        if (class, order, machine) != (ELFCLASS64, ELFDATA2LSB, EM_X86_64) {
            return Err(ElfError::Foreign { path: image.path.to_owned(), class, order, machine });
        }
        let count = u64::from(file.e_phnum.get(ENDIAN));
        let offset = file.e_phoff.get(ENDIAN);
        let programs = image.records(offset, count, PROGRAM_HEADERS_AT_MOST, "program headers")?;
        Ok(Self { file, programs })
    }

    pub(crate) fn sections(&self, image: &Image<'_>) -> Result<Sections, ElfError> {
        Sections::read(image, &self.file)
    }

    fn of_kind(&self, kind: u32) -> impl Iterator<Item = &ProgramHeader64<LittleEndian>> {
        self.programs.iter().filter(move |program| program.p_type.get(ENDIAN) == kind)
    }

    fn code_segments(&self) -> impl Iterator<Item = Segment> {
        self.of_kind(PT_LOAD).filter(|program| program.p_flags.get(ENDIAN) & PF_X != 0).map(segment)
    }

    /// The segment of .eh_frame_hdr.
    pub(crate) fn eh_frame_hdr(&self) -> Option<Segment> {
        self.of_kind(PT_GNU_EH_FRAME).next().map(segment)
    }

    /// The loaded segment this address lies in, code or not.
    pub(crate) fn loaded_segment_of(&self, vaddr: u64) -> Option<Segment> {
        self.of_kind(PT_LOAD)
            .map(segment)
            .find(|segment| vaddr.checked_sub(segment.vaddr).is_some_and(|within| within < segment.size))
    }

    fn build_id(&self, image: &Image<'_>) -> Option<String> {
        let in_segments = self.of_kind(PT_NOTE).take(64).find_map(|program| {
            let Segment { file_offset, size, .. } = segment(program);
            notes::build_id(&image.bytes(file_offset, size, NOTE_AT_MOST, "note").ok()?)
        });
        // Files of split-off debug info keep the note's section, but their segments point nowhere.
        in_segments.or_else(|| self.sections(image).ok()?.build_id(image))
    }
}

fn segment(program: &ProgramHeader64<LittleEndian>) -> Segment {
    Segment {
        file_offset: program.p_offset.get(ENDIAN),
        vaddr: program.p_vaddr.get(ENDIAN),
        size: program.p_filesz.get(ENDIAN),
    }
}
