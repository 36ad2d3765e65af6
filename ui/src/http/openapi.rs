//! The API in the words of OpenAPI 3.1, made of one table, and the same as a page to read. A test holds the table
//! against the routes and the parameters that they take.

use axum::Json;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::error::ApiError;
use super::params::Params;

/// One method of one address.
pub(super) struct Endpoint {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    summary: &'static str,
    /// Of the query string, by their names in [`PARAMETERS`].
    pub(super) parameters: &'static [&'static str],
    /// Type of the body that is sent, and what it is.
    body: Option<(&'static str, &'static str)>,
    /// Type of a good answer.
    answer: &'static str,
    /// Whether it changes something.
    pub(super) changes: bool,
}

const JSON: &str = "application/json";
const BYTES: &str = "application/octet-stream";
const TEXT: &str = "text/plain";

const fn get(path: &'static str, parameters: &'static [&'static str], summary: &'static str) -> Endpoint {
    Endpoint { method: "get", path, summary, parameters, body: None, answer: JSON, changes: false }
}

const fn post(
    path: &'static str,
    parameters: &'static [&'static str],
    body: (&'static str, &'static str),
    summary: &'static str,
) -> Endpoint {
    Endpoint { method: "post", path, summary, parameters, body: Some(body), answer: JSON, changes: true }
}

const fn remove(path: &'static str, summary: &'static str) -> Endpoint {
    Endpoint { method: "delete", path, summary, parameters: &[], body: None, answer: "", changes: true }
}

/// Every address of the API.
#[rustfmt::skip]
pub(super) const ENDPOINTS: [Endpoint; 35] = [
    get("/api/v1/status", &[], "The server, its data and its agent."),
    get("/api/v1/progress", &["question"], "How far a question has come that was asked with a header `X-Vesta-Question`."),
    get("/api/v1/programs", &[], "Every BPF program on the machine, and what each costs."),
    get("/api/v1/programs/history", &["from", "until", "step_ms"], "What BPF programs have cost over time, those that are gone, too."),
    get("/api/v1/headline", &["query", "from", "until", "by", "baseline", "before_from", "before_until"],
        "How much a range uses, how that compares to a baseline, and what explains most of the difference."),
    get("/api/v1/timeline", &["query", "from", "until", "by", "step_ms", "top"],
        "Samples over time, stacked by a label."),
    get("/api/v1/flame", &["query", "from", "until", "by", "format", "max_nodes", "offset_from_ms", "offset_until_ms", "part"],
        "A merged stack tree as columns."),
    get("/api/v1/truth", &["query", "from", "until", "top", "offset_from_ms", "offset_until_ms", "part"],
        "How complete stacks are, why others are not, and the files behind that."),
    get("/api/v1/top", &["query", "from", "until", "by", "top", "offset_from_ms", "offset_until_ms", "part"],
        "A table of functions, source files or binaries (`by`)."),
    get("/api/v1/diff",
        &["query", "from", "until", "before_query", "before_from", "before_until", "by", "format", "max_nodes", "top"],
        "Two selections as one stack tree, or as a table of functions by change."),
    get("/api/v1/functions", &["query", "from", "until", "name", "step_ms", "top"], "When functions used CPU."),
    get("/api/v1/heatmap", &["query", "from", "until", "column_ms", "row_ms"],
        "Samples by their exact times: columns of time, and cells within them."),
    get("/api/v1/lanes", &["query", "from", "until", "by", "step_ms", "top", "offset_from_ms", "offset_until_ms", "part"],
        "Samples over time of each thread or CPU (`by`: `thread` or `cpu`)."),
    get("/api/v1/source", &["query", "from", "until", "file", "offset_from_ms", "offset_until_ms", "part"],
        "Samples by the lines of a source file, and its text where --source-dir allows it."),
    get("/api/v1/sql", &["sql", "rows"], "The answer to a statement of SQL that only reads."),
    Endpoint { changes: false, ..post("/api/v1/sql", &["rows"], (TEXT, "the statement"),
        "The answer to a longer statement of SQL.") },
    get("/api/v1/labels", &["query", "from", "until", "prefix"], "Names of labels."),
    get("/api/v1/labels/{name}/values", &["query", "from", "until", "prefix"], "Values of a label, and their samples."),
    get("/api/v1/size", &["from", "until"], "How many segments a question about a range may read, and their bytes."),
    get("/api/v1/query", &["query", "from", "until", "by", "format", "max_nodes", "offset_from_ms", "offset_until_ms", "part"],
        "A merged profile in one of the file formats."),
    Endpoint { answer: BYTES, ..get("/pprof", &["query", "from", "until", "seconds"],
        "A gzipped profile.proto, for go tool pprof.") },
    get("/api/v1/annotations", &["from", "until"], "Annotations of a range, oldest first."),
    post("/api/v1/annotations", &[], (JSON, "`text`; maybe `time` (as in a query, or Unix milliseconds; default now) and `kind` (`note` or `deploy`)"),
        "Annotates a moment."),
    remove("/api/v1/annotations/{id}", "Takes back an annotation."),
    get("/api/v1/pins", &[], "Ranges that are kept beyond retention."),
    post("/api/v1/pins", &[], (JSON, "`from` and `until` (as in a query, or Unix milliseconds), and maybe a `note`"),
        "Pins a range: what lies in it is neither deleted nor made coarser."),
    remove("/api/v1/pins/{id}", "Takes back a pin."),
    post("/api/v1/links", &[], (JSON, "`state`: the query part of one of the page's addresses"),
        "Keeps the state of the page that a link would be too long for, under an id."),
    get("/api/v1/links/{id}", &[], "The state that was kept under an id."),
    post("/api/v1/import", &["label", "time", "event"], (BYTES, "pprof, folded stacks, or the text of perf script"),
        "Takes a profile of another tool into the store."),
    Endpoint { changes: false, ..post("/api/v1/convert", &["label", "time", "event", "by", "format", "max_nodes"],
        (BYTES, "pprof, folded stacks, or the text of perf script"),
        "A profile of another tool in one of our formats; nothing is kept.") },
    get("/api/v1/openapi.json", &[], "This document."),
    Endpoint { answer: "text/html", ..get("/api", &[], "This document as a page.") },
    Endpoint { answer: TEXT, ..get("/healthz", &[], "`ok` while the store can be read.") },
    Endpoint { answer: TEXT, ..get("/metrics", &[], "Counters for Prometheus.") },
];

/// Parameters of query strings: name, type, what they mean.
#[rustfmt::skip]
const PARAMETERS: [(&str, &str, &str); 28] = [
    ("query", "string", "Selector, as `process=\"redis-server\"`; default: everything."),
    ("from", "string", "Start: `now`, `-15m`, RFC 3339, or Unix seconds; default `-15m`."),
    ("until", "string", "End, not included, in the same forms; default `now`."),
    ("by", "string", "Label that groups, default `process`; for /top `function`, `file` or `binary`."),
    ("step_ms", "number", "Length of a bucket; default: about 300 buckets."),
    ("top", "integer", "How many groups, rows or files."),
    ("max_nodes", "integer", "Nodes of a tree, default 60000: the smallest are pruned, and their samples counted."),
    ("offset_from_ms", "integer", "Only samples from this millisecond of their second on, 0 to 999."),
    ("offset_until_ms", "integer", "Only samples before this millisecond of their second, 1 to 1000."),
    ("part", "string", "`FROM,UNTIL,LOW,HIGH`: of this span, in Unix milliseconds, only these milliseconds of each second; may come up to 32 times."),
    ("before_query", "string", "Selector of the side that is compared with; default: `query`."),
    ("before_from", "string", "Start of the side that is compared with."),
    ("before_until", "string", "End of the side that is compared with; default: where the other begins."),
    ("baseline", "string", "`yesterday` (default), `week`, `median`, `range` (the one of `before_from` and `before_until`) or `none`."),
    ("format", "string", "`json`, `top`, `top-json`, `folded`, `pprof`, `svg`, `firefox`, `speedscope` or `perf-script`; a comparison has `json` and `top-json`, a flame graph `json` and `columns`."),
    ("name", "string", "Name of a function, or after a `~` a regular expression that is searched for in names."),
    ("column_ms", "integer", "Time that a column covers, default 1000."),
    ("row_ms", "integer", "Time that a cell covers, default 20."),
    ("prefix", "string", "Only what starts so."),
    ("file", "string", "Path of a source file, as debug information has it."),
    ("seconds", "integer", "The last so many seconds, in place of `from` and `until`."),
    ("label", "string", "`NAME=VALUE`, a label of all samples; may come several times."),
    ("time", "string", "When the profile starts."),
    ("event", "string", "The value type or event that is taken; of folded stacks: what was counted."),
    ("sql", "string", "One statement, as `select process, sum(samples) from samples group by process`."),
    ("rows", "integer", "Rows of the answer at most, default 10000; `truncated` says whether there were more."),
    ("question", "string", "What the header called it."),
    ("id", "string", "Names one."),
];

fn parameter(name: &str, place: &str) -> Value {
    let known = PARAMETERS.iter().find(|(known, ..)| *known == name);
    let (kind, what) = known.map_or(("string", ""), |(_, kind, what)| (kind, what));
    json!({ "name": name, "in": place, "required": place == "path", "description": what, "schema": { "type": kind } })
}

/// Names between braces.
fn in_path(path: &str) -> impl Iterator<Item = &str> {
    path.split('{').skip(1).filter_map(|part| part.split_once('}').map(|(name, _)| name))
}

fn operation(endpoint: &Endpoint) -> Value {
    let places = in_path(endpoint.path).map(|name| parameter(name, "path"));
    let parameters: Vec<Value> =
        places.chain(endpoint.parameters.iter().map(|name| parameter(name, "query"))).collect();
    let error = json!({ "$ref": "#/components/responses/error" });
    let good = match endpoint.answer {
        "" => ("204", json!({ "description": "Done." })),
        kind => (
            "200",
            json!({ "description": "The answer; docs/api.md has its shape.", "content": { kind: {} } }),
        ),
    };
    let mut operation = json!({
        "summary": endpoint.summary,
        "parameters": parameters,
        "responses": { good.0: good.1, "default": error },
    });
    if let Some((kind, what)) = endpoint.body {
        operation["requestBody"] = json!({ "required": true, "description": what, "content": { kind: {} } });
    }
    operation
}

/// The document.
pub(super) fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for endpoint in &ENDPOINTS {
        paths.entry(endpoint.path).or_insert_with(|| json!({}))[endpoint.method] = operation(endpoint);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Vesta",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Profiles of a whole machine over time. Times in answers are Unix milliseconds; docs/api.md has the shapes of answers.",
        },
        "paths": paths,
        "components": { "responses": { "error": {
            "description": "What went wrong, in one sentence, and more about it; as text where docs/api.md says so.",
            "content": { JSON: { "schema": {
                "type": "object",
                "required": ["error", "detail"],
                "properties": { "error": { "type": "string" }, "detail": { "type": "string" } },
            } }, TEXT: { "schema": { "type": "string" } } },
        } } },
    })
}

/// `GET /api/v1/openapi.json`
pub(super) async fn json(params: Params) -> Result<Json<Value>, ApiError> {
    params.only(&[])?;
    Ok(Json(document()))
}

/// `GET /api`
pub(super) async fn page(params: Params) -> Result<Response, ApiError> {
    params.only(&[])?;
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"))];
    Ok((kind, html()).into_response())
}

/// The page: plain HTML, which needs neither script nor another file than our style sheet.
fn html() -> String {
    let mut page = String::from(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>Vesta: API</title>\
         <link rel=\"stylesheet\" href=\"/api.css\"><main><h1>The API of Vesta</h1>\
         <p>Machines read <a href=\"/api/v1/openapi.json\">openapi.json</a>. Times in answers are Unix milliseconds; \
         errors are <code>{\"error\": …, \"detail\": …}</code>. What changes something is taken from this machine only.</p>",
    );
    for Endpoint { method, path, summary, parameters, body, answer, changes } in &ENDPOINTS {
        let try_it = *method == "get" && !path.contains('{') && *answer != BYTES && !needs_more(path);
        let name = if try_it { format!("<a href=\"{path}\">{path}</a>") } else { (*path).to_owned() };
        page.push_str(&format!(
            "<section><h2><b>{}</b> {name}</h2><p>{}</p>",
            method.to_uppercase(),
            code(summary)
        ));
        if *changes {
            page.push_str("<p><em>Changes what is stored.</em></p>");
        }
        if let Some((kind, what)) = body {
            page.push_str(&format!("<p>Body, <code>{kind}</code>: {}</p>", code(what)));
        }
        let names: Vec<&str> = in_path(path).chain(parameters.iter().copied()).collect();
        if !names.is_empty() {
            page.push_str("<dl>");
            for name in names {
                let what = PARAMETERS.iter().find(|(known, ..)| *known == name).map_or("", |(.., what)| what);
                page.push_str(&format!("<dt><code>{name}</code></dt><dd>{}</dd>", code(what)));
            }
            page.push_str("</dl>");
        }
        page.push_str("</section>");
    }
    page.push_str("</main></html>\n");
    page
}

/// Whether an address does not answer without parameters.
fn needs_more(path: &str) -> bool {
    matches!(path, "/api/v1/functions" | "/api/v1/source" | "/api/v1/sql")
}

/// A text of the tables as HTML; what stands between backticks is code.
fn code(text: &str) -> String {
    let plain = text.replace('&', "&amp;").replace('<', "&lt;");
    plain
        .split('`')
        .enumerate()
        .map(|(i, part)| if i % 2 == 1 { format!("<code>{part}</code>") } else { part.to_owned() })
        .collect()
}
