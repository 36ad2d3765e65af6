//! A control group (version 2) for the processes of a workload: it knows them all, counts their CPU time to the
//! microsecond, those that have ended included, and ends them together.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// How long killed processes may take to be gone.
const END_GRACE: Duration = Duration::from_secs(10);

/// A control group of our own; its processes are killed and it is removed when it is dropped.
pub(in crate::bench) struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Makes one below the root of the version 2 hierarchy.
    pub(in crate::bench) fn create() -> Result<Cgroup> {
        let mounts = fs::read_to_string("/proc/self/mounts").context("cannot read /proc/self/mounts")?;
        let root =
            mount_point(&mounts).context("no cgroup v2 hierarchy is mounted: mount -t cgroup2 none DIR")?;
        let path = root.join(format!("vesta-bench-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Cgroup { path })
    }

    /// Starts a shell script in it, at this priority, with these variables.
    pub(in crate::bench) fn start(
        &self,
        script: &str,
        niceness: i32,
        variables: &[(&str, String)],
    ) -> Result<Child> {
        let [shell, arguments @ ..] = self.shell(script);
        let mut command = first_in_line(niceness, shell);
        command.args(arguments);
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.spawn().context("cannot start a shell")
    }

    /// The command that runs a shell script in it.
    pub(in crate::bench) fn shell(&self, script: &str) -> [OsString; 5] {
        // The shell enters the group before it becomes the script, so that all of the script is in it.
        let enter = r#"echo $$ >"$0/cgroup.procs" && exec sh -c "$1""#;
        ["sh".into(), "-c".into(), enter.into(), self.path.clone().into(), script.into()]
    }

    /// The processes that are in it now.
    pub(in crate::bench) fn pids(&self) -> BTreeSet<u32> {
        let text = fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// CPU time of all processes that are or were in it.
    pub(in crate::bench) fn cpu_time(&self) -> Result<Duration> {
        let file = self.path.join("cpu.stat");
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        usage(&text).with_context(|| format!("{} does not say `usage_usec`", file.display()))
    }

    /// Kills all of them, and waits until they are gone.
    pub(in crate::bench) fn end(&self) -> Result<()> {
        let file = self.path.join("cgroup.kill");
        fs::write(&file, "1")
            .with_context(|| format!("cannot write {} (Linux 5.14 has it)", file.display()))?;
        let start = Instant::now();
        while !self.pids().is_empty() {
            if start.elapsed() > END_GRACE {
                bail!("processes in {} do not end", self.path.display());
            }
            sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // What does not end is named by whoever looks into the folder, which then stays.
        let _ = self.end();
        let _ = fs::remove_dir(&self.path);
    }
}

/// A command that runs the program at a priority that holds against the whole machine: where the scheduler groups
/// processes by session, a priority is one within the session only, and the session has its own.
pub(in crate::bench) fn first_in_line(niceness: i32, program: impl AsRef<OsStr>) -> Command {
    let script =
        r#"test ! -e /proc/self/autogroup || echo "$0" >/proc/self/autogroup; exec nice -n "$0" "$@""#;
    let mut command = Command::new("setsid");
    command.args(["sh", "-c", script, &niceness.to_string()]).arg(program);
    command
}

/// Where the version 2 hierarchy is mounted.
fn mount_point(mounts: &str) -> Option<&Path> {
    let mut lines = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let line = lines.find(|words| words.get(2) == Some(&"cgroup2"))?;
    line.get(1).copied().map(Path::new)
}

fn usage(text: &str) -> Option<Duration> {
    let value = text.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
    Some(Duration::from_micros(value.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_2_hierarchy_is_found_beside_version_1() {
        let mounts =
            "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(mount_point(mounts), Some(Path::new("/sys/fs/cgroup/unified")));
        assert_eq!(mount_point("proc /proc proc rw 0 0\n"), None);
    }

    #[test]
    fn cpu_time_is_read_in_microseconds() {
        assert_eq!(usage("usage_usec 1500000\nuser_usec 1\n"), Some(Duration::from_millis(1500)));
        assert_eq!(usage("user_usec 1\n"), None);
    }
}
