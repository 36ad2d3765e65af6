//! The executable mappings of one process.

use std::sync::Arc;

use super::shared::Shared;

/// Which file, as the kernel names it in mappings: device and inode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FileKey {
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) inode: u64,
}

/// What stands behind a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Backing {
    /// A file, with its path as the kernel last knew it in the process's own mount namespace.
    File { key: FileKey, path: Arc<str> },
    /// The kernel's page of code for user space.
    Vdso,
    /// No file: code made at run time.
    Anonymous,
}

impl Backing {
    /// What stands behind a mapping of this name, as in /proc/PID/maps and in perf's records.
    pub(crate) fn of(path: &str, key: FileKey, paths: &mut Shared<str>) -> Self {
        let path = path.strip_suffix(" (deleted)").unwrap_or(path);
        if path == "[vdso]" {
            Self::Vdso
        } else if path.starts_with('/') && !path.starts_with("//") && !is_memory(path) && key.inode != 0 {
            Self::File { key, path: paths.get(path) }
        } else {
            Self::Anonymous
        }
    }
}

/// Memory without content of its own, which the kernel names all the same: shared, or in huge pages.
fn is_memory(path: &str) -> bool {
    path == "/dev/zero" || path.starts_with("/SYSV") || path.starts_with("/anon_hugepage")
}

/// One executable mapping: addresses `start..end` show the file from `file_offset` on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) file_offset: u64,
    pub(crate) backing: Backing,
}

/// Mappings of a process that are kept: twice what the kernel allows by default, some 8 MiB. A process that makes more (one
/// per compiled function, say) loses the lowest, and its samples there are named by a fresh read of its maps.
const MAPPINGS_MAX: usize = 131_072;
/// How many are lost at once: one by one, each would cost as much as all of these.
const LOST_AT_ONCE: usize = MAPPINGS_MAX / 16;

/// Sorted, disjoint mappings. Clones share them until one changes: forked processes mostly end, or run another program, with
/// those of their parent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mappings(Arc<Vec<Mapping>>);

impl Mappings {
    /// Mappings in any order; later ones win over earlier ones they overlap.
    pub(crate) fn from_list(list: impl IntoIterator<Item = Mapping>) -> Self {
        let mut mappings = Self::default();
        for mapping in list {
            mappings.insert(mapping);
        }
        mappings
    }

    /// Adds a mapping, which replaces what it covers, as `mmap` with MAP_FIXED does; what sticks out on either
    /// side stays.
    pub(crate) fn insert(&mut self, new: Mapping) {
        let first = self.0.partition_point(|old| old.end <= new.start);
        let last = self.0.partition_point(|old| old.start < new.end).max(first);
        let mut pieces = Vec::with_capacity(3);
        if let Some(left) = self.0[first..last].first().filter(|old| old.start < new.start) {
            pieces.push(Mapping { end: new.start, ..left.clone() });
        }
        let right = self.0[first..last].last().filter(|old| old.end > new.end).map(|old| Mapping {
            start: new.end,
            file_offset: old.file_offset.wrapping_add(new.end - old.start),
            ..old.clone()
        });
        pieces.push(new);
        pieces.extend(right);
        let all = Arc::make_mut(&mut self.0);
        all.splice(first..last, pieces);
        if all.len() > MAPPINGS_MAX {
            all.drain(..LOST_AT_ONCE);
        }
    }

    /// All, by address.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Mapping> {
        self.0.iter()
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The mapping that covers an address.
    pub(crate) fn find(&self, address: u64) -> Option<&Mapping> {
        let at = self.0.partition_point(|mapping| mapping.end <= address);
        self.0.get(at).filter(|mapping| mapping.start <= address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, key: FileKey) -> Backing {
        Backing::of(name, key, &mut Shared::default())
    }

    fn mapping(start: u64, end: u64, name: &str) -> Mapping {
        let key = FileKey { major: 1, minor: 2, inode: 3 };
        Mapping { start, end, file_offset: 0x1000, backing: of(name, key) }
    }

    fn shown(mappings: &Mappings) -> Vec<(u64, u64, u64, String)> {
        let name = |backing: &Backing| match backing {
            Backing::File { path, .. } => path.to_string(),
            other => format!("{other:?}"),
        };
        mappings.0.iter().map(|m| (m.start, m.end, m.file_offset, name(&m.backing))).collect()
    }

    #[test]
    fn a_mapping_replaces_what_it_covers_and_leaves_the_rest() {
        let mut all =
            Mappings::from_list([mapping(10, 20, "/a"), mapping(30, 60, "/b"), mapping(70, 80, "/c")]);
        all.insert(mapping(40, 50, "/new"));
        let b = |start, end, offset| (start, end, offset, "/b".to_owned());
        assert_eq!(
            shown(&all)[1..4],
            [b(30, 40, 0x1000), (40, 50, 0x1000, "/new".into()), b(50, 60, 0x1014)]
        );
        all.insert(mapping(0, 100, "/all"));
        assert_eq!(shown(&all), [(0, 100, 0x1000, "/all".to_owned())]);
    }

    #[test]
    fn of_too_many_the_lowest_are_lost_and_soon() {
        let start = std::time::Instant::now();
        let all =
            Mappings::from_list((0..2 * MAPPINGS_MAX as u64).map(|at| mapping(at * 10, at * 10 + 5, "/a")));
        assert!(all.len() <= MAPPINGS_MAX && all.len() > MAPPINGS_MAX - 2 * LOST_AT_ONCE);
        assert!(all.find(0).is_none() && all.find((2 * MAPPINGS_MAX as u64 - 1) * 10).is_some());
        assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
    }

    #[test]
    fn addresses_find_their_mapping_and_gaps_find_none() {
        let all = Mappings::from_list([mapping(30, 60, "/b"), mapping(10, 20, "/a")]);
        assert_eq!(all.0.len(), 2);
        for (address, found) in
            [(9, None), (10, Some(10)), (19, Some(10)), (20, None), (59, Some(30)), (60, None)]
        {
            assert_eq!(all.find(address).map(|m| m.start), found, "{address}");
        }
    }

    #[test]
    fn names_say_what_stands_behind() {
        let key = FileKey { major: 1, minor: 2, inode: 3 };
        assert_eq!(of("//anon", key), Backing::Anonymous);
        assert_eq!(of("/dev/zero (deleted)", key), Backing::Anonymous);
        assert_eq!(of("/SYSV00000000 (deleted)", key), Backing::Anonymous);
        assert_eq!(of("[vdso]", key), Backing::Vdso);
        assert_eq!(of("[heap]", FileKey::default()), Backing::Anonymous);
        assert!(matches!(of("/memfd:jit (deleted)", key), Backing::File { .. }));
    }
}
