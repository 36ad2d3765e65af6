//! The store as its users see it: what is appended is what is found.

use std::sync::Arc;

use crate::common::{NOON, PERIOD, Random, at_times, plain, window};
use store::model::{Keep, Profile};
use store::{Error, Selector, Store, TimeRange};

fn range(from_ms: i64, until_ms: i64) -> TimeRange {
    TimeRange::new(from_ms, until_ms).expect("not empty")
}

fn all(store: &Store, range: TimeRange) -> Profile {
    let answer = store.query(&Selector::all(), range, Keep::ALL).expect("listed");
    assert_eq!(answer.skipped, []);
    answer.profile
}

fn totals(profile: &Profile) -> (u64, i64) {
    (profile.samples(), profile.rows.iter().map(|row| row.value).sum())
}

#[test]
fn every_field_of_a_profile_survives_the_disk() {
    for seed in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_writer(dir.path()).unwrap();
        let window = window(seed, NOON, 1 + seed as usize * 40);
        store.append(&window).unwrap();
        let reader = Store::open_reader(dir.path()).unwrap();
        assert_eq!(plain(&all(&reader, range(NOON, NOON + 10_000))), plain(&window), "seed {seed}");
        assert_eq!(reader.span(), Some(range(NOON, NOON + 10_000)));
    }
}

#[test]
fn ranges_split_rows_by_their_exact_times_and_add_up() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_writer(dir.path()).unwrap();
    let mut whole = (0, 0);
    for n in 0..12 {
        let window = window(n, NOON + n as i64 * 10_000, 60);
        whole = (whole.0 + totals(&window).0, whole.1 + totals(&window).1);
        store.append(&window).unwrap();
    }
    let mut random = Random(99);
    for _ in 0..20 {
        let mut cuts: Vec<i64> = (0..5).map(|_| NOON + random.below(120_000) as i64).collect();
        cuts.extend([NOON, NOON + 120_000]);
        cuts.sort_unstable();
        cuts.dedup();
        let mut sum = (0, 0);
        let mut accounts = 0;
        for pair in cuts.windows(2) {
            let part = all(&store, range(pair[0], pair[1]));
            sum = (sum.0 + totals(&part).0, sum.1 + totals(&part).1);
            accounts += part.accounts.len();
        }
        assert_eq!(sum, whole, "{cuts:?}");
        assert_eq!(accounts, 12 * 4);
    }
}

#[test]
fn a_range_takes_the_samples_within_it_to_the_millisecond() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_writer(dir.path()).unwrap();
    store.append(&at_times(NOON, "a", &[NOON, NOON + 4_999, NOON + 5_000, NOON + 9_999])).unwrap();
    for (from, until, samples) in [
        (0, 10_000, 4),
        (0, 5_000, 2),
        (5_000, 10_000, 2),
        (5_000, 5_001, 1),
        (5_001, 9_999, 0),
        (1, 10_000, 3),
    ] {
        let found = all(&store, range(NOON + from, NOON + until));
        assert_eq!(totals(&found), (samples, samples as i64 * PERIOD), "{from}..{until}");
    }
}

#[test]
fn a_window_is_seen_once_while_it_moves_from_memory_to_disk() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_writer(dir.path()).unwrap();
    let everything = range(NOON, NOON + 100_000);
    store.publish_head(Some(Arc::new(at_times(NOON, "a", &[NOON]))));
    assert_eq!(all(&store, everything).samples(), 1);
    let first = Arc::new(at_times(NOON, "a", &[NOON, NOON + 1]));
    store.publish_head(Some(first.clone()));
    assert_eq!(all(&store, everything).samples(), 2);
    // The next window opens before the first one is on disk.
    store.publish_head(Some(Arc::new(at_times(NOON + 10_000, "a", &[NOON + 10_000]))));
    assert_eq!(all(&store, everything).samples(), 3);
    store.append(&first).unwrap();
    assert_eq!(all(&store, everything).samples(), 3);
    // A head that comes after its window was written is not counted again.
    store.publish_head(Some(first));
    assert_eq!(all(&store, everything).samples(), 3);
    store.publish_head(None);
    assert_eq!(all(&store, everything).samples(), 2);
    assert_eq!(all(&Store::open_reader(dir.path()).unwrap(), everything).samples(), 2);
}

#[test]
fn selectors_choose_by_labels_of_series_and_of_rows() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_writer(dir.path()).unwrap();
    let window = window(5, NOON, 500);
    store.append(&window).unwrap();
    let expected = |test: &dyn Fn(&str, u32, &str) -> bool| -> u64 {
        let rows = window.rows.iter().filter(|row| {
            let process = window.label(row.key.series, "process").unwrap_or("");
            test(process, row.key.pid, window.text(row.key.status))
        });
        rows.map(|row| row.samples).sum()
    };
    let found = |selector: &str| {
        let selector = Selector::parse(selector).unwrap();
        let answer = store.query(&selector, range(NOON, NOON + 10_000), Keep::STACKS).unwrap();
        answer.profile.samples()
    };
    assert!(expected(&|process, _, _| process == "nginx") > 0);
    assert_eq!(found(r#"process="nginx""#), expected(&|process, _, _| process == "nginx"));
    assert_eq!(
        found(r#"{process=~"n.*|redis.*"}"#),
        expected(&|p, _, _| p == "nginx" || p == "redis-server")
    );
    assert_eq!(
        found(r#"process!="nginx" and pid="4711" or status=~"depth.*""#),
        expected(&|process, pid, status| process != "nginx" && pid == 4711 || status == "depth_limit")
    );
    assert_eq!(found(r#"nosuch="""#), totals(&window).0);
    assert_eq!(found(r#"nosuch!="""#), 0);
}

#[test]
fn a_timeline_counts_each_sample_in_its_bucket() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_writer(dir.path()).unwrap();
    store.append(&at_times(NOON, "a", &[NOON, NOON + 1_999, NOON + 2_000, NOON + 9_000])).unwrap();
    store.append(&at_times(NOON, "b", &[NOON + 2_500])).unwrap();
    store.publish_head(Some(Arc::new(at_times(NOON + 10_000, "c", &[NOON + 11_000, NOON + 11_001]))));
    let line =
        store.timeline(&Selector::all(), range(NOON + 1_000, NOON + 12_000), 2_000, "process", 1).unwrap();
    assert_eq!((line.step_ms, line.period_ns), (2_000, PERIOD));
    assert_eq!(line.groups.len(), 1);
    assert_eq!((line.groups[0].value.as_str(), line.groups[0].total), ("a", 3));
    assert_eq!(line.groups[0].samples, [2, 0, 0, 0, 1, 0]);
    assert_eq!((line.other.groups, line.other.total), (2, 3));
    assert_eq!(line.other.samples, [1, 0, 0, 0, 0, 2]);
    assert_eq!(line.complete, [3, 0, 0, 0, 1, 2]);
}

#[test]
fn a_timeline_has_the_same_total_as_the_query_and_the_losses_of_its_windows() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_writer(dir.path()).unwrap();
    let mut lost = 0;
    for n in 0..6 {
        let window = window(n, NOON + n as i64 * 10_000, 80);
        let counted = |a: &&store::model::Account| window.text(a.counter) == "lost_ring_full";
        lost += window.accounts.iter().find(counted).unwrap().value;
        store.append(&window).unwrap();
    }
    let range = range(NOON + 3, NOON + 57_001);
    let samples = all(&store, range).samples();
    for by in ["process", "pid", "tid", "thread", "status", "exe", "nosuch"] {
        let line = store.timeline(&Selector::all(), range, 1, by, 3).unwrap();
        assert!(line.complete.len() <= 2000);
        let grouped = line.groups.iter().map(|group| group.total).sum::<u64>();
        assert_eq!(grouped + line.other.total, samples, "{by}");
    }
    let whole = TimeRange::new(NOON, NOON + 60_000).unwrap();
    let line = store.timeline(&Selector::all(), whole, 10_000, "process", 3).unwrap();
    assert_eq!(line.lost.iter().sum::<u64>(), lost);
}

#[test]
fn labels_and_their_values_come_with_samples() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_writer(dir.path()).unwrap();
    store.append(&at_times(NOON, "a", &[NOON, NOON + 1])).unwrap();
    store.append(&at_times(NOON, "b", &[NOON, NOON + 1, NOON + 9_000])).unwrap();
    let everything = range(NOON, NOON + 10_000);
    assert_eq!(
        store.label_names(&Selector::all(), everything).unwrap(),
        ["event", "pid", "process", "status", "thread", "tid"]
    );
    let values =
        |name, selector, range| store.label_values(name, &Selector::parse(selector).unwrap(), range).unwrap();
    assert_eq!(values("process", "", everything), [("b".to_owned(), 3), ("a".to_owned(), 2)]);
    assert_eq!(values("process", "", range(NOON, NOON + 5_000)), [("a".to_owned(), 2), ("b".to_owned(), 2)]);
    assert_eq!(values("pid", r#"process="a""#, everything), [("7".to_owned(), 2)]);
    assert_eq!(values("zone", "", everything), [(String::new(), 5)]);
    assert!(store.label_names(&Selector::parse(r#"process="z""#).unwrap(), everything).unwrap().is_empty());
}

#[test]
fn a_directory_that_is_none_of_ours_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    let error = Store::open_reader(&missing).err().unwrap();
    assert!(matches!(error, Error::Missing(_)), "{error}");
    assert!(!missing.exists());

    std::fs::write(dir.path().join("letter.txt"), "hello").unwrap();
    for error in [Store::open_reader(dir.path()).err(), Store::open_writer(dir.path()).err()] {
        let error = error.unwrap();
        assert!(matches!(error, Error::NotADataDirectory(_)), "{error}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    let file = dir.path().join("letter.txt");
    assert!(matches!(Store::open_reader(&file).err().unwrap(), Error::NotADataDirectory(_)));

    let newer = dir.path().join("newer");
    drop(Store::open_writer(&newer).unwrap());
    std::fs::write(newer.join("vesta-data.json"), r#"{"layout":2}"#).unwrap();
    let error = Store::open_writer(&newer).err().unwrap().to_string();
    assert!(error.contains("layout 2"), "{error}");
    std::fs::write(newer.join("vesta-data.json"), "").unwrap();
    let error = Store::open_writer(&newer).err().unwrap().to_string();
    assert!(error.contains("vesta-data.json is damaged"), "{error}");
}

#[test]
fn one_process_writes_and_the_next_is_told_who() {
    let dir = tempfile::tempdir().unwrap();
    let first = Store::open_writer(dir.path()).unwrap();
    let error = Store::open_writer(dir.path()).err().unwrap().to_string();
    assert!(error.contains(&format!("process {} on ", std::process::id())), "{error}");
    let reader = Store::open_reader(dir.path()).unwrap();
    assert!(matches!(reader.append(&window(1, NOON, 3)), Err(Error::ReadOnly(_))));
    drop(first);
    Store::open_writer(dir.path()).unwrap();
}

#[test]
fn a_reader_sees_segments_written_after_it_was_opened() {
    let dir = tempfile::tempdir().unwrap();
    let writer = Store::open_writer(dir.path()).unwrap();
    let reader = Store::open_reader(dir.path()).unwrap();
    assert_eq!(reader.span(), None);
    for n in 0..5 {
        let start = NOON + n * 10_000;
        writer.append(&at_times(start, "a", &[start])).unwrap();
        assert_eq!(all(&reader, TimeRange::ALL).samples(), n as u64 + 1);
    }
    assert_eq!(reader.stats().segments, 5);
}

#[test]
fn a_day_that_was_quiet_is_looked_at_again_when_it_changes() {
    let dir = tempfile::tempdir().unwrap();
    let writer = Store::open_writer(dir.path()).unwrap();
    let reader = Store::open_reader(dir.path()).unwrap();
    let first = writer.append(&at_times(NOON, "a", &[NOON])).unwrap();
    let day = std::fs::File::open(first.path().parent().unwrap()).unwrap();
    day.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(60)).unwrap();
    for _ in 0..2 {
        assert_eq!(all(&reader, TimeRange::ALL).samples(), 1);
    }
    writer.append(&at_times(NOON + 10_000, "a", &[NOON + 10_000])).unwrap();
    assert_eq!(all(&reader, TimeRange::ALL).samples(), 2);
    // Two changes within one tick of the file system's clock: what is young is not trusted.
    std::fs::remove_dir_all(first.path()).unwrap();
    assert_eq!(all(&reader, TimeRange::ALL).samples(), 1);
}

#[test]
fn leftovers_of_a_crashed_writer_are_ignored_and_then_removed() {
    let dir = tempfile::tempdir().unwrap();
    let writer = Store::open_writer(dir.path()).unwrap();
    writer.append(&at_times(NOON, "a", &[NOON])).unwrap();
    drop(writer);
    let half = dir.path().join("tmp").join("01J00000000000000000000000");
    std::fs::create_dir(&half).unwrap();
    std::fs::write(half.join("samples.parquet"), "PAR1").unwrap();
    assert_eq!(all(&Store::open_reader(dir.path()).unwrap(), TimeRange::ALL).samples(), 1);
    assert!(half.exists());
    let writer = Store::open_writer(dir.path()).unwrap();
    assert!(!half.exists());
    assert_eq!(all(&writer, TimeRange::ALL).samples(), 1);
}

#[test]
fn what_does_not_fit_the_format_is_refused_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_writer(dir.path()).unwrap();
    for start in [-10_000, i64::MAX - 20_000] {
        let error = store.append(&at_times(start, "a", &[start])).unwrap_err();
        assert!(matches!(error, Error::Unstorable(_)), "{error}");
    }
    assert_eq!(std::fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
    assert_eq!(store.stats().segments, 0);
}
