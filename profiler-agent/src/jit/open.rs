//! Opening a process's perf map: the one that it wrote, in its own mount namespace, and no other.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags, fstat, openat, openat2},
    time::{ClockId, clock_getres, clock_gettime},
};

use crate::{processes::ProcessIdentity, processor::unix_ms};

/// `/proc/PID/stat` counts in hundredths of a second.
const TICK_NS: u64 = 10_000_000;
/// How much older than its process a map may seem: its file system may have coarse times.
const SLACK: Duration = Duration::from_secs(1);
/// Of `/proc/PID/status` and `stat`; they have some kilobytes.
const PROC_AT_MOST: u64 = 64 << 10;

/// Why there is no map.
#[derive(Debug)]
pub(super) enum NoMap {
    /// Not yet, or one that an earlier process of this id left behind.
    NotThere,
    /// The process has ended.
    Gone,
    /// Not a plain file, or of a user who is neither the process's nor root.
    Refused(&'static str),
}

/// What /proc says of a process.
struct Facts {
    /// Its id in the innermost pid namespace that it is in.
    inner_pid: u32,
    /// Its effective user.
    user: u32,
    start_ticks: u64,
}

/// The map of a process that is still there.
pub(super) fn open_map(pid: u32, identity: ProcessIdentity) -> Result<File, NoMap> {
    let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let (process, facts) = open_process(pid, identity).ok_or(NoMap::Gone)?;
    let root = openat(&process, "root", folder, Mode::empty()).map_err(|_| NoMap::Gone)?;
    let path = format!("tmp/perf-{}.map", facts.inner_pid);
    checked(open_in(&root, &path)?, facts.user, identity)
}

/// The map of a process that has ended, if its /tmp was ours.
pub(super) fn open_map_of_ended(pid: u32, identity: ProcessIdentity) -> Result<File, NoMap> {
    let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, "/", folder, Mode::empty()).map_err(|_| NoMap::NotThere)?;
    let file = open_in(&root, &format!("tmp/perf-{pid}.map"))?;
    // Whose it was cannot be asked any more; its times say that it is no other's of this id.
    let owner = fstat(&file).map_err(|_| NoMap::NotThere)?.st_uid;
    checked(file, owner, identity)
}

/// Links in the path lead to what they mean to the process, and never out of its root.
fn open_in(root: &OwnedFd, path: &str) -> Result<File, NoMap> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    match openat2(root, path, flags, Mode::empty(), resolve) {
        Ok(file) => Ok(File::from(file)),
        Err(rustix::io::Errno::LOOP) => Err(NoMap::Refused("it is a link")),
        Err(_) => Err(NoMap::NotThere),
    }
}

fn checked(file: File, user: u32, identity: ProcessIdentity) -> Result<File, NoMap> {
    check_owner(&file, user)?;
    let stat = fstat(&file).map_err(|_| NoMap::NotThere)?;
    if written_ms(&stat) < started_ms(identity) - SLACK.as_millis() as i64 {
        return Err(NoMap::NotThere);
    }
    Ok(file)
}

/// What a process reads as its own must be its own, or root's: whoever else may write to /tmp could name its code.
pub(super) fn check_owner(file: &File, user: u32) -> Result<(), NoMap> {
    let stat = fstat(file.as_fd()).map_err(|_| NoMap::NotThere)?;
    if !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() {
        return Err(NoMap::Refused("it is no plain file"));
    }
    if stat.st_uid != user && stat.st_uid != 0 {
        return Err(NoMap::Refused("it belongs to another user"));
    }
    Ok(())
}

/// The effective user of a process, if it is still this one.
pub(super) fn user_of(pid: u32, identity: ProcessIdentity) -> Option<u32> {
    open_process(pid, identity).map(|(_, facts)| facts.user)
}

/// The memory of a process, if it is still this one and may be read.
pub(crate) fn open_memory(pid: u32, identity: ProcessIdentity) -> Option<File> {
    let (process, _) = open_process(pid, identity)?;
    openat(&process, "mem", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok().map(File::from)
}

/// The folder of a process that is still there, and what it says.
fn open_process(pid: u32, identity: ProcessIdentity) -> Option<(OwnedFd, Facts)> {
    let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // All else is asked of this one, so that the id cannot come to stand for another process in between.
    let process = openat(CWD, format!("/proc/{pid}"), folder, Mode::empty()).ok()?;
    let facts = facts(&process)?;
    (facts.start_ticks == identity.start_time_ns / TICK_NS).then_some((process, facts))
}

/// When the process started, Unix milliseconds.
fn started_ms(identity: ProcessIdentity) -> i64 {
    let boot = clock_gettime(ClockId::Boottime);
    let boot_ms = boot.tv_sec * 1000 + boot.tv_nsec as i64 / 1_000_000;
    unix_ms() - boot_ms + (identity.start_time_ns / 1_000_000) as i64
}

fn facts(process: &OwnedFd) -> Option<Facts> {
    let text = |name: &str| -> Option<String> {
        let file = openat(process, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let mut bytes = Vec::new();
        File::from(file).take(PROC_AT_MOST).read_to_end(&mut bytes).ok()?;
        // The process's name need not be text.
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    facts_in(&text("status")?, &text("stat")?)
}

fn facts_in(status: &str, stat: &str) -> Option<Facts> {
    let line = |key: &str| status.lines().find_map(|line| line.strip_prefix(key));
    let inner_pid = line("NSpid:")?.split_ascii_whitespace().next_back()?.parse().ok()?;
    let user = line("Uid:")?.split_ascii_whitespace().nth(1)?.parse().ok()?;
    // The name, in parentheses, may have any byte in it; the 22nd field is the 20th behind it.
    let start_ticks = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()?;
    Some(Facts { inner_pid, user, start_ticks })
}

/// When a file was last written, Unix milliseconds, as likely earlier as later: a file's time is that of the kernel's last
/// tick before.
fn written_ms(stat: &rustix::fs::Stat) -> i64 {
    let tick_ns = clock_getres(ClockId::RealtimeCoarse).tv_nsec as i64;
    stat.st_mtime * 1000 + (stat.st_mtime_nsec as i64 + tick_ns / 2) / 1_000_000
}

/// How long a file is, when it was last written, and whether it still has a name.
pub(super) fn state_of(file: &File) -> io::Result<(u64, i64, bool)> {
    let stat = fstat(file.as_fd())?;
    Ok((stat.st_size as u64, written_ms(&stat), stat.st_nlink > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_found_whatever_a_process_calls_itself() {
        let status = "Name:\tx\nUid:\t1000\t1001\t1002\t1003\nNSpid:\t4711\t12\t3\n";
        let stat = "4711 (Uid: ) x (y) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20";
        let facts = facts_in(status, stat).unwrap();
        assert_eq!((facts.inner_pid, facts.user, facts.start_ticks), (3, 1001, 4242));
        assert!(facts_in("", stat).is_none() && facts_in(status, "4711 (x").is_none());
    }

    fn us() -> ProcessIdentity {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let ticks = facts_in(&status, &stat).unwrap().start_ticks;
        ProcessIdentity { start_time_ns: ticks * TICK_NS + 5, exec_id: 0 }
    }

    #[test]
    fn our_own_map_is_found_and_that_of_a_former_process_of_the_id_is_not() {
        let pid = std::process::id();
        let path = format!("/tmp/perf-{pid}.map");
        assert!(matches!(open_map(pid, us()), Err(NoMap::NotThere)));
        std::fs::write(&path, "1000 10 here\n").unwrap();
        let found = open_map(pid, us());
        let other = ProcessIdentity { start_time_ns: us().start_time_ns + TICK_NS, exec_id: 0 };
        let others = open_map(pid, other);
        File::open(&path).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        let old = open_map(pid, us());
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        let link = open_map(pid, us());
        std::fs::remove_file(&path).unwrap();
        assert!(found.is_ok(), "{found:?}");
        assert!(matches!(others, Err(NoMap::Gone)), "{others:?}");
        assert!(matches!(old, Err(NoMap::NotThere)), "{old:?}");
        assert!(matches!(link, Err(NoMap::Refused(_))), "{link:?}");
    }

    #[test]
    fn files_of_others_are_refused() {
        let file = tempfile::tempfile().unwrap();
        let owner = fstat(&file).unwrap().st_uid;
        assert!(check_owner(&file, owner).is_ok());
        assert_eq!(check_owner(&file, owner + 1).is_err(), owner != 0);
        assert!(matches!(check_owner(&File::open("/dev/null").unwrap(), 0), Err(NoMap::Refused(_))));
    }
}
