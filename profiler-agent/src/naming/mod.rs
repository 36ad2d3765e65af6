//! From windows to profiles: every place gets its names, every stack its verdict. On a thread of its own, so that a
//! gigabyte of debug information stops no sample.

mod all_registers;
mod files;
mod finish;
mod jit;
mod made_code;
mod names;
mod one_file;
mod open;
mod truth;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use rustc_hash::{FxHashMap, FxHashSet};
use store::model::{Profile, ProfileBuilder};

use crate::{
    debuginfod::Fetcher,
    kubernetes::Pods,
    processes::{BinaryHandle, vdso_image},
    unwind_tables::TableSource,
    window::{Unfinished, Window},
};
use files::KnownFiles;
use finish::{Finished, Finisher};
use names::{NameCache, Place};
pub(crate) use one_file::FileNames;
use open::OpenWindow;

/// What every profile of this agent says of itself.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) host: String,
    /// CPU time that one sample stands for.
    pub(crate) period_ns: i64,
    /// Labels of all samples, as users said.
    pub(crate) labels: Vec<(String, String)>,
}

/// How many user stacks there were, and how many of them are whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) samples: u64,
    pub(crate) user_stacks: u64,
    pub(crate) complete: u64,
    pub(crate) incomplete: BTreeMap<&'static str, u64>,
}

impl Tally {
    /// Adds another's counts.
    pub(crate) fn add(&mut self, other: &Self) {
        self.samples += other.samples;
        self.user_stacks += other.user_stacks;
        self.complete += other.complete;
        for (reason, samples) in &other.incomplete {
            *self.incomplete.entry(reason).or_default() += samples;
        }
    }
}

/// Names windows, part by part. Not `Send`: it lives on the thread that made it.
pub(crate) struct Namer {
    origin: Origin,
    kernel_build_id: String,
    files: KnownFiles,
    names: NameCache,
    finisher: Finisher,
    /// Samples of the open window whose stacks were walked here.
    finished: Vec<Finished>,
    open: OpenWindow,
    is_logged: bool,
    last_used: FxHashMap<BinaryHandle, Instant>,
    debug_info: DebugInfoComes,
    pods: Option<Pods>,
}

/// Debug info that comes while we are at work.
struct DebugInfoComes {
    fetcher: Option<Fetcher>,
    /// Files that had come when names were last looked up anew.
    seen: u64,
    looked: Instant,
}

/// Names are looked up anew this often at most, while debug info comes: all of what is known of files is read again.
const LOOK_ANEW: Duration = Duration::from_secs(10);
/// How long a file may go unused before its facts are forgotten and it is closed.
const KEEP_UNUSED: Duration = Duration::from_secs(120);

impl Namer {
    /// Names for windows of this origin; what unwind tables it needs come from this source. Whether their profiles are
    /// built so that they can be logged is for the sink to say.
    pub(crate) fn new(
        origin: Origin,
        tables: Arc<TableSource>,
        is_logged: bool,
        fetcher: Option<Fetcher>,
        pods: Option<Pods>,
    ) -> Self {
        let mut files = KnownFiles::default();
        if let Some(image) = vdso_image() {
            files.add_vdso(&image);
        }
        let kernel_build_id = symbols::kernel::build_id().ok().flatten().unwrap_or_default();
        Self {
            origin,
            kernel_build_id,
            files,
            names: NameCache::new(fetcher.as_ref().map(Fetcher::folder)),
            finisher: Finisher::new(tables),
            finished: Vec::new(),
            open: OpenWindow::new(is_logged),
            is_logged,
            last_used: FxHashMap::default(),
            debug_info: DebugInfoComes { fetcher, seen: 0, looked: Instant::now() },
            pods,
        }
    }

    /// Walks copied stacks of the window that is still open.
    pub(crate) fn walk(&mut self, stacks: Vec<Unfinished>) {
        for stack in stacks {
            let finished = self.finisher.finish(stack, &mut self.files);
            self.finished.push(finished);
        }
        self.finisher.forget();
    }

    /// Adds a part to the open window, and counts its stacks.
    pub(crate) fn add(&mut self, mut part: Window) -> Tally {
        let unfinished = std::mem::take(&mut part.unfinished);
        self.walk(unfinished);
        for finished in self.finished.drain(..) {
            finished.count(&mut part);
        }
        jit::settle(&part);
        self.files.add(&part.files);
        let now = Instant::now();
        self.last_used.extend(part.files.keys().map(|binary| (*binary, now)));
        let frames = part.stacks.frames().iter();
        let places: FxHashSet<Place> = frames.filter_map(|frame| names::place(frame, &self.files)).collect();
        self.take_in_debug_info();
        self.names.look_up(places.into_iter(), &self.files);
        self.ask_for_debug_info();
        let mut open = std::mem::take(&mut self.open);
        let tally = open.add(part, self);
        self.open = open;
        self.files.drop_unused(now);
        tally
    }

    /// The profile of the open window so far.
    pub(crate) fn open(&mut self) -> &mut ProfileBuilder {
        &mut self.open.builder
    }

    /// The profile of the window, which closes.
    pub(crate) fn close(&mut self, start_ms: i64, end_ms: i64) -> Profile {
        let mut closed = std::mem::replace(&mut self.open, OpenWindow::new(self.is_logged));
        closed.name_made_code(self);
        closed.name_pods(self);
        self.forget_unused();
        closed.builder.finish(start_ms, end_ms)
    }

    /// Looks names up anew if debug info has come since: what is sampled from now on has them. What was sampled before
    /// gets them late.
    fn take_in_debug_info(&mut self) {
        let DebugInfoComes { fetcher: Some(fetcher), seen, looked } = &mut self.debug_info else { return };
        let fetched = fetcher.fetched();
        if *seen == fetched || looked.elapsed() < LOOK_ANEW {
            return;
        }
        (*seen, *looked) = (fetched, Instant::now());
        self.names.forget_files();
        self.open.forget_names();
    }

    fn ask_for_debug_info(&mut self) {
        let wanting = self.names.take_wanting();
        let Some(fetcher) = &self.debug_info.fetcher else { return };
        for file in wanting.into_iter().filter_map(|binary| self.files.get(binary)) {
            fetcher.want(file.build_id());
        }
    }

    fn forget_unused(&mut self) {
        self.last_used.retain(|_, used| used.elapsed() < KEEP_UNUSED);
        let last_used = &self.last_used;
        self.files.retain(|binary| last_used.contains_key(&binary));
        self.names.forget_unused(KEEP_UNUSED, |binary| last_used.contains_key(&binary));
    }

    /// Times caches went over their limits.
    pub(crate) fn evictions(&self) -> u64 {
        self.files.evictions + self.names.evictions
    }
}
