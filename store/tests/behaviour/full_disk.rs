//! A disk that takes no more: the error says so, what was acknowledged stays, and it goes on when there is room again.

use std::path::Path;
use std::process::Command;

use store::model::{Keep, ProfileBuilder};
use store::{Selector, Store, TimeRange};

use crate::common::{NOON, plain, window};

const DATA_DIR: &str = "VESTA_TEST_FULL_DISK";
const PARTS: u64 = 40;

fn part(window_of: &mut ProfileBuilder, n: u64) {
    window_of.merge(&window(n, NOON, 80), Keep::ALL, 0..0, |_| true);
}

fn all(store: &Store) -> Vec<String> {
    let answer = store.query(&Selector::all(), TimeRange::ALL, Keep::ALL).expect("an answer");
    assert_eq!(answer.skipped, []);
    plain(&answer.profile).into_iter().filter(|line| line.contains('[')).collect()
}

/// Where no file may grow beyond some kilobytes. Says how many parts were logged.
fn write_until_full(dir: &Path) {
    let store = Store::open_writer(dir.join("data")).expect("opened");
    let mut window = ProfileBuilder::logged();
    let mut log = store.open_log(NOON).expect("a log");
    let (mut logged, mut refused) = (0, 0);
    for n in 0..PARTS {
        part(&mut window, n);
        match log.append(&mut window, NOON + 10_000) {
            Ok(()) if refused == 0 => logged += 1,
            Ok(()) => panic!("half a record has left room"),
            Err(error) => {
                let error = error.to_string();
                assert!(error.contains("cannot write") && error.contains(".log"), "{error}");
                refused += 1;
            }
        }
    }
    assert!(logged > 0 && refused > 2, "{logged} parts, {refused} refused");
    let logged_only = all(&Store::open_reader(dir.join("data")).expect("opened"));
    let error = log.close(&store, &window.finish(NOON, NOON + 10_000)).expect_err("full");
    assert!(error.to_string().contains(".parquet"), "{error}");
    assert_eq!((all(&store), store.stats().logs), (logged_only.clone(), 1));
    // What was logged is smaller, and fits.
    assert_eq!(store.settle().expect("a segment").windows, 1);
    assert_eq!((all(&store), store.stats().logs), (logged_only, 0));
    std::fs::write(dir.join("logged"), logged.to_string()).expect("written");
}

#[test]
fn what_was_logged_before_the_disk_was_full_is_there_when_it_has_room_again() {
    if let Some(dir) = std::env::var_os(DATA_DIR) {
        return write_until_full(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let test = "full_disk::what_was_logged_before_the_disk_was_full_is_there_when_it_has_room_again";
    // The signal is ignored, so that writing beyond the limit is an error, as on a full disk.
    let script = r#"trap "" XFSZ; ulimit -f 40; exec "$0" --exact "$1""#;
    let output = Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(DATA_DIR, dir.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let logged: u64 = std::fs::read_to_string(dir.path().join("logged")).unwrap().parse().unwrap();
    let mut expected = ProfileBuilder::default();
    (0..logged).for_each(|n| part(&mut expected, n));
    let expected: Vec<_> = plain(&expected.finish(NOON, NOON + 10_000));
    let data = dir.path().join("data");
    assert_eq!(all(&Store::open_reader(&data).unwrap()), expected);
    let store = Store::open_writer(&data).unwrap();
    assert_eq!((all(&store), store.stats().segments, store.stats().logs), (expected, 1, 0));
    assert_eq!(std::fs::read_dir(data.join("tmp")).unwrap().count(), 0);
}
