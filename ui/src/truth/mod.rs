//! How true a profile is: which stacks are incomplete, why, and the code behind it.
//!
//! An incomplete stack has a frame of kind `truncated` where callers are missing. The frame it stands for the caller
//! of is where the walk went no further: that frame's file is what is *behind* the gap.

mod account;
pub mod reasons;

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::fmt;

use serde::Serialize;
use store::model::Profile;

pub use reasons::Reason;

/// Functions and processes told of a file: enough to find one's way, the flame graph has them all.
const EXAMPLES: usize = 3;

/// The completeness of a profile's stacks, and its losses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Truth {
    /// All samples.
    pub samples: u64,
    /// Samples whose stack is complete, or that have no user stack (kernel threads, processes in exit or exec).
    pub complete: u64,
    /// The others by reason, most samples first.
    pub reasons: Vec<Incomplete>,
    /// Samples that the agents took within the profile's span, whatever was selected of them.
    pub taken: u64,
    /// Samples that they lost, by reason, most first; reasons that did not occur are left out.
    pub losses: Vec<Lost>,
}

/// The incomplete stacks of one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Incomplete {
    /// Why.
    #[serde(flatten)]
    pub reason: Told,
    /// How many.
    pub samples: u64,
    /// The files behind it, most samples first.
    pub binaries: Vec<Behind>,
    /// The files not told of.
    pub other: Others,
}

/// A file where stacks end for a reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Behind {
    /// Its path; `[kernel]`, `[vdso]`; empty for code outside any file.
    pub binary: String,
    /// Kind of its frames: `kernel`, `native`, `jit`, `interpreted`; empty where there was no frame at all.
    pub kind: &'static str,
    /// Stacks that end in it.
    pub samples: u64,
    /// The functions that most of them end in.
    pub functions: Vec<Named>,
    /// The processes that most of them are of.
    pub processes: Vec<Named>,
}

/// A name and its samples.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Named {
    /// Function or process.
    pub name: String,
    /// How many.
    pub samples: u64,
}

/// What a list leaves out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Others {
    /// Files.
    pub binaries: usize,
    /// Their samples.
    pub samples: u64,
}

/// Samples lost for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// Why.
    #[serde(flatten)]
    pub reason: Told,
    /// How many.
    pub samples: u64,
}

/// A reason that occurred; one that this version does not know has a title only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Told {
    /// Its name in Parquet, JSON, selectors and metrics.
    #[serde(rename = "reason")]
    pub code: String,
    /// The name in words.
    pub title: String,
    /// What happened.
    pub text: &'static str,
    /// What can be done about it.
    pub advice: &'static str,
}

impl Told {
    fn new(code: &str, among: &[Reason]) -> Self {
        let title = reasons::title(code, among).into_owned();
        let (text, advice) =
            reasons::known(code, among).map_or(("", ""), |reason| (reason.text, reason.advice));
        Self { code: code.to_owned(), title, text, advice }
    }
}

impl Truth {
    /// What is true of a profile, with the `top` first files of each reason.
    pub fn new(profile: &Profile, top: usize) -> Self {
        let mut losses: Vec<_> = crate::render::lost(profile)
            .into_iter()
            .filter(|(_, samples)| *samples > 0)
            .map(|(code, samples)| Lost { reason: Told::new(code, &reasons::LOST), samples })
            .collect();
        losses.sort_by_key(|loss| Reverse(loss.samples));
        Self {
            samples: profile.samples(),
            complete: profile.complete_samples(),
            reasons: account::incomplete(profile, top),
            taken: crate::render::taken(profile),
            losses,
        }
    }
}

impl Behind {
    /// What it is called in a word or two: the file's name, `[kernel]`, or what stands in for a file.
    pub fn name(&self) -> &str {
        match (&*self.binary, self.kind) {
            ("", "") => "no frame at all",
            ("", "jit") => "code made at run time",
            ("", _) => "code outside any file",
            (path, _) => path.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(path),
        }
    }
}

/// `in libfoo.so, at foo_step or foo_leap, of app`, without the number of samples.
impl fmt::Display for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let among = if self.kind.is_empty() { "with" } else { "in" };
        write!(f, "{among} {}", short(self.name()))?;
        let list =
            |names: &[Named]| names.iter().map(|named| short(&named.name)).collect::<Vec<_>>().join(" or ");
        // Code without a file has no names.
        if !self.binary.is_empty() && !self.functions.is_empty() {
            write!(f, ", at {}", list(&self.functions))?;
        }
        if !self.processes.is_empty() {
            write!(f, ", of {}", list(&self.processes))?;
        }
        Ok(())
    }
}

/// A name on a line with others, and fit for a terminal: some are pages long.
fn short(name: &str) -> String {
    const LONGEST: usize = 60;
    let name = crate::render::printable(name);
    if name.chars().count() <= LONGEST {
        return name;
    }
    name.chars().take(LONGEST - 1).chain(['…']).collect()
}
