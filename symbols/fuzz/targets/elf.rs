//! Any bytes as an ELF file: a table that is sound, or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = symbols_fuzz::check_file(bytes);
});
