//! The vDSO: code of the kernel's in every process, behind no file.

use std::{fs::File, io, io::Write, os::unix::fs::FileExt, sync::Arc};

use super::MappedFile;

/// A copy of our own vDSO, which is every process's: the kernel has one for all.
pub(crate) fn vdso_image() -> Option<MappedFile> {
    match copy() {
        Ok(file) => file.map(|file| MappedFile { path: Arc::from("[vdso]"), file: Some(Arc::new(file)) }),
        Err(error) => {
            tracing::warn!(%error, "the vDSO cannot be read; its functions stay without names");
            None
        }
    }
}

fn copy() -> io::Result<Option<File>> {
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let range = maps.lines().find(|line| line.ends_with("[vdso]")).and_then(|line| {
        let (start, end) = line.split_once(' ')?.0.split_once('-')?;
        Some((u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?))
    });
    let Some((start, end)) = range else { return Ok(None) };
    let mut image = vec![0; (end - start) as usize];
    File::open("/proc/self/mem")?.read_exact_at(&mut image, start)?;
    let mut file = File::from(rustix::fs::memfd_create("vdso", rustix::fs::MemfdFlags::CLOEXEC)?);
    file.write_all(&image)?;
    Ok(Some(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_vdso_is_an_elf_file_with_code() {
        let image = vdso_image().unwrap();
        let facts =
            symbols::elf::FileFacts::read(image.file.as_deref().unwrap(), std::path::Path::new("vdso"))
                .unwrap();
        assert!(!facts.segments().is_empty());
    }
}
