//! Any bytes as a stored table. What is checked first is made right, or nothing behind it would ever be reached.
#![no_main]

use libfuzzer_sys::fuzz_target;
use symbols::unwind_rows::UnwindTable;

/// Magic number and version; a checksum of all that follows comes next.
const HEAD: usize = 8;

fuzz_target!(|bytes: &[u8]| {
    let mut stored = UnwindTable::default().to_bytes()[..HEAD].to_vec();
    stored.extend(crc32fast::hash(bytes).to_le_bytes());
    stored.extend(bytes);
    if let Ok(table) = UnwindTable::from_bytes(&stored) {
        assert!(table.to_bytes() == stored, "stored again it is another");
        symbols_fuzz::look_up(&table);
    }
});
