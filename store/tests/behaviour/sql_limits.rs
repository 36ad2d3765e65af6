//! Statements that are wrong, hostile or too much are refused in words; what changes meanwhile changes no answer.
#![cfg(feature = "sql")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use store::{Cancel, Error, Limits, Retention, Store};

use crate::common::{NOON, at_times, window};
use crate::sql::filled;

fn refused(store: &Store, statement: &str) -> String {
    match store.sql(statement, 100) {
        Err(Error::Sql(error)) => error.to_string(),
        other => panic!("{statement}: {other:?}"),
    }
}

#[test]
fn wrong_statements_are_explained_with_their_place() {
    let (_dir, store) = filled(1);
    for (statement, expected) in [
        ("SELEC 1", "Expected: an SQL statement, found: SELEC\nSELEC 1\n^"),
        ("SELECT 1 +", "Expected: an expression, found: EOF"),
        ("SELECT\n  nosuch FROM samples", "nosuch"),
        ("SELECT 'open", "Unterminated string literal\nSELECT 'open\n       ^"),
        ("SELECT process FROM nosuch", "nosuch"),
        ("SELECT nosuch(1)", "nosuch"),
        ("SELECT leaf('x')", "leaf"),
        ("SELECT contains_function(stack, '') FROM samples", "the name of a function is empty"),
        ("SELECT contains_function(stack, '~(') FROM samples", "unclosed group"),
        ("SELECT 1 / 0", "Divide by zero"),
        ("SELECT process, samples FROM samples GROUP BY process", "samples"),
        ("", "there is no statement"),
        (";", "there is no statement"),
        ("SELECT 1; SELECT 2", "there are several statements; one is answered at a time"),
    ] {
        let error = refused(&store, statement);
        assert!(error.contains(expected), "{statement}\n{error}");
    }
    let error = refused(&store, "SELECT 1,\n  nosuch FROM samples");
    assert!(error.ends_with("\n  nosuch FROM samples\n  ^"), "{error}");
}

#[test]
fn statements_only_read() {
    let (dir, store) = filled(1);
    let before = listing(dir.path());
    let file = dir.path().join("stolen");
    let file = file.display();
    for statement in [
        "CREATE TABLE t AS SELECT 1".to_owned(),
        "CREATE VIEW v AS SELECT 1".to_owned(),
        "DROP VIEW samples".to_owned(),
        "INSERT INTO samples SELECT * FROM samples".to_owned(),
        "DELETE FROM samples".to_owned(),
        "UPDATE samples SET samples = 0".to_owned(),
        "TRUNCATE TABLE samples".to_owned(),
        format!("COPY (SELECT 1) TO '{file}.csv'"),
        format!("COPY samples TO '{file}.json' STORED AS JSON"),
        format!("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '{file}'"),
        format!("EXPLAIN COPY (SELECT 1) TO '{file}.csv'"),
        format!("EXPLAIN ANALYZE COPY (SELECT 1) TO '{file}.csv'"),
        "EXPLAIN ANALYZE INSERT INTO samples SELECT * FROM samples".to_owned(),
        "SET datafusion.execution.batch_size = 1".to_owned(),
        "RESET datafusion.execution.batch_size".to_owned(),
        "PREPARE p AS SELECT 1".to_owned(),
        "EXECUTE p".to_owned(),
        "BEGIN".to_owned(),
        "SELECT 1 INTO t".to_owned(),
        "CREATE FUNCTION f() RETURNS INT RETURN 1".to_owned(),
    ] {
        refused(&store, &statement);
    }
    for name in ["/etc/passwd", "/etc/passwd.csv", "file:///etc/passwd", "s3://bucket/x.parquet"] {
        let error = refused(&store, &format!("SELECT * FROM '{name}'"));
        assert!(!error.contains("root:"), "{error}");
        refused(&store, &format!("SELECT * FROM read_parquet('{name}')"));
        refused(&store, &format!("SELECT * FROM read_csv('{name}')"));
    }
    assert_eq!(listing(dir.path()), before);
}

/// Every file in a folder with its length.
fn listing(folder: &std::path::Path) -> Vec<(std::path::PathBuf, u64)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => all.extend(listing(&path)),
            false => all.push((path.clone(), path.metadata().expect("a file").len())),
        }
    }
    all.sort();
    all
}

#[test]
fn deep_and_long_statements_end_in_words() {
    let (_dir, store) = filled(1);
    let many = |one: &str, n: usize| one.repeat(n);
    let start = Instant::now();
    for (statement, expected) in [
        (format!("SELECT {}1{}", many("(", 900), many(")", 900)), "nest"),
        (format!("SELECT {} true", many("NOT ", 1900)), ""),
        (format!("SELECT {}1", many("- ", 1900)), ""),
        (format!("{}SELECT 1{}", many("SELECT * FROM (", 380), many(")", 380)), ""),
        (format!("SELECT {}1", many("1+", 990)), ""),
        (format!("SELECT 1 WHERE {}true", many("1=1 OR ", 480)), ""),
        (format!("SELECT {}0{}", many("abs(", 600), many(")", 600)), ""),
        (format!("SELECT {}0{}", many("[", 900), many("]", 900)), ""),
        (format!("SELECT {}0 END", many("CASE WHEN true THEN 1 ELSE ", 300)), ""),
        (format!("SELECT {}1", many("1+", 7000)), "more than 2000 words"),
        (format!("SELECT '{}'", many("x", 20_000)), "the statement is longer than 16 KiB"),
        (format!("SELECT {}1", many("1,", 990)), ""),
        (format!("SELECT 1{}", many(" UNION ALL SELECT 1", 480)), ""),
    ] {
        match store.sql(&statement, 100) {
            Ok(answer) => assert!(answer.rows > 0 && expected.is_empty(), "{statement:.60}"),
            Err(Error::Sql(error)) => {
                let error = error.to_string();
                assert!(error.contains(expected) && !error.contains("gave up"), "{statement:.60}\n{error}");
            }
            Err(error) => panic!("{statement:.60}: {error}"),
        }
    }
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}

#[test]
fn much_is_not_made_out_of_little() {
    let (_dir, store) = filled(1);
    let doubled = |n: usize| {
        let mut text = "WITH t0 AS (SELECT process AS x FROM samples)".to_owned();
        for i in 1..=n {
            text += &format!(", t{i} AS (SELECT x || x AS x FROM t{})", i - 1);
        }
        format!("{text} SELECT max(length(x)) FROM t{n}")
    };
    assert!(store.sql(&doubled(3), 10).is_ok());
    for statement in [
        doubled(40),
        doubled(40).replace("x || x", "concat(x, x)"),
        doubled(40).replace("x || x", "replace(x, 'e', x)"),
        doubled(40).replace("x || x", "[x, x]").replace("length(x)", "x"),
        "SELECT repeat('x', 1000000000)".to_owned(),
        "SELECT lpad('x', 1000000000)".to_owned(),
        "SELECT range(1000000000000)".to_owned(),
        "SELECT array_repeat(1, 1000000000)".to_owned(),
        "SELECT * FROM generate_series(1, 1000000000000)".to_owned(),
        "WITH RECURSIVE t AS (SELECT 'x' AS x UNION ALL SELECT x || x FROM t) SELECT count(*) FROM t"
            .to_owned(),
        format!("SELECT (SELECT max(x) FROM ({}) AS q(x))", doubled(40)),
    ] {
        refused(&store, &statement);
    }
    let names = "SELECT array_to_string(stack_frames(stack), ' <- ') || ' in ' || process || '/' || thread FROM samples";
    assert!(store.sql(names, 10).is_ok());
}

#[test]
fn memory_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_writer(dir.path()).unwrap();
    store.append(&window(1, NOON, 20_000)).unwrap();
    let limits = Limits { memory_bytes: 16 << 20, ..Limits::default() };
    let small = store.with_limits(limits);
    for statement in [
        "SELECT * FROM samples a CROSS JOIN samples b CROSS JOIN samples c ORDER BY a.time, b.time, c.time",
        "SELECT stack_frames(a.stack), count(*) FROM samples a JOIN samples b ON a.pid = b.pid GROUP BY a.stack, b.stack",
        "SELECT array_agg(a.thread || b.thread) FROM samples a JOIN samples b ON a.pid = b.pid",
        "SELECT sum(a.value) OVER () FROM samples a JOIN samples b ON a.pid = b.pid",
    ] {
        let start = Instant::now();
        match small.sql(statement, 1_000_000) {
            Err(Error::TooLarge { limit }) => assert_eq!(limit, 16 << 20),
            other => panic!("{statement}: {:?}", other.map(|answer| answer.rows)),
        }
        assert!(start.elapsed() < Duration::from_secs(60), "{statement}");
    }
    // The answer itself counts, too.
    let pairs = "SELECT a.thread, b.thread FROM samples a, samples b";
    assert!(matches!(small.sql(pairs, 1_000_000), Err(Error::TooLarge { .. })));
    assert_eq!(small.sql(pairs, 1000).unwrap().rows, 1000);
}

#[test]
fn answers_have_at_most_the_rows_asked_for_and_say_so() {
    let (_dir, store) = filled(4);
    let all = store.sql("SELECT count(*) FROM samples", 1).unwrap().columns[0].values[0].as_u64().unwrap();
    let all = usize::try_from(all).unwrap();
    for (limit, expected) in [(1, (1, true)), (all - 1, (all - 1, true)), (all, (all, false))] {
        let answer = store.sql("SELECT segment, time FROM samples", limit).unwrap();
        assert_eq!((answer.rows, answer.truncated), expected);
    }
    let first = store.sql("SELECT samples FROM samples ORDER BY samples DESC, time", 1).unwrap();
    let most = store.sql("SELECT max(samples) FROM samples", 1).unwrap();
    assert_eq!(first.columns[0].values, most.columns[0].values);
    assert!(!store.sql("SELECT process FROM samples LIMIT 3", 3).unwrap().truncated);
    let explained = store.sql("EXPLAIN SELECT process FROM samples", 1).unwrap();
    assert_eq!((explained.rows, explained.truncated), (1, true));
}

#[test]
fn a_statement_that_nobody_waits_for_ends() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_writer(dir.path()).unwrap();
    store.append(&window(1, NOON, 5_000)).unwrap();
    let cancel = Cancel::default();
    let store = store.with_limits(Limits { cancel: cancel.clone(), ..Limits::default() });
    let endless = "SELECT count(*) FROM samples a, samples b, samples c WHERE a.time + b.time = c.tid";
    let start = Instant::now();
    let result = thread::scope(|scope| {
        let running = scope.spawn(|| store.sql(endless, 10));
        thread::sleep(Duration::from_millis(500));
        assert!(!running.is_finished());
        cancel.cancel();
        running.join().unwrap()
    });
    assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn statements_see_each_window_once_while_the_writer_appends_merges_and_deletes() {
    const WINDOWS: i64 = 60;
    let dir = tempfile::tempdir().unwrap();
    let writer = Store::open_writer(dir.path()).unwrap();
    let (written, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let at = |n: i64| NOON + n * 10_000;
    thread::scope(|scope| {
        for reader in [Store::open_reader(dir.path()).unwrap(), writer.clone()] {
            let (written, done) = (&written, &done);
            scope.spawn(move || {
                let mut statements = 0;
                while !done.load(Ordering::Acquire) || statements == 0 {
                    let least = written.load(Ordering::Acquire);
                    let statement = "SELECT sum(samples), count(DISTINCT time), count(leaf(stack)), max(samples) FROM samples";
                    let answer = reader.sql(statement, 10).unwrap();
                    let most = written.load(Ordering::Acquire) + 1;
                    assert_eq!(answer.skipped, []);
                    let found: Vec<_> = answer.columns.iter().map(|column| column.values[0].as_u64().unwrap_or(0)).collect();
                    assert!((least..=most).contains(&found[0]), "{least} <= {found:?} <= {most}");
                    assert_eq!(found[..3], [found[0]; 3]);
                    statements += 1;
                }
            });
        }
        for n in 0..WINDOWS {
            let window = Arc::new(at_times(at(n), "a", &[at(n)]));
            writer.publish_head(Some(window.clone()));
            writer.append(&window).unwrap();
            written.store(n as u64 + 1, Ordering::Release);
            writer.compact(at(n)).unwrap();
        }
        writer.compact(NOON + 86_400_000).unwrap();
        done.store(true, Ordering::Release);
    });
    writer.retain(Retention { max_age_ms: Some(1), max_bytes: None }, NOON + 10 * 86_400_000).unwrap();
    let answer = writer.sql("SELECT count(*) FROM samples", 1).unwrap();
    assert_eq!(answer.columns[0].values, [json!(0)]);
}
