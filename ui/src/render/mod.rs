//! Profiles as files: JSON, folded stacks, SVG, pprof, Firefox Profiler, speedscope, `perf script`, and a table of
//! functions.
//!
//! However a profile is written, its samples are the same: the sum of the folded counts, of the pprof
//! values and of the tree's self counts is [`Profile::samples`].

mod columns;
mod comparison;
mod firefox;
mod firefox_tables;
mod folded;
mod json;
mod names;
mod perf_script;
mod pprof;
mod shares;
mod speedscope;
mod svg;
mod threads;
mod top;
pub(crate) mod values;

#[cfg(test)]
mod go_pprof_tests;
#[cfg(test)]
mod output_tests;
#[cfg(test)]
mod thread_format_tests;

use std::io::{self, Write};
use std::path::Path;
use std::str::FromStr;

use store::model::{Keep, Profile};

use crate::flame::{self, GroupBy};

#[cfg(test)]
pub(crate) use columns::tests::read as read_columns;
pub use columns::{COLUMNS_MIME, flame_columns};
pub use comparison::{DiffRow, DiffTable};
pub use firefox::firefox;
pub use folded::folded;
pub use json::{FlameJson, incomplete, lost, period_ns, taken};
pub(crate) use names::{plain as plain_name, printable};
pub use perf_script::perf_script;
pub(crate) use pprof::NO_STACK;
pub use pprof::pprof;
pub use shares::{ShareRow, ShareTable, TopBy};
pub use speedscope::speedscope;
pub use svg::svg;
pub(crate) use top::by_frame;
pub use top::{TopRow, TopTable, percent_of_all};

/// Nodes of a flame tree in JSON when nobody asks for another number: more than a wide screen can show.
pub const DEFAULT_MAX_NODES: usize = 60_000;

/// A way to write a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A text table of functions, largest self value first.
    Top,
    /// The same table as JSON.
    TopJson,
    /// One line per distinct stack, as `stackcollapse-perf` writes it.
    Folded,
    /// Gzipped `profile.proto`, for `go tool pprof` and everything that speaks it.
    Pprof,
    /// A flame graph in one interactive SVG file.
    Svg,
    /// The processed profile of the Firefox Profiler: threads over time.
    Firefox,
    /// speedscope's own file format: threads over time.
    Speedscope,
    /// The text of `perf script`: sample after sample.
    PerfScript,
    /// The flame tree as JSON (docs/api.md).
    Json,
}

/// Every format by name, as help and errors list them.
pub const FORMAT_NAMES: &str = "top, top-json, folded, pprof, svg, json, firefox, speedscope or perf-script";
/// Which file names ask for which format, as help and errors list them.
pub const FORMAT_SUFFIXES: &str = ".pb.gz or .pprof (pprof), .svg, .firefox.json, .speedscope.json, .json (flame tree), \
                                   .perf.txt (perf script), .folded or .txt (folded stacks)";

/// A format nobody knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Not the name of a format.
    #[error("unknown format `{0}`: use {FORMAT_NAMES}")]
    Name(String),
    /// Not a file name that tells the format.
    #[error("cannot tell the format from the file name `{0}`: end it in {FORMAT_SUFFIXES}")]
    Path(String),
}

/// What a rendering needs to know beside the profile.
#[derive(Clone, Debug)]
pub struct RenderOptions {
    /// The label that groups stacks: the first frame of folded stacks, the first row of a flame graph.
    pub by: GroupBy,
    /// Title of a picture, and of a file that has one.
    pub title: String,
    /// Most nodes of a JSON tree or an SVG; what is smaller is pruned and counted.
    pub max_nodes: usize,
    /// Most rows of a table.
    pub max_rows: usize,
}

impl Default for RenderOptions {
    fn default() -> Self {
        Self { by: GroupBy::default(), title: "Vesta".to_owned(), max_nodes: DEFAULT_MAX_NODES, max_rows: 50 }
    }
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 9] = [
        Self::Top,
        Self::TopJson,
        Self::Folded,
        Self::Pprof,
        Self::Svg,
        Self::Json,
        Self::Firefox,
        Self::Speedscope,
        Self::PerfScript,
    ];

    /// Whether a file of it tells the samples of several events apart.
    pub fn tells_events(self) -> bool {
        matches!(self, Self::Pprof | Self::PerfScript)
    }

    /// The format's name in requests and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Top => "top",
            Self::TopJson => "top-json",
            Self::Folded => "folded",
            Self::Pprof => "pprof",
            Self::Svg => "svg",
            Self::Json => "json",
            Self::Firefox => "firefox",
            Self::Speedscope => "speedscope",
            Self::PerfScript => "perf-script",
        }
    }

    /// The format of this name.
    pub fn from_name(name: &str) -> Result<Self, FormatError> {
        let known = Self::ALL.into_iter().find(|format| format.name() == name);
        known.ok_or_else(|| FormatError::Name(name.chars().take(64).collect()))
    }

    /// The format that a file name asks for.
    pub fn from_path(path: &Path) -> Result<Self, FormatError> {
        let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
        let ends = |suffixes: &[&str]| suffixes.iter().any(|suffix| name.ends_with(suffix));
        match () {
            () if ends(&[".pb.gz", ".pprof"]) => Ok(Self::Pprof),
            () if ends(&[".svg"]) => Ok(Self::Svg),
            () if ends(&[".firefox.json"]) => Ok(Self::Firefox),
            () if ends(&[".speedscope.json"]) => Ok(Self::Speedscope),
            () if ends(&[".perf.txt"]) => Ok(Self::PerfScript),
            () if ends(&[".folded", ".txt"]) => Ok(Self::Folded),
            () if ends(&[".json"]) => Ok(Self::Json),
            () => Err(FormatError::Path(path.display().to_string())),
        }
    }

    /// The file name suffix, without a leading dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Top => "txt",
            Self::Folded => "folded",
            Self::Pprof => "pb.gz",
            Self::Svg => "svg",
            Self::TopJson | Self::Json => "json",
            Self::Firefox => "firefox.json",
            Self::Speedscope => "speedscope.json",
            Self::PerfScript => "perf.txt",
        }
    }

    /// The MIME type.
    pub fn mime(self) -> &'static str {
        match self {
            Self::Top | Self::Folded | Self::PerfScript => "text/plain; charset=utf-8",
            Self::Pprof => "application/octet-stream",
            Self::Svg => "image/svg+xml",
            Self::TopJson | Self::Json | Self::Firefox | Self::Speedscope => "application/json",
        }
    }

    /// What a query must keep of samples for this format: threads, and times.
    pub fn keep(self, by: &GroupBy) -> Keep {
        match self {
            Self::Firefox | Self::Speedscope | Self::PerfScript => Keep::ALL,
            Self::Pprof => Keep { threads: true, ..Keep::STACKS },
            _ => Keep { threads: by.needs_threads(), ..Keep::STACKS },
        }
    }

    /// Writes a profile.
    pub fn write(self, profile: &Profile, options: &RenderOptions, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Top => write!(out, "{}", TopTable::new(profile, options.max_rows)),
            Self::TopJson => {
                serde_json::to_writer(out, &TopTable::new(profile, options.max_rows)).map_err(io::Error::from)
            }
            Self::Folded => folded(profile, &options.by, out),
            Self::Pprof => pprof(profile, out),
            Self::Svg => svg(profile, options, out),
            Self::Firefox => firefox(profile, &options.title, out),
            Self::Speedscope => speedscope(profile, &options.title, out),
            Self::PerfScript => perf_script(profile, out),
            Self::Json => {
                let mut tree = flame::build(profile, &options.by);
                tree.prune(options.max_nodes);
                serde_json::to_writer(out, &FlameJson::new(profile, &tree, &[])).map_err(io::Error::from)
            }
        }
    }
}

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(name: &str) -> Result<Self, FormatError> {
        Self::from_name(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_name_tells_the_format() {
        let format = |path: &str| Format::from_path(Path::new(path)).ok();
        assert_eq!(format("p.pb.gz"), Some(Format::Pprof));
        assert_eq!(format("/tmp/a.b/x.pprof"), Some(Format::Pprof));
        assert_eq!(format("X.SVG"), Some(Format::Svg));
        assert_eq!((format("a.folded"), format("a.txt")), (Some(Format::Folded), Some(Format::Folded)));
        assert_eq!(format("a.json"), Some(Format::Json));
        let of_their_own = [Format::Folded, Format::Pprof, Format::Svg, Format::Json, Format::Firefox];
        for known in of_their_own.into_iter().chain([Format::Speedscope, Format::PerfScript]) {
            assert_eq!(format(&format!("p.{}", known.extension())), Some(known));
        }
    }

    #[test]
    fn an_unknown_format_is_answered_with_the_known_ones() {
        let error = Format::from_path(Path::new("out.gz")).unwrap_err().to_string();
        for part in ["out.gz", ".pb.gz", ".pprof", ".svg", ".folded", ".txt", ".json"] {
            assert!(error.contains(part), "{part} in {error}");
        }
        let error = Format::from_name("xml").unwrap_err().to_string();
        assert_eq!(error, format!("unknown format `xml`: use {FORMAT_NAMES}"));
        for format in Format::ALL {
            assert_eq!(Format::from_name(format.name()), Ok(format));
            assert!(FORMAT_NAMES.contains(format.name()));
        }
    }
}
