//! What is asked of the past, and how answers are shown.

use std::path::PathBuf;

use clap::Args;
use ui::render::{Format, TopBy};

use super::{ObjectStoreArgs, Span, span};

#[derive(Debug, Args)]
pub(crate) struct QueryArgs {
    /// Which samples, e.g. 'process="redis-server"' or 'host="web-01", unit!="vesta.service"' [default: all]
    #[arg(value_name = "SELECTOR")]
    pub(crate) selector: Option<String>,

    /// Read this data directory; one in use by a running agent is fine [default: as for `vesta run`]
    #[arg(long, value_name = "DIR", env = "VESTA_DATA_DIR", conflicts_with = "server")]
    pub(crate) data_dir: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) objects: ObjectStoreArgs,

    /// Ask a running Vesta instead, e.g. http://127.0.0.1:7171
    #[arg(long, value_name = "URL")]
    pub(crate) server: Option<String>,

    /// Start of the range: now, a span back such as -15m or -2h, RFC 3339, or Unix seconds
    #[arg(long, value_name = "TIME", default_value = "-15m", allow_hyphen_values = true)]
    pub(crate) from: String,

    /// End of the range
    #[arg(long, value_name = "TIME", default_value = "now", allow_hyphen_values = true)]
    pub(crate) until: String,

    #[command(flatten)]
    pub(crate) out: OutputArgs,

    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SqlArgs {
    /// A SELECT, e.g. 'SELECT process, sum(samples) FROM samples GROUP BY process'; DESCRIBE samples lists the
    /// columns of a view; - reads the statement from standard input
    #[arg(value_name = "STATEMENT")]
    pub(crate) statement: String,

    /// Read this data directory; one in use by a running agent is fine [default: as for `vesta run`]
    #[arg(long, value_name = "DIR", env = "VESTA_DATA_DIR", conflicts_with = "server")]
    pub(crate) data_dir: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) objects: ObjectStoreArgs,

    /// Ask a running Vesta instead, which also knows its windows that are not on disk yet
    #[arg(long, value_name = "URL")]
    pub(crate) server: Option<String>,

    /// table, csv, json (by column, as the API has it) or jsonl (a line for each row)
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub(crate) format: SqlFormat,

    /// At most this many rows, up to 1000000; a server gives up to 100000
    #[arg(long, value_name = "ROWS", default_value_t = store::sql::DEFAULT_ROWS as u32,
        value_parser = clap::value_parser!(u32).range(1..=store::sql::MAX_ROWS as i64))]
    pub(crate) limit: u32,
}

/// How an answer in rows is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum SqlFormat {
    Table,
    Csv,
    Json,
    Jsonl,
}

/// How a profile is shown, and where.
#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    /// top, top-json, folded, pprof, svg, json, firefox, speedscope or perf-script [default: what the output's
    /// name says, else top]
    #[arg(long, value_name = "FORMAT", value_parser = Format::from_name)]
    pub(crate) format: Option<Format>,

    /// Where to write [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Print the table of `top`, or the answer to a question, as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Questions beside the profile itself; one at a time.
#[derive(Debug, Args)]
#[command(next_help_heading = "Questions")]
pub(crate) struct AskArgs {
    /// Samples over time, by the values of a label such as process, thread or status
    #[arg(long, value_name = "LABEL", conflicts_with_all = ["top", "function", "diff", "labels"])]
    pub(crate) group_by: Option<String>,

    /// Length of a bucket of time, e.g. 10s, 5m; alone it asks for samples over time by process [default: a
    /// sixtieth of the range]
    #[arg(long, value_name = "SPAN", value_parser = span, conflicts_with_all = ["top", "diff", "labels"])]
    pub(crate) step: Option<Span>,

    /// A table by function, source file or binary
    #[arg(long, value_name = "WHAT", conflicts_with_all = ["function", "diff", "labels"])]
    pub(crate) top: Option<TopBy>,

    /// When a function used CPU: its name, or after a ~ a regular expression that is searched for in names
    #[arg(long, value_name = "NAME", conflicts_with_all = ["diff", "labels"])]
    pub(crate) function: Option<String>,

    /// What changed since another range, e.g. -2h..-1h; functions whose share of all samples changed most
    #[arg(long, value_name = "FROM..UNTIL", allow_hyphen_values = true, conflicts_with = "labels")]
    pub(crate) diff: Option<String>,

    /// Which samples of the other range [default: the same selector]
    #[arg(long, value_name = "SELECTOR", requires = "diff")]
    pub(crate) diff_selector: Option<String>,

    /// Names of labels, or with a name its values and their samples
    #[arg(long, value_name = "LABEL", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub(crate) labels: Option<String>,

    /// Only labels or values that start so
    #[arg(long, value_name = "TEXT", requires = "labels")]
    pub(crate) prefix: Option<String>,

    /// At most this many rows, groups or functions [default: 50 rows, 8 groups or functions]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) rows: Option<u16>,
}
