//! What a machine has of what Vesta needs. Looks at files where it can, so that a complete machine waits for nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::plan::PYTHON_PACKAGES;
use crate::{page, paths, process};

/// The target of the BPF program.
const BPF_TARGET: &str = "bpfel-unknown-none";

/// The distribution's compiler, never rustup's: only this one comes with a core library for BPF.
pub(super) const SYSTEM_RUSTC: &str = "/usr/bin/rustc";

/// A state of the machine; everything that the plan depends on.
#[derive(Clone, Debug, Default)]
pub(super) struct Probe {
    pub(super) root: bool,
    pub(super) sudo: bool,
    pub(super) apt: bool,
    pub(super) cc: bool,
    pub(super) cxx: bool,
    /// VESTA_BPF_OBJECT is set.
    pub(super) bpf_object: bool,
    /// rustup's nightly with rust-src, and a bpf-linker.
    pub(super) bpf_nightly: bool,
    /// BPF_LINKER is set.
    pub(super) linker_given: bool,
    /// The distribution's rustc, if it has a core library for BPF.
    pub(super) bpf_rustc: Option<SystemRustc>,
    /// The major version of the LLVM that setup's own bpf-linker links.
    pub(super) linker_llvm: Option<u32>,
    /// VESTA_PAGE_DIST is set.
    pub(super) page_given: bool,
    /// Major version of Node.js.
    pub(super) node: Option<u32>,
    pub(super) npm: bool,
    pub(super) rustfmt_and_clippy: bool,
    pub(super) chromium: bool,
    pub(super) go: bool,
    pub(super) gdb: bool,
    pub(super) musl: bool,
    pub(super) xz: bool,
    pub(super) perf: bool,
    pub(super) dwz: bool,
    pub(super) openssl: bool,
    pub(super) python_venv: bool,
    /// The environment of the tests holds the packages of the current requirements.
    pub(super) python_packages: bool,
    pub(super) s3s_fs: bool,
    pub(super) qemu: bool,
    /// Another package of QEMU's is installed from the release's backports, and does not go with its own.
    pub(super) qemu_backported: bool,
    pub(super) busybox: bool,
}

/// Versions of the distribution's rustc.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct SystemRustc {
    /// Major and minor version.
    pub(super) version: (u32, u32),
    pub(super) llvm: u32,
}

impl Probe {
    /// Looks at this machine.
    pub(super) fn take() -> Probe {
        let has = |name| paths::program(name).is_some();
        let linker_given = std::env::var_os("BPF_LINKER").is_some();
        Probe {
            root: process::is_root(),
            sudo: has("sudo"),
            apt: has("apt-get"),
            cc: has("gcc") && has("make") && Path::new("/usr/include/stdio.h").exists(),
            cxx: has("g++"),
            bpf_object: std::env::var_os("VESTA_BPF_OBJECT").is_some(),
            bpf_nightly: (linker_given || has("bpf-linker")) && nightly_has_sources(),
            linker_given,
            bpf_rustc: system_rustc(),
            linker_llvm: linker_llvm(),
            page_given: page::is_given(),
            node: process::output(Command::new("node").arg("--version")).and_then(|text| node_major(&text)),
            npm: has("npm"),
            rustfmt_and_clippy: toolchain_has("cargo-fmt") && toolchain_has("cargo-clippy"),
            chromium: ["chromium", "chromium-browser", "google-chrome"].into_iter().any(has),
            go: has("go"),
            gdb: has("gdb"),
            musl: has("musl-gcc"),
            xz: has("xz"),
            perf: has("perf"),
            dwz: has("dwz"),
            openssl: has("openssl"),
            python_venv: python_venv(),
            python_packages: python_packages(),
            s3s_fs: s3s_fs(),
            qemu: has("qemu-system-x86_64"),
            qemu_backported: is_backport(&version_of("qemu-utils")),
            busybox: has("busybox"),
        }
    }
}

/// The folder of the rustup toolchain that runs us.
fn toolchain_has(program: &str) -> bool {
    let cargo = std::env::var_os("CARGO").map(PathBuf::from);
    cargo.is_some_and(|cargo| cargo.with_file_name(program).exists())
}

fn nightly_has_sources() -> bool {
    let rustup = std::env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".rustup")));
    let Some(toolchains) = rustup.and_then(|dir| fs::read_dir(dir.join("toolchains")).ok()) else {
        return false;
    };
    toolchains.flatten().any(|entry| {
        // `nightly-x86_64-…`: the one that `rustup run nightly` finds, not one of a certain day.
        let name = entry.file_name().to_string_lossy().into_owned();
        name.strip_prefix("nightly-").is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
            && entry.path().join("lib/rustlib/src/rust/library/core").is_dir()
    })
}

fn system_rustc() -> Option<SystemRustc> {
    let core = Path::new("/usr/lib/rustlib").join(BPF_TARGET).join("lib");
    core.is_dir().then_some(())?;
    parse_rustc(&process::output(Command::new(SYSTEM_RUSTC).arg("-vV"))?)
}

/// Reads the answer of `rustc -vV`.
fn parse_rustc(text: &str) -> Option<SystemRustc> {
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
    let mut release = value("release: ")?.split('.');
    let version = (release.next()?.parse().ok()?, release.next()?.parse().ok()?);
    let llvm = value("LLVM version: ")?.split('.').next()?.parse().ok()?;
    Some(SystemRustc { version, llvm })
}

/// The LLVM our bpf-linker was built for is the one its link names; a link to nowhere is a removed LLVM.
fn linker_llvm() -> Option<u32> {
    let toolchain = paths::toolchain()?;
    let installed = fs::read_to_string(toolchain.join(".crates.toml")).ok()?;
    let ours = format!("\"bpf-linker {} ", super::apply::BPF_LINKER_VERSION);
    if !installed.contains(&ours) || !toolchain.join("bin/bpf-linker").is_file() {
        return None;
    }
    let library = fs::canonicalize(toolchain.join("llvm/lib/libLLVM.so")).ok()?;
    llvm_of_library(&library.file_name()?.to_string_lossy())
}

/// The major version in `libLLVM.so.22.1` or `libLLVM-21.so.1`.
pub(super) fn llvm_of_library(name: &str) -> Option<u32> {
    let rest = name.strip_prefix("libLLVM")?.trim_start_matches(['-', '.', 's', 'o']);
    let digits = rest.find(|c: char| !c.is_ascii_digit()).map_or(rest, |end| &rest[..end]);
    digits.parse().ok()
}

fn node_major(version: &str) -> Option<u32> {
    version.trim().strip_prefix('v')?.split('.').next()?.parse().ok()
}

/// The version of an installed package; empty if it is not there.
fn version_of(package: &str) -> String {
    let query = ["--show", "--showformat", "${Version}", package];
    process::output(Command::new("dpkg-query").args(query)).unwrap_or_default()
}

/// Debian marks backports in the version, as in `1:10.0.2+ds-2~bpo12+1`.
fn is_backport(version: &str) -> bool {
    version.contains("~bpo")
}

/// A Python that can make an environment with pip in it: Debian's python3 alone cannot.
fn python_venv() -> bool {
    paths::venv().join("bin/python").exists()
        || process::output(Command::new("python3").args(["-c", "import venv, ensurepip"])).is_some()
}

/// The S3 server, of the version that the tests know.
fn s3s_fs() -> bool {
    if std::env::var_os("VESTA_TEST_S3S_FS").is_some() {
        return true;
    }
    let Some(toolchain) = paths::toolchain() else { return false };
    let installed = fs::read_to_string(toolchain.join(".crates.toml")).unwrap_or_default();
    let ours = format!("\"s3s-fs {} ", super::apply::S3S_FS_VERSION);
    installed.contains(&ours) && toolchain.join("bin/s3s-fs").is_file()
}

fn python_packages() -> bool {
    let wanted = fs::read(paths::root().join(PYTHON_PACKAGES)).ok();
    let installed = fs::read(super::apply::python_stamp()).ok();
    wanted.is_some() && wanted == installed && paths::venv().join("bin/python").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_rustc_and_its_llvm_are_read() {
        let text = "rustc 1.96.0 (x)\nbinary: rustc\nrelease: 1.96.0\nLLVM version: 22.1.8\n";
        assert_eq!(parse_rustc(text), Some(SystemRustc { version: (1, 96), llvm: 22 }));
        assert_eq!(parse_rustc("rustc 1.96.0"), None);
    }

    #[test]
    fn the_llvm_version_is_read_from_both_ways_to_name_the_library() {
        assert_eq!(llvm_of_library("libLLVM.so.22.1"), Some(22));
        assert_eq!(llvm_of_library("libLLVM-21.so.1"), Some(21));
        assert_eq!(llvm_of_library("libLLVM-14.0.6.so.1"), Some(14));
        assert_eq!(llvm_of_library("libLLVM.so"), None);
        assert_eq!(llvm_of_library("libc.so.6"), None);
    }

    #[test]
    fn backports_are_told_by_their_version() {
        assert!(is_backport("1:10.0.2+ds-2+deb13u1~bpo12+1"));
        assert!(!is_backport("1:7.2+dfsg-7+deb12u18") && !is_backport(""));
    }

    #[test]
    fn the_major_version_of_node_is_read() {
        assert_eq!(node_major("v18.20.4\n"), Some(18));
        assert_eq!(node_major("18.20"), None);
    }
}
