//! Options of `loadtest floor`.

use std::path::PathBuf;
use std::time::Duration;

use super::typed;

/// Options of `loadtest floor`.
#[derive(Debug, clap::Args)]
pub(crate) struct FloorArgs {
    /// Write the numbers to this file as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Interleaved rounds; each measures every floor some times
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) rounds: u32,
    /// Wait this long before each sample that the load test times itself
    #[arg(long, value_name = "D", default_value = "0", value_parser = typed::duration)]
    pub(crate) pause: Duration,
    /// The program that measures the native floors [default: `floor` beside this program]
    #[arg(long, value_name = "PATH")]
    pub(crate) floor_bin: Option<PathBuf>,
}
