//! Against small servers of our own, friendly and not.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use super::*;
use crate::test_server::{Server, answer};
use symbols::elf::FileFacts;
use testprogs::{Program, Variant, build};

/// A program with debug info, and its build ID.
fn debug_info() -> (Vec<u8>, String) {
    let path = build(Program::Shares, Variant::NoFramePointers);
    let build_id = FileFacts::open(&path).unwrap().build_id().unwrap().to_owned();
    (fs::read(path).unwrap(), build_id)
}

fn debuginfod(folder: &Path, urls: &[&Server], limit_bytes: u64) -> Debuginfod {
    let urls = urls.iter().map(|server| server.url.clone()).collect();
    let options = DebuginfodOptions { urls, folder: folder.to_owned(), limit_bytes };
    Debuginfod::new(&options, Arc::default()).unwrap()
}

fn place_of(folder: &Path, build_id: &str) -> PathBuf {
    folder.join(format!(".build-id/{}/{}.debug", &build_id[..2], &build_id[2..]))
}

const PLENTY: u64 = 1 << 30;

#[test]
fn debug_info_is_fetched_once_and_lies_where_debuggers_look() {
    let (body, build_id) = debug_info();
    let expected = format!("/buildid/{build_id}/debuginfo");
    let server = Server::start(Box::new(move |request| {
        if request.path == expected { answer("200 OK", &body) } else { answer("404 Not Found", b"") }
    }));
    let empty = Server::start(Box::new(|_| answer("404 Not Found", b"")));
    let folder = tempfile::tempdir().unwrap();
    let mut fetcher = debuginfod(folder.path(), &[&empty, &server], PLENTY);
    assert_eq!(fetcher.get(&build_id), Fate::Fetched);
    assert_eq!(FileFacts::open(&place_of(folder.path(), &build_id)).unwrap().build_id(), Some(&*build_id));
    assert_eq!((fetcher.get(&build_id), server.asked(), empty.asked()), (Fate::Kept, 1, 1));
    let mut another = debuginfod(folder.path(), &[&server], PLENTY);
    assert_eq!((another.get(&build_id), server.asked()), (Fate::Kept, 1), "the disk remembers");
}

#[test]
fn what_no_server_has_is_not_asked_again_for_a_while() {
    let server = Server::start(Box::new(|_| answer("404 Not Found", b"")));
    let folder = tempfile::tempdir().unwrap();
    let mut fetcher = debuginfod(folder.path(), &[&server], PLENTY);
    assert_eq!((fetcher.get("abcd"), fetcher.get("abcd"), server.asked()), (Fate::Unknown, Fate::Unknown, 1));
    let mut another = debuginfod(folder.path(), &[&server], PLENTY);
    assert_eq!((another.get("abcd"), server.asked()), (Fate::Unknown, 1), "the disk remembers");
    let note = folder.path().join(".build-id/ab/cd.missing");
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(7200);
    fs::File::options().append(true).open(&note).unwrap().set_modified(long_ago).unwrap();
    assert_eq!((another.get("abcd"), server.asked()), (Fate::Unknown, 2));
}

#[test]
fn hostile_bodies_are_not_kept() {
    let (body, build_id) = debug_info();
    let (cut, other, text) = (body[..body.len() / 2].to_vec(), "00".repeat(20), b"<html>".to_vec());
    let endless = vec![0x7f; 3 << 20];
    let claimed = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n".to_vec();
    let short = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nonly this".to_vec();
    let chunks =
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff0\r\n".to_vec(), endless.clone()];
    let cases: Vec<(&str, &str, Vec<u8>)> = vec![
        ("a text", &build_id, answer("200 OK", &text)),
        ("nothing", &build_id, answer("200 OK", b"")),
        ("of another build", &other, answer("200 OK", &body)),
        ("cut and said to be whole", &build_id, answer("200 OK", &cut[..40])),
        ("cut short", &build_id, short),
        ("too long, and it says so", &build_id, claimed),
        ("too long", &build_id, answer("200 OK", &endless)),
        ("too long in chunks", &build_id, chunks.concat()),
        ("an error", &build_id, answer("500 Internal Server Error", b"")),
        ("no HTTP", &build_id, b"\0\xff\r\n\r\n".to_vec()),
        ("closed at once", &build_id, Vec::new()),
        (
            "in circles",
            &build_id,
            b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n".to_vec(),
        ),
    ];
    for (what, wanted, sent) in cases {
        let server = Server::start(Box::new(move |_| sent.clone()));
        let folder = tempfile::tempdir().unwrap();
        let mut fetcher = debuginfod(folder.path(), &[&server], 2 << 20);
        assert_eq!(fetcher.get(wanted), Fate::Failed, "{what}");
        assert!(!place_of(folder.path(), wanted).exists(), "{what}");
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.path()).collect();
        assert!(left.is_empty(), "{what}: {left:?}");
        // It is left alone for a while, and not remembered as one that does not have it.
        let asked = server.asked();
        assert_eq!((fetcher.get(wanted), server.asked()), (Fate::Failed, asked), "{what}");
    }
}

#[test]
fn the_folder_stays_within_its_quota_and_the_least_used_goes() {
    let programs = [Program::Shares, Program::Recursion, Program::Jit];
    let files: Vec<(Vec<u8>, String)> = programs
        .map(|program| {
            let path = build(program, Variant::NoFramePointers);
            let build_id = FileFacts::open(&path).unwrap().build_id().unwrap().to_owned();
            (fs::read(path).unwrap(), build_id)
        })
        .into();
    let ids: Vec<String> = files.iter().map(|(_, id)| id.clone()).collect();
    let sizes: Vec<u64> = files.iter().map(|(bytes, _)| bytes.len() as u64).collect();
    let server = Server::start(Box::new(move |request| {
        let found = files.iter().find(|(_, id)| request.path.contains(id.as_str()));
        found.map_or_else(|| answer("404 Not Found", b""), |(bytes, _)| answer("200 OK", bytes))
    }));
    let folder = tempfile::tempdir().unwrap();
    // Room for two of three.
    let mut fetcher = debuginfod(folder.path(), &[&server], sizes.iter().sum::<u64>() - 1);
    let used = |id: &str, seconds_ago: u64| {
        let time = std::time::SystemTime::now() - Duration::from_secs(seconds_ago);
        fs::File::options()
            .append(true)
            .open(place_of(folder.path(), id))
            .unwrap()
            .set_modified(time)
            .unwrap();
    };
    assert_eq!((fetcher.get(&ids[0]), fetcher.get(&ids[1])), (Fate::Fetched, Fate::Fetched));
    used(&ids[0], 20);
    used(&ids[1], 10);
    assert_eq!(fetcher.get(&ids[0]), Fate::Kept, "and used now");
    assert_eq!(fetcher.get(&ids[2]), Fate::Fetched);
    let there: Vec<bool> = ids.iter().map(|id| place_of(folder.path(), id).exists()).collect();
    assert_eq!(there, [true, false, true]);
    assert_eq!(fetcher.counts.removed.load(Ordering::Relaxed), 1);
    let mut small = debuginfod(folder.path(), &[&server], 10);
    assert!(ids.iter().all(|id| !place_of(folder.path(), id).exists()), "a smaller quota holds at once");
    assert_eq!(small.get(&ids[0]), Fate::Failed, "larger than all the room there is");
}

#[test]
fn the_thread_asks_once_for_each_and_never_makes_anyone_wait() {
    let (body, build_id) = debug_info();
    let server = Server::start(Box::new(move |_| {
        thread::sleep(Duration::from_millis(300));
        answer("200 OK", &body)
    }));
    let folder = tempfile::tempdir().unwrap();
    let urls = vec![server.url];
    let options = DebuginfodOptions { urls, folder: folder.path().to_owned(), limit_bytes: PLENTY };
    let fetcher = Fetcher::start(&options).unwrap();
    let start = Instant::now();
    for _ in 0..1000 {
        fetcher.want(&build_id);
    }
    fetcher.want("../../etc/passwd");
    fetcher.want("");
    for number in 0..2 * WAITING_MAX {
        fetcher.want(&format!("{number:08x}"));
    }
    assert!(start.elapsed() < Duration::from_millis(250), "{:?}", start.elapsed());
    assert!(fetcher.counts().dropped.load(Ordering::Relaxed) > 0);
    while fetcher.fetched() == 0 {
        assert!(start.elapsed() < Duration::from_secs(20), "in vain");
        thread::sleep(Duration::from_millis(20));
    }
    assert!(place_of(fetcher.folder(), &build_id).exists());
}

#[test]
fn folders_that_others_can_write_to_and_addresses_of_other_kinds_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let options = |url: &str| DebuginfodOptions {
        urls: vec![url.to_owned()],
        folder: folder.path().to_owned(),
        limit_bytes: PLENTY,
    };
    for url in ["ftp://x", "http://", "file:///etc", "x"] {
        let error = Debuginfod::new(&options(url), Arc::default()).err().expect(url);
        assert!(error.to_string().contains(url), "{error}");
    }
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(Debuginfod::new(&options("http://localhost"), Arc::default()).is_err());
}

#[test]
fn build_ids_are_hexadecimal_and_nothing_else() {
    for good in ["abcd", "0123456789abcdef0123456789abcdef01234567"] {
        assert!(is_build_id(good), "{good}");
    }
    for bad in ["", "ab", "abc", "ABCD", "../../..", "zz00", "00/0"] {
        assert!(!is_build_id(bad), "{bad}");
    }
}

#[test]
fn what_a_killed_writer_left_is_removed_once_it_is_old() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    for (name, seconds) in [("aside-1", 7200), ("aside-2", 10)] {
        let file = fs::File::create(folder.path().join(name)).unwrap();
        file.set_modified(std::time::SystemTime::now() - Duration::from_secs(seconds)).unwrap();
    }
    Cache::open(folder.path(), 1 << 20).unwrap();
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["aside-2"]);
}
