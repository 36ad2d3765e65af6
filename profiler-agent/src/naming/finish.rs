//! Walking copied stacks to their ends: what the kernel side could not do for lack of tables is done here, by the same
//! steps and the same rules.

use std::{os::unix::fs::FileExt, sync::Arc};

use profiler_abi::{Method, USER_FRAMES_MAX, WalkEnd};
use profiler_unwind::{Memory, Rule, Walk};
use rustc_hash::FxHashMap;
use store::model::Exact;

use super::{all_registers, files::KnownFiles, made_code::MadeCode};
use crate::{
    bpf::StackCopy,
    processes::{BinaryHandle, CodeBacking, CodeRange, MappedFile, ProcessCode, VDSO},
    unwind_tables::{FileTable, TableSource},
    window::{RawFrame, RawKey, Unfinished, Window},
};

/// Where a walk got to.
pub(super) struct Walked {
    /// Leaf first.
    pub(super) frames: Vec<RawFrame>,
    pub(super) end: WalkEnd,
    /// The step that ended it was by a rule.
    pub(super) end_by_rule: bool,
}

impl Walked {
    fn goes_through(&self, binary: BinaryHandle) -> bool {
        self.frames
            .iter()
            .any(|frame| matches!(frame, RawFrame::File { binary: used, .. } if *used == binary))
    }
}

/// A sample whose stack was walked here.
#[derive(Clone)]
pub(super) struct Finished {
    key: RawKey,
    exact: Exact,
    /// Leaf first, as `user`.
    kernel: Vec<u64>,
    user: Vec<RawFrame>,
    /// Those that the stack goes through.
    files: Vec<(BinaryHandle, MappedFile)>,
}

impl Finished {
    /// Counts it in its window.
    pub(super) fn count(self, window: &mut Window) {
        for (binary, file) in self.files {
            window.files.entry(binary).or_insert(file);
        }
        window.count(self.key, self.exact, &self.kernel, &self.user);
    }
}

/// Walks with the tables that the builder makes, too.
pub(super) struct Finisher {
    tables: Tables,
    made: MadeCode,
}

/// The tables that the stacks of one batch go through.
pub(super) struct Tables {
    source: Arc<TableSource>,
    known: FxHashMap<BinaryHandle, Option<Arc<FileTable>>>,
}

impl Tables {
    /// The rule of an address in this range.
    pub(super) fn rule_at(&mut self, range: &CodeRange, address: u64) -> Option<Rule> {
        let CodeBacking::File(binary, file) = &range.backing else { return None };
        let known =
            self.known.entry(*binary).or_insert_with(|| self.source.get(*binary, file).ok()).as_deref()?;
        known.table.rule_at(known.facts.vaddr_of(range.file_offset + (address - range.start))?)
    }
}

impl Finisher {
    /// A finisher that takes its tables from there.
    pub(super) fn new(source: Arc<TableSource>) -> Self {
        Self { tables: Tables { source, known: FxHashMap::default() }, made: MadeCode::default() }
    }

    /// Finishes the stack of a sample.
    pub(super) fn finish(&mut self, unfinished: Unfinished, files: &mut KnownFiles) -> Finished {
        let Unfinished { key, exact, kernel, stack, code, user } = unfinished;
        let memory = Copied { stack: &stack, code: &code };
        let mut walk = self.walk(&memory, key.pid);
        if matches!(walk.end, WalkEnd::UnknownRegister | WalkEnd::UnsupportedRule) {
            walk = all_registers::walk(&memory, files);
        }
        // The rule was right, and the memory is there: it was not copied.
        if walk.end == WalkEnd::UnreadableStack && walk.end_by_rule {
            walk.end = WalkEnd::CopyEnded;
        }
        // A copy ends somewhere: what the kernel side found without it may reach farther.
        if walk.end != WalkEnd::Proven && walk.frames.len() < user.len() {
            return Finished { key, exact, kernel, user, files: Vec::new() };
        }
        let used = code.ranges.iter().filter_map(|range| match &range.backing {
            CodeBacking::File(binary, file) if walk.goes_through(*binary) => Some((*binary, file.clone())),
            _ => None,
        });
        let files = used.collect();
        let key = RawKey { walk_end: walk.end, end_by_rule: walk.end_by_rule, ..key };
        Finished { key, exact, kernel, user: walk.frames, files }
    }

    fn walk(&mut self, memory: &Copied<'_>, pid: u32) -> Walked {
        let Copied { stack, code } = *memory;
        let mut walk = Walk::leaf(stack.ip, stack.sp(), stack.bp());
        let (mut frames, mut method) = (Vec::new(), Method::Leaf);
        loop {
            if frames.len() >= USER_FRAMES_MAX {
                return Walked { frames, end: WalkEnd::DepthLimit, end_by_rule: false };
            }
            if walk.is_caller && self.made.is_put_there(pid, walk.ip, code) {
                // Nothing before it was called: it is the place itself.
                frames.push(frame(code, walk.ip, Method::Interrupted));
                return Walked { frames, end: WalkEnd::Proven, end_by_rule: false };
            }
            let address = walk.ip.wrapping_sub(u64::from(walk.is_caller));
            let range = find(code, address);
            frames.push(frame(code, walk.ip, method));
            let rule = range.and_then(|range| self.tables.rule_at(range, address));
            let is_made = range.is_some_and(|range| matches!(range.backing, CodeBacking::Anonymous));
            let step = match &rule {
                Some(rule) => walk.step_by_rule(memory, rule),
                None if is_made => self.step_out_of_made_code(&mut walk, memory, pid),
                None => walk.step(memory),
            };
            match step {
                Ok(by) => method = by,
                Err(end) => return Walked { frames, end, end_by_rule: rule.is_some() },
            }
        }
    }

    /// By what the code does until it returns, if that leads to where a call was made; else by the frame pointer, if that does. Some
    /// compilers have their code return to where nothing was called, such as the interpreter that it was called from: that is believed last.
    fn step_out_of_made_code(
        &mut self,
        walk: &mut Walk,
        memory: &Copied<'_>,
        pid: u32,
    ) -> Result<Method, WalkEnd> {
        let ways = self.made.rules_at(pid, walk.ip, memory.code, &mut self.tables);
        let by_rule = |rule: &Rule| {
            let mut caller = *walk;
            let method = caller.step_by_rule(memory, rule).ok()?;
            // On its own stack it goes up, also by rbp.
            (caller.sp > walk.sp || memory.stack.are_apart(walk.sp, caller.sp.wrapping_sub(8)))
                .then_some((method, caller))
        };
        let callers = ways.returns.iter().filter_map(by_rule);
        let mut by_frame = *walk;
        let step = by_frame.step(memory);
        let by_frame = step.map(|method| (method, by_frame));
        let in_code = |(_, caller): &(Method, Walk)| find(memory.code, caller.ip).is_some();
        let called = |(_, caller): &(Method, Walk)| {
            self.made.follows_call(caller.ip, memory) || self.made.is_put_there(pid, caller.ip, memory.code)
        };
        let jumps = ways.jumps.iter().filter_map(by_rule);
        let mut likely = callers.clone().chain(jumps).chain(by_frame.ok());
        let found = likely.find(called).or_else(|| callers.clone().find(in_code));
        let (method, caller) = found.map_or(by_frame, Ok)?;
        *walk = caller;
        Ok(method)
    }

    /// Forgets the tables that were needed so far, which the source keeps for a while, and code of processes.
    pub(super) fn forget(&mut self) {
        self.tables.known.clear();
        self.tables.source.forget_unused();
        self.made.forget();
    }
}

pub(super) fn find(code: &ProcessCode, address: u64) -> Option<&CodeRange> {
    let after = code.ranges.partition_point(|range| range.start <= address);
    code.ranges.get(after.checked_sub(1)?).filter(|range| address < range.end)
}

pub(super) fn frame(code: &ProcessCode, address: u64, method: Method) -> RawFrame {
    let Some(range) = find(code, address) else { return RawFrame::Unmapped { address, method } };
    let offset = range.file_offset + (address - range.start);
    match &range.backing {
        CodeBacking::Anonymous => RawFrame::Anonymous { process: code.process, address, method },
        CodeBacking::File(binary, _) if *binary == VDSO => RawFrame::Vdso { offset, method },
        CodeBacking::File(binary, _) => RawFrame::File { binary: *binary, file_offset: offset, method },
    }
}

/// A process's memory as far as it is known: a part of its stack, and the code in its files.
#[derive(Clone, Copy)]
pub(super) struct Copied<'a> {
    pub(super) stack: &'a StackCopy,
    pub(super) code: &'a ProcessCode,
}

impl Memory for Copied<'_> {
    fn word(&self, address: u64) -> Option<u64> {
        if self.stack.contains(address) {
            return self.stack.word(address);
        }
        let range = find(self.code, address)?;
        let CodeBacking::File(_, MappedFile { file: Some(file), .. }) = &range.backing else { return None };
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, range.file_offset + (address - range.start)).ok()?;
        Some(u64::from_le_bytes(bytes))
    }

    fn pair(&self, address: u64) -> Option<[u64; 2]> {
        Some([self.word(address)?, self.word(address.checked_add(8)?)?])
    }

    fn register(&self, number: u8) -> Option<u64> {
        self.stack.registers.get(usize::from(number)).copied()
    }
}
