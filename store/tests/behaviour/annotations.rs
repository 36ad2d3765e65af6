//! Annotations are kept in the order of their times, whole or not at all.

use std::fs;

use store::{AnnotationKind, Error, Store, TimeRange};

use crate::common::NOON;

fn texts(store: &Store, from: i64, until: i64) -> Vec<String> {
    let range = TimeRange::new(from, until).expect("not empty");
    store.annotations(range).expect("readable").into_iter().map(|annotation| annotation.text).collect()
}

#[test]
fn annotations_are_in_the_order_of_their_times_until_they_are_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_writer(dir.path()).unwrap();
    let late = store.annotate(NOON + 5000, AnnotationKind::Deploy, " api 2.7.1\n").unwrap();
    store.annotate(NOON, AnnotationKind::Note, "<b>first</b>").unwrap();
    store.annotate(NOON + 5000, AnnotationKind::Note, "after the deploy").unwrap();
    assert_eq!((late.time_ms, &*late.text), (NOON + 5000, "api 2.7.1"));
    let reader = Store::open_reader(dir.path()).unwrap();
    assert_eq!(texts(&reader, NOON, NOON + 5001), ["<b>first</b>", "api 2.7.1", "after the deploy"]);
    assert_eq!(texts(&reader, NOON + 1, NOON + 5000), [""; 0]);
    assert!(matches!(reader.annotate(NOON, AnnotationKind::Note, "x"), Err(Error::ReadOnly(_))));
    assert!(matches!(reader.unannotate(&late.id), Err(Error::ReadOnly(_))));
    assert!(!store.unannotate("another").unwrap());
    assert!(store.unannotate(&late.id).unwrap());
    assert_eq!(texts(&reader, 0, NOON * 2), ["<b>first</b>", "after the deploy"]);
}

#[test]
fn texts_and_times_have_limits() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_writer(dir.path()).unwrap();
    for (time, text) in [(NOON, ""), (NOON, " \n"), (-1, "x"), (i64::MAX, "x"), (NOON, &*"x".repeat(201))] {
        assert!(store.annotate(time, AnnotationKind::Note, text).is_err(), "{time} {}", text.len());
    }
    assert!(store.annotate(NOON, AnnotationKind::Note, &"x".repeat(200)).is_ok());
}

#[test]
fn a_damaged_file_is_said_and_not_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_writer(dir.path()).unwrap();
    store.annotate(NOON, AnnotationKind::Note, "precious").unwrap();
    let path = dir.path().join("annotations.json");
    let json = fs::read_to_string(&path).unwrap();
    for damaged in [json.replace("precious", "previous"), json[..json.len() / 2].to_owned(), String::new()] {
        fs::write(&path, &damaged).unwrap();
        let error = store.annotate(NOON, AnnotationKind::Note, "another").unwrap_err();
        assert!(error.to_string().contains("annotations.json"), "{error}");
        assert!(store.annotations(TimeRange::ALL).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), damaged);
    }
}
