//! Programs with known stacks, and the way to build them.
//!
//! Each program is a folder of this package; the comment at the head of its source states the stacks to expect.
//! All of them end by themselves after the time given, and none calls a library on its burning path, so that
//! every sample of a build with frame pointers can be walked to `main`.
//!
//! This package serves tests: where a program cannot be built it panics and says what is missing.

mod compile;

use std::path::{Path, PathBuf};

use compile::Language;
pub use compile::build;

/// A program of this package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Program {
    /// C: three functions that share the CPU 70/20/10. `shares [SECONDS=5]`
    Shares,
    /// C: a stack of a given depth. `recursion [DEPTH=60] [SECONDS=5] [LARGE=0]`
    Recursion,
    /// C++: named threads in templates, methods and inlined functions. `threads [COUNT=4] [SECONDS=5]`
    Threads,
    /// Rust: generic and inlined functions. `inlines [SECONDS=5]`
    Inlines,
    /// C: children by fork and exec that live 30 ms each. `short_lived [PER_SECOND=40] [SECONDS=5] [CHILD_SECONDS=0.03]`
    ShortLived,
    /// C: system calls in a loop. `syscalls [SECONDS=5]`
    Syscalls,
    /// C: code made at run time, named in /tmp/perf-PID.map. `jit [SECONDS=5] [MEMFD=0]`
    Jit,
    /// C: code made again and again at the same address. `jit_reuse [SECONDS=5]`
    JitReuse,
    /// C: code made at run time, without frame pointers. `jit_frameless [SECONDS=5]`
    JitFrameless,
    /// C: code made at run time that has a stack of its own. `stack_machine [SECONDS=5]`
    StackMachine,
    /// C: stacks that the program makes by hand. `coroutines [SECONDS=5]`
    Coroutines,
    /// C: a process whose first thread has ended. `headless [SECONDS=5]`
    Headless,
    /// C: a signal handler over an interrupted function. `signals [ALTERNATE=0] [SECONDS=5]`
    Signals,
    /// C: calls through the procedure linkage table. `plt [REBIND=0] [SECONDS=5]`
    Plt,
    /// C: aligned stacks and alloca. `realigned [SECONDS=5]`
    Realigned,
    /// C: a call that does not return at a function's end. `noreturn [SECONDS=5]`
    Noreturn,
    /// C: a child in its parent's address space. `vforked [SECONDS=5]`
    Vforked,
    /// C: sibling calls. `tail_calls [SECONDS=5]`
    TailCalls,
    /// C++: exceptions in flight. `exceptions [SECONDS=5]`
    Exceptions,
    /// C: a library that is loaded and unloaded. `plugin [SECONDS=5]`
    Plugin,
    /// C: functions without unwind information among others. `sorted [HOW=1] [SECONDS=5]`
    Sorted,
    /// C and assembler: unusual call frame information. `assembler [SECONDS=5]`
    Assembler,
    /// Go. `goroutines [SECONDS=5]`
    Goroutines,
    /// Go: functions that leave a goroutine's stack. `stack_switches [SECONDS=5]`
    StackSwitches,
    /// C: two callers by turns at the same place of the stack. `callers [SECONDS=5]`
    Callers,
    /// C: a thread at the end of its stack. `nearly_full [SECONDS=5]`
    NearlyFull,
    /// C: very many mappings of code. `mapped [MAPPINGS=1000] [SECONDS=5]`
    Mapped,
    /// C: mappings that are moved, cut and replaced under their feet. `remapped [SECONDS=5]`
    Remapped,
    /// C++: nested templates, lambdas and inlined functions of the standard library. `templates [SECONDS=5]`
    Templates,
}

/// How a program is built. All variants are optimised and, but for Go's, carry a build ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Variant {
    /// Every function keeps a frame pointer, leaf functions too; with debug info.
    FramePointers,
    /// The frame pointer is a register like any other; with debug info.
    NoFramePointers,
    /// Like `FramePointers`, linked statically: libc is in the file, at a fixed address.
    Static,
    /// Like `FramePointers`, without symbol table and debug info.
    Stripped,
    /// Like `NoFramePointers`, linked statically, at any address.
    StaticPie,
    /// Like `NoFramePointers`, without symbol table and debug info.
    StrippedNoFramePointers,
    /// Like `NoFramePointers`; call frame information is in the debug info (.debug_frame) only.
    DebugFrame,
    /// Like `NoFramePointers`, without any call frame information, nor debug info.
    NoUnwindInfo,
    /// Like `StrippedNoFramePointers`, linked statically with musl, which keeps no call frame information of its own.
    StaticMusl,
}

use Variant::{
    DebugFrame, FramePointers, NoFramePointers, NoUnwindInfo, Static, StaticMusl, StaticPie, Stripped,
    StrippedNoFramePointers,
};

/// What there is to know of a program.
struct Facts {
    name: &'static str,
    language: Language,
    /// Flags of its own, behind those of its variant.
    flags: &'static [&'static str],
    /// Another source file in its folder, in the same executable.
    part: Option<&'static str>,
    /// The source file of a library in its folder, which is built to NAME.so beside the executable.
    library: Option<&'static str>,
    variants: &'static [Variant],
}

impl Facts {
    const fn new(name: &'static str, language: Language, variants: &'static [Variant]) -> Self {
        Self { name, language, flags: &[], part: None, library: None, variants }
    }
}

const PLAIN: &[Variant] = &[FramePointers, NoFramePointers, Static, Stripped];
const BOTH: &[Variant] = &[FramePointers, NoFramePointers];

impl Program {
    /// Every program.
    pub const ALL: [Self; 29] = [
        Self::Shares,
        Self::Recursion,
        Self::Threads,
        Self::Inlines,
        Self::ShortLived,
        Self::Syscalls,
        Self::Jit,
        Self::JitReuse,
        Self::JitFrameless,
        Self::StackMachine,
        Self::Coroutines,
        Self::Headless,
        Self::Signals,
        Self::Plt,
        Self::Realigned,
        Self::Noreturn,
        Self::Vforked,
        Self::TailCalls,
        Self::Exceptions,
        Self::Plugin,
        Self::Sorted,
        Self::Assembler,
        Self::Goroutines,
        Self::StackSwitches,
        Self::Callers,
        Self::NearlyFull,
        Self::Mapped,
        Self::Remapped,
        Self::Templates,
    ];

    fn facts(self) -> Facts {
        use Language::{C, Cpp, Go, Rust};
        match self {
            Self::Shares => Facts::new("shares", C, &Variant::ALL),
            Self::Recursion => Facts::new("recursion", C, PLAIN),
            Self::Threads => Facts::new("threads", Cpp, PLAIN),
            Self::Inlines => {
                Facts::new("inlines", Rust, &[FramePointers, NoFramePointers, Static, Stripped, DebugFrame])
            }
            Self::ShortLived => Facts::new("short_lived", C, PLAIN),
            Self::Syscalls => Facts::new("syscalls", C, PLAIN),
            Self::Jit => Facts::new("jit", C, PLAIN),
            Self::JitReuse => Facts::new("jit_reuse", C, BOTH),
            Self::JitFrameless => Facts::new("jit_frameless", C, BOTH),
            Self::StackMachine => Facts::new("stack_machine", C, BOTH),
            Self::Coroutines => Facts::new("coroutines", C, BOTH),
            Self::Headless => Facts { flags: &["-pthread"], ..Facts::new("headless", C, BOTH) },
            Self::Signals => Facts::new("signals", C, BOTH),
            Self::Plt => Facts { flags: &["-Wl,-z,lazy"], ..Facts::new("plt", C, BOTH) },
            Self::Realigned => Facts::new("realigned", C, BOTH),
            Self::Noreturn => Facts::new("noreturn", C, BOTH),
            Self::Vforked => Facts::new("vforked", C, BOTH),
            Self::TailCalls => {
                Facts { flags: &["-foptimize-sibling-calls"], ..Facts::new("tail_calls", C, BOTH) }
            }
            Self::Exceptions => Facts::new("exceptions", Cpp, &[FramePointers, NoFramePointers, Static]),
            Self::Plugin => {
                Facts { flags: &["-ldl"], library: Some("library.c"), ..Facts::new("plugin", C, BOTH) }
            }
            Self::Sorted => Facts::new("sorted", C, BOTH),
            Self::Assembler => Facts {
                flags: &["-pthread"],
                part: Some("functions.S"),
                ..Facts::new("assembler", C, &[NoFramePointers])
            },
            Self::Goroutines => Facts::new("goroutines", Go, &[FramePointers, Stripped]),
            Self::StackSwitches => Facts::new("stack_switches", Go, &[FramePointers, Stripped]),
            Self::Callers => Facts::new("callers", C, BOTH),
            Self::NearlyFull => {
                let variants = &[FramePointers, NoFramePointers, StaticMusl];
                Facts { flags: &["-pthread"], ..Facts::new("nearly_full", C, variants) }
            }
            Self::Mapped => Facts::new("mapped", C, BOTH),
            Self::Remapped => Facts {
                flags: &["-fPIC", "-ldl"],
                library: Some("library.c"),
                ..Facts::new("remapped", C, BOTH)
            },
            Self::Templates => Facts::new("templates", Cpp, BOTH),
        }
    }

    /// Name of its folder, its executable and its process.
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// Whether it makes code, whose names it leaves in `/tmp/perf-PID.map`.
    pub fn makes_code(self) -> bool {
        matches!(self, Self::Jit | Self::JitReuse | Self::JitFrameless | Self::StackMachine)
    }

    /// The variants it can be built in.
    pub fn variants(self) -> &'static [Variant] {
        self.facts().variants
    }

    /// Its source file; the first, where it has more.
    pub fn source(self) -> PathBuf {
        package().join(self.relative_source())
    }

    fn relative_source(self) -> String {
        let Facts { name, language, .. } = self.facts();
        format!("{name}/{name}.{}", language.extension())
    }
}

impl Variant {
    /// Every variant.
    pub const ALL: [Self; 9] = [
        FramePointers,
        NoFramePointers,
        Static,
        Stripped,
        StaticPie,
        StrippedNoFramePointers,
        DebugFrame,
        NoUnwindInfo,
        StaticMusl,
    ];

    fn name(self) -> &'static str {
        match self {
            FramePointers => "frame_pointers",
            NoFramePointers => "no_frame_pointers",
            Static => "static",
            Stripped => "stripped",
            StaticPie => "static_pie",
            StrippedNoFramePointers => "stripped_no_frame_pointers",
            DebugFrame => "debug_frame",
            NoUnwindInfo => "no_unwind_info",
            StaticMusl => "static_musl",
        }
    }

    fn keeps_frame_pointers(self) -> bool {
        matches!(self, FramePointers | Static | Stripped)
    }
}

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
