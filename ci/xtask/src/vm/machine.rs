//! A virtual machine: QEMU, with a time limit, a console and a port for answers.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::image::END;
use crate::process::line;

const QEMU: &str = "qemu-system-x86_64";
/// Lines of the console that an error shows.
const TAIL: usize = 25;

/// Who executes the machine's instructions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Accelerator {
    Kvm,
    /// QEMU itself: ten times slower, and everywhere.
    Tcg,
}

impl Accelerator {
    /// The best that works here. A /dev/kvm that can be opened is not enough: some hosts offer one that fails later.
    pub(super) fn usable() -> Accelerator {
        let mut trial = Command::new(QEMU);
        trial.args(Accelerator::Kvm.arguments()).args(["-nodefaults", "-display", "none", "-S"]);
        trial.args(["-monitor", "stdio"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut quits = || -> std::io::Result<ExitStatus> {
            let mut child = trial.spawn()?;
            // One that has ended already reads no more; its exit status tells.
            let _ = child.stdin.take().map(|mut monitor| monitor.write_all(b"quit\n"));
            child.wait()
        };
        if quits().is_ok_and(|status| status.success()) { Accelerator::Kvm } else { Accelerator::Tcg }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Accelerator::Kvm => "KVM",
            Accelerator::Tcg => "emulation",
        }
    }

    fn arguments(self) -> [&'static str; 6] {
        let accelerator = match self {
            Accelerator::Kvm => "kvm",
            // With a thread for each CPU, kernels were seen to panic.
            Accelerator::Tcg => "tcg,thread=single",
        };
        // Two CPUs: one for the program that is sampled, one for who samples it.
        ["-accel", accelerator, "-cpu", "max", "-smp", "2"]
    }
}

/// Where the console goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Console {
    /// To a file, for the case that something goes wrong.
    Kept,
    /// To whoever sits here, who can also type.
    Terminal,
}

/// A machine to be run once.
pub(super) struct Machine<'a> {
    pub(super) kernel: &'a Path,
    pub(super) initrd: &'a Path,
    /// More of the kernel's command line.
    pub(super) append: &'a str,
    /// Where the answers and the console are kept.
    pub(super) folder: &'a Path,
    pub(super) accelerator: Accelerator,
    pub(super) console: Console,
    pub(super) limit: Duration,
}

impl Machine<'_> {
    /// Runs it until it turns itself off; what it answered, without the last line that says that this is all.
    pub(super) fn run(&self) -> Result<String> {
        let mut command = self.command();
        command.stdin(if self.console == Console::Terminal { Stdio::inherit() } else { Stdio::null() });
        for path in [self.answers(), self.log()] {
            // Those of an earlier run must not be taken for this one's.
            let _ = fs::remove_file(path);
        }
        let child = command.spawn().with_context(|| format!("cannot start `{}`", line(&command)))?;
        let status = Ended(child).within(self.limit)?;
        let answers = fs::read_to_string(self.answers()).unwrap_or_default();
        let Some(status) = status else {
            bail!("the machine did not end within {} s\n{}", self.limit.as_secs(), self.tail());
        };
        match answers.trim_end().strip_suffix(END) {
            Some(complete) if status.success() => Ok(complete.to_owned()),
            _ => bail!("the machine ended before its work was done ({status})\n{}", self.tail()),
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(QEMU);
        command.args(self.accelerator.arguments()).args(["-m", "2048", "-nodefaults", "-no-reboot"]);
        command.args(["-display", "none", "-monitor", "none"]);
        command.arg("-kernel").arg(self.kernel).arg("-initrd").arg(self.initrd);
        // A panic restarts the machine at once, which ends it. The check whether timer interrupts come in time fails
        // where an emulated machine has to wait for a CPU, and is a panic.
        let words = format!("console=ttyS0 quiet panic=-1 no_timer_check {}", self.append);
        command.args(["-append", words.trim_end()]);
        let console = match self.console {
            Console::Kept => format!("file:{}", self.log().display()),
            Console::Terminal => "stdio".to_owned(),
        };
        command.args(["-serial", &console, "-serial", &format!("file:{}", self.answers().display())]);
        command
    }

    fn answers(&self) -> PathBuf {
        self.folder.join("answers")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("console")
    }

    /// The end of the console, for errors.
    fn tail(&self) -> String {
        match self.console {
            Console::Kept => tail(&String::from_utf8_lossy(&fs::read(self.log()).unwrap_or_default())),
            Console::Terminal => String::new(),
        }
    }
}

fn tail(console: &str) -> String {
    let lines: Vec<&str> = console.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() {
        return "its console stayed empty".to_owned();
    }
    let last = &lines[lines.len().saturating_sub(TAIL)..];
    format!("the end of its console:\n  {}", last.join("\n  "))
}

/// A process that does not outlive us, whatever fails.
struct Ended(Child);

impl Ended {
    /// The exit status, or nothing when it is still there after `limit`.
    fn within(mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        let deadline = Instant::now() + limit;
        loop {
            match self.0.try_wait().context("cannot wait for QEMU")? {
                Some(status) => return Ok(Some(status)),
                None if Instant::now() > deadline => return Ok(None),
                None => sleep(Duration::from_millis(50)),
            }
        }
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        if !matches!(self.0.try_wait(), Ok(Some(_))) && self.0.kill().is_ok() {
            let _ = self.0.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(console: Console) -> Machine<'static> {
        Machine {
            kernel: Path::new("/k/vmlinuz"),
            initrd: Path::new("/i/initrd"),
            append: "nosmt",
            folder: Path::new("/f"),
            accelerator: Accelerator::Tcg,
            console,
            limit: Duration::from_secs(1),
        }
    }

    #[test]
    fn the_console_is_kept_or_shown_and_answers_have_a_port_of_their_own() {
        let kept = line(&machine(Console::Kept).command());
        assert!(kept.contains("-serial file:/f/console -serial file:/f/answers"), "{kept}");
        assert!(kept.contains("-accel tcg,thread=single") && kept.contains("-kernel /k/vmlinuz"), "{kept}");
        assert!(kept.contains(" nosmt'"), "{kept}");
        let shown = line(&machine(Console::Terminal).command());
        assert!(shown.contains("-serial stdio -serial file:/f/answers"), "{shown}");
    }

    #[test]
    fn an_error_shows_the_end_of_the_console() {
        let console: String = (0..100).map(|number| format!("line {number}\r\n\r\n")).collect();
        let shown = tail(&console);
        assert!(shown.ends_with("line 98\n  line 99") && !shown.contains("line 74\n"), "{shown}");
        assert_eq!(shown.lines().count(), TAIL + 1);
        assert_eq!(tail("\r\n"), "its console stayed empty");
    }

    #[test]
    fn what_does_not_end_in_time_is_ended() {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id();
        assert!(Ended(child).within(Duration::from_millis(10)).unwrap().is_none());
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
        let child = Command::new("true").spawn().unwrap();
        assert!(Ended(child).within(Duration::from_secs(60)).unwrap().unwrap().success());
    }
}
