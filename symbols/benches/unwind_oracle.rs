//! Every row of every program and library below some folders against gimli's evaluation of the same call frame
//! information. `cargo xtask bench unwind-oracle` runs it; its arguments are the folders.
#![expect(clippy::unwrap_used, reason = "a difference, or a file that cannot be read, ends it by panicking")]
#![expect(clippy::print_stdout, reason = "its results are for people, or for xtask")]

#[path = "../tests/it/followed_agreement.rs"]
mod followed_agreement;
#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../tests/it/unwind_agreement.rs"]
mod unwind_agreement;
#[path = "../tests/it/unwind_oracle.rs"]
mod unwind_oracle;

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use followed_agreement::Compared;
use profiler_unwind::rule::{Cfa, ReturnAddress};
use symbols::unwind_rows::{CallFrameInfo, UnwindTable};
use unwind_agreement::{Agreement, agreement};
use unwind_oracle::Oracle;

/// Rows of one kind by file, in the report of the largest.
const LARGEST: usize = 10;

/// What a file's header says it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A program or library of ours to check.
    Linked,
    /// Not for x86-64 with 64-bit addresses.
    OtherMachine,
    /// An object file: it has no addresses yet.
    Relocatable,
    NotElf,
}

/// By the ELF header (System V gABI, chapter 4): class, type, machine.
fn kind(file: &File) -> Kind {
    let mut header = [0; 20];
    if file.read_exact_at(&mut header, 0).is_err() || header[..4] != *b"\x7fELF" {
        return Kind::NotElf;
    }
    match (header[4], header[5], header[16], header[18]) {
        (2, 1, 2 | 3, 62) => Kind::Linked,
        (2, 1, 1, 62) => Kind::Relocatable,
        _ => Kind::OtherMachine,
    }
}

/// Everything that was found.
#[derive(Default)]
struct Sum {
    files: u64,
    without_code: u64,
    relocatable: u64,
    other_machine: u64,
    refused: Vec<String>,
    rows: u64,
    bytes: u64,
    eh_frame_bytes: u64,
    checked: u64,
    same: u64,
    /// Addresses at which the table and gimli differ, by the reason why.
    differences: BTreeMap<String, u64>,
    unexplained: Vec<String>,
    /// Bytes of code that was followed as if nothing was described, by how it compares with what is.
    followed: BTreeMap<&'static str, u64>,
    /// Those that differ, by file.
    followed_wrongly: Vec<(u64, PathBuf)>,
    compiling: Duration,
    /// Rows that a walk cannot or can only sometimes follow: by kind, rows and file.
    unfollowed: BTreeMap<String, Vec<(u64, PathBuf)>>,
}

impl Sum {
    fn add(&mut self, path: &Path, table: &UnwindTable, compiling: Duration, found: Agreement) {
        let stats = table.stats();
        self.files += 1;
        self.without_code += u64::from(stats.rows == 0);
        self.rows += stats.rows;
        self.bytes += stats.bytes;
        self.eh_frame_bytes += stats.eh_frame_bytes;
        self.compiling += compiling;
        self.same += found.same;
        let named = [
            ("alignment padding", found.padding),
            ("`ret` left out of its entry", found.returns),
            ("from Go's table of functions", found.of_go),
            ("entries over one another", found.overlapping),
            ("where rbp is", found.without_rbp),
        ];
        let unsupported = found.unsupported.into_iter();
        let differences: Vec<_> = named.into_iter().chain(unsupported).collect();
        self.checked += found.same + found.unexplained + differences.iter().map(|(_, n)| n).sum::<u64>();
        for (name, count) in differences.into_iter().filter(|(_, count)| *count > 0) {
            *self.differences.entry(name.to_owned()).or_default() += count;
        }
        if found.unexplained > 0 {
            let examples = found.examples.join("\n    ");
            self.unexplained.push(format!("{}: {}\n    {examples}", path.display(), found.unexplained));
        }
        for (kind, rows) in unfollowed(table) {
            self.unfollowed.entry(kind).or_default().push((rows, path.to_owned()));
        }
    }

    fn add_followed(&mut self, path: &Path, found: &Compared) {
        for (what, bytes) in [
            ("the same", found.agree),
            ("another depth", found.differ),
            ("from another register", found.other_register),
            ("not known", found.only_described),
        ] {
            *self.followed.entry(what).or_default() += bytes;
        }
        if found.differ > 0 {
            self.followed_wrongly.push((found.differ, path.to_owned()));
        }
    }

    fn print(&mut self, took: Duration) {
        let explained: u64 = self.differences.values().sum();
        println!("files                {}", self.files);
        println!("  without rows       {}", self.without_code);
        println!(
            "not compared         {} object files, {} of other machines",
            self.relocatable, self.other_machine
        );
        println!("rows                 {}", self.rows);
        println!("bytes                {}", self.bytes);
        println!("bytes a row          {:.3}", self.bytes as f64 / self.rows as f64);
        println!("bytes of .eh_frame   {}", self.eh_frame_bytes);
        println!("addresses compared   {}", self.checked);
        println!("  the same           {}", self.same);
        for (name, count) in &self.differences {
            println!("  {name:<35} {count}");
        }
        println!("  unexplained        {}", self.checked - self.same - explained);
        println!("compiling tables     {:.2} s", self.compiling.as_secs_f64());
        println!("time                 {:.1} s", took.as_secs_f64());
        println!("peak memory          {} MiB", peak_memory_kib() / 1024);
        for (kind, files) in &mut self.unfollowed {
            files.sort_by(|a, b| b.cmp(a));
            println!(
                "rows: {kind}: {} in {} files",
                files.iter().map(|(rows, _)| rows).sum::<u64>(),
                files.len()
            );
            for (rows, path) in files.iter().take(LARGEST) {
                println!("  {rows:>7}  {}", path.display());
            }
        }
        println!("bytes of described code, followed as if it was not");
        for (what, bytes) in &self.followed {
            println!("  {what:<35} {bytes}");
        }
        self.followed_wrongly.sort_by(|a, b| b.cmp(a));
        for (bytes, path) in self.followed_wrongly.iter().take(LARGEST) {
            println!("  {bytes:>7}  {}", path.display());
        }
        for text in self.refused.iter().chain(&self.unexplained) {
            println!("{text}");
        }
    }
}

/// Rows that a walk cannot follow, or only from the leaf frame, by kind.
fn unfollowed(table: &UnwindTable) -> BTreeMap<String, u64> {
    let mut kinds = BTreeMap::new();
    for (_, rule) in table.rows() {
        let kind = match (rule.reason(), rule.cfa, rule.return_address) {
            (Some(reason), ..) => format!("unsupported, {}", unwind_agreement::name(reason)),
            (_, Cfa::Register, _) => "CFA from another register than rsp and rbp".to_owned(),
            (_, _, ReturnAddress::InRegister) => "return address in a register".to_owned(),
            _ => continue,
        };
        *kinds.entry(kind).or_default() += 1;
    }
    if table.stats().rows_without_rbp > 0 {
        kinds.insert("caller's rbp not expressible".to_owned(), table.stats().rows_without_rbp);
    }
    kinds
}

/// Most memory that this process had at once, in KiB.
fn peak_memory_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Regular files below a folder, each once whatever its names.
fn add_files(folder: &Path, seen: &mut HashSet<(u64, u64)>, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            add_files(&entry.path(), seen, files);
        } else if kind.is_file()
            && let Ok(metadata) = entry.metadata()
            && seen.insert((metadata.dev(), metadata.ino()))
        {
            files.push(entry.path());
        }
    }
}

fn compare(path: &Path, sum: &Mutex<Sum>) {
    let Ok(file) = File::open(path) else { return };
    match kind(&file) {
        Kind::NotElf => return,
        Kind::Relocatable => return sum.lock().unwrap().relocatable += 1,
        Kind::OtherMachine => return sum.lock().unwrap().other_machine += 1,
        Kind::Linked => {}
    }
    let start = Instant::now();
    let compiled =
        CallFrameInfo::read(&file, path).and_then(|info| UnwindTable::compile(&info.only_described(), path));
    let table = match compiled {
        Ok(table) => table,
        Err(error) => return sum.lock().unwrap().refused.push(error.to_string()),
    };
    let compiling = start.elapsed();
    let found = agreement(&table, &Oracle::of(path), 1);
    let followed = followed_agreement::compare(&file, path, &table);
    let mut sum = sum.lock().unwrap();
    sum.add(path, &table, compiling, found);
    match followed {
        Ok(followed) => sum.add_followed(path, &followed),
        Err(error) => sum.refused.push(error.to_string()),
    }
}

fn main() {
    let mut folders: Vec<PathBuf> =
        std::env::args_os().skip(1).filter(|argument| argument != "--bench").map(PathBuf::from).collect();
    if folders.is_empty() {
        folders = ["/usr/bin", "/usr/sbin", "/usr/lib"].map(PathBuf::from).to_vec();
    }
    let start = Instant::now();
    let (mut seen, mut files) = (HashSet::new(), Vec::new());
    for folder in &folders {
        add_files(folder, &mut seen, &mut files);
    }
    let (sum, files) = (Mutex::new(Sum::default()), Mutex::new(files.into_iter()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(path) = { files.lock().unwrap().next() } {
                    compare(&path, &sum);
                }
            });
        }
    });
    let mut sum = sum.into_inner().unwrap();
    sum.print(start.elapsed());
    assert!(sum.refused.is_empty() && sum.unexplained.is_empty() && sum.rows > 0, "not all is explained");
}
