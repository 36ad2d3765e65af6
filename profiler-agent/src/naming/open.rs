//! The open window: samples get their names as they come, and are counted by them.

use std::sync::Arc;

use profiler_abi::{KERNEL_FRAMES_MAX, Method, Mode, WalkEnd};
use rustc_hash::FxHashMap;
use store::model::{
    Binary, Exact, Frame, FrameId, FrameKind, NodeId, ProfileBuilder, RowKey, SeriesId, StringId, Unwound,
};
use symbols::symbolizer::unknown_name;

use super::{
    Namer, Tally,
    jit::{self, Made, Span},
    names::{self, Place},
    truth::{Status, judge},
};
use crate::{
    jit::JitProcess,
    processes::{BinaryHandle, ProcessHandle, ProcessLabels, VDSO},
    window::{RawFrame, RawKey, RawStacks, Window},
};

/// What a stack's verdict hangs on: its raw node, how its walk ended, by a rule or not, whether the kernel's part failed,
/// and where it was taken; and which names its code made at run time had.
type StackKey = (NodeId, WalkEnd, [bool; 2], Mode, Vec<u64>);

/// The open window as far as it has names. What has been seen in it before costs a look-up.
#[derive(Default)]
pub(super) struct OpenWindow {
    pub(super) builder: ProfileBuilder,
    raw: RawStacks,
    series: FxHashMap<ProcessHandle, SeriesId>,
    /// Frames of each raw frame, innermost first; of code made at run time by which name it had.
    frames: FxHashMap<(FrameId, u64), Vec<FrameId>>,
    named_stacks: FxHashMap<StackKey, (NodeId, Status)>,
    /// Counted before its code had names.
    nameless: Vec<Nameless>,
    /// Series of processes whose pods were not known when they were counted.
    of_unknown_pods: FxHashMap<SeriesId, Arc<ProcessLabels>>,
    /// These processes, as of the last part.
    in_unknown_pods: Vec<ProcessHandle>,
}

/// Samples through code made at run time that had no name when they were counted.
struct Nameless {
    key: RawKey,
    row: RowKey,
    exact: Vec<Exact>,
    process: Arc<JitProcess>,
    named: usize,
}

/// Rows of such samples that may still get names: those of a runtime that writes its map late. Each takes some hundred
/// bytes; of more the code stays `[jit]`.
const NAMELESS_MAX: usize = 65_536;

impl OpenWindow {
    /// A window without samples.
    pub(super) fn new(is_logged: bool) -> Self {
        let builder = if is_logged { ProfileBuilder::logged() } else { ProfileBuilder::default() };
        Self { builder, ..Self::default() }
    }

    /// Adds the samples of a part, whose files and places the namer knows by now.
    pub(super) fn add(&mut self, part: Window, namer: &mut Namer) -> Tally {
        let nodes = self.raw.absorb(&part.stacks);
        // Their pods may be known by now.
        for process in self.in_unknown_pods.drain(..) {
            self.series.remove(&process);
        }
        let mut tally = Tally::default();
        for (key, exact) in part.rows {
            let key = RawKey { node: nodes[key.node.0 as usize], ..key };
            let series = self.series(key.process, &part.processes, namer);
            let frames = self.raw.leaf_to_root(key.node).map(|id| self.raw.frame(id));
            let process = part.jit.get(&key.process);
            for Span { made, exact } in jit::spans(process.map(|process| &**process), &key, frames, exact) {
                let samples = exact.len() as u64;
                let (node, status) = self.stack(&key, &made, namer);
                tally.count(&key, status, samples);
                let row = RowKey {
                    series,
                    node,
                    pid: key.pid,
                    tid: key.tid,
                    thread: self.builder.string(&key.thread),
                    status: self.builder.string(status.name()),
                    time_ms: key.bucket_ms,
                };
                self.builder.add(row, samples, samples as i64 * namer.origin.period_ns, &exact);
                if made.lacks_names()
                    && let Some(process) = process
                    && self.nameless.len() < NAMELESS_MAX
                {
                    let (key, process, named) = (key.clone(), process.clone(), made.named());
                    self.nameless.push(Nameless { key, row, exact, process, named });
                }
            }
        }
        tally
    }

    /// Gives samples the names that their code has got since they were counted. Before the window closes: its log has them
    /// without, and the segment that takes its place with them.
    pub(super) fn name_made_code(&mut self, namer: &mut Namer) {
        for Nameless { key, row, exact, process, named } in std::mem::take(&mut self.nameless) {
            let frames: Vec<RawFrame> =
                self.raw.leaf_to_root(key.node).map(|id| self.raw.frame(id)).collect();
            for Span { made, exact } in jit::spans(Some(&process), &key, frames.into_iter(), exact) {
                if made.named() > named {
                    let (node, _) = self.stack(&key, &made, namer);
                    self.builder.move_samples(row, RowKey { node, ..row }, &exact, namer.origin.period_ns);
                }
            }
        }
    }

    /// Gives samples the labels of pods that are known since they were counted; as above, before the window closes.
    pub(super) fn name_pods(&mut self, namer: &Namer) {
        let moves: Vec<(SeriesId, SeriesId)> = std::mem::take(&mut self.of_unknown_pods)
            .into_iter()
            .filter_map(|(from, labels)| Some((from, self.labelled(&labels, of_pod(&labels, namer)?, namer))))
            .collect();
        self.builder.move_series(&moves);
    }

    /// Names are to be looked up anew. What has been counted keeps those that it has.
    pub(super) fn forget_names(&mut self) {
        self.frames.clear();
        self.named_stacks.clear();
    }

    fn series(
        &mut self,
        process: ProcessHandle,
        known: &FxHashMap<ProcessHandle, Arc<ProcessLabels>>,
        namer: &Namer,
    ) -> SeriesId {
        if let Some(series) = self.series.get(&process) {
            return *series;
        }
        let labels = known.get(&process).cloned().unwrap_or_default();
        let of_pod = of_pod(&labels, namer);
        let is_unknown = of_pod.is_none();
        let series = self.labelled(&labels, of_pod.unwrap_or_default(), namer);
        if is_unknown {
            self.in_unknown_pods.push(process);
            self.of_unknown_pods.entry(series).or_insert(labels);
        }
        self.series.insert(process, series);
        series
    }

    /// The series of processes with these labels, those of their pods beside them.
    fn labelled(&mut self, labels: &ProcessLabels, of_pod: Vec<(String, String)>, namer: &Namer) -> SeriesId {
        let own = [
            ("event", "cpu"),
            ("host", namer.origin.host.as_str()),
            ("process", labels.process.as_str()),
            ("exe", labels.exe.as_str()),
            ("cgroup", labels.cgroup.as_str()),
        ];
        let more = labels.more.iter().map(|(name, value)| (*name, value.as_str()));
        let of_others = of_pod.iter().chain(&namer.origin.labels);
        let of_others = of_others.map(|(name, value)| (name.as_str(), value.as_str()));
        let all = own.into_iter().chain(more).chain(of_others).filter(|(_, value)| !value.is_empty());
        let labels =
            all.map(|(name, value)| (self.builder.string(name), self.builder.string(value))).collect();
        self.builder.cpu_series(labels, namer.origin.period_ns)
    }

    /// The named stack of a row, whose code made at run time had these names, and its status.
    fn stack(&mut self, key: &RawKey, made: &Made, namer: &mut Namer) -> (NodeId, Status) {
        let flags = [key.end_by_rule, key.kernel_stack_failed];
        let cached = (key.node, key.walk_end, flags, key.mode, made.versions());
        if let Some(known) = self.named_stacks.get(&cached) {
            return *known;
        }
        let ids: Vec<FrameId> = self.raw.leaf_to_root(key.node).collect();
        let raw: Vec<RawFrame> = ids.iter().map(|id| self.raw.frame(*id)).collect();
        let kernel = raw.iter().take_while(|frame| matches!(frame, RawFrame::Kernel { .. })).count();
        let verdict = judge(&raw[kernel..], key.walk_end, key.end_by_rule, &mut namer.files);
        let kernel_gap = kernel_gap(key, kernel);
        let status = kernel_gap.unwrap_or(verdict.status);
        let mut node = NodeId::ROOT;
        // From the outermost caller to the leaf; a mark stands where callers are missing.
        for i in (0..=verdict.keep).rev() {
            if verdict.status != Status::Complete && i == verdict.gap {
                node = self.mark(node, verdict.status);
            }
            if i > 0 {
                node = self.push(node, ids[kernel + i - 1], &raw[kernel + i - 1], made, namer);
            }
        }
        if let Some(reason) = kernel_gap {
            node = self.mark(node, reason);
        }
        for i in (0..kernel).rev() {
            node = self.push(node, ids[i], &raw[i], made, namer);
        }
        self.named_stacks.insert(cached, (node, status));
        (node, status)
    }

    fn push(&mut self, parent: NodeId, id: FrameId, raw: &RawFrame, made: &Made, namer: &Namer) -> NodeId {
        let version = made.version(raw);
        let frames = match self.frames.get(&(id, version)) {
            Some(frames) => frames.clone(),
            None => {
                let frames = self.frames_of(raw, made, namer);
                self.frames.insert((id, version), frames.clone());
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
    fn frames_of(&mut self, raw: &RawFrame, made: &Made, namer: &Namer) -> Vec<FrameId> {
        let (kind, binary_path, build_id, method) = match raw {
            RawFrame::Kernel { leaf, .. } => {
                let unwound = if *leaf { Unwound::Leaf } else { Unwound::Kernel };
                (FrameKind::Kernel, "[kernel]".to_owned(), namer.kernel_build_id.clone(), unwound)
            }
            RawFrame::File { binary, method, .. } => {
                let (path, build_id) = binary_of(*binary, namer);
                (FrameKind::Native, path, build_id, unwound(*method))
            }
            RawFrame::Vdso { method, .. } => {
                let (_, build_id) = binary_of(VDSO, namer);
                (FrameKind::Native, "[vdso]".to_owned(), build_id, unwound(*method))
            }
            RawFrame::Anonymous { method, .. } => {
                (FrameKind::Jit, String::new(), String::new(), unwound(*method))
            }
            RawFrame::Unmapped { method, .. } => {
                (FrameKind::Native, String::new(), String::new(), unwound(*method))
            }
        };
        let place = names::place(raw, &namer.files);
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
        let names = place.map(|place| namer.names.get(place)).filter(|names| !names.is_empty());
        let Some(names) = names else {
            let made = made.name(raw);
            let function = match raw {
                RawFrame::Anonymous { .. } => made.map_or("[jit]", |name| &name.function).to_owned(),
                RawFrame::Unmapped { .. } => unknown_name(None, address),
                _ => unknown_name(Some(&binary_path), address),
            };
            let function = self.builder.string(&function);
            let frame = Frame {
                kind,
                unwound: method,
                function,
                system_name: self.builder.string(made.map_or("", |name| &name.raw)),
                file: self.builder.string(made.map_or("", |name| &name.file)),
                line: made.map_or(0, |name| name.line),
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
}

/// What Kubernetes calls the pod of a process, nothing if it is in none; none if that is not known yet.
fn of_pod(labels: &ProcessLabels, namer: &Namer) -> Option<Vec<(String, String)>> {
    match (&namer.pods, labels.pod()) {
        (Some(pods), Some((uid, container))) => pods.labels(uid, container),
        _ => Some(Vec::new()),
    }
}

fn binary_of(binary: BinaryHandle, namer: &Namer) -> (String, String) {
    let file = namer.files.get(binary);
    file.map_or_else(Default::default, |file| (file.path.to_string(), file.build_id().to_owned()))
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

impl Tally {
    fn count(&mut self, key: &RawKey, status: Status, samples: u64) {
        self.samples += samples;
        if key.mode == Mode::KernelThread || key.walk_end == WalkEnd::AddressSpaceGone {
            return;
        }
        self.user_stacks += samples;
        if status == Status::Complete {
            self.complete += samples;
        } else {
            *self.incomplete.entry(status.name()).or_default() += samples;
        }
    }
}
