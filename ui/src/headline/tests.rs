//! The headline says what is in the data, and nothing else.

use store::model::Profile;

use super::*;
use crate::support::{Maker, PERIOD_NS, REDIS, START_MS, Who, native};

/// A window of ten seconds that starts `at_ms`, one sample of each stack in each second for each of its weight.
fn window(at_ms: i64, stacks: &[(&str, &[&str], u64)]) -> Profile {
    let mut maker = Maker::default();
    for second in 0..10 {
        for (process, stack, samples) in stacks {
            let parts: Vec<_> = stack.iter().map(|name| native(name)).collect();
            let who = Who { process, time_ms: at_ms + second * 1000, ..REDIS };
            maker.stack(who, &parts, *samples);
        }
    }
    std::mem::take(&mut maker.builder).finish(at_ms, at_ms + 10_000)
}

const CALM: &[(&str, &[&str], u64)] = &[("web", &["main", "serve"], 40), ("db", &["main", "scan"], 20)];
const BURST: &[(&str, &[&str], u64)] = &[
    ("web", &["main", "serve"], 40),
    ("db", &["main", "scan"], 20),
    ("web", &["main", "run", "redact", "match"], 30),
    ("web", &["main", "run", "redact"], 10),
    ("web", &["main", "run", "other"], 4),
];
const NOW: i64 = START_MS + 8 * DAY_MS;

fn store(windows: &[Profile]) -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_writer(dir.path()).unwrap();
    for window in windows {
        store.append(window).unwrap();
    }
    (dir, store)
}

fn ask(store: &Store, query: &str, baseline: Baseline) -> Headline {
    let selector = Selector::parse(query).unwrap();
    let range = TimeRange { from_ms: NOW, until_ms: NOW + 10_000 };
    headline(store, &Ask { selector: &selector, range, by: &GroupBy::default(), baseline }).unwrap()
}

fn near(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-9 * expected.abs().max(1.0), "{found} is not {expected}");
}

#[test]
fn a_burst_is_told_by_the_function_that_is_new_and_not_by_main() {
    let (_dir, store) = store(&[window(NOW - DAY_MS, CALM), window(NOW, BURST)]);
    let found = ask(&store, "", Baseline::Yesterday);
    let cores = |per_second: f64| per_second * PERIOD_NS as f64 / 1e9;
    near(found.side.cores, cores(104.0));
    let before = found.baseline.unwrap();
    assert_eq!((before.from_ms, before.watched_ms, before.samples), (NOW - DAY_MS, 10_000, 600));
    near(before.cores, cores(60.0));
    near(found.ratio.unwrap(), 104.0 / 60.0);
    assert!(found.significant);
    let cause = found.cause.unwrap();
    assert_eq!((&*cause.function, &*cause.group, &*cause.kind), ("redact", "web", "native"));
    near(cause.share, 40.0 / 44.0);
    near(cause.cores, cores(40.0));
    assert_eq!((cause.before_cores, cause.first_seen_ms, cause.deploy), (0.0, Some(NOW), None));
}

#[test]
fn what_was_new_before_the_range_is_dated_and_a_deploy_shortly_before_is_named() {
    let early = NOW - 3_600_000;
    let (_dir, store) = store(&[window(NOW - DAY_MS, CALM), window(early, BURST), window(NOW, BURST)]);
    let cause = ask(&store, "", Baseline::Yesterday).cause.unwrap();
    assert_eq!((cause.first_seen_ms, cause.deploy), (Some(early), None));
    let annotate = |at, kind, text| store.annotate(at, kind, text).unwrap();
    annotate(early - 2 * DEPLOY_BEFORE_MS, AnnotationKind::Deploy, "too early");
    annotate(early - 60_000, AnnotationKind::Note, "no deploy");
    annotate(early + 1, AnnotationKind::Deploy, "too late");
    assert_eq!(ask(&store, "", Baseline::Yesterday).cause.unwrap().deploy, None);
    annotate(early - 90_000, AnnotationKind::Deploy, "reports 4.18.0");
    annotate(early - 120_000, AnnotationKind::Deploy, "api 2.7.1");
    let deploy = ask(&store, "", Baseline::Yesterday).cause.unwrap().deploy;
    assert_eq!(deploy, Some(Deploy { text: "reports 4.18.0".into(), time_ms: early - 90_000 }));
}

#[test]
fn noise_and_small_changes_have_no_cause() {
    let few: &[(&str, &[&str], u64)] = &[("web", &["main", "serve"], 41), ("db", &["main", "scan"], 20)];
    let (_dir, store) = store(&[window(NOW - DAY_MS, CALM), window(NOW, few)]);
    let found = ask(&store, "", Baseline::Yesterday);
    assert_eq!((found.significant, found.cause), (false, None));
    // One process has a new function, and few samples of it.
    let rare: &[(&str, &[&str], u64)] = &[("cron", &["main", "tick"], 1)];
    let other = self::store(&[window(NOW - DAY_MS, CALM), window(NOW, &[CALM, rare].concat())]);
    assert_eq!(ask(&other.1, "", Baseline::Yesterday).cause, None);
}

#[test]
fn many_small_changes_are_told_by_their_group_or_not_at_all() {
    let names: Vec<String> = (0..8).map(|i| format!("part_{i}")).collect();
    let stacks: Vec<[&str; 1]> = names.iter().map(|name| [name.as_str()]).collect();
    let scattered: Vec<_> = stacks.iter().map(|stack| ("build", &stack[..], 10)).collect();
    let (_dir, store) = store(&[window(NOW - DAY_MS, CALM), window(NOW, &[CALM, &scattered].concat())]);
    let cause = ask(&store, "", Baseline::Yesterday).cause.unwrap();
    assert_eq!((&*cause.function, &*cause.group), ("", "build"));
    near(cause.share, 1.0);
    let by_thread = "thread".parse::<GroupBy>().unwrap();
    let range = TimeRange { from_ms: NOW, until_ms: NOW + 10_000 };
    let selector = Selector::parse(r#"process="build""#).unwrap();
    let alone =
        headline(&store, &Ask { selector: &selector, range, by: &by_thread, baseline: Baseline::Yesterday });
    // Its one thread explains all of it; the baseline used nothing, so there is no ratio.
    let alone = alone.unwrap();
    assert_eq!((alone.ratio, alone.significant), (None, true));
    assert_eq!(alone.cause.unwrap().group, "io_thd_1");
}

#[test]
fn what_was_not_watched_is_no_baseline() {
    let (_dir, store) = store(&[window(NOW, BURST)]);
    for baseline in [Baseline::Yesterday, Baseline::Week, Baseline::Median, Baseline::None] {
        let found = ask(&store, "", baseline);
        assert_eq!((found.baseline, found.ratio, found.cause), (None, None, None), "{baseline:?}");
        assert_eq!(found.side.samples, 1040);
    }
}

#[test]
fn the_median_day_stands_for_the_week_and_a_range_for_itself() {
    let loads = [5, 10, 80, 20, 30];
    let day = |(n, load): (usize, &u64)| window(NOW - (n as i64 + 1) * DAY_MS, &[("web", &["main"], *load)]);
    let mut windows: Vec<_> = loads.iter().enumerate().map(day).collect();
    windows.push(window(NOW, &[("web", &["main"], 40)]));
    let (_dir, store) = store(&windows);
    let median = ask(&store, "", Baseline::Median).baseline.unwrap();
    assert_eq!((median.samples, median.from_ms), (200, NOW - 4 * DAY_MS));
    let range = TimeRange { from_ms: NOW - 3 * DAY_MS, until_ms: NOW - 3 * DAY_MS + 5_000 };
    let found = ask(&store, r#"process="web""#, Baseline::Range(range));
    near(found.ratio.unwrap(), 0.5);
    assert_eq!(found.cause.unwrap().function, "main");
}
