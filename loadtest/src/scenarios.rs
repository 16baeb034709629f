//! What each command does, from its options to its report.

mod ab;
mod burst;
mod churn;
pub(crate) mod closed;
mod cold;
mod compare;
mod density;
mod floor;
mod fresh;
mod peers;
mod targets;
mod warm;

use std::time::{Duration, Instant};

use bytes::Bytes;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinSet;

use crate::admin::{Admin, AdminError};
use crate::args::{Command, Plan, PlanError};
use crate::client::{Attempt, Call, Client, ClientError};
use crate::floor::HttpError;
use crate::machine::Machine;
use crate::pacer::Pacer;
use crate::recorder::Recorder;
use crate::report::json::JsonError;
use crate::report::{FunctionReport, Report, RunReport, SCHEMA, Settings, WarmUp};

/// After this many failures one after the other a closed loop stops: the server is not there, and asking faster and
/// faster would only bury the first answer.
const HOPELESS: u32 = 10;

/// Why a command found nothing to report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScenarioError {
    /// The options can't be carried out.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// There is no client.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Cold calls need evictions.
    #[error("cold calls need the admin socket: --admin-socket PATH or $FN_ADMIN_SOCKET")]
    NoAdminSocket,
    /// The very first eviction failed.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The echo server of the floors does not work.
    #[error("F_http can't be measured: {0}")]
    Floor(#[from] HttpError),
    /// The two sides of a comparison.
    #[error(transparent)]
    Ab(#[from] ab::AbError),
    /// A server of the load test's own.
    #[error(transparent)]
    Serve(#[from] crate::serve::ServeError),
    /// There is no place for the peers.
    #[error(transparent)]
    Peers(#[from] crate::peers::PeersError),
    /// The timer.
    #[error("the timer failed: {0}")]
    Timer(#[from] std::io::Error),
    /// The baseline can't be read.
    #[error("the baseline: {0}")]
    Baseline(#[from] JsonError),
    /// The baseline says nothing about this run.
    #[error(transparent)]
    Compare(#[from] crate::compare::CompareError),
    /// A single round has no noise to judge a change by.
    #[error("--baseline needs --rounds 2 or more: the noise is how far the rounds lie apart")]
    OneRound,
}

/// Carries out one command.
pub(crate) async fn run(command: Command) -> Result<Report, ScenarioError> {
    match command {
        Command::Floor(args) => floor::run(&args).await,
        Command::Warm(args) => warm::run(&args.plan()?).await,
        Command::Cold(args) => cold::run(&args.plan()?).await,
        Command::Compare(args) => compare::run(&args).await,
        Command::Burst(args) => burst::run(&args).await,
        Command::Churn(args) => churn::run(&args.plan()?).await,
        Command::Density(args) => density::run(&args).await,
        Command::Peers(args) => peers::run(&args).await,
        Command::Targets(args) => targets::run(&args).await,
        Command::Ab(args) => ab::run(&args).await,
        Command::Echo => unreachable!("main serves the echo before it asks for a report"),
    }
}

/// One function under load.
#[derive(Debug)]
struct Subject {
    name: String,
    call: Call,
    cold: Recorder,
    warm: Recorder,
    warm_up: WarmUp,
}

impl Subject {
    fn new(plan: &Plan, name: &str) -> Self {
        let body: Option<Bytes> = plan.body.clone();
        Self {
            name: name.to_owned(),
            call: Call::new(plan.target.function(name), body),
            cold: Recorder::default(),
            warm: Recorder::default(),
            warm_up: WarmUp {
                warm: true,
                ..Default::default()
            },
        }
    }

    fn cold_report(&self) -> RunReport {
        self.cold.report()
    }

    fn warm_report(&self) -> RunReport {
        RunReport {
            warm_up: Some(self.warm_up.clone()),
            ..self.warm.report()
        }
    }

    fn report(&self, cold: Option<RunReport>, warm: Option<RunReport>) -> FunctionReport {
        FunctionReport {
            function: self.name.clone(),
            cold,
            warm,
            more: Vec::new(),
            ratios: Vec::new(),
        }
    }
}

/// Sends one call at each offset from now, whatever became of the earlier ones, and hands over every attempt.
///
/// Returns when the last attempt has ended. Latencies count from the intended time, so calls that had to wait for this
/// loop, for a connection or for the server all show it.
pub(crate) async fn open_loop(
    client: &Client,
    call: &Call,
    offsets: &[Duration],
    mut each: impl FnMut(Attempt),
) -> std::io::Result<()> {
    let mut pacer = Pacer::new()?;
    let mut flying = JoinSet::new();
    let begin = Instant::now();
    for offset in offsets {
        let intended = begin + *offset;
        pacer.until(intended).await?;
        let (client, call) = (client.clone(), call.clone());
        flying.spawn(async move { client.call(&call, intended).await });
        while let Some(landed) = flying.try_join_next() {
            each(landed.expect("a call neither panics nor is aborted"));
        }
    }
    while let Some(landed) = flying.join_next().await {
        each(landed.expect("a call neither panics nor is aborted"));
    }
    Ok(())
}

fn admin(plan: &Plan) -> Result<Admin, ScenarioError> {
    plan.admin_socket
        .as_deref()
        .map(Admin::new)
        .ok_or(ScenarioError::NoAdminSocket)
}

async fn client(plan: &Plan) -> Result<Client, ScenarioError> {
    Ok(Client::new(&plan.target, plan.connections, plan.timeout).await?)
}

fn empty_report(command: &str) -> Report {
    Report {
        schema: SCHEMA,
        command: command.to_owned(),
        started: jiff::Timestamp::now().to_string(),
        machine: Machine::read(),
        settings: None,
        floors: Vec::new(),
        missing_floors: Vec::new(),
        functions: Vec::new(),
        verdicts: Vec::new(),
        bursts: Vec::new(),
        churns: Vec::new(),
        density: Vec::new(),
        peers: Vec::new(),
        missing_peers: Vec::new(),
        targets: Vec::new(),
        problems: Vec::new(),
    }
}

fn settings(plan: &Plan, rounds: u32) -> Settings {
    Settings {
        url: plan.target.to_string(),
        arrivals: plan.arrivals,
        rate_per_s: plan.rate,
        duration_s: plan.duration.as_secs_f64(),
        pause_ms: plan.pause.as_secs_f64() * 1e3,
        evict: plan.evict,
        cycles_per_s: plan.cycle_rate,
        rounds,
        connections: plan.connections,
        timeout_s: plan.timeout.as_secs_f64(),
        body_bytes: plan.body.as_ref().map(Bytes::len),
    }
}

/// What makes the exit code 1 in every command with load: a failed call, or one that says nothing about its start.
fn problems(report: &FunctionReport) -> Vec<String> {
    let mut problems = Vec::new();
    for (scenario, run) in report.runs() {
        if run.failed > 0 {
            problems.push(format!(
                "{}: {} of {} calls failed ({scenario})",
                report.function, run.failed, run.sent
            ));
        }
        if let Some(warm_up) = run.warm_up.as_ref().filter(|warm_up| warm_up.failed > 0) {
            problems.push(format!(
                "{}: {} calls of the warm-up failed",
                report.function, warm_up.failed
            ));
        }
    }
    problems
}

/// A bar on standard error when that is a terminal. It moves only between measurements, never during one.
fn progress(steps: u64) -> ProgressBar {
    let bar = ProgressBar::new(steps);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}").expect("the template is valid");
    bar.set_style(style);
    bar
}
