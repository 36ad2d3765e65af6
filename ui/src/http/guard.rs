//! What every request and answer goes through: the Host check, and headers that keep browsers strict.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::AppState;
use super::error::ApiError;

/// Everything the page needs comes from here; nothing may frame it.
const POLICY: &str =
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'";

/// Keeps pages of other origins from embedding answers.
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Which names a request may call the server by.
///
/// A page of any site can make its own name resolve to 127.0.0.1 and then read from us as if we were that
/// site (DNS rebinding); but the browser still sends that name. A server that listens on other addresses is
/// known by names we cannot know, and is open to the network anyway.
#[derive(Clone, Debug)]
pub(super) struct Names(Option<Vec<String>>);

impl Names {
    pub(super) fn new(bound: SocketAddr, others: &[String]) -> Self {
        let bound = bound.ip().to_canonical();
        if !bound.is_loopback() {
            return Self(None);
        }
        let bound = match bound {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        let fixed = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned);
        let others = others.iter().map(|name| name.to_ascii_lowercase());
        Self(Some(fixed.into_iter().chain([bound]).chain(others).collect()))
    }

    /// Whether it listens on this machine only.
    pub(super) fn are_local(&self) -> bool {
        self.0.is_some()
    }

    fn accept(&self, host: Option<&str>) -> bool {
        let Some(names) = &self.0 else { return true };
        let Some(host) = host else { return false };
        // The port may be another one: a tunnel's.
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let name = name.to_ascii_lowercase();
        names.contains(&name)
    }
}

/// Refuses requests under a foreign name.
pub(super) async fn check_host(State(state): State<Arc<AppState>>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let host = request.uri().authority().map(|authority| authority.as_str()).or(host);
    if state.names.accept(host) {
        return next.run(request).await;
    }
    ApiError::new(StatusCode::FORBIDDEN, "this server does not go by the name in the Host header")
        .detail("it listens on this machine only: use localhost or 127.0.0.1")
        .into_response()
}

/// Adds the headers that every answer has, unless it has its own.
pub(super) async fn add_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (CROSS_ORIGIN_RESOURCE_POLICY, "same-origin"),
        // What is asked is about now; a copy would be about then.
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loopback_server_goes_by_its_own_names_only() {
        let names = Names::new("127.0.0.2:7171".parse().unwrap(), &["Vesta.internal".to_owned()]);
        for host in [
            "localhost",
            "LOCALHOST:7171",
            "127.0.0.1",
            "127.0.0.2:80",
            "[::1]",
            "[::1]:7171",
            "vesta.internal:7171",
        ] {
            assert!(names.accept(Some(host)), "{host}");
        }
        for host in
            ["evil.example", "127.0.0.1.evil.example:7171", "localhost.evil.example", "", "[::2]:1", ":7171"]
        {
            assert!(!names.accept(Some(host)), "{host}");
        }
        assert!(!names.accept(None));
    }

    #[test]
    fn a_server_open_to_the_network_goes_by_any_name() {
        let names = Names::new("0.0.0.0:7171".parse().unwrap(), &[]);
        assert!(names.accept(Some("web-01.example:7171")) && names.accept(None));
    }
}
