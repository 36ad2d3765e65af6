//! Merging, expiring and deleting, with readers and other writers about.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::{Retention, TimeRange};

/// Two hours of windows, each five minutes merged and uploaded.
fn two_hours(host: &Host) -> Vec<i64> {
    let starts: Vec<_> =
        (0..24).flat_map(|n| [NOON + n * 5 * MINUTE, NOON + n * 5 * MINUTE + 10_000]).collect();
    for start in &starts {
        host.append("a", *start);
    }
    // At 13:00:20 the first hour is not over for merging yet, its five minutes are.
    host.store.compact(NOON + HOUR + 20_000).unwrap();
    host.sync(NOON + HOUR + 20_000).unwrap();
    starts
}

#[test]
fn what_was_merged_here_takes_the_place_of_its_parts_there() {
    let bucket = Faulty::new();
    let host = Host::new(&bucket);
    let starts = two_hours(&host);
    let all = of_windows(starts);
    assert_eq!(host.remote.stats().segments, 11, "the twelfth is not over");
    host.store.compact(NOON + 3 * HOUR).unwrap();
    assert_eq!(host.times(), all, "while the merged ones wait here");
    assert_eq!(times(&reader(&bucket, 1 << 30).1).len(), 220, "others still see the parts");
    let synced = host.sync(NOON + 3 * HOUR).unwrap();
    assert_eq!(synced.refused, 0);
    host.store.compact(NOON + 3 * HOUR).unwrap();
    host.sync(NOON + 3 * HOUR).unwrap();
    assert_eq!(host.times(), all);
    let (_dir, store, remote) = reader(&bucket, 1 << 30);
    assert_eq!(times(&store), all);
    assert!(remote.stats().segments <= 3, "{:?}", remote.stats());
    assert_eq!(host.remote.stats().pending_segments, 0);
}

#[test]
fn what_is_not_uploaded_and_what_is_are_not_merged_with_each_other() {
    let bucket = Faulty::new();
    let host = Host::new(&bucket);
    host.append("a", NOON);
    host.append("a", NOON + 10_000);
    host.store.compact(NOON + 6 * MINUTE).unwrap();
    host.flush(NOON + 6 * MINUTE);
    // Late ones, while the store is away.
    bucket.plan(|_, _| Some(Fault::Unreachable));
    host.append("late", NOON + 20_000);
    host.append("late", NOON + 30_000);
    host.append("late", NOON + 40 * MINUTE);
    host.store.compact(NOON + 2 * HOUR).unwrap();
    host.store.compact(NOON + 2 * HOUR).unwrap();
    let all = of_windows([NOON, NOON + 10_000, NOON + 20_000, NOON + 30_000, NOON + 40 * MINUTE]);
    assert_eq!(host.times(), all);
    assert_eq!(host.store.segments().unwrap().len(), 2, "those there, and those here");
    bucket.heal();
    host.flush(NOON + 2 * HOUR);
    host.store.compact(NOON + 2 * HOUR).unwrap();
    host.flush(NOON + 2 * HOUR);
    assert_eq!(host.times(), all);
    assert_eq!(host.remote.stats().segments, 1);
    assert_eq!(times(&reader(&bucket, 1 << 30).1), all);
}

#[test]
fn of_two_that_merge_the_same_one_gives_way() {
    let bucket = Faulty::new();
    let host = Host::new(&bucket);
    for n in 0..4 {
        host.append("a", NOON + n * 10 * MINUTE);
    }
    host.flush(NOON + HOUR);
    // A copy of the data directory is the same writer for the store.
    let copy = folder();
    let mut command = std::process::Command::new("cp");
    command.arg("-r").arg(host.dir.path().join("data")).arg(copy.path());
    assert!(command.status().unwrap().success());
    let copy = Host::open(copy, &bucket);
    copy.remote.refresh().unwrap();
    host.append("late", NOON + 10 * HOUR);
    for both in [&host, &copy] {
        both.store.compact(NOON + 2 * HOUR).unwrap();
    }
    assert_eq!(host.flush(NOON + 2 * HOUR).refused, 0);
    let synced = copy.flush(NOON + 2 * HOUR);
    assert_eq!((synced.uploaded, synced.refused), (0, 1));
    let mut all = of_windows((0..4).map(|n| NOON + n * 10 * MINUTE));
    all.extend(of_windows([NOON + 10 * HOUR]));
    for store in [&host.store, &copy.store, &reader(&bucket, 1 << 30).1] {
        assert_eq!(times(store), all);
    }
    assert_eq!(copy.remote.stats().refused, 1);
}

#[test]
fn a_merge_that_comes_back_after_its_parts_were_long_forgotten_is_refused() {
    let bucket = Faulty::new();
    let (host, other) = (Host::new(&bucket), Host::new(&bucket));
    for n in 0..4 {
        host.append("a", NOON + n * 10 * MINUTE);
    }
    host.flush(NOON + HOUR);
    // It merges, and then is away for days.
    host.store.compact(NOON + 2 * HOUR).unwrap();
    bucket.plan(|_, _| Some(Fault::Unreachable));
    host.remote
        .sync(&host.store, SyncOptions { flush: true, ..SyncOptions::default() }, NOON + 2 * HOUR)
        .unwrap_err();
    bucket.heal();
    bucket.pass(3 * DAY);
    // Another one takes care of what it left: merges it, and the parts' objects go.
    other.append("b", NOON + DAY);
    other.flush(NOON + 3 * DAY);
    other.store.compact(NOON + 3 * DAY).unwrap();
    other.flush(NOON + 3 * DAY);
    bucket.pass(HOUR);
    for n in 1..4 {
        other.append("b", NOON + DAY + n * 10_000);
        other.flush(NOON + 3 * DAY);
    }
    assert_eq!(
        objects(&bucket, "segments").iter().filter(|name| name.contains("date=2026-01-31")).count() / 11,
        1
    );
    let all =
        of_windows((0..4).map(|n| NOON + n * 10 * MINUTE).chain((0..4).map(|n| NOON + DAY + n * 10_000)));
    assert_eq!(times(&other.store), all);
    let synced = host.flush(NOON + 3 * DAY);
    assert_eq!((synced.uploaded, synced.refused), (0, 1));
    for store in [&host.store, &other.store, &reader(&bucket, 1 << 30).1] {
        assert_eq!(times(store), all);
    }
}

/// Four windows that are merged in the store, so long ago that nothing is left of them; and a copy of the data directory from before.
fn merged_away(bucket: &Faulty) -> (Host, tempfile::TempDir, Vec<i64>) {
    let host = Host::new(bucket);
    for n in 0..4 {
        host.append("a", NOON + n * 10 * MINUTE);
    }
    host.flush(NOON + HOUR);
    let copy = folder();
    let mut command = std::process::Command::new("cp");
    command.arg("-r").arg(host.dir.path().join("data")).arg(copy.path());
    assert!(command.status().unwrap().success());
    host.store.compact(NOON + 2 * HOUR).unwrap();
    host.flush(NOON + 2 * HOUR);
    for n in 0..3 {
        bucket.pass(HOUR);
        host.append("b", NOON + DAY + n * 10_000);
        host.flush(NOON + DAY + HOUR);
    }
    assert!(host.remote.inner.known().state.removed.is_empty());
    let windows = (0..4).map(|n| NOON + n * 10 * MINUTE).chain((0..3).map(|n| NOON + DAY + n * 10_000));
    let all = of_windows(windows);
    assert_eq!(host.times(), all);
    (host, copy, all)
}

#[test]
fn windows_that_are_sent_again_after_they_were_merged_away_do_not_count() {
    let bucket = Faulty::new();
    let (host, copy, all) = merged_away(&bucket);
    // Without its notes it is another writer, to which all it has is new.
    std::fs::remove_dir_all(copy.path().join("data").join(super::super::FOLDER)).unwrap();
    let copy = Host::open(copy, &bucket);
    assert_eq!(copy.flush(NOON + DAY + HOUR).uploaded, 0);
    host.remote.refresh().unwrap();
    for store in [&host.store, &copy.store, &reader(&bucket, 1 << 30).1] {
        assert_eq!(times(store), all);
    }
    assert_eq!(copy.remote.stats().pending_segments, 0);
}

#[test]
fn a_window_that_is_written_again_after_it_was_merged_away_does_not_count() {
    let bucket = Faulty::new();
    let (host, _copy, all) = merged_away(&bucket);
    // Known again by its content: its id is another one.
    host.append("a", NOON);
    assert_eq!(host.times(), all);
    host.store.compact(NOON + DAY + HOUR).unwrap();
    assert_eq!(host.times(), all);
    let host = host.restart(&bucket);
    assert_eq!(host.flush(NOON + DAY + HOUR).refused, 1);
    assert_eq!(host.times(), all);
    assert_eq!(times(&reader(&bucket, 1 << 30).1), all);
}

#[test]
fn contents_of_merged_segments_are_known_for_a_week() {
    let bucket = Faulty::new();
    let (host, _copy, _) = merged_away(&bucket);
    let known = || host.remote.inner.known().state.merged.len();
    let commit = |n: i64| {
        host.append("c", NOON + 2 * DAY + n * 10_000);
        host.flush(NOON + 3 * DAY);
    };
    (0..64).for_each(commit);
    assert_eq!(known(), 4);
    bucket.pass(8 * DAY);
    (64..128).for_each(commit);
    assert_eq!(known(), 0);
    // A state without any is as those were that did not know them.
    assert!(!serde_json::to_string(&host.remote.inner.known().state).unwrap().contains("merged"));
}

#[test]
fn a_window_that_is_there_under_another_id_counts_once() {
    let bucket = Faulty::new();
    let host = Host::new(&bucket);
    host.append("a", NOON);
    host.flush(NOON + HOUR);
    // Another writer with the same window, which has not read the log when it counts.
    let other = Host::new(&bucket);
    other.append("a", NOON);
    assert_eq!(other.flush(NOON + HOUR).uploaded, 0);
    host.remote.refresh().unwrap();
    for store in [&host.store, &other.store, &reader(&bucket, 1 << 30).1] {
        assert_eq!(times(store), of_windows([NOON]));
    }
}

#[test]
fn segments_expire_in_the_store_unless_anyone_has_pinned_them() {
    let bucket = Faulty::new();
    let (a, b) = (Host::new(&bucket), Host::new(&bucket));
    for start in [NOON, NOON + DAY, NOON + 5 * DAY] {
        a.append("a", start);
    }
    bucket.pass(5 * DAY);
    a.flush(NOON + 5 * DAY);
    b.store.pin(TimeRange::new(NOON + DAY, NOON + DAY + 1).unwrap(), "look at this").unwrap();
    b.append("b", NOON);
    b.flush(NOON + 5 * DAY);
    let how = SyncOptions { flush: true, max_age_ms: Some(2 * DAY) };
    let synced = a.remote.sync(&a.store, how, NOON + 5 * DAY).unwrap();
    assert_eq!(synced.expired, 1, "another's is not ours to expire, and one is pinned");
    assert_eq!(a.times(), [of_windows([NOON]), of_windows([NOON + DAY, NOON + 5 * DAY])].concat());
    // Both pins and their end travel.
    let id = b.store.pins().unwrap()[0].id.clone();
    assert!(a.store.pins().unwrap().iter().any(|pin| pin.id == id));
    b.store.unpin(&id).unwrap();
    b.sync(NOON + 5 * DAY).unwrap();
    let synced = a.remote.sync(&a.store, how, NOON + 5 * DAY).unwrap();
    assert_eq!(synced.expired, 1);
    assert_eq!(times(&reader(&bucket, 1 << 30).1), of_windows([NOON, NOON + 5 * DAY]));
}

#[test]
fn nothing_expires_by_a_clock_that_is_off() {
    let bucket = Faulty::new();
    let host = Host::new(&bucket);
    host.append("a", NOON);
    host.flush(NOON);
    // A year later, says this machine.
    let how = SyncOptions { flush: true, max_age_ms: Some(DAY) };
    host.append("a", NOON + 365 * DAY);
    assert_eq!(host.remote.sync(&host.store, how, NOON + 365 * DAY).unwrap().expired, 0);
    assert_eq!(host.times().len(), 20);
    bucket.pass(365 * DAY);
    host.append("a", NOON + 365 * DAY + 10_000);
    assert_eq!(host.remote.sync(&host.store, how, NOON + 365 * DAY).unwrap().expired, 1);
}

#[test]
fn pinned_segments_do_not_become_coarser_by_a_commit_that_was_on_its_way() {
    let bucket = Faulty::new();
    let (a, b) = (Host::new(&bucket), Host::new(&bucket));
    a.append("a", NOON);
    a.append("a", NOON + 30 * MINUTE);
    a.flush(NOON + HOUR);
    let policy = "1d=10s".parse().unwrap();
    a.store.compact_by(&policy, &crate::Pace::default(), NOON + 9 * DAY).unwrap();
    b.store.pin(TimeRange::new(NOON, NOON + HOUR).unwrap(), "").unwrap();
    b.flush(NOON + HOUR);
    assert_eq!(a.flush(NOON + 9 * DAY).refused, 1);
    assert_eq!(a.times(), of_windows([NOON, NOON + 30 * MINUTE]), "still exact");
    a.store.compact_by(&policy, &crate::Pace::default(), NOON + 9 * DAY).unwrap();
    assert_eq!(a.flush(NOON + 9 * DAY).uploaded, 0, "the pin is known now");
}

#[test]
fn removed_segments_stay_for_readers_and_go_after_a_while() {
    let bucket = Faulty::new();
    let host = Host::new(&bucket);
    for n in 0..3 {
        host.append("a", NOON + n * 10 * MINUTE);
    }
    host.flush(NOON + HOUR);
    let (_dir, store, _) = reader(&bucket, 1 << 30);
    host.store.compact(NOON + 2 * HOUR).unwrap();
    host.flush(NOON + 2 * HOUR);
    let all = of_windows((0..3).map(|n| NOON + n * 10 * MINUTE));
    assert_eq!(times(&store), all, "by the log as it was");
    assert_eq!(objects(&bucket, "segments").len(), 3 * 7 + 11);
    let (_dir, late, _) = reader(&bucket, 1 << 30);
    host.append("a", NOON + 4 * HOUR);
    bucket.pass(GRACE.as_millis() as i64 + 1000);
    host.flush(NOON + 5 * HOUR);
    host.append("a", NOON + 5 * HOUR);
    host.flush(NOON + 6 * HOUR);
    assert_eq!(objects(&bucket, "segments").len(), 11 + 2 * 7);
    assert_eq!(times(&late), all, "the merged one that it knew is there");
    assert!(host.remote.inner.known().state.removed.is_empty(), "and forgotten");
}

#[test]
fn a_reader_whose_objects_are_deleted_begins_anew() {
    let bucket = Faulty::new();
    let host = Host::new(&bucket);
    for n in 0..3 {
        host.append("a", NOON + n * 10 * MINUTE);
    }
    host.flush(NOON + HOUR);
    let (_dir, store, _) = reader(&bucket, 1 << 30);
    host.store.compact(NOON + 2 * HOUR).unwrap();
    host.flush(NOON + 2 * HOUR);
    host.append("a", NOON + 4 * HOUR);
    bucket.pass(GRACE.as_millis() as i64 + 1000);
    host.flush(NOON + 5 * HOUR);
    assert_eq!(objects(&bucket, "segments").len(), 11 + 7);
    assert_eq!(times(&store), host.times());
}

#[test]
fn readers_see_each_sample_once_while_a_writer_uploads_merges_and_deletes() {
    const WINDOWS: i64 = 60;
    let bucket = Faulty::new();
    let host = Host::new(&bucket);
    host.remote.refresh().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for own in [true, false] {
            let (bucket, done) = (&bucket, &done);
            let store = own.then(|| host.store.clone());
            scope.spawn(move || {
                let other = store.is_none().then(|| reader(bucket, 1 << 16));
                let mut found = 0;
                while !done.load(Ordering::Acquire) {
                    if let Some((_, _, remote)) = &other {
                        remote.refresh().unwrap();
                    }
                    let store = store.as_ref().or(other.as_ref().map(|(_, store, _)| store)).unwrap();
                    let times = times(store);
                    let expected = of_windows((0..times.len() as i64 / 10).map(|n| NOON + n * MINUTE));
                    assert_eq!(times, expected);
                    assert!(times.len() >= found, "{} after {found}", times.len());
                    found = times.len();
                }
            });
        }
        for n in 0..WINDOWS {
            let now = NOON + n * MINUTE;
            host.append("a", now);
            host.store.compact(now).unwrap();
            bucket.pass(60_000);
            host.flush(now);
            if n % 7 == 0 {
                // No room here: all is read back.
                host.store.retain(Retention { max_age_ms: None, max_bytes: Some(0) }, now).unwrap();
            }
        }
        done.store(true, Ordering::Release);
    });
    host.store.compact(NOON + DAY).unwrap();
    host.flush(NOON + DAY);
    assert_eq!(times(&reader(&bucket, 1 << 30).1), of_windows((0..WINDOWS).map(|n| NOON + n * MINUTE)));
}

#[test]
fn a_long_log_is_read_from_its_checkpoint_and_its_beginning_goes() {
    let bucket = Faulty::new();
    let host = Host::new(&bucket);
    for n in 0..150 {
        host.append("a", NOON + n * 10_000);
        host.flush(NOON + HOUR);
    }
    let all = of_windows((0..150).map(|n| NOON + n * 10_000));
    assert_eq!(objects(&bucket, "checkpoints").len(), 2);
    bucket.take_done();
    let (_dir, store, _) = reader(&bucket, 1 << 30);
    let gets = bucket.take_done().iter().filter(|(op, path)| *op == Op::Get && is_commit(path)).count();
    assert_eq!(gets, 150 - 128);
    assert_eq!(times(&store), all);
    let (_dir, behind, behind_remote) = reader(&bucket, 1 << 30);

    assert_eq!(host.remote.inner.sweep_now().unwrap(), 0, "all of it is young");
    bucket.pass(2 * DAY);
    host.append("a", NOON + DAY);
    host.flush(NOON + 2 * DAY);
    assert_eq!(host.remote.inner.sweep_now().unwrap(), 64, "up to the older checkpoint");
    assert_eq!(times(&reader(&bucket, 1 << 30).1).len(), all.len() + 10);
    behind_remote.refresh().unwrap();
    assert_eq!(times(&behind).len(), all.len() + 10);

    // The newest checkpoint is damaged: the older one, and what came after.
    let name = "checkpoints/00000000000000000128.json.zst";
    let mut bytes = read(&bucket, name);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    write(&bucket, name, &bytes);
    assert_eq!(times(&reader(&bucket, 1 << 30).1).len(), all.len() + 10);
}

#[test]
fn uploads_that_were_never_committed_go_in_the_end() {
    let bucket = Faulty::new();
    let host = Host::new(&bucket);
    host.append("a", NOON);
    bucket.plan(|op, path| (op == Op::Put && is_commit(path)).then_some(Fault::Busy));
    host.remote
        .sync(&host.store, SyncOptions { flush: true, ..SyncOptions::default() }, NOON + HOUR)
        .unwrap_err();
    bucket.heal();
    let other = Host::new(&bucket);
    other.append("b", NOON + 10_000);
    other.flush(NOON + HOUR);
    assert_eq!(other.remote.inner.sweep_now().unwrap(), 0);
    write(&bucket, "segments/notes.txt", b"of someone else");
    bucket.pass(3 * DAY);
    other.append("b", NOON + 20_000);
    other.flush(NOON + HOUR);
    assert_eq!(other.remote.inner.sweep_now().unwrap(), 7);
    assert_eq!(times(&reader(&bucket, 1 << 30).1), of_windows([NOON + 10_000, NOON + 20_000]));
    assert!(objects(&bucket, "segments").contains(&"segments/notes.txt".to_owned()));
    host.flush(NOON + HOUR);
    assert_eq!(times(&reader(&bucket, 1 << 30).1).len(), 30);
}
