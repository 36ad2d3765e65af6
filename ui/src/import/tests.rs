//! Files of other tools.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use store::model::{FrameKind, Profile};

use super::{OneEvent, Options, STATUS_IMPORTED, read, read_file};

const NOW_MS: i64 = 1_700_000_000_000;

fn options() -> Options {
    Options { now_ms: NOW_MS, ..Options::default() }
}

fn folded(profile: &Profile) -> String {
    let mut out = Vec::new();
    crate::render::folded(profile, &Default::default(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn folded_stacks_have_process_kinds_and_marks() {
    let text =
        "# a comment\nredis;main;read_[i];do_syscall_64_[k] 3\n\nredis;[no frame pointer];f 2\nlone 4\n";
    let profile = read(text.as_bytes(), &options()).unwrap();
    assert_eq!(
        folded(&profile),
        "[none];lone 4\nredis;[no frame pointer];f 2\nredis;main;read_[i];do_syscall_64_[k] 3\n"
    );
    let label = |name: &str| profile.label(profile.rows[0].key.series, name);
    assert_eq!((label("process"), label("event")), (Some("redis"), Some("samples")));
    let mut statuses: Vec<_> = profile.rows.iter().map(|row| profile.text(row.key.status)).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [STATUS_IMPORTED, STATUS_IMPORTED, "no_frame_pointer"]);
    assert_eq!((profile.start_ms, profile.end_ms), (NOW_MS - 1, NOW_MS));
}

#[test]
fn options_win_over_the_file() {
    let labels = [("process", "mine"), ("team", "db")].map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec();
    let options = Options { labels, start_ms: Some(5000), event: Some("wall".to_owned()), ..options() };
    let profile = read(&b"a;b 1\n"[..], &options).unwrap();
    assert_eq!(folded(&profile), "mine;a;b 1\n");
    let label = |name: &str| profile.label(profile.rows[0].key.series, name);
    assert_eq!((label("team"), label("event"), profile.start_ms), (Some("db"), Some("wall"), 5000));
}

#[test]
fn packed_text_is_text() {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(b"a;b 7\n").unwrap();
    assert_eq!(read(&*packed.finish().unwrap(), &options()).unwrap().samples(), 7);
}

const SCRIPT: &str = "# captured by nobody
swapper 0/0 0.000000: PERF_RECORD_MMAP2 -1/0: [0xffffffff81000000(0x1000) @ 0 <0e0e>]: ---p [kernel.kallsyms]_text
app 10/10 100.000000: PERF_RECORD_MMAP2 10/10: [0x555500000000(0x3000) @ 0x1000 <0b0b>]: r-xp /usr/bin/app
app             10/10      [001]   100.500000:   10101010 cpu-clock:ppp:
\t    555500001234 inner+0x4 (inlined)
\t    555500001234 outer+0x14 (/usr/bin/app)
  app.c:12
\t    7f0000000010 [unknown] (/usr/lib/libc.so.6 (deleted))

worker 1        10/11      [000]   101.250000:   10101010 cpu-clock:ppp:
\tffffffff81000010 schedule+0x10 ([kernel.kallsyms])
\t    7f3300000010 loop (/tmp/perf-10.map)

app             10/10      [001]   102.000000:     500000 cycles:
\t          401010 main+0x1 (/bin/static+0x1010)
";

#[test]
fn perf_script_keeps_who_when_and_where() {
    let options = Options { event: Some("cpu-clock".to_owned()), ..options() };
    let profile = read(SCRIPT.as_bytes(), &options).unwrap();
    assert_eq!((profile.samples(), profile.start_ms, profile.end_ms), (2, NOW_MS - 751, NOW_MS));
    let row = |tid: u32| profile.rows.iter().find(|row| row.key.tid == tid).unwrap();
    let (first, second) = (row(10), row(11));
    assert_eq!(first.value, 10_101_010);
    let label = |row: &store::model::Row, name: &str| profile.label(row.key.series, name).unwrap().to_owned();
    assert_eq!(label(second, "process"), "app", "its process is called as its first thread is");
    assert_eq!((profile.text(second.key.thread), second.key.pid), ("worker 1", 10));
    assert_eq!(profile.period_ns(first.key.series), 10_101_010);
    let at = |row: &store::model::Row| {
        let exact = profile.exact_of(row)[0];
        (row.key.time_ms + i64::from(exact.offset_ms), exact.cpu)
    };
    assert_eq!((at(first), at(second)), ((NOW_MS - 751, 1), (NOW_MS - 1, 0)));
    let frames = |row: &store::model::Row| {
        let frame = |id| {
            let f = profile.frame(id);
            let binary = f.binary.map(|id| *profile.binary(id)).unwrap_or_default();
            let [function, file, path, id] =
                [f.function, f.file, binary.path, binary.build_id].map(|id| profile.text(id));
            format!("{:?} {function} {path} {id} {:x} {file}:{}", f.kind, f.address, f.line)
        };
        profile.stacks.leaf_to_root(row.key.node).map(frame).collect::<Vec<_>>()
    };
    assert_eq!(
        frames(first),
        [
            "Inlined inner /usr/bin/app 0b0b 2234 :0",
            "Native outer /usr/bin/app 0b0b 2234 app.c:12",
            "Native [libc.so.6 (deleted)+0x7f0000000010] /usr/lib/libc.so.6 (deleted)  7f0000000010 :0",
        ]
    );
    assert_eq!(
        frames(second),
        ["Kernel schedule [kernel] 0e0e ffffffff81000010 :0", "Jit loop   7f3300000010 :0"]
    );
}

#[test]
fn events_of_perf_script_are_series_in_their_own_units() {
    let profile = read(SCRIPT.as_bytes(), &options()).unwrap();
    let of = |event: &str| {
        let row =
            profile.rows.iter().find(|row| profile.label(row.key.series, "event") == Some(event)).unwrap();
        let series = profile.series(row.key.series);
        let frame = profile.stacks.leaf_to_root(row.key.node).next().map(|id| *profile.frame(id)).unwrap();
        (profile.text(series.unit).to_owned(), row.value, frame.address, frame.kind)
    };
    assert_eq!(of("cycles"), ("count".to_owned(), 500_000, 0x1010, FrameKind::Native));
    assert_eq!(of("cpu-clock").0, "nanoseconds");
    let options = Options { event: Some("instructions".to_owned()), ..options() };
    let error = read(SCRIPT.as_bytes(), &options).unwrap_err().to_string();
    assert_eq!(error, "it has no samples of `instructions`, but of `cpu-clock`, `cycles`");
}

#[test]
fn samples_without_stacks_or_times_are_samples() {
    let text =
        "app 10 cycles:  401010 main+0x1 (/bin/static)\napp 10 cycles:  401010 main+0x1 (/bin/static)\n";
    let profile = read(text.as_bytes(), &options()).unwrap();
    assert_eq!(folded(&profile), "app;main 2\n");
    assert_eq!((profile.rows.len(), profile.exact.len()), (1, 0));
    assert_eq!(profile.rows[0].value, 2, "without periods, samples are what is counted");
}

#[test]
fn of_several_events_one_is_kept_that_stands_for_the_file() {
    let mut script = read_file(SCRIPT.as_bytes(), &options()).unwrap();
    let kept = OneEvent { kept: "cpu-clock".to_owned(), others: vec!["cycles".to_owned()] };
    assert_eq!((script.keep_one_event(), script.profile.samples()), (Some(kept), 2), "CPU time goes first");
    assert_eq!(script.keep_one_event(), None);
    // As the file means it; an event that it does not have is no reason to have nothing.
    for (main, kept) in [("cycles", "cycles"), ("wall", "cpu-clock")] {
        let mut script = read_file(SCRIPT.as_bytes(), &options()).unwrap();
        script.main_event = Some(main.to_owned());
        assert_eq!(script.keep_one_event().map(|one| one.kept).as_deref(), Some(kept));
    }
}

#[test]
fn frames_whose_source_line_is_not_known_are_frames() {
    let text = "app 10/10 1.5: 10101010 cpu-clock:\n\tffffffff81000010 schedule+0x10 ([kernel.kallsyms])\n  \
                [kernel.kallsyms][ffffffff81000010]\n\t 7f10 f+0x4 (/bin/app)\n  app.c:7\n";
    let profile = read(text.as_bytes(), &options()).unwrap();
    assert_eq!(folded(&profile), "app;f;schedule_[k] 1\n");
}

#[test]
fn a_deep_stack_may_come_first() {
    let line = format!("{} 7\n", vec!["a::long::name::of::a::function"; 1000].join(";"));
    assert!(line.len() > 16 << 10);
    assert_eq!(read(line.as_bytes(), &options()).unwrap().samples(), 7);
}
