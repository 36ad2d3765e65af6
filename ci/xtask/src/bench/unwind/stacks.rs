//! Stacks as the profilers print them, read as far as judging them needs: whose they are, and where they end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::ends::{self, Ends};

/// A frame as a tool prints it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::bench) struct Frame {
    /// ELF virtual address or offset in the file, as the tool has it.
    pub(in crate::bench) address: u64,
    /// Path or name of the file; empty for none.
    pub(in crate::bench) file: String,
    /// Empty if the tool has none.
    pub(in crate::bench) function: String,
}

/// Samples with one stack.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stack {
    pub(super) pid: u32,
    /// Name of the process; perf knows that of the thread only.
    pub(super) process: String,
    pub(super) samples: u64,
    /// The last frame of user code; none if there is no user code in the stack.
    pub(super) outermost: Option<Frame>,
    /// What the tool itself says is wrong with the stack.
    pub(super) said: Option<String>,
}

/// Reads what `go tool pprof -raw` prints of a profile.
pub(super) fn from_pprof(text: &str) -> Vec<Stack> {
    let sections = Sections::of(text);
    let files: BTreeMap<u64, &str> = sections.mappings.iter().filter_map(|line| mapping(line)).collect();
    let mut locations = BTreeMap::new();
    for line in &sections.locations {
        if let Some((id, frame)) = location(line, &files) {
            locations.insert(id, frame);
        }
    }
    let mut stacks: Vec<Stack> = Vec::new();
    for line in &sections.samples {
        if let Some((samples, ids)) = sample(line) {
            let mut outermost_first = ids.iter().rev().filter_map(|id| locations.get(id));
            let outermost = outermost_first.find(|frame| !is_kernel(frame)).cloned();
            let said = outermost.as_ref().filter(|frame| frame.file == LIGHTSWITCH_ERRORS);
            let said = said.map(|frame| frame.function.clone());
            stacks.push(Stack { pid: 0, process: String::new(), samples, outermost, said });
        } else if let Some(stack) = stacks.last_mut() {
            if let Some(pid) = label(line, "pid").and_then(|text| text.parse().ok()) {
                stack.pid = pid;
            }
            if let Some(process) = label(line, "process").or_else(|| label(line, "process-name")) {
                stack.process = process.to_owned();
            }
            if let Some(status) = label(line, "status").filter(|status| *status != "complete") {
                stack.said = Some(status.to_owned());
            }
        }
    }
    stacks
}

/// The file in which lightswitch puts a frame that says why it could not walk on.
const LIGHTSWITCH_ERRORS: &str = "lightswitch-unwinder-errors";

pub(in crate::bench) fn is_kernel(frame: &Frame) -> bool {
    let kernel_address = frame.address >= 0xffff_8000_0000_0000 && frame.address != u64::MAX;
    kernel_address || ["[kernel", "[vmlinux"].iter().any(|start| frame.file.starts_with(start))
}

/// The parts of the text that are read, by line.
#[derive(Default)]
pub(in crate::bench) struct Sections<'a> {
    pub(in crate::bench) samples: Vec<&'a str>,
    pub(in crate::bench) locations: Vec<&'a str>,
    pub(in crate::bench) mappings: Vec<&'a str>,
}

impl<'a> Sections<'a> {
    pub(in crate::bench) fn of(text: &'a str) -> Self {
        let (mut sections, mut unread) = (Sections::default(), Vec::new());
        let mut current = &mut unread;
        for line in text.lines() {
            match line {
                "Samples:" => current = &mut sections.samples,
                "Locations" => current = &mut sections.locations,
                "Mappings" => current = &mut sections.mappings,
                line => current.push(line),
            }
        }
        sections
    }
}

/// `          1   10101010: 1 2 3`
pub(in crate::bench) fn sample(line: &str) -> Option<(u64, Vec<u64>)> {
    let (values, ids) = line.split_once(':')?;
    let samples = values.split_whitespace().next()?.parse().ok()?;
    let ids = ids.split_whitespace().map(|id| id.parse().ok()).collect::<Option<_>>()?;
    Some((samples, ids))
}

/// The value in `pid:[42] tid:[43]`.
pub(in crate::bench) fn label<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let at = line.find(&format!(" {key}:["))? + key.len() + 3;
    line[at..].split(']').next()
}

/// `     1: 0x1be5d0 M=2 function file:1:0 s=0`; lines of inlined callers have no number, and are left out.
pub(in crate::bench) fn location(line: &str, files: &BTreeMap<u64, &str>) -> Option<(u64, Frame)> {
    let mut words = line.split_whitespace();
    let id = words.next()?.strip_suffix(':')?.parse().ok()?;
    let address = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
    let mut next = words.next();
    let mapping = next.and_then(|word| word.strip_prefix("M=")).and_then(|number| number.parse().ok());
    if mapping.is_some() {
        next = words.next();
    }
    let file = mapping.and_then(|number: u64| files.get(&number)).copied().unwrap_or_default();
    let mut function = next.unwrap_or_default().to_owned();
    if file == LIGHTSWITCH_ERRORS {
        // `error/unwinder: Reason`
        function.extend(words.next());
    }
    Some((id, Frame { address, file: file.to_owned(), function }))
}

/// `1: 0x0/0xffffffffffffffff/0x0 /usr/bin/python3.11 a7516a [FN]`
pub(in crate::bench) fn mapping(line: &str) -> Option<(u64, &str)> {
    let mut words = line.split_whitespace();
    let id = words.next()?.strip_suffix(':')?.parse().ok()?;
    let _range = words.next()?;
    Some((id, words.next()?))
}

/// Reads what `perf script -F comm,pid,tid,ip,sym,dso` prints, line by line.
#[derive(Default)]
pub(super) struct PerfScript {
    stacks: Vec<Stack>,
}

impl PerfScript {
    /// Takes one line, without its end.
    pub(super) fn line(&mut self, line: &str) {
        if !line.starts_with('\t') {
            self.stacks.extend(perf_head(line));
        } else if let Some(stack) = self.stacks.last_mut()
            && let Some(frame) = perf_frame(line)
            && !is_kernel(&frame)
        {
            stack.outermost = Some(frame);
        }
    }

    /// The stacks.
    pub(super) fn finish(self) -> Vec<Stack> {
        self.stacks
    }
}

/// `a name 7/8`: thread, process and thread number.
fn perf_head(line: &str) -> Option<Stack> {
    let (name, numbers) = line.trim().rsplit_once(' ')?;
    let pid = numbers.split_once('/')?.0.parse().ok()?;
    Some(Stack { pid, process: name.trim().to_owned(), samples: 1, outermost: None, said: None })
}

/// `27249 __libc_start_call_main (/usr/lib/x86_64-linux-gnu/libc.so.6)`, indented.
fn perf_frame(line: &str) -> Option<Frame> {
    let (address, rest) = line.trim_start().split_once(' ')?;
    let address = u64::from_str_radix(address, 16).ok()?;
    let (function, file) = rest.rsplit_once(" (")?;
    let file = file.trim_end().strip_suffix(')')?;
    let known = |text: &str| if text == "[unknown]" { String::new() } else { text.to_owned() };
    Some(Frame { address, file: known(file), function: known(function) })
}

/// What came out for the processes of a workload.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Judged {
    /// Samples of these processes.
    pub(super) samples: u64,
    /// Samples of all processes, others than these included.
    pub(super) everyone: u64,
    /// Samples that have no user stack to walk: of a process whose address space is not there yet, or no more. perf
    /// shows no user frame of them.
    pub(super) no_stack: u64,
    /// Samples whose stack does not end where stacks end, or that the tool itself calls incomplete.
    pub(super) broken: u64,
    /// What the broken ones end in, or what the tool says, with samples.
    pub(super) reasons: BTreeMap<String, u64>,
}

impl Judged {
    /// Broken samples among those with a user stack, in percent; none without samples.
    pub(super) fn broken_percent(&self) -> Option<f64> {
        let with_stack = self.samples - self.no_stack;
        (with_stack > 0).then(|| self.broken as f64 * 100.0 / with_stack as f64)
    }
}

/// Which processes are meant.
#[derive(Clone, Copy)]
pub(super) struct Whose<'a> {
    pub(super) pids: &'a BTreeSet<u32>,
    /// All processes of this name, too.
    pub(super) name: Option<&'a str>,
}

impl Whose<'_> {
    fn include(self, stack: &Stack) -> bool {
        self.pids.contains(&stack.pid) || self.name.is_some_and(|name| name == stack.process)
    }
}

/// Judges the stacks of these processes. `files` are paths of files they use: some tools print bare names.
pub(super) fn judge(
    stacks: &[Stack],
    whose: Whose<'_>,
    files: &BTreeSet<PathBuf>,
    ends: &mut Ends,
) -> Judged {
    let mut judged = Judged { everyone: stacks.iter().map(|stack| stack.samples).sum(), ..Judged::default() };
    for stack in stacks.iter().filter(|stack| whose.include(stack)) {
        judged.samples += stack.samples;
        let reason = match (&stack.said, &stack.outermost) {
            (Some(said), _) => said.clone(),
            (None, None) => {
                judged.no_stack += stack.samples;
                continue;
            }
            (None, Some(frame)) if is_end(frame, files, ends) => continue,
            (None, Some(frame)) => shown(frame),
        };
        judged.broken += stack.samples;
        *judged.reasons.entry(reason).or_default() += stack.samples;
    }
    judged
}

fn is_end(frame: &Frame, files: &BTreeSet<PathBuf>, ends: &mut Ends) -> bool {
    if ends::is_name(&frame.function) {
        return true;
    }
    if frame.file.starts_with('/') {
        return ends.contain(Path::new(&frame.file), frame.address);
    }
    let same_name =
        files.iter().filter(|path| path.file_name().is_some_and(|name| name == frame.file.as_str()));
    same_name.into_iter().any(|path| ends.contain(path, frame.address))
}

fn shown(frame: &Frame) -> String {
    let name = |text: &str| if text.is_empty() { "?".to_owned() } else { text.to_owned() };
    format!("ends in {} of {} at {:#x}", name(&frame.function), name(&frame.file), frame.address)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAW: &str = "\
PeriodType: cpu nanoseconds
Period: 10101010
Samples:
samples/count cpu/nanoseconds
          3   30303030: 4 1 2 
                cgroup:[/] exe:[/usr/bin/a b] process:[a] status:[complete] thread:[a]
                pid:[7] tid:[8]
          1   10101010: 4 
                process:[a] status:[complete]
                pid:[7] tid:[7]
          2   20202020: 1 3 
                process:[b] status:[no_frame_pointer]
                pid:[9] tid:[9]
Locations
     1: 0x1be5d0 M=2 work /src/a.c:12:0 s=0
             inlined_into /src/a.c:13:0 s=0
     2: 0x1050 M=2 
     3: 0x0 [no_frame_pointer] :0:0 s=0
     4: 0x9000 M=1 do_syscall_64 :0:0 s=0
Mappings
1: 0x0/0xffffffffffffffff/0x0 [kernel] e4f18d [FN]
2: 0x0/0xffffffffffffffff/0x0 /usr/bin/a a7516a [FN]
";

    fn frame(address: u64, file: &str, function: &str) -> Frame {
        Frame { address, file: file.into(), function: function.into() }
    }

    #[test]
    fn pprof_samples_are_read_with_their_outermost_user_frame() {
        let expected = [
            Stack {
                pid: 7,
                process: "a".into(),
                samples: 3,
                outermost: Some(frame(0x1050, "/usr/bin/a", "")),
                said: None,
            },
            Stack { pid: 7, process: "a".into(), samples: 1, outermost: None, said: None },
            Stack {
                pid: 9,
                process: "b".into(),
                samples: 2,
                outermost: Some(frame(0, "", "[no_frame_pointer]")),
                said: Some("no_frame_pointer".into()),
            },
        ];
        assert_eq!(from_pprof(RAW), expected);
    }

    #[test]
    fn perf_scripts_are_read_with_their_outermost_user_frame() {
        let text = "a b 7/8 \n\tffffffff8209a0dc bbr_main ([kernel.kallsyms])\n\t           27249 std::a (b) (/usr/lib/libc.so.6)\n\n\
                    a 9/9 \n\t             10 [unknown] (/usr/bin/a)\n\tffffffffffffffff [unknown] ([unknown])\n\n\
                    a 9/9 \n\tffffffff8209a0dc bbr_main ([kernel.kallsyms])\n";
        let mut script = PerfScript::default();
        text.lines().for_each(|line| script.line(line));
        let expected = [
            (7, "a b", Some(frame(0x27249, "/usr/lib/libc.so.6", "std::a (b)"))),
            (9, "a", Some(frame(u64::MAX, "", ""))),
            (9, "a", None),
        ];
        let stacks = script.finish();
        assert_eq!(
            stacks.iter().map(|s| (s.pid, s.process.as_str(), s.outermost.clone())).collect::<Vec<_>>(),
            expected
        );
    }

    #[test]
    fn a_stack_is_broken_when_it_ends_elsewhere_or_is_said_to_be() {
        let stack = |outermost: Option<Frame>, said: Option<&str>| Stack {
            pid: 7,
            process: "a".into(),
            samples: 1,
            outermost,
            said: said.map(str::to_owned),
        };
        let stacks = [
            stack(Some(frame(1, "", "_start")), None),
            stack(Some(frame(1, "/a", "main")), None),
            stack(Some(frame(1, "", "_start")), Some("depth_limit")),
            stack(None, None),
            stack(None, None),
            Stack { pid: 8, ..stack(Some(frame(1, "", "main")), None) },
        ];
        let pids = BTreeSet::from([7]);
        let judged =
            |name| judge(&stacks, Whose { pids: &pids, name }, &BTreeSet::new(), &mut Ends::default());
        assert_eq!(judged(Some("a")).samples, 6);
        let judged = judged(None);
        assert_eq!((judged.samples, judged.everyone, judged.no_stack, judged.broken), (5, 6, 2, 2));
        assert_eq!(judged.broken_percent().map(f64::round), Some(67.0));
        assert_eq!(judged.reasons.keys().collect::<Vec<_>>(), ["depth_limit", "ends in main of /a at 0x1"]);
    }

    #[test]
    fn cut_and_flipped_text_is_no_panic() {
        for end in 0..RAW.len() {
            from_pprof(&RAW[..end]);
            let mut script = PerfScript::default();
            script.line(&RAW[end..]);
            script.line(&format!("\t{}", &RAW[end..]));
        }
    }
}
