//! The initial file system of a machine: a shell, our programs with the libraries they load, and what to do.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::paths;
use crate::process::{line, output};

/// What is mounted, in this order: type, and where.
const MOUNTS: [(&str, &str); 7] = [
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("tmpfs", "/tmp"),
    ("cgroup2", "/sys/fs/cgroup"),
    ("tracefs", "/sys/kernel/tracing"),
    ("securityfs", "/sys/kernel/security"),
];
/// The serial port that answers are written to; the first one is the console.
const ANSWERS: &str = "/dev/ttyS1";
/// The last line of the answers: without it the machine ended before its time.
pub(super) const END: &str = "end";

/// A program to put into the machine.
pub(super) struct Program {
    /// Where it is on this machine.
    pub(super) from: PathBuf,
    /// Where it will be.
    pub(super) to: String,
}

/// Writes the archive that the kernel unpacks as its first file system. `work` is what the machine does: lines of
/// shell, which can use `tell`, see [`init`].
pub(super) fn build(folder: &Path, programs: &[Program], work: &str) -> Result<PathBuf> {
    let root = folder.join("root");
    if root.exists() {
        fs::remove_dir_all(&root).with_context(|| format!("cannot remove {}", root.display()))?;
    }
    let busybox = paths::program("busybox").context("there is no busybox")?;
    put(&root, &busybox, "/bin/busybox")?;
    for program in programs {
        put(&root, &program.from, &program.to)?;
    }
    let path = root.join("init");
    fs::write(&path, init(work)).with_context(|| format!("cannot write {}", path.display()))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    let archive = folder.join("initrd");
    pack(&root, &archive)?;
    Ok(archive)
}

/// Copies a program and the libraries it is linked with.
fn put(root: &Path, from: &Path, to: &str) -> Result<()> {
    copy(root, from, to)?;
    // Fails for what is linked statically, or is no program.
    let listing = output(Command::new("ldd").arg(from)).unwrap_or_default();
    for library in libraries(&listing).with_context(|| from.display().to_string())? {
        copy(root, Path::new(library), library)?;
    }
    Ok(())
}

fn copy(root: &Path, from: &Path, to: &str) -> Result<()> {
    let to = root.join(to.trim_start_matches('/'));
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    }
    fs::copy(from, &to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

/// The files in what `ldd` prints.
fn libraries(listing: &str) -> Result<Vec<&str>> {
    let mut libraries = Vec::new();
    for line in listing.lines() {
        let (name, found) = line.split_once("=>").unwrap_or(("", line));
        let path = found.split_whitespace().next().unwrap_or_default();
        if path.starts_with('/') {
            libraries.push(path);
        } else if path == "not" {
            bail!("the library {} is not found", name.trim());
        }
    }
    Ok(libraries)
}

/// The first process: mounts what programs expect, does the work, and turns the machine off.
///
/// `tell NAME COMMAND…` runs a command and answers with its exit code and its output, as lines `NAME.exit CODE` and
/// `NAME TEXT`. What it writes to standard error goes to the console.
fn init(work: &str) -> String {
    let mut script = String::from("#!/bin/busybox sh\n/bin/busybox mkdir -p /bin /etc /root");
    for (_, folder) in MOUNTS.iter().take(4) {
        let _ = write!(script, " {folder}");
    }
    script.push_str("\n/bin/busybox --install -s /bin\nexport PATH=/bin HOME=/root\n");
    for (kind, folder) in MOUNTS {
        let _ = writeln!(script, "mount -t {kind} {kind} {folder}");
    }
    let _ = write!(
        script,
        "stty raw -F {ANSWERS}
exec 3>{ANSWERS}
tell() {{
    name=$1; shift
    \"$@\" >/tmp/output
    echo \"$name.exit $?\" >&3
    sed \"s|^|$name |\" /tmp/output >&3
}}
{work}
echo {END} >&3
sync
poweroff -f
"
    );
    script
}

/// All files under `root`, in the format that kernels read, which is also read uncompressed.
fn pack(root: &Path, archive: &Path) -> Result<()> {
    let mut names = String::new();
    list(root, Path::new("."), &mut names)?;
    let file = File::create(archive).with_context(|| format!("cannot create {}", archive.display()))?;
    let mut cpio = Command::new("busybox");
    cpio.args(["cpio", "-o", "-H", "newc", "-R", "0:0"]).current_dir(root);
    // It says on standard error how many blocks it wrote.
    let started = cpio.stdin(Stdio::piped()).stdout(file).stderr(Stdio::null()).spawn();
    let mut child = started.with_context(|| format!("cannot start `{}`", line(&cpio)))?;
    // Dropped at the end of the statement: the list ends there.
    child.stdin.take().context("no standard input")?.write_all(names.as_bytes())?;
    let status = child.wait()?;
    if !status.success() {
        bail!("`{}` failed ({status})", line(&cpio));
    }
    Ok(())
}

/// Folders before what is in them, as the kernel wants it.
fn list(root: &Path, folder: &Path, names: &mut String) -> Result<()> {
    let path = root.join(folder);
    for entry in fs::read_dir(&path).with_context(|| format!("cannot read {}", path.display()))? {
        let entry = entry?;
        let name = folder.join(entry.file_name());
        let _ = writeln!(names, "{}", name.display());
        if entry.file_type()?.is_dir() {
            list(root, &name, names)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_what_ldd_prints() {
        let listing = "\tlinux-vdso.so.1 (0x00007ffe)
\tlibgcc_s.so.1 => /lib/x86_64-linux-gnu/libgcc_s.so.1 (0x00007f31)
\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f31)
\t/lib64/ld-linux-x86-64.so.2 (0x00007f31)
";
        let expected = [
            "/lib/x86_64-linux-gnu/libgcc_s.so.1",
            "/lib/x86_64-linux-gnu/libc.so.6",
            "/lib64/ld-linux-x86-64.so.2",
        ];
        assert_eq!(libraries(listing).unwrap(), expected);
        assert!(libraries("").unwrap().is_empty());
        let error = libraries("\tlibx.so => not found\n").unwrap_err().to_string();
        assert!(error.contains("libx.so"), "{error}");
    }

    #[test]
    fn the_first_process_is_a_valid_script_that_always_ends() {
        let script = init("tell kernel uname -r");
        let path = std::env::temp_dir().join(format!("xtask-init-{}", std::process::id()));
        fs::write(&path, &script).unwrap();
        let checked = Command::new("sh").arg("-n").arg(&path).status().unwrap();
        fs::remove_file(&path).unwrap();
        assert!(checked.success(), "{script}");
        assert!(script.ends_with("poweroff -f\n"), "{script}");
    }

    #[test]
    fn what_is_told_comes_with_its_name_and_exit_code() {
        let script = init("");
        let tell = &script[script.find("tell()").unwrap()..script.find("\n}\n").unwrap() + 3];
        let test =
            format!("exec 3>&1\n{tell}tell ok printf 'a b\\nc\\n'\ntell wrong sh -c 'echo x; exit 7'\n");
        let answer = output(Command::new("sh").args(["-c", &test])).unwrap();
        assert_eq!(answer, "ok.exit 0\nok a b\nok c\nwrong.exit 7\nwrong x\n");
    }
}
