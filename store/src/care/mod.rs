//! Care for a data directory: is it whole, what takes its room, a part of it to give away, and what can go.

mod check;
mod export;
mod leftovers;
mod usage;

pub use check::Check;
pub use export::Exported;
pub use leftovers::{Leftovers, leftovers};
pub use usage::Usage;
