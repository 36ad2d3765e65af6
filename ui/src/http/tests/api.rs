//! The JSON API answers as docs/api.md says.

use serde_json::{Value, json};

use super::*;
use crate::render::{COLUMNS_MIME, read_columns};
use crate::support::{Maker, PERIOD_NS, REDIS, START_MS, Who, native};
use crate::truth::reasons::{INCOMPLETE, LOST, known};

#[test]
fn status_tells_of_data_and_agent() {
    let server = Server::with(&[two_processes()], Limits::default(), Some(Arc::new(TestAgent)));
    let status = server.get("/api/v1/status").json();
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&status["host"], &status["event"]), (&json!("web-01"), &json!("cpu-clock")));
    assert_eq!((&status["frequency_hz"], &status["window_ms"]), (&json!(99), &json!(10_000)));
    assert_eq!(status["cpus"], 4);
    assert_eq!(status["data"]["from_ms"], START_MS);
    assert_eq!(status["data"]["segments"], 1);
    assert!(status["data"]["bytes"].as_u64().unwrap() > 0);
    assert_eq!(status["agent"]["lost"], json!({"ring_full": 2}));
    let mut keys: Vec<_> = status["agent"].as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    let documented = [
        "agent_cpu_s",
        "bpf_ns_per_sample",
        "complete",
        "incomplete",
        "lost",
        "rss_bytes",
        "samples_stored",
        "samples_taken",
        "user_stacks",
    ];
    assert_eq!(keys, documented);
    assert!(status["now_ms"].as_i64().unwrap() >= status["started_ms"].as_i64().unwrap());
}

#[test]
fn status_without_data_and_agent_has_nulls() {
    let status = Server::start(&[]).get("/api/v1/status").json();
    assert_eq!(
        status["data"],
        json!({"from_ms": null, "until_ms": null, "segments": 0, "bytes": 0, "skipped": []})
    );
    assert_eq!((&status["agent"], &status["frequency_hz"]), (&Value::Null, &Value::Null));
}

#[test]
fn timeline_counts_samples_by_group_and_bucket() {
    let server = Server::start(&[two_processes()]);
    let timeline = server.get_range("/api/v1/timeline?step_ms=5000&top=1").json();
    assert_eq!((&timeline["step_ms"], &timeline["by"]), (&json!(5000), &json!("process")));
    assert_eq!(timeline["groups"], json!([{"value": "redis-server", "total": 30, "samples": [30, 0]}]));
    assert_eq!(timeline["other"], json!({"groups": 1, "total": 10, "samples": [0, 10]}));
    assert_eq!((&timeline["complete"], &timeline["lost"]), (&json!([30, 0]), &json!([2, 0])));
    assert_eq!(timeline["period_ns"], PERIOD_NS);
    for (asked, step_ms) in [("4999.2", 5000), ("1", 5), ("1e300", i64::MAX)] {
        assert_eq!(server.get_range(&format!("/api/v1/timeline?step_ms={asked}")).json()["step_ms"], step_ms);
    }
    let timeline = server.get_range("/api/v1/timeline?by=status").json();
    assert_eq!(timeline["groups"][1]["value"], "no_frame_pointer");
    assert!((250..=350).contains(&timeline["complete"].as_array().unwrap().len()), "about 300 buckets");
}

#[test]
fn flame_is_the_tree_of_what_is_selected() {
    let server = Server::start(&[two_processes()]);
    let flame = server.get_range("/api/v1/flame").json();
    assert_eq!(flame["nodes"]["total"], json!([40, 10, 10, 10, 30, 30, 30]));
    assert_eq!((&flame["complete"], &flame["incomplete"]), (&json!(30), &json!({"no_frame_pointer": 10})));
    assert_eq!((&flame["taken"], &flame["lost"]), (&json!(42), &json!({"ring_full": 2})));
    assert_eq!((&flame["from_ms"], &flame["until_ms"]), (&json!(START_MS), &json!(START_MS + 10_000)));
    let flame = server.get_range("/api/v1/flame?query=process%3D%22python3%22&by=thread&max_nodes=2").json();
    assert_eq!(flame["nodes"]["total"], json!([10, 10]));
    assert_eq!((&flame["pruned"], &flame["nodes"]["pruned"]), (&json!(10), &json!([0, 10])));
    assert!(flame["strings"].as_array().unwrap().contains(&json!("worker")));
}

#[test]
fn flame_in_columns_is_the_same_tree_from_wide_to_narrow() {
    let server = Server::start(&[two_processes()]);
    let reply = server.get_range("/api/v1/flame?format=columns");
    assert_eq!(reply.header("content-type"), COLUMNS_MIME);
    let (header, nodes) = read_columns(&reply.body);
    let names: Vec<_> = nodes.iter().map(|(_, name, own, total)| (name.as_str(), *own, *total)).collect();
    assert_eq!(
        names[..4],
        [("all", 0., 40.), ("redis-server", 0., 30.), ("main", 0., 30.), ("serve", 30., 30.)]
    );
    assert_eq!(names[6], ("eval", 10., 10.));
    assert_eq!((&header["complete"], &header["lost"]), (&json!(30), &json!({"ring_full": 2})));
    assert_eq!(header["data"]["from_ms"], START_MS);
    let (header, nodes) = read_columns(&server.get_range("/api/v1/flame?format=columns&max_nodes=2").body);
    assert_eq!((&header["pruned"], nodes.len(), nodes[1].3), (&json!(40), 2, 30.));
    let refused = server.get_range("/api/v1/flame?format=xml");
    assert_eq!((refused.status, refused.error()), (400, "unknown format `xml`: use json or columns".into()));
}

#[test]
fn truth_names_the_files_behind_incomplete_stacks() {
    let server = Server::start(&[two_processes()]);
    let truth = server.get_range("/api/v1/truth").json();
    let reason = known("no_frame_pointer", &INCOMPLETE).unwrap();
    let loss = known("ring_full", &LOST).unwrap();
    let expected = json!({
        "from_ms": START_MS, "until_ms": START_MS + 10_000, "period_ns": PERIOD_NS, "samples": 40, "complete": 30,
        "reasons": [{
            "reason": "no_frame_pointer", "title": reason.title, "text": reason.text, "advice": reason.advice,
            "samples": 10,
            "binaries": [{
                "binary": "/usr/bin/app", "kind": "native", "samples": 10,
                "functions": [{"name": "eval", "samples": 10}], "processes": [{"name": "python3", "samples": 10}],
            }],
            "other": {"binaries": 0, "samples": 0},
        }],
        "taken": 42,
        "losses": [{
            "reason": "ring_full", "title": loss.title, "text": loss.text, "advice": loss.advice, "samples": 2,
        }],
        "skipped": [],
    });
    assert_eq!(truth, expected);
    let redis = server.get_range("/api/v1/truth?query=process%3D%22redis-server%22&top=1").json();
    assert_eq!(
        (&redis["samples"], &redis["complete"], &redis["reasons"]),
        (&json!(30), &json!(30), &json!([]))
    );
    let reply = server.get_range("/api/v1/truth?top=101");
    assert_eq!(
        (reply.status, reply.error()),
        (400, "top must be a whole number from 1 to 100, not `101`".into())
    );
}

#[test]
fn labels_and_their_values_are_listed() {
    let server = Server::start(&[two_processes()]);
    let names = server.get_range("/api/v1/labels").json();
    let expected = ["event", "exe", "host", "pid", "process", "status", "thread", "tid"];
    assert_eq!(names["labels"], json!(expected));
    let values = server.get_range("/api/v1/labels/process/values").json();
    let expected = json!([{"value": "redis-server", "samples": 30}, {"value": "python3", "samples": 10}]);
    assert_eq!(values, json!({"values": expected, "truncated": false}));
    let values = server.get_range("/api/v1/labels/pid/values?query=process%3D%22python3%22").json();
    assert_eq!(values["values"], json!([{"value": "21", "samples": 10}]));
}

#[test]
fn more_than_a_thousand_values_are_cut_and_said_to_be() {
    let mut maker = Maker::default();
    for tid in 1..=1001 {
        maker.stack(Who { tid, ..REDIS }, &[native("main")], u64::from(tid));
    }
    let values = Server::start(&[maker.finish()]).get_range("/api/v1/labels/tid/values").json();
    assert_eq!(values["truncated"], true);
    assert_eq!(values["values"].as_array().unwrap().len(), 1000);
    assert_eq!(values["values"][0], json!({"value": "1001", "samples": 1001}));
}

#[test]
fn a_damaged_segment_is_named_and_counted() {
    let server = Server::start(&[two_processes(), {
        let mut maker = Maker::default();
        maker.stack(REDIS, &[native("main")], 5).finish()
    }]);
    let segments = server.folder.path().join("data/segments");
    let day = std::fs::read_dir(&segments).unwrap().next().unwrap().unwrap().path();
    let segment = std::fs::read_dir(&day).unwrap().next().unwrap().unwrap().path();
    std::fs::write(segment.join("samples.parquet"), b"PAR1 but no more").unwrap();
    let flame = server.get_range("/api/v1/flame").json();
    let skipped = flame["skipped"].as_array().unwrap();
    assert_eq!(skipped.len(), 1, "{skipped:?}");
    assert_eq!(skipped[0]["path"], segment.to_str().unwrap());
    assert!(skipped[0]["reason"].as_str().unwrap().contains("samples.parquet"), "{skipped:?}");
    assert!(flame["samples"].as_u64().unwrap() > 0, "the other segment is there");
    assert!(server.get("/metrics").text().contains("\nvesta_query_skipped_segments_total 1\n"));
    assert_eq!(server.get("/api/v1/status").json()["data"]["skipped"].as_array().unwrap().len(), 1);
}

#[test]
fn tables_are_by_function_file_or_binary() {
    let server = Server::start(&[two_processes()]);
    let functions = server.get_range("/api/v1/top?top=1").json();
    assert_eq!((&functions["functions"], functions["rows"].as_array().unwrap().len()), (&json!(3), 1));
    assert_eq!(functions, server.get_range("/api/v1/top?top=1&by=function").json());
    for by in ["file", "binary"] {
        let table = server.get_range(&format!("/api/v1/top?by={by}")).json();
        assert_eq!(
            (&table["by"], &table["samples"], &table["complete"]),
            (&json!(by), &json!(40), &json!(30))
        );
        let sum: u64 =
            table["rows"].as_array().unwrap().iter().map(|row| row["self"].as_u64().unwrap()).sum();
        assert_eq!(sum, 40, "every sample ended somewhere: {table}");
        assert_eq!(table["rows"].as_array().unwrap().len() as u64, table["found"].as_u64().unwrap());
    }
    let reply = server.get_range("/api/v1/top?by=colour");
    assert_eq!((reply.status, reply.error()), (400, "`colour` is none of function, file, binary".to_owned()));
}

#[test]
fn a_comparison_has_both_values_at_every_node() {
    let server = Server::start(&[two_processes()]);
    let (from, middle, until) = (START_MS / 1000, START_MS / 1000 + 5, START_MS / 1000 + 10);
    let path = format!("/api/v1/diff?from={middle}&until={until}");
    let diff = server.get(&path).json();
    assert_eq!(
        diff["before"],
        json!({"from_ms": START_MS, "until_ms": START_MS + 5000, "samples": 30, "complete": 30})
    );
    assert_eq!(diff["nodes"]["total"], json!([40, 10, 10, 10, 30, 30, 30]));
    assert_eq!(diff["nodes"]["before_total"], json!([30, 0, 0, 0, 30, 30, 30]));
    assert_eq!(diff["nodes"]["before_self"], json!([0, 0, 0, 0, 0, 0, 30]));
    let asked = format!("{path}&before_from={from}&before_until={middle}&before_query=process%3D%22none%22");
    assert_eq!(server.get(&asked).json()["before"]["samples"], 0);
    let pruned = server.get(&format!("{path}&max_nodes=2")).json();
    assert_eq!(pruned["nodes"]["before_total"], json!([30, 30]));
    assert_eq!(pruned["nodes"]["before_self"], json!([0, 30]));
    let table = server.get(&format!("{path}&format=top-json&top=2")).json();
    assert_eq!((&table["before"], &table["after"], &table["functions"]), (&json!(30), &json!(10), &json!(3)));
    let row = &table["rows"][0];
    assert_eq!((&row["function"], &row["self_points"]), (&json!("eval"), &json!(100.0)));
    let row = &table["rows"][1];
    assert_eq!(
        (&row["function"], &row["self_points"], &row["before_self"]),
        (&json!("serve"), &json!(-100.0), &json!(30))
    );
    assert_eq!(server.get(&format!("{path}&format=svg")).status, 400);
    assert_eq!(server.get(&format!("{path}&before_until=0")).status, 400);
}

#[test]
fn functions_have_a_history() {
    let server = Server::start(&[two_processes()]);
    let history = server.get_range("/api/v1/functions?name=serve&step_ms=5000").json();
    assert_eq!((&history["samples"], &history["found"]), (&json!([30, 10]), &json!(1)));
    assert_eq!(
        (&history["functions"][0]["self"], &history["functions"][0]["total"]),
        (&json!([30, 0]), &json!([30, 0]))
    );
    let history = server.get_range("/api/v1/functions?name=~%5E(main%7Ceval)$&step_ms=5000").json();
    let names: Vec<_> =
        history["functions"].as_array().unwrap().iter().map(|f| f["function"].clone()).collect();
    assert_eq!(names, ["main", "eval"]);
    assert_eq!(history["functions"][0]["self"], json!([0, 0]));
    for (asked, error) in
        [("", "the parameter `name` is missing"), ("?name=~(", "bad regular expression: unclosed group")]
    {
        let reply = server.get(&format!("/api/v1/functions{asked}"));
        assert_eq!((reply.status, reply.error()), (400, error.to_owned()));
    }
}

#[test]
fn the_heat_map_has_all_samples_with_times() {
    let server = Server::start(&[two_processes()]);
    let map = server.get_range("/api/v1/heatmap").json();
    assert_eq!(
        (&map["column_ms"], &map["row_ms"], &map["from_ms"]),
        (&json!(1000), &json!(20), &json!(START_MS))
    );
    let columns = map["columns"].as_array().unwrap();
    assert_eq!((columns.len(), columns[0].as_array().unwrap().len()), (10, 50));
    let cells = columns.iter().flat_map(|column| column.as_array().unwrap());
    let sum: u64 = cells.map(|cell| cell.as_u64().unwrap()).sum();
    assert_eq!(sum + map["without_times"].as_u64().unwrap(), 40);
    assert_eq!(server.get_range("/api/v1/heatmap?row_ms=0").status, 400);
}

#[test]
fn lanes_are_threads_or_cpus() {
    let server = Server::start(&[two_processes()]);
    let lanes = server.get_range("/api/v1/lanes?step_ms=5000").json();
    let first = &lanes["lanes"][0];
    assert_eq!((&lanes["by"], &lanes["step_ms"]), (&json!("thread"), &json!(5000)));
    assert_eq!((&first["process"], &first["total"]), (&json!("redis-server"), &json!(30)));
    assert_eq!((&first["thread"], &first["samples"]), (&json!("io_thd_1"), &json!([30, 0])));
    let one = server.get_range("/api/v1/lanes?top=1").json();
    assert_eq!(
        (one["lanes"].as_array().unwrap().len(), &one["other"]),
        (1, &json!({"lanes": 1, "total": 10}))
    );
    let cpus = server.get_range("/api/v1/lanes?by=cpu").json();
    let kept: u64 =
        cpus["lanes"].as_array().unwrap().iter().map(|lane| lane["total"].as_u64().unwrap()).sum();
    assert_eq!(kept, 40);
    let reply = server.get_range("/api/v1/lanes?by=host");
    assert_eq!((reply.status, reply.error()), (400, "there are lanes by thread and by cpu".to_owned()));
}

#[test]
fn a_source_file_has_samples_by_line_and_its_text_where_it_may_be_read() {
    let server = Server::start(&[two_processes()]);
    let source = server.get_range("/api/v1/source?file=src/app.c").json();
    assert_eq!((&source["samples"], &source["text"]), (&json!(40), &json!("int main() {}\n")));
    let own: u64 =
        source["lines"].as_array().unwrap().iter().map(|line| line["self"].as_u64().unwrap()).sum();
    assert!(own > 0 && source["in_file"].as_u64().unwrap() >= own, "{source}");
    // It is there and might be read, but no sample is from it.
    let other = server.get_range("/api/v1/source?file=./src/app.c").json();
    assert_eq!((&other["text"], &other["in_file"]), (&Value::Null, &json!(0)));
    assert_eq!(server.get_range("/api/v1/source").status, 400);
    assert_eq!(server.get_range(&format!("/api/v1/source?file={}", "a".repeat(4097))).status, 400);
}

#[test]
fn labels_and_values_are_found_by_how_they_start() {
    let server = Server::start(&[two_processes()]);
    assert_eq!(server.get_range("/api/v1/labels?prefix=p").json()["labels"], json!(["pid", "process"]));
    let values = server.get_range("/api/v1/labels/process/values?prefix=re").json();
    assert_eq!(values["values"], json!([{"value": "redis-server", "samples": 30}]));
}

#[test]
fn what_bpf_programs_have_cost_is_told_over_time() {
    let mut maker = Maker::default();
    maker.stack(REDIS, &[native("main")], 1);
    maker.account("bpf_run_ns:0123456789abcdef:sample:cpu", 5_000).account("bpf_run_ns_others", 70);
    let profile = maker.account("bpf_ns", 9_000).finish();
    let host = profile.text(profile.accounts[0].host).to_owned();
    let server = Server::start(&[profile]);
    let found = server.get_range("/api/v1/programs/history?step_ms=5000").json();
    let expected = json!([
        {"host": host, "tag": "0123456789abcdef", "name": "sample:cpu", "run_ns": [5_000, 0]},
        {"host": host, "tag": "", "name": "", "run_ns": [70, 0]},
    ]);
    assert_eq!(
        (&found["programs"], &found["step_ms"], &found["other"]),
        (&expected, &json!(5000), &json!(0))
    );
}
