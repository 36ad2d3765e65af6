//! When the data begins: with its first sample. Segments and windows begin at a multiple of their buckets' length, up to half a
//! minute before it, and who takes that for data sees a machine that did nothing.

use std::sync::Mutex;

use store::{Selector, Store, TimeRange};

/// Older data begins with times that may have been made coarser, and half a minute of them is not seen.
const RECENT_MS: i64 = 3_600_000;
/// The first sample is looked for in so much of the data.
const WITHIN_MS: i64 = 60_000;
/// A column of the map in which it is looked for, of cells of a millisecond.
const COLUMN_MS: i64 = 100;

/// The last answer, by the start of all data that it was found for.
#[derive(Default)]
pub(super) struct Beginning(Mutex<Option<(i64, i64)>>);

impl Beginning {
    /// The span of all data, from its first sample on, as far as that can be told.
    pub(super) fn of(&self, store: &Store, now_ms: i64) -> Option<TimeRange> {
        let span = store.span()?;
        if now_ms.saturating_sub(span.from_ms) > RECENT_MS {
            return Some(span);
        }
        let mut known = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let first = match *known {
            Some((from, first)) if from == span.from_ms => Some(first),
            _ => first_sample(store, span),
        };
        *known = first.map(|first| (span.from_ms, first));
        first.and_then(|first| TimeRange::new(first, span.until_ms.max(first)).ok()).or(Some(span))
    }
}

/// The time of the first sample, or of its bucket where times were not kept; none where there is none yet.
fn first_sample(store: &Store, span: TimeRange) -> Option<i64> {
    let range = TimeRange::new(span.from_ms, span.from_ms.saturating_add(WITHIN_MS)).ok()?;
    let map = store.heat_map(&Selector::all(), range, COLUMN_MS, 1).ok()?;
    if map.without_times > 0 {
        return Some(span.from_ms);
    }
    let place = map.columns.iter().flatten().position(|samples| *samples > 0)?;
    Some(map.from_ms + place as i64 * map.row_ms)
}

#[cfg(test)]
mod tests {
    use store::model::{Exact, ProfileBuilder, RowKey};

    use super::*;
    use crate::support::{START_MS, profile};

    #[test]
    fn data_begins_with_its_first_sample() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_writer(folder.path().join("exact")).unwrap();
        let beginning = Beginning::default();
        assert_eq!(beginning.of(&store, START_MS), None);
        let mut times = ProfileBuilder::default();
        let series = times.cpu_series(Vec::new(), 10);
        let at = [4321, 5000].map(|offset_ms| Exact { offset_ms, cpu: 0 });
        times.add(RowKey { series, time_ms: START_MS, ..RowKey::default() }, 2, 20, &at);
        store.append(&times.finish(START_MS, START_MS + 10_000)).unwrap();
        for _ in 0..2 {
            assert_eq!(beginning.of(&store, START_MS + 20_000).unwrap().from_ms, START_MS + 4321);
        }
        // What is old begins where its first segment does.
        assert_eq!(beginning.of(&store, START_MS + 2 * RECENT_MS), store.span());
        // Without exact times the bucket is all that is known.
        let store = Store::open_writer(folder.path().join("coarse")).unwrap();
        store.append(&profile(&[(&["main"], 3)])).unwrap();
        assert_eq!(Beginning::default().of(&store, START_MS + 20_000), store.span());
    }
}
