//! `loadtest cold`: evict the function, call it once, again and again.
//!
//! A closed loop by nature: the next eviction can only follow the last reply. Only the call is timed.

use std::time::{Duration, Instant};

use super::{HOPELESS, ScenarioError, Subject, admin, client, empty_report, problems, progress, settings};
use crate::admin::Admin;
use crate::args::Plan;
use crate::client::{Attempt, Client, Failure, FailureKind};
use crate::pacer::Pacer;
use crate::report::Report;
use crate::start::Family;

pub(super) async fn run(plan: &Plan) -> Result<Report, ScenarioError> {
    let (client, admin) = (client(plan).await?, admin(plan)?);
    let mut report = empty_report("cold");
    report.settings = Some(settings(plan, 1));
    let bar = progress(plan.functions.len() as u64);
    for name in &plan.functions {
        bar.set_message(name.clone());
        let mut subject = Subject::new(plan, name);
        // If not even this works, there is nothing to count.
        admin.evict(name, plan.evict).await?;
        slice(plan, &client, &admin, &mut subject, plan.duration, plan.cycles).await?;
        let function = subject.report(Some(subject.cold_report()), None);
        report.problems.extend(problems(&function));
        if subject.cold.count(Family::Cold) == 0 {
            report.problems.push(format!("{name}: no reply was a cold start"));
        }
        report.functions.push(function);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(report)
}

/// One round of cycles, until `duration` is over or `most` cycles are done; at least one cycle.
pub(super) async fn slice(
    plan: &Plan,
    client: &Client,
    admin: &Admin,
    subject: &mut Subject,
    duration: Duration,
    most: Option<u64>,
) -> Result<(), ScenarioError> {
    let mut pacer = Pacer::new()?;
    let end = Instant::now() + duration;
    let mut failed_in_a_row = 0;
    let mut last_instance = None;
    for cycle in 0..most.unwrap_or(u64::MAX) {
        let began = Instant::now();
        if (cycle > 0 && began >= end) || failed_in_a_row == HOPELESS {
            break;
        }
        if let Err(error) = admin.evict(&subject.name, plan.evict).await {
            subject.cold.fail(Failure {
                kind: FailureKind::Evict,
                detail: error.to_string(),
            });
            failed_in_a_row += 1;
            continue;
        }
        if !plan.pause.is_zero() {
            pacer.until(Instant::now() + plan.pause).await?;
        }
        let mut attempt = client.call(&subject.call, Instant::now()).await;
        refuse_same_instance(&mut attempt, &mut last_instance);
        failed_in_a_row = if attempt.outcome.is_err() {
            failed_in_a_row + 1
        } else {
            0
        };
        subject.cold.record(attempt);
        if let Some(rate) = plan.cycle_rate {
            pacer
                .until((began + Duration::from_secs_f64(1.0 / rate)).min(end))
                .await?;
        }
    }
    subject.cold.end_round();
    Ok(())
}

/// A start that calls itself cold must come from a new process: the boot id proves it.
fn refuse_same_instance(attempt: &mut Attempt, last: &mut Option<http::HeaderValue>) {
    let Ok(reply) = &attempt.outcome else { return };
    let instance = reply.instance.clone();
    let cold = reply.start.family() == Family::Cold;
    if cold && instance.is_some() && instance == *last {
        let detail = format!(
            "x-fn-start says {}, but the process of the call before answered",
            reply.start.name()
        );
        attempt.outcome = Err(Failure {
            kind: FailureKind::SameInstance,
            detail,
        });
    }
    *last = instance;
}
