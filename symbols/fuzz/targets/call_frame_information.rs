//! Any bytes as the call frame information of a file that is otherwise sound, so that none are spent on its headers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use symbols::unwind_rows::UnwindRowsError;
use symbols_fuzz::elf;

fuzz_target!(|bytes: &[u8]| {
    let Some((&form, bytes)) = bytes.split_first() else { return };
    match symbols_fuzz::check_file(&elf::image(form, bytes)) {
        Ok(()) | Err(UnwindRowsError::TooCostly { .. }) => {}
        Err(error) => panic!("whatever its entries say, the file itself is sound, but: {error}"),
    }
});
