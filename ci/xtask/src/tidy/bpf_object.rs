//! The BPF object has no instruction that crashes the verifier of some kernels.
//!
//! On Linux 6.18 the verifier can dereference a null pointer when it follows an arithmetic shift right by 63 (or by 31,
//! in 32 bits): `maybe_fork_scalars` takes such a shift, which leaves 0 or -1, as a reason to look at both cases, and
//! does not expect that there is no room left to remember one of them. The loading program is killed. A compiler can
//! emit the shift where the source has none, so it is looked for in the object.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail};
use object::{Object as _, ObjectSection as _, SectionKind};

use super::Findings;
use crate::paths;
use crate::process::say;

/// Name of the object, which profiler-agent's build script writes to its output folder.
const NAME: &str = "vesta-bpf.o";
/// Bytes of an instruction: opcode, registers, offset (2), immediate (4).
const INSTRUCTION: usize = 8;
/// Arithmetic shift right by an immediate, of 64 and of 32 bits.
const ARSH64: u8 = 0xc7;
const ARSH32: u8 = 0xc4;

/// The object that was built last, or the one given by VESTA_BPF_OBJECT.
pub(super) fn newest() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("VESTA_BPF_OBJECT") {
        return Ok(path.into());
    }
    let profiles = folders(&paths::target()).into_iter().map(|profile| profile.join("build"));
    let builds = profiles.flat_map(|build| folders(&build)).filter(|build| {
        build.file_name().is_some_and(|name| name.to_string_lossy().starts_with("profiler-agent-"))
    });
    let objects = builds.map(|build| build.join("out").join(NAME));
    let newest = objects.filter_map(|path| Some((changed(&path)?, path))).max();
    match newest {
        Some((_, path)) => Ok(path),
        None => bail!("there is no {NAME} in {}; `cargo build` makes it", paths::target().display()),
    }
}

fn folders(of: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(of).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

fn changed(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

/// Looks through every program of the object.
pub(super) fn check(path: &Path) -> Result<Findings> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let file = object::File::parse(&*bytes).with_context(|| format!("{} is no object", path.display()))?;
    let mut findings = Findings::new();
    let mut instructions = 0;
    for section in file.sections().filter(|section| section.kind() == SectionKind::Text) {
        let code = section.data().with_context(|| format!("a section of {} is cut short", path.display()))?;
        instructions += code.len() / INSTRUCTION;
        let name = section.name().unwrap_or("?");
        findings.extend(
            shifts(code).map(|(at, text)| format!("{}: {name}, instruction {at}: {text}", path.display())),
        );
    }
    if instructions == 0 {
        bail!("{} holds no BPF program", path.display());
    }
    say(&format!("looked at {instructions} BPF instructions in {}", path.display()));
    Ok(findings)
}

/// The dangerous shifts: number of the instruction, and how a disassembler shows it.
fn shifts(code: &[u8]) -> impl Iterator<Item = (usize, String)> {
    code.chunks_exact(INSTRUCTION).enumerate().filter_map(|(number, instruction)| {
        let &[opcode, registers, _, _, a, b, c, d] = instruction else { return None };
        let amount = u32::from_le_bytes([a, b, c, d]);
        let name = match opcode {
            ARSH64 => 'r',
            ARSH32 => 'w',
            _ => return None,
        };
        // A value that was sign-extended from 32 bits becomes 0 or -1 by 31 already.
        matches!(amount, 31 | 63).then(|| (number, format!("{name}{} s>>= {amount}", registers & 0xf)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `r1 = 63`, then the instruction.
    fn found(opcode: u8, immediate: u8) -> Vec<(usize, String)> {
        let code = [0xb7, 1, 0, 0, 63, 0, 0, 0, opcode, 3, 0, 0, immediate, 0, 0, 0];
        shifts(&code).collect()
    }

    #[test]
    fn arithmetic_shifts_that_leave_only_the_sign_are_found() {
        assert_eq!(found(ARSH64, 63), [(1, "r3 s>>= 63".to_owned())]);
        assert_eq!(found(ARSH32, 31), [(1, "w3 s>>= 31".to_owned())]);
    }

    #[test]
    fn other_shifts_are_fine() {
        assert!(found(ARSH64, 32).is_empty());
        assert!(found(0x77, 63).is_empty(), "a logical shift");
        assert!(found(0xcf, 63).is_empty(), "a shift by a register");
    }

    #[test]
    fn what_is_no_object_is_named() {
        let error = format!("{:#}", check(&paths::root().join("Cargo.toml")).unwrap_err());
        assert!(error.contains("Cargo.toml is no object"), "{error}");
    }
}
