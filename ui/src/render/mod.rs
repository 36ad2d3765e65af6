//! Profiles as files: JSON, folded stacks, SVG, pprof, and a table of functions.
//!
//! However a profile is written, its samples are the same: the sum of the folded counts, of the pprof
//! values and of the tree's self counts is [`Profile::samples`].

mod folded;
mod json;
mod names;
mod pprof;
mod svg;
mod top;

#[cfg(test)]
mod go_pprof_tests;
#[cfg(test)]
mod output_tests;

use std::io::{self, Write};
use std::path::Path;
use std::str::FromStr;

use store::model::Profile;

use crate::flame::{self, GroupBy};

pub use folded::folded;
pub use json::{FlameJson, incomplete, lost, period_ns, taken};
pub(crate) use names::printable;
pub use pprof::pprof;
pub use svg::svg;
pub use top::{TopRow, TopTable};

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
    /// The flame tree as JSON (docs/api.md).
    Json,
}

/// A format nobody knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Not the name of a format.
    #[error("unknown format `{0}`: use top, top-json, folded, pprof, svg or json")]
    Name(String),
    /// Not a file name that tells the format.
    #[error(
        "cannot tell the format from the file name `{0}`: end it in .pb.gz or .pprof (pprof), .svg, \
         .folded or .txt (folded stacks), or .json"
    )]
    Path(String),
}

/// What a rendering needs to know beside the profile.
#[derive(Clone, Debug)]
pub struct RenderOptions {
    /// The label that groups stacks: the first frame of folded stacks, the first row of a flame graph.
    pub by: GroupBy,
    /// Title of a picture.
    pub title: String,
    /// Most nodes of a JSON tree or an SVG; what is smaller is pruned and counted.
    pub max_nodes: usize,
    /// Most rows of a table.
    pub max_rows: usize,
}

impl Default for RenderOptions {
    fn default() -> Self {
        Self {
            by: GroupBy::default(),
            title: "Vesta flame graph".to_owned(),
            max_nodes: DEFAULT_MAX_NODES,
            max_rows: 50,
        }
    }
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 6] = [Self::Top, Self::TopJson, Self::Folded, Self::Pprof, Self::Svg, Self::Json];

    /// The format's name in requests and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Top => "top",
            Self::TopJson => "top-json",
            Self::Folded => "folded",
            Self::Pprof => "pprof",
            Self::Svg => "svg",
            Self::Json => "json",
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
        }
    }

    /// The MIME type.
    pub fn mime(self) -> &'static str {
        match self {
            Self::Top | Self::Folded => "text/plain; charset=utf-8",
            Self::Pprof => "application/octet-stream",
            Self::Svg => "image/svg+xml",
            Self::TopJson | Self::Json => "application/json",
        }
    }

    /// Whether the format tells threads of a process apart, so that a query must keep them.
    pub fn needs_threads(self, by: &GroupBy) -> bool {
        self == Self::Pprof || by.needs_threads()
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
    }

    #[test]
    fn an_unknown_format_is_answered_with_the_known_ones() {
        let error = Format::from_path(Path::new("out.gz")).unwrap_err().to_string();
        for part in ["out.gz", ".pb.gz", ".pprof", ".svg", ".folded", ".txt", ".json"] {
            assert!(error.contains(part), "{part} in {error}");
        }
        let error = Format::from_name("xml").unwrap_err().to_string();
        assert_eq!(error, "unknown format `xml`: use top, top-json, folded, pprof, svg or json");
        for format in Format::ALL {
            assert_eq!(Format::from_name(format.name()), Ok(format));
        }
    }
}
