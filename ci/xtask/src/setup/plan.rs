//! What is missing, and why it is needed: a pure function of the probed state.

use std::fmt::Write as _;

use anyhow::{Result, bail};

use super::probe::{Probe, SystemRustc};

/// What the tests want of Python, as a requirements file.
pub(super) const PYTHON_PACKAGES: &str = "ci/requirements.txt";
/// What the page's tools ask for.
const OLDEST_NODE: u32 = 18;
/// The workspace's rust-version: the distribution's rustc compiles profiler-bpf.
const OLDEST_RUSTC: (u32, u32) = (1, 95);
/// The LLVM versions this bpf-linker has a feature for.
const LINKER_LLVMS: std::ops::RangeInclusive<u32> = 21..=23;

/// How much is wanted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scope {
    /// To build and run.
    Build,
    /// To build, run and test.
    Test,
    /// To build, and to boot other kernels.
    Vm,
}

/// One thing to install.
#[derive(Debug, PartialEq)]
pub(super) struct Step {
    pub(super) what: &'static str,
    pub(super) why: &'static str,
    pub(super) action: Action,
}

/// How a thing is installed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Action {
    /// Packages of the distribution.
    Apt(&'static [&'static str]),
    /// Packages of the distribution's backports, which need not be among the machine's package sources.
    Backports(&'static [&'static str]),
    /// bpf-linker from its source, for the LLVM of the distribution's rustc.
    BpfLinker,
    /// An S3 server from its source.
    S3sFs,
    /// Components of the rustup toolchain.
    Rustup(&'static [&'static str]),
    /// The Python environment of the tests.
    Python,
}

/// What has to be installed, in this order. The error says what a person has to do first.
pub(super) fn plan(probe: &Probe, scope: Scope) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    let mut need = |there: bool, what, why, action| {
        if !there {
            steps.push(Step { what, why, action });
        }
    };
    need(
        probe.cc,
        "gcc",
        "C parts of dependencies (zstd, jemalloc), and test programs",
        Action::Apt(&["gcc", "libc6-dev", "make"]),
    );
    bpf_toolchain(probe, &mut need)?;
    if !probe.page_given || scope == Scope::Test {
        let node = probe.node.is_some_and(|major| major >= OLDEST_NODE);
        need(node, "nodejs", "builds the page (TypeScript, Vite)", Action::Apt(&["nodejs"]));
        need(probe.npm, "npm", "fetches what the page is built with", Action::Apt(&["npm"]));
    }
    if scope == Scope::Test {
        need(probe.cxx, "g++", "test programs in C++, and libFuzzer", Action::Apt(&["g++"]));
        let components = Action::Rustup(&["rustfmt", "clippy"]);
        need(probe.rustfmt_and_clippy, "rustfmt, clippy", "formatting and lints", components);
        let chromium = Action::Apt(&["chromium"]);
        need(probe.chromium, "chromium", "end-to-end tests of the page, headless", chromium);
        let why = "`go tool pprof` opens what Vesta exports; test programs in Go";
        need(probe.go, "golang-go", why, Action::Apt(&["golang-go"]));
        need(probe.gdb, "gdb", "walks the test programs' stacks, too", Action::Apt(&["gdb"]));
        let why = "test programs that hold another C library";
        need(probe.musl, "musl-tools", why, Action::Apt(&["musl-tools"]));
        need(probe.xz, "xz-utils", "packs symbol tables into test programs", Action::Apt(&["xz-utils"]));
        let why = "moves debug info that programs share to a file of its own";
        need(probe.dwz, "dwz", why, Action::Apt(&["dwz"]));
        let why = "a server of debug info that speaks TLS";
        need(probe.openssl, "openssl", why, Action::Apt(&["openssl"]));
        let why = "what perf prints is what `vesta convert` reads";
        need(probe.perf, "linux-perf", why, Action::Apt(&["linux-perf"]));
        let venv = Action::Apt(&["python3", "python3-venv"]);
        need(probe.python_venv, "python3-venv", "an environment for the tests' Python packages", venv);
        let why = "other readers of Vesta's Parquet files, in target/venv";
        need(probe.python_packages, "pyarrow, duckdb, polars, moto", why, Action::Python);
        let why = "an S3 server, to test object storage with; built from source, about a minute";
        need(probe.s3s_fs, "s3s-fs", why, Action::S3sFs);
    }
    if scope == Scope::Vm {
        need(
            probe.busybox,
            "busybox-static",
            "the shell in virtual machines",
            Action::Apt(&["busybox-static"]),
        );
        let why = "virtual machines, to boot other kernels";
        let packages: &[_] = &["qemu-system-x86"];
        if probe.qemu_backported {
            let why =
                "virtual machines; from backports, as the installed qemu-utils, which goes with no other";
            need(probe.qemu, "qemu-system-x86", why, Action::Backports(packages));
        } else {
            need(probe.qemu, "qemu-system-x86", why, Action::Apt(packages));
        }
    }
    check_rights(probe, &steps)?;
    Ok(steps)
}

fn bpf_toolchain(
    probe: &Probe,
    need: &mut impl FnMut(bool, &'static str, &'static str, Action),
) -> Result<()> {
    if probe.bpf_object || probe.bpf_nightly {
        return Ok(());
    }
    let usable = probe.bpf_rustc.filter(|rustc| rustc.version >= OLDEST_RUSTC);
    if let Some(SystemRustc { llvm, .. }) = usable
        && !LINKER_LLVMS.contains(&llvm)
    {
        bail!("bpf-linker cannot link for LLVM {llvm}, which the system's rustc uses.\n{}", other_ways());
    }
    need(
        usable.is_some(),
        "rustc-web and its BPF core",
        "compiles the BPF program",
        Action::Apt(&["rustc-web", "libstd-rust-web-dev-bpf"]),
    );
    let fits = |rustc: SystemRustc| probe.linker_given || probe.linker_llvm == Some(rustc.llvm);
    let linker_fits = usable.is_some_and(fits);
    let why = "links the BPF program; built from source for that rustc's LLVM, about three minutes";
    need(linker_fits, "bpf-linker", why, Action::BpfLinker);
    Ok(())
}

/// How to come by a BPF program without the distribution's rustc.
pub(super) fn other_ways() -> &'static str {
    "Other ways to the BPF program:
  rustup toolchain install nightly --component rust-src && cargo install bpf-linker
  export VESTA_BPF_OBJECT=/path/to/vesta-bpf.o    # one that was built elsewhere"
}

/// Whether the machine lets us install packages at all.
fn check_rights(probe: &Probe, steps: &[Step]) -> Result<()> {
    let mut packages = apt_packages(steps);
    packages.extend(steps.iter().flat_map(|step| match step.action {
        Action::Backports(packages) => packages,
        _ => &[],
    }));
    if packages.is_empty() || (probe.apt && (probe.root || probe.sudo)) {
        return Ok(());
    }
    let mut message = String::from("missing on this machine:\n");
    for step in steps.iter().filter(|step| matches!(step.action, Action::Apt(_) | Action::Backports(_))) {
        writeln!(message, "  {:<24} {}", step.what, step.why)?;
    }
    if probe.apt {
        let packages = packages.join(" ");
        bail!(
            "{message}There is no sudo; as root, type\n  apt-get install --no-install-recommends {packages}"
        );
    }
    bail!("{message}There is no apt-get; install these the way of your system.\n{}", other_ways());
}

/// The packages of all steps that apt-get installs as the machine is.
pub(super) fn apt_packages(steps: &[Step]) -> Vec<&'static str> {
    let packages = steps.iter().filter_map(|step| match step.action {
        Action::Apt(packages) => Some(packages),
        _ => None,
    });
    packages.flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUSTC: SystemRustc = SystemRustc { version: (1, 96), llvm: 22 };

    fn bare_debian() -> Probe {
        Probe { sudo: true, apt: true, ..Probe::default() }
    }

    fn complete() -> Probe {
        Probe {
            cc: true,
            cxx: true,
            bpf_rustc: Some(RUSTC),
            linker_llvm: Some(22),
            node: Some(18),
            npm: true,
            rustfmt_and_clippy: true,
            chromium: true,
            go: true,
            gdb: true,
            musl: true,
            xz: true,
            perf: true,
            dwz: true,
            openssl: true,
            python_venv: true,
            python_packages: true,
            s3s_fs: true,
            qemu: true,
            busybox: true,
            ..Probe::default()
        }
    }

    fn planned(probe: &Probe, scope: Scope) -> Vec<&'static str> {
        plan(probe, scope).unwrap().iter().map(|step| step.what).collect()
    }

    #[test]
    fn a_bare_machine_gets_everything_compilers_first() {
        let steps = planned(&bare_debian(), Scope::Test);
        let expected = [
            "gcc",
            "rustc-web and its BPF core",
            "bpf-linker",
            "nodejs",
            "npm",
            "g++",
            "rustfmt, clippy",
            "chromium",
            "golang-go",
            "gdb",
            "musl-tools",
            "xz-utils",
            "dwz",
            "openssl",
            "linux-perf",
            "python3-venv",
            "pyarrow, duckdb, polars, moto",
            "s3s-fs",
        ];
        assert_eq!(steps, expected);
    }

    #[test]
    fn building_asks_for_no_test_tools() {
        let steps = planned(&bare_debian(), Scope::Build);
        assert_eq!(steps, ["gcc", "rustc-web and its BPF core", "bpf-linker", "nodejs", "npm"]);
    }

    #[test]
    fn a_complete_machine_gets_nothing_and_needs_no_rights() {
        for scope in [Scope::Build, Scope::Test, Scope::Vm] {
            assert_eq!(planned(&complete(), scope), [""; 0]);
        }
    }

    #[test]
    fn virtual_machines_need_qemu_and_no_test_tools() {
        let without =
            Probe { qemu: false, busybox: false, chromium: false, apt: true, root: true, ..complete() };
        assert_eq!(planned(&without, Scope::Vm), ["busybox-static", "qemu-system-x86"]);
        assert!(!planned(&without, Scope::Test).contains(&"qemu-system-x86"));
    }

    #[test]
    fn qemu_comes_from_where_its_other_packages_came_from() {
        let probe = Probe { qemu: false, qemu_backported: true, apt: true, root: true, ..complete() };
        let steps = plan(&probe, Scope::Vm).unwrap();
        assert!(
            matches!(steps[..], [Step { action: Action::Backports(["qemu-system-x86"]), .. }]),
            "{steps:?}"
        );
        let error = plan(&Probe { root: false, ..probe }, Scope::Vm).unwrap_err().to_string();
        assert!(error.contains("qemu-system-x86"), "{error}");
    }

    #[test]
    fn aya_s_usual_set_up_or_a_ready_object_needs_no_bpf_toolchain() {
        let without = Probe { bpf_rustc: None, linker_llvm: None, ..complete() };
        assert_eq!(planned(&Probe { bpf_nightly: true, ..without }, Scope::Build), [""; 0]);
        assert_eq!(planned(&Probe { bpf_object: true, ..without }, Scope::Build), [""; 0]);
    }

    #[test]
    fn a_linker_for_another_llvm_is_built_again() {
        let upgraded = Probe { linker_llvm: Some(21), ..complete() };
        assert_eq!(planned(&upgraded, Scope::Build), ["bpf-linker"]);
    }

    #[test]
    fn a_linker_of_one_s_own_is_not_built_again() {
        let probe = Probe { linker_llvm: None, linker_given: true, ..complete() };
        assert_eq!(planned(&probe, Scope::Build), [""; 0]);
    }

    #[test]
    fn an_old_rustc_is_replaced_and_an_unknown_llvm_is_explained() {
        let old = SystemRustc { version: (1, 85), llvm: 19 };
        let probe = Probe { bpf_rustc: Some(old), ..bare_debian() };
        assert!(planned(&probe, Scope::Build).contains(&"rustc-web and its BPF core"));
        let new = SystemRustc { version: (1, 120), llvm: 30 };
        let error =
            plan(&Probe { bpf_rustc: Some(new), ..complete() }, Scope::Build).unwrap_err().to_string();
        assert!(error.contains("LLVM 30") && error.contains("VESTA_BPF_OBJECT"), "{error}");
    }

    #[test]
    fn an_old_node_counts_as_missing() {
        assert_eq!(
            planned(&Probe { node: Some(16), apt: true, root: true, ..complete() }, Scope::Build),
            ["nodejs"]
        );
    }

    #[test]
    fn a_page_built_elsewhere_needs_node_only_for_tests() {
        let probe = Probe { page_given: true, node: None, npm: false, apt: true, root: true, ..complete() };
        assert_eq!(planned(&probe, Scope::Build), [""; 0]);
        assert_eq!(planned(&probe, Scope::Test), ["nodejs", "npm"]);
    }

    #[test]
    fn without_rights_the_error_says_what_to_type() {
        let error = plan(&Probe { sudo: false, ..bare_debian() }, Scope::Build).unwrap_err().to_string();
        assert!(
            error.contains("as root, type") && error.contains("rustc-web libstd-rust-web-dev-bpf"),
            "{error}"
        );
        let error = plan(&Probe::default(), Scope::Build).unwrap_err().to_string();
        assert!(
            error.contains("no apt-get") && error.contains("rustup toolchain install nightly"),
            "{error}"
        );
    }
}
