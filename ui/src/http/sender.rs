//! Who may change something: what asks for more than answers comes from this machine, and from no page but ours.
//!
//! There is no authentication. A browser sends requests of any page to us, too, but not of the content types that
//! are asked for here without asking first, which nobody allows; and it says whose page it is.

use axum::http::{HeaderMap, HeaderName, StatusCode, header};

use super::AppState;
use super::error::ApiError;

/// How the page that sends a request relates to us, as the browser sees it.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses pages of other origins, and bodies of another type than `kind`.
pub(super) fn check_page(headers: &HeaderMap, kind: &'static str) -> Result<(), ApiError> {
    check_origin(headers)?;
    // `application/json; charset=utf-8` is as little a form's type as without.
    let essence = text(headers, header::CONTENT_TYPE).and_then(|of| of.split(';').next()).unwrap_or_default();
    if essence.trim().eq_ignore_ascii_case(kind) {
        return Ok(());
    }
    let sentence = format!("send the body with Content-Type: {kind}");
    Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, sentence))
}

/// Refuses changes by other machines, and by pages of other origins.
pub(super) fn check_change(state: &AppState, headers: &HeaderMap) -> Result<(), ApiError> {
    check_local(state)?;
    check_origin(headers)
}

/// Refuses changes where other machines can reach the server.
pub(super) fn check_local(state: &AppState) -> Result<(), ApiError> {
    if state.names.are_local() {
        return Ok(());
    }
    let sentence = "changes are taken only by a server that listens on loopback: there is no authentication";
    Err(ApiError::new(StatusCode::FORBIDDEN, sentence))
}

/// Refuses pages of other origins. The Host header has been checked already.
pub(super) fn check_origin(headers: &HeaderMap) -> Result<(), ApiError> {
    let refused = Err(ApiError::new(StatusCode::FORBIDDEN, "this is not taken from pages of another origin"));
    if text(headers, SEC_FETCH_SITE).is_some_and(|site| site != "same-origin" && site != "none") {
        return refused;
    }
    if !headers.contains_key(header::ORIGIN) {
        return Ok(());
    }
    let own = text(headers, header::HOST);
    let origin = text(headers, header::ORIGIN).and_then(|origin| origin.split_once("://"));
    match origin {
        Some(("http" | "https", authority)) if Some(authority) == own => Ok(()),
        _ => refused,
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(pairs: &[(&'static str, &'static str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        check_origin(&headers).is_ok()
    }

    #[test]
    fn only_programs_and_our_own_page_change_anything() {
        let host = ("host", "127.0.0.1:7171");
        assert!(allowed(&[host]));
        assert!(allowed(&[host, ("origin", "http://127.0.0.1:7171")]));
        assert!(allowed(&[host, ("origin", "https://127.0.0.1:7171"), ("sec-fetch-site", "same-origin")]));
        assert!(allowed(&[host, ("sec-fetch-site", "none")]));
        for origin in [
            "https://evil.example",
            "http://127.0.0.1:7172",
            "http://localhost:7171",
            "null",
            "",
            "127.0.0.1:7171",
            "file://127.0.0.1:7171",
            "http://127.0.0.1:7171.evil.example",
        ] {
            assert!(!allowed(&[host, ("origin", origin)]), "{origin}");
        }
        assert!(!allowed(&[("origin", "http://127.0.0.1:7171")]), "no host at all");
        for site in ["cross-site", "same-site"] {
            assert!(!allowed(&[host, ("sec-fetch-site", site)]), "{site}");
        }
    }
}
