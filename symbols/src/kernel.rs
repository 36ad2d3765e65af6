//! Facts about the running kernel: its build ID, its release, and whether its symbols can be read.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::elf::notes;

const NOTES: &str = "/sys/kernel/notes";
const KALLSYMS: &str = "/proc/kallsyms";
const KPTR_RESTRICT: &str = "/proc/sys/kernel/kptr_restrict";
/// The kernel's notes are some hundred bytes.
const NOTES_AT_MOST: u64 = 64 * 1024;
/// Enough to see past the few symbols that truly lie at address 0 (per-CPU data).
const LINES_LOOKED_AT: usize = 20_000;

/// Why kernel addresses get no names, and what to type about it.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum KernelSymbolsError {
    #[error(
        "the kernel hides the addresses of its symbols (kernel.kptr_restrict is {kptr_restrict}): {}",
        shown_by(kptr_restrict)
    )]
    Hidden { kptr_restrict: String },
    #[error("{} is empty: a kernel built with CONFIG_KALLSYMS=y is needed for kernel names", path.display())]
    Empty { path: PathBuf },
    #[error("cannot read {}: {source}; where /proc is missing type `mount -t proc proc /proc`", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("the names of kernel addresses cannot be looked up: {reason}")]
    LookUp { reason: String },
}

/// The running kernel's GNU build ID in lower-case hex, from `/sys/kernel/notes`; none where it has none.
pub fn build_id() -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    File::open(NOTES)?.take(NOTES_AT_MOST).read_to_end(&mut bytes)?;
    Ok(notes::build_id(&bytes))
}

/// The running kernel's release, as `uname -r` prints it.
pub fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Whether the names of kernel addresses can be looked up, and if not, why not.
pub fn check_symbols() -> Result<(), KernelSymbolsError> {
    check_symbols_in(Path::new(KALLSYMS), Path::new(KPTR_RESTRICT))
}

/// Addresses of the kernel's own symbols, by name, in the order of `names`; none for those it does not list, or hides.
pub fn addresses_of<const N: usize>(names: [&str; N]) -> Result<[Option<u64>; N], KernelSymbolsError> {
    addresses_in(Path::new(KALLSYMS), names)
}

fn addresses_in<const N: usize>(
    kallsyms: &Path,
    names: [&str; N],
) -> Result<[Option<u64>; N], KernelSymbolsError> {
    let unreadable = |source| KernelSymbolsError::Unreadable { path: kallsyms.to_owned(), source };
    let mut addresses = [None; N];
    let mut kallsyms = BufReader::new(File::open(kallsyms).map_err(unreadable)?);
    // Two hundred thousand lines: one buffer for all, and no further than to the last of the names.
    let mut line = Vec::new();
    while addresses.contains(&None) && kallsyms.read_until(b'\n', &mut line).map_err(unreadable)? > 0 {
        // Address, type, name; and a module's name behind a tab for its symbols.
        let mut fields = line.trim_ascii_end().splitn(3, |byte| *byte == b' ');
        if let (Some(address), Some(_), Some(name)) = (fields.next(), fields.next(), fields.next())
            && let Some(at) = names.iter().position(|wanted| wanted.as_bytes() == name)
        {
            let address = str::from_utf8(address).ok().and_then(|hex| u64::from_str_radix(hex, 16).ok());
            addresses[at] = address.filter(|address| *address != 0);
        }
        line.clear();
    }
    Ok(addresses)
}

/// What makes the kernel show addresses: 2 hides them from everybody, less from those without the capability.
fn shown_by(kptr_restrict: &str) -> &'static str {
    match kptr_restrict {
        "0" | "1" => "run as root or with CAP_SYSLOG",
        _ => "type `sudo sysctl kernel.kptr_restrict=1` and run as root or with CAP_SYSLOG",
    }
}

fn check_symbols_in(kallsyms: &Path, kptr_restrict: &Path) -> Result<(), KernelSymbolsError> {
    let unreadable = |source| KernelSymbolsError::Unreadable { path: kallsyms.to_owned(), source };
    let mut lines = BufReader::new(File::open(kallsyms).map_err(unreadable)?).lines().peekable();
    if lines.peek().is_none() {
        return Err(KernelSymbolsError::Empty { path: kallsyms.to_owned() });
    }
    for line in lines.take(LINES_LOOKED_AT) {
        let line = line.map_err(unreadable)?;
        let address = line.split(' ').next().unwrap_or_default();
        if u64::from_str_radix(address, 16).is_ok_and(|address| address != 0) {
            return Ok(());
        }
    }
    let kptr_restrict = std::fs::read_to_string(kptr_restrict).unwrap_or_else(|_| "unknown".to_owned());
    Err(KernelSymbolsError::Hidden { kptr_restrict: kptr_restrict.trim().to_owned() })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn check(kallsyms: &str) -> Result<(), KernelSymbolsError> {
        let folder = tempfile::tempdir().unwrap();
        let (symbols, restrict) = (folder.path().join("kallsyms"), folder.path().join("kptr_restrict"));
        fs::write(&symbols, kallsyms).unwrap();
        fs::write(&restrict, "2\n").unwrap();
        check_symbols_in(&symbols, &restrict)
    }

    #[test]
    fn hidden_addresses_are_told_with_what_to_type() {
        let error = check("0000000000000000 T _stext\n0000000000000000 t run\n").unwrap_err();
        let message = error.to_string();
        assert!(message.contains("kptr_restrict is 2"), "{message}");
        assert!(message.contains("sudo sysctl kernel.kptr_restrict=1"), "{message}");
        let message = KernelSymbolsError::Hidden { kptr_restrict: "0".to_owned() }.to_string();
        assert!(message.ends_with("is 0): run as root or with CAP_SYSLOG"), "{message}");
    }

    #[test]
    fn addresses_are_the_kernels_own_and_not_hidden_ones() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kallsyms");
        let text = "0000000000000000 A hidden\nffffffff81000000 T _stext\nffffffffc0000000 t _etext\t[module]\nx y z\n";
        fs::write(&path, text).unwrap();
        let addresses = addresses_in(&path, ["_etext", "_stext", "hidden", "z"]).unwrap();
        assert_eq!(addresses, [None, Some(0xffff_ffff_8100_0000), None, None]);
        assert!(addresses_in(Path::new("/nonexistent"), ["_stext"]).is_err());
    }

    #[test]
    fn an_empty_symbol_list_is_told() {
        assert!(matches!(check(""), Err(KernelSymbolsError::Empty { .. })));
    }

    #[test]
    fn a_missing_symbol_list_is_told_by_its_path() {
        let missing = Path::new("/nonexistent/kallsyms");
        let error = check_symbols_in(missing, missing).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/kallsyms"), "{error}");
    }

    #[test]
    fn symbols_at_zero_do_not_hide_the_others() {
        check("0000000000000000 A per_cpu\nffffffff81000000 T _stext\n").unwrap();
    }

    #[test]
    fn the_running_kernel_tells_its_release_and_build_id() {
        let release_file = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        assert_eq!(release(), release_file.trim());
        let id = build_id().unwrap().expect("a build ID");
        assert!(id.len() >= 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    }
}
