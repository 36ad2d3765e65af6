//! The perf map, `/tmp/perf-PID.map`: a line for each piece of code, `START SIZE NAME`, the numbers hexadecimal.
//!
//! Format: the kernel's tools/perf/Documentation/jit-interface.txt.

use super::{Code, CodeName, NAME_AT_MOST, cut, is_plausible, places};

/// Of one line: two numbers and a name. What is longer has its name cut.
const LINE_AT_MOST: usize = NAME_AT_MOST + 64;

/// Reads a map piece by piece, as it grows.
#[derive(Debug, Default)]
pub struct MapReader {
    /// The start of the line that has no end yet.
    rest: Vec<u8>,
    /// Lines that say nothing that is understood.
    garbage: u64,
}

impl MapReader {
    /// Takes in the next bytes, and says what the lines that end in them name. A line whose end is not there yet
    /// waits for it.
    pub fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(Code)) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = LINE_AT_MOST.saturating_sub(self.rest.len());
            let (text, ends) = match piece {
                [text @ .., b'\n'] => (text, true),
                text => (text, false),
            };
            self.rest.extend_from_slice(&text[..text.len().min(room)]);
            if ends {
                match code(&self.rest) {
                    Some(code) => each(code),
                    None => self.garbage += 1,
                }
                self.rest.clear();
            }
        }
    }

    /// Lines so far that were skipped.
    pub fn garbage(&self) -> u64 {
        self.garbage
    }
}

fn code(line: &[u8]) -> Option<Code> {
    let (start, rest) = number(line.trim_ascii_start())?;
    let (size, rest) = number(rest)?;
    let name = cut(rest);
    (is_plausible(start, size) && !name.is_empty()).then(|| Code { start, size, name: named(name) })
}

fn named(name: String) -> CodeName {
    places::split(name)
}

/// A hexadecimal number, with `0x` before it or not, and what follows the space behind it.
fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let end = text.iter().position(|byte| *byte == b' ')?;
    let digits = str::from_utf8(&text[..end]).ok()?;
    let digits = digits.strip_prefix("0x").unwrap_or(digits);
    // `from_str_radix` takes a sign.
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    Some((u64::from_str_radix(digits, 16).ok()?, &text[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&[u8]]) -> (Vec<(u64, u64, String)>, u64) {
        let (mut reader, mut all) = (MapReader::default(), Vec::new());
        for piece in pieces {
            reader.feed(piece, |code| all.push((code.start, code.size, code.name.raw)));
        }
        (all, reader.garbage())
    }

    #[test]
    fn lines_are_taken_when_they_are_whole() {
        let map = b"7f00 10 first\n0x7f10 0x20 the second one\n7f30 8 not yet";
        let (all, garbage) = read(&[map]);
        assert_eq!(all, [(0x7f00, 16, "first".to_owned()), (0x7f10, 32, "the second one".to_owned())]);
        assert_eq!(garbage, 0);
        for cut in 0..map.len() {
            assert_eq!(read(&[&map[..cut], &map[cut..]]).0, all, "in two pieces, {cut} bytes first");
        }
        assert_eq!(read(&[map, b" at all\n"]).0.last().unwrap().2, "not yet at all");
    }

    #[test]
    fn what_names_no_code_is_skipped_and_counted() {
        for garbage in [
            "",
            "7f00",
            "7f00 10",
            "7f00 10 ",
            "7f00 0 empty",
            "7f00 ffffffffffff huge",
            "ffffffffffffffff 1 not user's",
            "+7f00 10 signed",
            "7f00 -10 signed",
            "zz 10 name",
            "\0\0\0\0",
            "7f0000000000000000000000 10 name",
        ] {
            let (all, skipped) = read(&[garbage.as_bytes(), b"\n7f00 10 good\n"]);
            assert_eq!((all.len(), skipped), (1, 1), "{garbage:?}");
        }
    }

    #[test]
    fn endless_lines_take_no_memory_and_their_names_are_cut() {
        let mut reader = MapReader::default();
        let mut all = Vec::new();
        reader.feed(b"7f00 10 ", |code| all.push(code));
        for _ in 0..1000 {
            reader.feed(&[b'x'; 4096], |code| all.push(code));
            assert!(reader.rest.capacity() < 4 * LINE_AT_MOST);
        }
        reader.feed(b"\n7f10 10 next\n", |code| all.push(code));
        assert_eq!(all.iter().map(|code| code.name.raw.len()).collect::<Vec<_>>(), [NAME_AT_MOST, 4]);
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        assert_eq!(read(&[b"7f00 10 a\xff\x07b\r\n"]).0[0].2, "a\u{fffd} b");
    }
}
