//! Options of `loadtest churn`.

use std::time::Duration;

use super::{CallArgs, Plan, PlanError, typed};
use crate::admin::Scope;

/// How long a churn runs when nothing says so.
const DEFAULT_DURATION: Duration = Duration::from_secs(10);
/// Longer than anybody waits; the cycles end it.
const NO_LIMIT: Duration = Duration::from_secs(86_400 * 365);

/// What a churn needs.
#[derive(Debug, clap::Args)]
pub(crate) struct ChurnArgs {
    /// What is called.
    #[command(flatten)]
    pub(crate) calls: CallArgs,
    /// Stop after this many calls, each of which had an eviction before it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub(crate) cycles: Option<u64>,
    /// Stop after this long [default: 10s, or no limit with --cycles]
    #[arg(long, value_name = "D", value_parser = typed::duration)]
    pub(crate) duration: Option<Duration>,
    /// Calls in flight at once, spread over the functions; those of one function share an eviction [default: 2, or one
    /// for each function]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) connections: Option<u32>,
    /// What the eviction ends
    #[arg(long, value_enum, default_value_t)]
    pub(crate) evict: Scope,
    /// Wait this long between an eviction and its calls
    #[arg(long, value_name = "D", default_value = "0", value_parser = typed::duration)]
    pub(crate) pause: Duration,
}

impl ChurnArgs {
    /// Resolves what was typed.
    pub(crate) fn plan(&self) -> Result<Plan, PlanError> {
        let duration = match (self.duration, self.cycles) {
            (Some(duration), _) => duration,
            (None, Some(_)) => NO_LIMIT,
            (None, None) => DEFAULT_DURATION,
        };
        let mut plan = self.calls.plan(1)?;
        let functions = u32::try_from(plan.functions.len()).unwrap_or(u32::MAX);
        plan.connections = self.connections.unwrap_or(functions.max(2));
        if plan.connections < functions {
            return Err(PlanError::FewConnections {
                connections: plan.connections,
                functions,
            });
        }
        Ok(Plan {
            duration,
            pause: self.pause,
            cycles: self.cycles,
            evict: self.evict,
            ..plan
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Args, Command};

    fn plan(extra: &[&str]) -> Result<Plan, PlanError> {
        let base = [
            "loadtest",
            "churn",
            "--url",
            "http://127.0.0.1:1",
            "--function",
            "a",
            "--function",
            "b",
        ];
        match Args::try_parse_from(base.iter().chain(extra)).unwrap().command {
            Command::Churn(args) => args.plan(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn cycles_or_a_duration_end_it() {
        assert_eq!(plan(&[]).unwrap().duration, DEFAULT_DURATION);
        let cycles = plan(&["--cycles", "5"]).unwrap();
        assert_eq!((cycles.duration, cycles.cycles), (NO_LIMIT, Some(5)));
        assert_eq!(
            plan(&["--cycles", "5", "--duration", "2s"]).unwrap().duration,
            Duration::from_secs(2)
        );
    }

    #[test]
    fn each_function_has_a_connection_of_its_own() {
        assert_eq!(plan(&[]).unwrap().connections, 2);
        assert_eq!(plan(&["--function", "c"]).unwrap().connections, 3);
        assert!(matches!(
            plan(&["--connections", "1"]),
            Err(PlanError::FewConnections { .. })
        ));
    }
}
