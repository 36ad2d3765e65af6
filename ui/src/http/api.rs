//! The JSON API and the exports; docs/api.md is their contract.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use store::model::{FunctionTree, Keep, Profile};
use store::{Answer, Selector, Skipped, Store, TimeRange};

use super::counters::Kind;
use super::error::ApiError;
use super::params::Params;
use super::run::{into_bytes, run};
use super::{AppState, now_ms};
use crate::flame::{self, FlameTree, GroupBy, Weight};
use crate::render::{
    COLUMNS_MIME, DEFAULT_MAX_NODES, FlameJson, Format, RenderOptions, flame_columns, period_ns,
};
use crate::truth::Truth;

type Shared = State<Arc<AppState>>;

/// More nodes than any screen has pixels for; bounds the answer to some 10 MB.
pub(super) const MAX_NODES: usize = 1_000_000;
/// Buckets of a timeline when nobody asks for a step.
const DEFAULT_BUCKETS: i64 = 300;
/// Groups of a timeline when nobody asks for a number, and at most.
pub(super) const DEFAULT_TOP: usize = 8;
pub(super) const MAX_TOP: usize = 100;
/// Files behind a reason that an answer names when nobody asks for a number.
const DEFAULT_BEHIND: usize = 10;
/// Values of a label that an answer names.
const MAX_VALUES: usize = 1000;

/// `GET /api/v1/status`
pub(super) async fn status(State(state): Shared, params: Params) -> Result<Json<Value>, ApiError> {
    params.only(&[])?;
    let data = {
        let state = state.clone();
        tokio::task::spawn_blocking(move || (state.beginning.of(&state.store, now_ms()), state.store.stats()))
    };
    let (span, stats) = data.await.map_err(|error| {
        ApiError::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, format!("no status: {error}"))
    })?;
    let agent = state.agent.as_ref().map(|agent| agent.status());
    Ok(Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "host": state.host,
        "now_ms": now_ms(),
        "started_ms": state.started_ms,
        "frequency_hz": agent.as_ref().map(|agent| agent.frequency_hz),
        "event": agent.as_ref().map(|agent| &agent.event),
        "window_ms": agent.as_ref().map(|agent| agent.window_ms),
        "cpus": state.agent.as_ref().and_then(|agent| agent.cpus()),
        "origins": state.origins,
        "takes_marks": state.names.are_local() && state.store.is_writer(),
        "exact_from_ms": stats.exact_from_ms,
        "data": {
            "from_ms": span.map(|span| span.from_ms),
            "until_ms": span.map(|span| span.until_ms),
            "segments": stats.segments,
            "bytes": stats.bytes,
            "skipped": stats.skipped,
        },
        "agent": agent,
    })))
}

/// `GET /api/v1/size`
pub(super) async fn size(State(state): Shared, params: Params) -> Result<Json<Value>, ApiError> {
    let range = params.only(&["from", "until"])?.range(now_ms())?;
    let store = state.store.clone();
    let found = tokio::task::spawn_blocking(move || store.size_of(range)).await;
    let (segments, bytes) = found.map_err(|error| {
        ApiError::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, format!("no size: {error}"))
    })??;
    Ok(Json(json!({ "segments": segments, "bytes": bytes })))
}

/// `GET /api/v1/timeline`
pub(super) async fn timeline(State(state): Shared, params: Params) -> Result<Response, ApiError> {
    let params = params.only(&["query", "from", "until", "by", "step_ms", "top"])?;
    let (selector, range, by) = (params.selector()?, params.range(now_ms())?, params.by()?);
    let step_ms = params.step_ms()?.unwrap_or(default_step_ms(range));
    let top = params.number("top", MAX_TOP)?.unwrap_or(DEFAULT_TOP);
    let body = run(&state, Kind::Timeline, move |state, store| {
        let timeline = store.timeline(&selector, range, step_ms, by.name(), top)?;
        state.counters.skipped(timeline.skipped.len());
        into_bytes(state.limits.answer_bytes, |out| Ok(serde_json::to_writer(out, &timeline)?))
    });
    Ok(json_body(body.await?))
}

/// The length of a bucket when nobody asks for one.
pub(super) fn default_step_ms(range: TimeRange) -> i64 {
    (range.len_ms() / DEFAULT_BUCKETS).max(1)
}

/// `GET /api/v1/flame`
pub(super) async fn flame(State(state): Shared, params: Params) -> Result<Response, ApiError> {
    let known =
        ["query", "from", "until", "by", "format", "max_nodes", "offset_from_ms", "offset_until_ms", "part"];
    let params = params.only(&known)?;
    let (selector, range, by) = (params.selector()?, params.range(now_ms())?, params.by()?);
    let offsets = params.offsets()?;
    let max_nodes = params.number("max_nodes", MAX_NODES)?.unwrap_or(DEFAULT_MAX_NODES);
    let in_columns = match params.text("format") {
        None | Some("json") => false,
        Some("columns") => true,
        Some(other) => {
            let other: String = other.chars().take(64).collect();
            return Err(ApiError::bad_request(format!("unknown format `{other}`: use json or columns")));
        }
    };
    let body = run(&state, Kind::Flame, move |state, store| {
        // Before the query: it tells of no data that the answer cannot have.
        let data = state.beginning.of(store, now_ms());
        let store = store.with_offsets(offsets);
        if !in_columns {
            return flame_json(state, &store, &selector, range, &by, max_nodes);
        }
        let (sums, mut tree, skipped) = flame_tree(state, &store, &selector, range, &by, max_nodes)?;
        tree.widest_first();
        into_bytes(state.limits.answer_bytes, |out| flame_columns(&sums.facts, &tree, &skipped, data, out))
    });
    let body = body.await?;
    if in_columns {
        return Ok(([(header::CONTENT_TYPE, HeaderValue::from_static(COLUMNS_MIME))], body).into_response());
    }
    Ok(json_body(body))
}

/// `GET /api/v1/truth`
pub(super) async fn truth(State(state): Shared, params: Params) -> Result<Response, ApiError> {
    let params =
        params.only(&["query", "from", "until", "top", "offset_from_ms", "offset_until_ms", "part"])?;
    let (selector, range, offsets) = (params.selector()?, params.range(now_ms())?, params.offsets()?);
    let top = params.number("top", MAX_TOP)?.unwrap_or(DEFAULT_BEHIND);
    let body = run(&state, Kind::Truth, move |state, store| {
        let by = GroupBy::default();
        let Answer { profile, skipped, .. } =
            answer_by(state, &store.with_offsets(offsets), &selector, range, &by)?;
        let truth = Truth::new(&profile, top);
        let (from_ms, until_ms) = (profile.start_ms, profile.end_ms);
        let json = TruthJson { from_ms, until_ms, period_ns: period_ns(&profile), truth, skipped: &skipped };
        into_bytes(state.limits.answer_bytes, |out| Ok(serde_json::to_writer(out, &json)?))
    });
    Ok(json_body(body.await?))
}

#[derive(Serialize)]
struct TruthJson<'a> {
    from_ms: i64,
    until_ms: i64,
    period_ns: i64,
    #[serde(flatten)]
    truth: Truth,
    skipped: &'a [Skipped],
}

/// `GET /api/v1/labels`
pub(super) async fn labels(State(state): Shared, params: Params) -> Result<Json<Value>, ApiError> {
    let params = params.only(&["query", "from", "until", "prefix"])?;
    let (selector, range) = (params.selector()?, params.range(now_ms())?);
    let mut names =
        run(&state, Kind::Labels, move |_, store| Ok(store.label_names(&selector, range)?)).await?;
    names.retain(|name| name.starts_with(params.text("prefix").unwrap_or_default()));
    Ok(Json(json!({ "labels": names })))
}

/// `GET /api/v1/labels/{name}/values`
pub(super) async fn values(
    State(state): Shared,
    Path(name): Path<String>,
    params: Params,
) -> Result<Json<Value>, ApiError> {
    let params = params.only(&["query", "from", "until", "prefix"])?;
    let (selector, range) = (params.selector()?, params.range(now_ms())?);
    let label: GroupBy =
        name.parse().map_err(|error: flame::BadLabel| ApiError::bad_request(error.to_string()))?;
    let mut values =
        run(&state, Kind::Labels, move |_, store| Ok(store.label_values(label.name(), &selector, range)?))
            .await?;
    values.retain(|(value, _)| value.starts_with(params.text("prefix").unwrap_or_default()));
    let truncated = values.len() > MAX_VALUES;
    values.truncate(MAX_VALUES);
    let values: Vec<_> =
        values.into_iter().map(|(value, samples)| json!({ "value": value, "samples": samples })).collect();
    Ok(Json(json!({ "values": values, "truncated": truncated })))
}

/// `GET /api/v1/query`
pub(super) async fn query(State(state): Shared, params: Params) -> Result<Response, ApiError> {
    let known =
        ["query", "from", "until", "by", "format", "max_nodes", "offset_from_ms", "offset_until_ms", "part"];
    let params = params.only(&known)?;
    let format = Format::from_name(params.text("format").unwrap_or(Format::Json.name()))
        .map_err(|error| ApiError::bad_request(error.to_string()))?;
    let range = params.range(now_ms())?;
    export(&state, &params, range, format).await
}

/// `GET /pprof`
pub(super) async fn pprof(State(state): Shared, params: Params) -> Result<Response, ApiError> {
    let params = params.only(&["query", "from", "until", "seconds"])?;
    let now_ms = now_ms();
    // A century of seconds: longer ago there is nothing.
    let range = match params.number("seconds", 3_200_000_000i64)? {
        Some(_) if params.text("from").or(params.text("until")).is_some() => {
            return Err(ApiError::bad_request("give either seconds, or from and until"));
        }
        Some(seconds) => TimeRange::new((now_ms - seconds * 1000).max(0), now_ms)?,
        None => params.range(now_ms)?,
    };
    export(&state, &params, range, Format::Pprof).await
}

async fn export(
    state: &Arc<AppState>,
    params: &Params,
    range: TimeRange,
    format: Format,
) -> Result<Response, ApiError> {
    let (selector, by, offsets) = (params.selector()?, params.by()?, params.offsets()?);
    let max_nodes = params.number("max_nodes", MAX_NODES)?.unwrap_or(DEFAULT_MAX_NODES);
    let body = run(state, Kind::Export, move |state, store| {
        let store = store.with_offsets(offsets);
        if format == Format::Json {
            return flame_json(state, &store, &selector, range, &by, max_nodes);
        }
        let answer = answer(state, &store, &selector, range, format.keep(&by))?;
        let title = match selector.text().trim() {
            "" => "Vesta: everything".to_owned(),
            text => format!("Vesta: {text}"),
        };
        let options = RenderOptions { by, title, max_nodes, ..RenderOptions::default() };
        into_bytes(state.limits.answer_bytes, |out| format.write(&answer.profile, &options, out))
    });
    let mut response = body.await?.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.mime()));
    if !matches!(format, Format::Json | Format::Top | Format::TopJson) {
        attach(headers, format, range);
    }
    if format == Format::Svg {
        // Its script makes it interactive; it may do nothing else, and not as us.
        let policy = "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'";
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    }
    Ok(response)
}

fn attach(headers: &mut HeaderMap, format: Format, range: TimeRange) {
    let name = format!("vesta-{}-{}.{}", range.from_ms / 1000, range.until_ms / 1000, format.extension());
    if let Ok(value) = HeaderValue::try_from(format!("attachment; filename=\"{name}\"")) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
}

fn answer(
    state: &AppState,
    store: &Store,
    selector: &Selector,
    range: TimeRange,
    keep: Keep,
) -> Result<Answer, ApiError> {
    let answer = store.query(selector, range, keep)?;
    state.counters.skipped(answer.skipped.len());
    Ok(answer)
}

/// The same, of which only the labels that trees and tables group by are wanted.
pub(super) fn answer_by(
    state: &AppState,
    store: &Store,
    selector: &Selector,
    range: TimeRange,
    by: &GroupBy,
) -> Result<Answer, ApiError> {
    let answer = store.query_by(selector, range, by.name())?;
    state.counters.skipped(answer.skipped.len());
    Ok(answer)
}

/// The flame tree of what is selected, with what it was made of and the segments left out.
fn flame_tree(
    state: &AppState,
    store: &Store,
    selector: &Selector,
    range: TimeRange,
    by: &GroupBy,
    max_nodes: usize,
) -> Result<(FunctionTree, FlameTree, Vec<Skipped>), ApiError> {
    let by_value = |facts: &Profile| Weight::of(facts) == Weight::Values;
    let (sums, reading) = store.function_tree(selector, range, by.name(), max_nodes, by_value)?;
    state.counters.skipped(reading.skipped.len());
    let tree = flame::build_summed(&sums);
    Ok((sums, tree, reading.skipped))
}

fn flame_json(
    state: &AppState,
    store: &Store,
    selector: &Selector,
    range: TimeRange,
    by: &GroupBy,
    max_nodes: usize,
) -> Result<Vec<u8>, ApiError> {
    let (sums, tree, skipped) = flame_tree(state, store, selector, range, by, max_nodes)?;
    let json = FlameJson::new(&sums.facts, &tree, &skipped);
    into_bytes(state.limits.answer_bytes, |out| Ok(serde_json::to_writer(out, &json)?))
}

pub(super) fn json_body(body: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}
