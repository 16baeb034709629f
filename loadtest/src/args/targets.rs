//! Options of `loadtest targets`.

use std::path::PathBuf;
use std::time::Duration;

use super::typed;
use crate::client::Target;

/// What a look at the targets needs. It deploys its own functions, whose names start with `loadtest-`, and removes them.
#[derive(Debug, clap::Args)]
pub(crate) struct TargetsArgs {
    /// The server, as http://HOST:PORT
    #[arg(long, value_name = "URL")]
    pub(crate) url: Target,
    /// The server's admin socket, for deploys and evictions
    #[arg(long, value_name = "PATH", env = "FN_ADMIN_SOCKET")]
    pub(crate) admin_socket: Option<PathBuf>,
    /// Only this row; may be given several times [default: all]
    #[arg(long = "row", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=12))]
    pub(crate) rows: Vec<u32>,
    /// Interleaved rounds of floors, peers and calls
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,
    /// Cold cycles of each function in each round, of each kind of eviction
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(crate) cycles: u64,
    /// How long each open loop and each throughput runs, over all rounds
    #[arg(long, value_name = "D", default_value = "10s", value_parser = typed::duration)]
    pub(crate) duration: Duration,
    /// Wait this long before each cold call, and before each start of a floor or a peer
    #[arg(long, value_name = "D", default_value = "20ms", value_parser = typed::duration)]
    pub(crate) pause: Duration,
    /// Connections of the throughput
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) connections: u32,
    /// Instances of the Python function under load, and workers of the servers beside it
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) workers: u32,
    /// Calls of the burst (row 7)
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) burst_calls: u32,
    /// Instances that are parked of each kind (row 8)
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) parked: u32,
    /// Cycles of eviction and start (row 9), half of them native and half Python; fewer than 2,000 have no first and last
    /// hundredth
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub(crate) churn_cycles: u64,
    /// The fn binary, for two further servers of the load test's own (row 12)
    #[arg(long = "fn", value_name = "PATH", id = "fn")]
    pub(crate) program: Option<PathBuf>,
    /// Functions that one of those has; the other has 10
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(11..=1_000_000))]
    pub(crate) functions: u32,
    /// Where the Python servers of row 6 are, or are to be installed [default: $PATH]
    #[arg(long, value_name = "DIR")]
    pub(crate) peers_dir: Option<PathBuf>,
    /// Leave the peers out; rows 6 and 10 are then skipped
    #[arg(long)]
    pub(crate) no_peers: bool,
    /// A call without a whole reply after this long is a failure
    #[arg(long, value_name = "D", default_value = "60s", value_parser = typed::duration)]
    pub(crate) timeout: Duration,
    /// The program that measures the native floors [default: `floor` beside this program]
    #[arg(long, value_name = "PATH")]
    pub(crate) floor_bin: Option<PathBuf>,
    /// Write everything measured to this file as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Draw the latency distributions into this SVG file
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,
}

impl TargetsArgs {
    /// Whether a row was asked for.
    pub(crate) fn wants(&self, row: u32) -> bool {
        self.rows.is_empty() || self.rows.contains(&row)
    }

    /// Whether any of them was.
    pub(crate) fn wants_any(&self, rows: &[u32]) -> bool {
        rows.iter().any(|row| self.wants(*row))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Args, Command};

    fn targets(extra: &[&str]) -> TargetsArgs {
        let base = ["loadtest", "targets", "--url", "http://127.0.0.1:8080"];
        match Args::try_parse_from(base.iter().chain(extra)).unwrap().command {
            Command::Targets(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn all_rows_or_those_that_are_named() {
        assert!((1..=12).all(|row| targets(&[]).wants(row)));
        let two = targets(&["--row", "1", "--row", "5"]);
        let wanted: Vec<u32> = (1..=12).filter(|row| two.wants(*row)).collect();
        assert_eq!(wanted, [1, 5]);
        assert!(two.wants_any(&[5, 6]) && !two.wants_any(&[2, 3]));
    }
}
