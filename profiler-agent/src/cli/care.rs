//! `vesta store …`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Verify all that is stored: checksums, every value, and that files agree on the same samples
    Check(CheckArgs),
    /// Say what takes the room: by level and resolution, by file, by day
    Stats(StatsArgs),
    /// Merge small segments now, and make old ones coarser, as `vesta run` does in the background
    Compact(CompactArgs),
    /// Write a range as a data directory of its own, to be sent to someone
    Export(ExportArgs),
    /// Remove what killed writers left: unfinished and replaced segments; logs become segments
    Gc(StoreArgs),
    /// Keep a range as it is, whatever the retention
    Pin(PinArgs),
    /// Take back a pin
    Unpin(UnpinArgs),
    /// List the pins
    Pins(StoreArgs),
}

#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    /// Data directory [default: as for `vesta run`]
    #[arg(long, value_name = "DIR", env = "VESTA_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,

    /// Print as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,

    /// Move what is bad to `quarantine/` in the data directory, where nobody reads it; nothing is deleted
    #[arg(long)]
    pub(crate) quarantine: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,

    /// A line for each day, too
    #[arg(long)]
    pub(crate) days: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CompactArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,

    /// How exact old samples are kept, as for `vesta run`; `exact` makes nothing coarser [default: as for `vesta run`]
    #[arg(long, value_name = "AGE=STEP,…", env = "VESTA_COARSEN")]
    pub(crate) coarsen: Option<store::Policy>,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The new data directory; it must not exist, or be empty
    #[arg(value_name = "TO")]
    pub(crate) to: PathBuf,

    /// Which samples, e.g. 'process="redis-server"' [default: all]
    #[arg(value_name = "SELECTOR")]
    pub(crate) selector: Option<String>,

    #[command(flatten)]
    pub(crate) range: RangeArgs,

    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PinArgs {
    #[command(flatten)]
    pub(crate) range: RangeArgs,

    /// Why
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) note: String,

    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

#[derive(Debug, Args)]
pub(crate) struct UnpinArgs {
    /// As `vesta store pins` lists it
    #[arg(value_name = "ID")]
    pub(crate) id: String,

    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// A range that has to be said.
#[derive(Debug, Args)]
pub(crate) struct RangeArgs {
    /// Start of the range: now, a span back such as -15m or -2h, RFC 3339, or Unix seconds
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) from: String,

    /// End of the range
    #[arg(long, value_name = "TIME", default_value = "now", allow_hyphen_values = true)]
    pub(crate) until: String,
}
