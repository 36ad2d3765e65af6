//! Questions beside the flame graph: tables, comparisons, functions over time, the sub-second heat map.

use std::str::FromStr;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use store::model::STATUS_COMPLETE;
use store::{Comparison, FunctionName, Selector, Side, TimeRange, parse_time};

use super::api::{DEFAULT_TOP, MAX_NODES, MAX_TOP, answer_by, default_step_ms, json_body};
use super::counters::Kind;
use super::error::ApiError;
use super::params::Params;
use super::run::{into_bytes, run};
use super::{AppState, now_ms};
use crate::flame::{self, GroupBy};
use crate::headline::{self, Ask, Baseline};
use crate::render::{DEFAULT_MAX_NODES, DiffTable, FlameJson, ShareTable, TopBy, TopTable};

type Shared = State<Arc<AppState>>;

/// Rows of a table when nobody asks for a number, and at most.
const DEFAULT_ROWS: usize = 50;
const MAX_ROWS: usize = 10_000;
/// A column of the heat map and a cell in it, when nobody asks: FlameScope's.
const DEFAULT_COLUMN_MS: i64 = 1_000;
const DEFAULT_ROW_MS: i64 = 20;
/// Longest column of a heat map, so that numbers stay far from their limits.
const MAX_COLUMN_MS: i64 = 86_400_000;

/// `GET /api/v1/top`
pub(super) async fn top(State(state): Shared, params: Params) -> Result<Response, ApiError> {
    let params =
        params.only(&["query", "from", "until", "by", "top", "offset_from_ms", "offset_until_ms", "part"])?;
    let (selector, range, offsets) = (params.selector()?, params.range(now_ms())?, params.offsets()?);
    let by = params.text("by").map(TopBy::from_str).transpose().map_err(ApiError::bad_request)?;
    let by = by.unwrap_or_default();
    let rows = params.number("top", MAX_ROWS)?.unwrap_or(DEFAULT_ROWS);
    let body = run(&state, Kind::Top, move |state, store| {
        let profile =
            answer_by(state, &store.with_offsets(offsets), &selector, range, &GroupBy::default())?.profile;
        into_bytes(state.limits.answer_bytes, |out| match by {
            TopBy::Function => Ok(serde_json::to_writer(out, &TopTable::new(&profile, rows))?),
            by => Ok(serde_json::to_writer(out, &ShareTable::new(&profile, by, rows))?),
        })
    });
    Ok(json_body(body.await?))
}

/// What a comparison says beside the flame graph of both sides.
#[derive(Serialize)]
struct DiffJson<'a> {
    before: Before,
    #[serde(flatten)]
    flame: FlameJson<'a>,
}

/// The side that is compared with.
#[derive(Serialize)]
struct Before {
    from_ms: i64,
    until_ms: i64,
    samples: u64,
    /// Samples whose stack is complete.
    complete: u64,
}

/// `GET /api/v1/diff`
pub(super) async fn diff(State(state): Shared, params: Params) -> Result<Response, ApiError> {
    let known = ["query", "from", "until", "before_query", "before_from", "before_until", "by", "format"];
    let params = params.only(&[&known[..], &["max_nodes", "top"]].concat())?;
    let now_ms = now_ms();
    let (selector, range, by) = (params.selector()?, params.range(now_ms)?, params.by()?);
    let before_selector = match params.text("before_query") {
        Some(text) => Selector::parse(text)?,
        None => selector.clone(),
    };
    let before = before(&params, range, now_ms)?;
    let max_nodes = params.number("max_nodes", MAX_NODES)?.unwrap_or(DEFAULT_MAX_NODES);
    let rows = params.number("top", MAX_ROWS)?.unwrap_or(DEFAULT_ROWS);
    let table = match params.text("format") {
        None | Some("json") => false,
        Some("top-json") => true,
        Some(_) => return Err(ApiError::bad_request("a comparison has the formats json and top-json")),
    };
    let body = run(&state, Kind::Diff, move |state, store| {
        let both = store.compare((&before_selector, before), (&selector, range), by.name())?;
        state.counters.skipped(both.skipped.len());
        if table {
            let table = DiffTable::new(&both, rows);
            return into_bytes(state.limits.answer_bytes, |out| Ok(serde_json::to_writer(out, &table)?));
        }
        let mut tree = flame::build_comparison(&both, &by);
        let samples = tree.before_total.first().copied().unwrap_or(0);
        tree.prune(max_nodes);
        let json = DiffJson {
            before: Before {
                from_ms: before.from_ms,
                until_ms: before.until_ms,
                samples,
                complete: complete_of(&both, Side::Before),
            },
            flame: FlameJson::new(&both.profile, &tree, &both.skipped),
        };
        into_bytes(state.limits.answer_bytes, |out| Ok(serde_json::to_writer(out, &json)?))
    });
    Ok(json_body(body.await?))
}

/// The samples of one side whose stack is complete.
fn complete_of(both: &Comparison, side: Side) -> u64 {
    let profile = &both.profile;
    let rows = profile.rows.iter().filter(|row| both.side(row) == side);
    rows.filter(|row| profile.text(row.key.status) == STATUS_COMPLETE).map(|row| row.samples).sum()
}

/// The range that is compared with: unless said otherwise, the one that ends where the other begins and is as
/// long.
fn before(params: &Params, range: TimeRange, now_ms: i64) -> Result<TimeRange, ApiError> {
    let until_ms = match params.text("before_until") {
        Some(text) => parse_time(text, now_ms)?,
        None => range.from_ms,
    };
    let from_ms = match params.text("before_from") {
        Some(text) => parse_time(text, now_ms)?,
        None => until_ms.saturating_sub(range.len_ms()).max(0),
    };
    Ok(TimeRange::new(from_ms, until_ms)?)
}

/// `GET /api/v1/headline`
pub(super) async fn headline(State(state): Shared, params: Params) -> Result<Response, ApiError> {
    let params = params.only(&["query", "from", "until", "by", "baseline", "before_from", "before_until"])?;
    let now_ms = now_ms();
    let (selector, range, by) = (params.selector()?, params.range(now_ms)?, params.by()?);
    let baseline = match params.text("baseline").unwrap_or("yesterday") {
        "yesterday" => Baseline::Yesterday,
        "week" => Baseline::Week,
        "median" => Baseline::Median,
        "none" => Baseline::None,
        "range" => Baseline::Range(before(&params, range, now_ms)?),
        _ => {
            return Err(ApiError::bad_request("baseline is one of yesterday, week, median, range and none"));
        }
    };
    let body = run(&state, Kind::Headline, move |state, store| {
        let ask = Ask { selector: &selector, range, by: &by, baseline };
        let headline = headline::headline(store, &ask)?;
        into_bytes(state.limits.answer_bytes, |out| Ok(serde_json::to_writer(out, &headline)?))
    });
    Ok(json_body(body.await?))
}

/// `GET /api/v1/functions`
pub(super) async fn functions(State(state): Shared, params: Params) -> Result<Response, ApiError> {
    let params = params.only(&["query", "from", "until", "name", "step_ms", "top"])?;
    let (selector, range) = (params.selector()?, params.range(now_ms())?);
    let name = params.text("name").ok_or_else(|| ApiError::bad_request("the parameter `name` is missing"))?;
    let name = FunctionName::parse(name).map_err(ApiError::bad_request)?;
    let step_ms = params.step_ms()?.unwrap_or(default_step_ms(range));
    let top = params.number("top", MAX_TOP)?.unwrap_or(DEFAULT_TOP);
    let body = run(&state, Kind::Functions, move |state, store| {
        let history = store.function_history(&selector, range, step_ms, &name, top)?;
        state.counters.skipped(history.skipped.len());
        into_bytes(state.limits.answer_bytes, |out| Ok(serde_json::to_writer(out, &history)?))
    });
    Ok(json_body(body.await?))
}

/// `GET /api/v1/heatmap`
pub(super) async fn heat_map(State(state): Shared, params: Params) -> Result<Response, ApiError> {
    let params = params.only(&["query", "from", "until", "column_ms", "row_ms"])?;
    let (selector, range) = (params.selector()?, params.range(now_ms())?);
    let column_ms = params.number("column_ms", MAX_COLUMN_MS)?.unwrap_or(DEFAULT_COLUMN_MS);
    let row_ms = params.number("row_ms", MAX_COLUMN_MS)?.unwrap_or(DEFAULT_ROW_MS);
    let body = run(&state, Kind::HeatMap, move |state, store| {
        let map = store.heat_map(&selector, range, column_ms, row_ms)?;
        state.counters.skipped(map.skipped.len());
        into_bytes(state.limits.answer_bytes, |out| Ok(serde_json::to_writer(out, &map)?))
    });
    Ok(json_body(body.await?))
}
