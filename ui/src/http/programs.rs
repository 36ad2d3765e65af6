//! Every BPF program on the machine, for people who want to know what watches it: as it is now, and what each has cost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::{Value, json};
use store::{CounterSeries, Counters, Skipped};
use tokio::sync::Mutex;

use super::api::{default_step_ms, json_body};
use super::counters::Kind;
use super::error::ApiError;
use super::params::Params;
use super::run::{into_bytes, run};
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

/// What counters of programs begin with: the agent's, as docs/formats.md describes them.
const COUNTER: &str = "bpf_run_ns";
/// Programs that an answer has: some hosts' worth.
const MOST_PROGRAMS: usize = 500;

#[derive(Serialize)]
struct HistoryJson<'a> {
    from_ms: i64,
    until_ms: i64,
    step_ms: i64,
    programs: Vec<Ran<'a>>,
    /// Programs left out: those that ran the least.
    other: usize,
    skipped: &'a [Skipped],
}

/// For how long programs of the same code and name ran on a host.
#[derive(Serialize)]
struct Ran<'a> {
    host: &'a str,
    /// Empty, like the name, for programs that were counted together.
    tag: &'a str,
    name: &'a str,
    /// Nanoseconds by bucket.
    run_ns: &'a [u64],
}

impl<'a> Ran<'a> {
    fn of(series: &'a CounterSeries) -> Self {
        let named = series.counter.strip_prefix(COUNTER).and_then(|rest| rest.strip_prefix(':'));
        let (tag, name) = named.and_then(|rest| rest.split_once(':')).unwrap_or_default();
        Self { host: &series.host, tag, name, run_ns: &series.values }
    }

    fn total(&self) -> u64 {
        self.run_ns.iter().fold(0, |sum, ns| sum.saturating_add(*ns))
    }
}

/// `GET /api/v1/programs/history`
pub(super) async fn history(
    State(state): State<Arc<AppState>>,
    params: Params,
) -> Result<Response, ApiError> {
    let params = params.only(&["from", "until", "step_ms"])?;
    let range = params.range(now_ms())?;
    let step_ms = params.step_ms()?.unwrap_or(default_step_ms(range));
    let body = run(&state, Kind::Programs, move |state, store| {
        let Counters { from_ms, until_ms, step_ms, series, skipped } =
            store.counters(COUNTER, range, step_ms)?;
        state.counters.skipped(skipped.len());
        let mut programs: Vec<Ran<'_>> = series.iter().map(Ran::of).collect();
        programs.sort_by_key(|program| std::cmp::Reverse(program.total()));
        let other = programs.len().saturating_sub(MOST_PROGRAMS);
        programs.truncate(MOST_PROGRAMS);
        let json = HistoryJson { from_ms, until_ms, step_ms, programs, other, skipped: &skipped };
        into_bytes(state.limits.answer_bytes, |out| Ok(serde_json::to_writer(out, &json)?))
    });
    Ok(json_body(body.await?))
}
