//! Which label splits a flame tree, and its value for a row.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use store::model::{Profile, Row};

/// The label whose values become the first level of a flame tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupBy {
    /// Name of the thread.
    Thread,
    /// Process id.
    Pid,
    /// Thread id.
    Tid,
    /// `complete`, or why the stack is not.
    Status,
    /// A label of the series: `process`, `exe`, `cgroup`, `host`, `event`, a user's own.
    Label(String),
}

/// Not a label name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no label name: use letters, digits and _, e.g. process, thread, pid, exe, cgroup, host")]
pub struct BadLabel(String);

impl GroupBy {
    /// The label's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Thread => "thread",
            Self::Pid => "pid",
            Self::Tid => "tid",
            Self::Status => "status",
            Self::Label(name) => name,
        }
    }

    /// Whether rows must keep their thread columns for this label.
    pub fn needs_threads(&self) -> bool {
        matches!(self, Self::Thread | Self::Pid | Self::Tid)
    }

    /// The label's value for a row; empty when the row lacks the label.
    pub fn value<'a>(&self, profile: &'a Profile, row: &Row) -> Cow<'a, str> {
        match self {
            Self::Thread => profile.text(row.key.thread).into(),
            Self::Pid => row.key.pid.to_string().into(),
            Self::Tid => row.key.tid.to_string().into(),
            Self::Status => profile.text(row.key.status).into(),
            Self::Label(name) => profile.label(row.key.series, name).unwrap_or_default().into(),
        }
    }
}

impl Default for GroupBy {
    fn default() -> Self {
        Self::Label("process".into())
    }
}

impl fmt::Display for GroupBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for GroupBy {
    type Err = BadLabel;

    fn from_str(name: &str) -> Result<Self, BadLabel> {
        let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !starts_well || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(BadLabel(name.chars().take(64).collect()));
        }
        Ok(match name {
            "thread" => Self::Thread,
            "pid" => Self::Pid,
            "tid" => Self::Tid,
            "status" => Self::Status,
            label => Self::Label(label.to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_names_are_read_and_written_alike() {
        for name in ["process", "thread", "pid", "tid", "status", "k8s_pod", "_x"] {
            assert_eq!(name.parse::<GroupBy>().unwrap().name(), name);
        }
        for bad in ["", "a b", "9x", "a;b", "é"] {
            assert!(bad.parse::<GroupBy>().unwrap_err().to_string().contains("no label name"), "{bad}");
        }
    }
}
