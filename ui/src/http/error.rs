//! Errors as answers: JSON, or plain text where a program shows them to its user as they are.

use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// What went wrong with a request.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ApiError {
    #[serde(skip)]
    status: StatusCode,
    /// One sentence.
    error: String,
    /// More about it, maybe several lines; may be empty.
    detail: String,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: error.into(), detail: String::new() }
    }

    pub(super) fn bad_request(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    /// About something that the client wrote: a sentence, then the text with a caret under the place.
    fn with_place(error: &dyn std::fmt::Display) -> Self {
        let text = error.to_string();
        let (sentence, place) = text.split_once('\n').unwrap_or((&text, ""));
        Self::bad_request(sentence).detail(place)
    }

    pub(super) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    fn text(&self) -> String {
        match self.detail.as_str() {
            "" => format!("{}\n", self.error),
            detail => format!("{}\n{detail}\n", self.error),
        }
    }
}

impl From<store::Error> for ApiError {
    fn from(error: store::Error) -> Self {
        let status = match error {
            store::Error::Sql(error) => return Self::with_place(&error),
            store::Error::NoSql => StatusCode::NOT_IMPLEMENTED,
            store::Error::TooLarge { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            // It took too long: nobody sees another reason, for nobody waits.
            store::Error::Cancelled => StatusCode::GATEWAY_TIMEOUT,
            _ => {
                tracing::error!(%error, "a query failed");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        Self::new(status, error.to_string())
    }
}

impl From<store::SelectorError> for ApiError {
    fn from(error: store::SelectorError) -> Self {
        Self::with_place(&error)
    }
}

impl From<store::TimeError> for ApiError {
    fn from(error: store::TimeError) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(&self)).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        // For `plain_where_asked`, which knows the request.
        response.extensions_mut().insert(self);
        response
    }
}

/// By this header `go tool pprof` tells an answer whose text it may show.
const X_GO_PPROF: HeaderName = HeaderName::from_static("x-go-pprof");

/// Makes errors plain text for requests that ask for a file, not for JSON.
pub(super) async fn plain_where_asked(request: Request, next: Next) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let file = ["format=pprof", "format=folded", "format=svg", "format=top", "format=perf-script"];
    let plain = request.uri().path() == "/pprof"
        || request.headers().contains_key(X_GO_PPROF)
        || query.split('&').any(|pair| file.contains(&pair));
    let response = next.run(request).await;
    match response.extensions().get::<ApiError>() {
        Some(error) if plain => {
            let text = error.text();
            let mut plain = (error.status, text).into_response();
            if let Some(retry) = response.headers().get(header::RETRY_AFTER) {
                plain.headers_mut().insert(header::RETRY_AFTER, retry.clone());
            }
            plain.headers_mut().insert(X_GO_PPROF, HeaderValue::from_static("1"));
            plain
        }
        _ => response,
    }
}

/// The answer to a path that is none of ours.
pub(super) async fn not_found(request: Request) -> ApiError {
    let path: String = request.uri().path().chars().take(200).collect();
    ApiError::new(StatusCode::NOT_FOUND, format!("there is nothing at {path}"))
}

/// The answer to another method than GET and HEAD, or POST where a file is taken.
pub(super) async fn method_not_allowed() -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "this address does not take this method")
}
