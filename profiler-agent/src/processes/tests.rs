use super::mappings::{FileKey, Mapping};
use super::*;

fn event(pid: u32, change: Change) -> ProcessEvent {
    ProcessEvent { time_ns: 0, pid, change }
}

fn anonymous(start: u64, end: u64) -> Change {
    Change::Mmap(Mapping { start, end, file_offset: 0, backing: Backing::Anonymous })
}

fn born(start_time_ns: u64) -> ProcessIdentity {
    ProcessIdentity { start_time_ns, exec_id: 0 }
}

/// No process has this id: `pid_max` is at most 2^22.
const NOBODY: u32 = 1 << 30;

#[test]
fn our_own_code_is_found_in_our_executable() {
    let mut table = ProcessTable::default();
    let pid = std::process::id();
    let (_, labels) = table.process(pid, born(1), "me", 0);
    assert_eq!(labels.exe, std::env::current_exe().unwrap().to_str().unwrap());
    let here = our_own_code_is_found_in_our_executable as *const () as u64;
    let Place::File { file, .. } = table.locate(pid, here, false) else { panic!("not in a file") };
    assert_eq!(&*file.path, labels.exe);
    assert!(file.file.is_some());
    assert!(matches!(table.locate(pid, 8, false), Place::Unknown));
    assert_eq!(table.counts().maps_reads, 1, "a miss right after a read does not read again");
}

#[test]
fn the_maps_of_the_program_that_runs_by_now_do_not_replace_those_of_the_sampled_one() {
    let mut table = ProcessTable::default();
    let pid = std::process::id();
    table.apply(event(pid, Change::Exec));
    table.apply(event(pid, anonymous(0x1000, 0x2000)));
    // a word off the stack that is no address of code, in either program
    assert!(matches!(table.locate(pid, 0x10, false), Place::Unknown));
    assert_eq!(table.counts().maps_reads, 1);
    assert!(matches!(table.locate(pid, 0x1800, false), Place::Anonymous));
}

#[test]
fn a_pid_used_again_is_another_process() {
    let mut table = ProcessTable::default();
    let (first, _) = table.process(NOBODY, born(1), "old", 0);
    assert_eq!(table.process(NOBODY, born(1), "old", 0).0, first);
    let (second, labels) = table.process(NOBODY, born(2), "new", 0);
    assert_ne!(second, first);
    assert_eq!(labels.process, "new");
}

#[test]
fn a_program_sampled_while_it_was_started_keeps_its_mappings_and_one_nobody_told_of_does_not() {
    let mut table = ProcessTable::default();
    let sampled = |table: &mut ProcessTable, exec_id: u32| {
        table.process(NOBODY, ProcessIdentity { start_time_ns: 1, exec_id }, "p", 0);
        matches!(table.locate(NOBODY, 0x1800, false), Place::Anonymous)
    };
    table.apply(event(NOBODY, Change::Exec));
    // The record of the exec is out, the kernel has not counted it yet.
    assert!(!sampled(&mut table, 3));
    table.apply(event(NOBODY, anonymous(0x1000, 0x2000)));
    assert!(sampled(&mut table, 4));
    table.events_lost();
    assert!(!sampled(&mut table, 5), "an exec whose record may be lost");
}

#[test]
fn exec_forgets_and_fork_copies_mappings() {
    let mut table = ProcessTable::default();
    table.apply(event(NOBODY, Change::Exec));
    table.apply(event(NOBODY, anonymous(0x1000, 0x2000)));
    table.apply(event(NOBODY + 1, Change::Fork { parent: NOBODY }));
    assert!(matches!(table.locate(NOBODY + 1, 0x1800, false), Place::Anonymous));
    table.apply(event(NOBODY + 1, Change::Exec));
    assert!(matches!(table.locate(NOBODY + 1, 0x1800, false), Place::Unknown));
    assert!(matches!(table.locate(NOBODY, 0x1800, false), Place::Anonymous));
}

#[test]
fn an_ended_process_is_known_for_samples_under_way() {
    let mut table = ProcessTable::default();
    table.apply(event(NOBODY, Change::Exec));
    table.apply(event(NOBODY, anonymous(0x1000, 0x2000)));
    table.apply(event(NOBODY, Change::Exit));
    table.forget_ended();
    assert!(matches!(table.locate(NOBODY, 0x1800, false), Place::Anonymous));
}

#[test]
fn a_new_mapping_at_an_old_place_names_the_new_file() {
    let mut table = ProcessTable::default();
    let file = |path: &str| {
        let key = FileKey { major: 9, minor: 9, inode: path.len() as u64 };
        Change::Mmap(Mapping {
            start: 0x1000,
            end: 0x2000,
            file_offset: 0,
            backing: Backing::of(path, key, &mut Shared::default()),
        })
    };
    table.apply(event(NOBODY, Change::Exec));
    for path in ["/no/such/a", "/no/such/other"] {
        table.apply(event(NOBODY, file(path)));
        let Place::File { file, file_offset, .. } = table.locate(NOBODY, 0x1234, false) else {
            panic!("no file")
        };
        assert_eq!((&*file.path, file_offset), (path, 0x234));
    }
}

#[test]
fn after_lost_records_maps_are_read_again_and_correct_what_was_known() {
    let mut table = ProcessTable::default();
    let pid = std::process::id();
    let here = after_lost_records_maps_are_read_again_and_correct_what_was_known as *const () as u64;
    table.apply(event(pid, Change::Exec));
    table.apply(event(pid, anonymous(here & !0xfff, (here & !0xfff) + 0x1000)));
    table.process(pid, born(1), "me", 0);
    assert!(matches!(table.locate(pid, here, false), Place::Anonymous), "what the records say");
    table.events_lost();
    let Place::File { file, .. } = table.locate(pid, here, false) else { panic!("not in a file") };
    assert_eq!(&*file.path, std::env::current_exe().unwrap().to_str().unwrap());
    assert_eq!(table.counts().maps_reads, 1);
    table.locate(pid, here, false);
    assert_eq!(table.counts().maps_reads, 1, "once, not with each sample");
}

#[test]
fn what_may_be_no_code_at_all_is_no_reason_to_read_maps_unless_records_are_missing() {
    let mut table = ProcessTable::default();
    let pid = std::process::id();
    table.apply(event(pid, Change::Exec));
    table.process(pid, born(1), "me", 0);
    assert!(matches!(table.locate(pid, 0x10_4000_0000, true), Place::Unknown));
    assert_eq!(table.counts().maps_reads, 0);
    table.events_lost();
    table.locate(pid, 0x10_4000_0000, true);
    assert_eq!(table.counts().maps_reads, 1);
}

#[test]
fn a_process_rests_from_readings_however_often_records_are_lost() {
    let mut table = ProcessTable::default();
    let pid = std::process::id();
    let here = a_process_rests_from_readings_however_often_records_are_lost as *const () as u64;
    table.process(pid, born(1), "me", 0);
    let start = std::time::Instant::now();
    let mut before_last = 0;
    while table.counts().maps_reads < 4 {
        before_last = table.counts().maps_read_ns;
        table.events_lost();
        table.locate(pid, here, false);
    }
    // Each reading but the last was followed by its rest.
    let elapsed = start.elapsed().as_nanos();
    assert!(u128::from(before_last) * 100 <= elapsed, "{before_last} ns of {elapsed}");
}

#[test]
fn a_process_goes_on_without_its_first_thread_and_ends_with_its_last() {
    let mut table = ProcessTable::default();
    table.apply(event(NOBODY, Change::Exec));
    table.process(NOBODY, born(1), "p", 0);
    table.apply(event(NOBODY, Change::Exit));
    let has_ended = |table: &mut ProcessTable| table.code(NOBODY).unwrap().ended;
    table.sampled(NOBODY, NOBODY);
    assert!(has_ended(&mut table), "its own last samples do not count");
    table.sampled(NOBODY, NOBODY + 1);
    assert!(!has_ended(&mut table));
    table.forget_ended();
    assert!(has_ended(&mut table), "there is none in /proc");
}

#[test]
fn a_renamed_process_gets_its_new_name_and_keeps_its_executable() {
    let mut table = ProcessTable::default();
    let pid = std::process::id();
    let (_, before) = table.process(pid, born(1), "before", 0);
    let (_, after) = table.process(pid, born(1), "after", 0);
    assert_eq!((after.process.as_str(), &after.exe), ("after", &before.exe));
}
