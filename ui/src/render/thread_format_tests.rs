//! Formats that show threads over time: Firefox Profiler, speedscope, `perf script`.

use serde_json::{Value, json};
use store::model::{Exact, FrameKind, Profile, RowKey};

use super::*;
use crate::support::{Maker, PERIOD_NS, Part, REDIS, START_MS, Who, generated, native};

fn text(format: Format, profile: &Profile) -> String {
    let mut out = Vec::new();
    format.write(profile, &RenderOptions::default(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn value(format: Format, profile: &Profile) -> Value {
    serde_json::from_str(&text(format, profile)).unwrap()
}

/// Two threads, one of them with times of its samples, and an inlined function.
fn sample() -> Profile {
    let mut maker = Maker::default();
    let inlined: [Part<'_>; 4] = [
        native("main"),
        (FrameKind::Native, "hot", "/usr/bin/app", 0x4010),
        (FrameKind::Inlined, "inner", "/usr/bin/app", 0x4010),
        (FrameKind::Kernel, "do_syscall_64", "[kernel]", 0xffff_ffff_8100_0000),
    ];
    maker.stack(REDIS, &inlined, 3);
    let other = Who { thread: "other", tid: 7, status: "no_frame_pointer", ..REDIS };
    maker.stack(other, &[(FrameKind::Truncated, "[no frame pointer]", "", 0), native("f")], 2);
    let mut profile = maker.finish();
    let timed = profile.rows.iter_mut().find(|row| row.samples == 3).unwrap();
    timed.exact = 0..3;
    profile.exact = [250, 10, 999].map(|offset_ms| Exact { offset_ms, cpu: 2 }).to_vec();
    profile.exact.sort_unstable();
    profile
}

#[test]
fn firefox_has_threads_with_times_and_inlined_functions() {
    let file = value(Format::Firefox, &sample());
    assert_eq!(file["meta"]["preprocessedProfileVersion"], 61);
    assert_eq!(file["meta"]["startTime"], START_MS);
    assert_eq!(file["meta"]["interval"], PERIOD_NS as f64 / 1e6);
    assert_eq!(file["meta"]["categories"][0]["color"], "grey");
    let first = &file["threads"][0];
    assert_eq!((&first["name"], &first["processName"]), (&json!("io_thd_1"), &json!("redis-server")));
    assert_eq!(
        (&first["pid"], &first["tid"], &first["isMainThread"]),
        (&json!("7"), &json!("8"), &json!(false))
    );
    assert_eq!(first["samples"]["time"], json!([10, 250, 999]));
    assert_eq!(first["samples"]["weight"], json!([1.0, 1.0, 1.0]));
    assert_eq!(first["samples"]["threadCPUDelta"], json!([PERIOD_NS, PERIOD_NS, PERIOD_NS]));
    let second = &file["threads"][1];
    assert_eq!((&second["isMainThread"], &second["samples"]["weight"]), (&json!(true), &json!([2.0])));
    let shared = &file["shared"];
    let node = first["samples"]["stack"][0].as_u64().unwrap();
    let stack = stack_of(shared, node);
    assert_eq!(stack, ["main", "hot", "inner", "do_syscall_64"]);
    let frame = |node: u64| shared["stackTable"]["frame"][node as usize].as_u64().unwrap() as usize;
    let inner = frame(shared["stackTable"]["prefix"][node as usize].as_u64().unwrap());
    let table = &shared["frameTable"];
    assert_eq!((&table["inlineDepth"][inner], &table["address"][inner]), (&json!(1), &json!(0x4010)));
    assert_eq!(table["line"][inner], json!(0x4010 % 500));
    assert_eq!(table["address"][frame(node)], -1, "JavaScript cannot count so far");
    assert_eq!(file["libs"][0]["codeId"].as_str().unwrap().len(), 40);
    let labels = file["meta"]["extra"][0]["entries"].as_array().unwrap();
    assert!(
        labels.contains(&json!({ "label": "host", "format": "string", "value": "web-01" })),
        "{labels:?}"
    );
}

fn stack_of(shared: &Value, node: u64) -> Vec<String> {
    let index = |value: &Value| value.as_u64().map(|i| i as usize);
    let mut at = Some(node as usize);
    let mut names = Vec::new();
    while let Some(node) = at {
        let frame = index(&shared["stackTable"]["frame"][node]).unwrap();
        let func = index(&shared["frameTable"]["func"][frame]).unwrap();
        let name = index(&shared["funcTable"]["name"][func]).unwrap();
        names.push(shared["stringArray"][name].as_str().unwrap().to_owned());
        at = index(&shared["stackTable"]["prefix"][node]);
    }
    names.reverse();
    names
}

/// Every column of a table has its length, and every index is one of the table it points into.
#[test]
fn firefox_tables_fit_together() {
    for seed in 1..8 {
        let profile = generated(seed, 200);
        let file = value(Format::Firefox, &profile);
        let shared = &file["shared"];
        let mut lengths = std::collections::BTreeMap::new();
        for name in ["stackTable", "frameTable", "funcTable", "resourceTable", "nativeSymbols", "sources"] {
            let table = shared[name].as_object().unwrap();
            let length = table["length"].as_u64().unwrap();
            for (column, cells) in table.iter().filter(|(column, _)| *column != "length") {
                assert_eq!(cells.as_array().unwrap().len() as u64, length, "{name}.{column}");
            }
            lengths.insert(name, length as i64);
        }
        let strings = shared["stringArray"].as_array().unwrap().len() as i64;
        let within = |name: &str, column: &str, least: i64, most: i64| {
            let cells = shared[name][column].as_array().unwrap();
            let good = |cell: &Value| cell.is_null() || (least..most).contains(&cell.as_i64().unwrap());
            assert!(cells.iter().all(good), "{name}.{column}: {cells:?}");
        };
        within("stackTable", "frame", 0, lengths["frameTable"]);
        within("frameTable", "func", 0, lengths["funcTable"]);
        within("frameTable", "category", 0, file["meta"]["categories"].as_array().unwrap().len() as i64);
        within("funcTable", "name", 0, strings);
        within("funcTable", "resource", -1, lengths["resourceTable"]);
        within("funcTable", "source", 0, lengths["sources"]);
        within("resourceTable", "lib", 0, file["libs"].as_array().unwrap().len() as i64);
        within("resourceTable", "name", 0, strings);
        within("sources", "filename", 0, strings);
        let prefixes = shared["stackTable"]["prefix"].as_array().unwrap();
        assert!(prefixes.iter().enumerate().all(|(i, p)| p.is_null() || p.as_u64().unwrap() < i as u64));
        let mut weights = 0.0;
        for thread in file["threads"].as_array().unwrap() {
            let samples = &thread["samples"];
            for column in ["stack", "time", "weight"] {
                assert_eq!(
                    samples[column].as_array().unwrap().len() as u64,
                    samples["length"].as_u64().unwrap()
                );
            }
            let stacks = samples["stack"].as_array().unwrap();
            assert!(stacks.iter().all(|s| s.is_null() || s.as_i64().unwrap() < lengths["stackTable"]));
            weights += samples["weight"].as_array().unwrap().iter().map(|w| w.as_f64().unwrap()).sum::<f64>();
        }
        assert_eq!(weights, profile.samples() as f64);
    }
}

#[test]
fn speedscope_has_a_profile_for_each_thread() {
    let file = value(Format::Speedscope, &sample());
    assert_eq!(file["$schema"], "https://www.speedscope.app/file-format-schema.json");
    let first = &file["profiles"][0];
    assert_eq!((&first["type"], &first["unit"]), (&json!("sampled"), &json!("nanoseconds")));
    assert_eq!(first["name"], "redis-server 7, io_thd_1 8");
    // Samples of one stack that follow each other are one.
    assert_eq!((&first["weights"], &first["endValue"]), (&json!([3 * PERIOD_NS]), &json!(3 * PERIOD_NS)));
    let frame = |i: &Value| &file["shared"]["frames"][i.as_u64().unwrap() as usize];
    let stack = first["samples"][0].as_array().unwrap();
    let names: Vec<_> = stack.iter().map(|i| frame(i)["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["main", "hot", "inner", "do_syscall_64"]);
    assert_eq!(frame(&stack[1])["file"], "src/app.c");
    assert_eq!(frame(&stack[3])["file"], "[kernel]");
    for seed in 1..8 {
        let profile = generated(seed, 200);
        let file = value(Format::Speedscope, &profile);
        let frames = file["shared"]["frames"].as_array().unwrap().len() as u64;
        let mut sum = 0;
        for thread in file["profiles"].as_array().unwrap() {
            let (stacks, weights) =
                (thread["samples"].as_array().unwrap(), thread["weights"].as_array().unwrap());
            assert_eq!(stacks.len(), weights.len());
            let ids = stacks.iter().flat_map(|stack| stack.as_array().unwrap());
            assert!(ids.map(|id| id.as_u64().unwrap()).all(|id| id < frames));
            sum += weights.iter().map(|weight| weight.as_i64().unwrap()).sum::<i64>();
        }
        assert_eq!(sum, profile.rows.iter().map(|row| row.value).sum::<i64>());
    }
}

#[test]
fn perf_script_is_a_paragraph_for_each_sample_in_the_order_of_time() {
    let text = text(Format::PerfScript, &sample());
    let paragraphs: Vec<&str> = text.split_terminator("\n\n").collect();
    assert_eq!(paragraphs.len(), 5);
    // Times are those of the samples; where they were not kept, that of the bucket.
    let times: Vec<_> =
        paragraphs.iter().map(|p| p.split_whitespace().find(|word| word.contains('.')).unwrap()).collect();
    let second = START_MS / 1000;
    let expected = [".000000:", ".000000:", ".010000:", ".250000:", ".999000:"];
    assert_eq!(times, expected.map(|fraction| format!("{second}{fraction}")));
    assert_eq!(
        paragraphs[2],
        format!(
            "io_thd_1               7/8       [002] {second}.010000: {PERIOD_NS:>10} cpu-clock: \n\
             \tffffffff81000000 do_syscall_64 ([kernel.kallsyms])\n\
             \t            4010 inner (inlined)\n\
             \t            4010 hot (/usr/bin/app)\n\
             \t{:16x} main (/usr/bin/app)",
            native("main").3
        )
    );
    assert!(
        paragraphs[0].ends_with("\n\t               0 [no frame pointer] ([unknown])"),
        "{}",
        paragraphs[0]
    );
}

#[test]
fn a_value_is_shared_among_samples_without_a_remainder() {
    let mut profile = sample();
    for row in &mut profile.rows {
        row.value += 1;
    }
    let values = |text: &str| {
        let heads = text.lines().filter(|line| line.ends_with("cpu-clock: "));
        heads.map(|head| head.split_whitespace().rev().nth(1).unwrap().parse::<i64>().unwrap()).sum::<i64>()
    };
    let value: i64 = profile.rows.iter().map(|row| row.value).sum();
    assert_eq!(values(&text(Format::PerfScript, &profile)), value);
}

#[test]
fn hosts_and_events_are_told_where_there_are_several() {
    let mut maker = Maker::default();
    maker.stack(REDIS, &[native("main")], 3);
    let b = &mut maker.builder;
    let pairs = [("event", "alloc_space"), ("host", "web-02"), ("process", "redis-server")];
    let labels = pairs.map(|(name, value)| (b.string(name), b.string(value))).to_vec();
    let unit = b.string("bytes");
    let series = b.series(store::model::Series { labels, unit, ..Default::default() });
    b.add(RowKey { series, pid: 7, tid: 7, time_ms: START_MS, ..RowKey::default() }, 2, 4096, &[]);
    let profile = maker.finish();
    let file = value(Format::Firefox, &profile);
    let of = |thread: usize, key: &str| file["threads"][thread][key].as_str().unwrap().to_owned();
    assert_eq!((of(0, "pid"), of(1, "pid")), ("7@web-01".to_owned(), "7@web-02".to_owned()));
    assert_eq!(of(1, "name"), "web-02 redis-server (alloc_space)");
    let samples = &file["threads"][1]["samples"];
    assert_eq!((&samples["weightType"], &samples["weight"]), (&json!("bytes"), &json!([4096.0])));
    let file = value(Format::Speedscope, &profile);
    assert_eq!(
        (&file["profiles"][1]["unit"], &file["profiles"][1]["weights"]),
        (&json!("bytes"), &json!([4096]))
    );
    // What is not counted by time is one sample of perf's, with all of the value.
    let script = text(Format::PerfScript, &profile);
    assert!(script.lines().any(|line| line.ends_with("      4096 alloc_space: ")), "{script}");
}

#[test]
fn strange_and_empty_profiles_are_valid() {
    for format in [Format::Firefox, Format::Speedscope] {
        value(format, &Profile::default());
    }
    assert_eq!(text(Format::PerfScript, &Profile::default()), "");
    for seed in 1..5 {
        let profile = generated(seed, 100);
        let script = text(Format::PerfScript, &profile);
        assert_eq!(script.matches("\n\n").count() as u64, profile.samples());
    }
}
