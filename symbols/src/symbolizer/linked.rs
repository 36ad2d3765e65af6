//! Debug info that lies in more files than one: split DWARF (.dwo files, or one package of them, .dwp), and parts that
//! several programs share (`.gnu_debugaltlink`, as dwz makes them).
//!
//! Read here, by addr2line, and not by blazesym, which opens the files that a program names itself, whatever they are,
//! and knows no .dwo files.
//!
//! Formats: DWARF 5, section 7.3.2 and appendix F; GNU's extensions of DWARF 4 for the same; GDB manual, "Separate Debug
//! Files", for the link.

use std::cell::Cell;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use addr2line::{Context, LookupContinuation, LookupResult, SplitDwarfLoad};
use gimli::{Dwarf, DwarfFileType, DwarfPackage, EndianArcSlice, LittleEndian, Reader, SectionId};

use super::demangle::demangle;
use super::{Name, compressed};
use crate::elf::image::{self, Image};
use crate::elf::sections::{Section, Sections};
use crate::elf::{ElfError, FileFacts, Headers};
use crate::local_files;

/// Where only the heads of units are left, this is what a hundred thousand of them take.
const HEADS_AT_MOST: u64 = 16 << 20;
/// Of .dwo files, whose sizes nobody knows before they are opened.
const OF_OBJECTS: u64 = 32 << 20;
/// Path and build ID.
const LINK_AT_MOST: u64 = 4096 + 64;

type Bytes = EndianArcSlice<LittleEndian>;

/// Debug info in several files.
pub(super) struct LinkedDebugInfo {
    context: Context<Bytes>,
    package: Option<DwarfPackage<Bytes>>,
    /// Bytes of .dwo files that may still be read.
    room: Cell<u64>,
    /// Estimate of the memory it takes, in bytes.
    pub(super) cost: u64,
}

impl LinkedDebugInfo {
    /// Reads it, if the file `file` has such a thing: from `.gnu_debugaltlink` on, or if its units say that the rest of them
    /// lies elsewhere. Supplements are looked for in `debug_folders` first. None too, if it would cost more.
    pub(super) fn read(
        file: &File,
        path: &Path,
        debug_folders: &[PathBuf],
        cost_at_most: u64,
    ) -> Option<Self> {
        Self::try_read(file, path, debug_folders, cost_at_most)
            .inspect_err(|error| tracing::debug!(%error, "debug info in several files is left alone"))
            .ok()
            .flatten()
    }

    fn try_read(
        file: &File,
        path: &Path,
        debug_folders: &[PathBuf],
        cost_at_most: u64,
    ) -> Result<Option<Self>, ElfError> {
        let image = Image::new(file, path)?;
        let sections = Headers::read(&image)?.sections(&image)?;
        let Some(info) = sections.stored(".debug_info") else { return Ok(None) };
        let link = sections.stored(".gnu_debugaltlink");
        let may_be_split = sections.stored(".debug_addr").is_some() && size_of(&image, info) <= HEADS_AT_MOST;
        if link.is_none() && !may_be_split {
            return Ok(None);
        }
        let mut loader = Loader { room: cost_at_most };
        let Some(mut dwarf) = loader.dwarf(&image, &sections, |id| id.name()) else { return Ok(None) };
        if let Some(link) = link
            && let Some(supplement) = supplement(file, &image, link, debug_folders)
        {
            let image = Image::new(&supplement, path)?;
            let sections = Headers::read(&image)?.sections(&image)?;
            match loader.dwarf(&image, &sections, |id| id.name()) {
                Some(supplement) => dwarf.set_sup(supplement),
                None => return Ok(None),
            }
        }
        let is_split = may_be_split && has_split_units(&dwarf);
        if link.is_none() && !is_split {
            return Ok(None);
        }
        let package = if is_split { loader.package(file, path) } else { None };
        let of_objects = if is_split && package.is_none() { OF_OBJECTS.min(loader.room) } else { 0 };
        // What is made of the sections takes about as much again.
        let cost = 2 * (cost_at_most - loader.room) + of_objects;
        let Ok(context) = Context::from_dwarf(dwarf) else { return Ok(None) };
        Ok(Some(Self { context, package, room: Cell::new(of_objects / 2), cost }))
    }

    /// The names at an address, inlined functions innermost first; none where nothing is known.
    pub(super) fn names(&self, vaddr: u64) -> Vec<Name> {
        self.try_names(vaddr).unwrap_or_else(|error| {
            tracing::debug!(%error, vaddr, "no name by debug info in several files");
            Vec::new()
        })
    }

    fn try_names(&self, vaddr: u64) -> gimli::Result<Vec<Name>> {
        let mut lookup = self.context.find_frames(vaddr);
        let mut frames = loop {
            match lookup {
                LookupResult::Output(frames) => break frames?,
                LookupResult::Load { load, continuation } => {
                    let loaded = self.load(&load);
                    lookup = continuation.resume(loaded);
                }
            }
        };
        let mut names = Vec::new();
        while let Some(frame) = frames.next()? {
            let Some(function) = &frame.function else { continue };
            let system_name = function.raw_name()?.into_owned();
            if system_name.is_empty() {
                continue;
            }
            let location = frame.location.as_ref();
            names.push(Name {
                function: demangle(&system_name).into_owned(),
                system_name,
                file: location.and_then(|location| location.file).unwrap_or_default().to_owned(),
                line: location.and_then(|location| location.line).unwrap_or_default(),
                inlined: true,
            });
        }
        if let Some(holder) = names.last_mut() {
            holder.inlined = false;
        }
        Ok(names)
    }

    /// The part of a unit that lies elsewhere.
    fn load(&self, load: &SplitDwarfLoad<Bytes>) -> Option<Arc<Dwarf<Bytes>>> {
        if let Some(package) = &self.package
            && let Ok(Some(unit)) = package.find_cu(load.dwo_id, &load.parent)
        {
            return Some(Arc::new(unit));
        }
        let text = |bytes: &Bytes| Some(PathBuf::from(&*bytes.to_string_lossy().ok()?));
        let folder = load.comp_dir.as_ref().and_then(text).unwrap_or_default();
        let path = folder.join(text(load.path.as_ref()?)?);
        let file = local_files::open(&path)?;
        let image = Image::new(&file, &path).ok()?;
        let sections = Headers::read(&image).ok()?.sections(&image).ok()?;
        let mut loader = Loader { room: self.room.get() };
        let mut dwarf = loader.dwarf(&image, &sections, |id| id.dwo_name().unwrap_or_default())?;
        dwarf.file_type = DwarfFileType::Dwo;
        let header = dwarf.units().next().ok()??;
        if dwarf.unit(header).ok()?.dwo_id != Some(load.dwo_id) {
            tracing::debug!(path = %path.display(), "of another build");
            return None;
        }
        self.room.set(loader.room);
        dwarf.make_dwo(&load.parent);
        Some(Arc::new(dwarf))
    }
}

/// Reads sections, as long as there is room.
struct Loader {
    /// Bytes that may still be read.
    room: u64,
}

impl Loader {
    /// The debug info in a file's sections of these names; none if one does not fit or is broken.
    fn dwarf(
        &mut self,
        image: &Image<'_>,
        sections: &Sections,
        name: impl Fn(SectionId) -> &'static str,
    ) -> Option<Dwarf<Bytes>> {
        Dwarf::load(|id| self.section(image, sections, name(id)).ok_or(())).ok()
    }

    /// The bytes of a section, unpacked; nothing if there is no such section, none if it is larger than it may be.
    fn section(&mut self, image: &Image<'_>, sections: &Sections, name: &str) -> Option<Bytes> {
        let Some(section) = sections.stored(name).filter(|_| !name.is_empty()) else {
            return Some(Bytes::new(Arc::from([]), LittleEndian));
        };
        let stored = section.bytes(image, self.room, "debug info").ok()?;
        let bytes = if section.is_compressed() { compressed::unpacked(&stored, self.room)? } else { stored };
        self.room = self.room.checked_sub(bytes.len() as u64)?;
        Some(Bytes::new(Arc::from(bytes), LittleEndian))
    }

    /// The package beside the program, which is named after it.
    fn package(&mut self, file: &File, path: &Path) -> Option<DwarfPackage<Bytes>> {
        let mut name = std::fs::read_link(super::sources::path_of(file)).ok()?.into_os_string();
        name.push(".dwp");
        let package = local_files::open(Path::new(&name))?;
        let image = Image::new(&package, path).ok()?;
        let sections = Headers::read(&image).ok()?.sections(&image).ok()?;
        let nothing = Bytes::new(Arc::from([]), LittleEndian);
        let section = |id: SectionId| {
            let name = id.dwo_name().unwrap_or_default();
            self.section(&image, &sections, name).ok_or(gimli::Error::Io)
        };
        DwarfPackage::load(section, nothing)
            .inspect_err(|error| tracing::debug!(%error, "a .dwp file is left alone"))
            .ok()
    }
}

/// Bytes of a section when it is unpacked.
fn size_of(image: &Image<'_>, section: &Section) -> u64 {
    if section.is_compressed() { compressed::claimed_size(image, section) } else { section.size }
}

/// Whether the rest of some unit lies elsewhere.
fn has_split_units(dwarf: &Dwarf<Bytes>) -> bool {
    let mut units = dwarf.units();
    while let Ok(Some(header)) = units.next() {
        if dwarf.unit(header).is_ok_and(|unit| unit.dwo_id.is_some()) {
            return true;
        }
    }
    false
}

/// The file that `.gnu_debugaltlink` means: the one of the build ID that stands there.
fn supplement(file: &File, image: &Image<'_>, link: &Section, debug_folders: &[PathBuf]) -> Option<File> {
    let link = link.bytes(image, LINK_AT_MOST, ".gnu_debugaltlink").ok()?;
    let (name, build_id) = link.split_at_checked(link.iter().position(|&byte| byte == 0)?)?;
    let build_id: String = build_id.get(1..)?.iter().map(|byte| format!("{byte:02x}")).collect();
    let (start, rest) = build_id.split_at_checked(2)?;
    let is_it = |file: &File| {
        FileFacts::read(file, image.path).is_ok_and(|facts| facts.build_id() == Some(&build_id))
    };
    let packaged = debug_folders.iter().map(|folder| folder.join(format!(".build-id/{start}/{rest}.debug")));
    let packaged = packaged.filter_map(|path| image::open(&path).ok()).find(&is_it);
    let named = || {
        let name = Path::new(std::str::from_utf8(name).ok()?);
        let path = local_files::folder_of(file)?.join(name);
        local_files::open(&path).filter(&is_it)
    };
    packaged.or_else(named)
}
