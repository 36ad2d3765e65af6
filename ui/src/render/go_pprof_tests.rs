//! `go tool pprof` opens what we export.

use std::process::Command;

use super::{Format, RenderOptions};
use crate::support::{Maker, Part, REDIS, Who, generated, native};
use store::model::{FrameKind, Profile};

/// What `go tool pprof` prints about a profile.
fn go_pprof(profile: &Profile, arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.pb.gz");
    let mut file = std::fs::File::create(&path).unwrap();
    Format::Pprof.write(profile, &RenderOptions::default(), &mut file).unwrap();
    let output = Command::new("go")
        .args(["tool", "pprof"])
        .args(arguments)
        .arg(&path)
        .env("PPROF_TMPDIR", folder.path())
        .output()
        .expect("no Go on this machine: run `cargo xtask setup`");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "go tool pprof {arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// `main` calls the three functions of a 70/20/10 mix, one of them through an inlined one.
fn mix() -> Profile {
    let inlined: [Part<'_>; 3] = [
        native("main"),
        (FrameKind::Native, "hot", "/usr/bin/app", 0x4010),
        (FrameKind::Inlined, "inner", "/usr/bin/app", 0x4010),
    ];
    let mut maker = Maker::default();
    maker.stack(REDIS, &inlined, 70);
    maker.stack(REDIS, &[native("main"), native("warm")], 20);
    maker.stack(Who { thread: "other", tid: 9, ..REDIS }, &[native("main"), native("cool")], 10);
    maker.finish()
}

#[test]
fn top_shows_the_shares() {
    let top = go_pprof(&mix(), &["-top", "-sample_index=samples"]);
    assert!(top.contains("File: app"), "{top}");
    assert!(top.contains("Type: samples"), "{top}");
    let line =
        |name: &str| top.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{name}: {top}"));
    let fields = |name: &str| line(name).split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(fields("inner")[..2], ["70", "70.00%"]);
    assert_eq!(fields("warm")[..2], ["20", "20.00%"]);
    assert_eq!(fields("cool")[..2], ["10", "10.00%"]);
    assert_eq!(fields(" main")[3..5], ["100", "100%"]);
    assert!(line("inner").ends_with("(inline)"), "{top}");
}

#[test]
fn raw_shows_locations_with_their_mapping_and_inlined_lines() {
    let raw = go_pprof(&mix(), &["-raw"]);
    assert!(raw.contains("samples/count cpu/nanoseconds"), "{raw}");
    assert!(raw.contains("PeriodType: cpu nanoseconds"), "{raw}");
    let location = raw.find(" 0x4010 M=1 ").unwrap_or_else(|| panic!("{raw}"));
    let lines: Vec<_> = raw[location..].lines().take(2).collect();
    assert!(lines[0].contains(" inner ") && lines[1].trim_start().starts_with("hot "), "{lines:?}");
    assert!(raw.contains("/usr/bin/app 000000000000000000000000000000000000000c [FN][FL][LN][IN]"), "{raw}");
}

#[test]
fn tags_and_traces_show_who_ran() {
    let tags = go_pprof(&mix(), &["-tags", "-sample_index=samples"]);
    for tag in ["process: Total 100", "thread: Total 100", "pid: Total 100", "tid: Total 100", "redis-server"]
    {
        assert!(tags.split_whitespace().collect::<Vec<_>>().join(" ").contains(tag), "{tag} in {tags}");
    }
    let traces = go_pprof(&mix(), &["-traces", "-tagfocus=thread=other", "-sample_index=samples"]);
    assert!(traces.contains("cool") && !traces.contains("warm"), "{traces}");
}

#[test]
fn top_does_not_take_one_of_several_programs_for_all() {
    let mut maker = Maker::default();
    maker.stack(REDIS, &[native("main")], 60);
    maker.stack(Who { exe: "/usr/bin/python3", ..REDIS }, &[native("eval")], 40);
    let top = go_pprof(&maker.finish(), &["-top"]);
    assert!(top.contains("File: [several programs]"), "{top}");
}

#[test]
fn strange_profiles_open_too() {
    for seed in 1..4 {
        let profile = generated(seed, 300);
        let raw = go_pprof(&profile, &["-raw"]);
        let samples: u64 = raw
            .lines()
            .skip_while(|line| *line != "samples/count cpu/nanoseconds")
            .skip(1)
            .take_while(|line| *line != "Locations")
            .filter_map(|line| line.split_once(':')?.0.split_whitespace().next()?.parse::<u64>().ok())
            .sum();
        assert_eq!(samples, profile.samples());
    }
    go_pprof(&Profile::default(), &["-raw"]);
}
