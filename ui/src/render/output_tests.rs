use std::collections::BTreeMap;
use std::io::Read;

use ::pprof::protos;
use prost::Message;
use store::model::{FrameKind, Profile, RowKey, STATUS_COMPLETE, Series};

use super::*;
use crate::support::{Maker, PERIOD_NS, Part, REDIS, START_MS, Who, generated, native, profile};

fn bytes(format: Format, profile: &Profile) -> Vec<u8> {
    let mut out = Vec::new();
    format.write(profile, &RenderOptions::default(), &mut out).unwrap();
    out
}

fn text(format: Format, profile: &Profile) -> String {
    String::from_utf8(bytes(format, profile)).unwrap()
}

fn decoded(profile: &Profile) -> protos::Profile {
    let mut proto = Vec::new();
    flate2::read::GzDecoder::new(&*bytes(Format::Pprof, profile)).read_to_end(&mut proto).unwrap();
    protos::Profile::decode(&*proto).unwrap()
}

type Lines = Vec<(String, i64)>;

/// A sample with all handles resolved: frames (leaf first, lines of a location together) and labels.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Plain {
    locations: Vec<(u64, String, Lines)>,
    labels: BTreeMap<String, String>,
    value: Vec<i64>,
}

fn plain(proto: &protos::Profile) -> Vec<Plain> {
    let text = |id: i64| proto.string_table[id as usize].clone();
    let function = |id: u64| text(proto.function.iter().find(|f| f.id == id).unwrap().name);
    let mapping =
        |id: u64| proto.mapping.iter().find(|m| m.id == id).map_or(String::new(), |m| text(m.filename));
    let location = |id: &u64| {
        let l = proto.location.iter().find(|l| l.id == *id).unwrap();
        let lines = l.line.iter().map(|line| (function(line.function_id), line.line)).collect();
        (l.address, mapping(l.mapping_id), lines)
    };
    let label = |l: &protos::Label| (text(l.key), if l.str != 0 { text(l.str) } else { l.num.to_string() });
    let sample = |s: &protos::Sample| Plain {
        locations: s.location_id.iter().map(location).collect(),
        labels: s.label.iter().map(label).collect(),
        value: s.value.clone(),
    };
    let mut samples: Vec<_> = proto.sample.iter().map(sample).collect();
    samples.sort();
    samples
}

fn folded_sum(lines: &str) -> u64 {
    lines.lines().map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
}

#[test]
fn folded_pprof_tree_and_profile_have_the_same_samples() {
    for seed in 1..25 {
        let p = generated(seed, 300);
        let lines = text(Format::Folded, &p);
        assert_eq!(folded_sum(&lines), p.samples());
        let proto = decoded(&p);
        assert_eq!(proto.sample.iter().map(|s| s.value[0] as u64).sum::<u64>(), p.samples());
        assert_eq!(
            proto.sample.iter().map(|s| s.value[1]).sum::<i64>(),
            p.rows.iter().map(|row| row.value).sum::<i64>()
        );
        let json: serde_json::Value = serde_json::from_slice(&bytes(Format::Json, &p)).unwrap();
        assert_eq!(json["nodes"]["total"][0], p.samples());
        let mut distinct: Vec<_> = lines.lines().map(|line| line.rsplit_once(' ').unwrap().0).collect();
        let all = distinct.len();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), all, "one line per distinct stack");
    }
}

#[test]
fn folded_lines_start_with_the_process_and_mark_kinds() {
    let mut maker = Maker::default();
    let stack: [Part<'_>; 4] = [
        native("main"),
        (FrameKind::Native, "read", "/usr/lib/libc.so.6", 1),
        (FrameKind::Inlined, "wrap;per", "/usr/lib/libc.so.6", 1),
        (FrameKind::Kernel, "do_syscall_64", "[kernel]", 2),
    ];
    maker.stack(REDIS, &stack, 3);
    maker.stack(REDIS, &[(FrameKind::Truncated, "no_frame_pointer", "", 0), native("f")], 2);
    // The same names in another binary read the same.
    maker.stack(
        REDIS,
        &[(FrameKind::Truncated, "no_frame_pointer", "", 0), (FrameKind::Native, "f", "", 9)],
        5,
    );
    assert_eq!(
        text(Format::Folded, &maker.finish()),
        "redis-server;main;read;wrap:per_[i];do_syscall_64_[k] 3\n\
         redis-server;[no_frame_pointer];f 7\n"
    );
}

#[test]
fn pprof_says_who_where_and_how_much() {
    let mut maker = Maker::default();
    let stack: [Part<'_>; 5] = [
        native("main"),
        (FrameKind::Native, "outer", "/usr/bin/app", 0x4010),
        (FrameKind::Inlined, "middle", "/usr/bin/app", 0x4010),
        (FrameKind::Inlined, "inner", "/usr/bin/app", 0x4010),
        (FrameKind::Kernel, "do_syscall_64", "[kernel]", 0x9000),
    ];
    maker.stack(REDIS, &stack, 3);
    // The same a second later: one sample, as pprof has no place for time.
    maker.stack(Who { time_ms: START_MS + 1000, ..REDIS }, &stack, 2);
    maker.stack(
        Who { thread: "", pid: 0, tid: 0, status: "no_frame_pointer", ..REDIS },
        &[(FrameKind::Truncated, "no_frame_pointer", "", 0), (FrameKind::Jit, "loop", "", 0x7f00_0000_1000)],
        1,
    );
    let proto = decoded(&maker.finish());
    let samples = plain(&proto);
    let (_, _, _, main_at) = native("main");
    let line = |address: u64| (address % 500) as i64;
    let app = || "/usr/bin/app".to_owned();
    let lines =
        |names: &[&str], at: u64| names.iter().map(|n| ((*n).to_owned(), line(at))).collect::<Vec<_>>();
    let labels = |pairs: &[(&str, &str)]| {
        let all = [
            ("process", "redis-server"),
            ("exe", "/usr/bin/app"),
            ("event", "cpu-clock"),
            ("host", "web-01"),
        ];
        all.iter().chain(pairs).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>()
    };
    let expected = [
        Plain {
            locations: vec![
                (0x9000, "[kernel]".to_owned(), lines(&["do_syscall_64"], 0x9000)),
                (0x4010, app(), lines(&["inner", "middle", "outer"], 0x4010)),
                (main_at, app(), lines(&["main"], main_at)),
            ],
            labels: labels(&[
                ("thread", "io_thd_1"),
                ("status", STATUS_COMPLETE),
                ("pid", "7"),
                ("tid", "8"),
            ]),
            value: vec![5, 5 * PERIOD_NS],
        },
        Plain {
            locations: vec![
                (0x7f00_0000_1000, "[jit]".to_owned(), lines(&["loop"], 0x7f00_0000_1000)),
                (0, String::new(), vec![("[no_frame_pointer]".to_owned(), 0)]),
            ],
            labels: labels(&[("status", "no_frame_pointer")]),
            value: vec![1, PERIOD_NS],
        },
    ];
    assert_eq!(samples.len(), 2);
    for sample in &expected {
        assert!(samples.contains(sample), "{sample:#?} is not in {samples:#?}");
    }
    let text = |id: i64| proto.string_table[id as usize].as_str();
    let types: Vec<_> = proto.sample_type.iter().map(|t| (text(t.ty), text(t.unit))).collect();
    assert_eq!(types, [("samples", "count"), ("cpu", "nanoseconds")]);
    let period_type = proto.period_type.unwrap();
    assert_eq!(
        (text(period_type.ty), text(period_type.unit), proto.period),
        ("cpu", "nanoseconds", PERIOD_NS)
    );
    assert_eq!((proto.time_nanos, proto.duration_nanos), (START_MS * 1_000_000, 10_000_000_000));
    let main = &proto.mapping[0];
    assert_eq!((text(main.filename), text(main.build_id).len()), ("/usr/bin/app", 40));
    assert!(main.has_functions && main.has_filenames && main.has_line_numbers && main.has_inline_frames);
}

#[test]
fn pprof_names_the_main_program_where_there_is_one() {
    let first_mapping = |other_samples| {
        let mut maker = Maker::default();
        maker.stack(
            Who { exe: "/bin/sh", ..REDIS },
            &[(FrameKind::Native, "fork", "/bin/sh", 1)],
            other_samples,
        );
        maker.stack(REDIS, &[(FrameKind::Native, "read", "/usr/lib/libc.so.6", 2), native("main")], 95);
        let proto = decoded(&maker.finish());
        proto.string_table[proto.mapping[0].filename as usize].clone()
    };
    assert_eq!(first_mapping(5), "/usr/bin/app");
    assert_eq!(first_mapping(50), "[several programs]");
    assert!(decoded(&Profile::default()).mapping.is_empty());
}

#[test]
fn pprof_has_one_sample_per_label_set_and_stack() {
    let p = generated(3, 400);
    let mut expected: BTreeMap<Vec<String>, i64> = BTreeMap::new();
    for row in &p.rows {
        let key = row.key;
        let who = [p.label(key.series, "process").unwrap(), p.text(key.thread), p.text(key.status)];
        let numbers = [key.pid, key.tid].map(|number| number.to_string());
        let names = p.stacks.leaf_to_root(key.node).map(|id| {
            let f = p.frame(id);
            names::plain(crate::flame::NodeKind::Frame(f.kind), p.text(f.function))
        });
        let mut path: Vec<String> = who.map(str::to_owned).into_iter().chain(numbers).chain(names).collect();
        if path.len() == 5 {
            path.push("[no stack]".to_owned());
        }
        *expected.entry(path).or_default() += row.samples as i64;
    }
    let mut found = BTreeMap::new();
    for sample in plain(&decoded(&p)) {
        let text = |name: &str| sample.labels.get(name).cloned().unwrap_or_default();
        let number = |name: &str| sample.labels.get(name).cloned().unwrap_or_else(|| "0".to_owned());
        let who = [text("process"), text("thread"), text("status"), number("pid"), number("tid")];
        let names =
            sample.locations.iter().flat_map(|(_, _, lines)| lines.iter().map(|(name, _)| name.clone()));
        let path: Vec<_> = who.into_iter().chain(names).collect();
        *found.entry(path).or_default() += sample.value[0];
    }
    assert_eq!(found, expected);
}

#[test]
fn an_empty_profile_is_valid_in_every_format() {
    let p = Profile::default();
    assert_eq!(text(Format::Folded, &p), "");
    assert_eq!(decoded(&p).sample_type.len(), 2);
    assert!(text(Format::Svg, &p).contains("No samples in this range"));
    assert!(text(Format::Top, &p).starts_with("0 samples"));
    let table: serde_json::Value = serde_json::from_slice(&bytes(Format::TopJson, &p)).unwrap();
    assert_eq!((&table["samples"], &table["rows"]), (&serde_json::json!(0), &serde_json::json!([])));
    let json: serde_json::Value = serde_json::from_slice(&bytes(Format::Json, &p)).unwrap();
    assert_eq!(json["nodes"]["total"], serde_json::json!([0]));
}

#[test]
fn svg_draws_deep_and_strange_stacks() {
    let deep: Vec<String> = (0..1200).map(|i| format!("f{}", i % 7)).collect();
    let deep: Vec<&str> = deep.iter().map(String::as_str).collect();
    let svg = text(Format::Svg, &profile(&[(&deep, 50), (&["main", "<a> & \"b\" 7"], 1)]));
    assert!(svg.starts_with("<?xml") && svg.trim_end().ends_with("</svg>"));
    assert!(svg.contains("total_samples=\"51\""));
    assert!(svg.contains("&lt;a&gt; &amp; "), "names are escaped");
    let drawn = svg.matches("<title>").count();
    assert!(drawn > 1200, "{drawn} frames drawn");
    for seed in 1..6 {
        let p = generated(seed, 100);
        assert!(text(Format::Svg, &p).contains(&format!("total_samples=\"{}\"", p.samples())));
    }
}

#[test]
fn svg_keeps_every_sample_of_a_pruned_tree() {
    let p = generated(5, 200);
    for max_nodes in [1, 10, 100] {
        let mut out = Vec::new();
        let options = RenderOptions { max_nodes, title: "T & <U>".to_owned(), ..Default::default() };
        svg(&p, &options, &mut out).unwrap();
        let drawn = String::from_utf8(out).unwrap();
        assert!(drawn.contains(&format!("total_samples=\"{}\"", p.samples())));
        assert!(drawn.contains("T &amp; &lt;U&gt;"));
        assert!(drawn.contains("pruned into their callers"));
    }
}

#[test]
fn top_counts_a_recursive_function_once_per_stack() {
    let table = TopTable::new(
        &profile(&[(&["main", "fib", "fib", "fib"], 4), (&["main", "fib", "leaf"], 1), (&["main"], 5)]),
        10,
    );
    let rows: Vec<_> = table.rows.iter().map(|row| (&*row.function, row.own, row.total)).collect();
    assert_eq!(rows, [("main", 5, 10), ("fib", 4, 5), ("leaf", 1, 1)]);
    assert_eq!(table.rows[1].total_percent, 50.0);
}

#[test]
fn top_tells_what_it_leaves_out() {
    let p = profile(&[(&["main", "fib"], 4), (&["main", "leaf"], 1)]);
    let shown = TopTable::new(&p, 2).to_string();
    let expected = "5 samples, 0.05 s of CPU time, 100.0 % of stacks complete\n\
      \u{20}     self  self %      total total %  function  binary\n\
      \u{20}        4  80.00%          4  80.00%  fib       /usr/bin/app\n\
      \u{20}        1  20.00%          1  20.00%  leaf      /usr/bin/app\n\
      \u{20}        1 more functions\n";
    assert_eq!(shown, expected);
    let json = serde_json::to_value(TopTable::new(&p, 2)).unwrap();
    assert_eq!(json["rows"][0]["self"], 4);
    assert_eq!(json["functions"], 3);
}

#[test]
fn top_says_what_was_counted() {
    let sentence = |maker: &mut Maker| {
        TopTable::new(&maker.finish(), 2).to_string().lines().next().unwrap_or_default().to_owned()
    };
    let counted = |maker: &mut Maker, event: &str, samples: u64| {
        let b = &mut maker.builder;
        let labels = vec![(b.string("event"), b.string(event))];
        let unit = b.string("count");
        let series = b.series(Series { labels, unit, ..Series::default() });
        b.add(RowKey { series, ..RowKey::default() }, samples, samples as i64, &[]);
    };
    // What is no time has none; what is mixed is named, and only time is time.
    let mut maker = Maker::default();
    counted(&mut maker, "page-faults", 5);
    assert_eq!(sentence(&mut maker), "5 samples, 5 page-faults, 0.0 % of stacks complete");
    counted(&mut maker, "page-faults", 590);
    maker.stack(REDIS, &[native("main")], 10);
    let expected = "600 samples of cpu-clock, page-faults, 0.10 s of CPU time, 1.7 % of stacks complete";
    assert_eq!(sentence(&mut maker), expected);
    assert_eq!(sentence(&mut maker), "0 samples");
    let most = percent_of_all(99_999, 100_000);
    assert_eq!((&*most, &*percent_of_all(5, 5), &*percent_of_all(0, 0)), ("99.9", "100.0", "0.0"));
}

#[test]
fn names_cannot_write_to_terminals_or_break_xml() {
    let mut maker = Maker::default();
    let hostile = "\u{1b}[2J<x>\u{0}\u{ffff}&";
    maker.stack(Who { process: hostile, ..REDIS }, &[(FrameKind::Native, hostile, hostile, 1)], 1);
    let p = maker.finish();
    for format in [Format::Top, Format::Folded, Format::Svg] {
        let mut out = Vec::new();
        let options = RenderOptions { title: hostile.to_owned(), ..Default::default() };
        format.write(&p, &options, &mut out).unwrap();
        let shown = String::from_utf8(out).unwrap();
        assert!(!shown.contains(['\u{1b}', '\u{0}', '\u{ffff}']), "{}", format.name());
    }
}

#[test]
fn json_is_columns_that_fit_together() {
    let mut maker = Maker::default();
    maker.stack(REDIS, &[native("main"), native("f")], 3);
    maker.stack(Who { status: "no_frame_pointer", ..REDIS }, &[native("g")], 2);
    let p =
        maker.account("samples_taken", 9).account("lost_ring_full", 4).account("agent_cpu_ns", 7).finish();
    let json: serde_json::Value = serde_json::from_slice(&bytes(Format::Json, &p)).unwrap();
    assert_eq!(json["from_ms"], START_MS);
    assert_eq!(json["until_ms"], START_MS + 10_000);
    assert_eq!((&json["samples"], &json["complete"], &json["taken"]), (&5.into(), &3.into(), &9.into()));
    assert_eq!(json["incomplete"], serde_json::json!({"no_frame_pointer": 2}));
    assert_eq!(json["lost"], serde_json::json!({"ring_full": 4}));
    assert_eq!(json["period_ns"], PERIOD_NS);
    assert_eq!(json["nodes"]["parent"], serde_json::json!([0, 1, 1, 2, 1]));
    assert_eq!(json["nodes"]["self"], serde_json::json!([0, 0, 2, 0, 3]));
    assert_eq!(json["nodes"]["total"], serde_json::json!([5, 5, 2, 3, 3]));
    assert_eq!(json["nodes"]["pruned"], serde_json::json!([0, 0, 0, 0, 0]));
    let columns = json["frames"].as_object().unwrap();
    let frames = columns["function"].as_array().unwrap().len();
    assert!(columns.values().all(|column| column.as_array().unwrap().len() == frames));
    let name = |node: usize| {
        let frame = json["nodes"]["frame"][node].as_u64().unwrap() as usize;
        let function = json["frames"]["function"][frame].as_u64().unwrap() as usize;
        let kind = json["frames"]["kind"][frame].as_u64().unwrap() as usize;
        format!("{} {}", json["kinds"][kind].as_str().unwrap(), json["strings"][function].as_str().unwrap())
    };
    let names: Vec<_> = (0..5).map(name).collect();
    assert_eq!(names, ["root all", "group redis-server", "native g", "native main", "native f"]);
}
