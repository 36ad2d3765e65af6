//! Links are kept under ids that cannot be guessed, and within limits.

use std::fs;

use store::{Error, Store};

#[test]
fn a_state_is_found_by_its_id_and_has_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_writer(dir.path()).unwrap();
    let first = store.keep_link("t=now-1h&s=%3Cb%3E").unwrap();
    let second = store.keep_link("t=now-2h").unwrap();
    assert_ne!(first.id, second.id);
    assert_eq!(store.keep_link("t=now-1h&s=%3Cb%3E").unwrap(), first);
    let reader = Store::open_reader(dir.path()).unwrap();
    assert_eq!(reader.link(&first.id).unwrap().unwrap().state, "t=now-1h&s=%3Cb%3E");
    assert_eq!(reader.link("another").unwrap(), None);
    assert!(matches!(reader.keep_link("t=now-1h"), Err(Error::ReadOnly(_))));
}

#[test]
fn states_are_bounded_in_number_and_bytes_and_the_oldest_give_way() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_writer(dir.path()).unwrap();
    for state in ["", "a b", "a\nb", "a=\u{e9}", &*"x".repeat((64 << 10) + 1)] {
        assert!(matches!(store.keep_link(state), Err(Error::Unstorable(_))), "{} bytes", state.len());
    }
    // Of the longest there are 64.
    let long = |n: usize| format!("{n:04}{}", "\"".repeat((64 << 10) - 4));
    let ids: Vec<_> = (0..64).map(|n| store.keep_link(&long(n)).unwrap().id).collect();
    // Asked for again: the next oldest is older now.
    assert_eq!(store.keep_link(&long(0)).unwrap().id, ids[0]);
    let last = store.keep_link("s=x").unwrap();
    let is_there = |id: &str| store.link(id).unwrap().is_some();
    assert!(is_there(&ids[0]) && !is_there(&ids[1]) && is_there(&ids[2]) && is_there(&last.id));
    let few = tempfile::tempdir().unwrap();
    let store = Store::open_writer(few.path()).unwrap();
    let ids: Vec<_> = (0..1001).map(|n| store.keep_link(&format!("s={n}")).unwrap().id).collect();
    assert!(store.link(&ids[0]).unwrap().is_none() && store.link(&ids[1]).unwrap().is_some());
}

#[test]
fn a_damaged_file_is_said_and_not_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_writer(dir.path()).unwrap();
    store.keep_link("s=precious").unwrap();
    let path = dir.path().join("links.json");
    let damaged = fs::read_to_string(&path).unwrap().replace("precious", "previous");
    fs::write(&path, &damaged).unwrap();
    assert!(store.keep_link("s=another").unwrap_err().to_string().contains("links.json"));
    assert_eq!(store.check(|_| true).unwrap().bad.len(), 1);
    assert_eq!(fs::read_to_string(&path).unwrap(), damaged);
}
