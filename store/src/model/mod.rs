//! What a profile is: who was sampled (series), where (frames in a stack tree), and how often (rows).
//!
//! Columnar and by integer handle throughout: strings, binaries, frames and stacks are interned once per
//! profile, so that a row of samples is a few integers, and merging profiles is one pass over each table.

mod builder;
mod counted;
mod extract;
mod frames;
mod functions;
mod import;
mod interner;
mod journal;
mod late_names;
mod node_set;
mod order;
mod profile;
mod row_sums;
mod slots;
mod stack_tree;
mod strings;
mod sums;

pub use builder::ProfileBuilder;
pub(crate) use builder::{Tables as BuilderTables, Who};
pub(crate) use counted::GroupCounts;
pub(crate) use extract::{NodeCount, Preorder};
pub use frames::{Binary, BinaryId, Frame, FrameId, FrameKind, Unwound};
pub(crate) use functions::Functions;
pub use functions::{FunctionNode, FunctionTree};
pub(crate) use journal::Entry;
pub(crate) use late_names::nameless;
pub use late_names::{LateName, LateNames};
pub use profile::{
    Account, EVENT_CPU, Exact, Period, Profile, Row, RowKey, RowPart, STATUS_COMPLETE, Series, SeriesId,
    UNIT_NANOSECONDS,
};
pub use stack_tree::{NodeId, StackTree, StackTreeBuilder};
pub use strings::{StringId, StringTable};
pub use sums::Keep;
