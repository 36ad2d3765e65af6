//! Queries of what is not here: through the cache, and without it.

use super::*;
use crate::Retention;

/// A day of one window an hour, uploaded.
fn day(bucket: &Faulty) -> (Host, Vec<i64>) {
    let host = Host::new(bucket);
    let starts: Vec<_> = (0..24).map(|n| NOON + n * HOUR).collect();
    starts.iter().for_each(|start| host.append("a", *start));
    host.flush(NOON + DAY);
    (host, of_windows(starts))
}

fn gets(bucket: &Faulty) -> usize {
    let done = bucket.take_done();
    done.iter().filter(|(op, path)| *op == Op::Get && path.starts_with("segments/")).count()
}

#[test]
fn what_was_fetched_is_not_fetched_again_not_even_by_the_next_process() {
    let bucket = Faulty::new();
    let (_host, all) = day(&bucket);
    let (dir, store, remote) = reader(&bucket, 1 << 30);
    bucket.take_done();
    assert_eq!(times(&store), all);
    assert_eq!(gets(&bucket), 24 * 6);
    assert_eq!(times(&store), all);
    assert_eq!(gets(&bucket), 0);
    let stats = remote.stats();
    assert_eq!((stats.cache_misses, stats.cache_evicted), (24 * 6, 0));
    assert!(stats.cache_bytes > 0);
    drop((store, remote));

    let open = || {
        let store = Store::open_reader(dir.path().join("empty")).unwrap();
        let remote = attach(&store, &dir.path().join("cache"), &bucket, false, 1 << 30);
        remote.refresh().unwrap();
        (store, remote)
    };
    let (store, remote) = open();
    bucket.take_done();
    assert_eq!(times(&store), all);
    assert_eq!(gets(&bucket), 0);
    assert_eq!(remote.stats().cache_bytes, stats.cache_bytes);
    // A second process at the same time has a cache of its own, which goes with it.
    let (second, second_remote) = open();
    bucket.take_done();
    assert_eq!(times(&second), all);
    assert_eq!(gets(&bucket), 24 * 6);
    let caches = || std::fs::read_dir(dir.path()).unwrap().flatten().count();
    assert_eq!(caches(), 3);
    drop((second, second_remote));
    assert_eq!(caches(), 2);
    drop((store, remote));

    // A file that was changed on disk is noticed.
    let segment = std::fs::read_dir(dir.path().join("cache")).unwrap().flatten();
    let segment = segment.map(|entry| entry.path()).find(|path| path.is_dir()).unwrap();
    std::fs::write(segment.join("samples.parquet"), b"nonsense").unwrap();
    let (store, remote) = open();
    bucket.take_done();
    assert_eq!(times(&store), all);
    assert_eq!((gets(&bucket), remote.stats().cache_damaged), (1, 1));
}

#[test]
fn the_cache_keeps_to_its_bound() {
    let bucket = Faulty::new();
    let (host, all) = day(&bucket);
    let one = host.remote.stats().bytes / 24;
    let limit = one * 3;
    let (dir, store, remote) = reader(&bucket, limit);
    for _ in 0..2 {
        assert_eq!(times(&store), all);
        let stats = remote.stats();
        assert!(
            stats.cache_bytes <= limit && stats.cache_bytes > limit / 2,
            "{} of {limit}",
            stats.cache_bytes
        );
        assert!(stats.cache_evicted > 0);
    }
    let files =
        std::fs::read_dir(dir.path().join("cache")).unwrap().flatten().filter(|entry| entry.path().is_dir());
    let files = files.flat_map(|folder| std::fs::read_dir(folder.path()).unwrap().flatten());
    let on_disk: u64 = files.map(|file| file.metadata().unwrap().len()).sum();
    assert_eq!(on_disk, remote.stats().cache_bytes);
    // Nothing fits: each file goes as soon as it was read.
    let (_dir, store, remote) = reader(&bucket, 0);
    assert_eq!(times(&store), all);
    drop(store);
    assert_eq!(remote.stats().cache_bytes, 0);
}

#[test]
fn threads_that_want_the_same_file_fetch_it_once() {
    let bucket = Faulty::new();
    let (_host, all) = day(&bucket);
    let (_dir, store, remote) = reader(&bucket, 1 << 30);
    bucket.take_done();
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| assert_eq!(times(&store), all));
        }
    });
    assert_eq!(gets(&bucket), 24 * 6);
    assert_eq!(remote.stats().cache_misses, 24 * 6);
}

#[test]
fn copies_go_when_there_is_no_room_and_what_is_only_here_goes_last() {
    let bucket = Faulty::new();
    let (host, all) = day(&bucket);
    bucket.plan(|_, _| Some(Fault::Unreachable));
    host.append("late", NOON - HOUR);
    let late = host.store.segments().unwrap()[0].bytes();
    let removed =
        host.store.retain(Retention { max_age_ms: None, max_bytes: Some(late) }, NOON + DAY).unwrap();
    assert_eq!(removed.segments, 24);
    assert_eq!(host.store.local_segments().unwrap().len(), 1);
    assert_eq!(host.remote.stats().given_up, 0);
    bucket.heal();
    assert_eq!(host.times(), [of_windows([NOON - HOUR]), all.clone()].concat());
    // Not even that has room: it is lost, and counted.
    bucket.plan(|_, _| Some(Fault::Unreachable));
    host.store.retain(Retention { max_age_ms: None, max_bytes: Some(late - 1) }, NOON + DAY).unwrap();
    let stats = host.remote.stats();
    assert_eq!((stats.given_up, stats.given_up_bytes), (1, late));
    bucket.heal();
    assert_eq!(host.times(), all);
}

#[test]
fn what_is_merged_is_read_back_where_its_copies_have_gone() {
    let bucket = Faulty::new();
    let (host, all) = day(&bucket);
    host.store.retain(Retention { max_age_ms: None, max_bytes: Some(0) }, NOON + DAY).unwrap();
    assert_eq!(host.store.local_segments().unwrap().len(), 0);
    // Without a network nothing happens, and nothing is lost.
    bucket.plan(|_, _| Some(Fault::Unreachable));
    let merged = host.store.compact(NOON + 3 * DAY).unwrap();
    assert_eq!(merged.written, 0);
    assert!(merged.skipped[0].reason.contains("cannot be reached"), "{:?}", merged.skipped[0]);
    bucket.heal();
    std::thread::sleep(Duration::from_secs(6));
    let merged = host.store.compact(NOON + 3 * DAY).unwrap();
    assert_eq!((merged.written, merged.skipped.len()), (2, 0), "of two days");
    assert_eq!(host.times(), all);
    host.flush(NOON + 3 * DAY);
    let (_dir, store, remote) = reader(&bucket, 1 << 30);
    assert_eq!((times(&store), remote.stats().segments), (all, 2));
}

#[test]
fn segments_that_cannot_be_fetched_are_named_and_soon_given_up() {
    let bucket = Faulty::new();
    let (_host, _) = day(&bucket);
    let (_dir, store, _) = reader(&bucket, 1 << 30);
    bucket.plan(|_, _| Some(Fault::Unreachable));
    bucket.take_done();
    let answer = store.query(&Selector::all(), TimeRange::ALL, Keep::ALL).unwrap();
    assert_eq!(answer.skipped.len(), 24);
    assert!(answer.skipped[0].reason.starts_with("s3://test cannot be reached: "), "{:?}", answer.skipped[0]);
    assert!(gets(&bucket) <= 5 * store.limits().threads, "it does not wait for each of them");
    // Only what a range needs is fetched.
    bucket.heal();
    std::thread::sleep(Duration::from_secs(6));
    bucket.take_done();
    let range = TimeRange::new(NOON + HOUR, NOON + 2 * HOUR).unwrap();
    assert_eq!(store.query(&Selector::all(), range, Keep::STACKS).unwrap().profile.samples(), 10);
    assert_eq!(gets(&bucket), 6);
}

#[test]
fn a_store_that_answers_again_is_asked_again_at_once() {
    let bucket = Faulty::new();
    let (_host, all) = day(&bucket);
    let (_dir, store, remote) = reader(&bucket, 1 << 30);
    bucket.plan(|_, _| Some(Fault::Unreachable));
    assert_eq!(times_and_skipped(&store).1.len(), 24);
    bucket.heal();
    // Only a list: there are no new commits to get.
    remote.refresh().unwrap();
    assert_eq!(times(&store), all);
}

#[test]
fn a_reader_of_a_data_directory_in_use_sees_what_is_there_and_what_is_only_here() {
    let bucket = Faulty::new();
    let host = Host::new(&bucket);
    for n in 0..40 {
        host.append("a", NOON + n * 10_000);
        if n == 20 {
            host.flush(NOON + HOUR);
        }
    }
    let open = || {
        let store = Store::open_reader(host.store.path()).unwrap();
        let dir = folder();
        let remote = attach(&store, &dir.path().join("cache"), &bucket, false, 1 << 30);
        (store, remote, dir)
    };
    let (store, remote, _dir) = open();
    remote.refresh().unwrap();
    let all = of_windows((0..40).map(|n| NOON + n * 10_000));
    assert_eq!(times(&store), all);
    // The writer goes on while the reader knows the log as it was.
    host.store.compact(NOON + HOUR).unwrap();
    assert_eq!(times(&store), all);
    host.flush(NOON + HOUR);
    assert_eq!(times(&store), all);
    host.store.compact(NOON + 2 * HOUR).unwrap();
    host.flush(NOON + 2 * HOUR);
    host.store.compact(NOON + 2 * DAY).unwrap();
    assert_eq!(times(&store), all);
    host.flush(NOON + 2 * DAY);
    host.store.retain(Retention { max_age_ms: None, max_bytes: Some(0) }, NOON + DAY).unwrap();
    assert_eq!(times(&store), all);
    let error = remote.sync(&store, SyncOptions::default(), NOON).unwrap_err().to_string();
    assert_eq!(error, "s3://test was opened for reading only");
}
