//! Options of `loadtest peers`.

use std::path::PathBuf;
use std::time::Duration;

use super::typed;

/// What a look at the peers needs.
#[derive(Debug, clap::Args)]
pub(crate) struct PeersArgs {
    /// Interleaved rounds; each starts every program some times and loads every server for a while
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,
    /// How long to load each server, over all rounds
    #[arg(long, value_name = "D", default_value = "10s", value_parser = typed::duration)]
    pub(crate) duration: Duration,
    /// Connections of the servers' throughput
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) connections: u32,
    /// Worker processes of the servers that have workers
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) workers: u32,
    /// Wait this long before each start
    #[arg(long, value_name = "D", default_value = "0", value_parser = typed::duration)]
    pub(crate) pause: Duration,
    /// Look for gunicorn, Flask and functions-framework in a virtual environment below this directory; it is made when it is
    /// not there, which fetches packages [default: $PATH]
    #[arg(long, value_name = "DIR")]
    pub(crate) peers_dir: Option<PathBuf>,
    /// The program that measures the native floors [default: `floor` beside this program]
    #[arg(long, value_name = "PATH")]
    pub(crate) floor_bin: Option<PathBuf>,
    /// Write everything measured to this file as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}
