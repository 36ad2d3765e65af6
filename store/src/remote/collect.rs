//! Objects that nobody needs any more: of removed segments, of uploads that were never committed, and of a log that
//! checkpoints have in them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ulid::Ulid;

use super::Inner;
use super::error::Result;
use super::log::{CHECKPOINTS, COMMITS, sequence_of};
use super::sync::Work;
use super::upload::objects_of;

/// Checkpoints that stay; commits since the older of them stay, too, in case the newer one is damaged.
const CHECKPOINTS_KEPT: usize = 2;
/// Commits stay this long after they are in a checkpoint: a reader may be on its way through them.
const COMMITS_KEPT_MS: i64 = 86_400_000;
/// Objects that no commit names are left over when they are this old. An upload is committed within minutes.
const LEFT_OVER_MS: i64 = 2 * 86_400_000;
/// All objects are listed this often, by each writer: a thousand in a request.
const SWEEP_EVERY: Duration = Duration::from_secs(86_400);

impl Inner {
    /// Deletes the objects of segments that were removed long enough ago for all readers to have finished.
    pub(super) fn delete_removed(&self, work: &mut Work) -> Result<()> {
        let mut due = {
            let known = self.known();
            known.state.to_delete(known.ours.writer, self.grace.as_millis() as i64)
        };
        due.retain(|id, _| !work.deleted.contains(id));
        if due.is_empty() {
            return Ok(());
        }
        self.client.delete_all(due.iter().flat_map(|(id, min_ms)| objects_of(*id, *min_ms)).collect())?;
        work.deleted.extend(due.into_keys());
        Ok(())
    }

    /// Once a day, and not right after the start.
    pub(super) fn sweep(&self, work: &mut Work) -> Result<()> {
        let swept = work.swept.get_or_insert_with(Instant::now);
        if swept.elapsed() < SWEEP_EVERY {
            return Ok(());
        }
        *swept = Instant::now();
        self.sweep_now().map(drop)
    }

    /// Deletes uploads that were never committed, and what checkpoints have made superfluous. How many objects.
    pub(super) fn sweep_now(&self) -> Result<usize> {
        let objects = self.client.list("segments", None)?;
        // What was committed while the list was made is known then.
        self.refresh()?;
        let now_ms = self.known().state.now_ms;
        let mut newest: BTreeMap<Ulid, i64> = BTreeMap::new();
        for object in &objects {
            if let Some(id) = segment_of(&object.name) {
                let at_ms = newest.entry(id).or_insert(object.modified_ms);
                *at_ms = object.modified_ms.max(*at_ms);
            }
        }
        let is_left_over = |name: &str| {
            let known = self.known();
            segment_of(name).is_some_and(|id| {
                let is_old =
                    newest.get(&id).is_some_and(|at_ms| now_ms.saturating_sub(*at_ms) > LEFT_OVER_MS);
                is_old && !known.state.live.contains_key(&id) && !known.state.removed.contains_key(&id)
            })
        };
        let mut names: Vec<_> =
            objects.into_iter().map(|object| object.name).filter(|name| is_left_over(name)).collect();
        names.extend(self.old_log(now_ms)?);
        let count = names.len();
        if count > 0 {
            self.client.delete_all(names)?;
        }
        Ok(count)
    }

    /// Commits and checkpoints that nobody reads any more.
    fn old_log(&self, now_ms: i64) -> Result<Vec<String>> {
        let checkpoints = self.client.list(CHECKPOINTS, None)?;
        let kept = checkpoints.len().saturating_sub(CHECKPOINTS_KEPT);
        let Some(oldest) = checkpoints
            .get(kept)
            .filter(|_| checkpoints.len() >= CHECKPOINTS_KEPT)
            .and_then(|object| sequence_of(&object.name, CHECKPOINTS, ".json.zst"))
        else {
            return Ok(Vec::new());
        };
        let commits = self.client.list(COMMITS, None)?;
        let is_old = |name: &str, at_ms: i64| {
            let sequence = sequence_of(name, COMMITS, ".json");
            sequence.is_some_and(|sequence| sequence <= oldest)
                && now_ms.saturating_sub(at_ms) > COMMITS_KEPT_MS
        };
        let commits = commits.into_iter().filter(|object| is_old(&object.name, object.modified_ms));
        let commits = commits.map(|object| object.name);
        Ok(commits.chain(checkpoints.into_iter().take(kept).map(|object| object.name)).collect())
    }
}

/// The segment that an object of it names: `segments/date=…/segment=…/file`.
fn segment_of(name: &str) -> Option<Ulid> {
    let mut parts = name.strip_prefix("segments/date=")?.split('/').skip(1);
    let id = Ulid::from_string(parts.next()?.strip_prefix("segment=")?).ok()?;
    (parts.count() == 1).then_some(id)
}
