//! Code that running processes have made, for walks of their copied stacks: read out of their memory, some tenths of a second
//! after the sample. What has been changed since, or is gone, leads to no caller that a call has left behind.

use std::{fs::File, os::unix::fs::FileExt, sync::Arc};

use profiler_unwind::{Memory, Rule, ends_in_call};
use rustc_hash::FxHashMap;
use symbols::unwind_rows::{INSTRUCTION_BYTES, RunningCode, ways_out};

use super::finish::{Copied, Tables, find};
use crate::{
    jit,
    processes::{CodeBacking, ProcessCode, ProcessHandle},
};

const PAGE: usize = 4096;
/// Pages that are read of a process for one batch of stacks: the code that a program runs in a second is less. 2 MiB.
const PAGES_AT_MOST: usize = 512;
/// Instructions of a process whose rules are kept for one batch, and processes.
const RULES_AT_MOST: usize = 4096;
const PROCESSES_AT_MOST: usize = 64;

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
    rules: FxHashMap<u64, Arc<[Rule]>>,
}

impl MadeCode {
    /// The rules that an instruction in made code of the process `pid` may have, by where its function returns; the likeliest first.
    pub(super) fn rules_at(
        &mut self,
        pid: u32,
        address: u64,
        code: &ProcessCode,
        tables: &mut Tables,
    ) -> Arc<[Rule]> {
        if self.processes.len() >= PROCESSES_AT_MOST && !self.processes.contains_key(&code.process) {
            return Arc::default();
        }
        let process = self.processes.entry(code.process).or_insert_with(|| Process {
            memory: jit::open_memory(pid, code.identity),
            ..Process::default()
        });
        if let Some(known) = process.rules.get(&address) {
            return known.clone();
        }
        let rules: Arc<[Rule]> = ways_out(&mut Running { process, code, tables }, address).into();
        if process.rules.len() < RULES_AT_MOST {
            process.rules.insert(address, rules.clone());
        }
        rules
    }

    /// Whether a call stands before a return address, be it in a file or in made code.
    pub(super) fn follows_call(&self, return_address: u64, memory: &Copied<'_>) -> bool {
        let Some(before) = return_address.checked_sub(8) else { return false };
        let made = || self.processes.get(&memory.code.process).and_then(|process| process.word(before));
        memory.word(before).or_else(made).is_some_and(ends_in_call)
    }

    /// Forgets all of it: code that is made anew lies where other code lay.
    pub(super) fn forget(&mut self) {
        self.processes.clear();
    }
}

impl Process {
    fn word(&self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.memory.as_ref()?.read_exact_at(&mut bytes, address).ok()?;
        Some(u64::from_le_bytes(bytes))
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
        let mut filled = 0;
        while filled < count {
            let at = address + filled as u64;
            let offset = (at % PAGE as u64) as usize;
            let Some(page) = self.process.page(at / PAGE as u64) else { break };
            let part = (PAGE - offset).min(count - filled);
            bytes[filled..filled + part].copy_from_slice(&page[offset..offset + part]);
            filled += part;
        }
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
