//! Running other programs: said before it is done, and with an error that names the command.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// A line of ours among the output of others.
pub(crate) fn say(text: &str) {
    println!("xtask: {text}");
}

/// The cargo that runs us. It is not told which package we are: build scripts that look there would begin anew, and half
/// of all dependencies with them, each time that cargo was called by hand in between.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(crate::paths::root());
    let is_ours = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_ours)) {
        command.env_remove(name);
    }
    command
}

/// True if this process may do everything.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// The program as root: itself if we are, else by way of sudo with our environment.
pub(crate) fn as_root(program: impl AsRef<OsStr>) -> Command {
    if is_root() {
        return Command::new(program);
    }
    let mut sudo = Command::new("sudo");
    sudo.arg("--preserve-env").arg(program);
    sudo
}

/// The command as one would type it.
pub(crate) fn line(command: &Command) -> String {
    let program = command.get_program();
    // The toolchain's cargo by its full path is one that nobody types.
    let program =
        if std::env::var_os("CARGO").as_deref() == Some(program) { "cargo".as_ref() } else { program };
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| quoted(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

/// A word as a shell reads it.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@+~".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Says the command and runs it; anything but success is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    println!("  $ {}", line(command));
    let status = command.status().with_context(|| format!("cannot start `{}`", line(command)))?;
    if !status.success() {
        bail!("`{}` failed ({status})", line(command));
    }
    Ok(())
}

/// Like [`run`], for commands that use the network: up to three tries, with growing pauses between.
pub(crate) fn run_with_retries(command: &mut Command) -> Result<()> {
    with_retries(sleep, || run(command))
}

/// Seconds to wait before the second and the third try.
const PAUSES: [u64; 2] = [3, 10];

fn with_retries(mut pause: impl FnMut(Duration), mut attempt: impl FnMut() -> Result<()>) -> Result<()> {
    for seconds in PAUSES {
        match attempt() {
            Ok(()) => return Ok(()),
            Err(error) => say(&format!("{error:#}; again in {seconds} s")),
        }
        pause(Duration::from_secs(seconds));
    }
    attempt()
}

/// What the command prints, or `None` when it cannot be run or fails.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_one_would_type_it() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo it's", ""]);
        assert_eq!(line(&command), r"sh -c 'echo it'\''s' ''");
    }

    #[test]
    fn what_fails_twice_and_then_works_is_no_error() {
        let (mut tries, mut waited) = (0, Vec::new());
        let result = with_retries(
            |pause| waited.push(pause.as_secs()),
            || {
                tries += 1;
                if tries < 3 { bail!("not yet") } else { Ok(()) }
            },
        );
        assert!(result.is_ok());
        assert_eq!((tries, waited), (3, PAUSES.to_vec()));
    }

    #[test]
    fn after_three_tries_the_error_stands() {
        let mut tries = 0;
        let result = with_retries(
            |_| (),
            || {
                tries += 1;
                bail!("try {tries}")
            },
        );
        assert_eq!(result.unwrap_err().to_string(), "try 3");
    }

    #[test]
    fn a_failing_command_is_named() {
        let error = run(Command::new("sh").args(["-c", "exit 7"])).unwrap_err().to_string();
        assert!(error.contains("sh -c") && error.contains('7'), "{error}");
    }
}
