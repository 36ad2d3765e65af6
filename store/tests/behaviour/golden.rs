//! What earlier versions wrote is read as it was meant.
//!
//! `tests/golden/vN` is a small data directory as the version that wrote schema N left it, made from generated
//! data, and what it says in words. Files of older schemas stay as they are; a new schema gets new ones.

use std::fs;
use std::path::{Path, PathBuf};

use store::model::Keep;
use store::segment::KNOWN_VERSIONS;
use store::{Selector, Store, TimeRange};

use crate::common::{NOON, plain, window};

pub(crate) fn folder(version: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/v{version}"))
}

fn in_words(store: &Store) -> String {
    let answer = store.query(&Selector::all(), TimeRange::ALL, Keep::ALL).expect("an answer");
    assert_eq!(answer.skipped, []);
    plain(&answer.profile).join("\n") + "\n"
}

#[test]
fn every_known_version_is_read_to_the_letter() {
    for version in KNOWN_VERSIONS {
        let folder = folder(version);
        let store = Store::open_reader(&folder).expect("the golden files");
        let levels: Vec<_> = store.segments().unwrap().iter().map(|segment| segment.level()).collect();
        assert!(levels.contains(&0) && levels.iter().any(|level| *level > 0), "{levels:?}");
        let expected = fs::read_to_string(folder.join("expected.txt")).expect("the expected rows");
        for (found, expected) in in_words(&store).lines().zip(expected.lines()) {
            assert_eq!(found, expected, "version {version}");
        }
        assert_eq!(in_words(&store).lines().count(), expected.lines().count());
    }
}

/// Where to keep the files that the test below writes: `tests/golden/vN`, once when the schema changes.
const KEEP_IN: &str = "VESTA_TEST_GOLDEN";

#[test]
fn golden_files_of_this_version_can_be_made() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = std::env::var_os(KEEP_IN).map_or_else(|| scratch.path().join("data"), PathBuf::from);
    let store = Store::open_writer(&folder).unwrap();
    for n in 0..3 {
        store.append(&window(n, NOON + n as i64 * 200_000, 12)).unwrap();
    }
    store.compact(NOON + 7_200_000).unwrap();
    store.append(&window(3, NOON + 300_000, 12)).unwrap();
    let written = in_words(&store);
    fs::write(folder.join("expected.txt"), &written).unwrap();
    drop(store);
    fs::remove_file(folder.join("lock")).unwrap();
    fs::remove_dir_all(folder.join("tmp")).unwrap();
    assert_eq!(in_words(&Store::open_reader(&folder).unwrap()), written);
}
