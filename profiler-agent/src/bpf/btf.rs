//! Member offsets out of the kernel's BTF: just enough of a reader for that.
//!
//! Format: the kernel's Documentation/bpf/btf.rst. Rust has no CO-RE relocations yet, so the loader sets offsets
//! as constants.

use std::{collections::HashMap, path::Path};

use thiserror::Error;

/// Why offsets could not be read.
#[derive(Debug, Error)]
pub(crate) enum BtfError {
    #[error("{path} cannot be read: {source}; the kernel must be built with CONFIG_DEBUG_INFO_BTF")]
    Read { path: String, source: std::io::Error },
    #[error("{path} is no BTF this version understands: {reason}")]
    Malformed { path: String, reason: &'static str },
    #[error("the kernel's BTF has no member {member} in struct {structure}")]
    NoMember { structure: &'static str, member: &'static str },
}

const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;

/// Bytes after the 12-byte head of a type, by kind; none for kinds that this reader does not know.
fn trailing_bytes(kind: u32, vlen: usize) -> Option<usize> {
    Some(match kind {
        // INT, VAR, DECL_TAG
        1 | 14 | 17 => 4,
        // PTR, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FLOAT, TYPE_TAG
        2 | 7 | 8 | 9 | 10 | 11 | 12 | 16 | 18 => 0,
        3 => 12,
        KIND_STRUCT | KIND_UNION | 15 | 19 => 12 * vlen,
        6 | 13 => 8 * vlen,
        _ => return None,
    })
}

#[derive(Clone, Copy)]
struct Type {
    at: usize,
    kind: u32,
    vlen: usize,
    kind_flag: bool,
}

/// Where a member of a struct is.
struct Member {
    /// Its first bit, from the start of the struct.
    bit: u32,
    /// Bits of a bit-field; 0: none.
    bits: u32,
}

/// The kernel's type information.
pub(crate) struct Btf {
    data: Vec<u8>,
    types: Vec<Type>,
    strings: usize,
    structs: HashMap<Vec<u8>, usize>,
}

impl Btf {
    /// Reads and indexes a BTF file, usually `/sys/kernel/btf/vmlinux`.
    pub(crate) fn read(path: &Path) -> Result<Self, BtfError> {
        let name = || path.display().to_string();
        let data = std::fs::read(path).map_err(|source| BtfError::Read { path: name(), source })?;
        Self::parse(data).map_err(|reason| BtfError::Malformed { path: name(), reason })
    }

    fn parse(data: Vec<u8>) -> Result<Self, &'static str> {
        let word = |at: usize| read_u32(&data, at).ok_or("it ends within the header");
        if data.get(..2) != Some(&[0x9f, 0xeb]) {
            return Err("the magic number is missing");
        }
        let header = word(4)? as usize;
        let (type_offset, type_bytes) = (word(8)? as usize, word(12)? as usize);
        let (string_offset, string_bytes) = (word(16)? as usize, word(20)? as usize);
        let section = |offset: usize, bytes: usize| {
            let start = header.checked_add(offset)?;
            let end = start.checked_add(bytes)?;
            (end <= data.len()).then_some(start..end)
        };
        let types_at = section(type_offset, type_bytes).ok_or("the types lie outside the file")?;
        let strings = section(string_offset, string_bytes).ok_or("the strings lie outside the file")?.start;
        let mut btf = Self { data, types: Vec::new(), strings, structs: HashMap::new() };
        let mut at = types_at.start;
        while at + 12 <= types_at.end {
            let info = btf.u32(at + 4).ok_or("it ends within a type")?;
            let (kind, vlen) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
            let item = Type { at, kind, vlen, kind_flag: info >> 31 == 1 };
            btf.types.push(item);
            if kind == KIND_STRUCT {
                let name = btf.string(at).ok_or("a name lies outside the file")?.to_vec();
                btf.structs.entry(name).or_insert(btf.types.len() - 1);
            }
            at += 12 + trailing_bytes(kind, vlen).ok_or("it has a kind of type that is not known")?;
        }
        Ok(btf)
    }

    fn u32(&self, at: usize) -> Option<u32> {
        read_u32(&self.data, at)
    }

    /// The string whose offset stands at `at`.
    fn string(&self, at: usize) -> Option<&[u8]> {
        let from = self.data.get(self.strings + self.u32(at)? as usize..)?;
        from.get(..from.iter().position(|byte| *byte == 0)?)
    }

    /// Byte offset of a member of a struct; members of anonymous structs and unions count as its own.
    pub(crate) fn offset(&self, structure: &'static str, member: &'static str) -> Result<u32, BtfError> {
        self.member(structure, member)
            .map(|found| found.bit / 8)
            .ok_or(BtfError::NoMember { structure, member })
    }

    /// Where a bit-field stands: its first bit, from the start of the struct, and its width. None if there is no such
    /// member, or it is no bit-field.
    pub(crate) fn bit_field(&self, structure: &str, member: &str) -> Option<(u32, u32)> {
        self.member(structure, member).filter(|found| found.bits != 0).map(|found| (found.bit, found.bits))
    }

    fn member(&self, structure: &str, member: &str) -> Option<Member> {
        let index = self.structs.get(structure.as_bytes())?;
        self.find(self.types[*index], member.as_bytes(), 8)
    }

    fn find(&self, within: Type, member: &[u8], depth: usize) -> Option<Member> {
        for i in 0..within.vlen {
            let at = within.at + 12 + 12 * i;
            let word = self.u32(at + 8)?;
            // With the kind flag set, the upper byte is a bit-field's size.
            let (bit, bits) = if within.kind_flag { (word & 0xff_ffff, word >> 24) } else { (word, 0) };
            let name = self.string(at)?;
            if name == member {
                return Some(Member { bit, bits });
            }
            if name.is_empty() && depth > 0 {
                let inner = *self.types.get((self.u32(at + 4)? as usize).checked_sub(1)?)?;
                if matches!(inner.kind, KIND_STRUCT | KIND_UNION)
                    && let Some(found) = self.find(inner, member, depth - 1)
                {
                    return Some(Member { bit: bit.checked_add(found.bit)?, ..found });
                }
            }
        }
        None
    }
}

fn read_u32(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_kernels_task_struct_has_the_members_we_read() {
        let btf = Btf::read(Path::new("/sys/kernel/btf/vmlinux")).unwrap();
        let pid = btf.offset("task_struct", "pid").unwrap();
        assert_eq!(btf.offset("task_struct", "tgid").unwrap(), pid + 4);
        assert!(btf.offset("task_struct", "comm").unwrap() > 0);
        assert_eq!(btf.bit_field("task_struct", "pid"), None);
        assert!(btf.offset("task_struct", "no_such_member").is_err());
        assert!(btf.offset("no_such_struct", "pid").is_err());
    }

    #[test]
    fn cut_and_foreign_files_are_errors() {
        let whole = std::fs::read("/sys/kernel/btf/vmlinux").unwrap();
        assert!(Btf::parse(b"\x7fELF".to_vec()).is_err());
        for bytes in [0, 1, 8, 23, 24, 1000, whole.len() / 2] {
            assert!(Btf::parse(whole[..bytes].to_vec()).is_err(), "{bytes} bytes");
        }
    }

    #[test]
    fn bit_fields_tell_where_they_stand() {
        // the kernel's unwind entries are known to have them
        let btf = Btf::read(Path::new("/sys/kernel/btf/vmlinux")).unwrap();
        assert_eq!(btf.bit_field("orc_entry", "sp_reg"), Some((32, 4)));
        assert_eq!(btf.bit_field("orc_entry", "bp_reg"), Some((36, 4)));
        assert_eq!(btf.bit_field("orc_entry", "sp_offset"), None);
    }

    #[test]
    fn members_of_anonymous_structs_are_found_at_their_place() {
        // struct s { int a; struct { int b; int c; }; }
        let strings = b"\0s\0a\0b\0c\0int\0";
        let types: &[u32] = &[
            9,
            1 << 24,
            4,
            32, // 1: int
            0,
            4 << 24 | 2,
            8,
            5,
            1,
            0,
            7,
            1,
            32, // 2: struct { b; c; }
            1,
            4 << 24 | 2,
            12,
            3,
            1,
            0,
            0,
            2,
            32, // 3: struct s { a; <2>; }
        ];
        let mut data = vec![0x9f, 0xeb, 1, 0];
        for word in [24, 0, types.len() as u32 * 4, types.len() as u32 * 4, strings.len() as u32] {
            data.extend(word.to_le_bytes());
        }
        data.extend(types.iter().flat_map(|word| word.to_le_bytes()));
        data.extend(strings);
        let btf = Btf::parse(data).unwrap();
        assert_eq!(btf.offset("s", "a").unwrap(), 0);
        assert_eq!(btf.offset("s", "b").unwrap(), 4);
        assert_eq!(btf.offset("s", "c").unwrap(), 8);
    }
}
