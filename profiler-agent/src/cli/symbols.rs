//! `vesta symbols …`, and where debug info comes from.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Bytes, cache_bytes, care::StoreArgs};

#[derive(Debug, Subcommand)]
pub(crate) enum SymbolsCommand {
    /// Look for names of stored frames that have none, by build ID, and store them; `vesta run` does it by itself
    /// for the last seven days when debug info appears
    Resolve(ResolveArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ResolveArgs {
    /// Start of the range: now, a span back such as -15m or -2h, RFC 3339, or Unix seconds
    #[arg(long, value_name = "TIME", default_value = "0", allow_hyphen_values = true)]
    pub(crate) from: String,

    /// End of the range
    #[arg(long, value_name = "TIME", default_value = "now", allow_hyphen_values = true)]
    pub(crate) until: String,

    /// Look for debug info in this folder, too, as `.build-id/ab/cdef….debug`; may be given several times
    #[arg(long, value_name = "DIR")]
    pub(crate) debug_dir: Vec<PathBuf>,

    /// Only say what would get names
    #[arg(long)]
    pub(crate) dry_run: bool,

    #[command(flatten)]
    pub(crate) debuginfod: DebuginfodArgs,

    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// Servers of debug info.
#[derive(Debug, Args)]
pub(crate) struct DebuginfodArgs {
    /// Fetch debug info from these debuginfod servers, several with commas; an empty one turns it off
    /// [default: those in DEBUGINFOD_URLS, else none]
    #[arg(long, value_name = "URL", env = "VESTA_DEBUGINFOD", value_delimiter = ',')]
    pub(crate) debuginfod: Vec<String>,

    /// How much disk fetched debug info may take; the least recently used goes first [default: 1GiB]
    #[arg(long, value_name = "BYTES", env = "VESTA_DEBUGINFOD_CACHE_BYTES", value_parser = cache_bytes)]
    pub(crate) debuginfod_cache_bytes: Option<Bytes>,
}
