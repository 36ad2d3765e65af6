//! Whatever happens in whatever order: each sample counts once in the end, and never twice on the way.

use proptest::prelude::*;

use super::*;
use crate::Retention;

#[derive(Clone, Debug)]
enum Step {
    Append,
    Compact,
    Flush,
    Sync,
    Evict,
    Crash,
    /// From now on about so many of ten requests fail, in this way.
    Fail(u8, u8),
    Heal,
    /// Minutes on the store's clock.
    Pass(u16),
    /// What a reader knows of the log stays as it is.
    Read,
}

fn step() -> impl Strategy<Value = (u8, Step)> {
    let step = prop_oneof![
        6 => Just(Step::Append),
        3 => Just(Step::Compact),
        3 => Just(Step::Flush),
        2 => Just(Step::Sync),
        1 => Just(Step::Evict),
        1 => Just(Step::Crash),
        2 => (1u8..6, 0u8..3).prop_map(|(often, how)| Step::Fail(often, how)),
        2 => Just(Step::Heal),
        1 => (1u16..6000).prop_map(Step::Pass),
        1 => Just(Step::Read),
    ];
    (0u8..2, step)
}

fn fail(bucket: &Faulty, often: u8, how: u8, seed: u64) {
    let mut state = seed | 1;
    bucket.plan(move |_, _| {
        // xorshift: the same failures for the same seed.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let fault = match how {
            0 => Fault::Busy,
            1 => Fault::Unreachable,
            _ => Fault::LostAnswer,
        };
        (state % 10 < u64::from(often)).then_some(fault)
    });
}

/// Samples by time; those of segments that cannot be read at the moment are left out.
fn found(store: &Store) -> (Vec<i64>, usize) {
    let answer = store.query(&Selector::all(), TimeRange::ALL, Keep::ALL).unwrap();
    let mut times: Vec<_> = answer.profile.rows.iter().map(|row| row.key.time_ms).collect();
    times.sort_unstable();
    (times, answer.skipped.len())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_sample_counts_once(steps in prop::collection::vec(step(), 10..60), seed in any::<u64>()) {
        let bucket = Faulty::new();
        let mut hosts = [Some(Host::new(&bucket)), Some(Host::new(&bucket))];
        let mut appended: [Vec<i64>; 2] = Default::default();
        let mut now = NOON;
        let mut reading = None;
        for (i, (n, step)) in steps.into_iter().enumerate() {
            let host = hosts[n as usize].as_ref().unwrap();
            now += 40_000;
            match step {
                Step::Append => {
                    let start = now - now % 10_000;
                    host.append("a", start);
                    appended[n as usize].push(start);
                }
                // A store that cannot be reached is an error of single segments.
                Step::Compact => drop(host.store.compact(now + 6 * MINUTE).unwrap()),
                Step::Flush => drop(host.remote.sync(&host.store, SyncOptions { flush: true, max_age_ms: None }, now)),
                Step::Sync => drop(host.remote.sync(&host.store, SyncOptions::default(), now + 8 * MINUTE)),
                Step::Evict => {
                    let pending = host.remote.stats().pending_bytes;
                    // So that nothing is given up.
                    let only: u64 = host.store.local_segments().unwrap().iter().map(|s| s.bytes()).sum();
                    host.store.retain(Retention { max_age_ms: None, max_bytes: Some(only.max(pending)) }, now).unwrap();
                }
                Step::Crash => hosts[n as usize] = hosts[n as usize].take().map(|host| host.restart(&bucket)),
                Step::Fail(often, how) => fail(&bucket, often, how, seed.wrapping_add(i as u64)),
                Step::Heal => bucket.heal(),
                Step::Pass(minutes) => bucket.pass(i64::from(minutes) * MINUTE),
                Step::Read => {
                    bucket.heal();
                    if hosts.iter().flatten().any(|host| host.remote.refresh().is_ok()) {
                        reading = Some(reader(&bucket, 1 << 20));
                    }
                }
            }
            for (n, host) in hosts.iter().enumerate() {
                let host = host.as_ref().unwrap();
                let (times, skipped) = found(&host.store);
                let own: Vec<_> = appended[n].clone();
                let twice = times.windows(2).any(|pair| pair[0] == pair[1]);
                prop_assert!(!twice, "twice: {times:?}");
                prop_assert!(skipped > 0 || own.iter().all(|time| times.contains(time)), "lost: {times:?}, {own:?}");
            }
            if let Some((_, store, _)) = &reading {
                let (times, _) = found(store);
                prop_assert!(!times.windows(2).any(|pair| pair[0] == pair[1]), "twice: {times:?}");
            }
        }
        bucket.heal();
        let mut all = appended.concat();
        all.sort_unstable();
        for _ in 0..2 {
            for host in hosts.iter().flatten() {
                host.store.compact(now + DAY).unwrap();
                host.flush(now + DAY);
            }
        }
        for host in hosts.iter().flatten() {
            host.remote.refresh().unwrap();
        }
        let (_dir, store, remote) = reader(&bucket, 1 << 30);
        prop_assert_eq!(&found(&store), &(all.clone(), 0));
        prop_assert_eq!(remote.stats().segments, hosts.iter().flatten().map(|host| host.remote.stats().segments).max().unwrap());
        for host in hosts.iter().flatten() {
            prop_assert_eq!(&found(&host.store), &(all.clone(), 0));
            prop_assert_eq!(host.remote.stats().pending_segments, 0);
        }
    }
}
