//! Readable names of Rust and C++ symbols.

use std::borrow::Cow;
use std::fmt::{self, Write};

use cpp_demangle::{BorrowedSymbol, DemangleOptions};

/// Longer results are given up, and the name left mangled: nested substitutions let a short symbol double its
/// length with every few characters.
const LENGTH_AT_MOST: usize = 16 * 1024;

/// The name as its language writes it: Rust (legacy without its hash, and v0), C++ (without the return type),
/// else as it is.
pub(super) fn demangle(name: &str) -> Cow<'_, str> {
    let mut readable = Limited(String::new());
    let written = match rustc_demangle::try_demangle(name) {
        Ok(rust) => write!(readable, "{rust:#}"),
        Err(_) => cpp(name, &mut readable),
    };
    match written {
        Ok(()) if !readable.0.is_empty() => Cow::Owned(readable.0),
        _ => Cow::Borrowed(name),
    }
}

/// Writes the demangled name and what follows it in the symbol, such as a version.
fn cpp(name: &str, readable: &mut Limited) -> fmt::Result {
    if !name.starts_with("_Z") {
        return Err(fmt::Error);
    }
    let (symbol, rest) = BorrowedSymbol::with_tail(name.as_bytes()).map_err(|_| fmt::Error)?;
    symbol.structured_demangle(readable, &DemangleOptions::new().no_return_type())?;
    readable.write_str(&String::from_utf8_lossy(rest))
}

/// Text that refuses to grow beyond the limit.
struct Limited(String);

impl Write for Limited {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > LENGTH_AT_MOST {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rust_names_of_both_manglings_become_paths() {
        assert_eq!(
            demangle("_ZN4core3fmt5Write9write_fmt17h1234567890abcdefE"),
            "core::fmt::Write::write_fmt"
        );
        assert_eq!(demangle("_RNvNtCs1234_7mycrate3foo3bar"), "mycrate::foo::bar");
        assert_eq!(demangle("_RINvCs1234_7mycrate3barlE"), "mycrate::bar::<i32>");
    }

    #[test]
    fn cpp_names_keep_their_parameters_and_lose_their_return_type() {
        assert_eq!(demangle("_ZN4mill5pressEmi"), "mill::press(unsigned long, int)");
        assert_eq!(demangle("_Z3maxIiET_S0_S0_"), "max<int>(int, int)");
        assert_eq!(
            demangle("_ZNSt6vectorIiSaIiEE9push_backERKi"),
            "std::vector<int, std::allocator<int> >::push_back(int const&)"
        );
    }

    #[test]
    fn suffixes_of_split_functions_are_kept() {
        let name = demangle("_ZN4mill5pressEmi.cold");
        assert!(name.starts_with("mill::press(unsigned long, int)") && name.contains("cold"), "{name}");
    }

    #[test]
    fn other_names_stay_as_they_are() {
        for name in ["main", "_start", "", "_Z", "_ZN", "_R", "runtime.goexit", "Zürich", "__GI___wait4"] {
            assert_eq!(demangle(name), name);
        }
    }

    #[test]
    fn deeply_nested_names_do_not_exhaust_the_stack() {
        let deep = format!("_Z1f{}i", "P".repeat(100_000));
        assert_eq!(demangle(&deep), deep);
    }

    #[test]
    fn names_that_double_with_every_level_are_left_mangled_before_they_fill_the_memory() {
        // pair<int,int>, then pairs of the last: S_ is the template, S0_, S1_, … the pairs.
        let doubling = |levels: u8| {
            let pairs = (0..levels).map(|level| {
                let last = char::from_digit(level.into(), 36).expect("a base-36 digit").to_ascii_uppercase();
                format!("S_IS{last}_S{last}_E")
            });
            format!("_Z1fSt4pairIiiE{}", pairs.collect::<String>())
        };
        assert!(demangle(&doubling(2)).contains("std::pair<std::pair<int, int>, std::pair<int, int> >"));
        assert_eq!(demangle(&doubling(36)), doubling(36));
    }
}
