//! The JSON API answers as docs/api.md says.

use serde_json::{Value, json};

use super::*;
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
