//! The document of the API is about the routes that there are, and the parameters that they take.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::http::openapi::{ENDPOINTS, document};

/// Every `.route("…", get(…).post(…))` of the server's source, as (method, path).
fn routes() -> BTreeSet<(String, String)> {
    let source = include_str!("../mod.rs");
    let calls = source.split(".route(\"").skip(1).map(|call| {
        let (path, rest) = call.split_once('"').unwrap();
        (path, rest.lines().next().unwrap())
    });
    calls
        .flat_map(|(path, handlers)| {
            let methods = ["get", "post", "delete"].into_iter();
            let has = |method: &&str| {
                handlers.contains(&format!(" {method}(")) || handlers.contains(&format!(".{method}("))
            };
            methods.filter(has).map(|method| (method.to_owned(), path.to_owned())).collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn every_route_is_in_the_document_and_nothing_else() {
    let documented: BTreeSet<_> =
        ENDPOINTS.iter().map(|endpoint| (endpoint.method.to_owned(), endpoint.path.to_owned())).collect();
    assert_eq!(documented.len(), ENDPOINTS.len(), "one is documented twice");
    assert_eq!(routes(), documented);
}

#[test]
fn every_documented_address_answers_and_names_the_parameters_it_takes() {
    let server = Server::start(&[two_processes()]);
    for endpoint in &ENDPOINTS {
        let path = endpoint.path.replace("{name}", "process").replace("{id}", "none");
        let kind = if endpoint.path.ends_with("import") || endpoint.path.ends_with("convert") {
            "application/octet-stream"
        } else {
            "application/json"
        };
        let reply = server.send(
            &endpoint.method.to_uppercase(),
            &format!("{path}?nosuch=1"),
            &[("content-type", kind)],
            if endpoint.method == "post" { b"{}" } else { b"" },
        );
        if matches!(endpoint.path, "/healthz" | "/metrics") {
            assert_eq!(reply.status, 200, "{path}");
            continue;
        }
        assert_eq!(reply.status, 400, "{} {path}: {}", endpoint.method, reply.text());
        let text = reply.text();
        assert!(text.contains("unknown parameter `nosuch`"), "{path}: {text}");
        let known = text.split("this address takes: ").nth(1).unwrap();
        let known: BTreeSet<&str> =
            known.trim_end_matches(['"', '}', '\n']).split(", ").filter(|name| !name.is_empty()).collect();
        assert_eq!(known, endpoint.parameters.iter().copied().collect(), "{path}");
    }
}

#[test]
fn what_changes_something_is_guarded_by_origin() {
    let server = Server::start(&[]);
    let evil = ("origin", "https://evil.example");
    let mut seen = BTreeMap::new();
    for endpoint in ENDPOINTS.iter().filter(|endpoint| endpoint.method != "get") {
        let path = endpoint.path.replace("{id}", "none");
        for kind in ["application/json", "application/octet-stream", "text/plain"] {
            let reply =
                server.send(&endpoint.method.to_uppercase(), &path, &[evil, ("content-type", kind)], b"{}");
            assert_eq!(reply.status, 403, "{path}: {}", reply.text());
            *seen.entry(endpoint.changes).or_insert(0) += 1;
        }
    }
    assert!(seen[&true] >= 15);
}

#[test]
fn the_document_is_the_one_in_docs() {
    let server = Server::start(&[]);
    let served = server.get("/api/v1/openapi.json");
    assert_eq!((served.status, served.json()), (200, document()));
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let pretty = serde_json::to_string_pretty(&document()).unwrap() + "\n";
    if std::env::var_os("VESTA_UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &pretty).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert_eq!(golden, pretty, "run this test with VESTA_UPDATE_GOLDEN=1 and look at the change");
    let page = server.get("/api");
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    for endpoint in &ENDPOINTS {
        assert!(page.text().contains(endpoint.path), "{}", endpoint.path);
    }
    assert!(!page.text().contains("<script") && !page.text().contains("style="));
    assert!(server.get("/api.css").text().contains("main {"));
}
