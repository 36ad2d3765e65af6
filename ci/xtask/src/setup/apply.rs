//! Installs what the plan names.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::plan::{Action, PYTHON_PACKAGES, Step, apt_packages, other_ways};
use super::probe::{Probe, llvm_of_library};
use crate::apt::{Apt, archive, codename};
use crate::paths;
use crate::process::{cargo, line, output, run, run_with_retries, say};

/// The bpf-linker that is known to link this program.
pub(super) const BPF_LINKER_VERSION: &str = "0.13.0";
/// The S3 server of the tests: later ones have other rules for what they refuse.
pub(super) const S3S_FS_VERSION: &str = "0.14.1";

/// Installs packages if any are missing, else does the other steps: those build on packages, and are planned again
/// once the packages are there.
pub(super) fn apply(steps: &[Step], probe: &Probe) -> Result<()> {
    let packages = apt_packages(steps);
    if !packages.is_empty() {
        if !probe.root {
            say("sudo is needed to install packages");
        }
        for mut command in apt(&packages, probe.root) {
            run_with_retries(&mut command).with_context(|| apt_help(&packages))?;
        }
        return Ok(());
    }
    for step in steps {
        match step.action {
            Action::Apt(_) => {}
            Action::Backports(packages) => backports(packages)?,
            Action::Rustup(components) => run_with_retries(&mut rustup(components))?,
            Action::BpfLinker => bpf_linker(probe)?,
            Action::S3sFs => run_with_retries(&mut s3s_fs(&toolchain()?))?,
            Action::Python => python()?,
        }
    }
    Ok(())
}

/// The commands that all the steps come to, to be read.
pub(super) fn commands(steps: &[Step], probe: &Probe) -> Result<Vec<String>> {
    let packages = apt_packages(steps);
    let mut lines = Vec::new();
    if !packages.is_empty() {
        lines.extend(apt(&packages, probe.root).iter().map(line));
    }
    for step in steps {
        match step.action {
            Action::Apt(_) => {}
            Action::Backports(packages) => {
                let (apt, suites) = backports_apt()?;
                lines.push(line(&apt.update_command()));
                lines.push(line(&install_backports(&apt, &suites[1], packages)));
            }
            Action::Rustup(components) => lines.push(line(&rustup(components))),
            Action::BpfLinker => {
                let rustc = probe.bpf_rustc.filter(|_| !packages.contains(&"rustc-web"));
                let llvm = rustc.map_or("NN".to_owned(), |rustc| rustc.llvm.to_string());
                lines.push(line(&cargo_install(&toolchain()?, &llvm)));
            }
            Action::S3sFs => lines.push(line(&s3s_fs(&toolchain()?))),
            Action::Python => lines.extend(python_commands().iter().map(line)),
        }
    }
    Ok(lines)
}

fn apt(packages: &[&str], root: bool) -> [Command; 2] {
    let apt_get = |arguments: &[&str]| {
        // Through `env`, because sudo does not hand variables on.
        let words = ["sudo", "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"];
        let words = if root { &words[1..] } else { &words[..] };
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(["-o", "DPkg::Lock::Timeout=300"]).args(arguments);
        command
    };
    let mut install = apt_get(&["install", "--yes", "--no-install-recommends", "--no-remove"]);
    install.args(packages);
    [apt_get(&["update", "--quiet"]), install]
}

/// Lists of our own with the release and its backports: a machine that did not ask for backports is not given them
/// for good.
fn backports_apt() -> Result<(Apt, [String; 2])> {
    let cache = paths::cache().context("neither XDG_CACHE_HOME nor HOME says where to keep package lists")?;
    let codename = codename().context("/etc/os-release names no release")?;
    let suites = [codename.clone(), format!("{codename}-backports")];
    let apt = Apt::new(cache.join("backports"), &archive()?, &[&suites[0], &suites[1]]);
    Ok((apt, suites))
}

fn backports(packages: &[&str]) -> Result<()> {
    let (apt, suites) = backports_apt()?;
    apt.update()?;
    run_with_retries(&mut install_backports(&apt, &suites[1], packages))
}

fn install_backports(apt: &Apt, suite: &str, packages: &[&str]) -> Command {
    let mut install = apt.command_as_root("apt-get");
    install.args(["-o", "DPkg::Lock::Timeout=300", "install", "--yes", "--no-install-recommends"]);
    install.args(["--no-remove", "--target-release", suite]).args(packages);
    install
}

fn apt_help(packages: &[&str]) -> String {
    let mut help = String::from("packages could not be installed");
    if packages.contains(&"rustc-web") {
        help.push_str("; rustc-web comes from Debian's security archive, which must be among the sources.\n");
        help.push_str(other_ways());
    }
    help
}

fn rustup(components: &[&str]) -> Command {
    let mut command = Command::new("rustup");
    command.args(["component", "add"]).args(components);
    command
}

fn toolchain() -> Result<PathBuf> {
    paths::toolchain().context("neither XDG_CACHE_HOME nor HOME says where to keep bpf-linker")
}

/// Builds bpf-linker against the LLVM library that the distribution's rustc uses. Its headers are not needed, only a
/// folder in which the library has the name a linker looks for.
fn bpf_linker(probe: &Probe) -> Result<()> {
    let llvm = probe.bpf_rustc.context("there is no rustc with a BPF core")?.llvm;
    let library = llvm_library(llvm)?;
    let toolchain = toolchain()?;
    let lib = toolchain.join("llvm/lib");
    fs::create_dir_all(&lib).with_context(|| format!("cannot create {}", lib.display()))?;
    let link = lib.join("libLLVM.so");
    if link.is_symlink() {
        fs::remove_file(&link).with_context(|| format!("cannot replace {}", link.display()))?;
    }
    symlink(&library, &link).with_context(|| format!("cannot create {}", link.display()))?;
    run_with_retries(&mut cargo_install(&toolchain, &llvm.to_string()))
        .with_context(|| format!("bpf-linker could not be built.\n{}", other_ways()))
}

fn cargo_install(toolchain: &Path, llvm: &str) -> Command {
    let mut command = cargo();
    command.args(["install", "bpf-linker", "--version", BPF_LINKER_VERSION, "--locked", "--force"]);
    command.args(["--no-default-features", "--features", &format!("llvm-{llvm}"), "--root"]).arg(toolchain);
    command.env("LLVM_PREFIX", toolchain.join("llvm"));
    command
}

/// Without optimisation: it serves some megabytes, and builds in a third of the time.
fn s3s_fs(toolchain: &Path) -> Command {
    let mut command = cargo();
    command.args(["install", "s3s-fs", "--version", S3S_FS_VERSION, "--locked", "--force", "--debug"]);
    command.args(["--features", "binary", "--root"]).arg(toolchain);
    command
}

/// The library file in the package of this LLVM.
fn llvm_library(llvm: u32) -> Result<PathBuf> {
    let files = output(Command::new("dpkg-query").args(["--listfiles", &format!("libllvm{llvm}")]));
    let files =
        files.with_context(|| format!("the package libllvm{llvm} of the system's rustc is not installed"))?;
    match library_among(&files, llvm) {
        Some(path) => Ok(path),
        None => bail!("the package libllvm{llvm} holds no libLLVM.so"),
    }
}

fn library_among(files: &str, llvm: u32) -> Option<PathBuf> {
    let is_library = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.contains(".so") && llvm_of_library(&name) == Some(llvm)
    };
    files.lines().map(PathBuf::from).find(|path| is_library(path))
}

/// A copy of the requirements that the environment was filled from.
pub(super) fn python_stamp() -> PathBuf {
    paths::venv().join("requirements.installed")
}

fn python_commands() -> [Command; 2] {
    let mut create = Command::new("python3");
    create.args(["-m", "venv"]).arg(paths::venv());
    let mut fill = Command::new(paths::venv().join("bin/python"));
    fill.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]);
    fill.arg(paths::root().join(PYTHON_PACKAGES));
    [create, fill]
}

fn python() -> Result<()> {
    let [mut create, mut fill] = python_commands();
    run(&mut create)?;
    run_with_retries(&mut fill)?;
    let stamp = python_stamp();
    fs::copy(paths::root().join(PYTHON_PACKAGES), &stamp)
        .with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::plan::{Scope, plan};
    use crate::setup::probe::SystemRustc;

    #[test]
    fn one_apt_command_installs_all_with_sudo_only_for_users() {
        let user = Probe { apt: true, sudo: true, ..Probe::default() };
        let lines = commands(&plan(&user, Scope::Test).unwrap(), &user).unwrap();
        let installs: Vec<_> =
            lines.iter().filter(|line| line.contains("apt-get") && line.contains(" install ")).collect();
        assert_eq!(installs.len(), 1);
        assert!(installs[0].starts_with("sudo env ") && installs[0].contains(" rustc-web "), "{installs:?}");
        let sudos = lines.iter().filter(|line| line.contains("sudo")).count();
        assert_eq!(sudos, 2, "update and install, nothing else: {lines:#?}");

        let root = Probe { root: true, ..user };
        let lines = commands(&plan(&root, Scope::Test).unwrap(), &root).unwrap();
        assert!(lines.iter().all(|line| !line.contains("sudo")), "{lines:#?}");
    }

    #[test]
    fn bpf_linker_is_built_for_the_llvm_that_rustc_uses() {
        let rustc = SystemRustc { version: (1, 99), llvm: 23 };
        let probe = Probe { apt: true, root: true, bpf_rustc: Some(rustc), ..Probe::default() };
        let lines = commands(&plan(&probe, Scope::Build).unwrap(), &probe).unwrap();
        assert!(
            lines.iter().any(|line| line.contains("bpf-linker") && line.contains("llvm-23")),
            "{lines:#?}"
        );
    }

    #[test]
    fn the_library_is_found_among_the_files_of_its_package() {
        let files = "/.\n/usr/lib/x86_64-linux-gnu/libLLVM.so.22.1\n/usr/share/doc/libllvm22\n/usr/lib/x/libLLVM-22.so\n";
        assert_eq!(
            library_among(files, 22),
            Some(PathBuf::from("/usr/lib/x86_64-linux-gnu/libLLVM.so.22.1"))
        );
        assert_eq!(library_among(files, 21), None);
    }
}
