//! How many frames have names.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use object::{Object as _, ObjectSection as _};

use super::super::unwind::cgroup::Cgroup;
use super::super::unwind::stacks::{Frame, Sections, is_kernel, label, location, mapping, sample};
use super::super::unwind::table::Table;
use super::super::unwind::workloads::Workload;
use super::super::unwind::{self, measure::HZ};
use super::Bench;
use crate::process::{line, output, say};

/// Where Java's compiled code gets names: from a map that it is told to write, each second.
const JAVA_MAPS: &str = "while sleep 1; do jcmd Work Compiler.perfmap >/dev/null 2>&1; done";
/// Goals, in percent.
const OF_NAMED_FILES: f64 = 99.0;

/// Frames, counted once for each sample that goes through them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Share {
    all: u64,
    named: u64,
}

impl Share {
    fn add(&mut self, samples: u64, is_named: bool) {
        self.all += samples;
        self.named += if is_named { samples } else { 0 };
    }

    fn text(self) -> String {
        match self.all {
            0 => "—".to_owned(),
            all => format!("{:.2}", self.named as f64 * 100.0 / all as f64),
        }
    }
}

/// What was found for one workload.
#[derive(Debug, Default)]
struct Named {
    samples: u64,
    /// In user code of any file.
    files: Share,
    /// In files that have symbols, or debug info beside them.
    with_symbols: Share,
    made: Share,
    kernel: Share,
    /// Frames without names by file.
    nameless: BTreeMap<String, u64>,
}

/// Counts them for each workload.
pub(super) fn measure(bench: &Bench<'_>, workloads: &[&'static Workload], seconds: u64) -> Result<Table> {
    let header = [
        "workload",
        "samples",
        "frames in files, named %",
        "files with symbols, named %",
        "made code, named %",
        "kernel, named %",
        "most nameless file",
        "",
    ];
    let mut table = Table {
        title: format!("Frames with names, {seconds} s each"),
        header: header.map(str::to_owned).to_vec(),
        rows: Vec::new(),
    };
    for workload in workloads {
        say(workload.name);
        let named = of_workload(bench, workload, seconds).with_context(|| workload.name.to_owned())?;
        table.rows.push(row(workload.name, &named));
    }
    Ok(table)
}

fn row(name: &str, named: &Named) -> Vec<String> {
    let share = |share: Share| share.named as f64 * 100.0 / share.all.max(1) as f64;
    let is_met = (named.with_symbols.all == 0 || share(named.with_symbols) >= OF_NAMED_FILES)
        && named.made.named == named.made.all;
    let most = named.nameless.iter().max_by_key(|(_, samples)| **samples);
    vec![
        name.to_owned(),
        named.samples.to_string(),
        named.files.text(),
        named.with_symbols.text(),
        named.made.text(),
        named.kernel.text(),
        most.map_or(String::new(), |(file, frames)| format!("{file}: {frames}")),
        if is_met { "met" } else { "MISSED" }.to_owned(),
    ]
}

fn of_workload(bench: &Bench<'_>, workload: &'static Workload, seconds: u64) -> Result<Named> {
    unwind::prepare(workload, &bench.variables)?;
    let group = Cgroup::create()?;
    let profile = bench.folder.join("named.pb.gz");
    // Beside the recording: it is a Java program itself, and nobody tells that one to write a map.
    let maps = if workload.name == "java" { Some(Beside::start(JAVA_MAPS)?) } else { None };
    let mut command = Command::new(&bench.vesta);
    command.args(["record", "--json", "--frequency", &HZ.to_string(), "--output"]).arg(&profile);
    command.args(["--duration", &format!("{seconds}s"), "--"]);
    command.args(group.shell(workload.script));
    command.envs(bench.variables.iter().map(|(name, value)| (name, value)));
    // As whoever wants names of their code starts them.
    command.env("NODE_OPTIONS", "--perf-basic-prof --interpreted-frames-native-stack");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = command.status().with_context(|| format!("cannot start `{}`", line(&command)))?;
    group.end()?;
    drop(maps);
    remove_maps();
    // 143: the command was ended when the time was over.
    if !profile.exists() {
        bail!("`{}` failed ({status})", line(&command));
    }
    let mut pprof = Command::new("go");
    pprof.args(["tool", "pprof", "-raw", "-symbolize=none"]).arg(&profile);
    let text = output(&mut pprof).with_context(|| format!("`{}` failed", line(&pprof)))?;
    fs::remove_file(&profile)?;
    let mut known = BTreeMap::new();
    Ok(count(&text, |file| *known.entry(file.to_owned()).or_insert_with(|| has_symbols(file.as_ref()))))
}

/// A shell script that runs until this is dropped.
struct Beside(Child);

impl Beside {
    fn start(script: &str) -> Result<Beside> {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]).stdin(Stdio::null());
        Ok(Beside(shell.spawn().context("cannot start a shell")?))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // Ended already at the worst.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn count(text: &str, mut has_symbols: impl FnMut(&str) -> bool) -> Named {
    let sections = Sections::of(text);
    let files: BTreeMap<u64, &str> = sections.mappings.iter().filter_map(|line| mapping(line)).collect();
    let frames: BTreeMap<u64, Frame> =
        sections.locations.iter().filter_map(|line| location(line, &files)).collect();
    let mut named = Named::default();
    for line in &sections.samples {
        // Lines of labels have no numbers before a colon.
        let Some((samples, ids)) = sample(line).filter(|_| label(line, "pid").is_none()) else { continue };
        named.samples += samples;
        for frame in ids.iter().filter_map(|id| frames.get(id)) {
            named.add(frame, samples, &mut has_symbols);
        }
    }
    named
}

impl Named {
    fn add(&mut self, frame: &Frame, samples: u64, has_symbols: &mut impl FnMut(&str) -> bool) {
        let function = &*frame.function;
        let is_made = (frame.file.is_empty() || frame.file == "[jit]") && function != "[unknown";
        let is_nameless = function.starts_with('[') && (function.contains("+0x") || function == "[unknown")
            || function == "[jit]";
        if function.starts_with('[') && !is_nameless {
            // A mark: no code.
            return;
        }
        if is_kernel(frame) {
            return self.kernel.add(samples, !is_nameless);
        }
        if is_made {
            return self.made.add(samples, !is_nameless);
        }
        self.files.add(samples, !is_nameless);
        if has_symbols(&frame.file) {
            self.with_symbols.add(samples, !is_nameless);
        }
        if is_nameless {
            *self.nameless.entry(frame.file.clone()).or_default() += samples;
        }
    }
}

/// Whether the file, or its debug package, says what its functions are called.
fn has_symbols(path: &Path) -> bool {
    let Ok(bytes) = fs::read(path) else { return false };
    let Ok(file) = object::File::parse(&*bytes) else { return false };
    let has = |name| file.section_by_name(name).is_some_and(|section| section.size() > 0);
    let packaged = file.build_id().ok().flatten().and_then(|id| {
        let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let (start, rest) = hex.split_at_checked(2)?;
        Some(Path::new("/usr/lib/debug/.build-id").join(start).join(format!("{rest}.debug")))
    });
    [".symtab", ".gopclntab", ".gnu_debugdata"].into_iter().any(has)
        || packaged.is_some_and(|path| path.exists())
}

/// Runtimes leave their maps behind.
fn remove_maps() {
    for entry in fs::read_dir("/tmp").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix("perf-").and_then(|rest| rest.strip_suffix(".map"));
        if pid.is_some_and(|pid| pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists()) {
            // What cannot be removed is small.
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAW: &str = "\
Samples:
samples/count cpu/nanoseconds
          2   20: 1 2 3 5
                pid:[7] process:[x]
          1   10: 4 6 7
Locations
     1: 0xffffffff81000000 M=1 do_syscall_64 :0:0 s=0
     2: 0x10 M=2 [libx.so+0x10] :0:0 s=0
     3: 0x20 M=2 inner x.c:1:0 s=0
             outer x.c:2:0 s=0
     4: 0x7f00 M=4 [jit] :0:0 s=0
     5: 0x7f10 M=4 JS:work work.js:1:0 s=0
     6: 0x0 [no unwind row] :0:0 s=0
     7: 0x8000 M=3 main :0:0 s=0
Mappings
1: 0x0/0xffffffffffffffff/0x0 [kernel]  [FN]
2: 0x0/0xffffffffffffffff/0x0 /usr/lib/libx.so aa [FN]
3: 0x0/0xffffffffffffffff/0x0 /usr/bin/main bb [FN]
4: 0x0/0xffffffffffffffff/0x0 [jit]  [FN]
";

    #[test]
    fn frames_are_counted_by_where_their_code_lies() {
        let named = count(RAW, |file| file == "/usr/bin/main");
        assert_eq!(named.samples, 3);
        assert_eq!(named.kernel, Share { all: 2, named: 2 });
        assert_eq!(named.files, Share { all: 5, named: 3 });
        assert_eq!(named.with_symbols, Share { all: 1, named: 1 });
        assert_eq!(named.made, Share { all: 3, named: 2 });
        assert_eq!(named.nameless.get("/usr/lib/libx.so"), Some(&2));
        assert_eq!(row("x", &named).last().map(String::as_str), Some("MISSED"));
    }

    #[test]
    fn our_own_program_has_symbols_and_a_text_has_none() {
        assert!(has_symbols(&std::env::current_exe().unwrap()));
        assert!(!has_symbols(Path::new("/etc/hostname")));
    }
}
