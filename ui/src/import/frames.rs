//! What kind of code another tool's frame is, by the little that such files say.

use store::model::{Binary, Frame, FrameKind, ProfileBuilder, StringId, Unwound};

use crate::truth::reasons::INCOMPLETE;

/// Code whose binary is called so is none: how our own exports name code outside any file.
pub(crate) const JIT: &str = "[jit]";
/// The same for interpreted code.
pub(crate) const INTERPRETED: &str = "[interpreted]";

/// From here on addresses are the kernel's.
const KERNEL_START: u64 = 1 << 63;

/// The kernel's image, as we call it.
const KERNEL: &str = "[kernel]";

/// A function as a file names it, innermost or not.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Named<'a> {
    pub(super) function: &'a str,
    pub(super) system_name: &'a str,
    pub(super) file: &'a str,
    pub(super) line: u32,
    pub(super) inlined: bool,
}

/// Where code lies, as a file says.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place<'a> {
    pub(super) path: &'a str,
    pub(super) build_id: &'a str,
    pub(super) address: u64,
}

/// Programs that lie where their file says begin below this on Linux, those that are moved above it.
const MOVED_START: u64 = 1 << 32;

/// The file's own address of an address in a process, from where the mapped part of the file begins: its place
/// in the file. That is the file's address where the file is laid out as it is mapped, as GNU's linkers do it; a
/// program that is not moved, and the kernel, have their own addresses already.
pub(super) fn own_address(address: u64, memory_start: u64, file_offset: u64) -> u64 {
    if (MOVED_START..KERNEL_START).contains(&memory_start) {
        address.wrapping_sub(memory_start).wrapping_add(file_offset)
    } else {
        address
    }
}

/// The kind of code at a place.
pub(super) fn kind(place: &Place<'_>) -> FrameKind {
    let path = place.path;
    let in_kernel = path.starts_with("[kernel") || path.starts_with("[guest.kernel");
    let jit = path == JIT || path.starts_with("[JIT]") || path == "//anon" || path == "[anon]";
    let perf_map = path.starts_with("/tmp/perf-") && path.ends_with(".map");
    if in_kernel || place.address >= KERNEL_START {
        FrameKind::Kernel
    } else if jit || perf_map {
        FrameKind::Jit
    } else if path == INTERPRETED {
        FrameKind::Interpreted
    } else {
        FrameKind::Native
    }
}

/// The mark of missing callers, if a name is one: the reason in brackets, as our own exports have it.
pub(super) fn is_mark(name: &str) -> bool {
    reason(name).is_some()
}

/// The status that a mark stands for.
pub(super) fn reason(name: &str) -> Option<&'static str> {
    let code = name.strip_prefix('[')?.strip_suffix(']')?.replace(' ', "_");
    INCOMPLETE.iter().map(|reason| reason.code).find(|known| *known == code)
}

/// Adds the frame of a function at a place.
pub(super) fn frame(
    builder: &mut ProfileBuilder,
    kind: FrameKind,
    place: &Place<'_>,
    named: &Named<'_>,
) -> store::model::FrameId {
    let unknown;
    let function = match named.function {
        "" => {
            unknown = unknown_name(place);
            &unknown
        }
        name => name,
    };
    let outside = matches!(kind, FrameKind::Jit | FrameKind::Interpreted);
    let path = match place.path {
        _ if outside => "",
        path if path.starts_with("[kernel.kallsyms]") => KERNEL,
        path => path,
    };
    let binary = (!path.is_empty() || !place.build_id.is_empty()).then(|| {
        let (path, build_id) = (builder.string(path), builder.string(place.build_id));
        builder.binary(Binary { path, build_id })
    });
    let frame = Frame {
        kind: if named.inlined { FrameKind::Inlined } else { kind },
        unwound: Unwound::Synthetic,
        function: builder.string(function),
        system_name: builder.string(named.system_name),
        file: builder.string(named.file),
        line: named.line,
        binary,
        address: place.address,
    };
    builder.frame(frame)
}

/// Adds the mark of missing callers.
pub(super) fn mark(builder: &mut ProfileBuilder, name: &str) -> store::model::FrameId {
    let function = builder.string(name);
    let empty = StringId::EMPTY;
    builder.frame(Frame {
        kind: FrameKind::Truncated,
        unwound: Unwound::Synthetic,
        function,
        system_name: empty,
        file: empty,
        line: 0,
        binary: None,
        address: 0,
    })
}

/// A name for code that has none.
fn unknown_name(place: &Place<'_>) -> String {
    let base = place.path.rsplit('/').next().unwrap_or_default();
    match base.trim_start_matches('[').trim_end_matches(']') {
        "" => format!("[unknown {:#x}]", place.address),
        base => format!("[{base}+{:#x}]", place.address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_become_those_of_the_file() {
        assert_eq!(own_address(0x5555_0000_1234, 0x5555_0000_1000, 0x2000), 0x2234);
        // Not moved; our own exports, whose mappings begin at 0; the kernel.
        assert_eq!(own_address(0x40_1234, 0x40_0000, 0), 0x40_1234);
        assert_eq!(own_address(0x1234, 0, 0), 0x1234);
        let kernel = 0xffff_ffff_8100_0000;
        assert_eq!(own_address(kernel + 5, kernel, 0), kernel + 5);
    }

    #[test]
    fn binaries_tell_kinds_of_code() {
        let of = |path, address| kind(&Place { path, build_id: "", address });
        assert_eq!(of("[kernel.kallsyms]", 1), FrameKind::Kernel);
        assert_eq!(of("[nf_tables]", 0xffff_ffff_c000_0000), FrameKind::Kernel);
        assert_eq!(of("/tmp/perf-12.map", 1), FrameKind::Jit);
        assert_eq!(of("/usr/bin/app", 1), FrameKind::Native);
        assert_eq!(reason("[no frame pointer]"), Some("no_frame_pointer"));
        assert_eq!(reason("[app+0x12]"), None);
    }
}
