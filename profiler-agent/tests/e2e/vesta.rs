//! Running `vesta`, and reading what it writes.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use pprof::protos::{Message, Profile};
use serde_json::Value;

/// One recording at a time: they share two cores, and shares are measured.
pub(crate) fn quiet() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    assert!(
        rustix::process::geteuid().is_root(),
        "these tests load BPF programs: run `cargo xtask test`, or as root"
    );
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `vesta` with these arguments, away from any configuration of this machine.
pub(crate) fn vesta(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vesta"));
    command.args(args);
    for name in [
        "CONFIG",
        "DATA_DIR",
        "LISTEN",
        "FREQUENCY",
        "RETENTION",
        "RETENTION_BYTES",
        "WINDOW",
        "SYNC",
        "COARSEN",
        "UNWIND_TABLE_BYTES",
        "UNWIND_CACHE_BYTES",
        "ALLOW_ORIGIN",
        "STORE",
        "STORE_CACHE_BYTES",
        "COMMAND_LINE",
        "DEBUGINFOD",
        "DEBUGINFOD_CACHE_BYTES",
        "REDACT",
        "LOG",
    ] {
        command.env_remove(format!("VESTA_{name}"));
    }
    command.env_remove("DEBUGINFOD_URLS");
    command.env("XDG_CACHE_HOME", concat!(env!("CARGO_TARGET_TMPDIR"), "/cache"));
    command
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs to the end; panics with everything it said if the exit code is another.
pub(crate) fn run(args: &[&str], code: i32) -> Output {
    let output = vesta(args).output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(code),
        "vesta {args:?}\n{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    output
}

/// What a recording left behind.
pub(crate) struct Recording {
    pub(crate) summary: Value,
    pub(crate) stacks: Vec<Stack>,
}

/// One folded line: frames from the root, the process first.
pub(crate) struct Stack {
    pub(crate) process: String,
    pub(crate) frames: Vec<String>,
    pub(crate) samples: u64,
}

impl Stack {
    pub(crate) fn has(&self, function: &str) -> bool {
        self.frames.iter().any(|frame| plain(frame) == function)
    }

    /// Whether no caller is missing, as the stack itself says.
    pub(crate) fn is_whole(&self) -> bool {
        self.mark().is_none()
    }

    /// The reason of the mark that stands where callers are missing.
    pub(crate) fn mark(&self) -> Option<&'static str> {
        let codes = ui::truth::reasons::INCOMPLETE.iter().map(|reason| reason.code);
        codes.into_iter().find(|code| self.frames.contains(&mark(code)))
    }

    /// Whether the caller of this function is missing, for this reason.
    pub(crate) fn is_cut_at(&self, reason: &str, function: &str) -> bool {
        self.frames.windows(2).any(|pair| pair[0] == mark(reason) && plain(&pair[1]) == function)
    }
}

/// The frame that stands for a reason.
fn mark(reason: &str) -> String {
    format!("[{}]", reason.replace('_', " "))
}

/// A frame's function, without the mark of its kind.
pub(crate) fn plain(frame: &str) -> &str {
    ["_[k]", "_[i]", "_[j]"].iter().find_map(|mark| frame.strip_suffix(mark)).unwrap_or(frame)
}

impl Recording {
    pub(crate) fn samples(&self, wanted: impl Fn(&Stack) -> bool) -> u64 {
        self.stacks.iter().filter(|stack| wanted(stack)).map(|stack| stack.samples).sum()
    }

    pub(crate) fn number(&self, key: &str) -> u64 {
        self.summary[key].as_u64().unwrap_or_else(|| panic!("{key} in {}", self.summary))
    }

    pub(crate) fn show(&self) -> String {
        self.stacks.iter().map(|s| format!("{} {};{}\n", s.samples, s.process, s.frames.join(";"))).collect()
    }
}

/// Folded stacks of a file.
pub(crate) fn folded(text: &str) -> Vec<Stack> {
    text.lines()
        .map(|line| {
            let (stack, samples) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no folded line: {line}"));
            let mut frames = stack.split(';').map(str::to_owned);
            Stack {
                process: frames.next().unwrap_or_default(),
                frames: frames.collect(),
                samples: samples.parse().unwrap_or_else(|_| panic!("no folded line: {line}")),
            }
        })
        .collect()
}

/// Records to folded stacks.
pub(crate) fn record(args: &[&str], command: &[&str]) -> Recording {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("out.folded");
    let mut all = vec!["record", "--json", "--output", file.to_str().unwrap()];
    all.extend(args);
    if !command.is_empty() {
        all.push("--");
        all.extend(command);
    }
    let output = run(&all, 0);
    let summary: Value = serde_json::from_slice(&last_line(&output.stdout))
        .unwrap_or_else(|error| panic!("no summary ({error}) in {}", text(&output.stdout)));
    Recording { summary, stacks: folded(&std::fs::read_to_string(file).unwrap()) }
}

/// The command under test may print, too; the summary is the last line.
fn last_line(bytes: &[u8]) -> Vec<u8> {
    bytes.trim_ascii_end().rsplit(|byte| *byte == b'\n').next().unwrap_or_default().to_vec()
}

/// A decoded pprof file.
pub(crate) fn pprof(path: &Path) -> Profile {
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
    Profile::decode(&*bytes).unwrap()
}

/// `go tool pprof`'s output.
pub(crate) fn go_pprof(args: &[&str]) -> String {
    let output = Command::new("go").args(["tool", "pprof"]).args(args).output();
    let output =
        output.unwrap_or_else(|error| panic!("go cannot be started ({error}): run `cargo xtask setup`"));
    assert!(output.status.success(), "go tool pprof {args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Test program, as a string for command lines.
pub(crate) fn program(program: testprogs::Program, variant: testprogs::Variant) -> String {
    testprogs::build(program, variant).to_str().unwrap().to_owned()
}

/// A `vesta run` at work; killed if a test fails before it ends it.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
}

impl Server {
    /// Starts on a free port and waits until it serves.
    pub(crate) fn start(data_dir: &Path, args: &[&str]) -> Self {
        Self::start_with(data_dir, args, &[])
    }

    /// The same with these variables in its environment.
    pub(crate) fn start_with(data_dir: &Path, args: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command =
            vesta(&["run", "--json", "--listen", "127.0.0.1:0", "--data-dir", data_dir.to_str().unwrap()]);
        command.envs(variables.iter().copied());
        let mut child = command.args(args).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let started: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        Self { child, url: started["url"].as_str().unwrap().to_owned() }
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// GET of a path; status and body.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let config = ureq::Agent::config_builder().http_status_as_error(false);
        let agent: ureq::Agent = config.timeout_global(Some(Duration::from_secs(30))).build().into();
        let mut response = agent.get(format!("{}{path}", self.url)).call().unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    }

    pub(crate) fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
    }

    /// Metrics by name and labels.
    pub(crate) fn metrics(&self) -> BTreeMap<String, f64> {
        let (_, body) = self.get("/metrics");
        let lines = body.lines().filter(|line| !line.starts_with('#'));
        lines
            .map(|line| {
                let (name, value) = line.rsplit_once(' ').unwrap();
                (name.to_owned(), value.parse().unwrap())
            })
            .collect()
    }

    /// Waits until something holds, for at most 40 s.
    pub(crate) fn wait(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let started = Instant::now();
        while !holds(self) {
            assert!(started.elapsed() < Duration::from_secs(40), "in vain: {what}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Ends it as nobody can prepare for.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it as a service manager does; the exit code.
    pub(crate) fn end(mut self) -> Option<i32> {
        signal(self.child.id(), rustix::process::Signal::TERM);
        let status = self.child.wait().unwrap();
        status.code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ended already if the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// A child of the test that is killed at its end.
pub(crate) struct Background(pub(crate) Child);

impl Background {
    pub(crate) fn start(program: &str, args: &[&str]) -> Self {
        Self(Command::new(program).args(args).stdout(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Folder of golden files.
pub(crate) fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/help").join(name)
}
