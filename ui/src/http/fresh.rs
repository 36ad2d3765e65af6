//! Answers about ranges that have ended are cached by what they are made of: a client that has one asks whether it
//! is still right, and is told so without the query being run again.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use rustc_hash::FxHasher;
use store::{TimeRange, parse_time};

use super::{AppState, now_ms};

/// Adds a tag to good answers whose range is given by absolute times that have passed, and answers 304 where the
/// client has the same tag.
pub(super) async fn tag(State(state): State<Arc<AppState>>, request: Request, next: Next) -> Response {
    let Some(range) = closed_range(request.uri(), now_ms()) else { return next.run(request).await };
    let store = state.store.clone();
    // Before the query: what comes in between makes the tag old, not the answer.
    let found = tokio::task::spawn_blocking(move || (store.fingerprint(range), store.span())).await;
    let Ok((Ok(Some(fingerprint)), data)) = found else { return next.run(request).await };
    // Some answers say which part of the range there is data around.
    let within = data.map(|data| (data.from_ms.max(range.from_ms), data.until_ms.min(range.until_ms)));
    let tag = tag_of(request.uri(), fingerprint, within);
    let headers =
        [(header::ETAG, tag.clone()), (header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"))];
    if has(request.headers(), &tag) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    let mut response = next.run(request).await;
    if response.status() == StatusCode::OK {
        response.headers_mut().extend(headers);
    }
    response
}

/// From the first to the last time that a request names, if all of them are absolute and have passed.
fn closed_range(uri: &Uri, now_ms: i64) -> Option<TimeRange> {
    let query = uri.query()?;
    let times: Vec<(&str, i64)> = query.split('&').filter_map(|pair| time(pair, now_ms)).collect();
    let all = |suffix: &str| -> Vec<i64> {
        let named = times.iter().filter(|(name, _)| name.ends_with(suffix));
        named.map(|(_, time)| *time).collect()
    };
    let (from, until) = (all("from"), all("until"));
    let named = query.split('&').filter(|pair| is_time(pair)).count();
    if named != times.len() || from.is_empty() || from.len() != until.len() {
        return None;
    }
    let (mut from_ms, until_ms) = (*from.iter().min()?, *until.iter().max()?);
    // A comparison that names one range only is with the one before it.
    if uri.path().ends_with("/diff") && from.len() == 1 {
        from_ms = from_ms.saturating_sub(until_ms.saturating_sub(from_ms)).max(0);
    }
    TimeRange::new(from_ms, until_ms).ok().filter(|range| range.until_ms <= now_ms)
}

fn is_time(pair: &str) -> bool {
    ["from=", "until=", "before_from=", "before_until="].iter().any(|name| pair.starts_with(name))
}

/// A parameter that is an absolute time. What is percent-encoded is not looked into: it is asked for anew each time.
fn time(pair: &str, now_ms: i64) -> Option<(&str, i64)> {
    let (name, text) = pair.split_once('=').filter(|_| is_time(pair))?;
    let is_absolute = text.starts_with(|c: char| c.is_ascii_digit());
    is_absolute.then(|| parse_time(text, now_ms).ok()).flatten().map(|time| (name, time))
}

/// A weak tag, as the same answer may come compressed or not.
fn tag_of(uri: &Uri, fingerprint: u64, data: Option<(i64, i64)>) -> HeaderValue {
    let mut hasher = FxHasher::default();
    (uri.path(), uri.query(), fingerprint, data, env!("CARGO_PKG_VERSION")).hash(&mut hasher);
    let text = format!("W/\"{fingerprint:016x}{:016x}\"", hasher.finish());
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("W/\"\""))
}

fn has(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let tags = headers.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok()).unwrap_or_default();
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    tag.to_str().is_ok_and(|tag| tags.split(',').any(|known| opaque(known) == opaque(tag)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ranges_of_absolute_times_that_have_passed_are_closed() {
        let closed = |uri: &str| {
            closed_range(&uri.parse().unwrap(), 100_000).map(|range| (range.from_ms, range.until_ms))
        };
        assert_eq!(closed("/api/v1/flame?from=10&until=20.5&by=x"), Some((10_000, 20_500)));
        assert_eq!(closed("/api/v1/flame?from=1970-01-01T00:00:10Z&until=100"), Some((10_000, 100_000)));
        assert_eq!(closed("/api/v1/diff?from=30&until=40"), Some((20_000, 40_000)));
        assert_eq!(
            closed("/api/v1/diff?from=30&until=40&before_from=1&before_until=2"),
            Some((1_000, 40_000))
        );
        for open in [
            "/api/v1/flame",
            "/api/v1/flame?from=10",
            "/api/v1/flame?from=10&until=now",
            "/api/v1/flame?from=-15m&until=20",
            "/api/v1/flame?from=10&until=101",
            "/api/v1/flame?from=20&until=10",
            "/api/v1/diff?from=30&until=40&before_from=1",
            "/api/v1/diff?from=30&until=40&before_from=-1m&before_until=2",
        ] {
            assert_eq!(closed(open), None, "{open}");
        }
    }
}
