//! The open window: samples of some seconds, counted by process, thread and stack. Addresses are places in files
//! here, names come later.

use std::sync::Arc;

use profiler_abi::{Method, Mode, WalkEnd, frame_address, frame_method};
use rustc_hash::FxHashMap;
use store::model::{Exact, FrameId, NodeId, StackTreeBuilder};

use crate::{
    bpf::{RawSample, StackCopy},
    jit::JitProcess,
    processes::{
        BinaryHandle, CodeBacking, CodeRange, MappedFile, Place, ProcessCode, ProcessHandle, ProcessLabels,
        ProcessTable, VDSO,
    },
};

/// A frame before it has a name. The method is part of what tells frames apart, since the truth of a stack is
/// judged by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RawFrame {
    /// An absolute address in the kernel; `leaf`: the sampled one, else a return address.
    Kernel { address: u64, leaf: bool },
    /// An offset in a file.
    File { binary: BinaryHandle, file_offset: u64, method: Method },
    /// An offset in the vDSO.
    Vdso { offset: u64, method: Method },
    /// Code made at run time, which each process has its own of.
    Anonymous { process: ProcessHandle, address: u64, method: Method },
    /// An address that no mapping covers.
    Unmapped { address: u64, method: Method },
}

/// What one row of samples shares.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RawKey {
    pub(crate) process: ProcessHandle,
    pub(crate) pid: u32,
    pub(crate) tid: u32,
    pub(crate) thread: Arc<str>,
    pub(crate) node: NodeId,
    pub(crate) mode: Mode,
    pub(crate) walk_end: WalkEnd,
    pub(crate) end_by_rule: bool,
    pub(crate) kernel_stack_failed: bool,
    /// Start of the time bucket, Unix milliseconds.
    pub(crate) bucket_ms: i64,
}

/// A sample of a process whose unwind tables were missing, with what is needed to walk its stack later.
#[derive(Clone)]
pub(crate) struct Unfinished {
    /// Its row, but for the node.
    pub(crate) key: RawKey,
    pub(crate) exact: Exact,
    /// Kernel addresses, leaf first.
    pub(crate) kernel: Vec<u64>,
    pub(crate) stack: Arc<StackCopy>,
    /// The process's code at that moment.
    pub(crate) code: Arc<ProcessCode>,
    /// What the kernel side found without tables, leaf first.
    pub(crate) user: Vec<RawFrame>,
}

/// Bytes of copied stacks that are handed to naming before the window ends, so that they do not pile up.
const HAND_OVER_BYTES: usize = 1 << 20;
/// Bytes of copied stacks held while naming is busy. Others keep what the kernel side found.
const UNFINISHED_BYTES_MAX: usize = 24 << 20;

/// Turns sample times into Unix time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClockOffset {
    /// CLOCK_REALTIME less CLOCK_MONOTONIC, nanoseconds.
    ahead_ns: i128,
}

impl ClockOffset {
    /// The offset now. It changes when the clock is set, so it is taken anew for every batch of samples.
    pub(crate) fn now() -> Self {
        use rustix::time::{ClockId, clock_gettime};
        let ns =
            |time: rustix::time::Timespec| i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec);
        let monotonic = ns(clock_gettime(ClockId::Monotonic));
        Self { ahead_ns: ns(clock_gettime(ClockId::Realtime)) - monotonic }
    }

    /// Unix milliseconds of a monotonic time.
    pub(crate) fn unix_ms(self, monotonic_ns: u64) -> i64 {
        ((i128::from(monotonic_ns) + self.ahead_ns) / 1_000_000) as i64
    }
}

/// Stacks before they have names, each once.
#[derive(Default)]
pub(crate) struct RawStacks {
    frames: Vec<RawFrame>,
    index: FxHashMap<RawFrame, FrameId>,
    tree: StackTreeBuilder,
}

impl RawStacks {
    /// Each distinct frame.
    pub(crate) fn frames(&self) -> &[RawFrame] {
        &self.frames
    }

    /// The frame of a handle.
    pub(crate) fn frame(&self, id: FrameId) -> RawFrame {
        self.frames[id.0 as usize]
    }

    /// The node of a stack: kernel addresses and user frames, both leaf first.
    pub(crate) fn stack(&mut self, kernel: &[u64], user: &[RawFrame]) -> NodeId {
        let mut node = NodeId::ROOT;
        for frame in user.iter().rev() {
            let id = self.frame_id(*frame);
            node = self.tree.child(node, id);
        }
        for (i, address) in kernel.iter().enumerate().rev() {
            let id = self.frame_id(RawFrame::Kernel { address: *address, leaf: i == 0 });
            node = self.tree.child(node, id);
        }
        node
    }

    /// Takes in all stacks of another; returns their nodes here by those there.
    pub(crate) fn absorb(&mut self, other: &Self) -> Vec<NodeId> {
        let frames: Vec<_> = other.frames.iter().map(|frame| self.frame_id(*frame)).collect();
        let mut places = vec![NodeId::ROOT];
        for (parent, frame) in other.tree.nodes() {
            let place = self.tree.child(places[parent.0 as usize], frames[frame.0 as usize]);
            places.push(place);
        }
        places
    }

    /// The frames of a stack, from the leaf to the root.
    pub(crate) fn leaf_to_root(&self, node: NodeId) -> impl Iterator<Item = FrameId> + '_ {
        let mut at = node;
        std::iter::from_fn(move || {
            let (parent, frame) = self.tree.nodes()[(at.0 as usize).checked_sub(1)?];
            at = parent;
            Some(frame)
        })
    }

    fn frame_id(&mut self, frame: RawFrame) -> FrameId {
        let next = FrameId(self.frames.len() as u32);
        let id = *self.index.entry(frame).or_insert(next);
        if id == next {
            self.frames.push(frame);
        }
        id
    }
}

/// Samples not yet named.
#[derive(Default)]
pub(crate) struct Window {
    pub(crate) stacks: RawStacks,
    pub(crate) processes: FxHashMap<ProcessHandle, Arc<ProcessLabels>>,
    pub(crate) files: FxHashMap<BinaryHandle, MappedFile>,
    /// Of processes with code made at run time in their stacks: its names.
    pub(crate) jit: FxHashMap<ProcessHandle, Arc<JitProcess>>,
    pub(crate) rows: FxHashMap<RawKey, Vec<Exact>>,
    pub(crate) samples: u64,
    /// Samples whose stacks naming walks to their ends.
    pub(crate) unfinished: Vec<Unfinished>,
    unfinished_bytes: usize,
    /// Of one of them code is needed that is in its process's memory only: until that ends, or makes it anew.
    code_may_go: bool,
    threads: FxHashMap<String, Arc<str>>,
    scratch: Vec<RawFrame>,
}

impl Window {
    /// Counts a sample. Its mappings are looked up now, while its process may still be there.
    /// `seen` is told of each file that the stack goes through.
    pub(crate) fn add(
        &mut self,
        sample: &RawSample,
        table: &mut ProcessTable,
        clock: ClockOffset,
        bucket_ms: i64,
        seen: &mut dyn FnMut(BinaryHandle),
    ) {
        table.sampled(sample.pid, sample.tid);
        let (process, labels) =
            table.process(sample.pid, sample.identity, &sample.process_comm, sample.cgroup_id);
        self.processes.entry(process).or_insert(labels);
        let mut user = std::mem::take(&mut self.scratch);
        user.clear();
        for frame in &sample.user {
            let frame = self.place(table, process, sample.pid, *frame);
            match frame {
                RawFrame::File { binary, .. } => seen(binary),
                RawFrame::Vdso { .. } => seen(VDSO),
                _ => {}
            }
            user.push(frame);
        }
        let time_ms = clock.unix_ms(sample.time_ns);
        let bucket = time_ms - time_ms.rem_euclid(bucket_ms);
        let key = RawKey {
            process,
            pid: sample.pid,
            tid: sample.tid,
            thread: self.thread(&sample.thread_comm),
            node: NodeId::ROOT,
            mode: sample.mode,
            walk_end: sample.walk_end,
            end_by_rule: sample.end_by_rule,
            kernel_stack_failed: sample.kernel_stack_failed,
            bucket_ms: bucket,
        };
        let exact =
            Exact { offset_ms: (time_ms - bucket) as u16, cpu: sample.cpu.min(u32::from(u16::MAX)) as u16 };
        self.samples += 1;
        let code = sample.stack.as_ref().and_then(|_| table.code(sample.pid));
        self.follow_jit(table, process, sample.pid, &user, code.as_deref());
        if let (Some(stack), Some(code)) = (&sample.stack, code)
            && self.unfinished_bytes < UNFINISHED_BYTES_MAX
        {
            let (kernel, stack) = (sample.kernel.clone(), stack.clone());
            self.unfinished_bytes += stack.size();
            self.code_may_go |= user.iter().any(|frame| matches!(frame, RawFrame::Anonymous { .. }));
            self.unfinished.push(Unfinished { key, exact, kernel, stack, code, user });
        } else {
            self.count(key, exact, &sample.kernel, &user);
            self.scratch = user;
        }
    }

    /// Samples with copied stacks, when they have become many or cannot wait.
    pub(crate) fn take_unfinished(&mut self) -> Option<Vec<Unfinished>> {
        if self.unfinished_bytes < HAND_OVER_BYTES && !self.code_may_go {
            return None;
        }
        (self.unfinished_bytes, self.code_may_go) = (0, false);
        Some(std::mem::take(&mut self.unfinished))
    }

    /// Takes samples back that nobody could take.
    pub(crate) fn put_back(&mut self, unfinished: Vec<Unfinished>) {
        self.unfinished_bytes += unfinished.iter().map(|sample| sample.stack.size()).sum::<usize>();
        self.unfinished.extend(unfinished);
    }

    /// Counts a sample whose stack is known: kernel addresses and user frames, both leaf first. The key's node is found
    /// here.
    pub(crate) fn count(&mut self, key: RawKey, exact: Exact, kernel: &[u64], user: &[RawFrame]) {
        let node = self.stacks.stack(kernel, user);
        self.rows.entry(RawKey { node, ..key }).or_default().push(exact);
    }

    fn thread(&mut self, name: &str) -> Arc<str> {
        if let Some(thread) = self.threads.get(name) {
            return thread.clone();
        }
        let thread: Arc<str> = Arc::from(name);
        self.threads.insert(name.to_owned(), thread.clone());
        thread
    }

    /// Has names of code made at run time followed, if the stack goes through some, or may when it is walked again.
    fn follow_jit(
        &mut self,
        table: &mut ProcessTable,
        process: ProcessHandle,
        pid: u32,
        user: &[RawFrame],
        code: Option<&ProcessCode>,
    ) {
        let is_made = |range: &CodeRange| matches!(range.backing, CodeBacking::Anonymous);
        let in_stack = user.iter().any(|frame| matches!(frame, RawFrame::Anonymous { .. }));
        if (in_stack || code.is_some_and(|code| code.ranges.iter().any(is_made)))
            && let Some(jit) = table.jit(pid)
        {
            self.jit.entry(process).or_insert(jit);
        }
    }

    fn place(&mut self, table: &mut ProcessTable, process: ProcessHandle, pid: u32, tagged: u64) -> RawFrame {
        let address = frame_address(tagged);
        let method = frame_method(tagged).unwrap_or(Method::FramePointer);
        let guess = matches!(method, Method::FramePointer | Method::AtEntry | Method::AfterPush);
        match table.locate(pid, address, guess) {
            Place::File { binary, file, file_offset } => {
                self.files.entry(binary).or_insert(file);
                RawFrame::File { binary, file_offset, method }
            }
            Place::Vdso { offset } => RawFrame::Vdso { offset, method },
            Place::Anonymous => RawFrame::Anonymous { process, address, method },
            Place::Unknown => RawFrame::Unmapped { address, method },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processes::ProcessIdentity;
    use profiler_abi::tagged_frame;

    fn sample(time_ns: u64, tid: u32, user: &[u64]) -> RawSample {
        RawSample {
            time_ns,
            identity: ProcessIdentity { start_time_ns: 1, exec_id: 0 },
            cgroup_id: 0,
            pid: 1 << 30,
            tid,
            cpu: 3,
            mode: Mode::User,
            walk_end: WalkEnd::ZeroFramePointer,
            end_by_rule: false,
            had_tables: true,
            thread_comm: "t".into(),
            process_comm: "p".into(),
            kernel_stack_failed: false,
            kernel: vec![],
            stack: None,
            user: user.iter().map(|address| tagged_frame(*address, Method::FramePointer)).collect(),
        }
    }

    #[test]
    fn equal_samples_share_a_row_and_keep_their_times() {
        let clock = ClockOffset { ahead_ns: 1_000_000_000_000 };
        let (mut table, mut window) = (ProcessTable::default(), Window::default());
        for (time_ns, tid, user) in [
            (12_000_000, 5, &[10, 20][..]),
            (15_000_000, 5, &[10, 20]),
            (16_000_000, 6, &[10, 20]),
            (17_000_000, 5, &[20]),
        ] {
            window.add(&sample(time_ns, tid, user), &mut table, clock, 10_000, &mut |_| {});
        }
        assert_eq!((window.samples, window.rows.len(), window.stacks.tree.len()), (4, 3, 3));
        let (key, exact) = window.rows.iter().find(|(_, exact)| exact.len() == 2).unwrap();
        assert_eq!(key.bucket_ms, 1_000_000);
        assert_eq!(*exact, [Exact { offset_ms: 12, cpu: 3 }, Exact { offset_ms: 15, cpu: 3 }]);
    }
    #[test]
    fn stacks_taken_in_from_parts_are_the_same_stacks() {
        let user = |address| RawFrame::Unmapped { address, method: Method::FramePointer };
        let stacks = [
            (&[][..], &[user(1), user(2)][..]),
            (&[7, 8], &[user(3), user(2)]),
            (&[8], &[]),
            (&[], &[]),
            (&[7, 8], &[user(3), user(2)]),
        ];
        let mut whole = RawStacks::default();
        for (n, (kernel, frames)) in stacks.iter().enumerate() {
            let mut part = RawStacks::default();
            part.stack(&[], &[user(n as u64), user(2)]);
            let node = part.stack(kernel, frames);
            let places = whole.absorb(&part);
            let found: Vec<_> =
                whole.leaf_to_root(places[node.0 as usize]).map(|id| whole.frame(id)).collect();
            let kernel = kernel.iter().enumerate();
            let kernel = kernel.map(|(i, address)| RawFrame::Kernel { address: *address, leaf: i == 0 });
            assert_eq!(found, kernel.chain(frames.iter().copied()).collect::<Vec<_>>());
            assert_eq!(whole.stack(stacks[n].0, frames), places[node.0 as usize]);
        }
    }
}
