//! Every BPF program on the machine, whoever loaded it: what the kernel says of each, and who holds it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use aya::{
    maps::MapInfo,
    programs::{ProgramInfo, loaded_programs},
};
use ui::http::{BpfHolder, BpfMap, BpfProgram};

/// Programs that are told of: more than any machine has.
pub(super) const MOST_PROGRAMS: usize = 1000;
/// Descriptors that are looked at for who holds a program: those of a large server.
const MOST_DESCRIPTORS: usize = 200_000;

/// All programs, oldest first.
pub(crate) fn programs() -> Result<Vec<BpfProgram>, String> {
    let held = Held::read(Path::new("/proc"));
    let mut found = Vec::new();
    for info in loaded_programs().take(MOST_PROGRAMS) {
        match info {
            Ok(info) => found.push(told(&info, &held)),
            // It was unloaded between being listed and being asked about.
            Err(error) if gone(&error) => {}
            Err(error) => return Err(format!("the kernel does not tell of its BPF programs: {error}")),
        }
    }
    found.sort_by_key(|program| (program.loaded_ms, program.id));
    Ok(found)
}

/// Whether an error says that there is no such program (any more).
pub(super) fn gone(error: &(dyn std::error::Error + 'static)) -> bool {
    const ENOENT: i32 = 2;
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<std::io::Error>().is_some_and(|io| io.raw_os_error() == Some(ENOENT)) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// For how long a program ran in all; none where nobody measures that.
pub(super) fn run_time_ns(info: &ProgramInfo) -> Option<u64> {
    Facts::of(info.fd().ok()?.as_fd()).number("run_time_ns")
}

fn told(info: &ProgramInfo, held: &Held) -> BpfProgram {
    let facts = info.fd().map(|fd| Facts::of(fd.as_fd())).unwrap_or_default();
    let maps = info.map_ids().ok().flatten().unwrap_or_default().into_iter().filter_map(map);
    let holders = held.by_program.get(&info.id());
    let own = holders.is_some_and(|holders| holders.pids.contains(&std::process::id()));
    BpfProgram {
        id: info.id(),
        name: String::from_utf8_lossy(info.name()).into_owned(),
        kind: kind(&format!("{:?}", info.program_type())),
        tag: format!("{:016x}", info.tag()),
        loaded_ms: info.loaded_at().and_then(unix_ms),
        uid: info.created_by_uid(),
        runs: facts.number("run_cnt"),
        run_ns: facts.number("run_time_ns"),
        memory_bytes: facts.number("memlock"),
        instructions: info.verified_instruction_count(),
        maps: maps.collect(),
        attached: holders.map(|holders| holders.attached.iter().cloned().collect()).unwrap_or_default(),
        holders: holders.map(Holders::named).unwrap_or_default(),
        own,
    }
}

/// `BPF_PROG_TYPE_PERF_EVENT` as `perf_event`.
fn kind(name: &str) -> String {
    name.trim_start_matches("BPF_PROG_TYPE_").to_lowercase()
}

fn unix_ms(time: SystemTime) -> Option<i64> {
    time.duration_since(UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_millis()).ok())
}

fn map(id: u32) -> Option<BpfMap> {
    let info = MapInfo::from_id(id).ok()?;
    let bytes = info.fd().ok().and_then(|fd| Facts::of(fd.as_fd()).number("memlock"));
    Some(BpfMap { id, name: String::from_utf8_lossy(info.name()).into_owned(), bytes })
}

/// What the kernel says of an open descriptor, as `name: value` lines.
#[derive(Default)]
struct Facts(String);

impl Facts {
    fn of(fd: BorrowedFd<'_>) -> Self {
        Self(fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).unwrap_or_default())
    }

    fn text(&self, name: &str) -> Option<&str> {
        let rest = self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(rest.trim())
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }
}

/// Who has a program or its link open, and where links attach it.
#[derive(Default)]
struct Holders {
    pids: BTreeSet<u32>,
    attached: BTreeSet<String>,
}

impl Holders {
    fn named(&self) -> Vec<BpfHolder> {
        let name = |pid: u32| {
            let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            BpfHolder { pid, name: comm.trim_end().to_owned() }
        };
        self.pids.iter().map(|pid| name(*pid)).collect()
    }
}

/// Holders by program.
struct Held {
    by_program: BTreeMap<u32, Holders>,
}

impl Held {
    /// Looks at the descriptors of all processes. What may not be looked at, or has ended, is passed over.
    fn read(proc: &Path) -> Self {
        let mut by_program: BTreeMap<u32, Holders> = BTreeMap::new();
        let mut left = MOST_DESCRIPTORS;
        for process in fs::read_dir(proc).into_iter().flatten().flatten() {
            let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let descriptors = fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
            for descriptor in descriptors {
                if left == 0 {
                    return Self { by_program };
                }
                left -= 1;
                let Ok(target) = fs::read_link(descriptor.path()) else { continue };
                if !is_bpf(&target.to_string_lossy()) {
                    continue;
                }
                let info = process.path().join("fdinfo").join(descriptor.file_name());
                let facts = Facts(fs::read_to_string(info).unwrap_or_default());
                let Some(id) = facts.number("prog_id").and_then(|id| u32::try_from(id).ok()) else {
                    continue;
                };
                let holders = by_program.entry(id).or_default();
                holders.pids.insert(pid);
                holders.attached.extend(attachment(&facts));
            }
        }
        Self { by_program }
    }
}

/// Whether a descriptor's target is a program or a link of one.
fn is_bpf(target: &str) -> bool {
    matches!(target, "anon_inode:bpf-prog" | "anon_inode:bpf_link" | "anon_inode:[bpf_link]")
}

/// Where a link attaches: its type, and what it names.
fn attachment(facts: &Facts) -> Option<String> {
    let kind = facts.text("link_type")?;
    let place = ["tp_name", "name", "ifindex", "cgroup_id", "target_obj_id", "event"];
    let place = place.into_iter().find_map(|name| facts.text(name)).unwrap_or_default();
    Some(format!("{kind} {place}").trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_by_their_whole_names() {
        let facts = Facts("pos:\t0\nprog_id:\t12\nrun_time_ns:\t3400\nrun_cnt:\t17\nmemlock:\t4096\n".into());
        assert_eq!((facts.number("prog_id"), facts.number("run_cnt")), (Some(12), Some(17)));
        assert_eq!((facts.number("run"), facts.number("missing")), (None, None));
        let link = Facts("link_type:\traw_tracepoint\nprog_id:\t9\ntp_name:\tsched_process_exit\n".into());
        assert_eq!(attachment(&link).as_deref(), Some("raw_tracepoint sched_process_exit"));
        assert_eq!(attachment(&Facts("link_type:\tperf\n".into())).as_deref(), Some("perf"));
        assert_eq!(attachment(&facts), None);
    }

    #[test]
    fn types_are_named_as_in_other_tools() {
        assert_eq!(kind("BPF_PROG_TYPE_RAW_TRACEPOINT"), "raw_tracepoint");
    }

    #[test]
    fn holders_are_found_by_their_descriptors() {
        let proc = tempfile::tempdir().unwrap();
        for (pid, descriptor, target, info) in [
            ("41", "3", "anon_inode:bpf-prog", "prog_id:\t5\n"),
            ("42", "7", "anon_inode:bpf_link", "link_type:\tperf\nprog_id:\t5\n"),
            ("42", "8", "/etc/passwd", "prog_id:\t5\n"),
            ("42", "9", "anon_inode:bpf-prog", "nonsense"),
            ("self", "3", "anon_inode:bpf-prog", "prog_id:\t6\n"),
        ] {
            let process = proc.path().join(pid);
            fs::create_dir_all(process.join("fd")).unwrap();
            fs::create_dir_all(process.join("fdinfo")).unwrap();
            std::os::unix::fs::symlink(target, process.join("fd").join(descriptor)).unwrap();
            fs::write(process.join("fdinfo").join(descriptor), info).unwrap();
        }
        let held = Held::read(proc.path());
        assert_eq!(held.by_program.keys().copied().collect::<Vec<_>>(), [5]);
        assert_eq!(held.by_program[&5].pids, BTreeSet::from([41, 42]));
        assert_eq!(held.by_program[&5].attached, BTreeSet::from(["perf".to_owned()]));
    }
}
