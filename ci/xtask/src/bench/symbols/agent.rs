//! `vesta run` at work on a data directory of its own, and what it uses.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::process::{line, output};

/// How long it may take to start, and to end.
const GRACE: Duration = Duration::from_secs(60);
/// `/proc` counts CPU time in these, whatever the kernel's own tick is.
const TICKS_PER_SECOND: f64 = 100.0;

/// An agent; killed when it is dropped before its end.
pub(super) struct Agent {
    child: Child,
    vesta: PathBuf,
    data: PathBuf,
    /// Host and port.
    address: String,
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Used {
    /// CPU seconds in user code.
    pub(super) user: f64,
    /// CPU seconds in the kernel.
    pub(super) system: f64,
    /// Resident bytes now.
    pub(super) resident: u64,
}

impl Used {
    /// Of this process, now.
    pub(super) fn of(pid: u32) -> Option<Used> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let (user, system) = cpu(&stat)?;
        Some(Used { user, system, resident: resident(&status)? })
    }
}

fn cpu(stat: &str) -> Option<(f64, f64)> {
    // The name stands in parentheses, and may hold any character.
    let after_name = &stat[stat.rfind(')')? + 1..];
    let mut fields = after_name.split_whitespace().skip(11).map_while(|word| word.parse::<f64>().ok());
    Some((fields.next()? / TICKS_PER_SECOND, fields.next()? / TICKS_PER_SECOND))
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

impl Agent {
    /// Starts it on an empty data directory, and waits until it serves.
    pub(super) fn start(vesta: &Path, folder: &Path) -> Result<Agent> {
        let data = folder.join("symbols-data");
        if data.exists() {
            fs::remove_dir_all(&data).with_context(|| format!("cannot remove {}", data.display()))?;
        }
        let mut command = Command::new(vesta);
        command.args(["run", "--json", "--listen", "127.0.0.1:0", "--data-dir"]).arg(&data);
        let log = folder.join("symbols-agent.err");
        let log = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().with_context(|| format!("cannot start `{}`", line(&command)))?;
        let mut said = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut said).context("cannot read what vesta prints")?;
        }
        let url = serde_json::from_str::<Value>(&said).ok();
        let url = url.as_ref().and_then(|said| said["url"].as_str()?.strip_prefix("http://"));
        let Some(address) = url.map(str::to_owned) else {
            let _ = child.kill();
            let _ = child.wait();
            bail!("`{}` does not start; symbols-agent.err says why", line(&command));
        };
        Ok(Agent { child, vesta: vesta.to_owned(), data, address })
    }

    /// What it has used.
    pub(super) fn used(&self) -> Result<Used> {
        Used::of(self.child.id()).context("vesta is gone; symbols-agent.err may say why")
    }

    /// Its metrics, by name and labels.
    pub(super) fn metrics(&self) -> Result<BTreeMap<String, f64>> {
        let body = get(&self.address, "/metrics")?;
        Ok(metrics(&body))
    }

    /// One metric.
    pub(super) fn metric(&self, name: &str) -> Result<f64> {
        self.metrics()?.get(name).copied().with_context(|| format!("vesta has no metric {name}"))
    }

    /// All stacks since `seconds` ago, as folded lines.
    pub(super) fn folded(&self, seconds: u64) -> Result<String> {
        let mut command = Command::new(&self.vesta);
        command.args(["query", "--format", "folded", "--from", &format!("-{seconds}s"), "--server"]);
        command.arg(format!("http://{}", self.address));
        output(&mut command).with_context(|| format!("`{}` failed", line(&command)))
    }

    /// Waits until all that was sampled by now is stored.
    pub(super) fn settle(&self) {
        // A part goes to the log each second; two more for a loaded machine.
        sleep(Duration::from_secs(3));
    }

    /// Ends it.
    pub(super) fn end(mut self) -> Result<()> {
        let pid = self.child.id().to_string();
        output(Command::new("kill").args(["-TERM", &pid])).context("`kill` failed")?;
        let start = Instant::now();
        while self.child.try_wait()?.is_none() {
            if start.elapsed() > GRACE {
                bail!("vesta does not end");
            }
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // It has failed already; the reason is on its way to the user.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        let _ = fs::remove_dir_all(&self.data);
    }
}

/// The body of a GET by HTTP/1.0.
fn get(address: &str, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).with_context(|| format!("cannot reach {address}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).with_context(|| format!("{address} does not answer"))?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer by HTTP")?;
    if head.split_whitespace().nth(1).is_none_or(|status| status != "200") {
        bail!("{path}: {head}");
    }
    Ok(body.to_owned())
}

fn metrics(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.rsplit_once(' '));
    pairs.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_kernel_time_are_kept_apart() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 1 2 3 4 150 50 10 5 20 0 1 0 100 1 1";
        assert_eq!(cpu(stat), Some((1.5, 0.5)));
        assert_eq!(resident("VmHWM:\t 90 kB\nVmRSS:\t  12 kB\n"), Some(12_288));
    }

    #[test]
    fn metrics_are_read_with_their_labels() {
        let read = metrics("# HELP x y\nx{a=\"b c\"} 4\ny 1.5\nnonsense\n");
        assert_eq!(read.get("x{a=\"b c\"}"), Some(&4.0));
        assert_eq!(read.len(), 2);
    }
}
