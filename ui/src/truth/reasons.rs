//! Why stacks are incomplete and samples are lost, in plain words: the one table that the page, `vesta record` and
//! docs/operations.md tell it from.

use std::borrow::Cow;

/// A reason, as users read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The name in Parquet, JSON, selectors and metrics.
    pub code: &'static str,
    /// The name in words.
    pub title: &'static str,
    /// What happened: one sentence.
    pub text: &'static str,
    /// What can be done about it; empty where there is nothing to do.
    pub advice: &'static str,
}

/// What helps where frame pointers are the only way.
const KEEP_FRAME_POINTERS: &str = "Code made at run time may keep no frame pointer, and not say where it returns: ask its \
                                   runtime to keep them (`java -XX:+PreserveFramePointer`). Node.js keeps them anyway.";
/// What helps where samples come faster than the agent.
const SAMPLE_LESS: &str = "The machine leaves the agent too little CPU: sample less often (`--frequency`).";

/// Every reason why a stack is incomplete: the values of the label `status` beside `complete`.
pub const INCOMPLETE: [Reason; 12] = [
    Reason {
        code: "no_unwind_row",
        title: "No unwind information",
        text: "Neither the file nor the code itself says how to walk out of here, and the frame pointer led nowhere.",
        advice: "Build it with call frame information (not with `-fno-asynchronous-unwind-tables`) or with \
                 `-fno-omit-frame-pointer`; hand-written assembler wants `.cfi` directives. Files that cannot be read are named by `--log debug`.",
    },
    Reason {
        code: "no_frame_pointer",
        title: "No frame pointer",
        text: "The code keeps no frame pointer, and its unwind table was not there when it was sampled.",
        advice: "In a program's first moments this happens, and passes. If it stays, tables are too large for their \
                 budget: see `vesta_unwind_tables_evicted_total` and `vesta_unwind_tables_failed_total`.",
    },
    Reason {
        code: "copy_too_short",
        title: "Copy of the stack too short",
        text: "The program had just started: without an unwind table in the kernel its stack was walked by a copy of its \
               innermost and outermost 64 KiB, and goes on outside of these.",
        advice: "It passes as soon as the table is there; a program that lives for a moment only may never get that far.",
    },
    Reason {
        code: "end_not_proven",
        title: "End not proven",
        text: "The chain of frame pointers ended in code that is not known to start a process or a thread.",
        advice: "Usual for hand-made stacks of code that only frame pointers lead through: the frames shown are right, and seldom is one missing.",
    },
    Reason {
        code: "depth_limit",
        title: "Deeper than 1,024 frames",
        text: "The stack has more frames than are kept; the outermost ones are missing.",
        advice: "Usually a recursion: the function where the walk stopped is part of it.",
    },
    Reason {
        code: "unreadable_stack",
        title: "Stack not readable",
        text: "The next frame would lie in memory that could not be read.",
        advice: KEEP_FRAME_POINTERS,
    },
    Reason {
        code: "not_ascending",
        title: "Frame pointer out of order",
        text: "The frame pointer did not lead up the stack: the code uses its register for something else.",
        advice: KEEP_FRAME_POINTERS,
    },
    Reason {
        code: "bad_return_address",
        title: "No return address",
        text: "Where the return address should be, there was none.",
        advice: KEEP_FRAME_POINTERS,
    },
    Reason {
        code: "unsupported_rule",
        title: "Unwind rule not supported",
        text: "The call frame information locates the frame in a way that Vesta does not follow.",
        advice: "Please report it: `vesta debug unwind-table FILE --at ADDRESS` shows the rule.",
    },
    Reason {
        code: "no_registers",
        title: "No user registers",
        text: "The kernel could not tell where in its program the thread was.",
        advice: "",
    },
    Reason {
        code: "kernel_stack_failed",
        title: "Kernel stack not readable",
        text: "The kernel could not walk its own part of the stack.",
        advice: "",
    },
    Reason {
        code: "kernel_depth_limit",
        title: "Kernel stack deeper than 127 frames",
        text: "The kernel's part of the stack has more frames than are kept.",
        advice: "",
    },
];

/// Why nothing is known of a stack: the status of what was imported.
pub const NOT_JUDGED: [Reason; 1] = [Reason {
    code: "imported",
    title: "Taken by another tool",
    text: "Another profiler took the stack; whether it is whole is not known.",
    advice: "",
}];

/// Every reason why a sample is lost.
pub const LOST: [Reason; 6] = [
    Reason {
        code: "ring_full",
        title: "Ring buffer full",
        text: "The agent did not get to read the kernel's ring buffer in time.",
        advice: SAMPLE_LESS,
    },
    Reason {
        code: "no_scratch",
        title: "No scratch memory in the kernel",
        text: "The kernel program had no memory to work in: the sample interrupted another one on its CPU.",
        advice: "",
    },
    Reason {
        code: "queue_full",
        title: "Queue of the agent full",
        text: "Samples arrived faster than the agent could count them.",
        advice: SAMPLE_LESS,
    },
    Reason {
        code: "malformed",
        title: "Record not readable",
        text: "The kernel program sent a record that the agent does not understand.",
        advice: "Please report it.",
    },
    Reason {
        code: "unread",
        title: "Never read",
        text: "The kernel program sent a sample that the agent never saw.",
        advice: "Please report it.",
    },
    Reason {
        code: "store_failed",
        title: "Could not be stored",
        text: "Samples could be neither logged nor written when their window closed.",
        advice: "Is the disk full? The log says why.",
    },
];

/// The reason of this name out of [`INCOMPLETE`] or [`LOST`].
pub fn known<'a>(code: &str, among: &'a [Reason]) -> Option<&'a Reason> {
    among.iter().find(|reason| reason.code == code)
}

/// The name of a reason in words, of one that this version does not know, too.
pub fn title(code: &str, among: &[Reason]) -> Cow<'static, str> {
    match known(code, among) {
        Some(reason) => reason.title.into(),
        None => code.replace('_', " ").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_reads_as_a_sentence_and_is_there_once() {
        for (i, reason) in INCOMPLETE.iter().chain(&NOT_JUDGED).chain(&LOST).enumerate() {
            let Reason { code, title, text, advice } = reason;
            assert!(code.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{code}");
            assert!(title.starts_with(char::is_uppercase) && !title.ends_with('.'), "{title}");
            assert!(text.starts_with(char::is_uppercase) && text.ends_with('.'), "{text}");
            assert!(advice.is_empty() || advice.ends_with(['.', '?']), "{advice}");
            assert_eq!(advice.matches('`').count() % 2, 0, "{advice}");
            let same =
                INCOMPLETE.iter().chain(&NOT_JUDGED).chain(&LOST).position(|other| other.code == *code);
            assert_eq!(same, Some(i), "{code}");
        }
        assert_eq!(title("no_registers", &INCOMPLETE), "No user registers");
        assert_eq!(title("moon_in_the_way", &INCOMPLETE), "moon in the way");
    }

    #[test]
    fn the_manual_says_the_same() {
        let manual = include_str!("../../../docs/operations.md");
        for Reason { code, text, advice, .. } in INCOMPLETE.iter().chain(&NOT_JUDGED).chain(&LOST) {
            let row = format!("| `{code}` | {text} | {advice} |\n").replace("|  |", "| |");
            assert!(manual.contains(&row), "docs/operations.md lacks the row\n{row}");
        }
    }
}
