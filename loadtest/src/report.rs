//! What one run of `loadtest` found. The same value becomes the table, the JSON file and the plot, so they can't disagree.
//!
//! All times are milliseconds.

mod density;
pub(crate) mod json;
mod many;
mod peer;
mod plot;
mod row;
mod table;

use std::io::Write as _;

use serde::{Deserialize, Serialize};

use crate::admin::Scope;
use crate::args::Outputs;
use crate::arrivals::Arrivals;
use crate::compare::Verdict;
use crate::machine::Machine;
use crate::ratios::Ratio;
use crate::series::Summary;
use crate::start::Start;

pub(crate) use density::{DensityReport, PerInstance};
pub(crate) use many::{BurstReport, ChurnReport, Drift, Growth, OneBurst};
pub(crate) use peer::{MissingPeer, PeerReport, Served};
pub(crate) use row::{Bound, Row, RowOutcome};

/// The number of this shape of the JSON file. It changes when a key goes or changes its meaning, not when one is added.
pub(crate) const SCHEMA: u32 = 1;

/// Everything one run found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// [`SCHEMA`].
    pub(crate) schema: u32,
    /// The word after `loadtest`.
    pub(crate) command: String,
    /// When it began, RFC 3339.
    pub(crate) started: String,
    /// Where it ran.
    pub(crate) machine: Machine,
    /// How the load was made; none for commands without a server.
    pub(crate) settings: Option<Settings>,
    /// The floors that were measured.
    pub(crate) floors: Vec<FloorReport>,
    /// The floors that were not.
    pub(crate) missing_floors: Vec<MissingFloor>,
    /// One entry per function.
    pub(crate) functions: Vec<FunctionReport>,
    /// Against the baseline, when one was given.
    pub(crate) verdicts: Vec<Verdict>,
    /// What a burst of each function was like as a whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) bursts: Vec<BurstReport>,
    /// What each churn was like as a whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) churns: Vec<ChurnReport>,
    /// What parked instances cost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) density: Vec<DensityReport>,
    /// The peers that were measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) peers: Vec<PeerReport>,
    /// The peers that were not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) missing_peers: Vec<MissingPeer>,
    /// The table of targets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) targets: Vec<Row>,
    /// Why the exit code is 1; empty when it is 0.
    pub(crate) problems: Vec<String>,
}

/// How the load was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// The server.
    pub(crate) url: String,
    /// The shape of the open loop's schedule.
    pub(crate) arrivals: Arrivals,
    /// Calls per second of the open loop; 0 where there is none.
    pub(crate) rate_per_s: f64,
    /// Measured time per function.
    pub(crate) duration_s: f64,
    /// Between an eviction and its call.
    pub(crate) pause_ms: f64,
    /// What an eviction ends.
    #[serde(default)]
    pub(crate) evict: Scope,
    /// The most cold cycles per second; null is back to back.
    pub(crate) cycles_per_s: Option<f64>,
    /// Interleaved rounds.
    pub(crate) rounds: u32,
    /// The most connections at once.
    pub(crate) connections: u32,
    /// Longest wait for a reply.
    pub(crate) timeout_s: f64,
    /// Bytes of the body; null is a GET.
    pub(crate) body_bytes: Option<usize>,
}

/// One floor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct FloorReport {
    /// Such as `F_exec`.
    pub(crate) name: String,
    /// What was done and timed.
    pub(crate) what: String,
    /// A fact about this measurement, such as the size of the process that forked.
    pub(crate) note: Option<String>,
    /// The times.
    #[serde(flatten)]
    pub(crate) times: Summary,
}

/// A floor without numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct MissingFloor {
    /// Such as `F_exec`.
    pub(crate) name: String,
    /// Why, and how to get it.
    pub(crate) reason: String,
}

/// One function.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct FunctionReport {
    /// Its name.
    pub(crate) function: String,
    /// The cold cycles, closed loop.
    pub(crate) cold: Option<RunReport>,
    /// The open loop.
    pub(crate) warm: Option<RunReport>,
    /// Further ways in which it was called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) more: Vec<NamedRun>,
    /// Medians against floors of the same run.
    pub(crate) ratios: Vec<Ratio>,
}

/// One function called in a way that has a name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct NamedRun {
    /// Such as `burst`.
    pub(crate) scenario: String,
    /// How the calls were made and timed, in words.
    pub(crate) how: String,
    /// Replies per second, where the calls left as fast as they were answered: the median of the rounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) per_s: Option<f64>,
    /// The share of the processors' time that a hypervisor took meanwhile, from 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stolen: Option<f64>,
    /// What became of them.
    #[serde(flatten)]
    pub(crate) run: RunReport,
}

impl FunctionReport {
    /// Everything that was sent to it, by the name of the scenario.
    pub(crate) fn runs(&self) -> Vec<(&str, &RunReport)> {
        let two = [("cold", &self.cold), ("warm", &self.warm)];
        let two = two
            .into_iter()
            .filter_map(|(scenario, run)| Some((scenario, run.as_ref()?)));
        two.chain(self.more.iter().map(|named| (named.scenario.as_str(), &named.run)))
            .collect()
    }
}

/// One function in one scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunReport {
    /// Calls: replies of all start types and failures of all kinds.
    pub(crate) sent: u64,
    /// Replies below status 400.
    pub(crate) ok: u64,
    /// All failures.
    pub(crate) failed: u64,
    /// Failures by kind.
    pub(crate) failures: Vec<FailureReport>,
    /// Requests that left more than a millisecond after their intended time.
    pub(crate) late_sends: u64,
    /// How late the latest left.
    pub(crate) latest_send_ms: f64,
    /// What was called before the clock of the open loop began.
    pub(crate) warm_up: Option<WarmUp>,
    /// Replies by start type.
    pub(crate) starts: Vec<StartReport>,
}

/// Failures of one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct FailureReport {
    /// Such as `refused` or `status 500`.
    pub(crate) kind: String,
    /// How many.
    pub(crate) count: u64,
    /// What the first one said.
    pub(crate) first: String,
}

/// The calls before the open loop, summed over its rounds; they are in no distribution.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct WarmUp {
    /// All calls.
    pub(crate) calls: u64,
    /// Those that failed.
    pub(crate) failed: u64,
    /// How the very first one found its instance.
    pub(crate) first_start: Option<Start>,
    /// How long the very first one took.
    pub(crate) first_ms: Option<f64>,
    /// Whether every round's warm-up ended with a warm function.
    pub(crate) warm: bool,
}

/// Replies of one start type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StartReport {
    /// The start type.
    pub(crate) start: Start,
    /// Their latency.
    #[serde(flatten)]
    pub(crate) latency: Summary,
    /// Medians of the server's own account.
    #[serde(rename = "phase_medians_ms")]
    pub(crate) phases: PhaseMedians,
}

/// Medians of the phases of `Server-Timing`; null where no reply named the phase.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct PhaseMedians {
    /// Waiting for an instance.
    pub(crate) queue: Option<f64>,
    /// Making the sandbox.
    pub(crate) sandbox: Option<f64>,
    /// Loading the handler.
    pub(crate) init: Option<f64>,
    /// Running it.
    pub(crate) handler: Option<f64>,
}

/// Why a report could not be delivered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeliverError {
    /// The JSON file.
    #[error(transparent)]
    Json(#[from] json::JsonError),
    /// The plot.
    #[error(transparent)]
    Plot(#[from] plot::PlotError),
    /// The tables.
    #[error("the tables can't be printed: {0}")]
    Print(#[from] std::io::Error),
}

/// Prints the tables, writes the files that were asked for, and says on standard error what went wrong in the run.
pub(crate) fn deliver(report: &Report, outputs: &Outputs) -> Result<(), DeliverError> {
    // A reader that closed the pipe is no reason to leave out the files.
    let printed = std::io::stdout().write_all(table::render(report).as_bytes());
    if let Some(path) = &outputs.json {
        json::write(report, path)?;
    }
    if let Some(path) = &outputs.plot {
        plot::write(report, path)?;
    }
    for problem in &report.problems {
        eprintln!("loadtest: {problem}");
    }
    Ok(printed?)
}

#[cfg(test)]
pub(crate) mod sample;
