//! What is written twice counts once.

use store::model::{Keep, ProfileBuilder};
use store::{Selector, Store, TimeRange};

use crate::common::{NOON, plain, window, window_of};

fn all(store: &Store) -> Vec<String> {
    let answer = store.query(&Selector::all(), TimeRange::ALL, Keep::ALL).expect("an answer");
    assert_eq!(answer.skipped, []);
    plain(&answer.profile)
}

#[test]
fn a_window_that_was_written_twice_counts_once_before_and_after_merging() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_writer(dir.path()).unwrap();
    // The same window of two hosts, and another one of one of them.
    store.append(&window(1, NOON, 80)).unwrap();
    store.append(&window_of("web-02", 1, NOON, 80)).unwrap();
    store.append(&window(2, NOON + 10_000, 80)).unwrap();
    let once = all(&store);

    store.append(&window(1, NOON, 80)).unwrap();
    assert_eq!(all(&store), once);
    // As one builds it that met everything in another order.
    let mut again = ProfileBuilder::default();
    again.string("something that comes first");
    again.string("lost_ring_full");
    again.merge(&window(2, NOON + 10_000, 80), Keep::ALL, 0..i64::MAX, |_| true);
    store.append(&again.finish(NOON + 10_000, NOON + 20_000)).unwrap();
    assert_eq!(all(&store), once);
    assert_eq!(store.segments().unwrap().len(), 3);

    let done = store.compact(NOON + 3_600_000).unwrap();
    assert_eq!((done.merged, done.written), (3, 1));
    assert_eq!(all(&store), once);
    let reader = Store::open_reader(dir.path()).unwrap();
    assert_eq!(all(&reader), once);
}

#[test]
fn a_folder_that_was_copied_counts_once_and_goes() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_writer(dir.path()).unwrap();
    let segment = store.append(&window(1, NOON, 80)).unwrap();
    let once = all(&store);
    let name = format!("segment={}", "01KG9YZZZZZZZZZZZZZZZZZZZZ");
    let copy = segment.path().with_file_name(name);
    std::fs::create_dir(&copy).unwrap();
    for file in std::fs::read_dir(segment.path()).unwrap().map(Result::unwrap) {
        std::fs::copy(file.path(), copy.join(file.file_name())).unwrap();
    }
    let reader = Store::open_reader(dir.path()).unwrap();
    assert_eq!(all(&reader), once);
    store.append(&window(2, NOON + 10_000, 80)).unwrap();
    let both = all(&store);
    store.compact(NOON + 3_600_000).unwrap();
    assert_eq!(all(&store), both);
    assert!(!segment.path().exists() && !copy.exists());
}

#[test]
fn whoever_had_a_directory_that_was_removed_does_not_write_into_the_one_in_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let first = Store::open_writer(&data).unwrap();
    first.append(&window(1, NOON, 80)).unwrap();
    std::fs::remove_dir_all(&data).unwrap();
    let refused = |result: store::Result<store::SegmentInfo>| matches!(result, Err(store::Error::Replaced(path)) if path == data);
    assert!(refused(first.append(&window(1, NOON, 80))), "it is gone");

    let second = Store::open_writer(&data).unwrap();
    second.append(&window(2, NOON, 80)).unwrap();
    let theirs = all(&second);
    assert!(refused(first.append(&window(1, NOON, 80))), "it is another");
    assert!(matches!(first.compact(NOON + 3_600_000), Err(store::Error::Replaced(_))));
    assert!(matches!(first.open_log(NOON), Err(store::Error::Replaced(_))));
    assert_eq!(all(&second), theirs);
    assert_eq!(std::fs::read_dir(data.join("tmp")).unwrap().count(), 0);
}
