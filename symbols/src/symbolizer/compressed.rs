//! Compressed sections: a header (`Elf64_Chdr`: type and padding, 4 bytes each; size and alignment, 8 bytes each), then
//! a stream of zlib or zstd.

use std::io::{self, Read};

use object::elf::{ELFCOMPRESS_ZLIB, ELFCOMPRESS_ZSTD};

use crate::elf::image::Image;
use crate::elf::sections::Section;

const HEADER_BYTES: usize = 24;
/// Larger streams are not tried: unpacked they would take several times the memory that names may take.
const STREAM_AT_MOST: u64 = 256 * 1024 * 1024;

/// The size that the section says it has when unpacked, in bytes.
pub(super) fn claimed_size(image: &Image<'_>, section: &Section) -> u64 {
    let header = section.start(image, HEADER_BYTES as u64).unwrap_or_default();
    size_in(&header).unwrap_or_default()
}

/// Whether the section unpacks to just the size that it says.
pub(super) fn unpacks_as_claimed(image: &Image<'_>, section: &Section) -> bool {
    let bytes = section.bytes(image, STREAM_AT_MOST, "compressed section").unwrap_or_default();
    unpacks(&bytes).unwrap_or(false)
}

/// The bytes of a section, unpacked; none if it is no such section, or unpacks to anything but what it says or to more
/// than `limit` bytes.
pub(super) fn unpacked(bytes: &[u8], limit: u64) -> Option<Vec<u8>> {
    let size = size_in(bytes).filter(|size| *size <= limit)?;
    let mut whole = Vec::new();
    (unpack(bytes, &mut whole)? == size).then_some(whole)
}

fn size_in(header: &[u8]) -> Option<u64> {
    header.get(8..16)?.first_chunk().map(|size| u64::from_le_bytes(*size))
}

fn unpacks(bytes: &[u8]) -> Option<bool> {
    Some(unpack(bytes, &mut io::sink())? == size_in(bytes)?)
}

/// Unpacks a section, one byte more than it says at most; how many bytes that were.
fn unpack(bytes: &[u8], to: &mut impl io::Write) -> Option<u64> {
    let (header, stream) = bytes.split_at_checked(HEADER_BYTES)?;
    let kind = u32::from_le_bytes(*header.first_chunk()?);
    let unpacked: Box<dyn Read> = match kind {
        ELFCOMPRESS_ZLIB => Box::new(flate2::read::ZlibDecoder::new(stream)),
        ELFCOMPRESS_ZSTD => Box::new(zstd::Decoder::new(stream).ok()?),
        _ => return None,
    };
    let size = size_in(header)?;
    let limit = size.checked_add(1)?;
    io::copy(&mut unpacked.take(limit), to).ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn section(kind: u32, claimed: u64, content: &[u8]) -> Vec<u8> {
        let stream = match kind {
            ELFCOMPRESS_ZSTD => zstd::encode_all(content, 3).unwrap(),
            _ => {
                let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(content).unwrap();
                encoder.finish().unwrap()
            }
        };
        let header = [&kind.to_le_bytes()[..], &[0; 4], &claimed.to_le_bytes(), &1u64.to_le_bytes()];
        [header.concat(), stream].concat()
    }

    #[test]
    fn a_section_that_unpacks_to_its_size_is_accepted() {
        for kind in [ELFCOMPRESS_ZLIB, ELFCOMPRESS_ZSTD] {
            let packed = section(kind, 100_000, &[7; 100_000]);
            assert_eq!(unpacks(&packed), Some(true), "type {kind}");
            assert_eq!(unpacked(&packed, 100_000), Some(vec![7; 100_000]), "type {kind}");
            assert_eq!(unpacked(&packed, 99_999), None, "type {kind}");
        }
    }

    #[test]
    fn one_that_unpacks_to_more_or_less_is_not() {
        for kind in [ELFCOMPRESS_ZLIB, ELFCOMPRESS_ZSTD] {
            for claimed in [0, 99_999, 100_001, u64::MAX - 1] {
                assert_eq!(unpacks(&section(kind, claimed, &[7; 100_000])), Some(false), "{claimed}");
            }
        }
    }

    #[test]
    fn what_is_no_stream_is_not() {
        assert_ne!(unpacks(&section(3, 5, b"other")), Some(true));
        let whole = section(ELFCOMPRESS_ZLIB, 5, b"whole");
        for length in 0..whole.len() {
            assert_ne!(unpacks(&whole[..length]), Some(true), "cut to {length}");
        }
    }
}
