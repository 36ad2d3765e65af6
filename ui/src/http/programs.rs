//! `GET /api/v1/programs`: every BPF program on the machine, for people who want to know what watches it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::error::ApiError;
use super::params::Params;
use super::{AppState, now_ms};

/// A BPF program, as the kernel tells of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct BpfProgram {
    /// The kernel's number of it.
    pub id: u32,
    /// At most 15 bytes; often empty.
    pub name: String,
    /// `perf_event`, `raw_tracepoint`, `kprobe`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// The kernel's hash of its instructions, in hex.
    pub tag: String,
    /// When it was loaded, in Unix milliseconds; none before Linux 4.15.
    pub loaded_ms: Option<i64>,
    /// The user who loaded it.
    pub uid: Option<u32>,
    /// How often it ran since someone measures that; none where the kernel does not say.
    pub runs: Option<u64>,
    /// How long it ran in all, in nanoseconds.
    pub run_ns: Option<u64>,
    /// Memory of its code, in bytes.
    pub memory_bytes: Option<u64>,
    /// Instructions that the verifier looked at.
    pub instructions: Option<u32>,
    /// What it reads and writes.
    pub maps: Vec<BpfMap>,
    /// Where links attach it: their types, and what they name. A program that a perf event runs has none.
    pub attached: Vec<String>,
    /// Processes that have it or a link of it open; none where it is pinned or held by the kernel alone.
    pub holders: Vec<BpfHolder>,
    /// Whether this Vesta loaded it.
    pub own: bool,
}

/// A map of a BPF program.
#[derive(Clone, Debug, Default, Serialize)]
pub struct BpfMap {
    /// The kernel's number of it; programs that share it have the same one.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Its memory; none where the kernel does not say.
    pub bytes: Option<u64>,
}

/// A process that holds a BPF program.
#[derive(Clone, Debug, Default, Serialize)]
pub struct BpfHolder {
    /// Its id.
    pub pid: u32,
    /// Its name.
    pub name: String,
}

/// Looking takes milliseconds of a CPU on a large machine: once a second is enough for all who ask.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The last answer, and when it was given.
#[derive(Default)]
pub(super) struct Programs(Mutex<Option<(Instant, Value)>>);

/// `GET /api/v1/programs`
pub(super) async fn programs(
    State(state): State<Arc<AppState>>,
    params: Params,
) -> Result<Json<Value>, ApiError> {
    params.only(&[])?;
    let Some(agent) = state.agent.clone() else {
        return Ok(Json(json!({ "now_ms": now_ms(), "programs": null })));
    };
    let mut last = state.programs.0.lock().await;
    if let Some((when, value)) = &*last
        && when.elapsed() < LOOK_EVERY
    {
        return Ok(Json(value.clone()));
    }
    let failed = |why: String| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, why);
    let found = tokio::task::spawn_blocking(move || agent.programs()).await;
    let found = found.map_err(|error| failed(format!("no BPF programs: {error}")))?.map_err(failed)?;
    let value = json!({ "now_ms": now_ms(), "programs": found });
    *last = Some((Instant::now(), value.clone()));
    Ok(Json(value))
}
