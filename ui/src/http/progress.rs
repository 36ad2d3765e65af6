//! How far a question has come, for who waits for its answer: a client that names its question in a header may ask.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use serde_json::{Value, json};
use store::Progress;

use super::AppState;
use super::error::ApiError;
use super::params::Params;

/// The header that names a question.
const NAME: &str = "x-vesta-question";
/// Longer names are none.
const LONGEST: usize = 64;
/// Questions that are remembered at once: more than may run and wait. Those beyond are answered, and not told of.
const MOST: usize = 64;

tokio::task_local! {
    /// What the question of this task counts in.
    static CURRENT: Progress;
}

/// Questions that have names, by them.
#[derive(Default)]
pub(super) struct Questions(Mutex<HashMap<String, Progress>>);

impl Questions {
    fn with<T>(&self, work: impl FnOnce(&mut HashMap<String, Progress>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Where the queries of the question at hand count; of one without a name nobody looks.
pub(super) fn current() -> Progress {
    CURRENT.try_with(Clone::clone).unwrap_or_default()
}

/// Forgets a question when it is answered, or nobody waits for it any more.
struct Forget {
    state: Arc<AppState>,
    name: String,
}

impl Drop for Forget {
    fn drop(&mut self) {
        self.state.questions.with(|questions| questions.remove(&self.name));
    }
}

/// Remembers a question that has a name while it is answered.
pub(super) async fn watch(State(state): State<Arc<AppState>>, request: Request, next: Next) -> Response {
    let name = request.headers().get(NAME).and_then(|name| name.to_str().ok());
    let Some(name) = name.filter(|name| !name.is_empty() && name.len() <= LONGEST).map(str::to_owned) else {
        return next.run(request).await;
    };
    let progress = Progress::default();
    let kept = state.questions.with(|questions| {
        let room = questions.len() < MOST && !questions.contains_key(&name);
        if room {
            questions.insert(name.clone(), progress.clone());
        }
        room
    });
    let _forget = kept.then(|| Forget { state, name });
    CURRENT.scope(progress, next.run(request)).await
}

/// `GET /api/v1/progress`
pub(super) async fn progress(
    State(state): State<Arc<AppState>>,
    params: Params,
) -> Result<Json<Value>, ApiError> {
    let params = params.only(&["question"])?;
    let name = params.text("question").unwrap_or_default();
    let found = state.questions.with(|questions| questions.get(name).map(Progress::segments));
    Ok(Json(match found {
        Some((read, segments)) => json!({ "read": read, "segments": segments }),
        None => json!({ "read": null, "segments": null }),
    }))
}
