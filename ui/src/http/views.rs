//! Questions of single views of the page: lanes of threads and CPUs, lines of a source file.

use std::str::FromStr;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use store::{Answer, LanesBy, Skipped};

use super::api::{MAX_TOP, answer_by, default_step_ms, json_body};
use super::counters::Kind;
use super::error::ApiError;
use super::params::Params;
use super::run::{into_bytes, run};
use super::{AppState, now_ms};
use crate::flame::GroupBy;
use crate::render::period_ns;
use crate::source::{Line, Lines};

type Shared = State<Arc<AppState>>;

/// Lanes when nobody asks for a number.
const DEFAULT_LANES: usize = 50;
/// Longest path of a source file, bytes: the kernel's own limit.
const MAX_PATH: usize = 4096;

/// `GET /api/v1/lanes`
pub(super) async fn lanes(State(state): Shared, params: Params) -> Result<Response, ApiError> {
    let known =
        ["query", "from", "until", "by", "step_ms", "top", "offset_from_ms", "offset_until_ms", "part"];
    let params = params.only(&known)?;
    let (selector, range, offsets) = (params.selector()?, params.range(now_ms())?, params.offsets()?);
    let by = params.text("by").map(LanesBy::from_str).transpose();
    let by = by.map_err(|error| ApiError::bad_request(error.to_string()))?.unwrap_or_default();
    let step_ms = params.step_ms()?.unwrap_or(default_step_ms(range));
    let top = params.number("top", MAX_TOP)?.unwrap_or(DEFAULT_LANES);
    let body = run(&state, Kind::Lanes, move |state, store| {
        let lanes = store.with_offsets(offsets).lanes(&selector, range, step_ms, by, top)?;
        state.counters.skipped(lanes.skipped.len());
        into_bytes(state.limits.answer_bytes, |out| Ok(serde_json::to_writer(out, &lanes)?))
    });
    Ok(json_body(body.await?))
}

#[derive(Serialize)]
struct SourceJson<'a> {
    file: &'a str,
    period_ns: i64,
    samples: u64,
    in_file: u64,
    lines: &'a [Line],
    text: Option<String>,
    reason: String,
    skipped: &'a [Skipped],
}

/// `GET /api/v1/source`
pub(super) async fn source(State(state): Shared, params: Params) -> Result<Response, ApiError> {
    let params =
        params.only(&["query", "from", "until", "file", "offset_from_ms", "offset_until_ms", "part"])?;
    let (selector, range, offsets) = (params.selector()?, params.range(now_ms())?, params.offsets()?);
    let file = params.text("file").unwrap_or_default().to_owned();
    if file.is_empty() || file.len() > MAX_PATH {
        return Err(ApiError::bad_request(format!("file must be a path of 1 to {MAX_PATH} bytes")));
    }
    let body = run(&state, Kind::Source, move |state, store| {
        let Answer { profile, skipped, .. } =
            answer_by(state, &store.with_offsets(offsets), &selector, range, &GroupBy::default())?;
        let Lines { samples, in_file, lines } = Lines::of(&profile, &file);
        // What no sample names is not asked for: this is no way to look around in folders.
        let text = match in_file {
            0 => Err("No sample in view is from this file".to_owned()),
            _ => state.sources.text(&file).map_err(|error| error.to_string()),
        };
        let (text, reason) = match text {
            Ok(text) => (Some(text), String::new()),
            Err(reason) => (None, reason),
        };
        let period_ns = period_ns(&profile);
        let json = SourceJson {
            file: &file,
            period_ns,
            samples,
            in_file,
            lines: &lines,
            text,
            reason,
            skipped: &skipped,
        };
        into_bytes(state.limits.answer_bytes, |out| Ok(serde_json::to_writer(out, &json)?))
    });
    Ok(json_body(body.await?))
}
