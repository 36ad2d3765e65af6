//! Small ELF files around call frame information, or what takes its place, that is not to be trusted. Formats: System V gABI, chapters 4 and 5;
//! Linux Standard Base, "Exception Frames" (.eh_frame_hdr).

/// Address of the code; the file need not hold it in full.
pub const CODE: u64 = 0x1000;
/// Bytes of code: two blocks of a table.
pub const CODE_BYTES: u64 = 0x1000;
/// Where the bytes under test lie in the file.
const DATA_OFFSET: u64 = 0x200;
/// And their address.
pub const DATA: u64 = 0x20_0000;
/// The bytes of .eh_frame_hdr before its pointer: version, encodings (a pointer relative to itself; no table).
const HEADER: [u8; 4] = [1, 0x1b, 0xff, 0xff];

/// Bits of the form byte.
pub mod form {
    /// The bytes are .debug_frame, not .eh_frame.
    pub const DEBUG_FRAME: u8 = 1;
    /// The file has no section headers: .eh_frame is found by its header.
    pub const NO_SECTIONS: u8 = 2;
    /// The bytes are instructions: entries are made around them, so that every change is one of an instruction.
    pub const INSTRUCTIONS: u8 = 4;
    /// The bytes are Go's table of functions.
    pub const GO_FUNCTIONS: u8 = 8;
}

/// An executable with these bytes as its call frame information, in one of the forms that there are.
pub fn image(form: u8, bytes: &[u8]) -> Vec<u8> {
    let is = |bit| form & bit != 0;
    if is(form::GO_FUNCTIONS) {
        return with_section(b".gopclntab\0\0", bytes);
    }
    let is_debug_frame = is(form::DEBUG_FRAME);
    let section = if is(form::INSTRUCTIONS) { entries(bytes, is_debug_frame) } else { bytes.to_vec() };
    if is(form::NO_SECTIONS) {
        without_sections(&section)
    } else {
        with_section(if is_debug_frame { b".debug_frame" } else { b".eh_frame\0\0\0" }, &section)
    }
}

/// A common entry and entries of it. Zero bytes part the instructions of one from those of the next; the first part
/// are the common entry's.
pub fn entries(bytes: &[u8], is_debug_frame: bool) -> Vec<u8> {
    const STRIDE: u64 = 0x40;
    let mut programs = bytes.split(|&byte| byte == 0);
    let common_id = if is_debug_frame { u32::MAX } else { 0 };
    let mut common = common_id.to_le_bytes().to_vec();
    common.extend([1, 0, 1, 0x78, 16]); // version 1, factors 1 and -8, return address in 16
    common.extend([0x0c, 7, 8, 0x90, 1]); // CFA = rsp + 8, return address at CFA - 8
    common.extend(programs.next().unwrap_or_default());
    let mut section = framed(&common);
    for (number, program) in programs.enumerate() {
        let common_entry = if is_debug_frame { 0 } else { section.len() as u32 + 4 };
        let mut entry = common_entry.to_le_bytes().to_vec();
        entry.extend((CODE + number as u64 * STRIDE).to_le_bytes());
        // Some lie over the next one.
        entry.extend((STRIDE + STRIDE * u64::from(number % 8 == 7)).to_le_bytes());
        entry.extend(program);
        section.extend(framed(&entry));
    }
    section
}

fn framed(entry: &[u8]) -> Vec<u8> {
    [&(entry.len() as u32).to_le_bytes()[..], entry].concat()
}

fn words<const N: usize>(words: [u64; N]) -> impl Iterator<Item = u8> {
    words.into_iter().flat_map(u64::to_le_bytes)
}

fn halves<const N: usize>(halves: [u16; N]) -> impl Iterator<Item = u8> {
    halves.into_iter().flat_map(u16::to_le_bytes)
}

/// The ELF header, and program headers: the code, the data, and .eh_frame_hdr if there is one.
fn headers(sections: Option<u64>, data_size: u64, eh_frame_hdr: bool) -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let (section_headers, count, names) = sections.map_or((0, 0, 0), |at| (at, 3, 2));
    file.extend(halves([3, 62, 1, 0]));
    file.extend(words([0, 64, section_headers]));
    file.extend(halves([0, 0, 64, 56, 2 + u16::from(eh_frame_hdr), 64, count, names]));
    let mut segment = |kind: u32, flags: u32, offset, address, size| {
        file.extend([kind, flags].into_iter().flat_map(u32::to_le_bytes));
        file.extend(words([offset, address, address, size, size, 4096]));
    };
    segment(1, 5, 0, CODE, CODE_BYTES);
    segment(1, 4, DATA_OFFSET, DATA, data_size);
    if eh_frame_hdr {
        segment(0x6474_e550, 4, DATA_OFFSET, DATA, 8);
    }
    file.resize(DATA_OFFSET as usize, 0);
    file
}

fn with_section(name: &[u8; 12], bytes: &[u8]) -> Vec<u8> {
    let names = [b"\0", &name[..], b"\0.shstrtab\0"].concat();
    let names_at = DATA_OFFSET + bytes.len() as u64;
    let sections_at = names_at + names.len() as u64;
    let mut file = headers(Some(sections_at), bytes.len() as u64, false);
    file.extend(bytes);
    file.extend(&names);
    let mut section = |name: u32, kind: u32, address, offset, size| {
        file.extend([name, kind].into_iter().flat_map(u32::to_le_bytes));
        file.extend(words([0, address, offset, size, 0, 1, 0]));
    };
    section(0, 0, 0, 0, 0);
    section(1, 1, DATA, DATA_OFFSET, bytes.len() as u64);
    section(14, 3, 0, names_at, names.len() as u64);
    padded(file)
}

fn without_sections(eh_frame: &[u8]) -> Vec<u8> {
    let size = 8 + eh_frame.len() as u64;
    let mut file = headers(None, size, true);
    file.extend(HEADER);
    file.extend(4i32.to_le_bytes()); // .eh_frame follows: 4 bytes behind the pointer
    file.extend(eh_frame);
    padded(file)
}

/// The file with room for its code, of which only what it holds counts.
fn padded(mut file: Vec<u8>) -> Vec<u8> {
    file.resize(file.len().max(CODE_BYTES as usize), 0);
    file
}
