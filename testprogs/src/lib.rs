//! Programs with known stacks, and the way to build them.
//!
//! Each program is a folder of this package; the comment at the head of its source states the stacks to expect.
//! All of them end by themselves after the time given, and none calls a library on its burning path, so that
//! every sample of a build with frame pointers can be walked to `main`.
//!
//! This package serves tests: where a program cannot be built it panics and says what is missing.

use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process};

/// A program of this package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Program {
    /// C: three functions that share the CPU 70/20/10. `shares [SECONDS=5]`
    Shares,
    /// C: a stack of a given depth. `recursion [DEPTH=60] [SECONDS=5]`
    Recursion,
    /// C++: named threads in templates, methods and inlined functions. `threads [COUNT=4] [SECONDS=5]`
    Threads,
    /// Rust: generic and inlined functions. `inlines [SECONDS=5]`
    Inlines,
    /// C: children by fork and exec that live 30 ms each. `short_lived [PER_SECOND=40] [SECONDS=5]`
    ShortLived,
    /// C: system calls in a loop. `syscalls [SECONDS=5]`
    Syscalls,
    /// C: code made at run time, named in /tmp/perf-PID.map. `jit [SECONDS=5]`
    Jit,
}

/// How a program is built. All variants are optimised and carry a build ID.
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
}

#[derive(Clone, Copy)]
enum Language {
    C,
    Cpp,
    Rust,
}

impl Program {
    /// Every program.
    pub const ALL: [Self; 7] = [
        Self::Shares,
        Self::Recursion,
        Self::Threads,
        Self::Inlines,
        Self::ShortLived,
        Self::Syscalls,
        Self::Jit,
    ];

    /// Name of its folder, its executable and its process.
    pub fn name(self) -> &'static str {
        match self {
            Self::Shares => "shares",
            Self::Recursion => "recursion",
            Self::Threads => "threads",
            Self::Inlines => "inlines",
            Self::ShortLived => "short_lived",
            Self::Syscalls => "syscalls",
            Self::Jit => "jit",
        }
    }

    /// Its one source file.
    pub fn source(self) -> PathBuf {
        package().join(self.relative_source())
    }

    fn relative_source(self) -> String {
        let extension = match self.language() {
            Language::C => "c",
            Language::Cpp => "cpp",
            Language::Rust => "rs",
        };
        format!("{0}/{0}.{extension}", self.name())
    }

    fn language(self) -> Language {
        match self {
            Self::Threads => Language::Cpp,
            Self::Inlines => Language::Rust,
            _ => Language::C,
        }
    }
}

impl Variant {
    /// Every variant.
    pub const ALL: [Self; 4] = [Self::FramePointers, Self::NoFramePointers, Self::Static, Self::Stripped];

    fn name(self) -> &'static str {
        match self {
            Self::FramePointers => "frame_pointers",
            Self::NoFramePointers => "no_frame_pointers",
            Self::Static => "static",
            Self::Stripped => "stripped",
        }
    }
}

/// Path of the program's executable, built by the machine's compiler on first use and kept under
/// `target/testprogs` by the hash of its source, flags and compiler. Safe to call from many processes at once.
///
/// # Panics
/// Where the compiler is missing or rejects the source.
pub fn build(program: Program, variant: Variant) -> PathBuf {
    let (compiler, flags) = command_line(program.language(), variant);
    let hash = content_hash(program, compiler, &flags);
    let home = target().join("testprogs");
    let finished = home.join(format!("{}-{}-{hash:016x}", program.name(), variant.name()));
    let executable = finished.join(program.name());
    if executable.exists() {
        return executable;
    }
    // Built aside and renamed as a whole folder: whoever comes second finds the first one's.
    static SEQUENCE: AtomicU32 = AtomicU32::new(0);
    let aside = home.join(format!(".{}-{}", process::id(), SEQUENCE.fetch_add(1, Ordering::Relaxed)));
    done(fs::create_dir_all(&aside), "create", &aside);
    compile(program, compiler, &flags, &aside.join(program.name()));
    if fs::rename(&aside, &finished).is_err() {
        assert!(executable.exists(), "cannot move {} to {}", aside.display(), finished.display());
        done(fs::remove_dir_all(&aside), "remove", &aside);
    }
    executable
}

fn command_line(language: Language, variant: Variant) -> (&'static str, Vec<&'static str>) {
    let compiler = match language {
        Language::C => "gcc",
        Language::Cpp => "g++",
        Language::Rust => "rustc",
    };
    let mut flags = match language {
        Language::C => vec!["-std=gnu17", "-D_GNU_SOURCE"],
        Language::Cpp => vec!["-std=c++17", "-pthread"],
        Language::Rust => {
            vec!["--edition=2024", "-O", "-g", "-Cpanic=abort", "-Clink-arg=-Wl,--build-id=sha1"]
        }
    };
    if matches!(language, Language::Rust) {
        flags.push(match variant {
            Variant::NoFramePointers => "-Cforce-frame-pointers=no",
            _ => "-Cforce-frame-pointers=yes",
        });
        flags.extend(match variant {
            Variant::Static => Some("-Ctarget-feature=+crt-static"),
            Variant::Stripped => Some("-Cstrip=symbols"),
            _ => None,
        });
    } else {
        flags.extend(["-O2", "-g", "-Wall", "-Wextra", "-Icommon", "-fno-optimize-sibling-calls"]);
        flags.push("-Wl,--build-id=sha1");
        flags.extend(match variant {
            Variant::NoFramePointers => ["-fomit-frame-pointer"].as_slice(),
            // Shrink-wrapping would set the frame pointer up late, or not on every path.
            _ => &["-fno-omit-frame-pointer", "-mno-omit-leaf-frame-pointer", "-fno-shrink-wrap"],
        });
        flags.extend(match variant {
            Variant::Static => Some("-static"),
            Variant::Stripped => Some("-s"),
            _ => None,
        });
    }
    (compiler, flags)
}

fn content_hash(program: Program, compiler: &str, flags: &[&str]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (program.name(), compiler, flags).hash(&mut hasher);
    run(compiler, Command::new(compiler).arg("--version")).hash(&mut hasher);
    for path in [program.source(), package().join("common/run_for.h")] {
        done(fs::read(&path), "read", &path).hash(&mut hasher);
    }
    hasher.finish()
}

fn compile(program: Program, compiler: &str, flags: &[&str], output: &Path) {
    let mut command = Command::new(compiler);
    command.current_dir(package()).args(flags).arg(program.relative_source()).arg("-o").arg(output);
    run(compiler, &mut command);
}

/// Standard output of a compiler's run that went well.
fn run(compiler: &str, command: &mut Command) -> Vec<u8> {
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => panic!(
            "the compiler `{compiler}`, which the test programs need, cannot be run: {error}; \
             `apt install gcc g++` or rustup provides it"
        ),
    };
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed ({}):\n{messages}", output.status);
    output.stdout
}

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(path) => path.into(),
        None => package().with_file_name("target"),
    }
}

fn done<T: Debug>(result: std::io::Result<T>, action: &str, path: &Path) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("cannot {action} {}: {error}", path.display()),
    }
}
