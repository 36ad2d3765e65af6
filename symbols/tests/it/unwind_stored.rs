//! What names a stored table, and when stored tables of an older release are no longer good.

use std::path::Path;

use crate::common::file_of;
use crate::unwind_hostile::{executable, section};
use symbols::unwind_rows::{CallFrameInfo, Fingerprint, UnwindTable};

fn fingerprint(bytes: &[u8]) -> Fingerprint {
    let (_folder, path, file) = file_of(bytes);
    CallFrameInfo::read(&file, &path).unwrap().fingerprint()
}

/// Functions that push, use a frame pointer, remember and restore, and one of a procedure linkage table.
fn call_frame_information() -> Vec<u8> {
    let pushes = [0x41, 0x0e, 16, 0x86, 2, 0x43, 0x0d, 6, 0x48, 0x0c, 7, 8];
    let returns_early = [0x44, 0x0e, 0x90, 0x02, 0x50, 0x0a, 0x0e, 8, 0x41, 0x0b];
    // CFA = rsp + 8 + ((rip & 15) >= 11) * 8
    let linkage = [0x0f, 11, 0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22];
    section(&[], [(0x1000, 64, &pushes[..]), (0x1040, 96, &returns_early), (0x1100, 48, &linkage)])
}

#[test]
fn a_fingerprint_is_of_all_that_a_table_is_made_of_and_of_nothing_else() {
    let info = call_frame_information();
    let file = executable(0x200, &info);
    let first = fingerprint(&file);
    assert_eq!(first.to_string().len(), 64);
    for at in 0..info.len() {
        let mut changed = info.clone();
        changed[at] ^= 1;
        assert_ne!(first, fingerprint(&executable(0x200, &changed)), "byte {at}");
    }
    assert_ne!(first, fingerprint(&executable(0x300, &info)), "more code");
    assert_ne!(first, fingerprint(&executable(0x200, &[&info[..], &[0]].concat())), "a longer section");
    let moved = |from: u64, to: u64| {
        let at = file.windows(8).rposition(|window| window == from.to_le_bytes()).unwrap();
        let mut file = file.clone();
        file[at..at + 8].copy_from_slice(&to.to_le_bytes());
        file
    };
    assert_ne!(first, fingerprint(&moved(0x20_0000, 0x20_0008)), "the section at another address");
    // What is behind everything that is read: symbols, debug info, signatures.
    assert_eq!(first, fingerprint(&[&file[..], b"and more"].concat()));
}

#[test]
fn the_same_file_gives_the_bytes_that_stored_tables_of_this_version_have() {
    let (_folder, path, file) = file_of(&executable(0x200, &call_frame_information()));
    let table = UnwindTable::read(&file, Path::new(&path)).unwrap();
    let bytes = table.to_bytes();
    let version = u32::from_le_bytes(*bytes[4..].first_chunk().unwrap());
    assert!(table.stats().rows > 10 && table.stats().broken_entries == 0, "{:?}", table.stats());
    assert_eq!(
        (version, crc32fast::hash(&bytes[12..])),
        (4, 2_962_168_264),
        "tables have changed: count VERSION in unwind_rows/bytes.rs up, or caches on disk will give old ones"
    );
}
