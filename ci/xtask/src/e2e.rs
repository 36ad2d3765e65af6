//! The end-to-end suite: a real Vesta samples this machine while a known program burns CPU, and a browser looks at it.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use testprogs::{Program, Variant};

use crate::process::{as_root, line, run, say};
use crate::{page, paths};

/// How Vesta says where its page is.
const ADDRESS_LINE: &str = "Vesta is at http://";
/// Loading BPF, symbols of the kernel and binding take about a second; this is for a machine under load.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Two windows of ten seconds, and time to write them.
const DATA_LIMIT: Duration = Duration::from_secs(60);
/// The open window is written within this, or SIGTERM does not end Vesta cleanly.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// Longer than the browser's tests take.
const LOAD_SECONDS: &str = "600";
/// Frames of stacks that are cut at the limit of 1,024, for the page to tell of; seconds of them.
const DEEP: [&str; 2] = ["5000", "10"];

/// Runs the page's browser tests against a Vesta of this checkout.
pub(crate) fn test() -> Result<()> {
    let folder = paths::target().join(format!("e2e-{}", std::process::id()));
    let artifacts = paths::artifacts();
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    fs::create_dir_all(&artifacts).with_context(|| format!("cannot create {}", artifacts.display()))?;
    // It takes what is left: tests that wait for a CPU take longer, and see nothing more.
    let mut load = Command::new("nice");
    load.args(["-n", "19"]).arg(testprogs::build(Program::Shares, Variant::FramePointers)).arg(LOAD_SECONDS);
    let load = Running(load.spawn().context("cannot start the load")?);
    let outcome = with_vesta(&folder, &artifacts);
    drop(load);
    // What root has written, only root can remove.
    let removed = run(as_root("rm").arg("-rf").arg(&folder));
    outcome.and(removed)
}

fn with_vesta(folder: &Path, artifacts: &Path) -> Result<()> {
    let mut vesta = Vesta::start(folder, &artifacts.join("vesta.log"))?;
    let tested = vesta.address(START_LIMIT).and_then(|address| {
        let deep =
            Command::new(testprogs::build(Program::Recursion, Variant::FramePointers)).args(DEEP).spawn();
        let deep = Running(deep.context("cannot start the deep stacks")?);
        for program in [Program::Shares, Program::Recursion] {
            wait_for_process(&address, program.name())?;
        }
        drop(deep);
        let mut browser = page::npm(&["run", "e2e"]);
        browser.env("VESTA_URL", format!("http://{address}"));
        browser.env("VESTA_E2E_PROCESS", Program::Shares.name());
        browser.env("VESTA_E2E_DEEP", Program::Recursion.name()).env("VESTA_ARTIFACTS", artifacts);
        run(&mut browser)
    });
    // A Vesta that does not end cleanly is a failure of its own, but the first one explains more.
    let stopped = vesta.stop();
    tested.and(stopped)
}

/// A process that does not outlive us, whatever fails in between.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        if !matches!(self.0.try_wait(), Ok(Some(_))) {
            // An error means that it is sudo's: it has been asked to end, and waiting could take for ever.
            if self.0.kill().is_ok() {
                let _ = self.0.wait();
            }
        }
    }
}

/// `vesta run` with its page on a free port.
struct Vesta {
    process: Running,
    addresses: Receiver<String>,
}

impl Vesta {
    fn start(data: &Path, log: &Path) -> Result<Vesta> {
        let mut command = as_root(paths::target().join("debug/vesta"));
        command.args(["run", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data.join("data"));
        say(&format!("starting {}", line(&command)));
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start `{}`", line(&command)))?;
        let log = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
        let stdout = child.stdout.take().context("no standard output")?;
        let (sender, addresses) = channel();
        std::thread::spawn(move || follow(stdout, log, &sender));
        Ok(Vesta { process: Running(child), addresses })
    }

    /// Host and port of the page, once Vesta has said them.
    fn address(&mut self, limit: Duration) -> Result<String> {
        match self.addresses.recv_timeout(limit) {
            Ok(address) => Ok(address),
            Err(RecvTimeoutError::Timeout) => bail!("Vesta did not say `{ADDRESS_LINE}…` within {limit:?}"),
            Err(RecvTimeoutError::Disconnected) => {
                let status = self.process.0.wait().context("cannot wait for Vesta")?;
                bail!("Vesta ended before it said where its page is ({status})")
            }
        }
    }

    /// Ends it by SIGTERM, which it must answer with exit code 0.
    fn stop(&mut self) -> Result<()> {
        let pid = self.process.0.id().to_string();
        // The shell's own `kill`: the program of that name is not part of every system. sudo hands the signal on.
        run(as_root("sh").args(["-c", "kill -TERM \"$0\"", &pid]))?;
        let deadline = Instant::now() + STOP_LIMIT;
        loop {
            match self.process.0.try_wait().context("cannot wait for Vesta")? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("Vesta answered SIGTERM with {status}, not with exit code 0"),
                None if Instant::now() > deadline => {
                    bail!("Vesta did not end within {STOP_LIMIT:?} of SIGTERM")
                }
                None => sleep(Duration::from_millis(50)),
            }
        }
    }
}

/// Copies what Vesta prints to our output and the log, and sends on the address.
fn follow(stdout: ChildStdout, mut log: File, addresses: &Sender<String>) {
    for text in BufReader::new(stdout).lines().map_while(Result::ok) {
        println!("vesta: {text}");
        // A log that cannot be written is no reason to stop reading: Vesta would block on a full pipe.
        let _ = writeln!(log, "{text}");
        if let Some(address) = address_in(&text) {
            let _ = addresses.send(address.to_owned());
        }
    }
}

/// `127.0.0.1:4040` in `Vesta is at http://127.0.0.1:4040`.
fn address_in(text: &str) -> Option<&str> {
    let rest = &text[text.find(ADDRESS_LINE)? + ADDRESS_LINE.len()..];
    let address = rest.split(|c: char| c == '/' || c.is_whitespace()).next()?;
    (!address.is_empty()).then_some(address)
}

/// Waits until the page could show this process.
fn wait_for_process(address: &str, process: &str) -> Result<()> {
    let deadline = Instant::now() + DATA_LIMIT;
    loop {
        let answer = get(address, "/api/v1/labels/process/values?from=-5m");
        match &answer {
            Ok(body) if has_value(body, process) => return Ok(()),
            _ if Instant::now() < deadline => sleep(Duration::from_millis(500)),
            Ok(body) => bail!("no samples of {process} within {DATA_LIMIT:?}; last answer: {body}"),
            Err(error) => bail!("Vesta did not answer within {DATA_LIMIT:?}: {error:#}"),
        }
    }
}

fn has_value(body: &Value, wanted: &str) -> bool {
    let values = body["values"].as_array();
    values.is_some_and(|values| values.iter().any(|value| value["value"] == wanted && value["samples"] != 0))
}

/// A GET, in the few lines that one answer from this machine takes.
fn get(address: &str, path: &str) -> Result<Value> {
    let mut stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    // HTTP/1.0: the answer is whole when the connection ends, and is not sent in chunks.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    body_of(&String::from_utf8_lossy(&answer))
}

fn body_of(answer: &str) -> Result<Value> {
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer without a body")?;
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        bail!("{status}: {body}");
    }
    serde_json::from_str(body).with_context(|| format!("not JSON: {body}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_the_line_that_names_the_page() {
        assert_eq!(address_in("Vesta is at http://127.0.0.1:4040"), Some("127.0.0.1:4040"));
        assert_eq!(address_in("  Vesta is at http://[::1]:80/ now"), Some("[::1]:80"));
        assert_eq!(address_in("sampling at 99 Hz"), None);
    }

    #[test]
    fn a_process_counts_only_with_samples() {
        let body = serde_json::json!({"values": [{"value": "shares", "samples": 3}, {"value": "idle", "samples": 0}]});
        assert!(has_value(&body, "shares"));
        assert!(!has_value(&body, "idle"));
        assert!(!has_value(&Value::Null, "shares"));
    }

    #[test]
    fn an_answer_that_is_an_error_is_shown() {
        assert_eq!(body_of("HTTP/1.0 200 OK\r\nA: b\r\n\r\n{}").unwrap(), serde_json::json!({}));
        let error = body_of("HTTP/1.0 500 Oh\r\n\r\n{\"error\":\"no\"}").unwrap_err().to_string();
        assert!(error.contains("500 Oh") && error.contains("no"), "{error}");
    }
}
