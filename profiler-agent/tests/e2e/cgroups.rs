//! Control groups for processes under test.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use crate::vesta::Background;

/// A cgroup below the root of version 2, removed at the end.
pub(crate) struct Cgroup {
    root: PathBuf,
    path: PathBuf,
}

impl Cgroup {
    /// Makes it, and those on the way to it: a path without a slash before it.
    pub(crate) fn new(path: &str) -> Self {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let unified = mounts.lines().find_map(|line| {
            let mut fields = line.split(' ');
            let (folder, kind) = (fields.nth(1)?, fields.next()?);
            (kind == "cgroup2").then(|| PathBuf::from(folder))
        });
        let root = unified.expect("cgroup version 2");
        fs::create_dir_all(root.join(path)).unwrap();
        Self { root, path: PathBuf::from(path) }
    }

    /// A shell script that runs a command in it.
    pub(crate) fn script(&self, command: &str) -> String {
        format!("echo $$ > {}/cgroup.procs && exec {command}", self.root.join(&self.path).display())
    }

    /// Starts a command in it.
    pub(crate) fn start(&self, command: &str) -> Background {
        Background::start("sh", &["-c", &self.script(command)])
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let own = self.path.ancestors().take_while(|path| *path != Path::new(""));
        for path in own.map(|path| self.root.join(path)) {
            // The kernel needs a moment for those that have just ended.
            let gone = (0..50).any(|_| {
                fs::remove_dir(&path).is_ok() || {
                    thread::sleep(Duration::from_millis(20));
                    false
                }
            });
            if !gone {
                return;
            }
        }
    }
}
