use store::model::{FrameKind, Profile};

use super::*;
use crate::support::{Maker, Part, REDIS, Who, generated, native};

const MARK: Part<'static> = (FrameKind::Truncated, "[no unwind row]", "", 0);

fn lib(function: &str) -> Part<'_> {
    (FrameKind::Native, function, "/usr/lib/libfoo.so", 0x10)
}

fn who<'a>(status: &'a str, process: &'a str) -> Who<'a> {
    Who { status, process, ..REDIS }
}

/// (path, kind, samples).
type File = (String, &'static str, u64);

/// The files behind each reason.
fn behind(profile: &Profile) -> Vec<(String, Vec<File>)> {
    let files = |reason: &Incomplete| {
        reason.binaries.iter().map(|file| (file.binary.clone(), file.kind, file.samples)).collect()
    };
    Truth::new(profile, 100)
        .reasons
        .iter()
        .map(|reason| (reason.reason.code.clone(), files(reason)))
        .collect()
}

#[test]
fn the_code_whose_caller_is_missing_is_behind_it() {
    let mut maker = Maker::default();
    let app = who("no_unwind_row", "app");
    maker.stack(REDIS, &[native("main"), lib("fine")], 100);
    // Callers beyond the gap may be known; what the stack ends in may be the kernel.
    maker.stack(app, &[native("main"), MARK, lib("step"), native("callback")], 7);
    let kernel = (FrameKind::Kernel, "do_syscall_64", "[kernel]", 1);
    maker.stack(app, &[MARK, lib("step"), (FrameKind::Inlined, "inner", "/usr/lib/libfoo.so", 2), kernel], 5);
    maker.stack(who("no_unwind_row", "other"), &[MARK, lib("leap")], 4);
    maker.stack(who("depth_limit", "app"), &[MARK, native("recurse"), native("recurse")], 3);
    let profile = maker.finish();
    let truth = Truth::new(&profile, 10);
    assert_eq!((truth.samples, truth.complete), (119, 100));
    let [unwind, depth] = &truth.reasons[..] else { panic!("{truth:?}") };
    assert_eq!((unwind.reason.code.as_str(), unwind.samples), ("no_unwind_row", 16));
    let [file] = &unwind.binaries[..] else { panic!("{unwind:?}") };
    assert_eq!((file.binary.as_str(), file.kind, file.samples), ("/usr/lib/libfoo.so", "native", 16));
    let named = |name: &str, samples| Named { name: name.to_owned(), samples };
    assert_eq!(file.functions, [named("step", 12), named("leap", 4)]);
    assert_eq!(file.processes, [named("app", 12), named("other", 4)]);
    assert_eq!(depth.binaries[0].functions, [named("recurse", 3)]);
    assert_eq!(depth.other, Others::default());
}

#[test]
fn code_without_a_file_and_stacks_without_a_frame_are_told_apart() {
    let mut maker = Maker::default();
    let mark = (FrameKind::Truncated, "[x]", "", 0);
    maker.stack(who("bad_return_address", "node"), &[mark, (FrameKind::Jit, "[jit]", "", 9)], 6);
    maker.stack(who("bad_return_address", "node"), &[mark, (FrameKind::Native, "[unknown]", "", 9)], 5);
    maker.stack(who("no_registers", "node"), &[mark], 4);
    // An inlined function is native code of its file.
    maker.stack(who("no_registers", "node"), &[mark, (FrameKind::Inlined, "f", "/bin/a", 1)], 3);
    maker.stack(who("no_registers", "node"), &[mark, (FrameKind::Native, "g", "/bin/a", 1)], 2);
    // Nothing marks the gap, as in a profile that another program wrote.
    maker.stack(who("no_registers", "node"), &[native("main")], 1);
    let text = |text: &str| text.to_owned();
    let expected = [
        (text("bad_return_address"), vec![(text(""), "jit", 6), (text(""), "native", 5)]),
        (text("no_registers"), vec![(text(""), "", 5), (text("/bin/a"), "native", 5)]),
    ];
    let profile = maker.finish();
    assert_eq!(behind(&profile), expected);
    let truth = Truth::new(&profile, 10);
    let names: Vec<_> = truth.reasons.iter().flat_map(|r| r.binaries.iter().map(Behind::name)).collect();
    assert_eq!(names, ["code made at run time", "code outside any file", "no frame at all", "a"]);
}

#[test]
fn a_file_is_told_on_one_line_that_no_name_can_break() {
    let mut maker = Maker::default();
    let long = "x".repeat(5000);
    let evil = (FrameKind::Native, "clear\u{1b}[2J\nscreen", "/usr/lib/libfoo.so", 0x30);
    maker.stack(who("no_unwind_row", "app"), &[MARK, lib("step")], 4);
    maker.stack(who("no_unwind_row", "app"), &[MARK, evil], 3);
    maker.stack(who("no_unwind_row", &long), &[MARK, lib(&long)], 2);
    maker.stack(who("no_unwind_row", "node"), &[MARK, (FrameKind::Jit, "[jit]", "", 9)], 1);
    let truth = Truth::new(&maker.finish(), 10);
    let cut = format!("{}…", "x".repeat(59));
    let told: Vec<_> = truth.reasons[0].binaries.iter().map(Behind::to_string).collect();
    let first = format!("in libfoo.so, at step or clear [2J screen or {cut}, of app or {cut}");
    assert_eq!(told, [first, "in code made at run time, of node".to_owned()]);
}

#[test]
fn of_two_marks_the_inner_one_counts() {
    let mut maker = Maker::default();
    let kernel = (FrameKind::Kernel, "vfs_read", "[kernel]", 1);
    let outer = (FrameKind::Truncated, "[no frame pointer]", "", 0);
    let inner = (FrameKind::Truncated, "[kernel depth limit]", "", 0);
    maker.stack(who("kernel_depth_limit", "app"), &[outer, native("main"), inner, kernel], 2);
    let expected = (String::from("kernel_depth_limit"), vec![(String::from("[kernel]"), "kernel", 2)]);
    assert_eq!(behind(&maker.finish()), [expected]);
}

#[test]
fn what_the_list_leaves_out_is_counted() {
    let mut maker = Maker::default();
    for (i, file) in ["/a", "/b", "/c", "/d"].into_iter().enumerate() {
        maker.stack(who("no_unwind_row", "app"), &[MARK, (FrameKind::Native, "f", file, 1)], 10 - i as u64);
    }
    let profile =
        maker.account("samples_taken", 40).account("lost_ring_full", 6).account("lost_unread", 0).finish();
    let truth = Truth::new(&profile, 2);
    let reason = &truth.reasons[0];
    assert_eq!(reason.binaries.iter().map(|file| &*file.binary).collect::<Vec<_>>(), ["/a", "/b"]);
    assert_eq!((reason.samples, reason.other), (34, Others { binaries: 2, samples: 15 }));
    assert_eq!((truth.taken, truth.losses.len()), (40, 1));
    assert_eq!((truth.losses[0].reason.title.as_str(), truth.losses[0].samples), ("Ring buffer full", 6));
}

#[test]
fn every_sample_is_complete_or_behind_some_file() {
    for seed in 1..40 {
        let profile = generated(seed, 60);
        let truth = Truth::new(&profile, 3);
        let told = |reason: &Incomplete| {
            let files: u64 = reason.binaries.iter().map(|file| file.samples).sum();
            assert_eq!(files + reason.other.samples, reason.samples);
            reason.samples
        };
        assert_eq!(truth.complete + truth.reasons.iter().map(told).sum::<u64>(), truth.samples);
        assert_eq!(truth.samples, profile.samples());
    }
}

#[test]
fn nothing_sampled_is_nothing_missed() {
    let truth = Truth::new(&Profile::default(), 10);
    assert_eq!((truth.samples, truth.reasons.len(), truth.losses.len()), (0, 0, 0));
}
