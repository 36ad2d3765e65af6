//! Stacks of all the kinds that are hard to walk, each of a program that has nothing else: the heads of their sources
//! say what they are. All programs run at once, in one recording.

use std::{fs, os::unix::fs::symlink};

use testprogs::{
    Program,
    Variant::{
        self, DebugFrame, FramePointers, NoFramePointers, NoUnwindInfo, Static, StaticMusl, StaticPie,
        Stripped, StrippedNoFramePointers,
    },
};

use crate::vesta::{Recording, Stack, plain, program, quiet, record};

/// Slow enough that each sample of a program whose tables are not there yet comes with a copy of its stack.
const FREQUENCY: &str = "149";
/// Wall time of the programs: some eighty samples of each, when two CPUs have nothing else to do.
const SECONDS: &str = "10";
/// Samples that make a finding one; each of them has to be right.
const ENOUGH: u64 = 3;

/// What has to hold for the samples of a kind of stack.
enum Expected {
    /// This part of a hundred, or more, is complete.
    Whole(u64),
    /// All are incomplete, with this mark for this part of a hundred or more.
    Marked(&'static str, u64),
}
use Expected::{Marked, Whole};

/// A kind of stack: the program's own functions in it, the outermost first. The last one tells it from others; on top
/// of it, and between them, may lie functions that are not named here. Without any functions: all of a process.
struct Kind {
    chain: &'static [&'static str],
    expected: Expected,
}

struct Case {
    /// The process's name, at most 15 bytes.
    name: &'static str,
    program: (Program, Variant),
    /// Those before the number of seconds.
    arguments: &'static [&'static str],
    kinds: &'static [Kind],
}

const fn kind(chain: &'static [&'static str], expected: Expected) -> Kind {
    Kind { chain, expected }
}

/// Most of what comes before the tables is whole, too: by copies. What is not is of the first milliseconds.
const NEARLY_ALL: Expected = Whole(95);
/// Copies are bounded: on a busy machine two samples may lie too close together.
const BY_COPIES: Expected = Whole(80);
/// A copy holds one stack: the other one is found only once there are tables.
const ON_TWO_STACKS: Expected = Whole(60);
/// The code is read from the process's memory, soon after the sample: its last samples come too late.
const BY_CODE: Expected = Whole(70);

#[rustfmt::skip]
const CASES: &[Case] = &[
    Case { name: "signal", program: (Program::Signals, NoFramePointers), arguments: &["0"], kinds: &[kind(TRAPPED, NEARLY_ALL)] },
    Case { name: "signal_stack", program: (Program::Signals, NoFramePointers), arguments: &["1"], kinds: &[kind(TRAPPED, NEARLY_ALL)] },
    Case { name: "plt", program: (Program::Plt, NoFramePointers), arguments: &["0"], kinds: &[kind(&["main", "call_often"], NEARLY_ALL)] },
    // The linker's entry to its binding code finds its frame by rbx: what it calls is walked from copies.
    Case { name: "plt_rebind", program: (Program::Plt, NoFramePointers), arguments: &["1"], kinds: &[kind(&[], BY_COPIES)] },
    Case { name: "realigned", program: (Program::Realigned, NoFramePointers), arguments: &[], kinds: &[kind(ALIGNED, NEARLY_ALL)] },
    Case { name: "realigned_fp", program: (Program::Realigned, FramePointers), arguments: &[], kinds: &[kind(ALIGNED, NEARLY_ALL)] },
    Case { name: "noreturn", program: (Program::Noreturn, NoFramePointers), arguments: &[], kinds: &[kind(&["main", "give_up", "burn_and_exit"], NEARLY_ALL)] },
    Case { name: "vforked", program: (Program::Vforked, NoFramePointers), arguments: &[], kinds: &[kind(&["main", "share_memory", "burn_in_child"], NEARLY_ALL)] },
    Case { name: "tail_calls", program: (Program::TailCalls, NoFramePointers), arguments: &[], kinds: &[kind(&["main", "calls", "third"], NEARLY_ALL)] },
    Case { name: "deep", program: (Program::Recursion, NoFramePointers), arguments: &["5000"], kinds: &[kind(&["descend", "burn_at_bottom"], Marked("[depth limit]", 100))] },
    Case { name: "exceptions", program: (Program::Exceptions, NoFramePointers), arguments: &[], kinds: &[kind(&["main", "catch_them(unsigned long)"], NEARLY_ALL)] },
    Case { name: "exceptions_fp", program: (Program::Exceptions, FramePointers), arguments: &[], kinds: &[kind(&["main", "catch_them(unsigned long)"], NEARLY_ALL)] },
    Case { name: "exceptions_st", program: (Program::Exceptions, Static), arguments: &[], kinds: &[kind(&["main", "catch_them(unsigned long)"], NEARLY_ALL)] },
    Case { name: "plugin", program: (Program::Plugin, NoFramePointers), arguments: &[], kinds: &[kind(&["main", "load_and_call", "plugin_entry", "plugin_burn"], NEARLY_ALL)] },
    Case { name: "sorted", program: (Program::Sorted, NoFramePointers), arguments: &["1"], kinds: &[kind(&["main", "sort_with_frame", "compare_slowly"], NEARLY_ALL)] },
    Case { name: "sorted_fp", program: (Program::Sorted, FramePointers), arguments: &["1"], kinds: &[kind(&["main", "sort_with_frame", "compare_slowly"], NEARLY_ALL)] },
    Case { name: "sorted_no_frame", program: (Program::Sorted, NoFramePointers), arguments: &["0"], kinds: &[kind(&["main", "sort_without_frame", "compare_slowly"], NEARLY_ALL)] },
    Case { name: "sorted_unseen", program: (Program::Sorted, NoFramePointers), arguments: &["2"], kinds: &[kind(&["sort_out_of_sight", "compare_slowly"], Marked("[no unwind row]", 95))] },
    Case { name: "assembler", program: (Program::Assembler, NoFramePointers), arguments: &[], kinds: &[
        kind(&["worker", "cfa_in_rax"], NEARLY_ALL),
        kind(&["worker", "cfa_in_r10"], NEARLY_ALL),
        kind(&["worker", "cfa_in_r13"], NEARLY_ALL),
        kind(&["worker", "cfa_in_r13_calls"], BY_COPIES),
        kind(&["worker", "cfa_behind_rsp"], NEARLY_ALL),
        kind(&["worker", "cfa_behind_rsp_calls"], NEARLY_ALL),
        kind(&["worker", "rbp_by_expression", "saves_rbp_by_expression"], NEARLY_ALL),
        kind(&["worker", "return_address_in_rdx"], NEARLY_ALL),
        kind(&["worker", "cfa_in_r11_traps", "on_trap", "burn_in_handler"], NEARLY_ALL),
    ] },
    Case { name: "callers", program: (Program::Callers, NoFramePointers), arguments: &[], kinds: BY_TURNS },
    Case { name: "callers_fp", program: (Program::Callers, FramePointers), arguments: &[], kinds: BY_TURNS },
    Case { name: "goroutines", program: (Program::Goroutines, FramePointers), arguments: &[], kinds: &[
        kind(&["runtime.goexit", "runtime.main", "main.main", "main.outer"], NEARLY_ALL),
        kind(&["runtime.goexit", "main.main.func2", "main.other"], NEARLY_ALL),
    ] },
    // Stripped of call frame information, and walked by the table of Go's own runtime.
    Case { name: "goroutines_s", program: (Program::Goroutines, Stripped), arguments: &[], kinds: &[kind(&[], NEARLY_ALL)] },
    Case { name: "stack_switches", program: (Program::StackSwitches, FramePointers), arguments: &[], kinds: &[
        // By what no other function comes to: `runtime.systemstack` makes goroutines, and `runtime.morestack` asks them to give way, too.
        kind(&["runtime.goexit", "main.lookBack", "runtime.systemstack", "runtime.callers.func1"], ON_TWO_STACKS),
        kind(&["runtime.goexit", "main.tellTime", "time.now"], ON_TWO_STACKS),
        kind(&["runtime.goexit", "main.descend", "runtime.morestack", "runtime.copystack"], ON_TWO_STACKS),
    ] },
    Case { name: "switches_s", program: (Program::StackSwitches, Stripped), arguments: &[], kinds: &[kind(&[], ON_TWO_STACKS)] },
    Case { name: "nearly_full", program: (Program::NearlyFull, NoFramePointers), arguments: &[], kinds: &[kind(&["fill_stack", "descend_to_the_end", "burn_at_the_end"], NEARLY_ALL)] },
    Case { name: "static_pie", program: (Program::Shares, StaticPie), arguments: &[], kinds: &[kind(&["main", "work"], NEARLY_ALL)] },
    Case { name: "stripped", program: (Program::Shares, StrippedNoFramePointers), arguments: &[], kinds: &[kind(&[], NEARLY_ALL)] },
    // Nothing in these files says where stacks end but the code of their C library, of the process and of a thread.
    Case { name: "static_musl", program: (Program::Shares, StaticMusl), arguments: &[], kinds: &[kind(&[], NEARLY_ALL)] },
    Case { name: "musl_thread", program: (Program::NearlyFull, StaticMusl), arguments: &[], kinds: &[kind(&[], NEARLY_ALL)] },
    Case { name: "debug_frame", program: (Program::Shares, DebugFrame), arguments: &[], kinds: &[kind(&["main", "work"], NEARLY_ALL)] },
    // By what its instructions do to the stack pointer.
    Case { name: "no_unwind_info", program: (Program::Shares, NoUnwindInfo), arguments: &[], kinds: &[kind(&["main", "work", "burn_seventy"], NEARLY_ALL)] },
    Case { name: "jit_frameless", program: (Program::JitFrameless, NoFramePointers), arguments: &[], kinds: &[kind(&["main", "run_emitted", "emitted_outer", "emitted_loop"], BY_CODE)] },
    Case { name: "stack_machine", program: (Program::StackMachine, NoFramePointers), arguments: &[], kinds: ON_OWN_STACK },
    Case { name: "coroutines", program: (Program::Coroutines, NoFramePointers), arguments: &[], kinds: HAND_MADE },
    Case { name: "coroutines_fp", program: (Program::Coroutines, FramePointers), arguments: &[], kinds: HAND_MADE },
    Case { name: "rust_abort", program: (Program::Inlines, NoFramePointers), arguments: &[], kinds: &[kind(&["main", "inlines::main", "inlines::burn_all"], NEARLY_ALL)] },
    Case { name: "rust_debug", program: (Program::Inlines, DebugFrame), arguments: &[], kinds: &[kind(&["main", "inlines::main", "inlines::burn_all"], NEARLY_ALL)] },
];

#[rustfmt::skip]
const BY_TURNS: &[Kind] = &[
    kind(&["main", "by_turns", "one_caller", "between", "burn_for_one"], NEARLY_ALL),
    kind(&["main", "by_turns", "other_caller", "between", "burn_for_other"], NEARLY_ALL),
];
#[rustfmt::skip]
const HAND_MADE: &[Kind] = &[
    kind(&["main", "burn_between"], NEARLY_ALL),
    kind(&["on_context", "burn_on_context"], NEARLY_ALL),
    kind(&["on_zero", "burn_on_zero"], NEARLY_ALL),
    kind(&["begin_and_stop", "on_stop", "burn_on_stop"], NEARLY_ALL),
];
#[rustfmt::skip]
const ON_OWN_STACK: &[Kind] = &[
    kind(&["emitted_exit", "emitted_outer", "emitted_loop"], BY_CODE),
    kind(&["emitted_exit", "emitted_outer", "emitted_call", "burn_in_c"], BY_CODE),
];
const TRAPPED: &[&str] = &["main", "provoke", "trap_at_once", "on_trap", "burn_in_handler"];
const ALIGNED: &[&str] = &["main", "forced", "grown", "aligned", "aligned_and_grown", "burn_aligned"];

/// Functions that lie beside those of a chain, or have left it: in no stack.
const NEVER: [&str; 4] = ["not_interrupted", "next_door", "first", "second"];

/// Records until there are enough samples of every kind: a machine that is busy otherwise gives few.
fn recorded() -> Recording {
    const RECORDINGS_AT_MOST: u32 = 3;
    let mut recording = recorded_once();
    for _ in 1..RECORDINGS_AT_MOST {
        let is_enough =
            |(name, kind): (&str, &Kind)| recording.samples(|stack| is_of_kind(stack, name, kind)) >= ENOUGH;
        if kinds().all(is_enough) {
            break;
        }
        recording.stacks.extend(recorded_once().stacks);
    }
    recording
}

fn kinds() -> impl Iterator<Item = (&'static str, &'static Kind)> {
    CASES.iter().flat_map(|case| case.kinds.iter().map(|kind| (case.name, kind)))
}

fn is_of_kind(stack: &Stack, name: &str, kind: &Kind) -> bool {
    stack.process == name && kind.chain.last().is_none_or(|innermost| stack.has(innermost))
}

fn recorded_once() -> Recording {
    let folder = tempfile::tempdir().unwrap();
    let mut script = String::new();
    for Case { name, program: (of, variant), arguments, .. } in CASES {
        assert!(name.len() <= 15, "{name}");
        // Under a name of its own, which becomes the process's.
        let path = folder.path().join(name);
        symlink(fs::canonicalize(program(*of, *variant)).unwrap(), &path).unwrap();
        // Code is read from running processes: the agent is to have the CPU for that in time.
        script.push_str(&format!("nice -n 19 {} {} {SECONDS} & ", path.display(), arguments.join(" ")));
    }
    script.push_str("wait");
    record(&["--frequency", FREQUENCY], &["sh", "-c", &script])
}

/// The functions of a stack that the test knows, the outermost first, repeated ones once.
fn known<'a>(stack: &'a Stack, chain: &[&str]) -> Vec<&'a str> {
    let mut names: Vec<_> = stack.frames.iter().map(|frame| plain(frame)).collect();
    names.retain(|name| chain.contains(name) || NEVER.contains(name));
    names.dedup();
    names
}

/// What is wrong with a case's stacks of a kind; none if nothing is.
fn complaint(recording: &Recording, name: &str, kind: &Kind) -> Option<String> {
    let Kind { chain, expected } = kind;
    let stacks: Vec<_> = recording.stacks.iter().filter(|stack| is_of_kind(stack, name, kind)).collect();
    let count = |passes: &dyn Fn(&Stack) -> bool| {
        stacks.iter().filter(|stack| passes(stack)).map(|stack| stack.samples).sum::<u64>()
    };
    let all = count(&|_| true);
    let whole = count(&|stack| stack.is_whole());
    let marked = |mark: &str| count(&|stack| stack.frames.first().is_some_and(|frame| frame == mark));
    // However a stack ends, the frames it has are right.
    let wrong = count(&|stack| {
        let known = known(stack, chain);
        if stack.is_whole() { known != *chain } else { !chain.ends_with(&known) }
    });
    let holds = match expected {
        Whole(percent) => whole * 100 >= all * percent,
        Marked(mark, percent) => whole == 0 && marked(mark) * 100 >= all * percent,
    };
    if all >= ENOUGH && wrong == 0 && holds {
        return None;
    }
    let mut lines = vec![format!("{name} {chain:?}: {all} samples, {whole} whole, {wrong} wrong")];
    lines.extend(stacks.iter().map(|stack| format!("  {} {}", stack.samples, stack.frames.join(";"))));
    Some(lines.join("\n"))
}

#[test]
fn the_stacks_of_every_program_are_as_its_source_says() {
    let _quiet = quiet();
    let recording = recorded();
    let complaints: Vec<_> = kinds().filter_map(|(name, kind)| complaint(&recording, name, kind)).collect();
    assert!(complaints.is_empty(), "{}\n{}", complaints.join("\n"), recording.summary);
    let through_table = recording.samples(|stack| stack.process == "plt" && stack.has("ffsl@plt"));
    assert!(through_table > 0, "no sample in the procedure linkage table");
}
