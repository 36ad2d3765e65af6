//! Notes: records of (name, type, content), see "Note Section" in the System V ABI.

use object::elf::NT_GNU_BUILD_ID;

/// The GNU build ID among these notes, in lower-case hex. Looks at no more than the first 1,000 notes.
pub(crate) fn build_id(notes: &[u8]) -> Option<String> {
    Notes { rest: notes }
        .take(1000)
        .find(|note| note.kind == NT_GNU_BUILD_ID && note.name == b"GNU\0" && !note.content.is_empty())
        .map(|note| note.content.iter().map(|byte| format!("{byte:02x}")).collect())
}

struct Note<'a> {
    name: &'a [u8],
    kind: u32,
    content: &'a [u8],
}

struct Notes<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Notes<'a> {
    type Item = Note<'a>;

    fn next(&mut self) -> Option<Note<'a>> {
        let name_size = self.word()?;
        let content_size = self.word()?;
        let kind = self.word()?;
        let name = self.padded(name_size)?;
        let content = self.padded(content_size)?;
        Some(Note { name, kind, content })
    }
}

impl<'a> Notes<'a> {
    fn word(&mut self) -> Option<u32> {
        let (word, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(u32::from_le_bytes(*word))
    }

    /// `size` bytes; what follows them starts at the next multiple of four.
    fn padded(&mut self, size: u32) -> Option<&'a [u8]> {
        let size = size as usize;
        let (bytes, _) = self.rest.split_at_checked(size)?;
        self.rest = self.rest.get(size.next_multiple_of(4)..).unwrap_or_default();
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(name: &[u8], kind: u32, content: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [name.len() as u32, content.len() as u32, kind] {
            bytes.extend(word.to_le_bytes());
        }
        for part in [name, content] {
            bytes.extend(part);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    #[test]
    fn the_build_id_is_found_behind_other_notes() {
        let mut notes = note(b"Linux\0", 3, b"other");
        notes.extend(note(b"GNU\0", 1, &[1; 16]));
        notes.extend(note(b"GNU\0", 3, &[0x0a, 0xff, 0x10]));
        assert_eq!(build_id(&notes).as_deref(), Some("0aff10"));
    }

    #[test]
    fn cut_or_absurd_notes_hold_no_build_id() {
        let whole = note(b"GNU\0", 3, &[7; 20]);
        for length in 0..whole.len() {
            assert_eq!(build_id(&whole[..length]), None, "cut to {length}");
        }
        assert_eq!(build_id(&note(b"GNU\0", 3, &[])), None);
        assert_eq!(build_id(&[0xff; 64]), None);
    }
}
