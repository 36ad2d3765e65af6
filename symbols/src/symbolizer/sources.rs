//! Where the names of a file's addresses come from: its own debug info, split-off debug info, or its symbol table;
//! and what reading that costs.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::compressed;
use super::linkage_tables::LinkageTables;
use super::linked::LinkedDebugInfo;
use super::{Options, go_names, mini_debug_info};
use crate::elf::image::{self, Image};
use crate::elf::sections::{Section, Sections};
use crate::elf::{ElfError, FileFacts, Headers};

/// Sections that send the reader of debug info to a file of any name. A program may name a pipe there that never
/// answers, so we follow them ourselves or, in packaged debug info, leave it to blazesym.
const LINKS: [&str; 3] = [".gnu_debuglink", ".gnu_debugaltlink", ".debug_sup"];
/// A `.gnu_debuglink` holds a file name and a checksum.
const LINK_AT_MOST: u64 = 4096 + 8;
/// Every file costs a mapping, a descriptor and bookkeeping.
const COST_OF_A_FILE: u64 = 64 * 1024;

/// What tells one version of a file from any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Identity {
    pub(super) fn of(file: &File) -> std::io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}

/// The debug info to use for a file.
pub(super) enum DebugInfo {
    /// In the file itself.
    Own,
    /// Split off into this one.
    Split(File),
    /// In several files, which we read ourselves.
    Linked(Box<LinkedDebugInfo>),
    /// None, or none that we read: the symbol table has to do.
    None,
}

/// How a file is to be symbolized.
pub(super) struct Plan {
    pub(super) debug_info: DebugInfo,
    /// Estimate of the memory that symbolizing the file takes, in bytes.
    pub(super) cost: u64,
    /// Whether there is debug info that is left alone because it costs too much.
    pub(super) too_costly: bool,
    pub(super) linkage_tables: LinkageTables,
    /// The symbol table that was packed into it.
    pub(super) mini: Option<File>,
    /// Whether it has Go's table of functions.
    pub(super) is_go: bool,
}

impl Plan {
    /// The best plan for this file that costs at most the memory allowed. Split-off debug info is searched in the folders
    /// for it, then where `.gnu_debuglink` says; it has to have the file's build ID.
    pub(super) fn of(file: &File, path: &Path, options: &Options) -> Result<Self, ElfError> {
        let cost_at_most = options.memory;
        let image = Image::new(file, path)?;
        let sections = Headers::read(&image)?.sections(&image)?;
        let linkage_tables = LinkageTables::of(&sections);
        let is_go = go_names::is_there(&sections);
        let mini = mini_debug_info::unpack(&image, &sections);
        let of_mini =
            mini.as_ref().and_then(|mini| mini.metadata().ok()).map_or(0, |metadata| 2 * metadata.len());
        let symbols = cost_of_symbols(&image, &sections)?.saturating_add(of_mini);
        if symbols > cost_at_most {
            let (path, what) = (path.to_owned(), "symbol table");
            return Err(ElfError::TooLarge { path, what, size: symbols, limit: cost_at_most });
        }
        let (debug_info, cost) = debug_info(file, &image, &sections, options, cost_at_most - symbols);
        let cost = symbols.saturating_add(cost);
        // Only what is read with debug info is held as it is; of symbols alone a third is kept.
        let alone = symbols / 3 + COST_OF_A_FILE;
        if cost > cost_at_most {
            let debug_info = DebugInfo::None;
            return Ok(Self { debug_info, cost: alone, too_costly: true, linkage_tables, mini, is_go });
        }
        // Decompressing takes time, so that it is tried last.
        let is_sound = !matches!(debug_info, DebugInfo::Own) || unpacks_as_claimed(&image, &sections);
        let debug_info = if is_sound { debug_info } else { DebugInfo::None };
        let cost = if matches!(debug_info, DebugInfo::None) { alone } else { cost };
        Ok(Self { debug_info, cost, too_costly: false, linkage_tables, mini, is_go })
    }

    /// Of a file that turned out to be unreadable in this way.
    pub(super) fn without_debug_info(&mut self) {
        self.debug_info = DebugInfo::None;
    }
}

/// The debug info to use, and what using it costs beside the symbols.
fn debug_info(
    file: &File,
    image: &Image<'_>,
    sections: &Sections,
    options: &Options,
    cost_at_most: u64,
) -> (DebugInfo, u64) {
    let linked = |file: &File| {
        let linked = LinkedDebugInfo::read(file, image.path, &options.debug_folders, cost_at_most)?;
        Some((linked.cost, DebugInfo::Linked(Box::new(linked))))
    };
    let split = split(file, image, sections, options);
    // What packages have is read by blazesym, links and all.
    if let Some(split) = split.as_ref().filter(|split| !split.is_packaged).map(|split| &split.file)
        && let Some((cost, linked)) = linked(split)
    {
        return (linked, cost);
    }
    match split {
        Some(split) if split.is_packaged || !split.has_links => (DebugInfo::Split(split.file), split.cost),
        None if has_debug_info(sections) => match linked(file) {
            Some((cost, linked)) => (linked, cost),
            None if has_links(sections) => (DebugInfo::None, 0),
            None => (DebugInfo::Own, cost_of_debug_info(image, sections)),
        },
        _ => (DebugInfo::None, 0),
    }
}

/// A path that opens just this open file again, whatever its name stands for by now.
pub(super) fn path_of(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

/// A file of split-off debug info.
struct Split {
    file: File,
    /// What using it costs, in bytes.
    cost: u64,
    /// It comes from the machine's packages.
    is_packaged: bool,
    has_links: bool,
}

fn split(file: &File, image: &Image<'_>, sections: &Sections, options: &Options) -> Option<Split> {
    let build_id = FileFacts::read(file, image.path).ok()?.build_id()?.to_owned();
    let by_id = |folder: &PathBuf| by_build_id(folder, &build_id);
    let packaged = options.debug_folders.iter().filter_map(by_id).map(|path| (path, true));
    let linked = linked(file, image, sections, &options.debug_folders);
    let fetched = options.fetched.iter().filter_map(by_id);
    packaged
        .chain(linked.into_iter().chain(fetched).map(|path| (path, false)))
        .find_map(|(path, is_packaged)| usable(&path, &build_id, is_packaged))
}

/// Where a folder of debug info has that of a build ID.
fn by_build_id(folder: &Path, build_id: &str) -> Option<PathBuf> {
    let (start, rest) = build_id.split_at_checked(2)?;
    Some(folder.join(format!(".build-id/{start}/{rest}.debug")))
}

/// Where `.gnu_debuglink` may lead to, in the order in which debuggers look.
fn linked(file: &File, image: &Image<'_>, sections: &Sections, debug_folders: &[PathBuf]) -> Vec<PathBuf> {
    let name = || {
        let link = sections.stored(".gnu_debuglink")?.bytes(image, LINK_AT_MOST, ".gnu_debuglink").ok()?;
        let name = link.split(|&byte| byte == 0).next()?;
        let name = String::from_utf8(name.to_vec()).ok()?;
        (!name.is_empty() && !name.contains('/')).then_some(name)
    };
    let folder = || Some(fs::read_link(path_of(file)).ok()?.parent()?.to_owned());
    let (Some(name), Some(folder)) = (name(), folder()) else { return Vec::new() };
    let near = [folder.join(&name), folder.join(".debug").join(&name)];
    let inside = folder.strip_prefix("/").map(Path::to_owned).unwrap_or_default();
    let far = debug_folders.iter().map(|debug_folder| debug_folder.join(&inside).join(&name));
    near.into_iter().chain(far).collect()
}

/// The file at `path`, if it holds debug info for the file of this build ID.
fn usable(path: &Path, build_id: &str, is_packaged: bool) -> Option<Split> {
    let file = image::open(path).ok()?;
    if FileFacts::read(&file, path).ok()?.build_id() != Some(build_id) {
        return None;
    }
    let image = Image::new(&file, path).ok()?;
    let sections = Headers::read(&image).ok()?.sections(&image).ok()?;
    if !has_debug_info(&sections) {
        return None;
    }
    let cost = cost_of_symbols(&image, &sections).ok()?.saturating_add(cost_of_debug_info(&image, &sections));
    if !is_packaged && !unpacks_as_claimed(&image, &sections) {
        return None;
    }
    let has_links = has_links(&sections);
    Some(Split { file, cost, is_packaged, has_links })
}

fn has_debug_info(sections: &Sections) -> bool {
    sections.stored(".debug_info").is_some()
}

fn has_links(sections: &Sections) -> bool {
    LINKS.iter().any(|link| sections.stored(link).is_some())
}

/// Symbols are sorted into an index of about their size.
fn cost_of_symbols(image: &Image<'_>, sections: &Sections) -> Result<u64, ElfError> {
    // blazesym unpacks any section that says it is packed; only debug info ever is.
    let is_debug = |section: &Section| section.name.starts_with(b".debug_");
    if sections.iter().any(|section| section.is_compressed() && !is_debug(section)) {
        return Err(ElfError::Strange { path: image.path.to_owned(), what: "a compressed section" });
    }
    let tables = sections.iter().filter(|section| [&b".symtab"[..], b".dynsym"].contains(&&*section.name));
    Ok(tables.fold(COST_OF_A_FILE, |cost, table| cost.saturating_add(table.size)))
}

/// What debug info takes in memory: compressed sections are held decompressed, and the tables made from them grow
/// with the functions asked for: from half to twice their size, as measured on executables and C libraries.
fn cost_of_debug_info(image: &Image<'_>, sections: &Sections) -> u64 {
    debug_sections(sections).fold(0, |cost, section| {
        let held = if section.is_compressed() { compressed::claimed_size(image, section) } else { 0 };
        cost.saturating_add(held).saturating_add(held.max(section.size))
    })
}

/// Whether compressed debug info is as large as it says. blazesym decompresses without a limit, and a few
/// kilobytes can be made to fill all memory.
fn unpacks_as_claimed(image: &Image<'_>, sections: &Sections) -> bool {
    debug_sections(sections)
        .filter(|section| section.is_compressed())
        .all(|section| compressed::unpacks_as_claimed(image, section))
}

fn debug_sections(sections: &Sections) -> impl Iterator<Item = &Section> {
    sections.iter().filter(|section| section.is_stored() && section.name.starts_with(b".debug_"))
}
