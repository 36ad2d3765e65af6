//! What is not as it was written, or not ours.

use super::*;
use crate::Skipped;

fn error_of(objects: &Faulty) -> String {
    let dir = folder();
    let store = Store::open_writer(dir.path().join("empty")).unwrap();
    attach(&store, &dir.path().join("cache"), objects, false, 1 << 20).refresh().unwrap_err().to_string()
}

fn skipped(store: &Store) -> Vec<Skipped> {
    store.query(&Selector::all(), TimeRange::ALL, Keep::ALL).unwrap().skipped
}

#[test]
fn a_place_without_a_store_is_said_to_be_one() {
    let bucket = Faulty::new();
    assert!(error_of(&bucket).starts_with("s3://test holds no store of Vesta"), "{}", error_of(&bucket));
    // A writer makes none among other things.
    write(&bucket, "photos/cat.jpg", b"meow");
    let host = Host::new(&bucket);
    host.append("a", NOON);
    let error = host.remote.refresh().unwrap_err();
    assert!(!error.is_passing());
    assert!(error.to_string().contains("is not empty (it has `photos/cat.jpg`)"), "{error}");
    assert_eq!(objects(&bucket, ""), ["photos/cat.jpg"]);
}

#[test]
fn other_layouts_and_damaged_logs_are_errors_with_their_object() {
    let bucket = Faulty::new();
    write(&bucket, "vesta-store.json", br#"{"layout":2,"id":"01KG9Y00000000000000000000"}"#);
    let error = error_of(&bucket);
    assert!(error.contains("vesta-store.json is damaged: it has layout 2; this version"), "{error}");
    write(&bucket, "vesta-store.json", b"hello");
    assert!(error_of(&bucket).contains("it cannot be read"), "{}", error_of(&bucket));

    let bucket = Faulty::new();
    let host = Host::new(&bucket);
    for n in 0..3 {
        host.append("a", NOON + n * 10_000);
        host.flush(NOON + HOUR);
    }
    let second = "commits/00000000000000000002.json";
    let json = String::from_utf8(read(&bucket, second)).unwrap();
    for (text, expected) in [
        (json.replace("\"rows\":1", "\"rows\":2"), "2.json is damaged: its checksum is wrong"),
        (json[..100].to_owned(), "2.json is damaged: it cannot be read"),
        (json.replacen("\"layout\":1", "\"layout\":7", 1), "it has layout 7"),
        (
            String::from_utf8(read(&bucket, "commits/00000000000000000001.json")).unwrap(),
            "it says that it is commit 1",
        ),
    ] {
        write(&bucket, second, text.as_bytes());
        assert!(error_of(&bucket).contains(expected), "{}", error_of(&bucket));
    }
    remove(&bucket, second);
    assert_eq!(error_of(&bucket), format!("s3://test/{second} is missing"));
    write(&bucket, second, json.as_bytes());
    // What is no commit is passed by.
    write(&bucket, "commits/README", b"hello");
    write(&bucket, "commits/00000000000000000009.json.bak", b"hello");
    assert_eq!(times(&reader(&bucket, 1 << 20).1).len(), 30);
}

#[test]
fn damaged_and_missing_objects_are_named_and_the_rest_is_read() {
    let bucket = Faulty::new();
    let host = Host::new(&bucket);
    host.append("a", NOON);
    host.append("a", NOON + HOUR);
    host.flush(NOON + 2 * HOUR);
    let samples =
        objects(&bucket, "segments").into_iter().find(|name| name.ends_with("/samples.parquet")).unwrap();
    let good = read(&bucket, &samples);
    let mut bad = good.clone();
    bad[100] ^= 1;
    write(&bucket, &samples, &bad);
    let (_dir, store, _) = reader(&bucket, 1 << 20);
    let found = skipped(&store);
    assert_eq!(found.len(), 1);
    let reason =
        format!("s3://test/{samples} is damaged: its checksum is wrong, the object has been changed");
    assert_eq!(found[0].reason, reason);
    assert_eq!(store.query(&Selector::all(), TimeRange::ALL, Keep::ALL).unwrap().profile.samples(), 10);

    write(&bucket, &samples, &good[..50]);
    assert!(skipped(&reader(&bucket, 1 << 20).1)[0].reason.contains("its checksum is wrong"));
    write(&bucket, &samples, &[good.clone(), vec![0; 10]].concat());
    assert!(skipped(&reader(&bucket, 1 << 20).1)[0].reason.contains("bytes long, at most"));
    remove(&bucket, &samples);
    assert_eq!(skipped(&reader(&bucket, 1 << 20).1)[0].reason, format!("s3://test/{samples} is missing"));
    write(&bucket, &samples, &good);
    assert_eq!(skipped(&reader(&bucket, 1 << 20).1), []);
}

#[test]
fn a_segment_damaged_here_is_not_uploaded() {
    let bucket = Faulty::new();
    let host = Host::new(&bucket);
    host.append("a", NOON);
    let path = host.store.segments().unwrap()[0].path().join("stacks.parquet");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let synced = host.flush(NOON + HOUR);
    assert_eq!((synced.uploaded, synced.damaged), (0, 1));
    assert_eq!(objects(&bucket, "segments"), [""; 0]);
}

#[test]
fn damaged_notes_stop_uploads_with_a_sentence() {
    let bucket = Faulty::new();
    let host = Host::new(&bucket);
    host.append("a", NOON);
    host.flush(NOON + HOUR);
    let Host { dir, store, remote } = host;
    drop((store, remote));
    std::fs::write(dir.path().join("data/remote/ours.json"), b"{}").unwrap();
    let store = Store::open_writer(dir.path().join("data")).unwrap();
    let options = RemoteOptions {
        url: "s3://test".to_owned(),
        cache_dir: dir.path().join("cache"),
        cache_bytes: 1,
        is_writer: true,
        settings: Vec::new(),
    };
    let client = client_of(Arc::new(bucket), "s3://test").unwrap();
    let error = Remote::attach_client(&store, client, &options, GRACE).err().unwrap().to_string();
    assert!(error.contains("ours.json is damaged") && error.contains("remove it if"), "{error}");
}
