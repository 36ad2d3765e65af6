//! The names of addresses: in files, by DWARF debug info with inlined functions, by symbol table, by the one packed into
//! `.gnu_debugdata`, by Go's table of functions, in linkage tables by relocations; in the kernel, by `/proc/kallsyms`.
//!
//! Only this module knows blazesym. A [`Symbolizer`] is not `Send`: the thread that makes it owns it.
//!
//! Symbol tables of files are read by ourselves ([`symbol_index`]): blazesym maps files, and sorts all that is in them.
//! It opens its files by path, keeps them open and mapped, and follows links in them. So that a path means
//! what the caller meant, also for deleted files and in other mount namespaces, we open the file once, check it,
//! and hand blazesym `/proc/self/fd/N` of that very descriptor; it knows the file again by device, inode,
//! size and time. Panics inside are caught, and the file is not asked in that way again.

mod compressed;
mod demangle;
mod go_names;
mod linkage_tables;
mod linked;
mod mini_debug_info;
mod sources;
mod symbol_index;

use std::cell::OnceCell;
use std::fs::File;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use blazesym::MaybeDefault;
use blazesym::symbolize::source::{Elf, Kernel, Source};
use blazesym::symbolize::{self, Input, Sym, Symbolized};
use rustc_hash::FxHashMap;

use crate::elf::{ElfError, image};
use crate::kernel::{self, KernelSymbolsError};
use demangle::demangle;
use sources::{DebugInfo, Identity, Plan};
use symbol_index::SymbolIndex;

/// Names of kernel symbols are read anew after this time, when an address is asked for that may lie in a module
/// or BPF program loaded since. Reading them takes about 50 ms.
const KERNEL_SYMBOLS_LIVE: Duration = Duration::from_secs(60);
/// blazesym keeps up to two descriptors open per file, we one; a process has 1,024 by default.
const FILES_AT_MOST: usize = 200;

/// A function at an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Name {
    /// Demangled name. Never empty.
    pub function: String,
    /// Name as the symbol table or debug info has it.
    pub system_name: String,
    /// Source file; empty when unknown.
    pub file: String,
    /// Source line of the address, or of the call where another function is inlined; 0 when unknown.
    pub line: u32,
    /// Whether this function is inlined into the one that follows.
    pub inlined: bool,
}

/// What a [`Symbolizer`] may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Memory for what is kept of one file, in bytes, by our estimate. One whose debug info would take more is symbolized
    /// by its symbol table.
    pub memory: u64,
    /// Memory for what is kept of files that take at most half of this. Beside them there are larger ones, and all
    /// together stay within `memory`. The least recently used of the same kind gives way.
    pub kept: u64,
    /// Where packages put split-off debug info.
    pub debug_folders: Vec<PathBuf>,
    /// The same from a server, which is not trusted as packages are.
    pub fetched: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            memory: 128 << 20,
            kept: 64 << 20,
            debug_folders: vec!["/usr/lib/debug".into()],
            fetched: None,
        }
    }
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Addresses asked for, in files and in the kernel.
    pub addresses: u64,
    /// Addresses left without a name.
    pub unknown: u64,
    /// Calls for a file that could not be read at all.
    pub unreadable_files: u64,
    /// Times that debug info was there but broken, and the symbol table used instead.
    pub broken_debug_info: u64,
    /// Files whose debug info is too large for the memory allowed.
    pub costly_debug_info: u64,
    /// Files that were dropped to stay within the memory and descriptors allowed.
    pub evictions: u64,
    /// Panics caught inside blazesym.
    pub panics: u64,
}

/// Names addresses in files and in the kernel.
pub struct Symbolizer {
    options: Options,
    kernel: Option<(symbolize::Symbolizer, Instant)>,
    files: FxHashMap<Identity, Kept>,
    cost: u64,
    /// Counts calls, to know which file was used when.
    calls: u64,
    counters: Counters,
}

/// What is kept of a file. Each has a blazesym of its own, which keeps all that it has read until it is dropped.
struct Kept {
    plan: Plan,
    /// Of each of [`Whose`], once they were asked for; none if they cannot be read.
    symbols: [OnceCell<Option<SymbolIndex>>; 3],
    symbolizer: symbolize::Symbolizer,
    /// The call, and the moment.
    used: (u64, Instant),
}

/// Which symbol table.
#[derive(Clone, Copy)]
enum Whose {
    /// The file's own.
    Own,
    /// That of the file which its debug info is in.
    DebugInfo,
    /// The one that was packed into it.
    Mini,
}

/// Why blazesym gave no answer.
enum Failure {
    Error(blazesym::Error),
    Panic,
}

impl Default for Symbolizer {
    fn default() -> Self {
        Self::new(Options::default())
    }
}

impl Symbolizer {
    /// A symbolizer that has read nothing yet.
    pub fn new(options: Options) -> Self {
        Self {
            kernel: None,
            files: FxHashMap::default(),
            cost: 0,
            calls: 0,
            counters: Counters::default(),
            options,
        }
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Estimate of the memory that is used for files, in bytes.
    pub fn memory(&self) -> u64 {
        self.cost
    }

    /// Names at these ELF virtual addresses of the file at `path_to_open`: for each, the inlined functions innermost
    /// first, then the function that holds them; none where nothing is known. The byte before a function counts as its first one,
    /// if it is in no other. `/proc/self/fd/N`
    /// and `/proc/PID/map_files/A-B` are good paths. One call with many addresses is cheaper than many calls.
    pub fn file(&mut self, path_to_open: &Path, vaddrs: &[u64]) -> Vec<Vec<Name>> {
        let names = self.try_file(path_to_open, vaddrs).unwrap_or_else(|error| {
            tracing::debug!(%error, "a file gives no names");
            self.counters.unreadable_files += 1;
            vec![Vec::new(); vaddrs.len()]
        });
        self.count(&names);
        names
    }

    /// Names at these addresses of the running kernel, as [`Symbolizer::file`] gives them.
    pub fn kernel(&mut self, addresses: &[u64]) -> Result<Vec<Vec<Name>>, KernelSymbolsError> {
        if self.kernel.as_ref().is_none_or(|(_, read)| read.elapsed() > KERNEL_SYMBOLS_LIVE) {
            kernel::check_symbols()?;
            self.kernel = Some((new_symbolizer(&self.options), Instant::now()));
        }
        let Some((symbolizer, _)) = &self.kernel else { return Ok(vec![Vec::new(); addresses.len()]) };
        // The image's own debug info is not asked: it is large and rarely there.
        let source = Kernel { vmlinux: MaybeDefault::None, debug_syms: false, ..Kernel::default() };
        let names = guarded(|| {
            let symbols = symbolizer.symbolize(&Source::Kernel(source), Input::AbsAddr(addresses))?;
            Ok(symbols.iter().map(names_of).collect::<Vec<_>>())
        });
        let names = names.map_err(|failure| {
            self.kernel = None;
            KernelSymbolsError::LookUp { reason: self.reason_of(failure) }
        })?;
        self.count(&names);
        Ok(names)
    }

    fn try_file(&mut self, path: &Path, vaddrs: &[u64]) -> Result<Vec<Vec<Name>>, ElfError> {
        let file = image::open(path)?;
        let unreadable = |source| ElfError::Read { path: path.to_owned(), what: "metadata", source };
        let identity = Identity::of(&file).map_err(unreadable)?;
        self.calls += 1;
        if let Some(kept) = self.files.get_mut(&identity) {
            kept.used = (self.calls, Instant::now());
        } else {
            let plan = Plan::of(&file, path, &self.options)?;
            self.make_room_for(&plan);
            self.cost += plan.cost;
            self.counters.costly_debug_info += u64::from(plan.too_costly);
            let used = (self.calls, Instant::now());
            let symbols = Default::default();
            let kept = Kept { plan, symbols, symbolizer: new_symbolizer(&self.options), used };
            self.files.insert(identity, kept);
        }
        let debug_info = match self.plan(identity).map(|plan| &plan.debug_info) {
            Some(DebugInfo::Own) => Some(sources::path_of(&file)),
            Some(DebugInfo::Split(split)) => Some(sources::path_of(split)),
            Some(DebugInfo::Linked(_) | DebugInfo::None) | None => None,
        };
        let mut names = self.by_linked(vaddrs, identity);
        if names.iter().any(|names| !names.is_empty()) {
            self.qualify(&mut names, Whose::Own, (&file, path), vaddrs, identity);
        }
        if let Some(debug_info) = debug_info {
            self.fill(&mut names, &debug_info, vaddrs, identity);
            self.qualify(&mut names, Whose::DebugInfo, (&file, path), vaddrs, identity);
        }
        for whose in [Whose::Own, Whose::Mini] {
            for index in positions(&names, |names| names.is_empty()) {
                let name = self.by_symbols(whose, (&file, path), vaddrs[index], identity);
                names[index].extend(name);
            }
        }
        // What is asked for is mostly the byte before a return address. V8's deoptimizer returns to functions' first bytes, before
        // which is nothing but padding.
        for index in positions(&names, |names| names.is_empty()) {
            let next = vaddrs[index].saturating_add(1);
            names[index].extend(self.by_symbols(Whose::Own, (&file, path), next, identity));
        }
        if self.plan(identity).is_some_and(|plan| plan.is_go) {
            go_names::fill(&file, path, vaddrs, &mut names);
        }
        if let Some(Kept { plan, .. }) = self.files.get_mut(&identity) {
            plan.linkage_tables.rename(&file, path, vaddrs, &mut names);
        }
        Ok(names)
    }

    /// Names by debug info in several files, if the file has such; else there are none yet.
    fn by_linked(&mut self, vaddrs: &[u64], identity: Identity) -> Vec<Vec<Name>> {
        let nothing = || vec![Vec::new(); vaddrs.len()];
        let Some(DebugInfo::Linked(linked)) = self.plan(identity).map(|plan| &plan.debug_info) else {
            return nothing();
        };
        let names = guarded(|| Ok(vaddrs.iter().map(|vaddr| linked.names(*vaddr)).collect()));
        names.unwrap_or_else(|failure| {
            let reason = self.reason_of(failure);
            tracing::debug!(reason, "debug info in several files is broken");
            self.counters.broken_debug_info += 1;
            if let Some(Kept { plan, .. }) = self.files.get_mut(&identity) {
                plan.without_debug_info();
            }
            nothing()
        })
    }

    /// Forgets all that is known of files: debug info has come that was not there before.
    pub fn forget_files(&mut self) {
        self.files.clear();
        self.cost = 0;
    }

    /// Forgets what is known of files that were not asked for lately, and of the kernel: names are kept by whoever
    /// asked, and new places of a program come mostly while it starts.
    pub fn forget_unused(&mut self, age: Duration) {
        let cost = &mut self.cost;
        self.files.retain(|_, kept| {
            let stays = kept.used.1.elapsed() < age;
            *cost -= if stays { 0 } else { kept.plan.cost };
            stays
        });
        if self.kernel.as_ref().is_some_and(|(_, read)| read.elapsed() > age.max(KERNEL_SYMBOLS_LIVE)) {
            self.kernel = None;
        }
    }

    fn plan(&self, identity: Identity) -> Option<&Plan> {
        self.files.get(&identity).map(|kept| &kept.plan)
    }

    /// Looks up the addresses that have no names yet, by debug info.
    fn fill(&mut self, names: &mut [Vec<Name>], path: &Path, vaddrs: &[u64], identity: Identity) {
        let open = positions(names, |names| names.is_empty());
        match self.look_up(path, &open, (vaddrs, identity)) {
            Ok(found) => open.into_iter().zip(found).for_each(|(index, found)| names[index] = found),
            Err(failure) => self.give_up(failure, path, identity),
        }
    }

    /// Gives C++ functions their full names by a symbol table: of a function that only its own source file can call, debug
    /// info has the bare name, without namespace and parameters.
    fn qualify(
        &self,
        names: &mut [Vec<Name>],
        whose: Whose,
        file: (&File, &Path),
        vaddrs: &[u64],
        identity: Identity,
    ) {
        for index in positions(names, |names| names.last().is_some_and(|name| !is_mangled(&name.system_name)))
        {
            if let Some(full) = self.by_symbols(whose, file, vaddrs[index], identity)
                && let Some(name) = names[index].last_mut()
                && is_mangled(&full.system_name)
                && full.system_name.contains(without_arguments(&name.system_name))
            {
                name.function = full.function;
                name.system_name = full.system_name;
            }
        }
    }

    /// The name at an address by a symbol table: of the file that is open here, or of what goes with it.
    fn by_symbols(
        &self,
        whose: Whose,
        (own, path): (&File, &Path),
        vaddr: u64,
        identity: Identity,
    ) -> Option<Name> {
        let Kept { plan, symbols, .. } = self.files.get(&identity)?;
        let (file, symbols) = match (whose, &plan.debug_info) {
            (Whose::Mini, _) => (plan.mini.as_ref()?, &symbols[2]),
            (Whose::DebugInfo, DebugInfo::Split(split)) => (split, &symbols[1]),
            _ => (own, &symbols[0]),
        };
        let read = || {
            let told = |error: &ElfError| tracing::debug!(%error, "a symbol table names nothing");
            SymbolIndex::read(file, path).inspect_err(told).ok()
        };
        let system_name = symbols.get_or_init(read).as_ref()?.name(file, vaddr)?;
        let function = demangle(&system_name).into_owned();
        Some(Name { function, system_name, ..Name::default() })
    }

    /// The names of those of `vaddrs` that lie at `positions`, by the debug info at this path.
    fn look_up(
        &self,
        path: &Path,
        positions: &[usize],
        (vaddrs, identity): (&[u64], Identity),
    ) -> Result<Vec<Vec<Name>>, Failure> {
        let Some(kept) = self.files.get(&identity).filter(|_| !positions.is_empty()) else {
            return Ok(Vec::new());
        };
        let addresses: Vec<u64> = positions.iter().map(|&index| vaddrs[index]).collect();
        guarded(|| {
            let source = Source::Elf(Elf::new(path));
            let symbols = kept.symbolizer.symbolize(&source, Input::VirtOffset(&addresses))?;
            Ok(symbols.iter().map(names_of).collect())
        })
    }

    /// Never asks for this debug info again; what blazesym holds after a panic is not trusted.
    fn give_up(&mut self, failure: Failure, path: &Path, identity: Identity) {
        let panicked = matches!(failure, Failure::Panic);
        let reason = self.reason_of(failure);
        tracing::debug!(reason, path = %path.display(), "debug info is left alone");
        self.counters.broken_debug_info += 1;
        let Some(kept) = self.files.get_mut(&identity) else { return };
        if panicked {
            kept.symbolizer = new_symbolizer(&self.options);
        }
        kept.plan.without_debug_info();
    }

    /// Drops what was used least lately. Large files give way to large ones, and small ones to small ones: else each of the
    /// former would push many of the latter out, again and again.
    fn make_room_for(&mut self, plan: &Plan) {
        while let Some(gives_way) = self.gives_way_to(plan.cost) {
            let Some(kept) = self.files.remove(&gives_way) else { return };
            self.cost -= kept.plan.cost;
            self.counters.evictions += 1;
        }
    }

    /// The file to be dropped next for one that costs so much; none if there is room.
    fn gives_way_to(&self, cost: u64) -> Option<Identity> {
        let of_small = self.options.kept.min(self.options.memory);
        let is_large = |cost: u64| cost > of_small / 2;
        let all = || self.files.iter().map(|(identity, kept)| (kept, *identity));
        let large: u64 = all().map(|(kept, _)| kept.plan.cost).filter(|cost| is_large(*cost)).sum();
        let small = self.cost - large;
        let is_over = self.cost + cost > self.options.memory || self.files.len() >= FILES_AT_MOST;
        let large_goes = match is_large(cost) {
            true if is_over => large > 0,
            false if is_over || small + cost > of_small => small == 0,
            _ => return None,
        };
        let candidates = all().filter(|(kept, _)| is_large(kept.plan.cost) == large_goes);
        candidates.min_by_key(|(kept, _)| kept.used.0).map(|(_, identity)| identity)
    }

    fn reason_of(&mut self, failure: Failure) -> String {
        match failure {
            Failure::Error(error) => format!("{error:#}"),
            Failure::Panic => {
                self.counters.panics += 1;
                "the symbolizer panicked".to_owned()
            }
        }
    }

    fn count(&mut self, names: &[Vec<Name>]) {
        self.counters.addresses += names.len() as u64;
        self.counters.unknown += names.iter().filter(|names| names.is_empty()).count() as u64;
    }
}

/// How code without a name is shown: `[file+0xaddress]`, by the base name of the file; `[unknown 0xaddress]` where
/// there is no file.
pub fn unknown_name(path: Option<&str>, address: u64) -> String {
    let base = path.map(|path| path.strip_suffix(" (deleted)").unwrap_or(path)).and_then(|path| {
        let base = path.rsplit('/').find(|part| !part.is_empty())?;
        // `[vdso]` and the like have brackets of their own.
        Some(base.trim_start_matches('[').trim_end_matches(']'))
    });
    match base {
        Some(base) => format!("[{base}+{address:#x}]"),
        None => format!("[unknown {address:#x}]"),
    }
}

fn new_symbolizer(options: &Options) -> symbolize::Symbolizer {
    symbolize::Symbolizer::builder()
        .enable_auto_reload(true)
        .enable_code_info(true)
        .enable_inlined_fns(true)
        // Raw names are wanted too, so we demangle them ourselves.
        .enable_demangling(false)
        .set_debug_dirs(Some(&options.debug_folders))
        .build()
}

fn positions(names: &[Vec<Name>], passes: impl Fn(&Vec<Name>) -> bool) -> Vec<usize> {
    (0..names.len()).filter(|&index| passes(&names[index])).collect()
}

/// The name of a template alone: the arguments of one have other words in a mangled name.
fn without_arguments(name: &str) -> &str {
    match name.find('<') {
        // `operator<`, and what begins with it.
        Some(at) if at > 0 && !name[..at].ends_with("operator") => &name[..at],
        _ => name,
    }
}

/// By C++, which is the one whose debug info lacks names of this kind.
fn is_mangled(system_name: &str) -> bool {
    system_name.starts_with("_Z")
}

fn guarded<T>(look_up: impl FnOnce() -> blazesym::Result<T>) -> Result<T, Failure> {
    match panic::catch_unwind(AssertUnwindSafe(look_up)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Failure::Error(error)),
        Err(_) => Err(Failure::Panic),
    }
}

fn names_of(symbol: &Symbolized<'_>) -> Vec<Name> {
    let Symbolized::Sym(symbol) = symbol else { return Vec::new() };
    names_of_symbol(symbol)
}

fn names_of_symbol(symbol: &Sym<'_>) -> Vec<Name> {
    let inlined =
        symbol.inlined.iter().rev().map(|inlined| name(&inlined.name, inlined.code_info.as_ref(), true));
    let holder = name(&symbol.name, symbol.code_info.as_deref(), false);
    inlined.chain([holder]).filter(|name| !name.function.is_empty()).collect()
}

fn name(system_name: &str, location: Option<&symbolize::CodeInfo<'_>>, inlined: bool) -> Name {
    Name {
        function: demangle(system_name).into_owned(),
        system_name: system_name.to_owned(),
        file: location.map(|location| location.to_path().to_string_lossy().into_owned()).unwrap_or_default(),
        line: location.and_then(|location| location.line).unwrap_or_default(),
        inlined,
    }
}
