//! Code that running processes have made, for walks of their copied stacks: read out of their memory, some tenths of a second
//! after the sample. What has been changed since, or is gone, leads to no caller that a call has left behind.

use std::{fs::File, os::unix::fs::FileExt, sync::Arc};

use profiler_unwind::{Memory, Rule, ends_in_call};
use rustc_hash::FxHashMap;
use symbols::unwind_rows::{INSTRUCTION_BYTES, RunningCode, WaysOut, leaves_stack, ways_out};

use super::finish::{Copied, Tables, find};
use crate::{
    jit,
    processes::{CodeBacking, CodeRange, ProcessCode, ProcessHandle},
};

const PAGE: usize = 4096;
/// Pages that are read of a process for one batch of stacks: the code that a program runs in a second is less. 2 MiB.
const PAGES_AT_MOST: usize = 512;
/// Instructions of a process whose rules are kept for one batch, and processes.
const RULES_AT_MOST: usize = 4096;
const PROCESSES_AT_MOST: usize = 64;
/// Code below a stack's first frame that is looked at.
const BOTTOM_BYTES: usize = 64;

/// The memory of processes that a batch of stacks is of.
#[derive(Default)]
pub(super) struct MadeCode {
    processes: FxHashMap<ProcessHandle, Process>,
}

/// One process's.
#[derive(Default)]
struct Process {
    /// None if it has ended, or may not be read.
    memory: Option<File>,
    pages: FxHashMap<u64, Option<Box<[u8; PAGE]>>>,
    rules: FxHashMap<u64, Arc<WaysOut>>,
}

impl MadeCode {
    /// The rules that an instruction in made code of the process `pid` may have, by where its function returns; the likeliest first.
    pub(super) fn rules_at(
        &mut self,
        pid: u32,
        address: u64,
        code: &ProcessCode,
        tables: &mut Tables,
    ) -> Arc<WaysOut> {
        let Some(process) = self.open(pid, code) else { return Arc::default() };
        if let Some(known) = process.rules.get(&address) {
            return known.clone();
        }
        let rules = Arc::new(ways_out(&mut Running { process, code, tables }, address));
        if process.rules.len() < RULES_AT_MOST {
            process.rules.insert(address, rules.clone());
        }
        rules
    }

    /// Whether nothing was called at a return address in made code: what made the stack put it there, below its first frame.
    pub(super) fn is_put_there(&mut self, pid: u32, return_address: u64, code: &ProcessCode) -> bool {
        let is_made = |range: &CodeRange| matches!(range.backing, CodeBacking::Anonymous);
        if !find(code, return_address).is_some_and(is_made) {
            return false;
        }
        let Some(process) = self.open(pid, code) else { return false };
        let before = return_address.checked_sub(8).and_then(|before| process.word(before));
        if before.is_none_or(ends_in_call) {
            return false;
        }
        let mut bytes = [0; BOTTOM_BYTES];
        let count = process.read(return_address, &mut bytes);
        leaves_stack(return_address, &bytes[..count])
    }

    /// The process `pid`, whose memory is opened; none if there are too many.
    fn open(&mut self, pid: u32, code: &ProcessCode) -> Option<&mut Process> {
        if self.processes.len() >= PROCESSES_AT_MOST && !self.processes.contains_key(&code.process) {
            return None;
        }
        Some(self.processes.entry(code.process).or_insert_with(|| Process {
            memory: jit::open_memory(pid, code.identity),
            ..Process::default()
        }))
    }

    /// Whether a call stands before a return address, be it in a file or in made code.
    pub(super) fn follows_call(&mut self, return_address: u64, memory: &Copied<'_>) -> bool {
        let Some(before) = return_address.checked_sub(8) else { return false };
        let made = || self.processes.get_mut(&memory.code.process).and_then(|process| process.word(before));
        memory.word(before).or_else(made).is_some_and(ends_in_call)
    }

    /// Forgets all of it: code that is made anew lies where other code lay.
    pub(super) fn forget(&mut self) {
        self.processes.clear();
    }
}

impl Process {
    fn word(&mut self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        (self.read(address, &mut bytes) == bytes.len()).then_some(u64::from_le_bytes(bytes))
    }

    /// Reads the bytes from an address on, and says how many there are.
    fn read(&mut self, address: u64, bytes: &mut [u8]) -> usize {
        let mut filled = 0;
        while filled < bytes.len() {
            let at = address.wrapping_add(filled as u64);
            let offset = (at % PAGE as u64) as usize;
            let Some(page) = self.page(at / PAGE as u64) else { break };
            let part = (PAGE - offset).min(bytes.len() - filled);
            bytes[filled..filled + part].copy_from_slice(&page[offset..offset + part]);
            filled += part;
        }
        filled
    }

    fn page(&mut self, number: u64) -> Option<&[u8; PAGE]> {
        let Self { memory, pages, .. } = self;
        if pages.len() >= PAGES_AT_MOST && !pages.contains_key(&number) {
            return None;
        }
        let read = || {
            let mut page = Box::new([0; PAGE]);
            memory.as_ref()?.read_exact_at(page.as_mut_slice(), number * PAGE as u64).ok()?;
            Some(page)
        };
        pages.entry(number).or_insert_with(read).as_deref()
    }
}

/// A process's code, made and in files.
struct Running<'a> {
    process: &'a mut Process,
    code: &'a ProcessCode,
    tables: &'a mut Tables,
}

impl RunningCode for Running<'_> {
    fn bytes(&mut self, address: u64) -> Option<([u8; INSTRUCTION_BYTES], usize)> {
        let range = find(self.code, address)?;
        let count = (range.end - address).min(INSTRUCTION_BYTES as u64) as usize;
        let mut bytes = [0; INSTRUCTION_BYTES];
        let filled = self.process.read(address, &mut bytes[..count]);
        (filled > 0).then_some((bytes, filled))
    }

    fn word(&mut self, address: u64) -> Option<u64> {
        self.process.word(address)
    }

    fn in_file(&mut self, address: u64) -> Option<Option<Rule>> {
        let range = find(self.code, address)?;
        match &range.backing {
            CodeBacking::Anonymous => None,
            CodeBacking::File(..) => Some(self.tables.rule_at(range, address)),
        }
    }
}
