//! Questions to a store: a [`Selector`] over labels and a [`TimeRange`] say which samples; each module that
//! extends [`Store`](crate::Store) asks one thing of them.

mod compare;
mod counters;
pub(crate) mod engine;
mod function_paths;
mod functions;
mod groups;
mod heat_map;
mod labels;
mod lanes;
mod matching;
mod offsets;
mod parse;
mod profile;
mod selector;
mod time;
mod timeline;

pub use compare::{Comparison, Side};
pub use counters::{CounterSeries, Counters};
pub use engine::{Cancel, Limits, Progress, Reading};
#[cfg(feature = "sql")]
pub(crate) use engine::{Wanted, pieces};
pub use functions::{FunctionHistory, FunctionName, FunctionTimes};
pub use heat_map::HeatMap;
pub use lanes::{BadLanes, Lane, Lanes, LanesBy, OtherLanes};
pub use matching::label_text;
pub(crate) use matching::{ROW_LABELS, RowLabels, Selected};
pub use offsets::{MAX_RECTANGLES, Offsets};
pub use profile::Answer;
pub use selector::{Selector, SelectorError};
pub(crate) use time::MAX_TIME_MS;
pub use time::{TimeError, TimeRange, parse_span, parse_time};
pub use timeline::{Group, OtherGroups, Rate, Timeline};
