//! `loadtest density`: sends each function many calls at the same moment, so that many instances of it wait afterwards, and
//! looks at the memory before and after.
//!
//! How many instances that makes is the server's choice (a function whose call takes no time needs few), so they are
//! counted, and every amount is for each one that was counted. MemAvailable is of the whole machine, so what it moved by while nothing was called stands beside it.
//! Private memory is read from `/proc` where this user may; what could not be seen is listed.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::{ScenarioError, Subject, client, empty_report, problems, settings};
use crate::admin::{Admin, Scope};
use crate::args::{DensityArgs, Plan};
use crate::census::{Census, Memory, Private, Process};
use crate::client::{Call, Client};
use crate::metrics::{self, Metrics};
use crate::pacer::Pacer;
use crate::recorder::Recorder;
use crate::report::{DensityReport, FunctionReport, NamedRun, PerInstance, Report};

pub(super) async fn run(args: &DensityArgs) -> Result<Report, ScenarioError> {
    let plan = args.plan()?;
    let client = client(&plan).await?;
    let admin = plan.admin_socket.as_deref().map(Admin::new);
    let server = match (args.pid, &admin) {
        (Some(pid), _) => Some(pid),
        (None, Some(admin)) => admin.server().await?,
        (None, None) => None,
    };
    let mut report = empty_report("density");
    report.settings = Some(settings(&plan, 1));
    let parked = park(
        &plan,
        &client,
        admin.as_ref(),
        server,
        &plan.functions.join(", "),
        args.settle,
    )
    .await?;
    report.problems.extend(problems(&parked.0));
    if parked.1.parked == 0 {
        report
            .problems
            .push("no instance waits that did not wait before".to_owned());
    }
    report.functions.push(parked.0);
    report.density.push(parked.1);
    Ok(report)
}

/// Everything that is looked at, at one moment.
struct Look {
    memory: Memory,
    family: Option<BTreeMap<Process, Option<Private>>>,
    metrics: Result<Metrics, String>,
}

/// Evicts the functions of `plan` where the admin socket is known, sends each as many calls at once as `plan` has
/// connections, and says what that cost.
pub(super) async fn park(
    plan: &Plan,
    client: &Client,
    admin: Option<&Admin>,
    server: Option<i32>,
    what: &str,
    settle: Duration,
) -> Result<(FunctionReport, DensityReport), ScenarioError> {
    let mut unseen = Vec::new();
    match admin {
        Some(admin) => {
            for name in &plan.functions {
                admin.evict(name, Scope::All).await?;
            }
        }
        None => {
            unseen.push("what these functions had running before: without --admin-socket nothing is evicted".into())
        }
    }
    let mut pacer = Pacer::new()?;
    let mut look = async || -> Result<Look, ScenarioError> {
        pacer.until(Instant::now() + settle).await?;
        let census = Census::default();
        let family = server.map(|server| census.family(server));
        Ok(Look {
            metrics: metrics::read(&plan.target).await,
            memory: census.memory(),
            family,
        })
    };
    look().await?;
    let (idle, before) = (look().await?, look().await?);
    let mut recorder = Recorder::default();
    let mut instances = HashSet::new();
    for name in &plan.functions {
        let call = Call::new(plan.target.function(name), plan.body.clone());
        let mut flying = JoinSet::new();
        let intended = Instant::now();
        for _ in 0..plan.connections {
            let (client, call) = (client.clone(), call.clone());
            flying.spawn(async move { client.call(&call, intended).await });
        }
        while let Some(landed) = flying.join_next().await {
            let attempt = landed.expect("a call neither panics nor is aborted");
            if let Ok(reply) = &attempt.outcome {
                instances.extend(reply.instance.as_ref().map(|id| id.as_bytes().to_vec()));
            }
            recorder.record(attempt);
        }
    }
    recorder.end_round();
    let after = look().await?;

    let (parked, counted_by) = match (&before.metrics, &after.metrics) {
        (Ok(before), Ok(after)) => {
            let of = |metrics: &Metrics| metrics.of(metrics::INSTANCES, &plan.functions).unwrap_or(0.0);
            ((of(after) - of(before)).max(0.0) as u64, "the server's /metrics")
        }
        (Err(reason), _) | (_, Err(reason)) => {
            unseen.push(reason.clone());
            (instances.len() as u64, "the replies")
        }
    };
    let mut report = DensityReport {
        what: what.to_owned(),
        functions: plan.functions.len() as u64,
        parked,
        counted_by: counted_by.to_owned(),
        available_kib: fell(before.memory.available, after.memory.available),
        kernel_kib: -fell(before.memory.kernel, after.memory.kernel),
        idle_kib: fell(idle.memory.available, before.memory.available),
        processes: None,
        readable: None,
        per_instance: None,
        unseen,
    };
    per_instance(&mut report, plan, &before, &after);
    let mut function = Subject::new(plan, &plan.functions[0]).report(None, None);
    function.function = plan.functions.join(", ");
    function.more.push(NamedRun {
        scenario: "parking".to_owned(),
        how: format!("{} calls to each function at the same moment", plan.connections),
        per_s: None,
        stolen: None,
        run: recorder.report(),
    });
    Ok((function, report))
}

fn fell(before: u64, after: u64) -> i64 {
    i64::try_from(before).unwrap_or(0) - i64::try_from(after).unwrap_or(0)
}

fn per_instance(report: &mut DensityReport, plan: &Plan, before: &Look, after: &Look) {
    if report.parked == 0 {
        return;
    }
    let each = report.parked as f64;
    let mut per = PerInstance {
        available_kib: report.available_kib as f64 / each,
        kernel_kib: report.kernel_kib as f64 / each,
        private_kib: None,
        beyond_dirty_kib: None,
        cgroup_kib: None,
    };
    match (&before.family, &after.family) {
        (Some(before), Some(after)) => {
            let new: Vec<Option<Private>> = after
                .iter()
                .filter(|(process, _)| !before.contains_key(process))
                .map(|(_, private)| *private)
                .collect();
            let readable: Vec<Private> = new.iter().copied().flatten().collect();
            report.processes = Some(new.len() as u64);
            report.readable = Some(readable.len() as u64);
            if readable.is_empty() || readable.len() < new.len() {
                report.unseen.push(format!(
                    "private memory: this user may read {} of {} new processes",
                    readable.len(),
                    new.len()
                ));
            } else {
                let (private, beyond) = private(&readable, report.parked as usize);
                per.private_kib = Some(private as f64 / each);
                per.beyond_dirty_kib = Some(beyond as f64 / each);
            }
        }
        _ => report
            .unseen
            .push("private memory: the server's process is not known; --admin-socket or --pid names it".into()),
    }
    let of = |look: &Look| look.metrics.as_ref().ok()?.of(metrics::MEMORY, &plan.functions);
    match of(after) {
        Some(bytes) => per.cgroup_kib = Some((bytes - of(before).unwrap_or(0.0)) / 1024.0 / each),
        None => report
            .unseen
            .push("what the cgroups count: the server shows no fn_memory_bytes".into()),
    }
    report.per_instance = Some(per);
}

/// All private memory of `processes`, and what of it is not dirty pages of the `parked` largest, one for each instance.
fn private(processes: &[Private], parked: usize) -> (u64, u64) {
    let all: u64 = processes.iter().map(|process| process.clean + process.dirty).sum();
    let mut dirty: Vec<u64> = processes.iter().map(|process| process.dirty).collect();
    dirty.sort_unstable_by(|one, other| other.cmp(one));
    let functions: u64 = dirty.iter().take(parked).sum();
    (all, all - functions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_function_itself_is_the_largest_process() {
        let of = |clean, dirty| Private { clean, dirty };
        // Two instances, each with a small process of the platform's own.
        let processes = [of(0, 32), of(4, 500), of(0, 30), of(8, 600)];
        assert_eq!(private(&processes, 2), (1174, 74));
        assert_eq!(private(&[], 2), (0, 0));
    }
}
