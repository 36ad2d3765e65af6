//! Interned strings.

use std::sync::Arc;

use rustc_hash::FxHashMap;

/// Handle of a string in its profile's [`StringTable`]. `StringId::EMPTY` is the empty string.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StringId(pub u32);

impl StringId {
    /// The empty string, in every table.
    pub const EMPTY: Self = Self(0);
}

/// Each distinct string once; handle 0 is the empty string.
#[derive(Clone, Debug)]
pub struct StringTable {
    strings: Vec<Arc<str>>,
    index: FxHashMap<Arc<str>, StringId>,
    bytes: usize,
}

impl Default for StringTable {
    fn default() -> Self {
        let empty: Arc<str> = Arc::from("");
        Self {
            strings: vec![empty.clone()],
            index: FxHashMap::from_iter([(empty, StringId::EMPTY)]),
            bytes: 0,
        }
    }
}

impl StringTable {
    /// The handle of `text`, which is added if it is new.
    pub fn intern(&mut self, text: &str) -> StringId {
        if let Some(id) = self.index.get(text) {
            return *id;
        }
        let id = StringId(self.strings.len() as u32);
        self.bytes += text.len();
        let text: Arc<str> = Arc::from(text);
        self.strings.push(text.clone());
        self.index.insert(text, id);
        id
    }

    /// The handle of `text` if it is in the table.
    pub fn find(&self, text: &str) -> Option<StringId> {
        self.index.get(text).copied()
    }

    /// The text of a handle of this table; empty for a handle of another one.
    pub fn get(&self, id: StringId) -> &str {
        self.strings.get(id.0 as usize).map_or("", |text| text)
    }

    /// All strings, in the order of their handles.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.strings.iter().map(|text| &**text)
    }

    /// Bytes of all strings together.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of strings, the empty one included.
    #[expect(clippy::len_without_is_empty, reason = "never empty: it holds the empty string")]
    pub fn len(&self) -> usize {
        self.strings.len()
    }
}
