//! Writes the first inputs of every target of `cargo xtask fuzz`, made from programs of this project: nothing of a foreign binary is kept.
//!
//! Usage: `fuzz_seeds FOLDER`; `cargo xtask fuzz --write-seeds` runs it. It stands here, and not with the targets, which are compiled with
//! instrumentation.

#[path = "../fuzz/src/elf.rs"]
pub mod elf;

use std::fs;
use std::path::{Path, PathBuf};

use object::{Object, ObjectSection};
use symbols::unwind_rows::UnwindTable;
use testprogs::{Program, Variant};

use elf::{CODE, CODE_BYTES, DATA, form};

/// Bytes of call frame information that are kept of a program.
const AT_MOST: usize = 1500;

/// What the test programs' entries leave out, one entry each; no zeros. Opcodes: DWARF 5, section 7.24.
const RARE: [&[u8]; 16] = [
    &[0x41, 0x0a, 0x0e, 0x20, 0x42, 0x0b],             // remember, restore
    &[0x41, 0x0d, 6, 0x86, 2, 0x02, 9, 0x0c, 7, 8],    // CFA = rbp, rbp saved, CFA = rsp + 8
    &[0x0f, 3, 0x76, 0x78, 0x06],                      // CFA = *(rbp - 8)
    &[0x0f, 6, 0x77, 0xf8, 0x80, 0x01, 0x06, 0x23, 8], // CFA = *(rsp + 120) + 8
    &[0x10, 6, 2, 0x76, 0x70],                         // rbp at *(rbp - 16)
    &[0x16, 16, 2, 0x77, 8],                           // return address = rsp + 8
    &[0x07, 16],                                       // the outermost frame
    &[0x09, 16, 2],                                    // return address in rcx
    &[0x0d, 10, 0x0e, 0x10],                           // CFA from r10
    &[0x14, 7, 1],                                     // rsp = CFA - 8
    &[0x0e, 0xf0, 0xff, 0xff, 0x07, 0x11, 6, 0x7e],    // a large offset
    &[0x13, 0x7e, 0x12, 7, 0x7d, 0x05, 6, 2, 0xc6, 0x08, 6], // signed, extended, restored, the same
    &[0x03, 0x10, 0x01, 0x0e, 0x18, 0x2e, 8],          // advance by two bytes, GNU_args_size
    &[0x0f, 11, 0x77, 8, 0x70, 0x10, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22], // nearly a linkage table's
    &[0x15, 6, 0x7f, 0x2d, 0x2f, 6, 1],                // ValOffset, window save, negative offset
    &[0x7f, 0x0e, 0x20, 0x7f, 0x0e, 0x30],             // rows up to the end of the entry
];

fn main() {
    let folder = PathBuf::from(std::env::args_os().nth(1).expect("usage: fuzz_seeds FOLDER"));
    let programs = [
        ("frame_pointers", testprogs::build(Program::Shares, Variant::FramePointers)),
        ("no_frame_pointers", testprogs::build(Program::Shares, Variant::NoFramePointers)),
        ("cpp", testprogs::build(Program::Threads, Variant::NoFramePointers)),
    ];
    let rare = [&[][..]].iter().chain(&RARE).copied().collect::<Vec<_>>().join(&0);

    let mut call_frame_information: Vec<(String, u8, Vec<u8>)> = Vec::new();
    for (name, path) in &programs {
        let sections = [("", 0, DATA), ("-no-sections", form::NO_SECTIONS, DATA + 8)];
        for (suffix, form, address) in sections {
            call_frame_information.push((format!("{name}{suffix}"), form, eh_frame(path, address)));
        }
    }
    for (name, form) in [("rare", 0), ("rare-debug-frame", form::DEBUG_FRAME)] {
        call_frame_information.push((name.to_owned(), form | form::INSTRUCTIONS, rare.clone()));
        let entries = elf::entries(&rare, form == form::DEBUG_FRAME);
        call_frame_information.push((format!("{name}-entries"), form, entries));
    }
    call_frame_information.push(("go".to_owned(), form::GO_FUNCTIONS, go_functions()));
    for (name, form, bytes) in &call_frame_information {
        write(&folder, "call_frame_information", name, &[&[*form], &bytes[..]].concat());
        let image = elf::image(*form, bytes);
        write(&folder, "elf", name, image.strip_suffix(&[0; 64]).unwrap_or(&image));
        let table = UnwindTable::read_image(&image, Path::new(name)).expect("a sound file");
        assert!(table.stats().rows > 4, "{name}: {:?}", table.stats());
        write(&folder, "stored_table", name, &table.to_bytes()[12..]);
        write(&folder, "walk", name, &walk(&table));
    }
}

fn write(folder: &Path, target: &str, name: &str, bytes: &[u8]) {
    let folder = folder.join(target);
    fs::create_dir_all(&folder).expect("the folder can be made");
    fs::write(folder.join(name), bytes).expect("the seed can be written");
}

/// The first entries of a program's .eh_frame, as if the section lay at this address and the code at [`CODE`].
fn eh_frame(path: &Path, address: u64) -> Vec<u8> {
    let file = fs::read(path).expect("a test program");
    let file = object::File::parse(&*file).expect("a test program");
    let section = file.section_by_name(".eh_frame").expect("a test program has one");
    let mut bytes = section.data().expect("it is in the file").to_vec();
    let number =
        |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let (mut at, mut code) = (0, CODE);
    while at + 16 < bytes.len() && at < AT_MOST && code < CODE + CODE_BYTES {
        let end = at + 4 + number(&bytes, at) as usize;
        if end == at + 4 || end > bytes.len() {
            break;
        }
        // Not a common entry: where its code starts, relative to this place, and its size (compilers write both so).
        if number(&bytes, at + 4) != 0 {
            let size = number(&bytes, at + 12).min(0x100);
            let start = code.wrapping_sub(address + at as u64 + 8) as u32;
            bytes[at + 8..at + 12].copy_from_slice(&start.to_le_bytes());
            bytes[at + 12..at + 16].copy_from_slice(&size.to_le_bytes());
            code += u64::from(size).next_multiple_of(16);
        }
        at = end;
    }
    bytes.truncate(at);
    bytes
}

/// A `.gopclntab` of four functions, as Go 1.20 lays it out (Go's internal/abi/symtab.go): the header, names, tables of
/// the stack pointer, the list of functions, and what is said of each.
fn go_functions() -> Vec<u8> {
    const NAMES: &[u8] = b"main.a\0runtime.mcall\0main.b\0main.c\0";
    // Changes in zigzag and bytes of code, in pairs: 8 below after 4 bytes, 40 after 9, back at the end; and so on.
    const STACK_TABLES: &[u8] = &[2, 4, 16, 5, 64, 0x30, 79, 7, 0, 2, 1, 0, 2, 0x40, 0xc0, 0x80, 1, 0x20, 0];
    const TABLES: [u32; 4] = [0, 10, 12, 0];
    const FLAGS: [u8; 4] = [0, 0, 4, 2];
    let names_at = 8 + 8 * 8;
    let tables_at = names_at + NAMES.len() as u64;
    let list_at = tables_at + STACK_TABLES.len() as u64;
    let mut bytes = vec![0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8];
    let header = [4, 0, CODE, names_at, names_at, names_at, tables_at, list_at];
    bytes.extend(header.into_iter().flat_map(u64::to_le_bytes));
    bytes.extend(NAMES);
    bytes.extend(STACK_TABLES);
    let facts_at = 4 * (2 * 4 + 1);
    for number in 0..4u32 {
        bytes.extend([number * 0x60, facts_at + number * 44].into_iter().flat_map(u32::to_le_bytes));
    }
    bytes.extend((4 * 0x60u32).to_le_bytes());
    for (number, (table, flags)) in TABLES.into_iter().zip(FLAGS).enumerate() {
        let mut facts = [0; 44];
        facts[4] = [0, 7, 21, 28][number];
        facts[16..20].copy_from_slice(&table.to_le_bytes());
        facts[41] = flags;
        bytes.extend(facts);
    }
    bytes
}

/// A walk through the table's rules, over a stack of frames one above the other.
fn walk(table: &UnwindTable) -> Vec<u8> {
    const STACK: u64 = 0x7fff_0000;
    let rules = table.rules();
    let mut words =
        vec![CODE, STACK + 8 * rules.len() as u64, STACK + 8 * rules.len() as u64, STACK, 0, u64::MAX];
    words.extend(rules);
    for frame in 0..24u64 {
        words.extend([STACK + 8 * (rules.len() as u64 + 2 * frame + 2), CODE + 0x20 * frame]);
    }
    words.into_iter().flat_map(u64::to_le_bytes).collect()
}
