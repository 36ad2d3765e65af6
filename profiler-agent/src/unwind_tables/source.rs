//! Where tables come from: what was made lately, the disk, or the file itself. One place for their two users, the builder
//! thread and naming (`naming::finish`), so that none is built twice.
//!
//! A table in the kernel's maps need not stay in memory, too: it is kept here until the stacks that were copied while it
//! was built are finished, and longer only while more of them come.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rustc_hash::FxHashMap;
use symbols::{
    elf::{ElfError, FileFacts},
    unwind_rows::{CallFrameInfo, UnwindRowsError, UnwindTable},
};

use super::disk::{DiskCache, DiskCounts};
use crate::processes::{BinaryHandle, MappedFile};

/// Bytes of tables kept in memory: those of ten programs of a browser's size. Beyond it the least recently used goes.
const KEPT_BYTES_MAX: u64 = 16 << 20;
/// How long a table is kept that nobody asks for: two windows of `record`, whose copies are walked when they end.
const KEEP_UNUSED: Duration = Duration::from_secs(20);
/// How long a file that could not be read is left alone. Never for good: an exiting process's failure is not the file's.
const RETRY: Duration = Duration::from_secs(10);
/// Files with less call frame information are built anew instead of stored: that takes a millisecond, as would opening
/// and checking a file, and most of a system's files are such.
const STORED_FROM_BYTES: usize = 64 << 10;

/// The table of a file, and the facts by which its mappings show it.
#[derive(Debug)]
pub(crate) struct FileTable {
    pub(crate) table: UnwindTable,
    pub(crate) facts: FileFacts,
}

/// Why there is no table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum NoTable {
    /// The file has no call frame information.
    NoInformation,
    /// It could not be opened by its process's mapping; another process's may be.
    Unopened,
    /// It is no ELF file of this machine, or out of all proportion.
    Refused,
    /// Reading it failed; it may go better another time.
    Unreadable,
}

/// Where tables are kept on disk, and how many bytes of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CacheOptions {
    pub(crate) folder: PathBuf,
    pub(crate) limit_bytes: u64,
}

/// Counters.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SourceCounts {
    /// Tables compiled, and read from disk.
    pub(crate) built: u64,
    pub(crate) from_cache: u64,
    /// CPU time for both, nanoseconds.
    pub(crate) cpu_ns: u64,
    /// Files that could not be opened or read, and files refused.
    pub(crate) unopened: u64,
    pub(crate) unreadable: u64,
    pub(crate) refused: u64,
    pub(crate) disk: DiskCounts,
}

/// All tables of files, made as they are asked for.
#[derive(Debug, Default)]
pub(crate) struct TableSource {
    kept: Mutex<Kept>,
    /// One table is made at a time: both users mostly want the same ones, and memory at the peak is that of one.
    maker: Mutex<Maker>,
    /// Apart from the maker, so that reading them waits for no build.
    counts: Mutex<SourceCounts>,
}

type Answer = Result<Arc<FileTable>, NoTable>;

#[derive(Debug, Default)]
struct Kept {
    answers: FxHashMap<BinaryHandle, (Answer, Instant)>,
    bytes: u64,
}

#[derive(Debug, Default)]
struct Maker {
    disk: Option<DiskCache>,
    counts: SourceCounts,
}

impl TableSource {
    /// A source that keeps what it makes on disk, too, if it is told where. A folder that cannot be used is no error:
    /// then tables are built anew.
    pub(crate) fn new(cache: Option<&CacheOptions>) -> Self {
        let mut maker = Maker::default();
        if let Some(CacheOptions { folder, limit_bytes }) = cache {
            match DiskCache::open(folder, *limit_bytes) {
                Ok(disk) => maker.disk = Some(disk),
                Err(error) => {
                    maker.counts.disk.errors += 1;
                    tracing::warn!(path = %folder.display(), %error, "unwind tables are not kept on disk");
                }
            }
        }
        let counts = Mutex::new(maker.counts());
        Self { maker: Mutex::new(maker), counts, ..Self::default() }
    }

    /// The table of a file. Takes as long as building it, if need be.
    pub(crate) fn get(&self, binary: BinaryHandle, file: &MappedFile) -> Answer {
        if let Some(answer) = self.kept().find(binary) {
            return answer;
        }
        let mut maker = locked(&self.maker);
        // Another may have made it while we waited.
        if let Some(answer) = self.kept().find(binary) {
            return answer;
        }
        let answer = maker.make(file);
        *locked(&self.counts) = maker.counts();
        self.kept().insert(binary, answer.clone());
        answer
    }

    /// Forgets tables that nobody asked for lately.
    pub(crate) fn forget_unused(&self) {
        self.kept().retain(|age| age < KEEP_UNUSED);
    }

    /// Counters.
    pub(crate) fn counts(&self) -> SourceCounts {
        *locked(&self.counts)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        locked(&self.kept)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kept {
    fn find(&mut self, binary: BinaryHandle) -> Option<Answer> {
        let (answer, used) = self.answers.get_mut(&binary)?;
        let now = Instant::now();
        match answer {
            // The time is that of the attempt, so that the next one comes.
            Err(NoTable::Unreadable) if now.duration_since(*used) >= RETRY => return None,
            Err(NoTable::Unreadable) => {}
            _ => *used = now,
        }
        Some(answer.clone())
    }

    fn insert(&mut self, binary: BinaryHandle, answer: Answer) {
        self.bytes += size(&answer);
        if let Some((old, _)) = self.answers.insert(binary, (answer, Instant::now())) {
            self.bytes -= size(&old);
        }
        while self.bytes > KEPT_BYTES_MAX && self.drop_oldest(binary) {}
    }

    /// Drops the table used longest ago, but for the one just made; whether there was one.
    fn drop_oldest(&mut self, made: BinaryHandle) -> bool {
        let others = self.answers.iter().filter(|(binary, (answer, _))| **binary != made && answer.is_ok());
        let Some(oldest) = others.min_by_key(|(_, (_, used))| *used).map(|(binary, _)| *binary) else {
            return false;
        };
        let dropped = self.answers.remove(&oldest);
        self.bytes -= dropped.map_or(0, |(answer, _)| size(&answer));
        true
    }

    fn retain(&mut self, mut is_young: impl FnMut(Duration) -> bool) {
        self.answers.retain(|_, (_, used)| is_young(used.elapsed()));
        self.bytes = self.answers.values().map(|(answer, _)| size(answer)).sum();
    }
}

fn size(answer: &Answer) -> u64 {
    answer.as_ref().map_or(0, |known| known.table.stats().bytes)
}

impl Maker {
    fn counts(&self) -> SourceCounts {
        let disk = self.disk.as_ref().map_or(self.counts.disk, DiskCache::counts);
        SourceCounts { disk, ..self.counts }
    }

    fn make(&mut self, mapped: &MappedFile) -> Answer {
        let before = thread_cpu_ns();
        let made = self.load_or_build(mapped);
        self.counts.cpu_ns += thread_cpu_ns() - before;
        match made {
            Ok(made) if made.table.runs().is_empty() => Err(NoTable::NoInformation),
            Ok(made) => Ok(Arc::new(made)),
            Err(error) => Err(self.refuse(error.as_ref())),
        }
    }

    /// The error is none if there is no open file.
    fn load_or_build(&mut self, mapped: &MappedFile) -> Result<FileTable, Option<UnwindRowsError>> {
        let file = mapped.file.as_ref().ok_or(None)?;
        let path = Path::new(&*mapped.path);
        let facts = FileFacts::read(file, path).map_err(UnwindRowsError::from)?;
        let info = CallFrameInfo::read(file, path)?;
        let disk = self.disk.as_mut().filter(|_| info.size() >= STORED_FROM_BYTES);
        let Some(disk) = disk else {
            let table = UnwindTable::compile(&info, path)?;
            self.counts.built += u64::from(!table.runs().is_empty());
            return Ok(FileTable { table, facts });
        };
        let fingerprint = info.fingerprint();
        if let Some(table) = disk.load(&fingerprint) {
            self.counts.from_cache += 1;
            return Ok(FileTable { table, facts });
        }
        let table = UnwindTable::compile(&info, path)?;
        self.counts.built += 1;
        disk.store(&fingerprint, &table);
        Ok(FileTable { table, facts })
    }

    fn refuse(&mut self, error: Option<&UnwindRowsError>) -> NoTable {
        if let Some(error) = error {
            tracing::debug!(%error, "a file has no unwind table");
        }
        let (count, answer) = match error {
            None => (&mut self.counts.unopened, NoTable::Unopened),
            Some(
                UnwindRowsError::Elf(ElfError::Open { .. } | ElfError::Read { .. })
                | UnwindRowsError::Memory { .. },
            ) => (&mut self.counts.unreadable, NoTable::Unreadable),
            Some(_) => (&mut self.counts.refused, NoTable::Refused),
        };
        *count += 1;
        answer
    }
}

/// CPU time of this thread, nanoseconds.
pub(super) fn thread_cpu_ns() -> u64 {
    use rustix::time::{ClockId, clock_gettime};
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, fs::File};

    fn mapped(path: &Path) -> MappedFile {
        let path = fs::canonicalize(path).unwrap();
        let file = File::open(&path).unwrap();
        MappedFile { path: path.to_str().unwrap().into(), file: Some(Arc::new(file)) }
    }

    fn this_program() -> MappedFile {
        mapped(&std::env::current_exe().unwrap())
    }

    const ONE: BinaryHandle = BinaryHandle(1);
    const OTHER: BinaryHandle = BinaryHandle(2);

    #[test]
    fn two_users_share_one_table_that_is_built_once() {
        let source = TableSource::default();
        let answers: Vec<_> = std::thread::scope(|scope| {
            let ask = || source.get(ONE, &this_program()).unwrap();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(answers.iter().all(|answer| Arc::ptr_eq(answer, &answers[0])));
        assert_eq!(source.counts().built, 1);
        assert!(source.counts().cpu_ns > 0);
    }

    #[test]
    fn a_table_outlives_a_restart_and_a_copy_of_the_file_has_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let options = CacheOptions { folder: folder.path().join("tables"), limit_bytes: 1 << 30 };
        let first = TableSource::new(Some(&options));
        let table = first.get(ONE, &this_program()).unwrap();
        assert_eq!((first.counts().built, first.counts().from_cache), (1, 0));
        let copy = folder.path().join("copy");
        fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
        let next = TableSource::new(Some(&options));
        assert_eq!(next.get(ONE, &this_program()).unwrap().table, table.table);
        assert_eq!(next.get(OTHER, &mapped(&copy)).unwrap().table, table.table);
        assert_eq!((next.counts().built, next.counts().from_cache), (0, 2));
        // Small ones are not worth a file.
        next.get(BinaryHandle(3), &mapped(Path::new("/bin/true"))).unwrap();
        assert_eq!(fs::read_dir(&options.folder).unwrap().count(), 1);
        assert_eq!(next.counts().built, 1);
    }

    #[test]
    fn a_folder_that_cannot_be_used_costs_nothing_but_time() {
        let options = CacheOptions { folder: PathBuf::from("/proc/no/such"), limit_bytes: 1 << 30 };
        let source = TableSource::new(Some(&options));
        assert!(source.get(ONE, &this_program()).is_ok());
        assert_eq!((source.counts().built, source.counts().disk.errors), (1, 1));
    }

    #[test]
    fn why_there_is_no_table_is_told_and_counted() {
        let source = TableSource::default();
        let unopened = MappedFile { path: "/gone".into(), file: None };
        let text = mapped(Path::new("/etc/passwd"));
        assert_eq!(source.get(ONE, &unopened).unwrap_err(), NoTable::Unopened);
        assert_eq!(source.get(OTHER, &text).unwrap_err(), NoTable::Refused);
        // A file that was opened and cannot be read.
        let write_only = File::options().append(true).open(tempfile::NamedTempFile::new().unwrap()).unwrap();
        rustix::fs::ftruncate(&write_only, 4096).unwrap();
        let unreadable = MappedFile { path: "/unreadable".into(), file: Some(Arc::new(write_only)) };
        let ask = || source.get(BinaryHandle(3), &unreadable).unwrap_err();
        assert_eq!((ask(), ask()), (NoTable::Unreadable, NoTable::Unreadable));
        let counts = source.counts();
        assert_eq!(
            (counts.unopened, counts.refused, counts.unreadable),
            (1, 1, 1),
            "asked twice, tried once"
        );
        // Its time comes again.
        let past = Instant::now().checked_sub(RETRY).unwrap();
        source.kept().answers.get_mut(&BinaryHandle(3)).unwrap().1 = past;
        assert_eq!(ask(), NoTable::Unreadable);
        assert_eq!(source.counts().unreadable, 2);
    }

    #[test]
    fn memory_is_bounded_and_what_is_unused_goes() {
        let source = TableSource::default();
        let answer = source.get(ONE, &this_program());
        let one = size(&answer);
        let mut kept = source.kept();
        for number in 2..=(KEPT_BYTES_MAX / one + 5) as u32 {
            kept.insert(BinaryHandle(number), answer.clone());
        }
        assert!(kept.bytes <= KEPT_BYTES_MAX && kept.bytes > KEPT_BYTES_MAX - one);
        assert!(kept.find(ONE).is_none(), "the oldest went first");
        assert_eq!(kept.bytes, one * kept.answers.len() as u64);
        kept.retain(|_| false);
        assert_eq!((kept.bytes, kept.answers.len()), (0, 0));
    }
}
