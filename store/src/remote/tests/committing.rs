//! Commits: each once, whatever gets lost, and whoever else commits.

use super::*;

#[test]
fn what_one_host_commits_another_reads() {
    let bucket = Faulty::new();
    let (a, b) = (Host::new(&bucket), Host::new(&bucket));
    a.append("a", NOON);
    b.append("b", NOON + 10_000);
    assert_eq!(a.flush(NOON + HOUR).uploaded, 1);
    assert_eq!(b.flush(NOON + HOUR).uploaded, 1);
    a.remote.refresh().unwrap();
    let all = of_windows([NOON, NOON + 10_000]);
    assert_eq!(a.times(), all);
    assert_eq!(b.times(), all);
    let (_dir, store, remote) = reader(&bucket, 1 << 30);
    assert_eq!(times(&store), all);
    assert_eq!((remote.stats().segments, remote.stats().writers, remote.stats().sequence), (2, 2, 2));
}

#[test]
fn a_commit_whose_answer_is_lost_is_recognised_and_not_made_again() {
    let bucket = Faulty::new();
    let host = Host::new(&bucket);
    host.append("a", NOON);
    let mut lost = false;
    bucket.plan(move |op, path| {
        let now = op == Op::Put && is_commit(path) && !lost;
        lost |= now;
        now.then_some(Fault::LostAnswer)
    });
    assert_eq!(host.flush(NOON + HOUR).uploaded, 1);
    bucket.heal();
    assert_eq!(objects(&bucket, "commits").len(), 1);
    assert_eq!(host.times(), of_windows([NOON]));
    assert_eq!(host.flush(NOON + HOUR), super::super::Synced::default());
    assert_eq!(times(&reader(&bucket, 1 << 30).1), of_windows([NOON]));
}

#[test]
fn a_commit_that_was_made_right_before_a_crash_is_known_afterwards() {
    let bucket = Faulty::new();
    let host = Host::new(&bucket);
    host.append("a", NOON);
    host.flush(NOON + HOUR);
    host.append("a", NOON + 10_000);
    // The commit arrives; its answer, and all that is asked then, does not.
    let mut after = false;
    bucket.plan(move |op, path| {
        let is_first = !after;
        after |= op == Op::Put && path.ends_with("2.json");
        (after).then_some(if is_first { Fault::LostAnswer } else { Fault::Unreachable })
    });
    let how = SyncOptions { flush: true, ..SyncOptions::default() };
    host.remote.sync(&host.store, how, NOON + HOUR).unwrap_err();
    bucket.heal();
    assert_eq!(objects(&bucket, "commits").len(), 2);
    bucket.take_done();
    let host = host.restart(&bucket);
    assert_eq!(host.times_without_store(), of_windows([NOON, NOON + 10_000]), "before it has read the log");
    assert_eq!(host.flush(NOON + HOUR).uploaded, 0);
    assert_eq!(puts_of_segments(&bucket.take_done()), 0);
    assert_eq!(host.times(), of_windows([NOON, NOON + 10_000]));
    assert_eq!(host.remote.stats().pending_segments, 0);
}

#[test]
fn an_upload_without_its_commit_does_not_count_until_it_is_done_again() {
    let bucket = Faulty::new();
    let host = Host::new(&bucket);
    host.append("a", NOON);
    bucket.plan(|op, path| (op == Op::Put && is_commit(path)).then_some(Fault::Busy));
    let how = SyncOptions { flush: true, ..SyncOptions::default() };
    let error = host.remote.sync(&host.store, how, NOON + HOUR).unwrap_err();
    assert!(error.is_passing(), "{error}");
    assert_eq!(objects(&bucket, "segments").len(), 7);
    bucket.heal();
    let (_dir, store, _) = reader(&bucket, 1 << 30);
    assert_eq!(times(&store), [0; 0]);
    assert_eq!(host.times(), of_windows([NOON]));
    let host = host.restart(&bucket);
    assert_eq!(host.flush(NOON + HOUR).uploaded, 1);
    assert_eq!(times(&reader(&bucket, 1 << 30).1), of_windows([NOON]));
}

#[test]
fn writers_that_commit_at_once_lose_nothing() {
    const HOSTS: i64 = 5;
    const EACH: i64 = 6;
    let bucket = Faulty::new();
    std::thread::scope(|scope| {
        for n in 0..HOSTS {
            let bucket = &bucket;
            scope.spawn(move || {
                let host = Host::new(bucket);
                for i in 0..EACH {
                    host.append("a", NOON + (i * HOSTS + n) * 10_000);
                    host.flush(NOON + HOUR);
                }
            });
        }
    });
    let (_dir, store, remote) = reader(&bucket, 1 << 30);
    assert_eq!(times(&store), of_windows((0..HOSTS * EACH).map(|i| NOON + i * 10_000)));
    assert_eq!(remote.stats().sequence, (HOSTS * EACH) as u64);
    let numbers: Vec<_> = (1..=HOSTS * EACH).map(|n| format!("commits/{n:020}.json")).collect();
    assert_eq!(objects(&bucket, "commits"), numbers);
}

#[test]
fn windows_wait_for_their_five_minutes_and_go_as_one() {
    let bucket = Faulty::new();
    let host = Host::new(&bucket);
    for n in 0..30 {
        host.append("a", NOON + n * 10_000);
    }
    assert_eq!(host.sync(NOON + 5 * MINUTE).unwrap().uploaded, 0);
    assert_eq!(host.remote.stats().pending_segments, 30);
    host.store.compact(NOON + 6 * MINUTE).unwrap();
    assert_eq!(host.sync(NOON + 6 * MINUTE).unwrap().uploaded, 1);
    // One alone is not merged, and goes as it is.
    host.append("a", NOON + HOUR);
    assert_eq!(host.sync(NOON + HOUR + 5 * MINUTE).unwrap().uploaded, 0);
    assert_eq!(host.sync(NOON + HOUR + 7 * MINUTE).unwrap().uploaded, 1);
    assert_eq!(host.times().len(), 310);
}

#[test]
fn a_store_that_cannot_be_reached_holds_nothing_up() {
    let bucket = Faulty::new();
    let host = Host::new(&bucket);
    bucket.plan(|_, _| Some(Fault::Unreachable));
    host.append("a", NOON);
    let how = SyncOptions { flush: true, ..SyncOptions::default() };
    let error = host.remote.sync(&host.store, how, NOON + HOUR).unwrap_err();
    assert!(error.is_passing());
    assert!(error.to_string().starts_with("s3://test cannot be reached: "), "{error}");
    host.append("a", NOON + 10_000);
    assert_eq!(host.times_without_store(), of_windows([NOON, NOON + 10_000]));
    bucket.heal();
    assert_eq!(host.flush(NOON + HOUR).uploaded, 2);
    // Known again after a restart without a network.
    bucket.plan(|_, _| Some(Fault::Unreachable));
    let host = host.restart(&bucket);
    assert_eq!(host.times_without_store(), of_windows([NOON, NOON + 10_000]));
}

#[test]
fn a_data_directory_that_meets_another_store_gives_it_everything() {
    let (first, second) = (Faulty::new(), Faulty::new());
    let host = Host::new(&first);
    host.append("a", NOON);
    host.flush(NOON + HOUR);
    let host = host.restart(&second);
    assert_eq!(host.flush(NOON + HOUR).uploaded, 1);
    assert_eq!(times(&reader(&second, 1 << 30).1), of_windows([NOON]));
    let host = host.restart(&first);
    // Its notes of the first are gone, but what is there is known by its ids.
    assert_eq!(host.flush(NOON + HOUR).uploaded, 0);
    assert_eq!(times(&reader(&first, 1 << 30).1), of_windows([NOON]));
}

/// The figures of docs/operations.md: what is charged for an hour of one host.
#[test]
fn an_hour_of_a_host_is_some_hundred_requests() {
    let bucket = Faulty::new();
    let host = Host::new(&bucket);
    host.remote.refresh().unwrap();
    let before: std::collections::BTreeMap<_, _> = host.remote.stats().requests.into();
    for n in 0..420 {
        // From noon to one there is an hour of windows, and the next ten minutes, in which the hour is merged.
        if n < 360 {
            host.append("a", NOON + n * 10_000);
        }
        if n % 3 == 0 {
            let now = NOON + n * 10_000 + 9_000;
            bucket.pass(30_000);
            host.store.compact(now).unwrap();
            host.sync(now).unwrap();
        }
    }
    assert_eq!(host.remote.stats().segments, 1);
    assert_eq!(host.remote.stats().pending_segments, 0);
    let after: std::collections::BTreeMap<_, _> = host.remote.stats().requests.into();
    let of = |kind| after[kind] - before[kind];
    // Twelve times five minutes of six tables, a manifest and a commit; and an hour with four tables more.
    assert_eq!(of("put"), 12 * 8 + 12);
    // One for each commit, and one for a checkpoint before the first of all; beside a look every five minutes at least.
    assert_eq!((of("list"), of("get")), (13 + 1, 0));
}
