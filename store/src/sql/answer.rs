//! What comes out of a statement.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::catalog::Skipped;

/// An answer, by column. docs/api.md describes it as JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SqlAnswer {
    /// Columns, each with a value for every row.
    pub columns: Vec<SqlColumn>,
    /// How many rows there are.
    pub rows: usize,
    /// Whether there would be more rows.
    pub truncated: bool,
    /// Segments left out.
    pub skipped: Vec<Skipped>,
}

/// A column of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SqlColumn {
    /// Its name, which need not be the only one of that name.
    pub name: String,
    /// Its type: `int64`, `text`, `timestamp`, `list of text`, ….
    #[serde(rename = "type")]
    pub kind: String,
    /// Its values. Whole numbers beyond 2^53, numbers that are none (`NaN`, `inf`), times and decimals are text;
    /// lists are arrays, maps and structs objects.
    pub values: Vec<Value>,
}

/// What is wrong with a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlError {
    sentence: String,
    place: Option<String>,
}

impl SqlError {
    /// An error without a place.
    pub(super) fn new(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), place: None }
    }

    /// An error at a place of a statement: line and column count from 1, a column is a character.
    #[cfg_attr(
        not(any(feature = "sql", test)),
        expect(dead_code, reason = "nothing is parsed without the engine")
    )]
    pub(super) fn at(sentence: impl Into<String>, statement: &str, line: u64, column: u64) -> Self {
        let number = usize::try_from(line).unwrap_or(0).checked_sub(1);
        let text = number.and_then(|number| statement.lines().nth(number));
        let before = usize::try_from(column).unwrap_or(usize::MAX).saturating_sub(1);
        let place = text.map(|text| {
            let before = before.min(text.chars().count());
            // Long lines are shown around the place only.
            let first = before.saturating_sub(MAX_BEFORE);
            let shown = text.chars().skip(first).take(MAX_BEFORE + MAX_AFTER);
            let shown: String = shown.map(|c| if c.is_control() { ' ' } else { c }).collect();
            format!("{shown}\n{}^", " ".repeat(before - first))
        });
        Self { sentence: sentence.into(), place }
    }
}

/// Characters shown before and after a place.
const MAX_BEFORE: usize = 60;
const MAX_AFTER: usize = 40;

impl std::fmt::Display for SqlError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.place {
            None => write!(f, "{}", self.sentence),
            Some(place) => write!(f, "{}\n{place}", self.sentence),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_a_caret_below_it() {
        let error = SqlError::at("no such column", "SELECT a,\n  sämples FROM b", 2, 11);
        assert_eq!(error.to_string(), "no such column\n  sämples FROM b\n          ^");
    }

    #[test]
    fn places_outside_and_long_lines_are_no_trouble() {
        assert_eq!(SqlError::at("x", "a", 7, 1).to_string(), "x");
        assert_eq!(SqlError::at("x", "a", 0, 0).to_string(), "x");
        assert_eq!(SqlError::at("x", "a", 1, u64::MAX).to_string(), "x\na\n ^");
        let long = format!("{}b{}", "a".repeat(1000), "c".repeat(1000));
        let text = SqlError::at("x", &long, 1, 1001).to_string();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[1].len(), 100);
        assert_eq!(lines[1].chars().nth(lines[2].len() - 1), Some('b'));
    }
}
