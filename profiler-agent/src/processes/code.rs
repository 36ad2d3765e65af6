//! All code of a process: what lies in which file.

use std::{sync::Arc, time::Instant};

use super::{
    ProcessHandle, ProcessIdentity, ProcessTable,
    binaries::{BinaryHandle, MappedFile, VDSO},
    mappings::{Backing, FileKey, Mapping},
    process::resolve,
};

/// Collecting the code of a process with more mappings takes some milliseconds, and where they change all the time a
/// twentieth of a CPU at most: it rests as often as long as it took.
const MANY_MAPPINGS: usize = 4096;
const REST: u32 = 19;

/// What stands behind the code of a mapping.
#[derive(Clone, Debug)]
pub(crate) enum CodeBacking {
    /// A file, or the vDSO's image.
    File(BinaryHandle, MappedFile),
    /// Made at run time.
    Anonymous,
}

/// A mapping with code.
#[derive(Clone, Debug)]
pub(crate) struct CodeRange {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) file_offset: u64,
    pub(crate) backing: CodeBacking,
}

/// All code of a process, as of a version of its mappings.
#[derive(Clone, Debug)]
pub(crate) struct ProcessCode {
    pub(crate) process: ProcessHandle,
    pub(crate) identity: ProcessIdentity,
    pub(crate) version: u64,
    pub(crate) ranges: Vec<CodeRange>,
    /// It has ended: there will be no more samples of it.
    pub(crate) ended: bool,
}

impl ProcessTable {
    /// All code of a process that was sampled; its files are opened.
    pub(crate) fn code(&mut self, pid: u32) -> Option<Arc<ProcessCode>> {
        let process = self.by_pid.get_mut(&pid)?;
        let identity = process.identity?;
        let start = Instant::now();
        let rests = process.mappings.len() > MANY_MAPPINGS && process.code_rests_until > start;
        let current = |code: &&Arc<ProcessCode>| {
            (code.version == process.version || rests)
                && code.identity == identity
                && code.ended == process.ended.is_some()
        };
        if let Some(code) = process.code.as_ref().filter(current) {
            return Some(code.clone());
        }
        let mut ranges = Vec::with_capacity(process.mappings.len());
        // A file that is mapped very often is asked for once.
        let mut last: Option<(FileKey, Arc<str>, BinaryHandle, MappedFile)> = None;
        for mapping in process.mappings.iter() {
            let backing = match &mapping.backing {
                Backing::Anonymous => CodeBacking::Anonymous,
                Backing::Vdso => match &self.vdso {
                    Some(image) => CodeBacking::File(VDSO, image.clone()),
                    None => CodeBacking::Anonymous,
                },
                Backing::File { key, path } => {
                    let same = last.as_ref().filter(|(known, name, ..)| known == key && name == path);
                    let (binary, file) = match same {
                        Some((_, _, binary, file)) => (*binary, file.clone()),
                        None => resolve(&mut self.binaries, &mut process.resolved, pid, mapping, *key, path),
                    };
                    last = Some((*key, path.clone(), binary, file.clone()));
                    if file.is_made() { CodeBacking::Anonymous } else { CodeBacking::File(binary, file) }
                }
            };
            let Mapping { start, end, file_offset, .. } = *mapping;
            // The vDSO's image is a file of its own, which begins where its mapping does.
            let file_offset = if mapping.backing == Backing::Vdso { 0 } else { file_offset };
            ranges.push(CodeRange { start, end, file_offset, backing });
        }
        let ended = process.ended.is_some();
        let (handle, version) = (process.handle, process.version);
        let code = Arc::new(ProcessCode { process: handle, identity, version, ranges, ended });
        process.code = Some(code.clone());
        process.code_rests_until = start + start.elapsed() * (REST + 1);
        Some(code)
    }
}
