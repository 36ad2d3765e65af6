//! The command line. Help texts are written for someone who has never seen Vesta.

pub(crate) mod care;
pub(crate) mod debug;
mod kubernetes;
mod query;
pub(crate) mod symbols;
mod values;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use ui::render::Format;

pub(crate) use kubernetes::KubernetesArgs;
pub(crate) use query::{OutputArgs, QueryArgs, SqlArgs, SqlFormat};
pub(crate) use values::{
    Bytes, Span, bytes, cache_bytes, frequency, hexadecimal, label, origin, own_label, span, table_bytes,
};

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

    #[command(flatten)]
    pub(crate) kubernetes: KubernetesArgs,

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

    #[command(flatten)]
    pub(crate) kubernetes: KubernetesArgs,

    /// Measure what the parts of the kernel program take; costs it some 0.2 µs a sample
    #[arg(long)]
    pub(crate) measure: bool,

    /// Run this command and record it and its children; it is ended when the duration is over
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
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
