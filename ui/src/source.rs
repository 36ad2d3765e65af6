//! Source files: the samples of their lines, and their text where it may be read.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use rustc_hash::{FxHashMap, FxHashSet};
use serde::Serialize;
use store::model::Profile;

/// Longest text that is read, bytes: more than any file that people write.
const MAX_BYTES: u64 = 4 << 20;

/// Samples of one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Its number; 0 for code whose line is not known.
    pub line: u32,
    /// Samples that ended there.
    #[serde(rename = "self")]
    pub own: u64,
    /// Samples that passed there; a stack that does so twice counts once.
    pub total: u64,
}

/// The samples of a source file, line by line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// All samples, of whatever file.
    pub samples: u64,
    /// Samples with the file anywhere in their stack.
    pub in_file: u64,
    /// Lines with samples, in their order.
    pub lines: Vec<Line>,
}

impl Lines {
    /// Counts the lines of the file that frames call `file`.
    pub fn of(profile: &Profile, file: &str) -> Self {
        let mut by_node: FxHashMap<_, u64> = FxHashMap::default();
        for row in &profile.rows {
            *by_node.entry(row.key.node).or_default() += row.samples;
        }
        let mut lines: FxHashMap<u32, (u64, u64)> = FxHashMap::default();
        let mut found = Self { samples: profile.samples(), ..Self::default() };
        let mut here = FxHashSet::default();
        for (node, samples) in by_node {
            here.clear();
            for (depth, id) in profile.stacks.leaf_to_root(node).enumerate() {
                let frame = profile.frame(id);
                if profile.text(frame.file) != file {
                    continue;
                }
                let sum = lines.entry(frame.line).or_default();
                sum.0 += if depth == 0 { samples } else { 0 };
                sum.1 += if here.insert(frame.line) { samples } else { 0 };
            }
            found.in_file += if here.is_empty() { 0 } else { samples };
        }
        found.lines = lines.into_iter().map(|(line, (own, total))| Line { line, own, total }).collect();
        found.lines.sort_unstable_by_key(|line| line.line);
        found
    }
}

/// Why a file's text is not shown; for people.
#[derive(Debug, thiserror::Error)]
pub enum NotShown {
    /// Nothing may be read.
    #[error("Source files are not read: start Vesta with --source-dir")]
    NotAllowed,
    /// It is not there, or not in an allowed folder; which of both is nobody's business.
    #[error("The file is in none of the folders of --source-dir")]
    Elsewhere,
    /// A folder, a device, a pipe.
    #[error("It is no regular file")]
    NoFile,
    /// It is longer than any source file.
    #[error("The file is larger than 4 MiB")]
    TooLarge,
    /// It is no text.
    #[error("The file is no UTF-8 text")]
    NoText,
    /// The system did not let us.
    #[error("The file cannot be read: {0}")]
    Failed(#[from] std::io::Error),
}

/// A folder that cannot be one of [`SourceDirs`].
#[derive(Debug, thiserror::Error)]
pub enum BadDir {
    /// It is not there.
    #[error("cannot use {0} for source files: {1}")]
    Missing(PathBuf, std::io::Error),
    /// It is the root, or no folder.
    #[error("{0} is no folder of source files")]
    NotOne(PathBuf),
}

/// The folders below which source files may be read. Paths of files come from debug information, which is hostile.
#[derive(Clone, Debug, Default)]
pub struct SourceDirs(Vec<PathBuf>);

impl SourceDirs {
    /// These folders; no symbolic link leads out of them.
    ///
    /// # Errors
    /// When one is missing, no folder, or the root of the file system.
    pub fn new(dirs: &[PathBuf]) -> Result<Self, BadDir> {
        let checked = dirs.iter().map(|dir| {
            let real = fs::canonicalize(dir).map_err(|error| BadDir::Missing(dir.clone(), error))?;
            match real.is_dir() && real.parent().is_some() {
                true => Ok(real),
                false => Err(BadDir::NotOne(dir.clone())),
            }
        });
        Ok(Self(checked.collect::<Result<_, _>>()?))
    }

    /// The text of a file by its path in debug information; a relative one is looked for in each folder.
    ///
    /// # Errors
    /// When it may not or cannot be read.
    pub fn text(&self, file: &str) -> Result<String, NotShown> {
        if self.0.is_empty() {
            return Err(NotShown::NotAllowed);
        }
        let path = self.find(Path::new(file)).ok_or(NotShown::Elsewhere)?;
        // Asked before it is opened: opening a pipe waits for its writer.
        if !fs::symlink_metadata(&path)?.is_file() {
            return Err(NotShown::NoFile);
        }
        let mut bytes = Vec::new();
        File::open(&path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(NotShown::TooLarge);
        }
        String::from_utf8(bytes).map_err(|_| NotShown::NoText)
    }

    /// The file itself, with all links followed, if it lies in a folder.
    fn find(&self, file: &Path) -> Option<PathBuf> {
        self.0.iter().find_map(|dir| {
            // Joining an absolute path gives that path; what it leads to is checked all the same.
            let real = fs::canonicalize(dir.join(file)).ok()?;
            self.0.iter().any(|dir| real.starts_with(dir) && real != *dir).then_some(real)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use store::model::FrameKind;

    use super::*;
    use crate::support::{Maker, REDIS};

    #[test]
    fn a_line_counts_a_stack_once_and_what_ends_there_apart() {
        let at = |line: u64| (FrameKind::Native, "f", "/usr/bin/app", line);
        let mut maker = Maker::default();
        maker.stack(REDIS, &[at(3), at(7), at(3)], 5);
        maker.stack(REDIS, &[at(3), (FrameKind::Inlined, "g", "/usr/bin/app", 9)], 2);
        maker.stack(REDIS, &[(FrameKind::Inlined, "g", "/usr/bin/app", 9)], 1);
        let lines = Lines::of(&maker.finish(), "src/app.c");
        assert_eq!((lines.samples, lines.in_file), (8, 7));
        assert_eq!(lines.lines, [Line { line: 3, own: 5, total: 7 }, Line { line: 7, own: 0, total: 5 }]);
        assert_eq!(Lines::of(&Maker::default().finish(), "src/app.c"), Lines::default());
    }

    /// A folder with a file, beside a secret; and what reads it.
    fn dirs() -> (tempfile::TempDir, SourceDirs) {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("src/lib")).unwrap();
        fs::write(folder.path().join("src/lib/a.c"), "int a;\n").unwrap();
        fs::write(folder.path().join("secret"), "hunter2").unwrap();
        let dirs = SourceDirs::new(&[folder.path().join("src")]).unwrap();
        (folder, dirs)
    }

    #[test]
    fn files_are_found_by_absolute_and_relative_paths() {
        let (folder, dirs) = dirs();
        let absolute = folder.path().join("src/lib/a.c");
        for path in ["lib/a.c", "./lib/../lib/a.c", absolute.to_str().unwrap()] {
            assert_eq!(dirs.text(path).unwrap(), "int a;\n", "{path}");
        }
    }

    #[test]
    fn nothing_outside_is_read_whatever_the_path() {
        let (folder, dirs) = dirs();
        symlink("../../secret", folder.path().join("src/lib/link.c")).unwrap();
        symlink("/etc", folder.path().join("src/etc")).unwrap();
        // A folder whose name begins as the allowed one's.
        fs::create_dir(folder.path().join("src-private")).unwrap();
        fs::write(folder.path().join("src-private/key"), "hunter2").unwrap();
        let absolute = |path: &str| folder.path().join(path).to_str().unwrap().to_owned();
        let outside = [
            "../secret",
            "lib/../../secret",
            "lib/link.c",
            "etc/passwd",
            "/etc/passwd",
            "../src-private/key",
            "",
            ".",
            "nosuch.c",
            "lib/a.c\0",
            &"a/".repeat(5000),
        ];
        for path in
            outside.map(str::to_owned).into_iter().chain([absolute("secret"), absolute("src-private/key")])
        {
            assert!(matches!(dirs.text(&path), Err(NotShown::Elsewhere)), "{path}");
        }
        assert!(matches!(SourceDirs::default().text(&absolute("src/lib/a.c")), Err(NotShown::NotAllowed)));
    }

    #[test]
    fn only_texts_of_some_length_are_shown() {
        let (folder, dirs) = dirs();
        fs::write(folder.path().join("src/binary"), [0xff, 0xfe]).unwrap();
        fs::write(folder.path().join("src/long"), vec![b'a'; MAX_BYTES as usize + 1]).unwrap();
        assert!(matches!(dirs.text("binary"), Err(NotShown::NoText)));
        assert!(matches!(dirs.text("long"), Err(NotShown::TooLarge)));
        assert!(matches!(dirs.text("lib"), Err(NotShown::NoFile)));
    }

    #[test]
    fn the_root_and_what_is_no_folder_are_refused() {
        let (folder, _) = dirs();
        assert!(matches!(SourceDirs::new(&["/".into()]), Err(BadDir::NotOne(_))));
        assert!(matches!(SourceDirs::new(&[folder.path().join("secret")]), Err(BadDir::NotOne(_))));
        assert!(matches!(SourceDirs::new(&[folder.path().join("nosuch")]), Err(BadDir::Missing(..))));
    }
}
