//! Names for what was stored without: when debug info has come since, by a package, a server or a person.

use std::{
    collections::BTreeMap,
    fs,
    os::{fd::AsRawFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use rustc_hash::{FxHashMap, FxHashSet};
use store::{
    Nameless, NamelessFile, Pace, SegmentInfo, Skipped, Store, TimeRange,
    model::{LateName, LateNames},
};
use symbols::{
    elf::FileFacts,
    local_files,
    symbolizer::{Options, Symbolizer},
};

use crate::debuginfod::is_build_id;

/// What an agent looks at by itself: what is older is asked for less than the work is worth. `vesta symbols resolve` does it.
const OWN_RANGE_MS: i64 = 7 * 86_400_000;
/// Segments that an agent looks at in one round, 30 s after another: it begins with a week of them.
const SEGMENTS_OF_A_ROUND: usize = 200;
/// Memory for debug info in an agent, while a round lasts. Files with more are named by their symbols.
const OWN_MEMORY: u64 = 64 << 20;

/// What was looked at, and what came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) segments: usize,
    /// Segments that others took the place of.
    pub(crate) renamed: usize,
    /// Places without names, and those that have some now.
    pub(crate) places: usize,
    pub(crate) named: usize,
    /// Files of the other places, with how many these are.
    pub(crate) left: BTreeMap<NamelessFile, usize>,
    pub(crate) skipped: Vec<Skipped>,
}

/// Finds names by build ID.
pub(crate) struct LateNamer {
    options: Options,
    symbolizer: Symbolizer,
}

impl LateNamer {
    /// Looks in these folders.
    pub(crate) fn new(options: Options) -> Self {
        Self { symbolizer: Symbolizer::new(options.clone()), options }
    }

    /// Gives the segment names, unless `is_dry`; the outcome is added.
    pub(crate) fn segment(
        &mut self,
        store: &Store,
        segment: &Arc<SegmentInfo>,
        nameless: &Nameless,
        (pace, is_dry): (&Pace, bool),
        outcome: &mut Outcome,
    ) -> store::Result<()> {
        let mut late = LateNames::default();
        outcome.segments += 1;
        for (file, addresses) in nameless {
            let before = late.len();
            let addresses: Vec<u64> = addresses.iter().copied().collect();
            for (address, names) in addresses.iter().zip(self.names(file, &addresses)) {
                late.insert(&file.build_id, *address, names);
            }
            outcome.places += addresses.len();
            let left = addresses.len() - (late.len() - before);
            if left > 0 {
                *outcome.left.entry(file.clone()).or_default() += left;
            }
        }
        outcome.named += late.len();
        if late.is_empty() {
            return Ok(());
        }
        if is_dry || store.name_late(segment, &late, pace)?.is_some() {
            outcome.renamed += 1;
        }
        Ok(())
    }

    /// The names at addresses of a file, by its debug info or, where it is still there, by the file itself.
    fn names(&mut self, file: &NamelessFile, addresses: &[u64]) -> Vec<Vec<LateName>> {
        let mut found = vec![Vec::new(); addresses.len()];
        if !is_build_id(&file.build_id) {
            return found;
        }
        // Kept open until they were read, so that their paths mean them.
        let own = local_files::open(Path::new(&file.path)).filter(|opened| {
            FileFacts::read(opened, Path::new(&file.path))
                .is_ok_and(|facts| facts.build_id() == Some(&file.build_id))
        });
        let own_path = own.as_ref().map(|own| PathBuf::from(format!("/proc/self/fd/{}", own.as_raw_fd())));
        let apart = places(&self.options, &file.build_id)
            .filter(|path| FileFacts::open(path).is_ok_and(|facts| facts.build_id() == Some(&file.build_id)));
        for path in own_path.into_iter().chain(apart.collect::<Vec<_>>()) {
            let open: Vec<usize> = (0..addresses.len()).filter(|at| found[*at].is_empty()).collect();
            if open.is_empty() {
                break;
            }
            let asked: Vec<u64> = open.iter().map(|at| addresses[*at]).collect();
            for (at, names) in open.into_iter().zip(self.symbolizer.file(&path, &asked)) {
                found[at] = names.into_iter().map(late_name).collect();
            }
        }
        found
    }
}

fn late_name(name: symbols::symbolizer::Name) -> LateName {
    let symbols::symbolizer::Name { function, system_name, file, line, inlined } = name;
    LateName { function, system_name, file, line, inlined }
}

/// Where debug info of a build ID would be.
fn places<'a>(options: &'a Options, build_id: &'a str) -> impl Iterator<Item = PathBuf> + 'a {
    let (start, rest) = build_id.split_at_checked(2).unwrap_or((build_id, ""));
    let name = format!(".build-id/{start}/{rest}.debug");
    options.debug_folders.iter().chain(&options.fetched).map(move |folder| folder.join(&name))
}

/// An agent's own rounds: a segment is looked at once, and again when debug info comes that may name what is left of it.
pub(crate) struct LateRounds {
    options: Options,
    known: FxHashMap<String, Known>,
    counts: Arc<LateCounts>,
}

/// What came of all rounds.
#[derive(Debug, Default)]
pub(crate) struct LateCounts {
    /// Places that got names.
    pub(crate) named: AtomicU64,
    /// Segments that others took the place of.
    pub(crate) renamed: AtomicU64,
}

/// A segment's files without names, and the debug info that was tried.
struct Known(BTreeMap<NamelessFile, Stamp>);

/// Which debug info there is for a build ID: inode, time and size of each file.
type Stamp = Vec<(u64, i64, u64)>;

impl LateRounds {
    /// Looks in the folders of packages, and in that of what was fetched.
    pub(crate) fn new(fetched: Option<PathBuf>) -> Self {
        let options = Options { memory: OWN_MEMORY, fetched, ..Options::default() };
        Self { options, known: FxHashMap::default(), counts: Arc::default() }
    }

    /// What comes of them.
    pub(crate) fn counts(&self) -> Arc<LateCounts> {
        self.counts.clone()
    }

    /// One round.
    pub(crate) fn round(&mut self, store: &Store, pace: &Pace, now_ms: i64) -> store::Result<()> {
        let range = TimeRange::new(now_ms.saturating_sub(OWN_RANGE_MS), i64::MAX).unwrap_or(TimeRange::ALL);
        let segments = store.nameable(range)?;
        let ids: FxHashSet<String> = segments.iter().map(|segment| segment.id()).collect();
        self.known.retain(|id, _| ids.contains(id));
        // Made for the round: what it holds of debug info goes with it.
        let mut namer = LateNamer::new(self.options.clone());
        let (mut outcome, mut looked) = (Outcome::default(), 0);
        for segment in segments.iter().rev() {
            let id = segment.id();
            let is_due = self
                .known
                .get(&id)
                .is_none_or(|known| known.0.iter().any(|(file, tried)| *tried != self.stamp(&file.build_id)));
            if !is_due {
                continue;
            }
            looked += 1;
            if looked > SEGMENTS_OF_A_ROUND {
                break;
            }
            let mut nameless = store.nameless(segment).unwrap_or_else(|reason| {
                tracing::debug!(reason, path = %segment.path().display(), "no late names");
                Nameless::new()
            });
            let stamps: BTreeMap<NamelessFile, Stamp> =
                nameless.keys().map(|file| (file.clone(), self.stamp(&file.build_id))).collect();
            let tried = self.known.insert(id, Known(stamps)).map(|known| known.0).unwrap_or_default();
            // What only the file itself could name was tried when it was sampled.
            nameless.retain(|file, _| {
                let stamp = self.known.get(&segment.id()).and_then(|known| known.0.get(file));
                stamp.is_some_and(|stamp| !stamp.is_empty() && tried.get(file) != Some(stamp))
            });
            if !nameless.is_empty() {
                namer.segment(store, segment, &nameless, (pace, false), &mut outcome)?;
            }
        }
        self.counts.named.fetch_add(outcome.named as u64, Ordering::Relaxed);
        self.counts.renamed.fetch_add(outcome.renamed as u64, Ordering::Relaxed);
        if outcome.renamed > 0 {
            tracing::info!(places = outcome.named, segments = outcome.renamed, "late names");
        }
        Ok(())
    }

    fn stamp(&self, build_id: &str) -> Stamp {
        if !is_build_id(build_id) {
            return Stamp::new();
        }
        let files = places(&self.options, build_id).filter_map(|path| fs::metadata(path).ok());
        files.map(|meta| (meta.ino(), meta.mtime(), meta.size())).collect()
    }
}
