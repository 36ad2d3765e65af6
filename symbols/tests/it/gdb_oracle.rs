//! The stacks of running programs, walked by the tables and steps that the kernel program uses, against gdb's.
//!
//! gdb stops each program where it is, says what is in the registers of its threads and which frames it finds, and then
//! goes on instruction by instruction: through entries and ends of functions, the linkage table, the dynamic linker and
//! the run-time library's unwinder.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Lines, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use profiler_unwind::{Memory, Rule, Walk, rule::Cfa};
use rustix::process::{Pid, Signal, kill_process};
use symbols::all_registers::{Frame, NoCaller};
use symbols::elf::FileFacts;
use symbols::frame_pointer_rules::UnwindInfo;
use symbols::unwind_rows::UnwindTable;
use testprogs::{Program, Variant, build};

/// As many frames as the kernel program walks.
const FRAMES_AT_MOST: usize = 1024;
const RBP: usize = 6;
const RSP: usize = 7;

/// A gdb that obeys `gdb_oracle.py`.
struct Gdb {
    child: Child,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

/// A stopped thread as gdb sees it.
struct Thread {
    tid: u64,
    ip: u64,
    /// By DWARF number.
    registers: [u64; 16],
    /// Addresses of the frames, the innermost first.
    frames: Vec<u64>,
}

impl Gdb {
    fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/gdb_oracle.py");
        let mut command = Command::new("gdb");
        command.args(["-nx", "-q", "-batch", "-x"]).arg(script);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("gdb starts: `cargo xtask setup` installs it");
        let commands = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, commands, answers }
    }

    fn ask(&mut self, command: &str) -> Vec<Thread> {
        writeln!(self.commands, "{command}").unwrap();
        let mut threads = Vec::new();
        loop {
            let line = self.answers.next().unwrap_or_else(|| panic!("gdb ended at `{command}`")).unwrap();
            match line.strip_prefix("# ") {
                Some("done") => return threads,
                Some(thread) => threads.push(Thread::parse(thread)),
                None => {} // what gdb says to people
            }
        }
    }
}

impl Drop for Gdb {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Thread {
    fn parse(line: &str) -> Self {
        let (registers, frames) = line.split_once(" | ").unwrap();
        let (tid, registers) = registers.split_once(' ').unwrap();
        let words = |text: &str| -> Vec<u64> {
            text.split(' ').map(|word| u64::from_str_radix(word, 16).unwrap()).collect()
        };
        let registers = words(registers);
        let mut frames = words(frames);
        // Of Go's outermost functions gdb finds a caller at zero, where nothing is.
        while frames.last() == Some(&0) {
            frames.pop();
        }
        frames.truncate(FRAMES_AT_MOST);
        let all = registers[1..].try_into().unwrap();
        Self { tid: tid.parse().unwrap(), ip: registers[0], registers: all, frames }
    }
}

/// What is known of a file's code.
struct Code {
    facts: FileFacts,
    table: UnwindTable,
    unwind: UnwindInfo,
}

impl Code {
    fn read(path: &Path) -> Self {
        let file = File::open(path).unwrap();
        Self {
            facts: FileFacts::read(&file, path).unwrap(),
            table: UnwindTable::read(&file, path).unwrap(),
            unwind: UnwindInfo::read(&file, path).unwrap(),
        }
    }
}

/// Files by path: most are mapped by every program.
#[derive(Default)]
struct Files(HashMap<PathBuf, Code>);

/// A stopped process.
struct Process<'a> {
    memory: File,
    /// Of code in files: first address, end, offset in the file, path.
    mappings: Vec<(u64, u64, u64, PathBuf)>,
    files: &'a Files,
    registers: [u64; 16],
}

impl<'a> Process<'a> {
    fn new(pid: u32, files: &'a mut Files) -> Self {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
        let code = maps.lines().filter(|line| line.contains(" r-xp ") && line.contains(" /"));
        let mappings: Vec<_> = code.map(mapping).collect();
        for (_, _, _, path) in &mappings {
            files.0.entry(path.clone()).or_insert_with(|| Code::read(path));
        }
        let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
        Self { memory, mappings, files, registers: [0; 16] }
    }

    fn mapping_at(&self, address: u64) -> Option<&(u64, u64, u64, PathBuf)> {
        self.mappings.iter().find(|(start, end, ..)| (*start..*end).contains(&address))
    }

    /// The file at an address, and its ELF virtual address.
    fn code_at(&self, address: u64) -> Option<(&Code, u64)> {
        let (start, _, offset, path) = self.mapping_at(address)?;
        let code = &self.files.0[path];
        Some((code, code.facts.vaddr_of(address - start + offset)?))
    }

    fn rule_at(&self, address: u64) -> Option<Rule> {
        let (code, vaddr) = self.code_at(address)?;
        code.table.rule_at(vaddr)
    }

    /// As the kernel program walks; and whether the end is proven.
    fn walk(&self, thread: &Thread) -> (Vec<u64>, bool) {
        let mut walk = Walk::leaf(thread.ip, thread.registers[RSP], thread.registers[RBP]);
        let mut frames = Vec::new();
        while frames.len() < FRAMES_AT_MOST {
            frames.push(walk.ip);
            let rule = self.rule_at(walk.ip - u64::from(walk.is_caller));
            if rule.is_some_and(|rule| rule.cfa == Cfa::End) {
                return (frames, true);
            }
            let step = match rule {
                Some(rule) => walk.step_by_rule(self, &rule),
                None => walk.step(self),
            };
            if step.is_err() {
                break;
            }
        }
        (frames, false)
    }

    /// Whether the run-time library's unwinder is about to go on at a landing pad, and this walk has gone astray: it has
    /// put the registers of the frame that catches, and the pad's address, in place of what was saved there, while the
    /// stack still is its own. No call frame information describes these instructions. gdb then walks on over what is no
    /// code; a walk of ours must end there, and must not be called complete.
    fn is_astray_in_a_landing(&self, frames: &[u64]) -> bool {
        let [leaf, .., last] = frames else { return false };
        let is_unwinder = self.mapping_at(*leaf).is_some_and(|(.., path)| path.ends_with("libgcc_s.so.1"));
        // What it takes for a return address is no code; or zero, which is not even taken for one. A whole stack has `main` and the
        // three that call it.
        is_unwinder && (self.mapping_at(*last).is_none() || frames.len() < 5)
    }

    /// With all registers, as the agent walks where the kernel program needs one that it has not.
    fn walk_with_all_registers(&self, thread: &Thread) -> (Vec<u64>, bool) {
        let mut frame = Frame { ip: thread.ip, registers: thread.registers.map(Some), is_caller: false };
        let mut frames = Vec::new();
        while frames.len() < FRAMES_AT_MOST {
            frames.push(frame.ip);
            let Some((code, vaddr)) = self.code_at(frame.ip - u64::from(frame.is_caller)) else { break };
            match code.unwind.caller(vaddr, &frame, &|address| self.word(address)) {
                Ok(caller) => frame = caller,
                Err(end) => return (frames, end == NoCaller::End),
            }
        }
        (frames, false)
    }
}

fn mapping(line: &str) -> (u64, u64, u64, PathBuf) {
    let fields: Vec<_> = line.split_whitespace().collect();
    let hex = |text: &str| u64::from_str_radix(text, 16).unwrap();
    let (start, end) = fields[0].split_once('-').unwrap();
    (hex(start), hex(end), hex(fields[2]), fields[5].into())
}

impl Memory for Process<'_> {
    fn word(&self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.memory.read_exact_at(&mut bytes, address).ok()?;
        Some(u64::from_le_bytes(bytes))
    }

    fn pair(&self, address: u64) -> Option<[u64; 2]> {
        Some([self.word(address)?, self.word(address.checked_add(8)?)?])
    }

    fn register(&self, number: u8) -> Option<u64> {
        self.registers.get(usize::from(number)).copied()
    }
}

/// A program at work, killed at the end.
struct Running {
    child: Child,
    /// The process to look at: a child of it, where that holds the first one up.
    pid: u32,
}

impl Running {
    /// Starts it and waits until it is at its work.
    fn start(program: Program, variant: Variant) -> Self {
        let arguments: &[&str] = match program {
            Program::Recursion => &["5000", "60"],
            Program::Threads => &["4", "60"],
            Program::ShortLived => &["5", "60"],
            Program::Signals | Program::Plt | Program::Sorted => &["1", "60"],
            _ => &["60"],
        };
        let mut command = Command::new(build(program, variant));
        let child = command.args(arguments).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(150));
        let pid = child.id();
        Self { child, pid: if program == Program::Vforked { children(pid)[0] } else { pid } }
    }

    /// A thread that waits for nothing.
    fn busy_thread(&self) -> Option<u64> {
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid)).unwrap();
        let tids = threads.map(|thread| thread.unwrap().file_name().to_str().unwrap().parse().unwrap());
        let is_busy = |tid: &u64| {
            let status = fs::read_to_string(format!("/proc/{}/task/{tid}/status", self.pid)).unwrap();
            status.contains("\nState:\tR")
        };
        tids.into_iter().find(is_busy)
    }
}

fn children(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children.split_whitespace().map(|child| child.parse().unwrap()).collect()
}

impl Drop for Running {
    fn drop(&mut self) {
        for child in children(self.child.id()) {
            let _ = kill_process(Pid::from_raw(child as i32).unwrap(), Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How the ends of a program's stacks are known.
#[derive(Clone, Copy, PartialEq)]
enum Ends {
    /// By a rule.
    Proven,
    /// Not here: they are deeper than the limit.
    Elsewhere,
    /// Some by a rule, some by a function's name (symbols::stack_ends).
    Either,
}

/// Compares one stack; what is wrong with it.
fn compare(process: &mut Process<'_>, thread: &Thread, ends: Ends) -> Option<String> {
    process.registers = thread.registers;
    let (mut ours, mut is_proven) = process.walk(thread);
    if !is_proven && ours != thread.frames {
        (ours, is_proven) = process.walk_with_all_registers(thread);
    }
    let is_right = if process.is_astray_in_a_landing(&ours) {
        !is_proven && thread.frames.starts_with(&ours)
    } else {
        ours == thread.frames && (ends == Ends::Either || is_proven == (ends == Ends::Proven))
    };
    if is_right {
        return None;
    }
    let shown = |frames: &[u64]| frames.iter().map(|frame| format!(" {frame:x}")).collect::<String>();
    let (ours, gdb) = (shown(&ours), shown(&thread.frames));
    Some(format!("thread {}, end proven: {is_proven}\n  ours{ours}\n  gdb {gdb}\n", thread.tid))
}

/// Compares the stacks of all threads, then those of a busy one at each of the next instructions.
fn check(gdb: &mut Gdb, files: &mut Files, program: Program, variant: Variant, steps: usize) {
    let running = Running::start(program, variant);
    let busy = running.busy_thread();
    let ends = match program {
        Program::Recursion => Ends::Elsewhere,
        // The scheduler's stack ends by a rule.
        Program::Goroutines => Ends::Either,
        _ => Ends::Proven,
    };
    let threads = gdb.ask(&format!("attach {}", running.pid));
    let mut process = Process::new(running.pid, files);
    assert!(!threads.is_empty(), "{program:?} {variant:?}");
    let mut wrong: String = threads.iter().filter_map(|thread| compare(&mut process, thread, ends)).collect();
    for _ in 0..steps {
        let Some(busy) = busy else { break };
        let threads = gdb.ask(&format!("step {busy}"));
        wrong.extend(threads.iter().filter_map(|thread| compare(&mut process, thread, ends)));
    }
    gdb.ask("detach");
    assert!(wrong.is_empty(), "{program:?} {variant:?}\n{wrong}");
}

#[test]
fn stopped_programs_have_the_stacks_that_gdb_finds() {
    let (mut gdb, mut files) = (Gdb::start(), Files::default());
    for program in Program::ALL {
        for &variant in program.variants() {
            // Of code without any call frame information gdb knows no more than others.
            let unknown = program.makes_code()
                || matches!(variant, Variant::NoUnwindInfo | Variant::StaticMusl)
                || (program, variant) == (Program::Goroutines, Variant::Stripped);
            // Nor of where a goroutine left its stack.
            let unknown = unknown || program == Program::StackSwitches;
            // Nor that nobody has called what lies below a stack made by hand.
            let unknown = unknown || program == Program::Coroutines;
            // As far as tables go these two differ little from the one without frame pointers.
            let similar = matches!(variant, Variant::FramePointers | Variant::Stripped);
            // gdb takes a process whose first thread has ended for one that has ended, and does not attach.
            let unknown = unknown || program == Program::Headless;
            if !unknown && (!similar || matches!(program, Program::Shares | Program::Goroutines)) {
                check(&mut gdb, &mut files, program, variant, 5);
            }
        }
    }
}

#[test]
fn instruction_by_instruction_stacks_are_those_that_gdb_finds() {
    let (mut gdb, mut files) = (Gdb::start(), Files::default());
    for program in [Program::Plt, Program::Syscalls, Program::Exceptions] {
        check(&mut gdb, &mut files, program, Variant::NoFramePointers, 1000);
    }
}
