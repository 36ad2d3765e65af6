//! The page, embedded in the binary by the build script.

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::{Embed, EmbeddedFile};

use super::error::not_found;

#[derive(Embed)]
#[folder = "$OUT_DIR/page"]
struct Page;

/// A file of the page; `/` is its `index.html`.
pub(super) async fn page(request: Request) -> Response {
    let path = request.uri().path().trim_start_matches('/');
    // The page's script looks at the path itself.
    let path = if matches!(path, "" | "compare" | "inventory" | "audit") { "index.html" } else { path };
    match Page::get(path) {
        Some(file) => serve(path, &file, request.headers()),
        None => not_found(request).await.into_response(),
    }
}

fn serve(path: &str, file: &EmbeddedFile, asked: &HeaderMap) -> Response {
    let hash = file.metadata.sha256_hash();
    let tag = format!("\"{:032x}\"", u128::from_be_bytes(std::array::from_fn(|i| hash[i])));
    // The build puts a hash of the content into the names below assets/.
    let caching =
        if path.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let headers = [(header::ETAG, tag.clone()), (header::CACHE_CONTROL, caching.to_owned())];
    if known(asked, &tag) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    (headers, [(header::CONTENT_TYPE, mime(path, file))], file.data.clone().into_owned()).into_response()
}

/// Whether the client has this version already.
fn known(asked: &HeaderMap, tag: &str) -> bool {
    let tags = asked.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok()).unwrap_or_default();
    tags.split(',')
        .map(|known| known.trim().trim_start_matches("W/"))
        .any(|known| known == tag || known == "*")
}

fn mime(path: &str, file: &EmbeddedFile) -> String {
    let kind = file.metadata.mimetype();
    match path.rsplit_once('.') {
        Some((_, "html" | "css" | "js" | "txt")) => format!("{kind}; charset=utf-8"),
        _ => kind.to_owned(),
    }
}
