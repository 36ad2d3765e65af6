//! `vesta doctor`: what this machine offers a profiler, what is missing, what still works, and what to type.

use std::{collections::BTreeMap, fs, path::Path};

use serde::Serialize;

use crate::{
    bpf::{BTF_PATH, BpfError, Btf, KernelProgram, SamplingOptions, online_cpus},
    cli::DoctorArgs,
    config::{self, DEFAULT_FREQUENCY_HZ},
    exit::{Code, Failure, bpf_message},
    objects::Objects,
    processes::Sideband,
    roles::{print_json, print_text},
};

/// How a finding bears on profiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    /// Works without, but worse.
    Warning,
    /// Does not work without.
    Missing,
}

/// One finding; its keys do not change.
#[derive(Debug, Serialize)]
struct Finding {
    name: &'static str,
    verdict: Verdict,
    /// What was found.
    found: String,
    /// What it means and what to type; empty when all is well.
    advice: String,
}

#[derive(Debug, Serialize)]
struct Findings {
    ok: bool,
    /// Verified instructions by program.
    instructions: BTreeMap<String, u32>,
    findings: Vec<Finding>,
}

impl Finding {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, found: found.into(), advice: String::new() }
    }
    fn warning(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Warning, found: found.into(), advice: advice.into() }
    }
    fn missing(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Missing, found: found.into(), advice: advice.into() }
    }
}

/// Runs the command.
pub(crate) fn doctor(args: &DoctorArgs, file: Option<&Path>) -> Result<(), Failure> {
    let mut findings = vec![kernel(&symbols::kernel::release()), btf(), capabilities()];
    let (programs, instructions) = program();
    findings.extend(programs);
    findings.extend([process_events(), lockdown(), perf_settings(), sample_rate(), jit(), kernel_symbols()]);
    findings.extend([cgroups(), tracefs(), debug_info()]);
    findings.extend(config::objects(&args.objects, file)?.map(|objects| object_store(&objects)));
    let ok = findings.iter().all(|finding| finding.verdict != Verdict::Missing);
    if args.json {
        print_json(&Findings { ok, instructions, findings })?;
    } else {
        print_text(&told(&findings, ok))?;
    }
    if ok { Ok(()) } else { Err(Failure::new(Code::Machine, "something that profiling needs is missing")) }
}

fn told(findings: &[Finding], ok: bool) -> String {
    let mut text = String::new();
    let width = findings.iter().map(|finding| finding.name.len()).max().unwrap_or(0);
    for finding in findings {
        let mark = match finding.verdict {
            Verdict::Ok => "ok     ",
            Verdict::Warning => "warning",
            Verdict::Missing => "MISSING",
        };
        // A refused program comes with lines of the verifier's log.
        let found = finding.found.replace('\n', &format!("\n{:7}  {:width$}  ", "", ""));
        text.push_str(&format!("{mark}  {:width$}  {found}\n", finding.name));
        for line in finding.advice.lines() {
            text.push_str(&format!("{:7}  {:width$}  → {line}\n", "", ""));
        }
    }
    text.push_str(if ok {
        "\nVesta can profile this machine.\n"
    } else {
        "\nVesta cannot profile this machine yet.\n"
    });
    text
}

/// Whether the store that is configured answers; profiling works without.
fn object_store(objects: &config::ObjectStoreConfig) -> Finding {
    match Objects::probe(objects) {
        Ok(found) => Finding::ok("object storage", found),
        Err(error) => Finding::warning(
            "object storage",
            error,
            "profiles stay in the data directory until it works; docs/operations.md says what it needs",
        ),
    }
}

/// `bpf_loop` came with 5.17, on which the stack walk is built.
fn kernel(release: &str) -> Finding {
    let mut numbers =
        release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= (5, 17) {
        Finding::ok("kernel", release)
    } else {
        Finding::missing("kernel", release, "Linux 5.17 or newer is needed (6.1 and newer are tested)")
    }
}

fn btf() -> Finding {
    let read = Btf::read(Path::new(BTF_PATH)).and_then(|btf| btf.offset("task_struct", "group_leader"));
    match read {
        Ok(_) => Finding::ok("BTF", BTF_PATH),
        Err(error) => {
            let advice = if Path::new("/sys/kernel").exists() {
                "use a kernel built with CONFIG_DEBUG_INFO_BTF=y"
            } else {
                "/sys is not mounted: mount -t sysfs sysfs /sys"
            };
            Finding::missing("BTF", error.to_string(), advice)
        }
    }
}

/// Number, name, what it is for, whether nothing works without.
const CAPABILITIES: [(u32, &str, &str, bool); 6] = [
    (39, "CAP_BPF", "loading BPF programs", true),
    (38, "CAP_PERFMON", "sampling all CPUs and reading stacks", true),
    (19, "CAP_SYS_PTRACE", "mappings of other users' processes", false),
    (2, "CAP_DAC_READ_SEARCH", "binaries that only their owners may read", false),
    (40, "CAP_CHECKPOINT_RESTORE", "deleted and replaced files", false),
    (34, "CAP_SYSLOG", "names of kernel functions", false),
];
/// `CAP_SYS_ADMIN` stands in for the first two and for CAP_CHECKPOINT_RESTORE.
const CAP_SYS_ADMIN: u32 = 21;

fn capabilities() -> Finding {
    let status = match fs::read_to_string("/proc/self/status") {
        Ok(status) => status,
        Err(error) => {
            let found = format!("unknown: /proc/self/status cannot be read: {error}");
            return Finding::warning(
                "capabilities",
                found,
                "mount /proc: without it most processes stay without names",
            );
        }
    };
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    judge_capabilities(effective)
}

fn judge_capabilities(effective: u64) -> Finding {
    let is_set = |number: u32| effective >> number & 1 == 1;
    let has = |number: u32| is_set(number) || (is_set(CAP_SYS_ADMIN) && [38, 39, 40].contains(&number));
    let lacking: Vec<_> = CAPABILITIES.iter().filter(|(number, ..)| !has(*number)).collect();
    if lacking.is_empty() {
        return Finding::ok("capabilities", "all that is needed");
    }
    let list: Vec<String> = lacking.iter().map(|(_, name, what, _)| format!("{name} ({what})")).collect();
    let found = format!("without {}", list.join(", "));
    let advice = "run it with sudo, or give the capabilities to the binary with setcap";
    if lacking.iter().any(|(.., needed)| *needed) {
        Finding::missing("capabilities", found, advice)
    } else {
        Finding::warning("capabilities", found, advice)
    }
}

/// The proof of the pudding: the program is loaded and attached, and taken away again. With what the verifier looked at.
fn program() -> (Vec<Finding>, BTreeMap<String, u32>) {
    let options = SamplingOptions { frequency_hz: DEFAULT_FREQUENCY_HZ, watched_only: true, measured: false };
    let mut program = match KernelProgram::load(options) {
        Ok(program) => program,
        Err(error) => {
            let message = bpf_message(&error);
            let advice = if error.is_permission() {
                "the kernel denies it: run it with sudo"
            } else {
                advice(&error, &message)
            };
            return (vec![Finding::missing("BPF program", message, advice)], BTreeMap::new());
        }
    };
    let instructions = program.verified_instructions();
    let counts: Vec<String> = instructions.iter().map(|(name, count)| format!("{name} {count}")).collect();
    let mut loads = String::from("loads");
    if !counts.is_empty() {
        loads.push_str(&format!("; instructions verified: {}", counts.join(", ")));
    }
    let mut findings = vec![Finding::ok("BPF program", loads)];
    findings.push(match program.attach() {
        Ok((event, cpus)) => Finding::ok("sampling", format!("{} on {cpus} CPUs", event.name())),
        Err(error) => {
            Finding::missing("sampling", bpf_message(&error), "perf events at 99 Hz are needed on every CPU")
        }
    });
    if program.run_time().is_none() {
        findings.push(Finding::warning(
            "BPF run time",
            "the kernel does not count it",
            "the cost of sampling will be shown as unknown",
        ));
    }
    (findings, instructions)
}

/// What to do about a program that does not load, other than having more privileges.
fn advice(error: &BpfError, message: &str) -> &'static str {
    if matches!(error, BpfError::Btf(_)) {
        "it needs the kernel's BTF, see there"
    } else if message.contains("unknown func bpf_probe_read") {
        // The verifier's words where lockdown takes the functions away that read memory.
        "the kernel is locked down so that BPF may not read memory, see lockdown"
    } else {
        "please report this with the output of `uname -a`"
    }
}

fn process_events() -> Finding {
    let opened = online_cpus()
        .map_err(|error| error.to_string())
        .and_then(|cpus| Sideband::default().follow_cpus(&cpus).map_err(|error| error.to_string()));
    match opened {
        Ok(()) => Finding::ok("process events", "exec, fork, exit and mmap records of all processes"),
        Err(error) => Finding::warning(
            "process events",
            error,
            "short-lived processes may stay without names; run it with sudo",
        ),
    }
}

/// Where the kernel tells its lockdown mode, if securityfs is mounted there.
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

fn lockdown() -> Finding {
    judge_lockdown(
        fs::read_to_string(LOCKDOWN).ok().as_deref(),
        Path::new("/sys/kernel/security/lsm").exists(),
    )
}

/// `text` is like `none [integrity] confidentiality`, the mode in brackets; without it, and where securityfs is
/// mounted, the kernel knows no lockdown.
fn judge_lockdown(text: Option<&str>, securityfs: bool) -> Finding {
    let in_brackets = |text: &str| Some(text.split_once('[')?.1.split_once(']')?.0.to_owned());
    match text.and_then(in_brackets) {
        Some(mode) if mode == "confidentiality" => Finding::missing(
            "lockdown",
            mode,
            "BPF may not read memory in this mode; boot with lockdown=integrity, or without lockdown",
        ),
        Some(mode) => Finding::ok("lockdown", mode),
        None if securityfs => Finding::ok("lockdown", "none"),
        None => Finding::ok(
            "lockdown",
            "unknown: securityfs is not mounted (`mount -t securityfs securityfs /sys/kernel/security` shows it)",
        ),
    }
}

fn sysctl(name: &str) -> Option<String> {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn perf_settings() -> Finding {
    let paranoid = sysctl("kernel.perf_event_paranoid").unwrap_or_else(|| "unknown".into());
    // Holders of CAP_PERFMON are not bound by it.
    Finding::ok("perf settings", format!("kernel.perf_event_paranoid is {paranoid}"))
}

fn sample_rate() -> Finding {
    judge_sample_rate(sysctl("kernel.perf_event_max_sample_rate").as_deref())
}

/// The kernel refuses events above its limit, whoever asks for them. It lowers the limit by itself where sampling takes
/// it too long.
fn judge_sample_rate(limit: Option<&str>) -> Finding {
    let limit = limit.unwrap_or("unknown");
    let found = format!("kernel.perf_event_max_sample_rate is {limit}");
    match limit.parse::<u64>() {
        Ok(hz) if hz < DEFAULT_FREQUENCY_HZ => Finding::missing(
            "sample rate",
            found,
            "the kernel refuses the default of 99 Hz: sudo sysctl kernel.perf_event_max_sample_rate=1000, or a\n\
             --frequency that is not above it",
        ),
        _ => Finding::ok("sample rate", found),
    }
}

fn jit() -> Finding {
    match sysctl("net.core.bpf_jit_enable").as_deref() {
        Some("0") => Finding::warning(
            "BPF compiler",
            "off",
            "sampling costs several times more: sudo sysctl net.core.bpf_jit_enable=1",
        ),
        _ => Finding::ok("BPF compiler", "on"),
    }
}

fn kernel_symbols() -> Finding {
    match symbols::kernel::check_symbols() {
        Ok(()) => Finding::ok("kernel symbols", "readable"),
        Err(error) => {
            Finding::warning("kernel symbols", "kernel functions will show as addresses", error.to_string())
        }
    }
}

fn cgroups() -> Finding {
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        Finding::ok("cgroups", "version 2")
    } else {
        Finding::warning("cgroups", "no version 2 hierarchy", "the label `cgroup` stays empty")
    }
}

fn tracefs() -> Finding {
    let mounted = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"]
        .iter()
        .any(|path| Path::new(path).join("events").exists());
    Finding::ok("tracefs", if mounted { "mounted" } else { "not mounted, and not needed" })
}

fn debug_info() -> Finding {
    let installed = fs::read_dir("/usr/lib/debug/.build-id").is_ok_and(|mut folder| folder.next().is_some());
    if installed {
        return Finding::ok("debug info", "/usr/lib/debug/.build-id");
    }
    Finding::warning(
        "debug info",
        "none installed",
        "functions of stripped binaries without exported names show as [file+0xoffset], and inlined functions only\n\
         where binaries carry debug info themselves; install your distribution's -dbg or -dbgsym packages",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_judged_by_their_version() {
        assert_eq!(kernel("5.10.0-30-amd64").verdict, Verdict::Missing);
        assert_eq!(kernel("5.17.0").verdict, Verdict::Ok);
        assert_eq!(kernel("6.1.0-18-amd64").verdict, Verdict::Ok);
        assert_eq!(kernel("").verdict, Verdict::Missing);
    }

    #[test]
    fn capabilities_are_judged_by_what_they_are_for() {
        assert_eq!(judge_capabilities(u64::MAX).verdict, Verdict::Ok);
        assert_eq!(judge_capabilities(0).verdict, Verdict::Missing);
        let without_syslog = judge_capabilities(!(1 << 34));
        assert_eq!(without_syslog.verdict, Verdict::Warning);
        assert!(without_syslog.found.contains("CAP_SYSLOG"));
        let admin = 1 << CAP_SYS_ADMIN | 1 << 19 | 1 << 2 | 1 << 34;
        assert_eq!(judge_capabilities(admin).verdict, Verdict::Ok);
    }

    #[test]
    fn lockdown_is_judged_by_its_mode_and_unknown_is_not_none() {
        let verdict = |text| judge_lockdown(Some(text), true).verdict;
        assert_eq!(verdict("none integrity [confidentiality]\n"), Verdict::Missing);
        assert_eq!(verdict("none [integrity] confidentiality\n"), Verdict::Ok);
        assert_eq!(judge_lockdown(None, true).found, "none");
        assert!(judge_lockdown(None, false).found.starts_with("unknown"));
    }

    #[test]
    fn a_limit_below_the_default_frequency_is_more_than_a_warning() {
        assert_eq!(judge_sample_rate(Some("98")).verdict, Verdict::Missing);
        assert_eq!(judge_sample_rate(Some("99")).verdict, Verdict::Ok);
        assert!(judge_sample_rate(None).found.ends_with("unknown"));
    }

    #[test]
    fn lines_of_a_log_stay_in_their_column() {
        let text = told(&[Finding::missing("a", "first\nsecond", "help")], false);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[..3], ["MISSING  a  first", "            second", "            → help"]);
    }

    #[test]
    fn this_machine_can_be_profiled() {
        let (findings, instructions) = program();
        assert!(findings.iter().all(|finding| finding.verdict != Verdict::Missing), "{findings:?}");
        assert!(instructions["sample_cpu"] > 0, "{instructions:?}");
    }
}
