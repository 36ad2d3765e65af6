//! MiniDebugInfo: a symbol table of the functions that are not exported, packed into `.gnu_debugdata`. Fedora and its
//! like leave it in stripped programs and libraries.
//!
//! Format: an ELF file, compressed by xz (GDB manual, "MiniDebugInfo").

use std::fs::File;
use std::io::{self, BufReader, Write};

use crate::elf::image::Image;
use crate::elf::sections::Sections;

/// Compressed. The largest are some hundred kilobytes.
const PACKED_AT_MOST: u64 = 16 << 20;
/// Unpacked. A few kilobytes can be made to unpack to any size.
const UNPACKED_AT_MOST: usize = 32 << 20;

/// The unpacked file, in memory; none if there is none, or if the file has a symbol table of its own.
pub(super) fn unpack(image: &Image<'_>, sections: &Sections) -> Option<File> {
    if sections.stored(".symtab").is_some() {
        return None;
    }
    let packed = sections.stored(".gnu_debugdata")?.bytes(image, PACKED_AT_MOST, ".gnu_debugdata").ok()?;
    let mut unpacked = Limited(Vec::new());
    if let Err(error) = lzma_rs::xz_decompress(&mut BufReader::new(&*packed), &mut unpacked) {
        tracing::debug!(?error, path = %image.path.display(), ".gnu_debugdata is left alone");
        return None;
    }
    in_memory(&unpacked.0)
        .inspect_err(|error| tracing::debug!(%error, ".gnu_debugdata cannot be kept in memory"))
        .ok()
}

fn in_memory(bytes: &[u8]) -> io::Result<File> {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::memfd_create("gnu_debugdata", flags)?);
    file.write_all(bytes)?;
    Ok(file)
}

/// Bytes that refuse to be more than the limit.
struct Limited(Vec<u8>);

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > UNPACKED_AT_MOST {
            return Err(io::Error::other("it unpacks to more than is allowed"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
