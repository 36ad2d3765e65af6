//! Verifying, exporting, and cleaning up a data directory.

use std::fs;
use std::path::{Path, PathBuf};

use store::model::Keep;
use store::{Check, Error, Pace, Policy, Retention, Selector, Store, TimeRange, leftovers};

use crate::common::{NOON, at_times, plain, window};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// A day that is merged and coarse, an hour that is merged and exact, both with rollups, and two fresh windows.
fn filled(dir: &Path) -> Store {
    let store = Store::open_writer(dir).expect("a new directory");
    for n in 0..6 {
        store.append(&window(n, NOON - 3 * DAY + n as i64 * HOUR / 2, 60)).expect("written");
        store.append(&window(n + 10, NOON + n as i64 * 400_000, 60)).expect("written");
    }
    let merged = store.compact_by(&Policy::default(), &Pace::default(), NOON + 2 * HOUR).expect("merged");
    assert!(merged.written >= 2, "{merged:?}");
    for n in 0..2 {
        store.append(&window(n + 20, NOON + 3 * HOUR + n as i64 * 10_000, 60)).expect("written");
    }
    store
}

fn check(store: &Store) -> Check {
    store.check(|_| true).expect("listed")
}

fn segments(store: &Store) -> Vec<PathBuf> {
    store.segments().expect("listed").iter().map(|segment| segment.path().to_owned()).collect()
}

fn samples(store: &Store) -> u64 {
    let answer = store.query(&Selector::all(), TimeRange::ALL, Keep::STACKS).expect("an answer");
    answer.profile.samples()
}

/// Changes the manifest of a segment, and makes its checksum fit.
fn edit_manifest(segment: &Path, edit: impl Fn(&str) -> String) {
    let path = segment.join("_manifest.json");
    let pretty = fs::read_to_string(&path).expect("a manifest");
    let compact: String = pretty.lines().map(|line| line.trim_start().replace("\": ", "\":")).collect();
    let (_, rest) = compact.split_once("\"segment\":").expect("a manifest");
    let edited = edit(&rest[..rest.len() - 1]);
    assert_ne!(edited, rest[..rest.len() - 1]);
    let crc32 = crc32fast::hash(edited.as_bytes());
    fs::write(&path, format!("{{\"crc32\":{crc32},\"segment\":{edited}}}")).expect("written");
}

#[test]
fn a_segment_whose_files_nothing_vouches_for_is_not_called_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_writer(dir.path()).unwrap();
    store.append(&window(0, NOON, 60)).unwrap();
    let manifest = segments(&store)[0].join("_manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    for damaged in [text.replace("\"schema_version\": 3", "\"schema_version\": 2"), String::new()] {
        assert_ne!(text, damaged);
        fs::write(&manifest, &damaged).unwrap();
        let found = check(&Store::open_reader(dir.path()).unwrap());
        let bad: Vec<_> = found.bad.iter().map(|bad| bad.path.as_path()).collect();
        assert_eq!((bad, found.segments), (vec![manifest.as_path()], 0));
    }
    // It can be read, and stays where it is.
    let store_again = Store::open_reader(dir.path()).unwrap();
    assert!(samples(&store_again) > 0);
    let bad = check(&store).bad;
    assert!(store.quarantine(&bad).unwrap().is_empty());
    assert!(manifest.exists());
}

#[test]
fn what_is_whole_is_found_whole_at_every_level() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    let levels: Vec<_> =
        store.segments().unwrap().iter().map(|segment| (segment.level(), segment.resolution_ms())).collect();
    assert_eq!(levels, [(3, 10_000), (2, 0), (0, 0), (0, 0)]);
    let mut calls = 0;
    let found = store
        .check(|_| {
            calls += 1;
            true
        })
        .unwrap();
    assert_eq!((found.segments, found.logs, calls), (4, 0, 4));
    assert_eq!((found.bad, found.later), (vec![], vec![]));
    assert_eq!(found.bytes, store.stats().bytes);
    assert_eq!(
        Store::open_reader(dir.path()).unwrap().check(|_| false).unwrap().segments,
        1,
        "it ends early"
    );
}

#[test]
fn every_flipped_file_is_found_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    let victim = segments(&store).remove(0);
    let mut files: Vec<_> = fs::read_dir(&victim).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "parquet"));
    assert_eq!(files.len(), 10, "{files:?}");
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap();
        let bytes = fs::read(&file).unwrap();
        let mut flipped = bytes.clone();
        flipped[bytes.len() / 2] ^= 1;
        for damaged in [Some(&flipped[..]), Some(&bytes[..bytes.len() / 2]), None] {
            match damaged {
                Some(damaged) => fs::write(&file, damaged).unwrap(),
                None => fs::remove_file(&file).unwrap(),
            }
            let found = check(&Store::open_reader(dir.path()).unwrap());
            assert_eq!((found.segments, found.bad.len()), (3, 1), "{name}: {found:?}");
            assert_eq!(found.bad[0].path, victim);
            assert!(found.bad[0].reason.starts_with(name), "{name}: {}", found.bad[0].reason);
        }
        fs::write(&file, &bytes).unwrap();
    }
    assert_eq!(check(&store).bad, []);
}

#[test]
fn files_that_contradict_each_other_are_found_though_their_checksums_fit() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = filled(dir.path());
    let victim = segments(&store).remove(1);
    let twin = Store::open_writer(other.path()).unwrap();
    for n in 0..6 {
        // The same, but for one sample more.
        twin.append(&window(n + 10, NOON + n as i64 * 400_000, 60)).unwrap();
    }
    let mut more = store::model::ProfileBuilder::default();
    let one = window(10, NOON, 60);
    let mut is_first = true;
    more.merge(&one, Keep::ALL, 0..0, |_| std::mem::take(&mut is_first));
    twin.append(&more.finish(NOON, NOON + 1)).unwrap();
    twin.compact(NOON + 2 * HOUR).unwrap();
    let twin = segments(&twin).remove(0);
    let (before, manifest) = (samples(&store), fs::read(victim.join("_manifest.json")).unwrap());
    for name in ["rollup_5m.parquet", "func_5m.parquet"] {
        let own = fs::read(victim.join(name)).unwrap();
        let wrong = fs::read(twin.join(name)).unwrap();
        fs::write(victim.join(name), &wrong).unwrap();
        edit_manifest(&victim, |text| {
            let sum =
                |bytes: &[u8]| format!("{{\"bytes\":{},\"crc32\":{}}}", bytes.len(), crc32fast::hash(bytes));
            text.replace(&sum(&own), &sum(&wrong))
        });
        let found = check(&Store::open_reader(dir.path()).unwrap());
        assert_eq!((found.segments, found.bad.len()), (3, 1), "{name}: {found:?}");
        let reason = &found.bad[0].reason;
        assert!(reason.starts_with(name) && reason.contains("samples"), "{reason}");
        fs::write(victim.join(name), &own).unwrap();
        fs::write(victim.join("_manifest.json"), &manifest).unwrap();
    }
    let reader = Store::open_reader(dir.path()).unwrap();
    assert_eq!((check(&reader).bad, samples(&reader)), (vec![], before));
}

#[test]
fn the_bad_are_put_aside_and_what_a_later_version_wrote_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    let before = samples(&store);
    let all = segments(&store);
    let (bad, later) = (&all[2], &all[3]);
    let stacks = fs::read(bad.join("stacks.parquet")).unwrap();
    fs::write(bad.join("stacks.parquet"), &stacks[1..]).unwrap();
    edit_manifest(later, |text| text.replace("\"schema_version\":3", "\"schema_version\":4"));
    fs::write(dir.path().join("segments").join("letter.txt"), "to my aunt").unwrap();
    drop(store);
    let reader = Store::open_reader(dir.path()).unwrap();
    let found = check(&reader);
    assert_eq!((found.segments, found.bad.len(), found.later.len()), (2, 2, 1), "{found:?}");
    assert!(found.later[0].reason.contains("version 4"), "{found:?}");
    assert!(matches!(reader.quarantine(&found.bad), Err(Error::ReadOnly(_))));
    let store = Store::open_writer(dir.path()).unwrap();
    let moved = store.quarantine(&found.bad).unwrap();
    assert_eq!(moved, [dir.path().join("quarantine").join(bad.file_name().unwrap())]);
    assert_eq!(fs::read(moved[0].join("stacks.parquet")).unwrap(), stacks[1..]);
    assert!(later.exists() && dir.path().join("segments").join("letter.txt").exists());
    let again = check(&store);
    assert_eq!((again.segments, again.bad.len(), again.later.len()), (2, 1, 1), "the letter stays");
    assert!(samples(&store) < before);
}

#[test]
fn a_part_is_exported_to_the_sample_beside_a_writer_at_work() {
    let dir = tempfile::tempdir().unwrap();
    let writer = filled(dir.path());
    let reader = Store::open_reader(dir.path()).unwrap();
    for (n, (selector, from, until)) in [
        ("", 0, NOON + 2 * DAY),
        ("process=\"nginx\"", 0, NOON + 2 * DAY),
        ("status!=\"complete\", process=~\"n.*|java\"", NOON + 7_001, NOON + 3 * HOUR + 12_345),
        ("process=\"nobody\"", 0, NOON),
    ]
    .into_iter()
    .enumerate()
    {
        let to = dir.path().join(format!("export-{n}"));
        let selector = Selector::parse(selector).unwrap();
        let range = TimeRange::new(from, until).unwrap();
        let exported = reader.export(&selector, range, &Store::open_writer(&to).unwrap()).unwrap();
        let expected = reader.query(&selector, range, Keep::ALL).unwrap().profile;
        assert_eq!((exported.samples, exported.skipped.len()), (expected.samples(), 0));
        let there = Store::open_reader(&to).unwrap();
        let rows =
            |lines: Vec<String>| lines.into_iter().filter(|line| line.contains('[')).collect::<Vec<_>>();
        let found = there.query(&Selector::all(), TimeRange::ALL, Keep::ALL).unwrap().profile;
        assert_eq!(rows(plain(&found)), rows(plain(&expected)));
        let whole = check(&there);
        assert_eq!((whole.segments, whole.bad), (exported.segments, vec![]));
        assert_eq!(there.stats().bytes, exported.bytes);
    }
    drop(writer);
}

#[test]
fn leftovers_are_counted_before_the_next_writer_removes_them() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    let segment = segments(&store).remove(2);
    let mut window = store::model::ProfileBuilder::logged();
    window.merge(&at_times(NOON, "a", &[NOON]), Keep::ALL, 0..0, |_| true);
    let mut log = store.open_log(NOON).unwrap();
    log.append(&mut window, NOON + 1).unwrap();
    drop((log, store));
    fs::create_dir(dir.path().join("tmp/half")).unwrap();
    fs::write(dir.path().join("tmp/half/samples.parquet"), [0; 1000]).unwrap();
    fs::create_dir(dir.path().join("quarantine")).unwrap();
    fs::rename(&segment, dir.path().join("quarantine/segment=01J00000000000000000000000")).unwrap();
    let found = leftovers(dir.path()).unwrap();
    assert_eq!((found.unfinished, found.replaced, found.logs, found.quarantined), (1, 0, 1, 1));
    assert!(found.bytes > 1000 && found.quarantined_bytes > 1000, "{found:?}");
    drop(Store::open_writer(dir.path()).unwrap());
    let left = leftovers(dir.path()).unwrap();
    assert_eq!((left.unfinished, left.logs, left.bytes, left.quarantined), (0, 0, 0, 1));
}

#[test]
fn usage_adds_up_to_all_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    let usage = store.usage().unwrap();
    let days: Vec<_> =
        usage.iter().map(|usage| (&*usage.day, usage.level, usage.resolution_ms, usage.segments)).collect();
    assert_eq!(days, [("2026-01-28", 3, 10_000, 1), ("2026-01-31", 0, 0, 2), ("2026-01-31", 2, 0, 1)]);
    assert_eq!(usage.iter().map(|usage| usage.samples).sum::<u64>(), samples(&store));
    assert_eq!(usage.iter().map(|usage| usage.rows).sum::<u64>(), check(&store).rows);
    for usage in &usage {
        let files: u64 = usage.files.values().sum();
        assert!(files > 0 && files <= usage.bytes, "{usage:?}");
        assert_eq!(usage.files.contains_key("rollup_1h.parquet"), usage.level > 0);
    }
}

#[test]
fn a_segment_whose_folder_is_gone_is_named_until_that_is_settled() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    assert_eq!(check(&store).bad, []);
    let segment = segments(&store).remove(1);
    fs::remove_dir_all(&segment).unwrap();
    let reader = Store::open_reader(dir.path()).unwrap();
    for store in [&store, &reader] {
        let found = check(store);
        assert_eq!((found.bad.len(), &found.bad[0].path), (1, &segment));
        assert!(found.bad[0].reason.contains("is gone"), "{found:?}");
    }
    // Also a whole day of them.
    let day = segments(&store)
        .iter()
        .find(|other| other.parent() != segment.parent())
        .map(|s| s.parent().unwrap().to_owned());
    let day = day.unwrap();
    let all = fs::read_dir(&day).unwrap().count();
    fs::remove_dir_all(&day).unwrap();
    let bad = check(&reader).bad;
    assert_eq!(bad.len(), 1 + all);
    assert_eq!(store.quarantine(&bad).unwrap(), Vec::<PathBuf>::new());
    assert_eq!(check(&reader).bad, []);
    // What is merged or deleted by us is not missed.
    store.compact(NOON + 9 * DAY).unwrap();
    store.retain(Retention { max_age_ms: Some(1), max_bytes: None }, NOON + 9 * DAY).unwrap();
    assert_eq!((segments(&store).len(), check(&reader).bad), (0, vec![]));
    assert_eq!(fs::read_dir(dir.path().join("inventory")).unwrap().count(), 0);
}
