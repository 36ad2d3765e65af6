//! The profile model, its Parquet form, and queries over it.
//!
//! Arrow and Parquet types do not leave this crate: what goes in and what comes out is a
//! [`model::Profile`], the same type for a ten-second window of an agent, a segment on disk
//! and the answer to a query.

pub mod model;
