//! `cargo xtask bench unwind-build`: what compiling unwind tables takes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::table::Table;
use super::vesta;
use crate::paths;
use crate::process::{line, output, run as run_command, say};

pub(crate) const HELP: &str = "\
Compiles the unwind tables of some well-known files, and of a program with 5 million rows, by `vesta debug unwind-table
--stats`, and prints rows, bytes, CPU time and the most memory that the process had. Well-known files that this machine
lacks are left out.

Usage: cargo xtask bench unwind-build [OPTIONS] [FILE]...

Options:
  --vesta FILE   the binary [default: target/release/vesta, built first]
  --markdown     print the table as docs/benchmarks.md has it

Needs GNU time (Debian: time), and gcc for the program with many rows.";

/// How often each file is compiled; the least CPU time counts, for what is more was other programs' doing.
const TURNS: usize = 5;
/// Entries of the program with 5 million rows, of 20 rows each.
const MANY_ENTRIES: u32 = 250_000;

/// What is measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Options {
    vesta: Option<PathBuf>,
    markdown: bool,
    /// Empty for the well-known ones.
    files: Vec<PathBuf>,
}

impl Options {
    /// Reads the arguments after `bench unwind-build`; the error is for the user.
    pub(crate) fn parse(arguments: &[String]) -> Result<Options, String> {
        let mut options = Options::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--markdown" => options.markdown = true,
                "--vesta" => options.vesta = Some(arguments.next().ok_or("`--vesta` wants a value")?.into()),
                option if option.starts_with('-') => {
                    return Err(format!(
                        "unexpected `{option}`; see `cargo xtask bench unwind-build --help`"
                    ));
                }
                file => options.files.push(file.into()),
            }
        }
        Ok(options)
    }
}

/// Runs the bench.
pub(crate) fn run(options: &Options) -> Result<()> {
    if paths::program("time").is_none() {
        bail!("missing on this machine; type\n  apt-get install --no-install-recommends time");
    }
    let vesta = vesta(options.vesta.as_deref())?;
    let folder = paths::target().join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut files = options.files.clone();
    if files.is_empty() {
        files = well_known();
        files.push(many_rows(&folder)?);
    }
    let mut rows = Vec::new();
    for file in &files {
        say(&file.display().to_string());
        rows.push(cells(file, &measure(&vesta, file, &folder)?));
    }
    let header =
        ["file", "rows", "bytes a row", ".eh_frame, MB", "CPU, ms", "million rows a second", "memory, MB"];
    let header = header.map(String::from).into();
    let table = Table { title: "Compiling unwind tables".into(), header, rows };
    println!("\n{}", if options.markdown { table.markdown() } else { table.text() });
    Ok(())
}

/// Files that people know, small ones first.
fn well_known() -> Vec<PathBuf> {
    let asked = |program: &str, question: &str| {
        output(Command::new(program).args(question.split(' '))).map(|answer| PathBuf::from(answer.trim()))
    };
    let libraries = Path::new("/usr/lib/x86_64-linux-gnu");
    let files = [
        Some(libraries.join("libc.so.6")),
        paths::program("redis-server"),
        Some("/usr/bin/python3".into()),
        paths::program("node"),
        asked("gcc", "-print-prog-name=cc1"),
        of_name(libraries, "libLLVM"),
        asked("rustc", "--print sysroot").and_then(|root| of_name(&root.join("lib"), "librustc_driver")),
    ];
    files.into_iter().flatten().filter(|file| file.is_file()).collect()
}

/// The last by name of the files in a folder whose names begin so.
fn of_name(folder: &Path, start: &str) -> Option<PathBuf> {
    let files = fs::read_dir(folder).ok()?.flatten();
    files.filter(|file| file.file_name().to_string_lossy().starts_with(start)).map(|file| file.path()).max()
}

fn many_rows(folder: &Path) -> Result<PathBuf> {
    let program = folder.join("five-million-rows");
    if !program.exists() {
        let mut gcc = Command::new("gcc");
        gcc.arg(format!("-DENTRIES={MANY_ENTRIES}"))
            .arg(paths::root().join("profiler-agent/tests/e2e/many_rows.c"));
        run_command(gcc.arg("-o").arg(&program))?;
    }
    Ok(program)
}

/// One file, compiled.
#[derive(Clone, Debug, Default, PartialEq)]
struct Built {
    rows: u64,
    bytes: u64,
    eh_frame_bytes: u64,
    cpu_seconds: f64,
    /// Of the whole process, at its peak.
    resident_bytes: u64,
}

fn measure(vesta: &Path, file: &Path, folder: &Path) -> Result<Built> {
    let mut best: Option<Built> = None;
    for _ in 0..TURNS {
        let built = once(vesta, file, &folder.join("time.out"))?;
        let is_better = best.as_ref().is_none_or(|best| built.cpu_seconds < best.cpu_seconds);
        if is_better {
            best = Some(built);
        }
    }
    best.context("no turn was taken")
}

fn once(vesta: &Path, file: &Path, peak: &Path) -> Result<Built> {
    let mut time = Command::new("time");
    time.args(["--format", "%M", "--output"]).arg(peak).arg(vesta);
    time.args(["debug", "unwind-table", "--stats", "--json"]).arg(file);
    let text = output(&mut time).with_context(|| format!("`{}` failed", line(&time)))?;
    let kibibytes = fs::read_to_string(peak).with_context(|| format!("cannot read {}", peak.display()))?;
    built(&text, &kibibytes).with_context(|| format!("`{}` printed {text}", line(&time)))
}

fn built(stats: &str, peak_kibibytes: &str) -> Option<Built> {
    let stats: Value = serde_json::from_str(stats).ok()?;
    Some(Built {
        rows: stats["rows"].as_u64()?,
        bytes: stats["bytes"].as_u64()?,
        eh_frame_bytes: stats["eh_frame_bytes"].as_u64()?,
        cpu_seconds: stats["build_cpu_s"].as_f64()?,
        resident_bytes: peak_kibibytes.trim().parse::<u64>().ok()? * 1024,
    })
}

fn cells(file: &Path, built: &Built) -> Vec<String> {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    vec![
        name,
        built.rows.to_string(),
        format!("{:.3}", built.bytes as f64 / built.rows.max(1) as f64),
        format!("{:.2}", built.eh_frame_bytes as f64 / 1e6),
        format!("{:.1}", built.cpu_seconds * 1e3),
        format!("{:.1}", built.rows as f64 / built.cpu_seconds.max(1e-6) / 1e6),
        format!("{:.0}", built.resident_bytes as f64 / 1e6),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_or_well_known() {
        let parsed =
            |line: &str| Options::parse(&line.split_whitespace().map(String::from).collect::<Vec<_>>());
        assert_eq!(parsed(""), Ok(Options::default()));
        let options = parsed("/bin/a --markdown --vesta v b").unwrap();
        assert_eq!(options.files, [PathBuf::from("/bin/a"), PathBuf::from("b")]);
        assert!(options.markdown && options.vesta == Some("v".into()));
        assert!(parsed("--nonsense").unwrap_err().contains("`--nonsense`"));
        assert!(parsed("--vesta").unwrap_err().contains("--vesta"));
        // Everybody who can build this has a C library.
        assert!(well_known()[0].to_string_lossy().contains("libc"));
    }

    #[test]
    fn figures_are_read_and_shown() {
        let stats = r#"{"rows":1000,"bytes":2500,"eh_frame_bytes":6000,"build_cpu_s":0.002,"rules":5}"#;
        let built = built(stats, "2000\n").unwrap();
        assert_eq!(built.resident_bytes, 2_048_000);
        let cells = cells(Path::new("/usr/bin/x"), &built);
        assert_eq!(cells, ["x", "1000", "2.500", "0.01", "2.0", "0.5", "2"]);
        assert_eq!(super::built("{}", "1"), None);
    }
}
