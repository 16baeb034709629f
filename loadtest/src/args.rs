//! The command line: what was typed ([`Args`]) and what it means ([`Plan`]).

mod ab;
mod burst;
mod churn;
mod density;
mod floor;
mod load;
mod peers;
mod targets;
mod typed;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

pub(crate) use ab::AbArgs;
pub(crate) use burst::BurstArgs;
pub(crate) use churn::ChurnArgs;
pub(crate) use density::DensityArgs;
pub(crate) use floor::FloorArgs;
pub(crate) use load::{CallArgs, CompareArgs, LoadArgs, Plan, PlanError};
pub(crate) use peers::PeersArgs;
pub(crate) use targets::TargetsArgs;

/// Measures cold and warm calls of a running server, the floors of this machine, and the peers installed on it.
#[derive(Debug, Parser)]
#[command(name = "loadtest", version, about)]
pub(crate) struct Args {
    /// What to measure.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// One measurement.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Measure the floors: what the bare machine needs for the parts of a start
    Floor(FloorArgs),
    /// Open-loop load on functions that are already warm
    Warm(LoadArgs),
    /// Cycles of evicting everything and calling once (closed loop)
    Cold(LoadArgs),
    /// Cold against warm, with the floors measured in the same run, interleaved
    Compare(CompareArgs),
    /// Many simultaneous calls to a function that has no instance
    Burst(BurstArgs),
    /// Evict and call without a break: cold starts per second sustained, and whether anything grows
    Churn(ChurnArgs),
    /// What instances that wait for a call cost in memory
    Density(DensityArgs),
    /// Other ways to start and to serve the same work, as far as they are installed
    Peers(PeersArgs),
    /// Every row of the table of targets that the server can show
    Targets(TargetsArgs),
    /// Compare two result files, or two fn binaries in turns
    Ab(AbArgs),
    /// The bare echo server behind the floor F_http; prints its address, ends when its stdin closes
    #[command(hide = true)]
    Echo,
}

/// Where a report goes besides standard output.
#[derive(Debug, Default, Clone)]
pub(crate) struct Outputs {
    /// The JSON file, when asked for.
    pub(crate) json: Option<PathBuf>,
    /// The SVG file, when asked for.
    pub(crate) plot: Option<PathBuf>,
}

impl Command {
    /// The files this command was asked to write.
    pub(crate) fn outputs(&self) -> Outputs {
        let none = &None;
        let (json, plot) = match self {
            Self::Floor(args) => (&args.json, none),
            Self::Warm(args) | Self::Cold(args) => (&args.calls.json, &args.calls.plot),
            Self::Compare(args) => (&args.load.calls.json, &args.load.calls.plot),
            Self::Burst(args) => (&args.calls.json, &args.calls.plot),
            Self::Churn(args) => (&args.calls.json, &args.calls.plot),
            Self::Density(args) => (&args.calls.json, &args.calls.plot),
            Self::Peers(args) => (&args.json, none),
            Self::Targets(args) => (&args.json, &args.plot),
            Self::Ab(args) => (&args.json, &args.plot),
            Self::Echo => (none, none),
        };
        Outputs {
            json: json.clone(),
            plot: plot.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Args::command().debug_assert();
    }
}
