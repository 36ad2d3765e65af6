//! Interned strings.

use std::hash::Hasher;

use rustc_hash::FxHasher;

/// Handle of a string in its profile's [`StringTable`]. `StringId::EMPTY` is the empty string.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StringId(pub u32);

impl StringId {
    /// The empty string, in every table.
    pub const EMPTY: Self = Self(0);
}

/// Each distinct string once; handle 0 is the empty string. All texts lie in one piece of memory: tables of ten thousands
/// of names are made, copied and dropped all the time, and an allocation for each name costs more than the name.
#[derive(Clone, Debug)]
pub struct StringTable {
    text: String,
    /// By handle: the end of its text, which begins where the one before ends.
    ends: Vec<usize>,
    /// By handle.
    hashes: Vec<u32>,
    /// Handles + 1 at the places of their hashes or after them, 0 where there is none. Its length is a power of two.
    index: Vec<u32>,
}

/// Places of an index at first.
const FIRST_PLACES: usize = 16;

impl Default for StringTable {
    fn default() -> Self {
        let mut table =
            Self { text: String::new(), ends: Vec::new(), hashes: Vec::new(), index: vec![0; FIRST_PLACES] };
        table.intern("");
        table
    }
}

fn hash(text: &str) -> u32 {
    let mut hasher = FxHasher::default();
    hasher.write(text.as_bytes());
    let hash = hasher.finish();
    (hash ^ (hash >> 32)) as u32
}

impl StringTable {
    /// The handle of `text`, which is added if it is new.
    pub fn intern(&mut self, text: &str) -> StringId {
        let hash = hash(text);
        let place = match self.look_up(text, hash) {
            Ok(id) => return id,
            Err(place) => place,
        };
        let id = self.ends.len() as u32;
        self.text.push_str(text);
        self.ends.push(self.text.len());
        self.hashes.push(hash);
        self.index[place] = id + 1;
        // At most three quarters are taken, so that a search ends soon.
        if self.ends.len() * 4 > self.index.len() * 3 {
            self.grow();
        }
        StringId(id)
    }

    /// The handle of `text` if it is in the table.
    pub fn find(&self, text: &str) -> Option<StringId> {
        self.look_up(text, hash(text)).ok()
    }

    /// The handle of a text, or the place in the index where it would be.
    fn look_up(&self, text: &str, hash: u32) -> Result<StringId, usize> {
        let mask = self.index.len() - 1;
        let mut place = hash as usize & mask;
        loop {
            let Some(id) = self.index[place].checked_sub(1) else { return Err(place) };
            if self.hashes[id as usize] == hash && self.get(StringId(id)) == text {
                return Ok(StringId(id));
            }
            place = (place + 1) & mask;
        }
    }

    fn grow(&mut self) {
        let len = self.index.len() * 2;
        self.index = vec![0; len];
        for (id, hash) in self.hashes.iter().enumerate() {
            let mut place = *hash as usize & (len - 1);
            while self.index[place] != 0 {
                place = (place + 1) & (len - 1);
            }
            self.index[place] = id as u32 + 1;
        }
    }

    /// The text of a handle of this table; empty for a handle of another one.
    pub fn get(&self, id: StringId) -> &str {
        let Some(end) = self.ends.get(id.0 as usize) else { return "" };
        let start = (id.0 as usize).checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..*end]
    }

    /// All strings, in the order of their handles.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.ends.len() as u32).map(|id| self.get(StringId(id)))
    }

    /// Bytes of all strings together.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Number of strings, the empty one included.
    #[expect(clippy::len_without_is_empty, reason = "never empty: it holds the empty string")]
    pub fn len(&self) -> usize {
        self.ends.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_has_one_handle_and_is_found_by_it() {
        let mut table = StringTable::default();
        let texts: Vec<String> = (0..10_000).map(|n| format!("name-{}", n * 7)).collect();
        let ids: Vec<_> = texts.iter().map(|text| table.intern(text)).collect();
        for (id, text) in ids.iter().zip(&texts) {
            assert_eq!(table.intern(text), *id);
            assert_eq!((table.get(*id), table.find(text)), (&**text, Some(*id)));
        }
        assert_eq!((table.intern(""), table.len()), (StringId::EMPTY, 10_001));
        assert_eq!((table.find("name-1"), table.get(StringId(99_999))), (None, ""));
        assert_eq!(table.bytes(), texts.iter().map(String::len).sum::<usize>());
        let listed: Vec<_> = table.iter().skip(1).collect();
        assert_eq!(listed, texts);
    }
}
