//! The profilers that are compared: how each is started, and how what it wrote is read.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::stacks::{PerfScript, Stack, from_pprof};
use super::system::Map;
use super::workloads::Need;
use crate::process::{line, output};

/// A profiler, with the options it is run with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tool {
    /// `vesta record`.
    Vesta,
    /// lightswitch: unwind tables in BPF.
    Lightswitch,
    /// `perf record -g`: frame pointers.
    PerfFp,
    /// `perf record --call-graph dwarf`: 8 KiB of stack with each sample, walked afterwards.
    PerfDwarf,
    /// bpftrace counting `ustack` and `kstack`: frame pointers in BPF, for its cost only.
    Bpftrace,
}

/// Where binaries are that are not on the PATH.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Binaries {
    pub(super) vesta: PathBuf,
    pub(super) lightswitch: Option<PathBuf>,
}

/// What a tool made of a run.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) stacks: Vec<Stack>,
    /// Samples of the whole machine that the tool says it took, and how many of them it kept.
    pub(super) taken_and_kept: Option<(u64, u64)>,
}

impl Tool {
    /// In the order in which they run first.
    pub(super) const ALL: [Tool; 5] =
        [Tool::Vesta, Tool::Lightswitch, Tool::PerfFp, Tool::PerfDwarf, Tool::Bpftrace];

    /// As the command line and the tables name it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Tool::Vesta => "vesta",
            Tool::Lightswitch => "lightswitch",
            Tool::PerfFp => "perf-fp",
            Tool::PerfDwarf => "perf-dwarf",
            Tool::Bpftrace => "bpftrace",
        }
    }

    /// What it is, in a line.
    pub(super) fn what(self) -> &'static str {
        match self {
            Tool::Vesta => "vesta record, whole machine",
            Tool::Lightswitch => "unwind tables in BPF, whole machine; needs --lightswitch FILE",
            Tool::PerfFp => "perf record -a -g: frame pointers",
            Tool::PerfDwarf => "perf record -a --call-graph dwarf: copies of 8 KiB of stack",
            Tool::Bpftrace => "@[ustack, kstack] = count(): frame pointers in BPF; only what that costs",
        }
    }

    /// The programs it needs, beside itself if it is not packaged.
    pub(super) fn needs(self) -> &'static [Need] {
        const GO: Need = Need { program: "go", package: "golang-go" };
        const PERF: Need = Need { program: "perf", package: "linux-perf" };
        match self {
            Tool::Vesta | Tool::Lightswitch => &[GO],
            Tool::PerfFp | Tool::PerfDwarf => &[PERF],
            Tool::Bpftrace => &[Need { program: "bpftrace", package: "bpftrace" }],
        }
    }

    /// True if it runs a BPF program for each sample.
    pub(super) fn samples_in_bpf(self) -> bool {
        matches!(self, Tool::Vesta | Tool::Lightswitch | Tool::Bpftrace)
    }

    /// The command that samples the whole machine until it is interrupted, and then writes into the folder.
    pub(super) fn command(self, binaries: &Binaries, hz: u64, folder: &Path) -> Result<Command> {
        let hz = hz.to_string();
        let file = self.file(folder);
        let mut command;
        match self {
            Tool::Vesta => {
                command = Command::new(&binaries.vesta);
                command
                    .args(["record", "--json", "--duration", "1h", "--frequency", &hz, "--output"])
                    .arg(file);
            }
            Tool::Lightswitch => {
                let binary = binaries.lightswitch.as_ref().context("--lightswitch says where it is")?;
                command = Command::new(binary);
                command.args(["--logging", "error", "--sample-freq", &hz, "--duration", "3600"]);
                command.args(["--profile-format", "pprof", "--profile-name", FILE_NAME, "--profile-path"]);
                command.arg(folder);
            }
            Tool::PerfFp | Tool::PerfDwarf => {
                command = Command::new("perf");
                command.args(["record", "--quiet", "--all-cpus", "--event", "cpu-clock", "--freq", &hz]);
                command.args(["--call-graph", if self == Tool::PerfFp { "fp" } else { "dwarf" }, "--output"]);
                command.arg(file);
            }
            Tool::Bpftrace => {
                command = Command::new("bpftrace");
                command.args(["-o", "/dev/null", "-e"]);
                command.arg(format!(
                    "profile:hz:{hz} /pid/ {{ @[ustack, kstack] = count(); }} END {{ clear(@); }}"
                ));
            }
        }
        Ok(command)
    }

    fn file(self, folder: &Path) -> PathBuf {
        folder.join(match self {
            Tool::Vesta => "profile.pb.gz",
            Tool::Lightswitch => FILE_NAME,
            Tool::PerfFp | Tool::PerfDwarf | Tool::Bpftrace => "perf.data",
        })
    }

    /// Reads what it wrote into the folder, and to its standard output.
    pub(super) fn findings(self, folder: &Path, stdout: &str) -> Result<Findings> {
        let file = self.file(folder);
        Ok(match self {
            Tool::Vesta => {
                Findings { stacks: pprof_stacks(&file)?, taken_and_kept: Some(taken_and_kept(stdout)?) }
            }
            Tool::Lightswitch => Findings { stacks: pprof_stacks(&file)?, taken_and_kept: None },
            Tool::PerfFp | Tool::PerfDwarf => Findings { stacks: perf_stacks(&file)?, taken_and_kept: None },
            Tool::Bpftrace => Findings::default(),
        })
    }

    /// True if the map holds unwind tables, or what leads to them. `ours` are those that the tool holds open.
    pub(super) fn is_unwind_map(self, map: &Map, ours: bool) -> bool {
        match self {
            // Slabs of words have the name that aya gives to maps made at run time.
            Tool::Vesta => ours && (VESTA_MAPS.contains(&map.name.as_str()) || map.name == VESTA_SLAB),
            // It does not keep the inner maps open, and names the others by no more than 15 characters.
            Tool::Lightswitch => {
                map.name == "inner_map" || (ours && LIGHTSWITCH_MAPS.iter().any(|name| map.name == *name))
            }
            _ => false,
        }
    }

    /// Its version, in a line.
    pub(super) fn version(self, binaries: &Binaries) -> String {
        let program: PathBuf = match self {
            Tool::Vesta => binaries.vesta.clone(),
            Tool::Lightswitch => binaries.lightswitch.clone().unwrap_or_default(),
            Tool::PerfFp | Tool::PerfDwarf => "perf".into(),
            Tool::Bpftrace => "bpftrace".into(),
        };
        let text = output(Command::new(program).arg("--version")).unwrap_or_default();
        text.lines().next().unwrap_or("version unknown").trim().to_owned()
    }
}

const FILE_NAME: &str = "profile.pb";

/// Maps of profiler-bpf in which unwind tables lie, the kernel's included, and what leads to them.
const VESTA_MAPS: [&str; 6] = ["PROCESSES", "STARTS", "MAPPINGS", "SLABS", "KERNEL_RULES", "KERNEL_BLOCKS"];
const VESTA_SLAB: &str = "standalone_arra";
const LIGHTSWITCH_MAPS: [&str; 3] = ["outer_map", "exec_mappings", "executable_to_p"];

fn pprof_stacks(file: &Path) -> Result<Vec<Stack>> {
    let mut command = Command::new("go");
    command.args(["tool", "pprof", "-raw", "-symbolize=none"]).arg(file);
    let text = output(&mut command).with_context(|| format!("`{}` failed", line(&command)))?;
    Ok(from_pprof(&text))
}

fn perf_stacks(file: &Path) -> Result<Vec<Stack>> {
    let mut command = Command::new("perf");
    command.args(["script", "--no-inline", "--fields", "comm,pid,tid,ip,sym,dso", "--input"]).arg(file);
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().context("cannot start perf")?;
    let mut script = PerfScript::default();
    if let Some(stdout) = child.stdout.take() {
        // Names in other encodings than UTF-8 are none that we look for.
        for line in BufReader::new(stdout).split(b'\n') {
            script.line(&String::from_utf8_lossy(&line.context("cannot read from perf script")?));
        }
    }
    if !child.wait()?.success() {
        bail!("`{}` failed", line(&command));
    }
    Ok(script.finish())
}

fn taken_and_kept(stdout: &str) -> Result<(u64, u64)> {
    let summary: Value = serde_json::from_str(stdout).context("vesta record printed no JSON")?;
    let number =
        |key: &str| summary[key].as_u64().with_context(|| format!("vesta record does not say `{key}`"));
    Ok((number("samples_taken")?, number("samples_stored")?))
}

/// Removes what an earlier run has left in the folder.
pub(super) fn clean(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    for tool in Tool::ALL {
        let file = tool.file(folder);
        if file.exists() {
            fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unwind_maps_are_told_from_the_rest() {
        let map = |name: &str| Map { id: 1, name: name.into(), bytes: 1 };
        assert!(
            Tool::Vesta.is_unwind_map(&map("STARTS"), true)
                && Tool::Vesta.is_unwind_map(&map(VESTA_SLAB), true)
        );
        assert!(
            !Tool::Vesta.is_unwind_map(&map("RING"), true)
                && !Tool::Vesta.is_unwind_map(&map(VESTA_SLAB), false)
        );
        assert!(Tool::Lightswitch.is_unwind_map(&map("inner_map"), false));
        assert!(!Tool::Lightswitch.is_unwind_map(&map("stacks_rb"), true));
        assert!(!Tool::PerfFp.is_unwind_map(&map("STARTS"), true));
    }

    #[test]
    fn the_summary_of_a_recording_is_read() {
        assert_eq!(taken_and_kept(r#"{"samples_taken": 5, "samples_stored": 4}"#).unwrap(), (5, 4));
        assert!(taken_and_kept("{}").unwrap_err().to_string().contains("samples_taken"));
    }
}
