//! DuckDB beside us: a Python that groups rows by node each time it is asked.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::Result;

/// A DuckDB that has one question.
pub(crate) struct DuckDb {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl DuckDb {
    /// Groups the rows of these files by node.
    pub(crate) fn start(samples: &str, threads: usize) -> Result<Self> {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = std::env::var_os("VESTA_TEST_PYTHON").map(PathBuf::from);
        let python = python.unwrap_or_else(|| package.join("../target/venv/bin/python"));
        let mut child = Command::new(&python)
            .arg(package.join("benches/measure/group_by_node.py"))
            .args([samples, &threads.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{} (run `cargo xtask setup`): {error}", python.display()))?;
        let input = child.stdin.take().ok_or("no input")?;
        let output = BufReader::new(child.stdout.take().ok_or("no output")?);
        Ok(Self { child, input, output })
    }

    /// Seconds that it took, and the samples it found.
    pub(crate) fn ask(&mut self) -> Result<(f64, u64)> {
        writeln!(self.input)?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let (seconds, samples) = line.trim().split_once(' ').ok_or("DuckDB gave no answer")?;
        Ok((seconds.parse()?, samples.parse()?))
    }

    pub(crate) fn finish(self) -> Result<()> {
        let Self { mut child, input, .. } = self;
        drop(input);
        child.wait()?;
        Ok(())
    }
}
