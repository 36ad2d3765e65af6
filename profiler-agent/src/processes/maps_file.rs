//! Executable mappings out of `/proc/PID/maps`.
//!
//! Read byte by byte rather than with a crate: paths need not be UTF-8, and one odd line must not hide the rest of
//! the process.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
};

use super::{
    mappings::{Backing, FileKey, Mapping},
    shared::Shared,
};

/// Bytes read of one maps file: 128,000 mappings of a usual line length. What lies beyond is found by misses.
const MAPS_BYTES_MAX: u64 = 16 << 20;

/// Threads of a process that are asked, one after the other, when its first one has ended.
const THREADS_ASKED: usize = 64;

/// What the folder in /proc of a process says, or that of one of its threads: when the first thread has ended and others
/// go on, that of the process says nothing.
pub(crate) fn of_any_thread<T>(pid: u32, mut ask: impl FnMut(&str) -> Option<T>) -> Option<T> {
    if let Some(said) = ask(&format!("/proc/{pid}")) {
        return Some(said);
    }
    let mut threads = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten().take(THREADS_ASKED);
    threads.find_map(|thread| ask(thread.path().to_str()?))
}

/// The executable mappings of a live process.
pub(crate) fn read(pid: u32, paths: &mut Shared<str>) -> io::Result<Vec<Mapping>> {
    let mapped = |folder: &str| read_in(folder, paths).ok().filter(|mappings| !mappings.is_empty());
    of_any_thread(pid, mapped).ok_or_else(|| io::Error::other("the process has no mappings"))
}

fn read_in(folder: &str, paths: &mut Shared<str>) -> io::Result<Vec<Mapping>> {
    let file = File::open(format!("{folder}/maps"))?;
    let mut reader = BufReader::with_capacity(64 << 10, file.take(MAPS_BYTES_MAX));
    let mut mappings = Vec::new();
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        if let Some(mapping) = parse(&String::from_utf8_lossy(&line), paths) {
            mappings.push(mapping);
        }
        line.clear();
    }
    Ok(mappings)
}

/// One line, `start-end perms offset major:minor inode path`; none if not executable or not understood.
fn parse(line: &str, paths: &mut Shared<str>) -> Option<Mapping> {
    let mut rest = line.trim_end_matches('\n');
    let mut field = || {
        let (head, tail) = rest.split_once(' ').unwrap_or((rest, ""));
        rest = tail;
        head
    };
    let (range, perms, offset, device, inode) = (field(), field(), field(), field(), field());
    if perms.as_bytes().get(2) != Some(&b'x') {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let (major, minor) = device.split_once(':')?;
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let key = FileKey { major: hex(major)? as u32, minor: hex(minor)? as u32, inode: inode.parse().ok()? };
    let (start, end) = (hex(start)?, hex(end)?);
    if start >= end {
        return None;
    }
    Some(Mapping {
        start,
        end,
        file_offset: hex(offset)?,
        backing: Backing::of(rest.trim_start(), key, paths),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Option<Mapping> {
        super::parse(line, &mut Shared::default())
    }

    #[test]
    fn lines_are_read_and_what_does_not_execute_is_left_out() {
        let file = parse("7f00-7fff r-xp 00026000 fe:01 1234                   /usr/lib/a b.so (deleted)\n")
            .unwrap();
        assert_eq!((file.start, file.end, file.file_offset), (0x7f00, 0x7fff, 0x26000));
        let Backing::File { key, path } = &file.backing else { panic!("{file:?}") };
        assert_eq!(*key, FileKey { major: 0xfe, minor: 1, inode: 1234 });
        assert_eq!(&**path, "/usr/lib/a b.so", "the kernel's mark is no part of the name");
        assert_eq!(parse("7f00-7fff rw-p 00000000 00:00 0 \n"), None);
        assert_eq!(parse("7f00-7fff rwxp 00000000 00:00 0 \n").unwrap().backing, Backing::Anonymous);
        assert_eq!(parse("7f00-7fff r-xp 00000000 00:00 0      [vdso]\n").unwrap().backing, Backing::Vdso);
        for odd in
            ["", "x", "7f00 r-xp", "7fff-7f00 r-xp 0 0:0 0", "zz-7f r-xp 0 0:0 0 /x", "1-2 r-xp 0 00 0 /x"]
        {
            assert_eq!(parse(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn our_own_executable_is_among_our_mappings() {
        let exe = std::env::current_exe().unwrap();
        let mappings = read(std::process::id(), &mut Shared::default()).unwrap();
        assert!(
            mappings.iter().any(
                |m| matches!(&m.backing, Backing::File { path, .. } if **path == *exe.to_str().unwrap())
            )
        );
    }
}
