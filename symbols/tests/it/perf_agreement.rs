//! Reading perf's stacks, and naming differences: what `cargo xtask bench unwind-agreement` counts.

use profiler_abi::{Method, WalkEnd};

use crate::perf_lists::{Difference, Frame, Ours, difference, lists};

const SCRIPT: &str = "\
21188/21189 14041.053166045: 
	ffffffff821f26e7 ([kernel.kallsyms])
	           23aca (/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2)
	    7fffd00105db (/tmp/perf-1107.map)

    7/7        2.000000001: 

broken
	           1 (x)
";

#[test]
fn user_frames_are_read_by_thread_and_time() {
    let lists = lists(SCRIPT);
    assert_eq!(lists.len(), 2);
    assert_eq!(lists[&(21189, 14_041_053_166_045)], [0x23aca, 0x7fff_d001_05db]);
    assert_eq!(lists[&(7, 2_000_000_001)], [0; 0]);
}

fn frame(place: u64) -> Frame {
    Frame { place, method: Method::Table, is_in_file: true, is_described: true, is_misplaced_by_perf: false }
}

fn ours(places: &[u64]) -> Ours {
    let frames = places.iter().map(|place| frame(*place)).collect();
    Ours { frames, end: WalkEnd::Proven, took_popped: false }
}

#[test]
fn a_stack_that_is_the_same_has_no_difference_and_any_other_has() {
    let ours = ours(&[1, 2, 3]);
    assert_eq!(difference(&ours, &[1, 2, 3]), Difference::None);
    for theirs in [&[1, 2][..], &[1, 2, 3, 4], &[1, 2, 9], &[9, 2, 3], &[], &[1, 2, 4], &[1, 3]] {
        assert_eq!(difference(&ours, theirs), Difference::Unexplained, "{theirs:?}");
    }
}

#[test]
fn perf_stops_where_nothing_is_known_and_not_elsewhere() {
    let mut ours = ours(&[1, 2, 3]);
    ours.frames[1].is_described = false;
    assert_eq!(difference(&ours, &[1, 2]), Difference::PerfStopsWithoutInformation);
    assert_eq!(difference(&Ours { end: WalkEnd::NoRow, ..ours.clone() }, &[1, 2]), Difference::BothStop);
    ours.frames[1].is_in_file = false;
    assert_eq!(difference(&ours, &[1, 2]), Difference::PerfStopsOutsideFiles);
    // It goes on elsewhere, or further than we do, or stopped before.
    for theirs in [&[1, 2, 9][..], &[1, 2, 3, 4], &[1]] {
        assert_eq!(difference(&ours, theirs), Difference::Unexplained, "{theirs:?}");
    }
}

#[test]
fn a_popped_frame_pointer_explains_an_early_end_of_perfs_only() {
    let ours = Ours { took_popped: true, ..ours(&[1, 2, 3]) };
    assert_eq!(difference(&ours, &[1]), Difference::PerfLacksPopped);
    assert_eq!(difference(&ours, &[1, 9]), Difference::Unexplained);
    assert_eq!(difference(&Ours { end: WalkEnd::NoRow, ..ours }, &[1]), Difference::Unexplained);
}

#[test]
fn a_caller_that_perf_leaves_out_is_the_next_after_an_undescribed_entry() {
    let mut ours = ours(&[1, 2, 3, 4]);
    (ours.frames[0].is_described, ours.frames[1].method) = (false, Method::AtEntry);
    assert_eq!(difference(&ours, &[1, 3, 4]), Difference::PerfLeavesOutCaller);
    assert_eq!(difference(&ours, &[1, 3]), Difference::PerfLeavesOutCaller);
    assert_eq!(difference(&ours, &[1, 4]), Difference::Unexplained);
    ours.frames[1].method = Method::FramePointer;
    assert_eq!(difference(&ours, &[1, 3, 4]), Difference::Unexplained);
}

#[test]
fn what_perf_misplaces_is_named_only_from_there_on() {
    let mut ours = ours(&[1, 2, 3]);
    ours.frames[1].is_misplaced_by_perf = true;
    assert_eq!(difference(&ours, &[1, 2, 7, 8]), Difference::PerfMisplacesFile);
    assert_eq!(difference(&ours, &[1, 7]), Difference::Unexplained);
}

#[test]
fn every_reason_has_a_name_of_its_own() {
    let all = [
        Difference::None,
        Difference::PerfStopsOutsideFiles,
        Difference::PerfStopsWithoutInformation,
        Difference::BothStop,
        Difference::PerfLeavesOutCaller,
        Difference::PerfLacksPopped,
        Difference::PerfMisplacesFile,
        Difference::Unexplained,
    ];
    let names: std::collections::BTreeSet<&str> = all.map(Difference::name).into();
    assert_eq!(names.len(), all.len());
}
