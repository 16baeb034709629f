//! Options of `loadtest burst`.

use std::time::Duration;

use super::{CallArgs, Plan, PlanError, typed};

/// What a burst needs.
#[derive(Debug, clap::Args)]
pub(crate) struct BurstArgs {
    /// What is called.
    #[command(flatten)]
    pub(crate) calls: CallArgs,
    /// Calls that leave at once, each on a connection of its own
    #[arg(long = "calls", value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) size: u32,
    /// Bursts for each function
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,
    /// Wait this long between the eviction and the burst
    #[arg(long, value_name = "D", default_value = "0", value_parser = typed::duration)]
    pub(crate) pause: Duration,
}

impl BurstArgs {
    /// Resolves what was typed.
    pub(crate) fn plan(&self) -> Result<Plan, PlanError> {
        Ok(Plan {
            pause: self.pause,
            ..self.calls.plan(self.size)?
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::args::{Args, Command};

    #[test]
    fn every_call_of_a_burst_has_a_connection() {
        let words = ["loadtest", "burst", "--url", "http://127.0.0.1:1", "--function", "a"];
        let Command::Burst(args) = Args::try_parse_from(words).unwrap().command else {
            panic!("another command");
        };
        assert_eq!((args.size, args.plan().unwrap().connections), (200, 200));
    }
}
