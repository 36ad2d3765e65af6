//! From windows to profiles: every place gets its names, every stack its verdict. On a thread of its own, so that a
//! gigabyte of debug information stops no sample.

mod all_registers;
mod files;
mod finish;
mod names;
mod truth;

use std::{collections::BTreeMap, sync::Arc};

use profiler_abi::{KERNEL_FRAMES_MAX, Method, Mode, WalkEnd};
use rustc_hash::{FxHashMap, FxHashSet};
use store::model::{
    Binary, Frame, FrameId, FrameKind, NodeId, ProfileBuilder, RowKey, StackTree, StringId, Unwound,
};
use symbols::symbolizer::unknown_name;

use crate::{
    processes::{BinaryHandle, ProcessHandle, ProcessLabels, VDSO, vdso_image},
    unwind_tables::TableSource,
    window::{RawFrame, RawKey, Unfinished, Window},
};
use files::KnownFiles;
use finish::{Finished, Finisher};
use names::{NameCache, Place};
use truth::{Status, judge};

/// What every profile of this agent says of itself.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) host: String,
    /// CPU time that one sample stands for.
    pub(crate) period_ns: i64,
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

/// Names windows. Not `Send`: it lives on the thread that made it.
pub(crate) struct Namer {
    origin: Origin,
    kernel_build_id: String,
    files: KnownFiles,
    names: NameCache,
    finisher: Finisher,
    /// Samples of the open window whose stacks were walked here.
    finished: Vec<Finished>,
    windows: u64,
    last_used: FxHashMap<BinaryHandle, u64>,
}

/// Windows a file may go unused before its facts are forgotten and it is closed: two minutes of them.
const KEEP_UNUSED_WINDOWS: u64 = 12;

impl Namer {
    /// Names for windows of this origin; what unwind tables it needs come from this source.
    pub(crate) fn new(origin: Origin, tables: Arc<TableSource>) -> Self {
        let mut files = KnownFiles::default();
        if let Some(image) = vdso_image() {
            files.add_vdso(&image);
        }
        let kernel_build_id = symbols::kernel::build_id().ok().flatten().unwrap_or_default();
        Self {
            origin,
            kernel_build_id,
            files,
            names: NameCache::new(),
            finisher: Finisher::new(tables),
            finished: Vec::new(),
            windows: 0,
            last_used: FxHashMap::default(),
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

    /// The profile of the open window as it is now.
    pub(crate) fn name_open(&mut self, window: Window) -> (ProfileBuilder, Tally) {
        let finished = self.finished.clone();
        let named = self.name(window);
        self.finished = finished;
        named
    }

    /// The profile of a window, without accounts, still open for them.
    pub(crate) fn name(&mut self, mut window: Window) -> (ProfileBuilder, Tally) {
        self.windows += 1;
        let unfinished = std::mem::take(&mut window.unfinished);
        self.walk(unfinished);
        for finished in self.finished.drain(..) {
            finished.count(&mut window);
        }
        self.files.add(&window.files);
        self.last_used.extend(window.files.keys().map(|binary| (*binary, self.windows)));
        let places: FxHashSet<Place> =
            window.frames.iter().filter_map(|frame| names::place(frame, &self.files)).collect();
        self.names.look_up(places.into_iter(), &self.files);
        let mut naming = WindowNaming::new(self, window);
        naming.rows();
        let named = (naming.builder, naming.tally);
        self.forget_unused();
        named
    }

    fn forget_unused(&mut self) {
        let oldest = self.windows.saturating_sub(KEEP_UNUSED_WINDOWS);
        self.last_used.retain(|_, window| *window >= oldest);
        let last_used = &self.last_used;
        self.files.retain(|binary| last_used.contains_key(&binary));
    }

    /// Times caches went over their limits.
    pub(crate) fn evictions(&self) -> u64 {
        self.files.evictions + self.names.evictions
    }
}

/// What a stack's verdict hangs on: its raw node, how its walk ended, by a rule or not, whether the kernel's part failed,
/// and where it was taken.
type StackKey = (NodeId, WalkEnd, [bool; 2], Mode);

/// One window on its way to a profile.
struct WindowNaming<'a> {
    namer: &'a mut Namer,
    builder: ProfileBuilder,
    raw: Vec<RawFrame>,
    stacks: StackTree,
    place: Vec<NodeId>,
    rows: FxHashMap<RawKey, Vec<store::model::Exact>>,
    processes: FxHashMap<ProcessHandle, Arc<ProcessLabels>>,
    /// Frames of each raw frame, innermost first.
    frames: FxHashMap<FrameId, Vec<FrameId>>,
    named_stacks: FxHashMap<StackKey, (NodeId, Status)>,
    tally: Tally,
}

impl<'a> WindowNaming<'a> {
    fn new(namer: &'a mut Namer, window: Window) -> Self {
        let (stacks, place) = window.stacks.finish();
        Self {
            namer,
            builder: ProfileBuilder::default(),
            raw: window.frames,
            stacks,
            place,
            rows: window.rows,
            processes: window.processes,
            frames: FxHashMap::default(),
            named_stacks: FxHashMap::default(),
            tally: Tally::default(),
        }
    }

    fn rows(&mut self) {
        let rows = std::mem::take(&mut self.rows);
        let mut series = FxHashMap::default();
        for (key, exact) in rows {
            let samples = exact.len() as u64;
            let series = *series.entry(key.process).or_insert_with(|| self.series(key.process));
            let (node, status) = self.stack(&key);
            self.count(&key, status, samples);
            let row = RowKey {
                series,
                node,
                pid: key.pid,
                tid: key.tid,
                thread: self.builder.string(&key.thread),
                status: self.builder.string(status.name()),
                time_ms: key.bucket_ms,
            };
            self.builder.add(row, samples, samples as i64 * self.namer.origin.period_ns, &exact);
        }
    }

    fn count(&mut self, key: &RawKey, status: Status, samples: u64) {
        self.tally.samples += samples;
        if key.mode == Mode::KernelThread || key.walk_end == WalkEnd::AddressSpaceGone {
            return;
        }
        self.tally.user_stacks += samples;
        if status == Status::Complete {
            self.tally.complete += samples;
        } else {
            *self.tally.incomplete.entry(status.name()).or_default() += samples;
        }
    }

    fn series(&mut self, process: ProcessHandle) -> store::model::SeriesId {
        let labels = self.processes.get(&process).cloned().unwrap_or_default();
        let host = self.namer.origin.host.clone();
        let pairs = [
            ("event", "cpu"),
            ("host", &host),
            ("process", &labels.process),
            ("exe", &labels.exe),
            ("cgroup", &labels.cgroup),
        ];
        let labels = pairs
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (self.builder.string(name), self.builder.string(value)))
            .collect();
        self.builder.cpu_series(labels, self.namer.origin.period_ns)
    }

    /// The named stack of a row, and its status.
    fn stack(&mut self, key: &RawKey) -> (NodeId, Status) {
        let cached = (key.node, key.walk_end, [key.end_by_rule, key.kernel_stack_failed], key.mode);
        if let Some(known) = self.named_stacks.get(&cached) {
            return *known;
        }
        let ids: Vec<FrameId> = self.stacks.leaf_to_root(self.place[key.node.0 as usize]).collect();
        let raw: Vec<RawFrame> = ids.iter().map(|id| self.raw[id.0 as usize]).collect();
        let kernel = raw.iter().take_while(|frame| matches!(frame, RawFrame::Kernel { .. })).count();
        let verdict = judge(&raw[kernel..], key.walk_end, key.end_by_rule, &mut self.namer.files);
        let kernel_gap = kernel_gap(key, kernel);
        let status = kernel_gap.unwrap_or(verdict.status);
        let mut node = NodeId::ROOT;
        // From the outermost caller to the leaf; a mark stands where callers are missing.
        for i in (0..=verdict.keep).rev() {
            if verdict.status != Status::Complete && i == verdict.gap {
                node = self.mark(node, verdict.status);
            }
            if i > 0 {
                node = self.push(node, ids[kernel + i - 1], &raw[kernel + i - 1]);
            }
        }
        if let Some(reason) = kernel_gap {
            node = self.mark(node, reason);
        }
        for i in (0..kernel).rev() {
            node = self.push(node, ids[i], &raw[i]);
        }
        self.named_stacks.insert(cached, (node, status));
        (node, status)
    }

    fn push(&mut self, parent: NodeId, id: FrameId, raw: &RawFrame) -> NodeId {
        let frames = match self.frames.get(&id) {
            Some(frames) => frames.clone(),
            None => {
                let frames = self.frames_of(raw);
                self.frames.insert(id, frames.clone());
                frames
            }
        };
        frames.iter().rev().fold(parent, |node, frame| self.builder.child(node, *frame))
    }

    fn mark(&mut self, parent: NodeId, reason: Status) -> NodeId {
        let function = self.builder.string(&reason.label());
        let mark = self.builder.frame(Frame {
            kind: FrameKind::Truncated,
            unwound: Unwound::Synthetic,
            function,
            system_name: StringId::EMPTY,
            file: StringId::EMPTY,
            line: 0,
            binary: None,
            address: 0,
        });
        self.builder.child(parent, mark)
    }

    /// The frames of a place: inlined functions, innermost first, then the function itself.
    fn frames_of(&mut self, raw: &RawFrame) -> Vec<FrameId> {
        let (kind, binary_path, build_id, method) = match raw {
            RawFrame::Kernel { leaf, .. } => {
                let unwound = if *leaf { Unwound::Leaf } else { Unwound::Kernel };
                (FrameKind::Kernel, "[kernel]".to_owned(), self.namer.kernel_build_id.clone(), unwound)
            }
            RawFrame::File { binary, method, .. } => {
                let (path, build_id) = self.binary_of(*binary);
                (FrameKind::Native, path, build_id, unwound(*method))
            }
            RawFrame::Vdso { method, .. } => {
                let (_, build_id) = self.binary_of(VDSO);
                (FrameKind::Native, "[vdso]".to_owned(), build_id, unwound(*method))
            }
            RawFrame::Anonymous { method, .. } => {
                (FrameKind::Jit, String::new(), String::new(), unwound(*method))
            }
            RawFrame::Unmapped { method, .. } => {
                (FrameKind::Native, String::new(), String::new(), unwound(*method))
            }
        };
        let place = names::place(raw, &self.namer.files);
        let address = match (place, raw) {
            (Some(Place::Kernel(address) | Place::File(_, address)), _) => address,
            // A file that cannot be read has offsets, no addresses of its own.
            (None, RawFrame::File { file_offset, .. }) => *file_offset,
            (None, RawFrame::Vdso { offset, .. }) => *offset,
            (
                None,
                RawFrame::Kernel { address, .. }
                | RawFrame::Anonymous { address, .. }
                | RawFrame::Unmapped { address, .. },
            ) => *address,
        };
        let binary = (!binary_path.is_empty()).then(|| {
            let (path, build_id) = (self.builder.string(&binary_path), self.builder.string(&build_id));
            self.builder.binary(Binary { path, build_id })
        });
        let names = place.map(|place| self.namer.names.get(place)).filter(|names| !names.is_empty());
        let Some(names) = names else {
            let function = match raw {
                RawFrame::Anonymous { .. } => "[jit]".to_owned(),
                RawFrame::Unmapped { .. } => unknown_name(None, address),
                _ => unknown_name(Some(&binary_path), address),
            };
            let function = self.builder.string(&function);
            let frame = Frame {
                kind,
                unwound: method,
                function,
                system_name: StringId::EMPTY,
                file: StringId::EMPTY,
                line: 0,
                binary,
                address,
            };
            return vec![self.builder.frame(frame)];
        };
        names
            .iter()
            .map(|name| {
                let frame = Frame {
                    kind: if name.inlined { FrameKind::Inlined } else { kind },
                    unwound: if name.inlined { Unwound::Synthetic } else { method },
                    function: self.builder.string(&name.function),
                    system_name: self.builder.string(&name.system_name),
                    file: self.builder.string(&name.file),
                    line: name.line,
                    binary,
                    address,
                };
                self.builder.frame(frame)
            })
            .collect()
    }

    fn binary_of(&self, binary: BinaryHandle) -> (String, String) {
        let file = self.namer.files.get(binary);
        file.map_or_else(Default::default, |file| (file.path.to_string(), file.build_id().to_owned()))
    }
}

fn unwound(method: Method) -> Unwound {
    match method {
        Method::Leaf => Unwound::Leaf,
        Method::FramePointer => Unwound::FramePointer,
        Method::AtEntry | Method::AfterPush => Unwound::Prologue,
        Method::Table | Method::Interrupted => Unwound::Table,
    }
}

/// Why the kernel's part of a sample's stack is not whole; it then tells the status of all of it.
fn kernel_gap(key: &RawKey, kernel_frames: usize) -> Option<Status> {
    if key.kernel_stack_failed || (key.mode != Mode::User && kernel_frames == 0) {
        Some(Status::KernelStackFailed)
    } else if kernel_frames >= KERNEL_FRAMES_MAX {
        Some(Status::KernelDepthLimit)
    } else {
        None
    }
}
