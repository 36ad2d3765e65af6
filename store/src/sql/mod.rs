//! SQL over the store: one `SELECT` over views of all live segments and of the windows in memory.
//!
//! The engine is DataFusion, and it stays in here: a statement goes in as text, and an answer comes out by column.
//! docs/formats.md describes the views and functions. Without the feature `sql` every statement is refused.

mod answer;

#[cfg(feature = "sql")]
mod engine;
#[cfg(feature = "sql")]
mod functions;
#[cfg(feature = "sql")]
mod guard;
#[cfg(feature = "sql")]
mod metered;
#[cfg(feature = "sql")]
mod prune;
#[cfg(feature = "sql")]
mod sources;
#[cfg(feature = "sql")]
mod values;
#[cfg(feature = "sql")]
mod views;
#[cfg(feature = "sql")]
mod words;

pub use answer::{SqlAnswer, SqlColumn, SqlError};

use crate::error::{Error, Result};
use crate::handle::Store;

/// Rows of an answer when nobody asks for a number.
pub const DEFAULT_ROWS: usize = 10_000;
/// Rows of an answer at most: more is work for a program that reads the files.
pub const MAX_ROWS: usize = 1_000_000;
/// Bytes of a statement: selectors may be as long.
pub const MAX_STATEMENT_BYTES: usize = 16 << 10;

impl Store {
    /// Answers a statement that only reads, with at most so many rows, within the store's limits.
    ///
    /// # Errors
    /// [`Error::Sql`] when the statement is wrong or does more than read, [`Error::TooLarge`] when it needs more
    /// memory than it may have, [`Error::Cancelled`], [`Error::NoSql`] where SQL is not built in, and when the data
    /// directory cannot be listed. Segments that cannot be read are no error but named in the answer.
    pub fn sql(&self, statement: &str, max_rows: usize) -> Result<SqlAnswer> {
        if statement.len() > MAX_STATEMENT_BYTES {
            let sentence = format!("the statement is longer than {} KiB", MAX_STATEMENT_BYTES >> 10);
            return Err(Error::Sql(SqlError::new(sentence)));
        }
        #[cfg(feature = "sql")]
        return engine::answer(self, statement, max_rows.min(MAX_ROWS));
        #[cfg(not(feature = "sql"))]
        return {
            let _ = max_rows;
            Err(Error::NoSql)
        };
    }
}
