//! Options of `loadtest ab`.

use std::path::PathBuf;
use std::time::Duration;

use super::typed;
use crate::admin::Scope;

/// What a comparison needs.
#[derive(Debug, clap::Args)]
pub(crate) struct AbArgs {
    /// A result file of loadtest, or an fn binary
    pub(crate) old: PathBuf,
    /// Another of the same kind
    pub(crate) new: PathBuf,
    /// Binaries: turns of each
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..=1000))]
    pub(crate) rounds: u32,
    /// Binaries: measured time of each function of each binary, over all turns, half cold and half warm
    #[arg(long, value_name = "D", default_value = "20s", value_parser = typed::duration)]
    pub(crate) duration: Duration,
    /// Binaries: calls per second of the open loop
    #[arg(long, value_name = "R", default_value = "50", value_parser = typed::rate)]
    pub(crate) rate: f64,
    /// Binaries: wait this long between the eviction and the cold call
    #[arg(long, value_name = "D", default_value = "20ms", value_parser = typed::duration)]
    pub(crate) pause: Duration,
    /// Binaries: what the eviction ends
    #[arg(long, value_enum, default_value_t)]
    pub(crate) evict: Scope,
    /// A call without a whole reply after this long is a failure
    #[arg(long, value_name = "D", default_value = "60s", value_parser = typed::duration)]
    pub(crate) timeout: Duration,
    /// The program that measures the native floors [default: `floor` beside this program]
    #[arg(long, value_name = "PATH")]
    pub(crate) floor_bin: Option<PathBuf>,
    /// Write everything measured to this file as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Binaries: draw the latency distributions into this SVG file
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,
}
