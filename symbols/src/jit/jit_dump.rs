//! jitdump files, `jit-PID.dump`: binary records of code as it is made, with the time of each.
//!
//! Format: the kernel's tools/perf/Documentation/jitdump-specification.txt, version 1.

use std::io;

use super::{Code, CodeNames, cut, is_plausible, places};

/// `JiTD`, in the byte order of the machine that wrote it.
const MAGIC: u32 = 0x4a69_5444;
const VERSION: u32 = 1;
/// Bytes of the header that every file has; it may say that it has more.
const HEADER_BYTES: usize = 40;
const HEADER_AT_MOST: u32 = 4096;
/// Times are a count of the processor's, not nanoseconds of CLOCK_MONOTONIC.
const FLAG_ARCHITECTURE_TIME: u64 = 1;
/// Bytes before what a record says: its kind, its size, its time.
const PREFIX_BYTES: usize = 16;
const KIND_LOAD: u32 = 0;
const KIND_MOVE: u32 = 1;
const KIND_LINES: u32 = 2;
const KIND_CLOSE: u32 = 3;
/// Of a record's bytes that are read: fields and a name. The code that follows is skipped.
const READ_AT_MOST: usize = 48 + 4096;
/// Of one record; all of a heap of code.
const RECORD_AT_MOST: u32 = 1 << 30;
/// Records taken in one go, so that other files get their turn.
const RECORDS_AT_ONCE: usize = 65_536;

/// Why a file is not read as a jitdump file.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum NotADump {
    #[error("it does not start as a jitdump file of version 1 and this byte order")]
    Header,
    #[error("its times are counted by the processor's own clock (flags {flags:#x})")]
    Clock { flags: u64 },
    #[error("a record at byte {offset} has a size of {size}")]
    Record { offset: u64, size: u32 },
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
}

/// Reads a dump piece by piece, as it grows.
#[derive(Debug, Default)]
pub struct DumpReader {
    /// Where the next record starts; 0 before the header was read.
    offset: u64,
    /// Where the code of the next record starts, and its source file and line.
    lines: Option<(u64, String, u32)>,
    /// Records that say nothing that is understood.
    garbage: u64,
}

impl DumpReader {
    /// Takes in the records that are whole by now, and returns whether there may be more of them. `read` reads at an
    /// offset, as `pread` does; `length` is the file's. `unix_ms` makes Unix milliseconds of nanoseconds of
    /// CLOCK_MONOTONIC.
    pub fn read_on(
        &mut self,
        mut read: impl FnMut(&mut [u8], u64) -> io::Result<usize>,
        length: u64,
        unix_ms: impl Fn(u64) -> i64,
        names: &mut CodeNames,
    ) -> Result<bool, NotADump> {
        if self.offset == 0 && !self.read_header(&mut read, length)? {
            return Ok(false);
        }
        for _ in 0..RECORDS_AT_ONCE {
            let mut bytes = [0; READ_AT_MOST];
            if self.offset.saturating_add(PREFIX_BYTES as u64) > length {
                return Ok(false);
            }
            let count = read(&mut bytes, self.offset)?;
            let (Some(kind), Some(size), Some(time_ns)) =
                (word(&bytes[..count], 0), word(&bytes[..count], 4), double(&bytes[..count], 8))
            else {
                return Ok(false);
            };
            if !(PREFIX_BYTES as u32..=RECORD_AT_MOST).contains(&size) {
                return Err(NotADump::Record { offset: self.offset, size });
            }
            let end = self.offset.saturating_add(size.into());
            if end > length {
                return Ok(false);
            }
            self.offset = end;
            let body = &bytes[PREFIX_BYTES..count.min(size as usize)];
            match kind {
                KIND_LOAD => match self.load(body) {
                    Some(code) => names.add(code, unix_ms(time_ns)),
                    None => self.garbage += 1,
                },
                KIND_MOVE => match (double(body, 16), double(body, 24)) {
                    (Some(from), Some(to)) => names.move_code(from, to, unix_ms(time_ns)),
                    _ => self.garbage += 1,
                },
                KIND_LINES => self.lines = first_line(body),
                KIND_CLOSE => {}
                // Unwinding information, and what later versions have.
                _ => {}
            }
        }
        Ok(true)
    }

    /// Records so far that were skipped.
    pub fn garbage(&self) -> u64 {
        self.garbage
    }

    fn read_header(
        &mut self,
        read: &mut impl FnMut(&mut [u8], u64) -> io::Result<usize>,
        length: u64,
    ) -> Result<bool, NotADump> {
        let mut header = [0; HEADER_BYTES];
        if length < HEADER_BYTES as u64 || read(&mut header, 0)? < HEADER_BYTES {
            return Ok(false);
        }
        let (Some(magic), Some(version), Some(size), Some(flags)) =
            (word(&header, 0), word(&header, 4), word(&header, 8), double(&header, 32))
        else {
            return Err(NotADump::Header);
        };
        if magic != MAGIC || version != VERSION || !(HEADER_BYTES as u32..=HEADER_AT_MOST).contains(&size) {
            return Err(NotADump::Header);
        }
        if flags & FLAG_ARCHITECTURE_TIME != 0 {
            return Err(NotADump::Clock { flags });
        }
        self.offset = size.into();
        Ok(true)
    }

    /// Process, thread (4 bytes each); virtual address, address, size, number (8 each); the name, ended by a zero.
    fn load(&mut self, body: &[u8]) -> Option<Code> {
        let lines = self.lines.take();
        let (start, size) = (double(body, 16)?, double(body, 24)?);
        let text = body.get(40..)?;
        let name = cut(&text[..text.iter().position(|byte| *byte == 0)?]);
        if name.is_empty() || !is_plausible(start, size) {
            return None;
        }
        let mut name = places::split(name);
        if let Some((_, file, line)) = lines.filter(|(address, ..)| (start..start + size).contains(address)) {
            (name.file, name.line) = (file, line);
        }
        Some(Code { start, size, name })
    }
}

/// Of source lines: the address of the code, and the file and line of its start.
fn first_line(body: &[u8]) -> Option<(u64, String, u32)> {
    // Address and count, 8 bytes each; then entries of address (8), line and discriminator (4 each), and the file's name.
    let (address, line) = (double(body, 0)?, word(body, 24)?);
    let text = body.get(32..)?;
    let file = cut(&text[..text.iter().position(|byte| *byte == 0)?]);
    (!file.is_empty()).then_some((address, file, line))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn double(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(flags: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        [MAGIC, VERSION, 40, 62, 0, 4711].iter().for_each(|word| bytes.extend(word.to_le_bytes()));
        [0, flags].iter().for_each(|double: &u64| bytes.extend(double.to_le_bytes()));
        bytes
    }

    fn record(kind: u32, time_ns: u64, body: &[u8]) -> Vec<u8> {
        let size = (PREFIX_BYTES + body.len()) as u32;
        [&kind.to_le_bytes()[..], &size.to_le_bytes(), &time_ns.to_le_bytes(), body].concat()
    }

    fn load(time_ns: u64, start: u64, name: &str) -> Vec<u8> {
        let fields = [0u64, start, start, 16, 1].map(u64::to_le_bytes).concat();
        record(KIND_LOAD, time_ns, &[&fields[..], name.as_bytes(), b"\0", &[0x90; 16]].concat())
    }

    fn lines(start: u64, file: &str, line: u32) -> Vec<u8> {
        let fields = [start, 1, start].map(u64::to_le_bytes).concat();
        let entry = [line, 0].map(u32::to_le_bytes).concat();
        record(KIND_LINES, 0, &[&fields[..], &entry, file.as_bytes(), b"\0"].concat())
    }

    fn moved(time_ns: u64, from: u64, to: u64) -> Vec<u8> {
        record(KIND_MOVE, time_ns, &[0, to, from, to, 16, 1].map(u64::to_le_bytes).concat())
    }

    fn read(reader: &mut DumpReader, bytes: &[u8], names: &mut CodeNames) -> Result<bool, NotADump> {
        let at = |buffer: &mut [u8], offset: u64| {
            let rest = bytes.get(offset as usize..).unwrap_or_default();
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        };
        reader.read_on(at, bytes.len() as u64, |ns| (ns / 1_000_000) as i64, names)
    }

    fn at(names: &CodeNames, address: u64, ms: i64) -> Option<&str> {
        names.find(address, ms).map(|name| &*name.function)
    }

    #[test]
    fn code_is_named_from_the_time_of_its_record_on_however_the_file_grows() {
        let ms = 1_000_000;
        let parts = [
            header(0),
            load(1000 * ms, 0x7f00, "first"),
            lines(0x7f00, "second.rb", 12),
            load(2000 * ms, 0x7f00, "second"),
            moved(3000 * ms, 0x7f00, 0x8f00),
        ];
        let all = parts.concat();
        for step in [1, 7, all.len()] {
            let (mut reader, mut names) = (DumpReader::default(), CodeNames::new(1 << 20));
            for length in (0..=all.len()).step_by(step) {
                read(&mut reader, &all[..length], &mut names).unwrap();
            }
            read(&mut reader, &all, &mut names).unwrap();
            assert_eq!(at(&names, 0x7f08, 1500), Some("first"));
            assert_eq!(at(&names, 0x7f08, 2500), Some("second"));
            let second = names.find(0x8f08, 3500).unwrap();
            assert_eq!((&*second.function, &*second.file, second.line), ("second", "second.rb", 12));
            assert_eq!((at(&names, 0x7f08, 3500), reader.garbage()), (None, 0));
        }
    }

    #[test]
    fn what_is_no_dump_is_refused_and_what_names_nothing_is_counted() {
        let refused =
            |bytes: &[u8]| read(&mut DumpReader::default(), bytes, &mut CodeNames::new(1000)).is_err();
        assert!(refused(&[0; 64]));
        assert!(refused(&header(FLAG_ARCHITECTURE_TIME)));
        let short = [header(0), [0u32, 15, 0, 0].map(u32::to_le_bytes).concat()].concat();
        assert!(refused(&short), "a record that is shorter than its own prefix");
        let mut reader = DumpReader::default();
        let odd =
            [header(0), record(KIND_LOAD, 0, &[0; 8]), record(99, 0, b"later"), load(0, 0, "")].concat();
        read(&mut reader, &odd, &mut CodeNames::new(1000)).unwrap();
        assert_eq!(reader.garbage(), 2);
    }

    #[test]
    fn flipped_bytes_do_no_harm() {
        let good =
            [header(0), lines(0x7f00, "f", 1), load(5, 0x7f00, "first"), moved(6, 0x7f00, 0x8f00)].concat();
        for at in 0..good.len() {
            for value in [0, 0x7f, 0xff] {
                let mut bytes = good.clone();
                bytes[at] = value;
                let _ = read(&mut DumpReader::default(), &bytes, &mut CodeNames::new(1000));
            }
        }
    }
}
