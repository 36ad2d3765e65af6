//! Building programs by the machine's compilers.

use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process};

use crate::{Facts, Program, Variant, package};

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Language {
    C,
    Cpp,
    Rust,
    Go,
}

impl Language {
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::C => "c",
            Self::Cpp => "cpp",
            Self::Rust => "rs",
            Self::Go => "go",
        }
    }

    fn compiler(self, variant: Variant) -> &'static str {
        match self {
            Self::C if variant == Variant::StaticMusl => "musl-gcc",
            Self::C => "gcc",
            Self::Cpp => "g++",
            Self::Rust => "rustc",
            Self::Go => "go",
        }
    }
}

/// Path of the program's executable, built by the machine's compiler on first use and kept under
/// `target/testprogs` by the hash of its sources, flags and compiler. Safe to call from many processes at once.
///
/// # Panics
/// Where the compiler is missing or rejects the source, and for a variant that is none of the program's.
pub fn build(program: Program, variant: Variant) -> PathBuf {
    assert!(program.variants().contains(&variant), "{program:?} is not built as {variant:?}");
    let compiler = program.facts().language.compiler(variant);
    let flags = flags(program, variant);
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

/// What stands between the compiler's name and the source.
fn flags(program: Program, variant: Variant) -> Vec<&'static str> {
    let Facts { language, flags: own, .. } = program.facts();
    let mut flags = match language {
        Language::C => vec!["-std=gnu17", "-D_GNU_SOURCE"],
        Language::Cpp => vec!["-std=c++17", "-pthread"],
        Language::Rust => rust_flags(variant),
        Language::Go => go_flags(variant),
    };
    if matches!(language, Language::C | Language::Cpp) {
        flags.extend(gcc_flags(variant));
    }
    flags.extend(own);
    flags
}

fn gcc_flags(variant: Variant) -> Vec<&'static str> {
    let mut flags = vec!["-O2", "-g", "-Wall", "-Wextra", "-Icommon", "-fno-optimize-sibling-calls"];
    flags.push("-Wl,--build-id=sha1");
    flags.extend(if variant.keeps_frame_pointers() {
        // Shrink-wrapping would set the frame pointer up late, or not on every path.
        ["-fno-omit-frame-pointer", "-mno-omit-leaf-frame-pointer", "-fno-shrink-wrap"].as_slice()
    } else {
        &["-fomit-frame-pointer"]
    });
    flags.extend(match variant {
        Variant::FramePointers | Variant::NoFramePointers => [].as_slice(),
        Variant::Static => &["-static"],
        Variant::StaticPie => &["-static-pie"],
        Variant::Stripped | Variant::StrippedNoFramePointers => &["-s"],
        Variant::DebugFrame => &["-fno-asynchronous-unwind-tables", "-fno-unwind-tables"],
        Variant::NoUnwindInfo => &["-fno-asynchronous-unwind-tables", "-fno-unwind-tables", "-g0"],
        Variant::StaticMusl => &["-static", "-s"],
    });
    flags
}

fn rust_flags(variant: Variant) -> Vec<&'static str> {
    let mut flags = vec!["--edition=2024", "-O", "-g", "-Cpanic=abort", "-Clink-arg=-Wl,--build-id=sha1"];
    flags.push(match variant.keeps_frame_pointers() {
        true => "-Cforce-frame-pointers=yes",
        false => "-Cforce-frame-pointers=no",
    });
    flags.extend(match variant {
        Variant::Static => Some("-Ctarget-feature=+crt-static"),
        Variant::Stripped => Some("-Cstrip=symbols"),
        Variant::DebugFrame => Some("-Cforce-unwind-tables=no"),
        _ => None,
    });
    flags
}

fn go_flags(variant: Variant) -> Vec<&'static str> {
    let mut flags = vec!["build", "-trimpath"];
    if variant == Variant::Stripped {
        flags.push("-ldflags=-s -w");
    }
    flags
}

fn content_hash(program: Program, compiler: &str, flags: &[&str]) -> u64 {
    let Facts { language, part, library, .. } = program.facts();
    let mut hasher = DefaultHasher::new();
    (program.name(), compiler, flags).hash(&mut hasher);
    let version = if language == Language::Go { "version" } else { "--version" };
    run(compiler, Command::new(compiler).arg(version)).hash(&mut hasher);
    let folder = package().join(program.name());
    let others = [part, library].into_iter().flatten().map(|name| folder.join(name));
    for path in [program.source(), package().join("common/run_for.h")].into_iter().chain(others) {
        done(fs::read(&path), "read", &path).hash(&mut hasher);
    }
    hasher.finish()
}

fn compile(program: Program, compiler: &str, flags: &[&str], output: &Path) {
    let Facts { name, language, part, library, .. } = program.facts();
    let mut command = Command::new(compiler);
    command.current_dir(package()).args(flags);
    if language == Language::Go {
        // Go wants its flags before the files; and a folder for what it compiled, which it keeps.
        command.arg("-o").arg(output).arg(program.relative_source());
        command.envs([("GOFLAGS", ""), ("GOWORK", "off")]).env("GOCACHE", target().join("testprogs/.go"));
        run(compiler, &mut command);
        return;
    }
    command.arg(program.relative_source()).args(part.map(|part| format!("{name}/{part}")));
    run(compiler, command.arg("-o").arg(output));
    if let Some(library) = library {
        let mut command = Command::new(compiler);
        command
            .current_dir(package())
            .args(flags)
            .args(["-shared", "-fPIC"])
            .arg(format!("{name}/{library}"));
        run(compiler, command.arg("-o").arg(output.with_extension("so")));
    }
}

/// Standard output of a compiler's run that went well.
fn run(compiler: &str, command: &mut Command) -> Vec<u8> {
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => panic!(
            "the compiler `{compiler}`, which the test programs need, cannot be run: {error}; \
             `apt install gcc g++ golang-go` or rustup provides it"
        ),
    };
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed ({}):\n{messages}", output.status);
    output.stdout
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
