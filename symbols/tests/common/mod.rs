//! What the tests know of a file by other means than the package under test.

use std::ops::Range;
use std::path::Path;

use object::{Object, ObjectSymbol};

/// Address range of the function whose mangled name this is.
pub(crate) fn symbol(path: &Path, name: &str) -> Range<u64> {
    let bytes = std::fs::read(path).expect("the file can be read");
    let file = object::File::parse(&*bytes).expect("an ELF file");
    let symbol = file
        .symbols()
        .chain(file.dynamic_symbols())
        .find(|symbol| symbol.name() == Ok(name) && symbol.is_definition())
        .unwrap_or_else(|| panic!("{} has no {name}", path.display()));
    symbol.address()..symbol.address() + symbol.size()
}
