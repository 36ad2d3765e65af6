//! Running queries: off the async threads, a bounded number at once, for a bounded time.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use store::{Cancel, Store};
use tokio::time::timeout;

use super::AppState;
use super::counters::Kind;
use super::error::ApiError;
use super::progress;

/// How long a query waits for its turn. The page asks a few things at once, which may take turns; a client
/// that would wait longer had better be told.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// Runs a query, with a store that ends it when nobody waits for it any more. Its permit is given back when it
/// has ended: what runs is what costs.
pub(super) async fn run<T: Send + 'static>(
    state: &Arc<AppState>,
    kind: Kind,
    query: impl FnOnce(&AppState, &Store) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let Ok(Ok(permit)) = timeout(MAX_WAIT, state.permits.clone().acquire_owned()).await else {
        state.counters.rejected();
        return Err(ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{} queries are running already; try again", state.limits.queries),
        ));
    };
    let limits = store::Limits {
        memory_bytes: state.limits.query_bytes,
        progress: progress::current(),
        ..store::Limits::default()
    };
    let _cancel_when_gone = CancelOnDrop(limits.cancel.clone());
    let running = tokio::task::spawn_blocking({
        let state = state.clone();
        move || {
            let start = Instant::now();
            let result = query(&state, &state.store.with_limits(limits));
            // Those that ended for their time are counted as such.
            let failed =
                result.as_ref().is_err_and(|error| error.status() == StatusCode::INTERNAL_SERVER_ERROR);
            state.counters.ran(kind, start.elapsed(), failed);
            drop(permit);
            result
        }
    });
    match timeout(state.limits.query_time, running).await {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => {
            tracing::error!(%error, "a query ended abnormally");
            Err(ApiError::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the query ended abnormally; the log has more",
            ))
        }
        Err(_) => {
            state.counters.timed_out();
            let seconds = state.limits.query_time.as_secs_f64();
            Err(ApiError::new(
                StatusCode::GATEWAY_TIMEOUT,
                format!("the query takes longer than {seconds} s; ask for a shorter range"),
            ))
        }
    }
}

/// Ends a query that nobody waits for any more: its time is over, or its client has gone.
struct CancelOnDrop(Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Writes an answer into memory, up to a limit.
pub(super) fn into_bytes(
    max: usize,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<Vec<u8>, ApiError> {
    let mut out = Bounded { bytes: Vec::new(), max, full: false };
    match write(&mut out) {
        Ok(()) => Ok(out.bytes),
        Err(_) if out.full => Err(ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            format!(
                "the answer is larger than {} MB; ask for a shorter range or select less",
                max / 1_000_000
            ),
        )),
        Err(error) => Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}

struct Bounded {
    bytes: Vec<u8>,
    max: usize,
    full: bool,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.max {
            self.full = true;
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
