//! What users leave: annotations and pinned ranges, which are kept beyond retention, and links to long states of the page.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use store::{AnnotationKind, TimeRange, parse_time};

use super::counters::Kind;
use super::error::ApiError;
use super::params::Params;
use super::run::run;
use super::sender::{check_change, check_page};
use super::{AppState, now_ms};

type Shared = State<Arc<AppState>>;

/// Bytes of a body: a text of the longest kind, every byte of it escaped.
const BODY_BYTES: usize = 16 << 10;
/// The same of a link: the longest state, every quote of it escaped.
const LINK_BYTES: usize = 132 << 10;

/// A time in a body: as in the query string, or Unix milliseconds.
#[derive(Deserialize)]
#[serde(untagged)]
enum Time {
    Ms(i64),
    Text(String),
}

impl Time {
    fn ms(&self) -> Result<i64, ApiError> {
        match self {
            Self::Ms(ms) => Ok(*ms),
            Self::Text(text) => Ok(parse_time(text, now_ms())?),
        }
    }
}

/// `GET /api/v1/annotations`
pub(super) async fn annotations(State(state): Shared, params: Params) -> Result<Json<Value>, ApiError> {
    let range = params.only(&["from", "until"])?.range(now_ms())?;
    let found = run(&state, Kind::Marks, move |_, store| Ok(store.annotations(range)?)).await?;
    Ok(Json(json!({ "annotations": found })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewAnnotation {
    time: Option<Time>,
    #[serde(default)]
    kind: AnnotationKind,
    text: String,
}

/// `POST /api/v1/annotations`
pub(super) async fn annotate(
    State(state): Shared,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    params.only(&[])?;
    let new: NewAnnotation = posted(&state, &headers, body, BODY_BYTES).await?;
    let time_ms = new.time.as_ref().map_or_else(|| Ok(now_ms()), Time::ms)?;
    let kept = run(&state, Kind::Marks, move |_, store| {
        store.annotate(time_ms, new.kind, &new.text).map_err(refused)
    });
    Ok(Json(json!(kept.await?)))
}

/// `DELETE /api/v1/annotations/{id}`
pub(super) async fn unannotate(
    State(state): Shared,
    Path(id): Path<String>,
    params: Params,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    params.only(&[])?;
    check_change(&state, &headers)?;
    gone(run(&state, Kind::Marks, move |_, store| store.unannotate(&id).map_err(refused)).await?)
}

/// `GET /api/v1/pins`
pub(super) async fn pins(State(state): Shared, params: Params) -> Result<Json<Value>, ApiError> {
    params.only(&[])?;
    let pins = run(&state, Kind::Marks, |_, store| Ok(store.pins()?)).await?;
    Ok(Json(json!({ "pins": pins })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPin {
    from: Time,
    until: Time,
    #[serde(default)]
    note: String,
}

/// `POST /api/v1/pins`
pub(super) async fn pin(
    State(state): Shared,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    params.only(&[])?;
    let new: NewPin = posted(&state, &headers, body, BODY_BYTES).await?;
    let range = TimeRange::new(new.from.ms()?, new.until.ms()?)?;
    let kept = run(&state, Kind::Marks, move |_, store| store.pin(range, &new.note).map_err(refused));
    Ok(Json(json!(kept.await?)))
}

/// `DELETE /api/v1/pins/{id}`
pub(super) async fn unpin(
    State(state): Shared,
    Path(id): Path<String>,
    params: Params,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    params.only(&[])?;
    check_change(&state, &headers)?;
    gone(run(&state, Kind::Marks, move |_, store| store.unpin(&id).map_err(refused)).await?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewLink {
    state: String,
}

/// `POST /api/v1/links`
pub(super) async fn link(
    State(state): Shared,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    params.only(&[])?;
    let new: NewLink = posted(&state, &headers, body, LINK_BYTES).await?;
    let kept = run(&state, Kind::Marks, move |_, store| store.keep_link(&new.state).map_err(refused));
    Ok(Json(json!(kept.await?)))
}

/// `GET /api/v1/links/{id}`
pub(super) async fn linked(
    State(state): Shared,
    Path(id): Path<String>,
    params: Params,
) -> Result<Json<Value>, ApiError> {
    params.only(&[])?;
    match run(&state, Kind::Marks, move |_, store| Ok(store.link(&id)?)).await? {
        Some(link) => Ok(Json(json!(link))),
        None => {
            let sentence = "this link leads to nothing (any more): what it stood for is not kept here";
            Err(ApiError::new(StatusCode::NOT_FOUND, sentence))
        }
    }
}

/// The JSON that a client that may change something has sent.
async fn posted<T: DeserializeOwned>(
    state: &AppState,
    headers: &HeaderMap,
    body: Body,
    max_bytes: usize,
) -> Result<T, ApiError> {
    check_change(state, headers)?;
    check_page(headers, "application/json")?;
    let bytes = to_bytes(body, max_bytes).await.map_err(|error| {
        let sentence = format!("the body cannot be read, or is larger than {} KiB", max_bytes >> 10);
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, sentence).detail(error.to_string())
    })?;
    serde_json::from_slice(&bytes).map_err(|error| {
        ApiError::bad_request("the body is not the JSON that is expected here").detail(error.to_string())
    })
}

/// What the client asked for and the store does not keep is the client's error.
fn refused(error: store::Error) -> ApiError {
    match error {
        store::Error::Unstorable(reason) => ApiError::bad_request(reason),
        store::Error::ReadOnly(_) => ApiError::new(
            StatusCode::CONFLICT,
            "this server only reads its data directory: no agent runs in it",
        ),
        error => error.into(),
    }
}

fn gone(was_there: bool) -> Result<StatusCode, ApiError> {
    if was_there {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(ApiError::new(StatusCode::NOT_FOUND, "there is nothing of this id"))
}
