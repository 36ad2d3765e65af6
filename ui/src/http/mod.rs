//! The web server: the page, the API of docs/api.md, and figures for monitoring.
//!
//! Most requests are GETs without bodies, so what a client can send is bounded by what hyper takes for a request
//! head; `import` and `convert` take files up to a limit, `marks` and `sql` small bodies, each from whom it may
//! (`sender`); selectors are bounded by the store. No other origin may read answers, but exports those that the
//! operator names (`sharing`).

mod api;
mod beginning;
mod connections;
mod counters;
mod error;
mod fresh;
mod guard;
mod health;
mod import;
mod marks;
mod openapi;
mod page;
mod params;
mod programs;
mod progress;
mod questions;
mod run;
mod sender;
mod sharing;
mod sql;
mod views;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::routing::{delete, get, post};
use axum::{Router, middleware};
use serde::Serialize;
use store::Store;
use tokio::sync::{Semaphore, oneshot};
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate};

use beginning::Beginning;
use connections::Bounded;
use counters::Counters;
use guard::Names;
use programs::Programs;
pub use programs::{BpfHolder, BpfMap, BpfProgram};
use progress::Questions;

use crate::source::SourceDirs;

/// What the server serves.
pub struct ServerConfig {
    /// Where it listens; bound already, so that a port in use is the caller's error to report.
    pub listener: TcpListener,
    /// Names beside localhost by which clients may call a server that listens on loopback only.
    pub names: Vec<String>,
    /// Origins whose pages may read exports, as `https://profiler.firefox.com`.
    pub origins: Vec<String>,
    /// Name of this machine, for the page.
    pub host: String,
    /// Where source files may be read.
    pub sources: SourceDirs,
    /// The data.
    pub store: Store,
    /// The agent, if one runs in this process.
    pub agent: Option<Arc<dyn AgentView>>,
    /// What clients may cost.
    pub limits: Limits,
}

/// What clients may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Queries that run at once. Each may hold a merged profile and a tree.
    pub queries: usize,
    /// Time after which a client is told that its query takes too long.
    pub query_time: Duration,
    /// Memory that one of them may take for stacks and counts.
    pub query_bytes: u64,
    /// Size of an answer, which is made in memory.
    pub answer_bytes: usize,
    /// Size of a file that is imported, which is read into memory; one at a time.
    pub import_bytes: usize,
    /// Connections open at once: a quarter of the file descriptors a process usually has.
    pub connections: usize,
    /// How long a connection may stay open without a byte: longer than any query may take.
    pub idle_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queries: 8,
            query_time: Duration::from_secs(30),
            query_bytes: 256 << 20,
            answer_bytes: 256_000_000,
            import_bytes: 64 << 20,
            connections: 256,
            idle_time: Duration::from_secs(75),
        }
    }
}

/// What the server asks of the agent. Called for each request, so it must answer at once.
pub trait AgentView: Send + Sync {
    /// How it samples, and what it counted since it started.
    fn status(&self) -> AgentStatus;
    /// The same and more as Prometheus text.
    fn metrics(&self) -> String;
    /// Every BPF program on the machine; none where it does not know. The error is for people.
    fn programs(&self) -> Result<Option<Vec<BpfProgram>>, String> {
        Ok(None)
    }
    /// How many CPUs it samples, if it knows.
    fn cpus(&self) -> Option<usize> {
        None
    }
}

/// How an agent samples, and what it counted since it started. Its JSON is the object `agent` of the status.
#[derive(Clone, Debug, Default, Serialize)]
pub struct AgentStatus {
    /// Samples per second and CPU that it asks for.
    #[serde(skip)]
    pub frequency_hz: u32,
    /// What is sampled: `cpu-clock`, `cycles`.
    #[serde(skip)]
    pub event: String,
    /// Length of a window of samples.
    #[serde(skip)]
    pub window_ms: u64,
    /// Samples that the kernel side took.
    pub samples_taken: u64,
    /// Samples that reached the store.
    pub samples_stored: u64,
    /// Samples lost, by reason.
    pub lost: BTreeMap<String, u64>,
    /// Samples with a user stack.
    pub user_stacks: u64,
    /// Samples whose stack is complete.
    pub complete: u64,
    /// Samples whose stack is not complete, by reason.
    pub incomplete: BTreeMap<String, u64>,
    /// CPU time of the agent.
    pub agent_cpu_s: f64,
    /// Mean time of the BPF program per sample; none if the kernel does not measure it.
    pub bpf_ns_per_sample: Option<f64>,
    /// Memory of the agent's process.
    pub rss_bytes: u64,
}

/// The server cannot serve (any more).
#[derive(Debug, thiserror::Error)]
#[error("the web server stopped: {0}")]
pub struct ServeError(#[from] std::io::Error);

/// How long requests may take to finish after the server was told to stop.
const GRACE: Duration = Duration::from_secs(3);

/// Answers are made anew for each who asks: compressing them may take no longer than sending them does.
const COMPRESSION: CompressionLevel = CompressionLevel::Fastest;

struct AppState {
    store: Store,
    agent: Option<Arc<dyn AgentView>>,
    host: String,
    names: Names,
    origins: Vec<String>,
    sources: SourceDirs,
    started_ms: i64,
    limits: Limits,
    permits: Arc<Semaphore>,
    /// One file is imported at a time.
    imports: Arc<Semaphore>,
    counters: Counters,
    programs: Programs,
    beginning: Beginning,
    questions: Questions,
}

/// Serves until `shutdown` is ready, then gives open requests a moment to finish.
///
/// # Errors
/// When the listener cannot be used.
pub async fn serve(
    config: ServerConfig,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let ServerConfig { listener, names, origins, host, sources, store, agent, limits } = config;
    let names = Names::new(listener.local_addr()?, &names);
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let listener = Bounded::new(listener, limits.connections, limits.idle_time);
    let state = Arc::new(AppState {
        store,
        agent,
        host,
        names,
        origins,
        sources,
        started_ms: now_ms(),
        limits,
        permits: Arc::new(Semaphore::new(limits.queries)),
        imports: Arc::new(Semaphore::new(1)),
        counters: Counters::default(),
        programs: Programs::default(),
        beginning: Beginning::default(),
        questions: Questions::default(),
    });
    let (stopping, stopped) = oneshot::channel();
    let serving = axum::serve(listener, router(state)).with_graceful_shutdown(async move {
        shutdown.await;
        // The other end is there as long as `serving` runs.
        stopping.send(()).unwrap_or_default();
    });
    let out_of_patience = async {
        if stopped.await.is_err() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        result = async { serving.await } => result?,
        () = out_of_patience => tracing::warn!("requests were still open when the web server stopped"),
    }
    Ok(())
}

fn router(state: Arc<AppState>) -> Router {
    let compressible = DefaultPredicate::new()
        .and(NotForContentType::const_new("application/octet-stream"))
        .and(NotForContentType::const_new("font/"));
    let exports = Router::new()
        .route("/api/v1/query", get(api::query).options(error::method_not_allowed))
        .route("/pprof", get(api::pprof).options(error::method_not_allowed))
        .layer(middleware::from_fn_with_state(state.clone(), sharing::share));
    // Answers that hang on nothing but samples.
    let samples = Router::new()
        .route("/api/v1/timeline", get(api::timeline))
        .route("/api/v1/flame", get(api::flame))
        .route("/api/v1/truth", get(api::truth))
        .route("/api/v1/top", get(questions::top))
        .route("/api/v1/diff", get(questions::diff))
        .route("/api/v1/functions", get(questions::functions))
        .route("/api/v1/heatmap", get(questions::heat_map))
        .route("/api/v1/lanes", get(views::lanes))
        .route("/api/v1/source", get(views::source))
        .route("/api/v1/programs/history", get(programs::history))
        .route("/api/v1/labels", get(api::labels))
        .route("/api/v1/labels/{name}/values", get(api::values))
        .merge(exports)
        .layer(middleware::from_fn_with_state(state.clone(), progress::watch))
        .layer(middleware::from_fn_with_state(state.clone(), fresh::tag));
    Router::new()
        .route("/api/v1/status", get(api::status))
        .route("/api/v1/size", get(api::size))
        .route("/api/v1/progress", get(progress::progress))
        .route("/api/v1/programs", get(programs::programs))
        .route("/api/v1/headline", get(questions::headline))
        .route("/api/v1/sql", get(sql::get).post(sql::post))
        .route("/api/v1/annotations", get(marks::annotations).post(marks::annotate))
        .route("/api/v1/annotations/{id}", delete(marks::unannotate))
        .route("/api/v1/pins", get(marks::pins).post(marks::pin))
        .route("/api/v1/pins/{id}", delete(marks::unpin))
        .route("/api/v1/links", post(marks::link))
        .route("/api/v1/links/{id}", get(marks::linked))
        .route("/api/v1/import", post(import::import))
        .route("/api/v1/convert", post(import::convert))
        .route("/api/v1/openapi.json", get(openapi::json))
        .route("/api", get(openapi::page))
        .merge(samples)
        .route("/healthz", get(health::healthz))
        .route("/metrics", get(health::metrics))
        .fallback(get(page::page).fallback(error::method_not_allowed))
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(middleware::from_fn(error::plain_where_asked))
        .layer(middleware::from_fn_with_state(state.clone(), guard::check_host))
        .layer(middleware::from_fn(guard::add_headers))
        .layer(CompressionLayer::new().quality(COMPRESSION).compress_when(compressible))
        .with_state(state)
}

fn now_ms() -> i64 {
    // A clock before 1970 reads as 1970.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
