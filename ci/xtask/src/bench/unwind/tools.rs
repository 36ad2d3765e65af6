//! The profilers that are compared.

use super::workloads::Need;

/// A profiler, with the options it is run with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tool {
    /// `vesta record`.
    Vesta,
    /// `perf record -g`: frame pointers.
    PerfFp,
    /// `perf record --call-graph dwarf`: 8 KiB of stack with each sample, walked afterwards.
    PerfDwarf,
    /// lightswitch: unwind tables in BPF.
    Lightswitch,
}

impl Tool {
    /// In the order in which they run first.
    pub(super) const ALL: [Tool; 4] = [Tool::Vesta, Tool::Lightswitch, Tool::PerfFp, Tool::PerfDwarf];

    /// As the command line and the tables name it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Tool::Vesta => "vesta",
            Tool::PerfFp => "perf-fp",
            Tool::PerfDwarf => "perf-dwarf",
            Tool::Lightswitch => "lightswitch",
        }
    }

    /// What it is, in a line.
    pub(super) fn what(self) -> &'static str {
        match self {
            Tool::Vesta => "vesta record, whole machine",
            Tool::PerfFp => "perf record -a -g: frame pointers",
            Tool::PerfDwarf => "perf record -a --call-graph dwarf: copies of 8 KiB of stack",
            Tool::Lightswitch => "unwind tables in BPF, whole machine; needs --lightswitch FILE",
        }
    }

    /// The programs it needs, beside itself if it is not packaged.
    pub(super) fn needs(self) -> &'static [Need] {
        const GO: Need = Need { program: "go", package: "golang-go" };
        const PERF: Need = Need { program: "perf", package: "linux-perf" };
        match self {
            Tool::Vesta | Tool::Lightswitch => &[GO],
            Tool::PerfFp | Tool::PerfDwarf => &[PERF],
        }
    }
}
