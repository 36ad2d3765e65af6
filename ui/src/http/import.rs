//! `POST /api/v1/import`: a profile of another tool into the store; docs/api.md is its contract.
//!
//! The one address that changes anything. There is no authentication, so it takes files from this machine only,
//! and from no page: a browser sends pages' requests to us too, but not of this content type without asking
//! first, and never without saying whose page it is.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use super::counters::Kind;
use super::error::ApiError;
use super::params::Params;
use super::run::run;
use super::{AppState, now_ms};
use crate::import::{self, ImportError, Options};

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
    check_sender(&state, &headers)?;
    let options = Options {
        labels: params.labels()?,
        start_ms: params.text("time").map(|text| store::parse_time(text, now_ms())).transpose()?,
        event: params.text("event").map(str::to_owned),
        now_ms: now_ms(),
        limits: LIMITS,
    };
    // Files are held in memory, so one at a time, until it is done even if nobody waits for it any more.
    let Ok(alone) = state.imports.clone().try_acquire_owned() else {
        return Err(ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "another file is being imported; try again",
        ));
    };
    let limit = state.limits.import_bytes;
    let bytes = match tokio::time::timeout(BODY_TIME, to_bytes(body, limit)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(error)) => {
            let sentence = format!("the file cannot be read, or is larger than {} MiB", limit >> 20);
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, sentence).detail(error.to_string()));
        }
        Err(_) => return Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "the file took too long to arrive")),
    };
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

/// Refuses other machines and pages.
fn check_sender(state: &AppState, headers: &HeaderMap) -> Result<(), ApiError> {
    let refused = |sentence: &str| Err(ApiError::new(StatusCode::FORBIDDEN, sentence));
    if !state.names.are_local() {
        return refused(
            "files are taken only by a server that listens on loopback: there is no authentication",
        );
    }
    if headers.contains_key(header::ORIGIN) {
        return refused("files are not taken from pages");
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if content_type != Some("application/octet-stream") {
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send the file with Content-Type: application/octet-stream",
        ));
    }
    Ok(())
}

impl From<ImportError> for ApiError {
    fn from(error: ImportError) -> Self {
        Self::bad_request(format!("the file is not imported: {error}"))
    }
}
