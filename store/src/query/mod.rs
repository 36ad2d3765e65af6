//! Which samples are asked for: a [`Selector`] over labels and a [`TimeRange`].

mod matching;
mod parse;
mod selector;
mod time;

pub use matching::label_text;
pub(crate) use matching::{ROW_LABELS, Selected};
pub use selector::{Selector, SelectorError};
pub(crate) use time::MAX_TIME_MS;
pub use time::{TimeError, TimeRange, parse_span, parse_time};
