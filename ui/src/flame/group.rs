//! Which label splits a flame tree, and its value for a row.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use store::model::{Profile, Row};

/// The label whose values become the first level of a flame tree: `process`, `thread`, `status`, ….
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupBy(String);

/// Not a label name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no label name: use letters, digits and _, e.g. process, thread, pid, exe, cgroup, host")]
pub struct BadLabel(String);

impl GroupBy {
    /// The label's name.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Whether rows must keep their thread columns for this label.
    pub fn needs_threads(&self) -> bool {
        matches!(&*self.0, "thread" | "pid" | "tid")
    }

    /// The label's value for a row; empty when the row lacks the label.
    pub fn value<'a>(&self, profile: &'a Profile, row: &Row) -> Cow<'a, str> {
        store::label_text(profile, &row.key, &self.0)
    }
}

impl Default for GroupBy {
    fn default() -> Self {
        Self("process".to_owned())
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
        Ok(Self(name.to_owned()))
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
