//! The profile model, its Parquet form, and queries over it.
//!
//! Arrow and Parquet types do not leave this crate: what goes in and what comes out is a
//! [`model::Profile`], the same type for a ten-second window of an agent, a segment on disk
//! and the answer to a query.

pub mod catalog;
pub mod model;
pub mod query;
#[cfg(feature = "object-store")]
pub mod remote;
pub mod segment;
pub mod sql;

mod annotations;
mod cache;
mod care;
mod checked;
mod compact;
mod dictionary;
mod elsewhere;
mod error;
mod handle;
mod inventory;
mod late;
mod links;
mod log;
mod pace;
mod pins;
mod policy;
mod retention;
mod rows;

pub use annotations::{Annotation, AnnotationKind};
pub use cache::CACHE_BYTES;
pub use care::{Check, Exported, Leftovers, Usage, leftovers};
pub use catalog::Skipped;
pub use compact::Compaction;
pub use elsewhere::is_on_object_storage;
pub use error::{Error, Result};
pub use handle::{Stats, Store};
pub use late::{Nameless, NamelessFile};
pub use links::Link;
pub use log::{LOG_VERSION, Settled, WindowLog};
pub use pace::Pace;
pub use pins::Pin;
pub use policy::{Policy, Tier};
pub use query::{
    Answer, BadLanes, Cancel, Comparison, CounterSeries, Counters, FunctionHistory, FunctionName,
    FunctionTimes, Group, HeatMap, Lane, Lanes, LanesBy, Limits, MAX_RECTANGLES, Offsets, OtherGroups,
    OtherLanes, Progress, Rate, Reading, Selector, SelectorError, Side, TimeError, TimeRange, Timeline,
    label_text, parse_time,
};
pub use retention::{Removed, Retention};
pub use segment::SegmentInfo;
pub use sql::{SqlAnswer, SqlColumn, SqlError};
