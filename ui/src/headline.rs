//! The sentence above the picture, as figures: how much a range uses, how that compares to a baseline, and what explains
//! the difference. Computed from samples and annotations alone; where they do not say, it says nothing.

mod watched;

use serde::Serialize;
use store::{AnnotationKind, FunctionName, Selector, Store, TimeRange, Timeline};

use crate::flame::{self, FlameTree, GroupBy};
use crate::growth::{self, Exposure};
use crate::render::{period_ns, plain_name};

pub use watched::watched_ms;

const DAY_MS: i64 = 86_400_000;
/// A baseline of which less than this was watched is none.
const LEAST_WATCHED: f64 = 0.5;
/// A ratio from here on is a change worth a cause; below one, its inverse.
const CHANGED: f64 = 1.15;
/// Days that a median is of, and the fewest that make one.
const MEDIAN_DAYS: i64 = 7;
const LEAST_DAYS: usize = 3;
/// A deploy this long before something was first seen may have to do with it.
const DEPLOY_BEFORE_MS: i64 = 30 * 60_000;
/// Buckets of a look for when a function was first seen.
const SIGHT_BUCKETS: i64 = 1000;

/// What a range is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Baseline {
    /// The same time of the day before.
    Yesterday,
    /// The same time a week before.
    Week,
    /// Of the same times of the seven days before the one with the median load.
    Median,
    /// Another range.
    Range(TimeRange),
    /// Nothing.
    None,
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    /// Which samples.
    pub selector: &'a Selector,
    /// When.
    pub range: TimeRange,
    /// The label whose values are groups.
    pub by: &'a GroupBy,
    /// What it is compared with.
    pub baseline: Baseline,
}

/// A range in figures; docs/api.md describes it as JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Headline {
    /// The range.
    #[serde(flatten)]
    pub side: Side,
    /// What it is compared with; none where there is no data for it.
    pub baseline: Option<Side>,
    /// Cores of the range over those of the baseline; none without one, or where it used none.
    pub ratio: Option<f64>,
    /// Whether the difference is more than chance.
    pub significant: bool,
    /// What explains most of the difference, if that is worth one.
    pub cause: Option<Cause>,
}

/// One range in figures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Side {
    /// First millisecond.
    pub from_ms: i64,
    /// First millisecond after.
    pub until_ms: i64,
    /// How much of it was watched.
    pub watched_ms: i64,
    /// Selected samples.
    pub samples: u64,
    /// Mean cores while it was watched.
    pub cores: f64,
}

/// What explains most of a difference.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cause {
    /// Name of the function; empty where only the group stands out.
    pub function: String,
    /// Kind of its frames.
    pub kind: String,
    /// Path of its binary.
    pub binary: String,
    /// The group in which most of it is.
    pub group: String,
    /// Its share of the difference, 0 to 1; more where others changed the other way.
    pub share: f64,
    /// Its cores in the baseline.
    pub before_cores: f64,
    /// Its cores in the range.
    pub cores: f64,
    /// When it was first seen since the baseline, Unix milliseconds; none where the baseline has it already.
    pub first_seen_ms: Option<i64>,
    /// The last deploy in the half hour before that.
    pub deploy: Option<Deploy>,
}

/// A deploy marker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Deploy {
    /// What was deployed.
    pub text: String,
    /// When, Unix milliseconds.
    pub time_ms: i64,
}

/// The headline of a range.
///
/// # Errors
/// As [`Store::query`], and when the annotations cannot be read.
pub fn headline(store: &Store, ask: &Ask<'_>) -> store::Result<Headline> {
    let side = side(store, ask, ask.range)?;
    let Some(baseline) = baseline(store, ask)? else {
        return Ok(Headline { side, baseline: None, ratio: None, significant: false, cause: None });
    };
    let exposure = Exposure { before_s: seconds(baseline.watched_ms), after_s: seconds(side.watched_ms) };
    let ratio = (baseline.cores > 0.0).then(|| side.cores / baseline.cores);
    let significant = exposure.p_value(baseline.samples, side.samples) < growth::FALSE_DISCOVERIES;
    let changed = ratio.is_none_or(|ratio| ratio >= CHANGED || ratio <= 1.0 / CHANGED);
    let cause = match significant && changed {
        true => cause(store, ask, &baseline, exposure)?,
        false => None,
    };
    Ok(Headline { side, baseline: Some(baseline), ratio, significant, cause })
}

fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

/// A day and more earlier; none where that is before 1970.
fn earlier(range: TimeRange, days: i64) -> Option<TimeRange> {
    let from_ms = range.from_ms.checked_sub(days * DAY_MS).filter(|from| *from >= 0)?;
    TimeRange::new(from_ms, range.until_ms - days * DAY_MS).ok()
}

fn baseline(store: &Store, ask: &Ask<'_>) -> store::Result<Option<Side>> {
    let days = match ask.baseline {
        Baseline::None => return Ok(None),
        Baseline::Range(range) => return worth(store, ask, Some(range)),
        Baseline::Yesterday => return worth(store, ask, earlier(ask.range, 1)),
        Baseline::Week => return worth(store, ask, earlier(ask.range, 7)),
        Baseline::Median => 1..=MEDIAN_DAYS,
    };
    let mut sides = Vec::new();
    for day in days {
        sides.extend(worth(store, ask, earlier(ask.range, day))?);
    }
    if sides.len() < LEAST_DAYS {
        return Ok(None);
    }
    sides.sort_by(|a, b| a.cores.total_cmp(&b.cores));
    let middle = (sides.len() - 1) / 2;
    Ok(Some(sides.swap_remove(middle)))
}

/// A range as a baseline: none where too little of it was watched.
fn worth(store: &Store, ask: &Ask<'_>, range: Option<TimeRange>) -> store::Result<Option<Side>> {
    let Some(range) = range else { return Ok(None) };
    let side = side(store, ask, range)?;
    Ok((side.watched_ms as f64 >= range.len_ms() as f64 * LEAST_WATCHED).then_some(side))
}

fn side(store: &Store, ask: &Ask<'_>, range: TimeRange) -> store::Result<Side> {
    let step_ms = watched::step_ms(range);
    let everything = store.timeline(&Selector::all(), range, step_ms, "host", 1)?;
    let watched_ms = store.span().map_or(0, |data| watched_ms(&everything, data));
    let own;
    let selected = if ask.selector.text().trim().is_empty() {
        &everything
    } else {
        own = store.timeline(ask.selector, range, range.len_ms(), "host", 1)?;
        &own
    };
    let samples = total(selected);
    let cores = match watched_ms {
        0 => 0.0,
        _ => samples as f64 * selected.period_ns as f64 / (watched_ms as f64 * 1e6),
    };
    Ok(Side { from_ms: range.from_ms, until_ms: range.until_ms, watched_ms, samples, cores })
}

fn total(timeline: &Timeline) -> u64 {
    timeline.groups.iter().map(|group| group.total).sum::<u64>() + timeline.other.total
}

fn cause(store: &Store, ask: &Ask<'_>, baseline: &Side, exposure: Exposure) -> store::Result<Option<Cause>> {
    let Ok(before) = TimeRange::new(baseline.from_ms, baseline.until_ms) else { return Ok(None) };
    let both = store.compare((ask.selector, before), (ask.selector, ask.range), ask.by.name())?;
    let tree = flame::build_comparison(&both, ask.by);
    let Some(found) = growth::cause(&tree, exposure) else { return Ok(None) };
    let per_sample = period_ns(&both.profile) as f64 / 1e9;
    let (function, kind, binary) = named(&tree, found.frame);
    let is_new = found.before == 0 && !function.is_empty();
    let first_seen_ms = if is_new {
        first_seen(store, ask, before.until_ms.min(ask.range.from_ms), &function)?
    } else {
        None
    };
    Ok(Some(Cause {
        group: tree.text(tree.frames[found.group].function).to_owned(),
        share: found.share,
        before_cores: found.before as f64 * per_sample / exposure.before_s,
        cores: found.after as f64 * per_sample / exposure.after_s,
        deploy: first_seen_ms.map_or(Ok(None), |seen| deploy(store, seen))?,
        first_seen_ms,
        function,
        kind,
        binary,
    }))
}

fn named(tree: &FlameTree, frame: Option<usize>) -> (String, String, String) {
    frame.map_or_else(Default::default, |i| {
        let frame = &tree.frames[i];
        let name = plain_name(frame.kind, tree.text(frame.function));
        (name, frame.kind.name().to_owned(), tree.text(frame.binary).to_owned())
    })
}

/// When a function was first seen after a time, to the millisecond where times are exact.
fn first_seen(store: &Store, ask: &Ask<'_>, since_ms: i64, function: &str) -> store::Result<Option<i64>> {
    let name = FunctionName::Is(function.to_owned());
    let mut range = TimeRange { from_ms: since_ms, until_ms: ask.range.until_ms };
    loop {
        let step_ms = (range.len_ms() / SIGHT_BUCKETS).max(1);
        let history = store.function_history(ask.selector, range, step_ms, &name, 8)?;
        let buckets = history.samples.len();
        let seen = (0..buckets).find(|i| history.functions.iter().any(|f| f.total[*i] > 0));
        let Some(bucket) = seen.and_then(|bucket| i64::try_from(bucket).ok()) else { return Ok(None) };
        let from_ms = history.from_ms + bucket * history.step_ms;
        if history.step_ms <= 1 {
            return Ok(Some(from_ms));
        }
        range = TimeRange { from_ms, until_ms: (from_ms + history.step_ms).min(range.until_ms) };
    }
}

/// The last deploy before something was seen.
fn deploy(store: &Store, seen_ms: i64) -> store::Result<Option<Deploy>> {
    let range = TimeRange { from_ms: (seen_ms - DEPLOY_BEFORE_MS).max(0), until_ms: seen_ms + 1 };
    let mut deploys = store.annotations(range)?;
    deploys.retain(|annotation| annotation.kind == AnnotationKind::Deploy);
    Ok(deploys.pop().map(|last| Deploy { text: last.text, time_ms: last.time_ms }))
}

#[cfg(test)]
mod tests;
