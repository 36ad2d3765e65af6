//! What people look at: flame trees, their pictures and exports, and the web server with the page.
//!
//! [`flame`] merges a [`store::model::Profile`] into a tree; [`render`] writes profiles and trees as JSON,
//! folded stacks, SVG, pprof and for other viewers; [`import`] reads what other profilers write; [`growth`] and
//! [`headline`] say what changed; [`truth`] says which stacks are incomplete, and why; [`http`] serves all of it, and the page. Only [`http`] knows axum.

pub mod flame;
pub mod growth;
pub mod headline;
pub mod http;
pub mod import;
pub mod render;
pub mod source;
pub mod truth;

#[cfg(test)]
mod support;
