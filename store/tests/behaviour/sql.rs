//! SQL finds what queries find, in every form that data has, and does nothing but read.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};
use store::model::{FrameKind, Keep, NodeId, Profile, Row};
use store::{FunctionName, Limits, Selector, SqlAnswer, Store, TimeRange};

use crate::common::{NOON, Random, window};

/// A store with segments of several levels and resolutions and a window in memory.
pub(crate) fn filled(seed: u64) -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Store::open_writer(dir.path()).expect("a store");
    let mut random = Random(seed);
    let append = |store: &Store, at: i64, random: &mut Random| {
        let rows = 20 + random.below(200) as usize;
        store.append(&window(random.below(u64::MAX), at, rows)).expect("appended");
    };
    for n in 0..4 {
        append(&store, NOON - 86_400_000 + n * 10_000, &mut random);
    }
    store.compact_by(&"1h=10s".parse().expect("a policy"), &store::Pace::default(), NOON).expect("compacted");
    for n in 0..3 {
        append(&store, NOON + n * 10_000, &mut random);
    }
    store.publish_head(Some(window(random.below(u64::MAX), NOON + 30_000, 50).into()));
    (dir, store)
}

fn answer(store: &Store, statement: &str) -> SqlAnswer {
    let answer = store.sql(statement, 1_000_000).unwrap_or_else(|error| panic!("{statement}\n{error}"));
    assert!(answer.columns.iter().all(|column| column.values.len() == answer.rows), "{statement}");
    answer
}

/// The rows of an answer that leaves nothing out.
fn rows(store: &Store, statement: &str) -> Vec<Vec<Value>> {
    let answer = answer(store, statement);
    assert!(answer.skipped.is_empty() && !answer.truncated, "{statement}: {:?}", answer.skipped);
    (0..answer.rows).map(|i| answer.columns.iter().map(|column| column.values[i].clone()).collect()).collect()
}

/// All rows as they are stored.
fn stored(store: &Store) -> Profile {
    store.query(&Selector::all(), TimeRange::ALL, Keep::ALL).expect("an answer").profile
}

/// Sums of samples and values by text, as the statements below give them.
fn sums(profile: &Profile, key: impl Fn(&Row) -> Option<Vec<Value>>) -> Vec<Vec<Value>> {
    let mut sums: BTreeMap<String, (Vec<Value>, u64, i64)> = BTreeMap::new();
    for row in &profile.rows {
        let Some(key) = key(row) else { continue };
        let (_, samples, value) = sums.entry(format!("{key:?}")).or_insert((key, 0, 0));
        *samples += row.samples;
        *value += row.value;
    }
    sums.into_values()
        .map(|(mut key, samples, value)| {
            key.extend([json!(samples), json!(value)]);
            key
        })
        .collect()
}

fn sorted(mut rows: Vec<Vec<Value>>) -> Vec<Vec<Value>> {
    rows.sort_by_key(|row| format!("{row:?}"));
    rows
}

fn label(profile: &Profile, row: &Row, name: &str) -> Value {
    profile.label(row.key.series, name).map_or(Value::Null, |value| json!(value))
}

fn names(profile: &Profile, node: NodeId) -> Vec<&str> {
    let mut names: Vec<_> =
        profile.stacks.leaf_to_root(node).map(|id| profile.text(profile.frame(id).function)).collect();
    names.reverse();
    names
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn totals_are_those_of_the_stored_rows(seed in any::<u64>(), from in -90_000_000i64..50_000, length in 1i64..90_000_000) {
        let (_dir, store) = filled(seed);
        let all = stored(&store);
        for threads in [1, 3] {
            let store = store.with_limits(Limits { threads, ..Limits::default() });
            let by_label = rows(&store, "SELECT process, event, unit, sum(samples), sum(value) FROM samples GROUP BY ALL");
            let expected = sums(&all, |row| {
                let unit = all.text(all.series(row.key.series).unit);
                Some(vec![label(&all, row, "process"), label(&all, row, "event"), json!(unit)])
            });
            prop_assert_eq!(sorted(by_label), sorted(expected));

            let by_row = rows(&store, "SELECT pid, tid, thread, status, sum(samples), sum(value) FROM samples GROUP BY ALL");
            let expected = sums(&all, |row| {
                let (thread, status) = (all.text(row.key.thread), all.text(row.key.status));
                Some(vec![json!(row.key.pid), json!(row.key.tid), json!(thread), json!(status)])
            });
            prop_assert_eq!(sorted(by_row), sorted(expected));

            // Rows belong to the start of their bucket.
            let (from, until) = (NOON + from, NOON + from + length);
            let is_within = |row: &Row| (from..until).contains(&row.key.time_ms);
            let expected = sums(&all, |row| is_within(row).then(|| vec![label(&all, row, "cgroup")]));
            let text = |ms: i64| jiff::Timestamp::from_millisecond(ms).unwrap().to_string();
            for condition in [
                format!("time >= {from} AND time < {until}"),
                format!("timestamp >= '{}' AND timestamp < '{}'", text(from), text(until)),
                format!("timestamp BETWEEN to_timestamp_millis({from}) AND to_timestamp_millis({})", until - 1),
            ] {
                let statement =
                    format!("SELECT cgroup, sum(samples), sum(value) FROM samples WHERE {condition} GROUP BY 1");
                prop_assert_eq!(sorted(rows(&store, &statement)), sorted(expected.clone()), "{}", condition);
            }
        }
    }

    #[test]
    fn stacks_lead_to_their_functions(seed in any::<u64>()) {
        let (_dir, store) = filled(seed);
        let all = stored(&store);
        let by_stack = rows(&store, "SELECT stack_frames(stack), sum(samples), sum(value) FROM samples GROUP BY 1");
        prop_assert_eq!(sorted(by_stack), sorted(sums(&all, |row| Some(vec![json!(names(&all, row.key.node))]))));

        let by_leaf = rows(&store, "SELECT leaf(stack), sum(samples), sum(value) FROM samples GROUP BY 1");
        prop_assert_eq!(
            sorted(by_leaf),
            sorted(sums(&all, |row| Some(vec![json!(names(&all, row.key.node).last())])))
        );

        for name in ["namespace::function_3<T, U>", "~function_1.<", "~^nothing$"] {
            let function = FunctionName::parse(name).unwrap();
            let history =
                store.function_history(&Selector::all(), TimeRange::ALL, i64::MAX, &function, 100).unwrap();
            let is_it = |id: &store::model::FrameId| {
                let frame = all.frame(*id);
                let text = all.text(frame.function);
                let fits = match name.strip_prefix('~') {
                    Some(pattern) => regex::Regex::new(pattern).unwrap().is_match(text),
                    None => text == name,
                };
                fits && frame.kind != FrameKind::Truncated
            };
            let has = |row: &&Row| all.stacks.leaf_to_root(row.key.node).any(|id| is_it(&id));
            let expected: u64 = all.rows.iter().filter(has).map(|row| row.samples).sum();
            prop_assert_eq!(expected == 0, history.functions.is_empty());
            let statement = format!("SELECT coalesce(sum(samples), 0) FROM samples WHERE contains_function(stack, '{name}')");
            prop_assert_eq!(rows(&store, &statement), vec![vec![json!(expected)]], "{}", name);
        }
    }
}

#[test]
fn views_join_by_segment_and_id() {
    let (_dir, store) = filled(7);
    let all = stored(&store);
    let joined = rows(
        &store,
        "SELECT r.labels['team'], f.path, f.kind, sum(s.samples), sum(s.value) FROM samples s
         JOIN series r ON r.segment = s.segment AND r.series = s.series
         JOIN stacks k ON k.segment = s.segment AND k.node = s.node
         LEFT JOIN frames f ON f.segment = k.segment AND f.frame = k.frame GROUP BY ALL",
    );
    let expected = sums(&all, |row| {
        let frame = all.stacks.frame(row.key.node).map(|id| all.frame(id));
        let path = frame.and_then(|frame| frame.binary).map(|id| all.text(all.binary(id).path));
        Some(vec![label(&all, row, "team"), json!(path), json!(frame.map(|frame| frame.kind.name()))])
    });
    assert_eq!(sorted(joined), sorted(expected));
    // Preorder: totals of what lies below the outermost frames.
    let roots = rows(
        &store,
        "SELECT k.function, sum(s.samples), sum(s.value) FROM stacks k JOIN samples s
         ON s.segment = k.segment AND s.node >= k.node AND s.node < k.node + k.subtree WHERE k.depth = 1 GROUP BY 1",
    );
    let expected = sums(&all, |row| Some(vec![json!(names(&all, row.key.node).first()?)]));
    assert_eq!(sorted(roots), sorted(expected));
    let parents = rows(
        &store,
        "SELECT count(*) FROM stacks k JOIN stacks p ON k.parent_stack = p.stack
         WHERE array_to_string(array_pop_back(stack_frames(k.stack)), ';') = array_to_string(stack_frames(p.stack), ';')",
    );
    let others = rows(&store, "SELECT count(*) FROM stacks WHERE node > 0");
    assert_eq!(parents, others);
}

#[test]
fn every_view_has_what_the_store_has() {
    let (_dir, store) = filled(3);
    let segments = store.segments().unwrap();
    let memory = "memory-1769860830000";
    let mut expected: Vec<Value> = segments.iter().map(|segment| json!(segment.id())).collect();
    expected.push(json!(memory));
    let listed = rows(&store, "SELECT segment FROM segments ORDER BY start");
    assert_eq!(listed.concat(), expected);
    let of =
        "SELECT level, resolution_ms, rows, samples IS NOT NULL, bytes, schema_version, path FROM segments";
    let last = &rows(&store, &format!("{of} WHERE segment = '{memory}'"))[0];
    assert_eq!(last[0], Value::Null);
    let first = &rows(&store, &format!("{of} ORDER BY start LIMIT 1"))[0];
    assert_eq!(
        (&first[1], &first[3], &first[5]),
        (&json!(10_000), &json!(true), &json!(store::segment::SCHEMA_VERSION))
    );
    for view in ["samples", "series", "stacks", "frames", "binaries", "accounts"] {
        let named = rows(&store, &format!("SELECT DISTINCT segment FROM {view}"));
        assert_eq!(named.len(), expected.len(), "{view}");
        let one = rows(&store, &format!("SELECT DISTINCT segment FROM {view} WHERE segment = '{memory}'"));
        assert_eq!(one, [[json!(memory)]], "{view}");
        // Every column can be read.
        let columns = rows(&store, &format!("DESCRIBE {view}"));
        assert_eq!(answer(&store, &format!("SELECT * FROM {view}")).columns.len(), columns.len());
        for column in columns {
            let column = column[0].as_str().unwrap();
            assert!(!rows(&store, &format!("SELECT \"{column}\" FROM {view}")).is_empty(), "{view} {column}");
        }
    }
    let all = stored(&store);
    let exact = rows(&store, "SELECT sum(cardinality(offsets_ms)), sum(cardinality(cpus)) FROM samples");
    let times = json!(all.exact.len());
    assert_eq!(exact, [[times.clone(), times]]);
    let taken: u64 = all
        .accounts
        .iter()
        .filter(|account| all.text(account.counter) == "samples_taken")
        .map(|account| account.value)
        .sum();
    let statement = "SELECT sum(value) FROM accounts WHERE counter = 'samples_taken' AND timestamp < now()";
    assert_eq!(rows(&store, statement), [[json!(taken)]]);
    let views = rows(
        &store,
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'store' ORDER BY 1",
    );
    assert_eq!(views.len(), 7);
    assert_eq!(rows(&store, "SHOW COLUMNS FROM samples").len(), rows(&store, "DESCRIBE samples").len());
    assert!(!rows(&store, "EXPLAIN SELECT leaf(stack) FROM samples").is_empty());
    assert!(!rows(&store, "EXPLAIN ANALYZE SELECT leaf(stack) FROM samples").is_empty());
}

#[test]
fn ids_of_stacks_hold_over_statements_and_unknown_ones_are_null() {
    let (_dir, store) = filled(11);
    let found =
        rows(&store, "SELECT stack, stack_frames(stack) FROM samples WHERE node > 0 ORDER BY stack LIMIT 5");
    store.append(&window(99, NOON - 200_000_000, 30)).unwrap();
    for row in found {
        let (id, names) = (&row[0], &row[1]);
        let leaf = names.as_array().unwrap().last().unwrap();
        let again =
            format!("SELECT stack_frames({id}), leaf({id}), contains_function({id}, {leaf}) IS NOT NULL");
        let again = again.replace('"', "'");
        assert_eq!(rows(&store, &again), [[names.clone(), leaf.clone(), json!(true)]]);
    }
    for id in ["-1", "0", "9007199254740991", "9223372036854775807", "NULL"] {
        let statement = format!("SELECT stack_frames({id}), leaf({id}), contains_function({id}, 'x')");
        assert_eq!(rows(&store, &statement), [[Value::Null, Value::Null, Value::Null]], "{id}");
    }
    let root = rows(
        &store,
        "SELECT stack_frames(stack), leaf(stack), parent_stack FROM stacks WHERE node = 0 LIMIT 1",
    );
    assert_eq!(root, [[json!([]), Value::Null, Value::Null]]);
}

#[test]
fn conditions_on_labels_and_time_read_less_and_change_nothing() {
    let (_dir, store) = filled(5);
    let all = stored(&store);
    for (condition, of) in [
        ("process = 'nginx'", "nginx"),
        ("process IN ('nginx', 'nobody')", "nginx"),
        ("process LIKE 'ngin_'", "nginx"),
        ("process ~ '^jav'", "java"),
        ("upper(process) = 'JAVA' AND event = 'alloc_space'", "java"),
        ("1 / (CASE WHEN process = 'java' THEN 1 ELSE 1 END) = 1 AND process = 'java'", "java"),
        ("process = 'nobody'", "nobody"),
        ("process = ''", ""),
        ("exe IS NULL", "redis-server"),
        ("process = 'nginx' AND random() >= 0", "nginx"),
    ] {
        let count = |row: &&Row| all.label(row.key.series, "process") == Some(of);
        let expected: u64 = all.rows.iter().filter(count).map(|row| row.samples).sum();
        let statement = format!("SELECT coalesce(sum(samples), 0) FROM samples WHERE {condition}");
        assert_eq!(rows(&store, &statement), [[json!(expected)]], "{condition}");
    }
    // What is pruned is not even opened.
    let segments = store.segments().unwrap();
    let last = segments.last().unwrap();
    for segment in &segments {
        if segment.id() != last.id() {
            std::fs::write(segment.path().join("samples.parquet"), b"no longer").unwrap();
        }
    }
    let fresh = Store::open_reader(store.path()).unwrap();
    for condition in [
        format!("segment = '{}'", last.id()),
        format!("time >= {}", NOON + 20_000),
        "timestamp >= '2026-01-31 12:00:20'".to_owned(),
    ] {
        let answer = answer(&fresh, &format!("SELECT count(*) FROM samples WHERE {condition}"));
        assert_eq!(answer.skipped, [], "{condition}");
        assert!(answer.columns[0].values[0].as_u64() > Some(0), "{condition}");
    }
    assert_eq!(answer(&fresh, "SELECT count(*) FROM samples WHERE process = 'nobody'").skipped, []);
}

#[test]
fn damaged_segments_are_left_out_and_named() {
    let (_dir, store) = filled(2);
    let segments = store.segments().unwrap();
    let whole = rows(&store, "SELECT count(*) FROM samples")[0][0].as_u64().unwrap();
    let damaged = segments[1].path();
    let mut bytes = std::fs::read(damaged.join("samples.parquet")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(damaged.join("samples.parquet"), bytes).unwrap();
    let fresh = Store::open_reader(store.path()).unwrap();
    let answer = answer(&fresh, "SELECT count(*) FROM samples");
    assert_eq!(answer.skipped.iter().map(|skipped| &*skipped.path).collect::<Vec<_>>(), [damaged]);
    let rows_of = |profile: &Profile| profile.rows.len() as u64;
    let rest = rows_of(&stored(&fresh));
    assert!(rest < whole);
    assert_eq!(answer.columns[0].values, [json!(rest)]);

    // Without a checksum the damage shows while rows are read, or not at all; the answer is one of both.
    for segment in &segments {
        std::fs::remove_file(segment.path().join("_manifest.json")).unwrap();
    }
    let fresh = Store::open_reader(store.path()).unwrap();
    let sql = fresh.sql("SELECT count(*), sum(samples) FROM samples", 10).unwrap();
    let engine = fresh.query(&Selector::all(), TimeRange::ALL, Keep::STACKS).unwrap();
    assert_eq!(sql.columns[1].values, [json!(engine.profile.samples())]);
    assert_eq!(sql.skipped, engine.skipped);
}

#[test]
fn segments_of_version_1_are_read() {
    let store = Store::open_reader(crate::golden::folder(1)).unwrap();
    let all = stored(&store);
    let found = rows(&store, "SELECT unit, sum(samples), sum(value) FROM samples GROUP BY 1");
    assert_eq!(
        found,
        [[
            json!("nanoseconds"),
            json!(all.samples()),
            json!(all.rows.iter().map(|row| row.value).sum::<i64>())
        ]]
    );
    let versions = rows(&store, "SELECT DISTINCT schema_version FROM segments");
    assert_eq!(versions, [[json!(1)]]);
    assert!(
        !rows(&store, "SELECT stack_frames(stack), period FROM samples JOIN series USING (segment, series)")
            .is_empty()
    );
}
