//! What a machine is asked to do, and what has to come of it: programs whose stacks are known, recorded by Vesta.

use std::ops::RangeInclusive;

use testprogs::{Program, Variant};

/// A test program, and what its profile must show.
pub(super) struct Case {
    pub(super) program: Program,
    pub(super) variant: Variant,
    pub(super) way: Way,
    pub(super) expected: &'static [Expected],
}

/// How it is recorded. Each way sets constants of the BPF program, by which the verifier follows other paths.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Way {
    /// As the command that is watched.
    Watched,
    /// As one process of a machine that is recorded as a whole, as by `vesta run`.
    Machine,
    /// As the command, with the parts of the BPF program timed.
    Measured,
}

/// How many percent of a program's samples must have these frames, in this order, outermost first, with others
/// between. Names are those of folded stacks: `_[k]` marks the kernel's, `_[j]` those made at run time. A `*` stands for
/// how a name begins.
pub(super) struct Expected {
    pub(super) frames: &'static [&'static str],
    pub(super) percent: RangeInclusive<f64>,
}

/// By unwind tables, from the kernel, and by frame pointers in code without a file. The rest of the samples is the
/// program's start: on an emulated machine the dynamic linker takes its time.
pub(super) const CASES: [Case; 3] = [
    Case {
        program: Program::Shares,
        variant: Variant::NoFramePointers,
        way: Way::Watched,
        expected: &[
            Expected { frames: &["_start", "main", "work"], percent: 90.0..=100.0 },
            Expected { frames: &["_start", "main", "work", "burn_seventy"], percent: 60.0..=80.0 },
        ],
    },
    Case {
        program: Program::Syscalls,
        variant: Variant::NoFramePointers,
        way: Way::Machine,
        expected: &[
            Expected { frames: &["_start", "main", "busy_syscalls"], percent: 90.0..=100.0 },
            Expected { frames: &["busy_syscalls", "read_zero", "vfs_read_[k]"], percent: 40.0..=100.0 },
        ],
    },
    Case {
        program: Program::Jit,
        variant: Variant::NoFramePointers,
        way: Way::Measured,
        expected: &[Expected {
            frames: &["_start", "main", "run_emitted", "*_[j]", "*_[j]"],
            percent: 90.0..=100.0,
        }],
    },
];

/// How long each is recorded. Enough for 400 samples, so that shares are within a few percent.
pub(super) const SECONDS: u32 = 5;

impl Case {
    fn script(&self) -> String {
        let name = self.program.name();
        let record =
            format!("tell {name} vesta record --json --duration {SECONDS}s --output /tmp/{name}.folded");
        let recorded = match self.way {
            Way::Watched => format!("{record} -- /bin/{name} 600"),
            Way::Measured => format!("{record} --measure -- /bin/{name} 600"),
            Way::Machine => format!("/bin/{name} 600 &\n{record}\nkill $!"),
        };
        format!("{recorded}\ntell {name}.stack cat /tmp/{name}.folded\n")
    }
}

/// The lines of shell that do all this and tell of it, see `super::image`.
pub(super) fn script() -> String {
    let mut script = String::from("tell kernel uname -r\ntell doctor vesta doctor --json\n");
    CASES.iter().for_each(|case| script.push_str(&case.script()));
    // What the kernel complains of, be it our doing or not, has to be looked at.
    script.push_str(
        "tell complaint sh -c 'dmesg | grep -E \"BUG:|Oops|WARNING:|protection fault|usercopy:\" || true'\n",
    );
    script
}

/// The share of a process's samples whose stack has these frames in this order, in percent, of folded stacks.
pub(super) fn share<'a>(stacks: impl Iterator<Item = &'a str>, process: &str, frames: &[&str]) -> f64 {
    let (mut matching, mut all) = (0.0, 0.0);
    for (stack, count) in stacks.filter_map(|line| line.rsplit_once(' ')) {
        let count: f64 = count.parse().unwrap_or(0.0);
        let mut found = stack.split(';');
        if found.next() != Some(process) {
            continue;
        }
        all += count;
        let is = |frame: &str, name: &str| {
            frame.strip_prefix('*').map_or(name == frame, |end| name.ends_with(end))
        };
        if frames.iter().all(|frame| found.any(|name| is(frame, name))) {
            matching += count;
        }
    }
    if all > 0.0 { matching * 100.0 / all } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_counts_samples_with_the_frames_in_order() {
        let stacks = [
            "p;_start;main;work;burn 60",
            "p;_start;main;work 20",
            "p;main;_start 15",
            "p 5",
            "q;main 9",
            "broken",
        ];
        assert_eq!(share(stacks.into_iter(), "p", &["_start", "main"]), 80.0);
        assert_eq!(share(stacks.into_iter(), "p", &["main", "burn"]), 60.0);
        assert_eq!(share(stacks.into_iter(), "p", &["burn", "main"]), 0.0);
        assert_eq!(share(stacks.into_iter(), "p", &["main", "*rn"]), 60.0);
        assert_eq!(share(stacks.into_iter(), "p", &["*rn", "*rn"]), 0.0);
        assert_eq!(share([].into_iter(), "p", &["main"]), 0.0);
    }

    #[test]
    fn every_case_is_recorded_and_expects_something() {
        let script = script();
        for case in &CASES {
            assert!(script.contains(&format!("/bin/{} 600", case.program.name())), "{script}");
            assert!(!case.expected.is_empty());
        }
    }
}
