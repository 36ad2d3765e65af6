//! The command line. Help texts are written for someone who has never seen Vesta.

pub(crate) mod care;
pub(crate) mod debug;
pub(crate) mod symbols;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use profiler_abi::{SLAB_WORDS, SLABS_MAX};
use ui::render::{Format, TopBy};

/// A continuous whole-system profiler: samples the stacks of every process, keeps them, shows them.
#[derive(Debug, Parser)]
#[command(name = "vesta", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(
    after_help = "Exit codes: 0 done, 1 error, 2 wrong usage, 3 no privileges or a kernel feature is missing,\n\
    4 a problem with the data directory, 5 the address is in use, 130 interrupted before anything was written."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Configuration file; flags win over the environment, which wins over the file.
    #[arg(long, global = true, value_name = "FILE", env = "VESTA_CONFIG")]
    pub(crate) config: Option<PathBuf>,

    /// What to log, on standard error: error, warn, info, debug, or a filter such as `vesta=debug`.
    #[arg(long, global = true, value_name = "LEVEL", env = "VESTA_LOG", default_value = "warn")]
    pub(crate) log: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Sample the whole machine all the time, keep the profiles, and serve the page
    Run(RunArgs),
    /// Record one profile to a file
    Record(RecordArgs),
    /// Read profiles back: a table, folded stacks, pprof, a picture
    Query(QueryArgs),
    /// Ask in SQL, of all there is: views samples, series, stacks, frames, binaries, accounts, segments
    Sql(SqlArgs),
    /// Take profiles of other tools into the data directory: pprof, folded stacks, the text of `perf script`
    Import(ImportArgs),
    /// Show profiles of other tools, or write them in another format, without a data directory
    Convert(ConvertArgs),
    /// Care for the data directory: verify it, see what takes its room, give away a part, pin ranges
    #[command(subcommand)]
    Store(care::StoreCommand),
    /// Give names to what was stored without
    #[command(subcommand)]
    Symbols(symbols::SymbolsCommand),
    /// Say what this machine offers a profiler, what is missing, and what to type
    Doctor(DoctorArgs),
    /// Look into what Vesta works with
    #[command(subcommand)]
    Debug(debug::DebugCommand),
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Where profiles are kept [default: /var/lib/vesta for root, else ~/.local/share/vesta]
    #[arg(long, value_name = "DIR", env = "VESTA_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,

    /// Address of the page and the API; port 0 takes a free one [default: 127.0.0.1:7171]
    #[arg(long, value_name = "ADDR", env = "VESTA_LISTEN")]
    pub(crate) listen: Option<String>,

    /// Samples per second and CPU; an odd number does not fall into step with timers [default: 99]
    #[arg(long, value_name = "HZ", env = "VESTA_FREQUENCY", value_parser = frequency)]
    pub(crate) frequency: Option<u64>,

    /// How long profiles are kept, e.g. 36h, 7d, 4w [default: 400d]
    #[arg(long, value_name = "SPAN", env = "VESTA_RETENTION", value_parser = span)]
    pub(crate) retention: Option<Span>,

    /// How much disk profiles may take, e.g. 500MB, 20GB; the oldest go first [default: 20GB]
    #[arg(long, value_name = "BYTES", env = "VESTA_RETENTION_BYTES", value_parser = bytes)]
    pub(crate) retention_bytes: Option<Bytes>,

    /// How exact old samples are kept, as AGE=STEP: from that age on in time buckets of that length, without threads;
    /// `exact` keeps all as it is [default: 24h=10s,7d=1m,90d=1h]
    #[arg(long, value_name = "AGE=STEP,…", env = "VESTA_COARSEN")]
    pub(crate) coarsen: Option<store::Policy>,

    /// How much time a window has, which is a segment of the store once it is over, 1s to 60s [default: 30s]
    #[arg(long, value_name = "SPAN", env = "VESTA_WINDOW", value_parser = span)]
    pub(crate) window: Option<Span>,

    /// How often what was sampled is brought to disk, 250ms to 60s; a power cut loses at most that [default: 1s]
    #[arg(long, value_name = "SPAN", env = "VESTA_SYNC", value_parser = span)]
    pub(crate) sync: Option<Span>,

    /// How much kernel memory unwind tables may take, 1MiB to 256MiB; the least used go first [default: 64MiB]
    #[arg(long, value_name = "BYTES", env = "VESTA_UNWIND_TABLE_BYTES", value_parser = table_bytes)]
    pub(crate) unwind_table_bytes: Option<Bytes>,

    /// How much disk compiled unwind tables may take, for the next start; 0 keeps none [default: 256MiB]
    #[arg(long, value_name = "BYTES", env = "VESTA_UNWIND_CACHE_BYTES", value_parser = cache_bytes)]
    pub(crate) unwind_cache_bytes: Option<Bytes>,

    #[command(flatten)]
    pub(crate) objects: ObjectStoreArgs,

    #[command(flatten)]
    pub(crate) debuginfod: symbols::DebuginfodArgs,

    /// Pages that may read exports from this address, e.g. https://profiler.firefox.com; several with commas
    /// [default: none]
    #[arg(long, value_name = "ORIGIN", env = "VESTA_ALLOW_ORIGIN", value_delimiter = ',', value_parser = origin)]
    pub(crate) allow_origin: Vec<String>,

    /// Folders whose source files the page may show beside their samples; several with commas [default: none]
    #[arg(long, value_name = "DIR", env = "VESTA_SOURCE_DIR", value_delimiter = ',')]
    pub(crate) source_dir: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) labels: LabelArgs,

    /// Print the address as one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What samples are labelled with.
#[derive(Debug, Args)]
pub(crate) struct LabelArgs {
    /// A label for all samples, e.g. env=prod; may be given several times. `host` takes the place of the host's name
    #[arg(long, value_name = "NAME=VALUE", value_parser = own_label)]
    pub(crate) label: Vec<(String, String)>,

    /// Label processes with their command lines (`command`), secrets replaced
    #[arg(long, env = "VESTA_COMMAND_LINE", value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) command_line: bool,

    /// Also replace the values of options and variables with this word in their names; several with commas
    #[arg(long, value_name = "WORD", env = "VESTA_REDACT", value_delimiter = ',')]
    pub(crate) redact: Vec<String>,
}

/// Labels that the agent gives itself; a user's would say two things.
const OWN_LABELS: [&str; 17] = [
    "event",
    "process",
    "exe",
    "cgroup",
    "pid",
    "tid",
    "thread",
    "status",
    "cpu",
    "container",
    "container_runtime",
    "container_name",
    "pod_uid",
    "pod",
    "namespace",
    "unit",
    "command",
];

/// A label that the agent does not give itself.
pub(crate) fn own_label(text: &str) -> Result<(String, String), String> {
    let (name, value) = label(text)?;
    match OWN_LABELS.contains(&&*name) {
        true => Err(format!("`{name}` is a label that Vesta gives itself")),
        false if value.is_empty() => Err(format!("the label `{name}` has no value")),
        false => Ok((name, value)),
    }
}

#[derive(Debug, Args)]
pub(crate) struct RecordArgs {
    /// How long to record, e.g. 10s, 5m [default: 10s, or until the command ends]
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub(crate) duration: Option<Span>,

    /// Record this process and the children it starts from now on; may be given several times
    #[arg(long, value_name = "PID", conflicts_with = "command", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) pid: Vec<u32>,

    /// Samples per second and CPU [default: 99]
    #[arg(long, value_name = "HZ", env = "VESTA_FREQUENCY", value_parser = frequency)]
    pub(crate) frequency: Option<u64>,

    /// How much kernel memory unwind tables may take, 1MiB to 256MiB; the least used go first [default: 64MiB]
    #[arg(long, value_name = "BYTES", env = "VESTA_UNWIND_TABLE_BYTES", value_parser = table_bytes)]
    pub(crate) unwind_table_bytes: Option<Bytes>,

    /// How much disk compiled unwind tables may take, for the next start; 0 keeps none [default: 256MiB]
    #[arg(long, value_name = "BYTES", env = "VESTA_UNWIND_CACHE_BYTES", value_parser = cache_bytes)]
    pub(crate) unwind_cache_bytes: Option<Bytes>,

    /// Where to write the profile; the name tells the format: .pb.gz or .pprof (pprof), .svg, .firefox.json,
    /// .speedscope.json, .json (flame tree), .perf.txt (perf script), .folded or .txt (folded stacks)
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Its format, whatever its name: pprof, folded, svg, json, firefox, speedscope, perf-script, top or top-json
    #[arg(long, value_name = "FORMAT", value_parser = Format::from_name, requires = "output")]
    pub(crate) format: Option<Format>,

    /// Print the summary as JSON on standard output
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) labels: LabelArgs,

    /// Measure what the parts of the kernel program take; costs it some 0.2 µs a sample
    #[arg(long)]
    pub(crate) measure: bool,

    /// Run this command and record it and its children; it is ended when the duration is over
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

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

/// Profiles on object storage.
#[derive(Debug, Default, Args)]
pub(crate) struct ObjectStoreArgs {
    /// Keep profiles on object storage, too, and read those of all hosts there: s3://BUCKET/PREFIX, or file:///FOLDER.
    /// Credentials, region and endpoint come from the usual variables, AWS_ACCESS_KEY_ID and so on [default: none]
    #[arg(long, value_name = "URL", env = "VESTA_STORE")]
    pub(crate) store: Option<String>,

    /// How much disk files fetched from there may take; the least recently used go first [default: 2GiB]
    #[arg(long, value_name = "BYTES", env = "VESTA_STORE_CACHE_BYTES", value_parser = cache_bytes)]
    pub(crate) store_cache_bytes: Option<Bytes>,
}

/// Files of other tools, and what to say of them.
#[derive(Debug, Args)]
pub(crate) struct SourceArgs {
    /// pprof files, folded stacks, or the text of `perf script`, packed by gzip or not; - is standard input.
    /// What a file is shows in its content
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,

    /// A label for all samples, in place of the file's own; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = label)]
    pub(crate) label: Vec<(String, String)>,

    /// When the profile starts: now, a span back such as -2h, RFC 3339, or Unix seconds [default: as the file
    /// says, else so that it ends now]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) time: Option<String>,

    /// Of pprof and perf script: only this value type or event. Of folded stacks: what was counted
    #[arg(long, value_name = "EVENT")]
    pub(crate) event: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,

    /// Data directory to write to [default: as `vesta run`]
    #[arg(long, value_name = "DIR", env = "VESTA_DATA_DIR", conflicts_with = "server")]
    pub(crate) data_dir: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) objects: ObjectStoreArgs,

    /// Hand the files to a running Vesta instead, e.g. http://127.0.0.1:7171
    #[arg(long, value_name = "URL")]
    pub(crate) server: Option<String>,

    /// Print what was imported as a line of JSON for each file
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,

    #[command(flatten)]
    pub(crate) out: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) objects: ObjectStoreArgs,

    /// Print the findings as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// A span of time, as users write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) std::time::Duration);

/// A number of bytes, as users write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) u64);

/// `10s`, `1h30m`, `7d`.
pub(crate) fn span(text: &str) -> Result<Span, String> {
    match store::query::parse_span(text) {
        Some(ms) if ms > 0 => Ok(Span(std::time::Duration::from_millis(ms as u64))),
        _ => Err("use a span of time such as 10s, 5m, 2h or 7d".into()),
    }
}

/// `500MB`, `20GB`, powers of 1000; `GiB` and the like, powers of 1024; plain bytes.
pub(crate) fn bytes(text: &str) -> Result<Bytes, String> {
    let wrong = || "use a number of bytes such as 500MB, 20GB or 4GiB".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(factor).filter(|bytes| *bytes > 0).map(Bytes).ok_or_else(wrong)
}

/// Room for unwind tables: at least the largest of a usual system's programs, at most what the maps can hold.
pub(crate) fn table_bytes(text: &str) -> Result<Bytes, String> {
    const MOST: u64 = SLABS_MAX as u64 * SLAB_WORDS as u64 * 8;
    let number = bytes(text)?;
    if (1 << 20..=MOST).contains(&number.0) {
        Ok(number)
    } else {
        Err(format!("use a number of bytes from 1MiB to {}MiB", MOST >> 20))
    }
}

/// A number of bytes, or 0 for nothing.
pub(crate) fn cache_bytes(text: &str) -> Result<Bytes, String> {
    if text == "0" { Ok(Bytes(0)) } else { bytes(text) }
}

/// `https://profiler.firefox.com`, as browsers send it: no path, and no `*`, for profiles are not for everyone.
pub(crate) fn origin(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-:[]".contains(c);
    match host {
        Some(host) if !host.is_empty() && host.chars().all(plain) => Ok(text.to_owned()),
        _ => Err("use a page's origin such as https://profiler.firefox.com, without a path".into()),
    }
}

/// `team=payments`; a name that selectors can ask for.
fn label(text: &str) -> Result<(String, String), String> {
    let wrong = || "use NAME=VALUE, a name of letters, digits, `_`, `.` and `-`".to_owned();
    let (name, value) = text.split_once('=').ok_or_else(wrong)?;
    if !ui::import::is_label_name(name) {
        return Err(wrong());
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// `0x1234` or `1234`.
pub(crate) fn hexadecimal(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    u64::from_str_radix(digits, 16).map_err(|_| "use a hexadecimal address such as 0x26f40".into())
}

/// The kernel takes up to `perf_event_max_sample_rate`, 100,000 at most by default; beyond 10,000 the sampling
/// itself is what one sees.
pub(crate) fn frequency(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(hz @ 1..=10_000) => Ok(hz),
        _ => Err("use a whole number from 1 to 10000".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes_and_spans_are_read_as_users_write_them() {
        assert_eq!(bytes("20GB"), Ok(Bytes(20_000_000_000)));
        assert_eq!(bytes("4GiB"), Ok(Bytes(4 << 30)));
        for wrong in ["", "GB", "0", "1XB", "-1", "99999999999TB"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
        assert_eq!(table_bytes("1MiB"), Ok(Bytes(1 << 20)));
        assert_eq!(table_bytes("256MiB"), Ok(Bytes(256 << 20)));
        assert_eq!((cache_bytes("0"), cache_bytes("1GB")), (Ok(Bytes(0)), Ok(Bytes(1_000_000_000))));
        for wrong in ["1MB", "257MiB", "1TB", "much"] {
            assert!(table_bytes(wrong).is_err(), "{wrong}");
        }
        assert_eq!(span("1h30m"), Ok(Span(std::time::Duration::from_secs(5400))));
        assert_eq!(span("250ms"), Ok(Span(std::time::Duration::from_millis(250))));
        for wrong in ["", "10", "s", "0s", "1y", "-5s"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
        assert_eq!(label("team=a=b"), Ok(("team".to_owned(), "a=b".to_owned())));
        assert!(label("team").is_err() && label("=x").is_err() && label("a b=x").is_err());
        assert_eq!(frequency("99"), Ok(99));
        assert!(frequency("0").is_err() && frequency("10001").is_err() && frequency("x").is_err());
    }

    #[test]
    fn everything_after_the_dashes_is_the_command() {
        let cli = Cli::try_parse_from(["vesta", "record", "--duration", "5s", "--", "ls", "--help"]).unwrap();
        let Command::Record(args) = cli.command else { panic!("not record") };
        assert_eq!(args.command, ["ls", "--help"]);
        assert!(Cli::try_parse_from(["vesta", "record", "--pid", "1", "--", "ls"]).is_err());
        assert!(Cli::try_parse_from(["vesta", "query", "--from", "-5m", "--until", "-1m"]).is_ok());
        assert!(Cli::try_parse_from(["vesta", "query", "--diff", "-2h..-1h", "--labels"]).is_err());
    }
}
