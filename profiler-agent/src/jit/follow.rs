//! The thread that reads perf maps and jitdump files as they grow.
//!
//! A line of a perf map says from where to where code lies, not since when. So maps are read as soon as the kernel
//! says that they were written to: what a line names lies there since then. Lines that were there when the map was first
//! read hold for all time before.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::fs::FileExt,
    },
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, TryRecvError},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::inotify,
};
use symbols::jit::{DumpReader, MapReader};

use super::{
    JitProcess, Shared,
    open::{self, NoMap},
};
use crate::{processor::unix_ms, window::ClockOffset};

/// How often files are looked at without being told.
const LOOK: Duration = Duration::from_millis(100);
/// How long lines may gather before they are read; a runtime that starts writes thousands one by one.
const GATHER: Duration = Duration::from_millis(3);
/// How long until a map that is not there is looked for again; doubled each time. Looking costs some microseconds, and a process that
/// ends takes its /tmp along.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LAST: Duration = Duration::from_secs(1);
/// Processes followed at once: two files each, well below the limit of a process.
const PROCESSES_MAX: usize = 1024;
/// Names of all processes together.
const ALL_NAME_BYTES: usize = 64 << 20;
/// Of one map, however often it is written anew: 30 million names.
const MAP_BYTES_MAX: u64 = 1 << 30;
/// Read in one go, so that other files get their turn.
const READ_AT_ONCE: usize = 1 << 20;
/// The last bytes that were read: if they are others by now, the map was written anew.
const TAIL_BYTES: usize = 64;

/// Follows those that come, until no one holds any of them nor may send more.
pub(super) fn follow(work: &Receiver<Arc<JitProcess>>, shared: &Shared) {
    let mut follower = Follower::new(shared);
    loop {
        if follower.all.is_empty() {
            match work.recv() {
                Ok(process) => follower.take(process),
                Err(_) => return,
            }
        }
        loop {
            match work.try_recv() {
                Ok(process) => follower.take(process),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => break,
            }
        }
        follower.forget();
        follower.look(|_| true);
        follower.wait();
    }
}

struct Follower<'a> {
    shared: &'a Shared,
    all: Vec<Followed>,
    inotify: Option<OwnedFd>,
}

struct Followed {
    process: Arc<JitProcess>,
    map: Option<OpenMap>,
    dump: Option<(Arc<File>, DumpReader)>,
    /// When a map is looked for again; none: never.
    retry: Option<Instant>,
    pause: Duration,
    /// What this one added to the counters.
    names: u64,
    bytes: u64,
    dropped: u64,
}

struct OpenMap {
    file: File,
    reader: MapReader,
    offset: u64,
    /// All that was read, also of former versions.
    read: u64,
    tail: Vec<u8>,
    /// When it was last read to its end, Unix milliseconds; none before.
    looked_ms: Option<i64>,
    watch: Option<i32>,
}

impl<'a> Follower<'a> {
    fn new(shared: &'a Shared) -> Self {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let inotify = inotify::init(flags).map_err(|error| {
            tracing::debug!(%error, "perf maps are looked at ten times a second only");
        });
        Self { shared, all: Vec::new(), inotify: inotify.ok() }
    }

    fn take(&mut self, process: Arc<JitProcess>) {
        if self.all.len() >= PROCESSES_MAX {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            process.looked_ms.store(i64::MAX, Ordering::Release);
            return;
        }
        let retry = Some(Instant::now());
        let followed = Followed {
            process,
            map: None,
            dump: None,
            retry,
            pause: RETRY_FIRST,
            names: 0,
            bytes: 0,
            dropped: 0,
        };
        self.all.push(followed);
    }

    /// Lets go of those that no one has samples of.
    fn forget(&mut self) {
        let (inotify, shared) = (self.inotify.as_ref(), self.shared);
        self.all.retain_mut(|followed| {
            let is_wanted = Arc::strong_count(&followed.process) > 1;
            if !is_wanted {
                followed.close(inotify);
                shared.names.fetch_sub(followed.names, Ordering::Relaxed);
                shared.bytes.fetch_sub(followed.bytes, Ordering::Relaxed);
            }
            is_wanted
        });
        let open =
            self.all.iter().filter(|followed| followed.map.is_some() || followed.dump.is_some()).count();
        shared.followed.store(open as u64, Ordering::Relaxed);
    }

    fn look(&mut self, wanted: impl Fn(&Followed) -> bool) {
        for followed in self.all.iter_mut().filter(|followed| wanted(followed)) {
            let has_room = (self.shared.bytes.load(Ordering::Relaxed) as usize) < ALL_NAME_BYTES;
            followed.look(self.inotify.as_ref(), self.shared, has_room);
        }
    }

    /// Until it is time for the next look at all; meanwhile at those that are written to.
    fn wait(&mut self) {
        let until = Instant::now() + LOOK;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            let Some(inotify) = &self.inotify else { return thread::sleep(left) };
            let mut fds = [PollFd::new(inotify, PollFlags::IN)];
            let timeout = rustix::time::Timespec { tv_sec: 0, tv_nsec: left.subsec_nanos().into() };
            match poll(&mut fds, Some(&timeout)) {
                Ok(0) => return,
                Ok(_) => {}
                Err(_) => return thread::sleep(left),
            }
            thread::sleep(GATHER);
            let written = written_to(inotify);
            self.look(|followed| {
                let watch = followed.map.as_ref().and_then(|map| map.watch);
                watch.is_some_and(|watch| written.contains(&watch))
            });
        }
    }
}

fn written_to(inotify: &OwnedFd) -> Vec<i32> {
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(inotify, &mut buffer);
    let mut watches = Vec::new();
    // More than a look's worth is seen by the next look.
    while let Ok(event) = reader.next()
        && watches.len() < 4096
    {
        watches.push(event.wd());
    }
    watches.sort_unstable();
    watches.dedup();
    watches
}

impl Followed {
    fn look(&mut self, inotify: Option<&OwnedFd>, shared: &Shared, has_room: bool) {
        let now_ms = unix_ms();
        self.open(inotify, shared);
        let mut is_behind = false;
        if has_room {
            is_behind |= self.look_at_map(now_ms, shared);
            is_behind |= self.look_at_dump(shared);
        }
        self.count(shared);
        if !is_behind {
            self.process.looked_ms.store(now_ms, Ordering::Release);
        }
    }

    /// Looks for a map if there is none, or if the one that is open has lost its name.
    fn open(&mut self, inotify: Option<&OwnedFd>, shared: &Shared) {
        if let Some(file) = self.process.take_dump() {
            self.take_dump(file, shared);
        }
        if self.retry.is_none_or(|retry| retry > Instant::now()) {
            return;
        }
        let has_name = |map: &OpenMap| open::state_of(&map.file).is_ok_and(|(_, _, has_name)| has_name);
        if self.map.as_ref().is_some_and(has_name) {
            self.retry = Some(Instant::now() + RETRY_FIRST);
            return;
        }
        let (pid, identity) = (self.process.pid, self.process.identity);
        let found = match open::open_map(pid, identity) {
            Err(NoMap::Gone) => {
                self.retry = None;
                if self.map.is_some() { Err(NoMap::Gone) } else { open::open_map_of_ended(pid, identity) }
            }
            found => found,
        };
        match found {
            Ok(file) => self.take_map(file, inotify),
            Err(NoMap::Refused(why)) => {
                tracing::debug!(pid, why, "a perf map is not read");
                shared.refused.fetch_add(1, Ordering::Relaxed);
                self.retry = self.retry.map(|_| Instant::now() + RETRY_LAST);
            }
            Err(NoMap::NotThere) => {
                self.retry = self.retry.map(|_| Instant::now() + self.pause);
                self.pause = (self.pause * 2).min(RETRY_LAST);
            }
            Err(NoMap::Gone) => {}
        }
    }

    fn take_map(&mut self, file: File, inotify: Option<&OwnedFd>) {
        let is_new_version = self.map.is_some();
        let read = self.map.as_ref().map_or(0, |map| map.read);
        self.close(inotify);
        if is_new_version {
            self.process.names().end_all(unix_ms());
        }
        // Through the descriptor: its path means something else in another mount namespace.
        let watch = inotify.and_then(|inotify| {
            let path = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
            inotify::add_watch(inotify, path, inotify::WatchFlags::MODIFY).ok()
        });
        let looked_ms = is_new_version.then(unix_ms);
        let map = OpenMap {
            file,
            reader: MapReader::default(),
            offset: 0,
            read,
            tail: Vec::new(),
            looked_ms,
            watch,
        };
        self.map = Some(map);
        self.pause = RETRY_FIRST;
        self.retry = self.retry.map(|_| Instant::now() + RETRY_FIRST);
    }

    fn take_dump(&mut self, file: Arc<File>, shared: &Shared) {
        // Mapped by the process: the file itself is right, but is it its own?
        let user = open::user_of(self.process.pid, self.process.identity);
        match user.map(|user| open::check_owner(&file, user)) {
            Some(Ok(())) => self.dump = Some((file, DumpReader::default())),
            _ => {
                shared.refused.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn close(&mut self, inotify: Option<&OwnedFd>) {
        if let (Some(inotify), Some(watch)) = (inotify, self.map.take().and_then(|map| map.watch)) {
            // It is gone already if the file is.
            let _ = inotify::remove_watch(inotify, watch);
        }
    }

    /// Whether there is more to read.
    fn look_at_map(&mut self, now_ms: i64, shared: &Shared) -> bool {
        let Some(map) = &mut self.map else { return false };
        let garbage = map.reader.garbage();
        let result = map.look(&self.process, now_ms);
        shared.garbage.fetch_add(map.reader.garbage().saturating_sub(garbage), Ordering::Relaxed);
        result.unwrap_or_else(|error| {
            tracing::debug!(%error, pid = self.process.pid, "a perf map cannot be read");
            false
        })
    }

    fn look_at_dump(&mut self, shared: &Shared) -> bool {
        let Some((file, reader)) = &mut self.dump else { return false };
        let clock = ClockOffset::now();
        let garbage = reader.garbage();
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        let result = reader.read_on(
            |bytes, offset| file.read_at(bytes, offset),
            length,
            |ns| clock.unix_ms(ns),
            &mut self.process.names(),
        );
        shared.garbage.fetch_add(reader.garbage() - garbage, Ordering::Relaxed);
        result.unwrap_or_else(|error| {
            tracing::debug!(%error, pid = self.process.pid, "a jitdump file is not read on");
            shared.refused.fetch_add(1, Ordering::Relaxed);
            self.dump = None;
            false
        })
    }

    fn count(&mut self, shared: &Shared) {
        let names = self.process.names();
        let now = [names.len() as u64, names.bytes() as u64, names.dropped()];
        let before = [&mut self.names, &mut self.bytes, &mut self.dropped];
        for ((now, before), count) in
            now.into_iter().zip(before).zip([&shared.names, &shared.bytes, &shared.dropped])
        {
            // Wraps around where there are fewer by now.
            count.fetch_add(now.wrapping_sub(*before), Ordering::Relaxed);
            *before = now;
        }
    }
}

impl OpenMap {
    /// Reads what is new; whether there is more.
    fn look(&mut self, process: &JitProcess, now_ms: i64) -> io::Result<bool> {
        let (length, written_ms, _) = open::state_of(&self.file)?;
        if length < self.offset || !self.has_same_tail()? {
            process.names().end_all(written_ms);
            (self.offset, self.reader) = (0, MapReader::default());
            self.tail.clear();
        }
        if length <= self.offset || self.read >= MAP_BYTES_MAX {
            self.looked_ms = Some(now_ms);
            return Ok(false);
        }
        // Written between the last look and this one, at about the file's own time of it.
        let from = self.looked_ms.map_or(i64::MIN, |looked| written_ms.clamp(looked, now_ms.max(looked)));
        let mut bytes = vec![0; READ_AT_ONCE.min((length - self.offset) as usize)];
        let count = self.file.read_at(&mut bytes, self.offset)?;
        let bytes = &bytes[..count];
        let mut names = process.names();
        self.reader.feed(bytes, |code| names.add(code, from));
        drop(names);
        self.offset += count as u64;
        self.read += count as u64;
        let kept = bytes.len().min(TAIL_BYTES);
        self.tail.extend_from_slice(&bytes[bytes.len() - kept..]);
        self.tail.drain(..self.tail.len().saturating_sub(TAIL_BYTES));
        let is_behind = count > 0 && self.offset < length;
        if !is_behind {
            self.looked_ms = Some(now_ms);
        }
        Ok(is_behind)
    }

    fn has_same_tail(&self) -> io::Result<bool> {
        let mut bytes = [0; TAIL_BYTES];
        let bytes = &mut bytes[..self.tail.len()];
        match self.file.read_exact_at(bytes, self.offset - bytes.len() as u64) {
            Ok(()) => Ok(*bytes == *self.tail),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }
}
