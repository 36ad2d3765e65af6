//! `GET` and `POST /api/v1/sql`: one statement that only reads; docs/api.md is its contract.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use store::sql::{DEFAULT_ROWS, MAX_STATEMENT_BYTES};

use super::AppState;
use super::api::json_body;
use super::counters::Kind;
use super::error::ApiError;
use super::params::Params;
use super::run::{into_bytes, run};
use super::sender::check_origin;

type Shared = State<Arc<AppState>>;

/// Rows of an answer at most, which is made in memory.
const MAX_ROWS: usize = 100_000;
/// How long a client may take to send a statement.
const BODY_TIME: Duration = Duration::from_secs(10);

/// `GET /api/v1/sql`
pub(super) async fn get(State(state): Shared, params: Params) -> Result<Response, ApiError> {
    let params = params.only(&["sql", "rows"])?;
    let statement =
        params.text("sql").ok_or_else(|| ApiError::bad_request("the parameter `sql` is missing"))?;
    answer(&state, statement.to_owned(), &params).await
}

/// `POST /api/v1/sql`: the body is the statement.
pub(super) async fn post(
    State(state): Shared,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    check_origin(&headers)?;
    let params = params.only(&["rows"])?;
    let too_large = |_| {
        let sentence = format!("a statement has at most {} KiB", MAX_STATEMENT_BYTES >> 10);
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, sentence)
    };
    let body = tokio::time::timeout(BODY_TIME, to_bytes(body, MAX_STATEMENT_BYTES)).await;
    let too_slow = |_| ApiError::new(StatusCode::REQUEST_TIMEOUT, "the statement took too long to arrive");
    let bytes = body.map_err(too_slow)?.map_err(too_large)?;
    let not_text = |_| ApiError::bad_request("the statement is not UTF-8");
    let statement = String::from_utf8(bytes.into()).map_err(not_text)?;
    answer(&state, statement, &params).await
}

async fn answer(state: &Arc<AppState>, statement: String, params: &Params) -> Result<Response, ApiError> {
    let rows = params.number("rows", MAX_ROWS)?.unwrap_or(DEFAULT_ROWS);
    let body = run(state, Kind::Sql, move |state, store| {
        let answer = store.sql(&statement, rows)?;
        state.counters.skipped(answer.skipped.len());
        into_bytes(state.limits.answer_bytes, |out| Ok(serde_json::to_writer(out, &answer)?))
    });
    Ok(json_body(body.await?))
}
