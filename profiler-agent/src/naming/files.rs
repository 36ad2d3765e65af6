//! What is known of each mapped file: its ELF facts, its call frame information, where stacks end in it. Read when a
//! stack first needs it, kept within a budget.

use std::{
    fs::File,
    os::{fd::AsRawFd, unix::fs::FileExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use rustc_hash::FxHashMap;
use symbols::{
    elf::FileFacts,
    frame_pointer_rules::{CfaRule, UnwindInfo},
    stack_ends::StackEnds,
};

use super::truth::CodeFacts;
use crate::{
    processes::{BinaryHandle, MappedFile, VDSO},
    window::RawFrame,
};

/// Bytes of call frame information kept. A large desktop's running set is about 30 MiB; beyond the budget all of it
/// is dropped and read anew as needed.
const UNWIND_BYTES_MAX: usize = 32 << 20;
/// How long it is kept without being asked: it is needed for new places only, whose verdicts are kept, and reading it again
/// takes some milliseconds.
const UNWIND_KEPT: Duration = Duration::from_secs(10);
/// Judgements kept, about 50 bytes each.
const JUDGED_MAX: usize = 262_144;

/// One file.
pub(crate) struct KnownFile {
    /// Path in its process's mount namespace.
    pub(crate) path: Arc<str>,
    /// An open file, and its facts; none if it cannot be read or is no ELF file.
    pub(crate) elf: Option<(Arc<File>, FileFacts)>,
    /// With when it was last asked.
    unwind: Option<(UnwindInfo, Instant)>,
    ends: Option<StackEnds>,
    /// Its call frame information cannot be read.
    is_unreadable: bool,
}

#[derive(Clone, Copy)]
struct Judged {
    rule: Option<CfaRule>,
    root: bool,
    follows_call: Option<bool>,
}

/// All files that stacks have led to.
#[derive(Default)]
pub(crate) struct KnownFiles {
    files: FxHashMap<BinaryHandle, KnownFile>,
    judged: FxHashMap<(BinaryHandle, u64, bool), Judged>,
    unwind_bytes: usize,
    /// Times the call frame information went over its budget.
    pub(crate) evictions: u64,
}

impl KnownFile {
    fn new(mapped: &MappedFile) -> Self {
        let elf =
            mapped.file.as_ref().and_then(|file| match FileFacts::read(file, Path::new(&*mapped.path)) {
                Ok(facts) => Some((file.clone(), facts)),
                Err(error) => {
                    tracing::debug!(%error, "a mapped file has no names");
                    None
                }
            });
        Self { path: mapped.path.clone(), elf, unwind: None, ends: None, is_unreadable: false }
    }

    /// The path to open the file by, wherever it was mapped from and even if it is gone.
    pub(crate) fn open_path(&self) -> Option<PathBuf> {
        let (file, _) = self.elf.as_ref()?;
        Some(PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd())))
    }

    /// ELF virtual address of a file offset.
    pub(crate) fn vaddr(&self, file_offset: u64) -> Option<u64> {
        self.elf.as_ref()?.1.vaddr_of(file_offset)
    }

    /// Lower-case hex; empty if there is none.
    pub(crate) fn build_id(&self) -> &str {
        self.elf.as_ref().and_then(|(_, facts)| facts.build_id()).unwrap_or("")
    }

    /// Reads what is asked of its code; the bytes that it takes.
    fn read_code(&mut self, now: Instant) -> usize {
        let Some((file, _)) = &self.elf else { return 0 };
        let path = Path::new(&*self.path);
        let told =
            |error: &symbols::elf::ElfError| tracing::debug!(%error, "stacks through a file stay unproven");
        self.unwind = UnwindInfo::read(file, path).inspect_err(told).ok().map(|unwind| (unwind, now));
        self.is_unreadable = self.unwind.is_none();
        if self.ends.is_none() && !self.is_unreadable {
            self.ends = StackEnds::read(file, path).inspect_err(told).ok();
        }
        self.unwind_size()
    }

    fn unwind_size(&self) -> usize {
        self.unwind.as_ref().map_or(0, |(unwind, _)| unwind.size())
    }

    fn judge(&self, file_offset: u64, exact: bool) -> Judged {
        let nothing = Judged { rule: None, root: false, follows_call: None };
        let (Some((file, _)), Some((unwind, _))) = (&self.elf, &self.unwind) else { return nothing };
        // A return address may be the first byte after its function: the call before it is what counts.
        let Some(at) = file_offset.checked_sub(u64::from(!exact)).and_then(|offset| self.vaddr(offset))
        else {
            return nothing;
        };
        if exact {
            let root = self.ends.as_ref().is_some_and(|ends| ends.starts_at(file, at));
            return Judged { rule: unwind.rule_at(at), root, ..nothing };
        }
        let mut before = [0; 8];
        let read = file_offset.checked_sub(8).map(|offset| file.read_exact_at(&mut before, offset));
        Judged {
            rule: unwind.rule_at(at),
            root: self.ends.as_ref().is_some_and(|ends| ends.root_at(file, unwind, at + 1).is_some()),
            follows_call: matches!(read, Some(Ok(())))
                .then(|| profiler_unwind::ends_in_call(u64::from_le_bytes(before))),
        }
    }
}

impl KnownFiles {
    /// Takes in the files of a window.
    pub(crate) fn add(&mut self, files: &FxHashMap<BinaryHandle, MappedFile>) {
        for (handle, mapped) in files {
            self.files.entry(*handle).or_insert_with(|| KnownFile::new(mapped));
        }
    }

    /// Takes in the vDSO's image.
    pub(crate) fn add_vdso(&mut self, image: &MappedFile) {
        self.files.insert(VDSO, KnownFile::new(image));
    }

    /// A file.
    pub(crate) fn get(&self, binary: BinaryHandle) -> Option<&KnownFile> {
        self.files.get(&binary)
    }

    /// Forgets files that the last windows did not need: `used` says which they did.
    pub(crate) fn retain(&mut self, mut used: impl FnMut(BinaryHandle) -> bool) {
        let before = self.files.len();
        self.files.retain(|handle, _| *handle == VDSO || used(*handle));
        if self.files.len() < before {
            let files = &self.files;
            self.judged.retain(|(binary, ..), _| files.contains_key(binary));
            self.unwind_bytes = files.values().map(KnownFile::unwind_size).sum();
        }
    }

    /// Drops call frame information that nobody asked lately.
    pub(crate) fn drop_unused(&mut self, now: Instant) {
        if self.unwind_bytes == 0 {
            return;
        }
        for file in self.files.values_mut() {
            file.unwind = file.unwind.take().filter(|(_, used)| now.duration_since(*used) < UNWIND_KEPT);
        }
        self.unwind_bytes = self.files.values().map(KnownFile::unwind_size).sum();
    }

    /// The call frame information of a file, and what else is known of it.
    pub(super) fn unwind_info(
        &mut self,
        binary: BinaryHandle,
        mapped: &MappedFile,
    ) -> Option<(&UnwindInfo, &FileFacts)> {
        self.files.entry(binary).or_insert_with(|| KnownFile::new(mapped));
        self.load_code(binary);
        let file = self.files.get(&binary)?;
        Some((&file.unwind.as_ref()?.0, &file.elf.as_ref()?.1))
    }

    fn judged(&mut self, frame: &RawFrame) -> Option<Judged> {
        let (binary, file_offset, method) = match *frame {
            RawFrame::File { binary, file_offset, method } => (binary, file_offset, method),
            RawFrame::Vdso { offset, method } => (VDSO, offset, method),
            _ => return None,
        };
        let key = (binary, file_offset, method.is_exact());
        if let Some(judged) = self.judged.get(&key) {
            return Some(*judged);
        }
        self.load_code(binary);
        let judged = self.files.get(&binary)?.judge(file_offset, key.2);
        if self.judged.len() >= JUDGED_MAX {
            self.judged.clear();
        }
        self.judged.insert(key, judged);
        Some(judged)
    }

    fn load_code(&mut self, binary: BinaryHandle) {
        let now = Instant::now();
        let Some(file) = self.files.get_mut(&binary) else { return };
        if let Some((_, used)) = &mut file.unwind {
            *used = now;
            return;
        }
        if file.is_unreadable {
            return;
        }
        let bytes = file.read_code(now);
        if self.unwind_bytes + bytes > UNWIND_BYTES_MAX && self.unwind_bytes > 0 {
            let others = self.files.iter_mut().filter(|(other, _)| **other != binary);
            others.for_each(|(_, file)| file.unwind = None);
            self.unwind_bytes = 0;
            self.evictions += 1;
        }
        self.unwind_bytes += bytes;
    }
}

impl CodeFacts for KnownFiles {
    fn rule(&mut self, frame: &RawFrame) -> Option<CfaRule> {
        self.judged(frame)?.rule
    }
    fn is_root(&mut self, frame: &RawFrame) -> bool {
        self.judged(frame).is_some_and(|judged| judged.root)
    }
    fn follows_call(&mut self, frame: &RawFrame) -> Option<bool> {
        self.judged(frame)?.follows_call
    }
}
