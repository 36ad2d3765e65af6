//! `vesta record`: one profile to a file, and what it says of itself.

mod summary;

use std::{
    fs::{self, File},
    io::{BufWriter, IsTerminal, Write},
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use store::model::Profile;
use ui::{
    render::{Format, RenderOptions, TopTable},
    truth::Truth,
};

use crate::{
    account,
    bpf::{SamplingOptions, Watched},
    capture::Progress,
    cli::RecordArgs,
    config::{self, DEFAULT_FREQUENCY_HZ},
    exit::{Code, Failure},
    kubernetes::Pods,
    pipeline::{Pipeline, PipelineOptions},
    processor::unix_ms,
    roles::{
        load, print_json, print_text,
        query::{is_stdout, show},
    },
    signals::StopRequest,
    sink::MergeSink,
};
use summary::{Summary, UnwindTablesSummary};

/// How long to record when nobody says.
const DEFAULT_DURATION: Duration = Duration::from_secs(10);
/// Rows of the table in the summary.
const TOP_ROWS: usize = 15;
/// Files behind incomplete stacks that the summary names for each reason.
const TOP_BEHIND: usize = 5;
/// How often the command and the signals are looked at.
const TICK: Duration = Duration::from_millis(20);
/// How long a command may take to end after SIGTERM.
const END_GRACE: Duration = Duration::from_secs(2);

/// Runs the command.
pub(crate) fn record(args: &RecordArgs) -> Result<(), Failure> {
    let to_stdout = args.output.as_deref().is_some_and(is_stdout);
    if args.json && to_stdout {
        return Err(Failure::usage("--json and --output - both want standard output"));
    }
    let output = args.output.as_deref().map(|path| Output::check(path, args.format)).transpose()?;
    for pid in &args.pid {
        check_process(*pid)?;
    }
    let kubernetes = config::kubernetes_of_flags(&args.kubernetes)?;
    let pods = kubernetes.as_ref().map(Pods::start).transpose().map_err(Failure::error)?;
    let stop = StopRequest::listen().map_err(Failure::error)?;
    let frequency_hz = args.frequency.unwrap_or(DEFAULT_FREQUENCY_HZ);
    let watched_only = !args.pid.is_empty() || !args.command.is_empty();
    let (mut program, origin) = load(
        SamplingOptions { frequency_hz, watched_only, measured: args.measure },
        args.labels.label.clone(),
    )?;
    let part_costs = program.part_costs();
    let mut watched = program.watched()?;
    for pid in &args.pid {
        watched.add(*pid)?;
    }
    let merged = MergeSink::new(output.as_ref().map(|output| output.format));
    let table_bytes = config::table_bytes_or_default(args.unwind_table_bytes);
    let table_cache = config::unwind_cache(&config::cache_dir(), args.unwind_cache_bytes);
    // As long as its samples can know their exact times: code that gets its names late gets them within a window.
    let window = Duration::from_secs(60);
    let labels = config::label_options(&args.labels, false, Vec::new());
    let options = PipelineOptions {
        window,
        log: None,
        table_bytes,
        table_cache,
        origin,
        labels,
        audit: false,
        fetcher: None,
        pods,
    };
    let start_ms = unix_ms();
    let pipeline = Pipeline::start(program, options, Box::new(merged.clone()))?;
    let mut command = start_command(&args.command, !args.json && !to_stdout, watched)?;
    let (info, progress) = (pipeline.info, pipeline.progress.clone());
    let ends = wait(args, &stop, &mut command, &progress);
    let account = pipeline.stop();
    let duration = Duration::from_nanos(progress.sampled_ns.load(Ordering::Relaxed));
    let profile = merged.take(start_ms, start_ms + duration.as_millis() as i64);
    if ends.interrupted && profile.rows.is_empty() {
        return Err(Failure::new(
            Code::Interrupted,
            "interrupted before a sample was taken; nothing is written",
        ));
    }
    if let Some(output) = &output {
        output.write(&profile)?;
    }
    let totals = account.totals();
    let truth = Truth::new(&profile, TOP_BEHIND);
    let summary = Summary {
        samples_taken: totals.samples_taken,
        samples_stored: totals.samples_stored,
        lost: totals.lost.clone(),
        user_stacks: totals.tally.user_stacks,
        complete: totals.tally.complete,
        incomplete: totals.tally.incomplete.clone(),
        incomplete_binaries: summary::binaries(&truth),
        duration_s: round(duration.as_secs_f64()),
        agent_cpu_s: round(account::cpu_seconds()),
        maps_reads: totals.processes.maps_reads,
        maps_read_s: round(totals.processes.maps_read_ns as f64 / 1e9),
        bpf_ns_per_sample: totals.bpf_ns_per_sample(),
        bpf_parts: part_costs.map(|costs| costs.read()).transpose()?.unwrap_or_default(),
        rss_bytes: account::Resident::now().all,
        missed_ticks: totals.missed_ticks,
        frequency_hz,
        event: info.event.name(),
        cpus: info.cpus,
        unwind_tables: UnwindTablesSummary::new(&totals.tables),
        output: args.output.clone(),
        command_exit: ends.command.map(|status| status.to_string()),
        top: TopTable::new(&profile, TOP_ROWS),
    };
    match to_stdout {
        // Standard output has the profile.
        true => tell_text(&summary.told(&truth)),
        false if args.json => print_json(&summary)?,
        false => print_text(&summary.told(&truth))?,
    }
    Ok(())
}

/// Whether there is such a process. What is sampled knows its process's id: by a thread's nothing would be recorded.
fn check_process(pid: u32) -> Result<(), Failure> {
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else {
        return Err(Failure::error(format_args!("there is no process {pid}")));
    };
    let process = status.lines().find_map(|line| line.strip_prefix("Tgid:")).map(str::trim);
    match process.and_then(|id| id.parse::<u32>().ok()) {
        Some(process) if process != pid => {
            Err(Failure::error(format_args!("{pid} is a thread of process {process}: record that one")))
        }
        _ => Ok(()),
    }
}

fn round(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

/// Tells what would be in the way of a profile on standard output.
fn tell_text(text: &str) {
    // Standard error may be closed; there is no one left to tell then.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Where the profile goes: checked before anything is recorded, written aside and renamed after.
struct Output {
    path: PathBuf,
    format: Format,
}

impl Output {
    fn check(path: &Path, format: Option<Format>) -> Result<Self, Failure> {
        let format = format.map_or_else(|| Format::from_path(path), Ok).map_err(Failure::usage)?;
        if is_stdout(path) {
            return Ok(Self { path: path.to_owned(), format });
        }
        let folder = folder_of(path);
        if !folder.is_dir() {
            return Err(Failure::error(format_args!("{} cannot be written: no such folder", path.display())));
        }
        if path.is_dir() {
            return Err(Failure::error(format_args!("{} cannot be written: it is a folder", path.display())));
        }
        Ok(Self { path: path.to_owned(), format })
    }

    fn write(&self, profile: &Profile) -> Result<(), Failure> {
        show(profile, self.format, Some(&self.path))
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes a profile so that the file is either the old one or the whole new one.
pub(super) fn write_profile(path: &Path, format: Format, profile: &Profile) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::write(path, &error);
    // A device or a pipe is written to directly.
    if path.exists() && !path.is_file() {
        let mut out = BufWriter::new(File::create(path).map_err(failed)?);
        return format
            .write(profile, &RenderOptions::default(), &mut out)
            .and_then(|()| out.flush())
            .map_err(failed);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = folder_of(path).join(format!(".{name}.{}.tmp", std::process::id()));
    let written = File::create(&aside).and_then(|file| {
        let mut out = BufWriter::new(file);
        format.write(profile, &RenderOptions::default(), &mut out)?;
        out.into_inner()?.sync_all()?;
        fs::rename(&aside, path)
    });
    written.map_err(|error| {
        // What could not be finished is of no use.
        let _ = fs::remove_file(&aside);
        failed(error)
    })
}

/// A command that was started.
struct Started {
    child: Child,
    ended: Option<ExitStatus>,
}

/// Starts the command under the eyes of the program that is already sampling: its first instruction counts. Without standard output,
/// which has the profile or the figures then, it writes to standard error.
fn start_command(
    command: &[String],
    has_stdout: bool,
    mut watched: Watched,
) -> Result<Option<Started>, Failure> {
    let Some((name, arguments)) = command.split_first() else { return Ok(None) };
    let us = std::process::id();
    watched.watch_children_of(us)?;
    let mut command = Command::new(name);
    command.args(arguments);
    if !has_stdout {
        // Where standard error is closed there is none for it either.
        command.stdout(
            std::io::stderr().as_fd().try_clone_to_owned().map_or_else(|_| Stdio::null(), Stdio::from),
        );
    }
    let child = command.spawn();
    watched.remove(us)?;
    let child = child
        .map_err(|error| Failure::error(format_args!("the command {name} cannot be started: {error}")))?;
    Ok(Some(Started { child, ended: None }))
}

impl Started {
    fn has_ended(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended.is_some()
    }
}

/// Asks the command to end, then makes it.
fn end_command(command: &mut Started) {
    if command.has_ended() {
        return;
    }
    if let Some(pid) = rustix::process::Pid::from_raw(command.child.id() as i32) {
        // It may end by itself at this very moment.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    let asked = Instant::now();
    while !command.has_ended() && asked.elapsed() < END_GRACE {
        thread::sleep(TICK);
    }
    if !command.has_ended() {
        let _ = command.child.kill();
        command.ended = command.child.wait().ok();
    }
}

/// How the recording ended.
struct Ends {
    interrupted: bool,
    command: Option<ExitStatus>,
}

fn wait(args: &RecordArgs, stop: &StopRequest, command: &mut Option<Started>, progress: &Progress) -> Ends {
    let duration = match (args.duration, &command) {
        (Some(duration), _) => duration.0,
        (None, Some(_)) => Duration::MAX,
        (None, None) => DEFAULT_DURATION,
    };
    let (started, mut shown) = (Instant::now(), ProgressLine::new(args.json));
    while started.elapsed() < duration && !stop.requested() {
        let all_gone =
            !args.pid.is_empty() && args.pid.iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists());
        if all_gone || command.as_mut().is_some_and(Started::has_ended) {
            break;
        }
        shown.update(started.elapsed(), duration, progress);
        thread::sleep(TICK.min(duration.saturating_sub(started.elapsed())));
    }
    shown.clear();
    command.iter_mut().for_each(end_command);
    Ends { interrupted: stop.requested(), command: command.as_ref().and_then(|command| command.ended) }
}

/// One line on a terminal's standard error, twice a second.
struct ProgressLine {
    on: bool,
    last: Option<Instant>,
}

impl ProgressLine {
    fn new(quiet: bool) -> Self {
        Self { on: !quiet && std::io::stderr().is_terminal(), last: None }
    }

    fn update(&mut self, elapsed: Duration, of: Duration, progress: &Progress) {
        if !self.on || self.last.is_some_and(|last| last.elapsed() < Duration::from_millis(500)) {
            return;
        }
        self.last = Some(Instant::now());
        let (taken, lost) = (progress.taken.load(Ordering::Relaxed), progress.lost.load(Ordering::Relaxed));
        let of = if of == Duration::MAX { String::new() } else { format!(" of {:.0}", of.as_secs_f64()) };
        let seconds = elapsed.as_secs_f64();
        let _ = write!(
            std::io::stderr(),
            // Cut at the edge of a narrow terminal: a second line would stay there.
            "\r\x1b[K\x1b[?7lrecording {seconds:.1}{of} s · {taken} samples · {lost} lost · Ctrl-C ends and writes\x1b[?7h"
        );
    }

    fn clear(&self) {
        if self.on && self.last.is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
