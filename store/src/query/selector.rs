//! Selectors: which samples, by their labels.

use regex::Regex;

use super::parse;

/// An expression over labels, e.g. `process="redis-server", status!="complete"`. The empty selector selects
/// everything. A label that is not there is the empty string.
#[derive(Clone, Debug, Default)]
pub struct Selector {
    text: String,
    expr: Option<Expr>,
}

/// Why a selector was refused; shown with a caret under the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectorError {
    /// One sentence.
    pub message: String,
    /// The selector as given.
    pub text: String,
    /// Where in it, in characters from the start.
    pub at: usize,
}

impl std::error::Error for SelectorError {}

impl std::fmt::Display for SelectorError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // One line and one column per character, so that the caret stands right.
        let line: String = self.text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        write!(f, "bad selector: {}\n  {line}\n  {:>2$}", self.message, '^', self.at + 1)
    }
}

impl Selector {
    /// The selector of everything.
    pub fn all() -> Self {
        Self::default()
    }

    /// Reads a selector; the grammar stands in docs/formats.md.
    ///
    /// # Errors
    /// When the text does not follow the grammar, a regular expression is bad or too large, or the text is
    /// longer than 16 KiB.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        Ok(Self { text: text.to_owned(), expr: parse::parse(text)? })
    }

    /// The text it was read from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it selects everything.
    pub fn is_all(&self) -> bool {
        self.expr.is_none()
    }

    /// Whether samples with these labels are selected; none when that hangs on labels `lookup` does not know.
    pub(super) fn eval<'a>(&self, lookup: &mut dyn FnMut(&str) -> Option<Label<'a>>) -> Option<bool> {
        self.expr.as_ref().map_or(Some(true), |expr| expr.eval(lookup))
    }
}

/// The value of a label.
pub(super) type Label<'a> = std::borrow::Cow<'a, str>;

#[derive(Clone, Debug)]
pub(super) enum Expr {
    Match { label: String, test: Test, negated: bool },
    All(Vec<Expr>),
    Any(Vec<Expr>),
}

#[derive(Clone, Debug)]
pub(super) enum Test {
    Equals(String),
    /// Anchored at both ends.
    Matches(Regex),
}

impl Expr {
    fn eval<'a>(&self, lookup: &mut dyn FnMut(&str) -> Option<Label<'a>>) -> Option<bool> {
        match self {
            Self::Match { label, test, negated } => {
                let value = lookup(label)?;
                let hit = match test {
                    Test::Equals(text) => *text == *value,
                    Test::Matches(regex) => regex.is_match(&value),
                };
                Some(hit != *negated)
            }
            Self::All(parts) => decide(parts, false, lookup),
            Self::Any(parts) => decide(parts, true, lookup),
        }
    }
}

/// One part that evaluates to `decisive` decides; one that is unknown leaves the whole unknown.
fn decide<'a>(
    parts: &[Expr],
    decisive: bool,
    lookup: &mut dyn FnMut(&str) -> Option<Label<'a>>,
) -> Option<bool> {
    let mut result = Some(!decisive);
    for part in parts {
        match part.eval(lookup) {
            Some(value) if value == decisive => return Some(decisive),
            None => result = None,
            Some(_) => {}
        }
    }
    result
}
