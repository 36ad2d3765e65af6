//! For machines that watch machines: `/healthz` and `/metrics`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::AppState;
use super::error::ApiError;

/// `GET /healthz`: whether the store can be read.
pub(super) async fn healthz(State(state): State<Arc<AppState>>) -> Response {
    let store = state.store.clone();
    let reason = match tokio::task::spawn_blocking(move || store.segments().map(drop)).await {
        Ok(Ok(())) => return "ok\n".into_response(),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    (StatusCode::SERVICE_UNAVAILABLE, format!("the store cannot be read: {reason}\n")).into_response()
}

/// `GET /metrics`: the agent's figures, then the server's.
pub(super) async fn metrics(State(state): State<Arc<AppState>>) -> Result<Response, ApiError> {
    let store = state.store.clone();
    let stats = tokio::task::spawn_blocking(move || store.stats()).await.map_err(|error| {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, format!("no figures of the store: {error}"))
    })?;
    let mut text = state.agent.as_ref().map(|agent| agent.metrics()).unwrap_or_default();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    let running = state.limits.queries - state.permits.available_permits();
    text.push_str(&state.counters.prometheus(&stats, running));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}
