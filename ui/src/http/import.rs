//! Profiles of other tools: `POST /api/v1/import` takes one into the store, from this machine and from no page;
//! `POST /api/v1/convert` answers with it in another form and keeps nothing. docs/api.md is their contract.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::api::MAX_NODES;
use super::counters::Kind;
use super::error::ApiError;
use super::params::Params;
use super::run::{into_bytes, run};
use super::sender::{check_local, check_page};
use super::{AppState, now_ms};
use crate::flame;
use crate::import::{self, ImportError, Options};
use crate::render::{DEFAULT_MAX_NODES, FlameJson, Format, RenderOptions};

/// What files are sent as.
const TYPE: &str = "application/octet-stream";
/// How long a client may take to send a file.
const BODY_TIME: Duration = Duration::from_secs(60);
/// What a file may become in memory, unpacked and as a profile.
const LIMITS: import::Limits = import::Limits { file_bytes: 512 << 20, memory_bytes: 256 << 20 };

/// `POST /api/v1/import`
pub(super) async fn import(
    State(state): State<Arc<AppState>>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let params = params.only(&["label", "time", "event"])?;
    check_local(&state)?;
    if headers.contains_key(header::ORIGIN) {
        return Err(ApiError::new(StatusCode::FORBIDDEN, "files are not taken from pages"));
    }
    check_page(&headers, TYPE)?;
    let options = options(&params)?;
    let (alone, bytes) = received(&state, body).await?;
    let imported = run(&state, Kind::Import, move |_, store| {
        let profile = import::read(&*bytes, &options)?;
        store.import(&profile)?;
        drop(alone);
        Ok(json!({
            "samples": profile.samples(),
            "events": import::events(&profile),
            "from_ms": profile.start_ms,
            "until_ms": profile.end_ms,
        }))
    });
    Ok(Json(imported.await?))
}

/// `POST /api/v1/convert`
pub(super) async fn convert(
    State(state): State<Arc<AppState>>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let params = params.only(&["label", "time", "event", "by", "format", "max_nodes"])?;
    check_page(&headers, TYPE)?;
    let (options, by) = (options(&params)?, params.by()?);
    let format = Format::from_name(params.text("format").unwrap_or(Format::Json.name()))
        .map_err(|error| ApiError::bad_request(error.to_string()))?;
    let max_nodes = params.number("max_nodes", MAX_NODES)?.unwrap_or(DEFAULT_MAX_NODES);
    let (alone, bytes) = received(&state, body).await?;
    let body = run(&state, Kind::Convert, move |state, _| {
        let mut imported = import::read_file(&*bytes, &options)?;
        drop(bytes);
        if !format.tells_events() {
            imported.keep_one_event();
        }
        let profile = imported.profile;
        let written = into_bytes(state.limits.answer_bytes, |out| {
            if format != Format::Json {
                let options = RenderOptions { by, max_nodes, ..RenderOptions::default() };
                return format.write(&profile, &options, out);
            }
            let mut tree = flame::build(&profile, &by);
            tree.prune(max_nodes);
            Ok(serde_json::to_writer(out, &FlameJson::new(&profile, &tree, &[]))?)
        });
        drop(alone);
        written
    });
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static(format.mime()))];
    Ok((kind, body.await?).into_response())
}

fn options(params: &Params) -> Result<Options, ApiError> {
    Ok(Options {
        labels: params.labels()?,
        start_ms: params.text("time").map(|text| store::parse_time(text, now_ms())).transpose()?,
        event: params.text("event").map(str::to_owned),
        now_ms: now_ms(),
        limits: LIMITS,
    })
}

/// A file as it was sent. Files are held in memory, so one at a time, until it is done even if nobody waits for it
/// any more: that is when the permit is dropped.
async fn received(
    state: &AppState,
    body: Body,
) -> Result<(OwnedSemaphorePermit, axum::body::Bytes), ApiError> {
    let Ok(alone) = state.imports.clone().try_acquire_owned() else {
        return Err(ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "another file is being imported; try again",
        ));
    };
    let limit = state.limits.import_bytes;
    match tokio::time::timeout(BODY_TIME, to_bytes(body, limit)).await {
        Ok(Ok(bytes)) => Ok((alone, bytes)),
        Ok(Err(error)) => {
            let sentence = format!("the file cannot be read, or is larger than {} MiB", limit >> 20);
            Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, sentence).detail(error.to_string()))
        }
        Err(_) => Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "the file took too long to arrive")),
    }
}

impl From<ImportError> for ApiError {
    fn from(error: ImportError) -> Self {
        Self::bad_request(format!("the file is not imported: {error}"))
    }
}
