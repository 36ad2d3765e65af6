//! Stacks as perf prints them, and why ours differ.

use std::collections::HashMap;

use profiler_abi::{Method, WalkEnd};

/// Addresses of the kernel lie above this.
const USER_END: u64 = 1 << 63;

/// A sample: its thread, and when it was taken, in nanoseconds.
pub(crate) type Key = (u32, u64);

/// Reads what `perf script --ns --fields pid,tid,time,ip,dso` prints: the frames of user code, leaf first. perf tells
/// where they are in their files.
pub(crate) fn lists(script: &str) -> HashMap<Key, Vec<u64>> {
    let (mut lists, mut current) = (HashMap::<Key, Vec<u64>>::new(), None);
    for line in script.lines().filter(|line| !line.is_empty()) {
        if !line.starts_with('\t') {
            current = key(line);
            lists.extend(current.map(|key| (key, Vec::new())));
        } else if let Some(list) = current.and_then(|key| lists.get_mut(&key))
            && let Some(address) = line.split_whitespace().next()
            && let Ok(address) = u64::from_str_radix(address, 16)
            && address < USER_END
        {
            list.push(address);
        }
    }
    lists
}

/// `21188/21189 14041.053166045:`
fn key(line: &str) -> Option<Key> {
    let (thread, time) = line.trim().strip_suffix(':')?.split_once(' ')?;
    let (seconds, ns) = time.trim().split_once('.').filter(|(_, ns)| ns.len() == 9)?;
    let (seconds, ns): (u64, u64) = (seconds.parse().ok()?, ns.parse().ok()?);
    Some((thread.split_once('/')?.1.parse().ok()?, seconds * 1_000_000_000 + ns))
}

/// A frame of ours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Frame {
    /// Where in its file, as perf prints it.
    pub(crate) place: u64,
    /// How it was found.
    pub(crate) method: Method,
    /// Whether its code is in a file.
    pub(crate) is_in_file: bool,
    /// Whether the file has call frame information for it.
    pub(crate) is_described: bool,
    /// Whether perf believes that the file is elsewhere.
    pub(crate) is_misplaced_by_perf: bool,
}

/// A stack of ours.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ours {
    /// Leaf first.
    pub(crate) frames: Vec<Frame>,
    /// How the walk ended.
    pub(crate) end: WalkEnd,
    /// Whether it took the frame pointer from below the stack pointer, where perf copies nothing.
    pub(crate) took_popped: bool,
}

/// How two stacks of one sample compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Difference {
    None,
    /// At code of no file, where we follow frame pointers to the proven end.
    PerfStopsOutsideFiles,
    /// At code that its file says nothing of; we get to the proven end.
    PerfStopsWithoutInformation,
    /// At either, and we do not get to a proven end.
    BothStop,
    /// At the entry of a function that its file says nothing of, perf follows the caller's frame pointer, and so leaves
    /// the caller out.
    PerfLeavesOutCaller,
    /// A caller's frame needs a frame pointer that the leaf has just popped: it is not in perf's copy, which begins at the
    /// stack pointer.
    PerfLacksPopped,
    /// perf takes the start of what the process had mapped before its exec for that of the file, and so finds no, or
    /// another function's, call frame information.
    PerfMisplacesFile,
    Unexplained,
}

impl Difference {
    /// In words.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "the same",
            Self::PerfStopsOutsideFiles => "perf stops in code made at run time, Vesta reaches the end",
            Self::PerfStopsWithoutInformation => {
                "perf stops in code without call frame information, Vesta reaches the end"
            }
            Self::BothStop => "perf stops in code without call frame information, Vesta later",
            Self::PerfLeavesOutCaller => {
                "perf leaves out the caller at an entry without call frame information"
            }
            Self::PerfLacksPopped => "perf's copy lacks a frame pointer that was popped",
            Self::PerfMisplacesFile => "perf looks where the file was before exec",
            Self::Unexplained => "unexplained",
        }
    }
}

/// Compares two stacks, leaf first.
pub(crate) fn difference(ours: &Ours, theirs: &[u64]) -> Difference {
    let frames = &ours.frames[..];
    let same = |(frame, place): &(&Frame, &u64)| frame.place == **place;
    let first = frames.iter().zip(theirs).take_while(same).count();
    if first == frames.len() && first == theirs.len() {
        return Difference::None;
    }
    let Some(last) = first.checked_sub(1).and_then(|last| frames.get(last)) else {
        return Difference::Unexplained;
    };
    if last.is_misplaced_by_perf {
        return Difference::PerfMisplacesFile;
    }
    let rest = (&frames[first..], &theirs[first..]);
    match (rest, ours.end) {
        (([_, ..], []), WalkEnd::Proven) if !last.is_in_file => Difference::PerfStopsOutsideFiles,
        (([_, ..], []), WalkEnd::Proven) if !last.is_described => Difference::PerfStopsWithoutInformation,
        (([_, ..], []), _) if !last.is_described => Difference::BothStop,
        (([_, ..], []), WalkEnd::Proven) if ours.took_popped => Difference::PerfLacksPopped,
        (([caller, next, ..], [theirs, ..]), _)
            if !last.is_described && is_by_top_of_stack(caller) && next.place == *theirs =>
        {
            Difference::PerfLeavesOutCaller
        }
        _ => Difference::Unexplained,
    }
}

/// Whether the frame's return address was on top of the stack, not yet above a frame of its callee's.
fn is_by_top_of_stack(frame: &Frame) -> bool {
    matches!(frame.method, Method::AtEntry | Method::AfterPush)
}
