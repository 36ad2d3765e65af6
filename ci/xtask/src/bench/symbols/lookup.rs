//! What looking up names costs: addresses of the C library with the functions inlined there, by us, by blazesym's own
//! command line tool and by llvm-symbolizer, each a process of its own that reads the debug info anew.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use object::{Object as _, ObjectSymbol as _, SymbolKind};
use serde_json::Value;

use super::super::unwind::table::Table;
use super::agent::Used;
use super::{Bench, Goal, goals};
use crate::paths;
use crate::process::{cargo, line, output, run, say};

/// The version that is measured against.
const BLAZECLI: &str = "0.1.14";
const ADDRESSES: usize = 10_000;
/// Each this often, by turns; the kernel counts CPU time in hundredths of a second, so that it is that of all rounds.
const ROUNDS: usize = 20;

/// Measures it.
pub(super) fn measure(bench: &Bench<'_>, blazecli: Option<&Path>) -> Result<Table> {
    let library = c_library()?;
    let addresses = addresses(&library)?;
    let list = bench.folder.join("addresses");
    let text: String = addresses.iter().map(|address| format!("{address:#x}\n")).collect();
    fs::write(&list, &text).with_context(|| format!("cannot write {}", list.display()))?;
    let blazecli = match blazecli {
        Some(path) => path.to_owned(),
        None => install_blazecli()?,
    };
    let words = addresses.iter().map(|address| format!("{address:#x}"));
    let mut blaze = vec!["symbolize".to_owned(), "elf".to_owned(), "--path".to_owned()];
    blaze.push(library.display().to_string());
    blaze.extend(words);
    let llvm = ["--inlines", "--debug-file-directory=/usr/lib/debug", "--obj"].map(str::to_owned);
    let llvm = [&llvm[..], &[library.display().to_string()]].concat();
    let ours = ["debug", "names", "--stats", "--json", "--addresses", "-"].map(str::to_owned);
    let ours = [&ours[..], &[library.display().to_string()]].concat();
    let (mut sums, mut last) = ([0.0; 3], Value::Null);
    say(&format!("{ROUNDS} rounds"));
    for _ in 0..ROUNDS {
        let runs: [(&Path, &[String]); 3] =
            [(&bench.vesta, &ours), (&blazecli, &blaze), (Path::new("llvm-symbolizer"), &llvm)];
        for (at, (program, arguments)) in runs.into_iter().enumerate() {
            let out = bench.folder.join("names.out");
            sums[at] += timed(program, arguments, &list, &out)?;
            if at == 0 {
                let said = fs::read_to_string(&out)?;
                last = serde_json::from_str(&said).with_context(|| format!("vesta printed {said}"))?;
            }
        }
    }
    let number = |key: &str| last[key].as_f64().with_context(|| format!("vesta does not say `{key}`"));
    let [us, blaze, llvm] = sums.map(|seconds| seconds * 1e3 / ROUNDS as f64);
    let again = number("again_cpu_s")? * 1e3;
    Ok(goals(
        format!("{ADDRESSES} addresses of {}, CPU time of the process", library.display()),
        vec![
            Goal::plain("addresses with a name, and functions inlined there", {
                format!("{} and {}", number("named")?, number("inlined")?)
            }),
            Goal::plain("vesta, cold", format!("{us:.0} ms")),
            Goal::plain("blazecli, cold", format!("{blaze:.0} ms")),
            Goal::plain("llvm-symbolizer, cold", format!("{llvm:.0} ms")),
            Goal::at_most("vesta / blazecli", us / blaze, 1.1, "", 2),
            Goal::at_most("vesta / llvm-symbolizer", us / llvm, 0.7, "", 2),
            Goal::at_most(format!("second pass ({again:.2} ms) / first"), again / us, 0.05, "", 4),
        ],
    ))
}

/// CPU seconds of the program, its standard input being the list.
fn timed(program: &Path, arguments: &[String], list: &Path, out: &Path) -> Result<f64> {
    let before = of_children()?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(File::open(list)?).stdout(File::create(out)?).stderr(Stdio::null());
    let status = command.status().with_context(|| format!("cannot start {}", program.display()))?;
    if !status.success() {
        bail!("{} failed ({status})", program.display());
    }
    Ok(of_children()? - before)
}

/// CPU seconds of all children that were waited for.
fn of_children() -> Result<f64> {
    let own = Used::of(std::process::id()).context("/proc/self/stat")?;
    let all = super::super::unwind::system::usage(std::process::id()).context("/proc/self/stat")?;
    Ok(all.cpu_seconds - own.user - own.system)
}

/// The C library that this process uses.
fn c_library() -> Result<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps")?;
    let paths = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    let found = paths.into_iter().find(|path| path.ends_with("/libc.so.6"));
    found.map(PathBuf::from).context("this program is not linked to a libc.so.6")
}

/// Addresses all over the functions that the library exports, the same each time.
fn addresses(library: &Path) -> Result<Vec<u64>> {
    let bytes = fs::read(library).with_context(|| format!("cannot read {}", library.display()))?;
    let file = object::File::parse(&*bytes)?;
    let functions = file
        .dynamic_symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.is_definition() && symbol.size() > 0);
    let mut all: Vec<u64> =
        functions.flat_map(|symbol| (0..symbol.size()).map(move |at| symbol.address() + at)).collect();
    all.sort_unstable();
    all.dedup();
    if all.len() < ADDRESSES {
        bail!("{} has only {} addresses", library.display(), all.len());
    }
    // Multiples of a number that shares no divisor with the length: each place once, all over the file.
    let step = (0..).map(|more| all.len() / 2 + more).find(|step| coprime(*step, all.len())).unwrap_or(1);
    Ok((0..ADDRESSES).map(|number| all[number * step % all.len()]).collect())
}

fn coprime(mut a: usize, mut b: usize) -> bool {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a == 1
}

fn install_blazecli() -> Result<PathBuf> {
    let root = paths::target().join("bench/tools");
    let program = root.join("bin/blazecli");
    let is_right =
        output(Command::new(&program).arg("--version")).is_some_and(|said| said.contains(BLAZECLI));
    if !is_right {
        let mut install = cargo();
        install.args(["install", "blazecli", "--version", BLAZECLI, "--locked", "--root"]).arg(&root);
        run(&mut install).with_context(|| format!("`{}` failed", line(&install)))?;
    }
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_distinct_and_all_over_the_library() {
        let addresses = addresses(&c_library().unwrap()).unwrap();
        let distinct: std::collections::BTreeSet<_> = addresses.iter().collect();
        assert_eq!((addresses.len(), distinct.len()), (ADDRESSES, ADDRESSES));
        let middle =
            addresses.iter().filter(|address| **address > *addresses.iter().max().unwrap() / 2).count();
        assert!(middle > ADDRESSES / 4, "{middle}");
    }
}
