//! Options of `loadtest density`.

use std::time::Duration;

use super::{CallArgs, Plan, PlanError, typed};

/// What a look at memory needs.
#[derive(Debug, clap::Args)]
pub(crate) struct DensityArgs {
    /// What is called.
    #[command(flatten)]
    pub(crate) calls: CallArgs,
    /// Calls that leave at once to each function, so that as many instances of it start as its scale.max allows
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) instances: u32,
    /// Wait this long before each look at the memory
    #[arg(long, value_name = "D", default_value = "2s", value_parser = typed::duration)]
    pub(crate) settle: Duration,
    /// The server's process [default: the one that listens on the admin socket]
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
    pub(crate) pid: Option<i32>,
}

impl DensityArgs {
    /// Resolves what was typed.
    pub(crate) fn plan(&self) -> Result<Plan, PlanError> {
        self.calls.plan(self.instances)
    }
}
