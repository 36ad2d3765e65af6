//! Interned strings.

use std::hash::Hasher;
use std::ops::Range;

use rustc_hash::FxHasher;

use super::slots::Slots;

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
    index: Slots,
}

impl Default for StringTable {
    fn default() -> Self {
        let mut table =
            Self { text: String::new(), ends: Vec::new(), hashes: Vec::new(), index: Slots::default() };
        table.intern("");
        table
    }
}

/// The text of a handle among all of them; empty for a handle that is none.
fn text_of<'a>(text: &'a str, ends: &[usize], id: usize) -> &'a str {
    &text[span_of(ends, id)]
}

/// Where the text of a handle is; nowhere for a handle that is none.
fn span_of(ends: &[usize], id: usize) -> Range<usize> {
    let Some(end) = ends.get(id) else { return 0..0 };
    id.checked_sub(1).map_or(0, |before| ends[before])..*end
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
        self.intern_hashed(text, hash(text))
    }

    /// The handles of many texts. Where each is looked for hangs on nothing that was found before, so that the CPU waits for
    /// many places in memory at once.
    pub(crate) fn intern_all<'a>(&mut self, texts: impl Iterator<Item = &'a str> + Clone) -> Vec<StringId> {
        let hashes: Vec<_> = texts.clone().map(hash).collect();
        let guesses: Vec<_> = hashes.iter().map(|hash| self.index.guess(*hash)).collect();
        let span = |guess: &Option<usize>| guess.map_or(0..0, |id| span_of(&self.ends, id));
        let spans: Vec<_> = guesses.iter().map(span).collect();
        let guessed = texts.zip(hashes).zip(guesses.into_iter().zip(spans));
        let mut ids = Vec::new();
        for ((text, hash), (guess, span)) in guessed {
            ids.push(match guess {
                Some(guess) if self.text.as_bytes().get(span) == Some(text.as_bytes()) => {
                    StringId(guess as u32)
                }
                _ => self.intern_hashed(text, hash),
            });
        }
        ids
    }

    fn intern_hashed(&mut self, text: &str, hash: u32) -> StringId {
        let next = self.ends.len();
        let (all, ends) = (&self.text, &self.ends);
        let id = self.index.find_or(hash, next, |id| text_of(all, ends, id) == text);
        if id == next {
            self.push(text, hash);
        }
        StringId(id as u32)
    }

    /// The handle of `text` if it is in the table.
    pub fn find(&self, text: &str) -> Option<StringId> {
        let id = self.index.find(hash(text), |id| text_of(&self.text, &self.ends, id) == text);
        id.map(|id| StringId(id as u32))
    }

    fn push(&mut self, text: &str, hash: u32) {
        self.text.push_str(text);
        self.ends.push(self.text.len());
        self.hashes.push(hash);
    }

    /// Takes over the texts of another table that `is_wanted` says, in their order. Returns their handles here by those there;
    /// those that are not wanted are the empty one's.
    pub(crate) fn take_over(&mut self, from: &Self, is_wanted: &[bool]) -> Vec<StringId> {
        // What was here before is mostly little, and looked for there; all others are new, as those of one table are distinct.
        let mut handles = vec![StringId::EMPTY; from.len()];
        for (id, text) in self.iter().enumerate() {
            if let Some(known) = from.find(text) {
                handles[known.0 as usize] = StringId(id as u32);
            }
        }
        let wanted = || is_wanted.iter().enumerate().filter(|(_, is_wanted)| **is_wanted).map(|(id, _)| id);
        self.text.reserve(wanted().map(|id| from.get(StringId(id as u32)).len()).sum());
        self.ends.reserve(wanted().count());
        self.hashes.reserve(wanted().count());
        // Handle 0 is the empty text's in both.
        for (id, handle) in handles.iter_mut().enumerate().skip(1) {
            if !is_wanted.get(id).copied().unwrap_or(false) {
                *handle = StringId::EMPTY;
            } else if *handle == StringId::EMPTY {
                *handle = StringId(self.ends.len() as u32);
                self.push(from.get(StringId(id as u32)), from.hashes[id]);
            }
        }
        self.index = Slots::with_room(self.ends.len());
        for (id, hash) in self.hashes.iter().enumerate() {
            // All are distinct.
            self.index.find_or(*hash, id, |_| false);
        }
        handles
    }

    /// The text of a handle of this table; empty for a handle of another one.
    pub fn get(&self, id: StringId) -> &str {
        text_of(&self.text, &self.ends, id.0 as usize)
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
        // Many at once: known ones, new ones, and new ones twice.
        let mut other = StringTable::default();
        texts.iter().step_by(3).for_each(|text| _ = other.intern(text));
        let twice = || texts.iter().chain(texts.iter().rev()).map(String::as_str);
        let ids = other.intern_all(twice());
        assert_eq!(other.len(), 10_001);
        assert!(
            ids.iter().zip(twice()).all(|(id, text)| other.get(*id) == text && other.find(text) == Some(*id))
        );
        assert_eq!(table.bytes(), texts.iter().map(String::len).sum::<usize>());
        let listed: Vec<_> = table.iter().skip(1).collect();
        assert_eq!(listed, texts);
    }

    #[test]
    fn texts_of_another_table_are_taken_over_once() {
        let (mut from, mut to) = (StringTable::default(), StringTable::default());
        let texts: Vec<String> = (0..1000).map(|n| format!("name-{n}")).collect();
        let ids: Vec<_> = texts.iter().map(|text| from.intern(text)).collect();
        let known: Vec<_> = texts.iter().step_by(10).map(|text| to.intern(text)).collect();
        let mut is_wanted = vec![false; from.len()];
        ids.iter().step_by(5).for_each(|id| is_wanted[id.0 as usize] = true);
        let handles = to.take_over(&from, &is_wanted);
        assert_eq!((handles.len(), to.len()), (1001, 201));
        for (n, (id, text)) in ids.iter().zip(&texts).enumerate() {
            let handle = handles[id.0 as usize];
            if n % 10 == 0 {
                assert_eq!(handle, known[n / 10]);
            }
            if n % 5 == 0 {
                assert_eq!((to.get(handle), to.find(text)), (&**text, Some(handle)));
            } else {
                assert_eq!((handle, to.find(text)), (StringId::EMPTY, None));
            }
        }
        assert_eq!(to.intern("another").0, 201);
    }
}
