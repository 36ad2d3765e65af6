//! Whether a step by frame pointer is right at a given instruction.
//!
//! A walk by frame pointers reads the caller's frame from wherever `rbp` points. In a function that has not set
//! up its own frame (yet, any more, or at all) `rbp` still belongs to the caller, and the walk silently skips
//! the caller. The file's call frame information (`.eh_frame`) tells: it says for every instruction where
//! the canonical frame address (CFA), the return address and the saved registers are.
//!
//! Formats: DWARF 5, section 6.4; Linux Standard Base, "DWARF Extensions" (`.eh_frame`, `.eh_frame_hdr`);
//! register numbers: x86-64 psABI, figure 3.36.

use std::fs::File;
use std::path::Path;

use gimli::{
    ArrayLike, BaseAddresses, EhFrame, EhFrameHdr, EndianSlice, FrameDescriptionEntry, LittleEndian,
    Register, RegisterRule, UnwindContext, UnwindContextStorage, UnwindSection, UnwindTableRow,
};

use crate::elf::image::Image;
use crate::elf::{ElfError, Headers};

const RBP: Register = Register(6);
const RSP: Register = Register(7);
const RETURN_ADDRESS: Register = Register(16);

/// Call frame information above this is not read: 64 MiB is 4 times that of the largest known database server.
const EH_FRAME_AT_MOST: u64 = 64 * 1024 * 1024;
/// One function's entry above this is not evaluated; compilers emit at most some 10 KiB. Bounds a look-up's time.
const ENTRY_AT_MOST: usize = 256 * 1024;

/// Where the call frame information says the frame of an instruction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CfaRule {
    /// The function's own frame is set up: CFA = rbp + 16, the caller's rbp is at CFA - 16, the return address at
    /// CFA - 8. A step by frame pointer is right.
    FramePointer,
    /// CFA = rsp + `offset`, and the return address is at CFA - 8: rbp is no frame pointer here. An offset of 8 means
    /// the function's entry, or the instruction before its `ret`; 16 with the caller's rbp saved means right after
    /// `push %rbp`.
    StackPointer {
        /// Bytes from rsp to the CFA.
        offset: i64,
        /// Whether the caller's rbp lies at CFA - 16; otherwise it is still (or again) in rbp, or saved elsewhere.
        saves_rbp: bool,
    },
    /// There is no return address: the outermost frame of the stack.
    Undefined,
    /// Any other rule: signal frames, realigned stacks, PLT entries, expressions.
    Other,
}

/// The call frame information of one file, kept in memory.
pub struct UnwindInfo {
    eh_frame: Box<[u8]>,
    /// ELF virtual address of `eh_frame`.
    address: u64,
    index: Index,
    bases: BaseAddresses,
}

/// How the entry of an address is found.
enum Index {
    /// By the sorted table in `.eh_frame_hdr`.
    Header(Box<[u8]>),
    /// By our own, in files without that table: first address and offset in `.eh_frame`, sorted.
    List(Box<[(u64, usize)]>),
}

type Bytes<'a> = EndianSlice<'a, LittleEndian>;
/// .eh_frame.
pub(crate) type Section<'a> = EhFrame<Bytes<'a>>;
/// What it says of one function.
pub(crate) type Entry<'a> = FrameDescriptionEntry<Bytes<'a>>;
/// What it says of one instruction.
pub(crate) type Row = UnwindTableRow<usize, OnStack>;

/// Room for the evaluation of an entry, on the stack: no allocation per look-up.
pub(crate) struct OnStack;

impl UnwindContextStorage<usize> for OnStack {
    type Rules = [(Register, RegisterRule<usize>); 32];
    type Stack = [UnwindTableRow<usize, Self>; 4];
}

impl UnwindInfo {
    /// Reads the call frame information of an open file. A file without any has an `UnwindInfo` that knows no rule.
    pub fn read(file: &File, path: &Path) -> Result<Self, ElfError> {
        let image = Image::new(file, path)?;
        let headers = Headers::read(&image)?;
        let header = match headers.eh_frame_hdr() {
            Some(segment) => image
                .bytes(segment.file_offset, segment.size, EH_FRAME_AT_MOST, ".eh_frame_hdr")
                .map(|bytes| (segment.vaddr, bytes))
                .ok(),
            None => None,
        };
        let (address, eh_frame) = eh_frame(&image, &headers, header.as_ref())?;
        let mut bases = BaseAddresses::default().set_eh_frame(address);
        if let Some((header_address, _)) = header {
            bases = bases.set_eh_frame_hdr(header_address);
        }
        let index = match header {
            Some((_, bytes)) if has_table(&bytes, &bases) => Index::Header(bytes.into()),
            _ => Index::List(list_entries(&eh_frame, &bases)),
        };
        Ok(Self { eh_frame: eh_frame.into(), address, index, bases })
    }

    /// The memory it holds, in bytes.
    pub fn size(&self) -> usize {
        let index = match &self.index {
            Index::Header(bytes) => bytes.len(),
            Index::List(list) => size_of_val::<[_]>(list),
        };
        size_of::<Self>() + self.eh_frame.len() + index
    }

    /// What the call frame information says at this ELF virtual address; none where it says nothing (or is broken).
    ///
    /// For a frame that made a call pass the return address - 1: the return address itself may belong to the
    /// next function.
    pub fn rule_at(&self, vaddr: u64) -> Option<CfaRule> {
        self.row_at(
            vaddr,
            |_, entry, row| {
                if entry.is_signal_trampoline() { CfaRule::Other } else { rule_of(row) }
            },
        )
    }

    /// Makes something of the row at this ELF virtual address; none where there is none (or it is broken).
    pub(crate) fn row_at<R>(
        &self,
        vaddr: u64,
        make: impl FnOnce(&Section<'_>, &Entry<'_>, &Row) -> R,
    ) -> Option<R> {
        let section = EhFrame::new(&self.eh_frame, LittleEndian);
        let entry = self.entry_of(&section, vaddr)?;
        if !entry.contains(vaddr) || entry.entry_len() > ENTRY_AT_MOST {
            return None;
        }
        let mut context = UnwindContext::<usize, OnStack>::new_in();
        let row = entry.unwind_info_for_address(&section, &self.bases, &mut context, vaddr).ok()?;
        Some(make(&section, &entry, row))
    }

    fn entry_of<'a>(&self, section: &Section<'a>, vaddr: u64) -> Option<Entry<'a>> {
        let offset = match &self.index {
            Index::Header(bytes) => {
                let header = EhFrameHdr::new(bytes, LittleEndian).parse(&self.bases, 8).ok()?;
                let table = header.table()?;
                let pointer = table.lookup(vaddr, &self.bases).ok()?.direct().ok()?;
                // Not by gimli's `pointer_to_offset`, which overflows on a pointer below the section.
                usize::try_from(pointer.checked_sub(self.address)?).ok()?.into()
            }
            Index::List(list) => {
                let after = list.partition_point(|&(start, _)| start <= vaddr);
                let (_, offset) = *list.get(after.checked_sub(1)?)?;
                offset.into()
            }
        };
        section.fde_from_offset(&self.bases, offset, EhFrame::cie_from_offset).ok()
    }
}

/// Address and bytes of `.eh_frame`: by its section header, else by what `.eh_frame_hdr` points to.
fn eh_frame(
    image: &Image<'_>,
    headers: &Headers,
    header: Option<&(u64, Vec<u8>)>,
) -> Result<(u64, Vec<u8>), ElfError> {
    let sections = headers.sections(image).ok();
    if let Some(section) = sections.as_ref().and_then(|sections| sections.stored(".eh_frame")) {
        return Ok((section.address, section.bytes(image, EH_FRAME_AT_MOST, ".eh_frame")?));
    }
    let Some((header_address, header)) = header else { return Ok((0, Vec::new())) };
    let bases = BaseAddresses::default().set_eh_frame_hdr(*header_address);
    let pointer = EhFrameHdr::new(header, LittleEndian).parse(&bases, 8).map(|header| header.eh_frame_ptr());
    let Ok(gimli::Pointer::Direct(address)) = pointer else { return Ok((0, Vec::new())) };
    let Some(segment) = headers.loaded_segment_of(address) else { return Ok((0, Vec::new())) };
    // Its end is nowhere written; a zero length ends it, or the end of the segment.
    let within = address - segment.vaddr;
    let offset = segment.file_offset.saturating_add(within);
    Ok((address, image.bytes(offset, segment.size - within, EH_FRAME_AT_MOST, ".eh_frame")?))
}

fn has_table(header: &[u8], bases: &BaseAddresses) -> bool {
    EhFrameHdr::new(header, LittleEndian).parse(bases, 8).is_ok_and(|header| header.table().is_some())
}

/// First address and offset of every entry, sorted by address; those before the first broken one.
fn list_entries(eh_frame: &[u8], bases: &BaseAddresses) -> Box<[(u64, usize)]> {
    let section = EhFrame::new(eh_frame, LittleEndian);
    let mut entries = section.entries(bases);
    let mut list = Vec::new();
    while let Ok(Some(entry)) = entries.next() {
        if let gimli::CieOrFde::Fde(entry) = entry {
            let offset = entry.offset();
            if let Ok(entry) = entry.parse(EhFrame::cie_from_offset) {
                list.push((entry.initial_address(), offset));
            }
        }
    }
    list.sort_unstable();
    list.into()
}

fn rule_of<S: UnwindContextStorage<usize>>(row: &UnwindTableRow<usize, S>) -> CfaRule
where
    S::Rules: ArrayLike<Item = (Register, RegisterRule<usize>)>,
{
    match row.register(RETURN_ADDRESS) {
        Some(RegisterRule::Undefined) => return CfaRule::Undefined,
        Some(RegisterRule::Offset(-8)) => {}
        _ => return CfaRule::Other,
    }
    let saves_rbp = row.register(RBP) == Some(RegisterRule::Offset(-16));
    match *row.cfa() {
        gimli::CfaRule::RegisterAndOffset { register: RBP, offset: 16 } if saves_rbp => CfaRule::FramePointer,
        gimli::CfaRule::RegisterAndOffset { register: RSP, offset } => {
            // After `pop %rbp` compilers let the rule stand, although its place is off the stack by then.
            CfaRule::StackPointer { offset, saves_rbp: saves_rbp && offset >= 16 }
        }
        _ => CfaRule::Other,
    }
}
