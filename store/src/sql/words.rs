//! What went wrong with a statement, in words and with the place where the engine knows it.

use datafusion::common::DataFusionError;
use datafusion::common::diagnostic::Diagnostic;
use datafusion::sql::sqlparser::parser::ParserError;

use super::SqlError;
use super::engine::MAX_NESTING;
use crate::error::Error;

/// An error of the engine as one of ours; `limit` is the memory that the statement may have, bytes.
pub(super) fn told(error: DataFusionError, statement: &str, limit: u64) -> Error {
    let sql = |message: &str| Error::Sql(SqlError::new(sentence(message)));
    match error {
        DataFusionError::ResourcesExhausted(_) => Error::TooLarge { limit },
        DataFusionError::Context(_, error) => told(*error, statement, limit),
        DataFusionError::Collection(errors) => {
            let first = errors.into_iter().next();
            first.map_or_else(|| sql("the statement failed"), |error| told(error, statement, limit))
        }
        DataFusionError::External(error) => match error.downcast::<Error>() {
            Ok(error) => *error,
            Err(error) => match error.downcast::<DataFusionError>() {
                Ok(error) => told(*error, statement, limit),
                Err(error) => sql(&error.to_string()),
            },
        },
        DataFusionError::Shared(shared) => match shared.find_root() {
            DataFusionError::ResourcesExhausted(_) => Error::TooLarge { limit },
            DataFusionError::External(error) if matches!(error.downcast_ref(), Some(Error::Cancelled)) => {
                Error::Cancelled
            }
            root => sql(&root.message()),
        },
        DataFusionError::Diagnostic(diagnostic, error) => with_place(&diagnostic, *error, statement, limit),
        DataFusionError::SQL(error, _) if *error == ParserError::RecursionLimitExceeded => {
            sql(&format!("the statement nests deeper than {MAX_NESTING} levels"))
        }
        DataFusionError::SQL(error, _) => {
            let message = error.to_string();
            let message = message.trim_start_matches("sql parser error: ");
            match message.rsplit_once(" at Line: ") {
                Some((message, place)) => {
                    let (line, column) = place.split_once(", Column: ").unwrap_or((place, "1"));
                    let number = |text: &str| text.trim().parse().unwrap_or(0);
                    let error = SqlError::at(sentence(message), statement, number(line), number(column));
                    Error::Sql(error)
                }
                None => sql(message),
            }
        }
        error => sql(&error.message()),
    }
}

fn with_place(diagnostic: &Diagnostic, error: DataFusionError, statement: &str, limit: u64) -> Error {
    match (told(error, statement, limit), diagnostic.span) {
        (Error::Sql(error), Some(span)) => {
            // What the engine says of the error itself has more to it, as the names there are.
            let message = error.to_string();
            let message = message.lines().next().unwrap_or_default();
            Error::Sql(SqlError::at(message, statement, span.start.line, span.start.column))
        }
        (error, _) => error,
    }
}

/// The longest sentence shown: names of columns that could be meant are worth two lines.
const MAX_CHARS: usize = 400;

/// The first line of a message, at a length that can be read.
fn sentence(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default().trim();
    let line = line.trim_end_matches('.');
    match line.chars().count() {
        0 => "the statement failed".to_owned(),
        1..=MAX_CHARS => line.to_owned(),
        _ => line.chars().take(MAX_CHARS - 1).chain(['…']).collect(),
    }
}
