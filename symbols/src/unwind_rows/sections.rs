//! The parts of a file that hold call frame information, and where its code lies.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use gimli::{BaseAddresses, EhFrameHdr, LittleEndian, SectionBaseAddresses};
use object::elf::{ELFCOMPRESS_ZLIB, ELFCOMPRESS_ZSTD};
use profiler_unwind::table::BLOCK_BYTES;
use sha2::{Digest, Sha256};

use super::go_functions::{self, GoFunctions};
use super::{Stats, UnwindRowsError, evaluate, followed};
use crate::elf::image::{ElfError, Image};
use crate::elf::sections::{Section, Sections};
use crate::elf::{FileFacts, Headers, Segment};

/// Each of .eh_frame and .debug_frame above this is refused: four times that of the largest known server or browser.
const SECTION_AT_MOST: u64 = 128 * 1024 * 1024;
/// Names of the section of Go's functions, in fixed and in position-independent programs.
const GO_FUNCTIONS: [&str; 2] = [".gopclntab", ".data.rel.ro.gopclntab"];
/// Code above this is not covered: an index of 4 MiB.
const CODE_AT_MOST: u64 = 2 << 30;

/// Code without call frame information that is followed, of one file: several times what the largest media library has.
const FOLLOWED_AT_MOST: u64 = 16 << 20;

/// All of a file that its table is made of: read, and not yet compiled.
pub struct CallFrameInfo {
    pub(super) eh_frame: Vec<u8>,
    /// Whether the section's end is known. Where it is not, a zero length ends it.
    pub(super) eh_frame_end_is_known: bool,
    pub(super) debug_frame: Vec<u8>,
    /// Go's table of functions; empty in other programs.
    pub(super) go_functions: Vec<u8>,
    /// The code of those of Go's functions that change stacks.
    pub(super) switching: Vec<CodePart>,
    /// Where Go's code starts, if it is known without Go's table saying so.
    pub(super) go_text_start: Option<u64>,
    pub(super) bases: BaseAddresses,
    /// Where code lies, in ascending order; no two share a block.
    pub(super) code: Vec<Range<u64>>,
    /// Code that none of the above describes, in ascending order.
    pub(super) undescribed: Vec<CodePart>,
}

/// A stretch of code, read.
pub(super) struct CodePart {
    pub(super) start: u64,
    pub(super) bytes: Vec<u8>,
}

/// What tells one file's call frame information from any other's: a SHA-256 over everything that a table is made of.
///
/// Not the build ID: anyone can write one into a file, and a file that is patched keeps its own. Nor device, inode and
/// times: a file system of a user's own making says what it likes. Two files of one fingerprint have one table, whoever
/// made them; so copies of a library in many containers share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl fmt::Display for Fingerprint {
    /// Lower-case hex.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl CallFrameInfo {
    /// Bytes of all that rows are made from: what compiling costs goes by it.
    pub fn size(&self) -> usize {
        let code: usize = self.undescribed.iter().map(|code| code.bytes.len()).sum();
        self.eh_frame.len() + self.debug_frame.len() + self.go_functions.len() + code
    }

    /// The fingerprint; costs far less than compiling.
    pub fn fingerprint(&self) -> Fingerprint {
        // Every field, so that nobody adds one and forgets it here.
        let Self {
            eh_frame,
            eh_frame_end_is_known,
            debug_frame,
            go_functions,
            switching,
            go_text_start,
            bases,
            code,
            undescribed,
        } = self;
        let SectionBaseAddresses { section, text: base, data } = bases.eh_frame;
        let addresses = [section, base, data].map(Option::unwrap_or_default);
        let parts = [switching, undescribed];
        let sizes =
            [eh_frame.len(), debug_frame.len(), go_functions.len(), code.len()].map(|size| size as u64);
        let counts = parts.map(|parts| parts.len() as u64);
        let code = code.iter().flat_map(|code| [code.start, code.end]);
        let rest = [go_text_start.unwrap_or_default(), u64::from(*eh_frame_end_is_known)];
        let mut hash = Sha256::new();
        for number in sizes.into_iter().chain(counts).chain(addresses).chain(rest).chain(code) {
            hash.update(number.to_le_bytes());
        }
        for bytes in [eh_frame, debug_frame, go_functions] {
            hash.update(bytes);
        }
        for CodePart { start, bytes } in parts.into_iter().flatten() {
            hash.update(start.to_le_bytes());
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        }
        Fingerprint(hash.finalize().into())
    }

    /// Reads an open ELF file; `path` only serves error messages.
    pub fn read(file: &File, path: &Path) -> Result<Self, UnwindRowsError> {
        let image = Image::new(file, path)?;
        let headers = Headers::read(&image)?;
        // Stripped headers are no error: the program headers say enough.
        let sections = headers.sections(&image).ok();
        let stored = |name| sections.as_ref().and_then(|sections: &Sections| sections.stored(name));
        let file_size =
            file.metadata().map_err(|source| ElfError::Open { path: path.to_owned(), source })?.len();
        let code = code(FileFacts::read(file, path)?.segments().to_vec(), file_size);
        if code.iter().map(|code| code.end - code.start).sum::<u64>() > CODE_AT_MOST {
            return Err(UnwindRowsError::TooMuchCode { path: path.to_owned(), limit: CODE_AT_MOST });
        }
        let found = match stored(".eh_frame") {
            Some(section) => {
                Some((section.address, section.bytes(&image, SECTION_AT_MOST, ".eh_frame")?, true))
            }
            None => eh_frame_by_header(&image, &headers)?.map(|(address, bytes)| (address, bytes, false)),
        };
        let (eh_frame_address, eh_frame, eh_frame_end_is_known) = found.unwrap_or_default();
        let debug_frame = match stored(".debug_frame") {
            Some(section) => debug_frame(&image, section)?,
            None => Vec::new(),
        };
        let go_functions = match GO_FUNCTIONS.into_iter().find_map(stored) {
            Some(section) => section.bytes(&image, SECTION_AT_MOST, ".gopclntab")?,
            None => Vec::new(),
        };
        let address = |name| stored(name).map_or(0, |section| section.address);
        let bases = BaseAddresses::default()
            .set_eh_frame(eh_frame_address)
            .set_text(address(".text"))
            .set_got(address(".got"));
        let mut info = Self {
            eh_frame,
            eh_frame_end_is_known,
            debug_frame,
            go_functions,
            switching: Vec::new(),
            go_text_start: sections.as_ref().and_then(|sections| go_functions::text_start(&image, sections)),
            bases,
            code,
            undescribed: Vec::new(),
        };
        info.switching = info.read_switching(&image, &headers);
        info.undescribed = info.read_undescribed(&image, &headers, sections.as_ref());
        Ok(info)
    }

    /// Without the code that nothing describes: what is left is said by others, and can be compared with what they say.
    pub fn only_described(self) -> Self {
        Self { undescribed: Vec::new(), switching: Vec::new(), ..self }
    }

    /// The same as if nothing described the file's code: what is found then can be compared with what does.
    pub fn read_code_only(file: &File, path: &Path) -> Result<Self, UnwindRowsError> {
        let info = Self::read(file, path)?;
        let (eh_frame, debug_frame, go_functions) = Default::default();
        let mut info = Self { eh_frame, debug_frame, go_functions, switching: Vec::new(), ..info };
        let image = Image::new(file, path)?;
        let headers = Headers::read(&image)?;
        info.undescribed = info.read_undescribed(&image, &headers, headers.sections(&image).ok().as_ref());
        Ok(info)
    }

    /// The code that nothing describes. What cannot be read of it, or is beyond what is followed, is left out.
    fn read_undescribed(
        &self,
        image: &Image<'_>,
        headers: &Headers,
        sections: Option<&Sections>,
    ) -> Vec<CodePart> {
        let described = evaluate::described(self, &mut Stats::default());
        let described: Vec<Range<u64>> = described.iter().map(|entry| entry.start..entry.end).collect();
        let mut room = FOLLOWED_AT_MOST;
        // Some linkers put data beside code; the sections' headers tell them apart.
        let code = sections.map(Sections::code).filter(|code| !code.is_empty());
        let gaps = followed::gaps(code.as_deref().unwrap_or(&self.code), &described);
        let read = |gap: Range<u64>| {
            room = room.checked_sub(gap.end - gap.start)?;
            read_code(image, headers, gap)
        };
        gaps.into_iter().filter_map(read).collect()
    }

    /// The code of Go's functions that change stacks.
    fn read_switching(&self, image: &Image<'_>, headers: &Headers) -> Vec<CodePart> {
        let Some(go) = GoFunctions::parse(&self.go_functions, self.go_text_start) else { return Vec::new() };
        go.switching().filter_map(|code| read_code(image, headers, code)).collect()
    }
}

/// Code of the file. None where it cannot be read.
fn read_code(image: &Image<'_>, headers: &Headers, code: Range<u64>) -> Option<CodePart> {
    let segment = headers.loaded_segment_of(code.start)?;
    let offset = segment.file_offset.saturating_add(code.start - segment.vaddr);
    match image.bytes(offset, code.end - code.start, FOLLOWED_AT_MOST, "code") {
        Ok(bytes) => Some(CodePart { start: code.start, bytes }),
        Err(error) => {
            tracing::debug!(%error, "code is not followed");
            None
        }
    }
}

/// The stretches of code that the file holds, those that meet in a block made one.
fn code(mut segments: Vec<Segment>, file_size: u64) -> Vec<Range<u64>> {
    segments.sort_unstable_by_key(|segment| segment.vaddr);
    let mut code: Vec<Range<u64>> = Vec::new();
    for segment in segments {
        let size = segment.size.min(file_size.saturating_sub(segment.file_offset));
        let Some(end) = segment.vaddr.checked_add(size).filter(|&end| end > segment.vaddr) else { continue };
        match code.last_mut() {
            Some(last) if last.end.div_ceil(BLOCK_BYTES) > segment.vaddr / BLOCK_BYTES => {
                last.end = last.end.max(end);
            }
            _ => code.push(segment.vaddr..end),
        }
    }
    code
}

/// Address and bytes of .eh_frame in files without section headers. Its end is nowhere written: what follows in
/// its segment is read with it.
fn eh_frame_by_header(
    image: &Image<'_>,
    headers: &Headers,
) -> Result<Option<(u64, Vec<u8>)>, UnwindRowsError> {
    /// The fields before the table.
    const HEADER_BYTES: u64 = 64;
    let Some(segment) = headers.eh_frame_hdr() else { return Ok(None) };
    let size = segment.size.min(HEADER_BYTES);
    let header = image.bytes(segment.file_offset, size, HEADER_BYTES, ".eh_frame_hdr")?;
    let bases = BaseAddresses::default().set_eh_frame_hdr(segment.vaddr);
    let parsed = EhFrameHdr::new(&header, LittleEndian).parse(&bases, 8);
    let Ok(gimli::Pointer::Direct(address)) = parsed.map(|header| header.eh_frame_ptr()) else {
        return Ok(None);
    };
    let Some(segment) = headers.loaded_segment_of(address) else { return Ok(None) };
    let within = address - segment.vaddr;
    let offset = segment.file_offset.saturating_add(within);
    let bytes = image.bytes(offset, segment.size - within, SECTION_AT_MOST, ".eh_frame")?;
    Ok(Some((address, bytes)))
}

fn debug_frame(image: &Image<'_>, section: &Section) -> Result<Vec<u8>, UnwindRowsError> {
    let bytes = section.bytes(image, SECTION_AT_MOST, ".debug_frame")?;
    if !section.is_compressed() {
        return Ok(bytes);
    }
    let strange = || ElfError::Strange { path: image.path.to_owned(), what: "compressed .debug_frame" };
    Ok(unpacked(&bytes).ok_or_else(strange)?)
}

/// What a compressed section (an `Elf64_Chdr` of 24 bytes, then a stream) holds; none if it is broken or too large.
fn unpacked(bytes: &[u8]) -> Option<Vec<u8>> {
    let (header, stream) = bytes.split_at_checked(24)?;
    let kind = u32::from_le_bytes(*header.first_chunk()?);
    let reader: Box<dyn Read> = match kind {
        ELFCOMPRESS_ZLIB => Box::new(flate2::read::ZlibDecoder::new(stream)),
        ELFCOMPRESS_ZSTD => Box::new(zstd::Decoder::new(stream).ok()?),
        _ => return None,
    };
    let mut unpacked = Vec::new();
    reader.take(SECTION_AT_MOST + 1).read_to_end(&mut unpacked).ok()?;
    (unpacked.len() as u64 <= SECTION_AT_MOST).then_some(unpacked)
}
