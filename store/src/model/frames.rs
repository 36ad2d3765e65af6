//! Frames and the binaries they lie in.

use super::StringId;

/// Handle of a frame in its profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FrameId(pub u32);

/// Handle of a binary in its profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BinaryId(pub u32);

/// A mapped file, or the kernel image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Binary {
    /// Path as the process saw it; `[kernel]`, `[vdso]` for what is no file.
    pub path: StringId,
    /// GNU build ID in lower-case hex; empty when the file has none.
    pub build_id: StringId,
}

/// What kind of code a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FrameKind {
    /// Code of the kernel or of a kernel module.
    Kernel,
    /// Native code in a file.
    Native,
    /// A function inlined into the frame that follows it towards the root.
    Inlined,
    /// Code made at run time, outside any file.
    Jit,
    /// A function of an interpreted language.
    Interpreted,
    /// Not code: stands where the missing callers of an incomplete stack would be; its name is the reason.
    Truncated,
}

impl FrameKind {
    /// Every kind, in the order of declaration.
    pub const ALL: [Self; 6] =
        [Self::Kernel, Self::Native, Self::Inlined, Self::Jit, Self::Interpreted, Self::Truncated];

    /// The name used in Parquet, JSON and selectors.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Native => "native",
            Self::Inlined => "inlined",
            Self::Jit => "jit",
            Self::Interpreted => "interpreted",
            Self::Truncated => "truncated",
        }
    }

    /// The kind of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// How the unwinder got from a frame's callee to the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unwound {
    /// The sampled instruction itself.
    Leaf,
    /// The kernel's own walk.
    Kernel,
    /// The chain of frame pointers.
    FramePointer,
    /// The return address a function keeps on the stack before its frame is set up.
    Prologue,
    /// A row of the unwind table.
    Table,
    /// Not by walking: an inlined function or a truncation mark.
    Synthetic,
}

impl Unwound {
    /// Every way, in the order of declaration.
    pub const ALL: [Self; 6] =
        [Self::Leaf, Self::Kernel, Self::FramePointer, Self::Prologue, Self::Table, Self::Synthetic];

    /// The name used in Parquet and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Leaf => "leaf",
            Self::Kernel => "kernel",
            Self::FramePointer => "frame_pointer",
            Self::Prologue => "prologue",
            Self::Table => "table",
            Self::Synthetic => "synthetic",
        }
    }

    /// The way of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|way| way.name() == name)
    }
}

/// A function at a location. The location (`binary`, `address`) is always kept beside the name, so that a
/// better name found later can replace it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Frame {
    /// What kind of code it is.
    pub kind: FrameKind,
    /// How it was found.
    pub unwound: Unwound,
    /// Demangled name, or `[file+0xoffset]` when unknown. Never empty.
    pub function: StringId,
    /// Name as the symbol table has it; empty when unknown.
    pub system_name: StringId,
    /// Source file; empty when unknown.
    pub file: StringId,
    /// Source line; 0 when unknown.
    pub line: u32,
    /// The file the code lies in; none for code outside any file.
    pub binary: Option<BinaryId>,
    /// ELF virtual address within `binary` (file-relative, the same in every process); the absolute address
    /// when there is no binary.
    pub address: u64,
}
