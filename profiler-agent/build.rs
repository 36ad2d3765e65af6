//! Builds the kernel program with whichever BPF toolchain is there, and puts the object where the agent embeds it.
//!
//! 1. `VESTA_BPF_OBJECT=path`: an object built elsewhere.
//! 2. Debian's `rustc-web` with its prebuilt `core` for BPF, and bpf-linker (what `cargo xtask setup` installs).
//! 3. rustup's nightly with `rust-src`, and bpf-linker: the usual way of aya projects.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CORE: &str = "lib/rustlib/bpfel-unknown-none/lib";
const NOTHING_THERE: &str = "no BPF toolchain was found. Type one of:
  cargo xtask setup                        installs one (Debian's rustc-web, and bpf-linker)
  rustup toolchain install nightly --component rust-src && cargo install bpf-linker
  VESTA_BPF_OBJECT=path cargo build …      uses an object built elsewhere";

fn main() {
    println!("cargo:rerun-if-env-changed=VESTA_BPF_OBJECT");
    println!("cargo:rerun-if-env-changed=BPF_LINKER");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("..");
    let object = match env::var_os("VESTA_BPF_OBJECT") {
        Some(path) => {
            let path = PathBuf::from(path);
            println!("cargo:rerun-if-changed={}", path.display());
            path
        }
        None => {
            for input in ["src", "Cargo.toml", "abi/src", "abi/Cargo.toml", "unwind/src", "unwind/Cargo.toml"]
            {
                println!("cargo:rerun-if-changed={}", root.join("profiler-bpf").join(input).display());
            }
            build(&root, &out)
        }
    };
    if let Err(error) = fs::copy(&object, out.join("vesta-bpf.o")) {
        fail(&format!("the BPF object {} cannot be copied: {error}", object.display()));
    }
}

/// How the kernel program is compiled on this machine.
struct Toolchain {
    linker: PathBuf,
    /// Debian's compiler; none: rustup's nightly.
    rustc: Option<PathBuf>,
}

fn find_toolchain() -> Toolchain {
    let Some(linker) = find_linker() else { fail(NOTHING_THERE) };
    let debian = Command::new(DEBIAN_RUSTC).args(["--print", "sysroot"]).output().ok().and_then(|output| {
        let sysroot = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
        sysroot.join(DEBIAN_CORE).is_dir().then(|| PathBuf::from(DEBIAN_RUSTC))
    });
    if debian.is_none() && !nightly_has_source() {
        fail(NOTHING_THERE);
    }
    Toolchain { linker, rustc: debian }
}

fn nightly_has_source() -> bool {
    let sysroot = Command::new("rustup").args(["run", "nightly", "rustc", "--print", "sysroot"]).output();
    sysroot.ok().and_then(|output| String::from_utf8(output.stdout).ok()).is_some_and(|sysroot| {
        Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core/Cargo.toml").is_file()
    })
}

/// `$BPF_LINKER`, else where `cargo xtask setup` puts it, else on the path.
fn find_linker() -> Option<PathBuf> {
    if let Some(path) = env::var_os("BPF_LINKER") {
        return Some(PathBuf::from(path));
    }
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        // A relative path is to be ignored, says the XDG base directory specification.
        .filter(|path| path.is_absolute())
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))?;
    let ours = cache.join("vesta/toolchain/bin/bpf-linker");
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).map(|folder| folder.join("bpf-linker"));
    std::iter::once(ours).chain(on_path).find(|linker| linker.is_file())
}

/// Where the kernel program is compiled: in one place for all profiles and checks of the agent, which all embed the same object.
fn shared_target(out: &Path) -> PathBuf {
    // Cargo marks the folder that it was told to build in.
    let target = out.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    target.unwrap_or(out).join("bpf")
}

fn build(root: &Path, out: &Path) -> PathBuf {
    let toolchain = find_toolchain();
    let target = shared_target(out);
    let mut cargo = match &toolchain.rustc {
        Some(rustc) => {
            let mut cargo = Command::new(env::var_os("CARGO").expect("cargo sets CARGO"));
            // aya-ebpf uses inline BPF assembly, which is not stable yet.
            cargo.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
            cargo
        }
        None => {
            let mut cargo = Command::new("rustup");
            cargo.args(["run", "nightly", "cargo"]).env_remove("RUSTC");
            cargo
        }
    };
    cargo.current_dir(root.join("profiler-bpf")).args(["build", "--locked", "--profile", "bpf"]);
    cargo.args(["--target", "bpfel-unknown-none", "--package", "profiler-bpf", "--target-dir"]).arg(&target);
    if toolchain.rustc.is_none() {
        cargo.args(["-Z", "build-std=core"]);
    }
    clear_inherited(&mut cargo);
    cargo.env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &toolchain.linker);
    // Paths are mapped away so that the object is the same from every checkout.
    cargo.env(
        "CARGO_TARGET_BPFEL_UNKNOWN_NONE_RUSTFLAGS",
        format!(
            "-C debuginfo=2 -C link-arg=--btf -C target-cpu=v3 --remap-path-prefix={}=vesta --remap-path-prefix={}=cargo",
            root.canonicalize().unwrap_or_else(|_| root.to_owned()).display(),
            env::var("CARGO_HOME").unwrap_or_else(|_| format!("{}/.cargo", env::var("HOME").unwrap_or_default())),
        ),
    );
    match cargo.status() {
        Ok(status) if status.success() => target.join("bpfel-unknown-none/bpf/vesta-bpf"),
        Ok(status) => fail(&format!("building the BPF program failed ({status}); the output above says why")),
        Err(error) => fail(&format!("{:?} cannot be started: {error}", cargo.get_program())),
    }
}

/// What cargo set for this build script's own package must not reach the other build.
fn clear_inherited(cargo: &mut Command) {
    for name in [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO_BUILD_TARGET",
    ] {
        cargo.env_remove(name);
    }
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_FEATURE_", "CARGO_CFG_", "CARGO_PROFILE_"].iter().any(|prefix| text.starts_with(prefix)) {
            cargo.env_remove(&name);
        }
    }
}

fn fail(message: &str) -> ! {
    for line in message.lines() {
        println!("cargo::error={line}");
    }
    std::process::exit(1);
}
