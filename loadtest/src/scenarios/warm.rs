//! `loadtest warm`: an open loop on a function that a warm-up has made warm.

use std::time::{Duration, Instant};

use super::{HOPELESS, ScenarioError, Subject, client, empty_report, open_loop, problems, progress, settings};
use crate::args::Plan;
use crate::client::{Client, Reply};
use crate::report::{Report, WarmUp};
use crate::start::Family;

/// The warm-up ends after this many warm replies one after the other, or gives up after [`MOST_CALLS`].
const ENOUGH_WARM: u32 = 5;
const MOST_CALLS: u32 = 200;
/// After it the load itself runs this long uncounted, at most, so that connections and instances for it exist.
const LONGEST_SETTLING: Duration = Duration::from_secs(1);

pub(super) async fn run(plan: &Plan) -> Result<Report, ScenarioError> {
    let client = client(plan).await?;
    let mut report = empty_report("warm");
    report.settings = Some(settings(plan, 1));
    let bar = progress(plan.functions.len() as u64);
    for name in &plan.functions {
        bar.set_message(name.clone());
        let mut subject = Subject::new(plan, name);
        slice(plan, &client, &mut subject, plan.duration, 0).await?;
        let function = subject.report(None, Some(subject.warm_report()));
        report.problems.extend(problems(&function));
        if subject.warm.count(Family::Warm) == 0 {
            report.problems.push(format!("{name}: no reply was warm"));
        }
        report.functions.push(function);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(report)
}

/// A warm-up and one round of the open loop. `round` tells the Poisson schedules of several rounds apart.
pub(super) async fn slice(
    plan: &Plan,
    client: &Client,
    subject: &mut Subject,
    duration: Duration,
    round: u64,
) -> Result<(), ScenarioError> {
    warm_up(client, subject).await;
    let settling = (duration / 10).min(LONGEST_SETTLING);
    // An odd seed for the settling, an even one for the measurement: never the same gaps twice.
    let before = plan.arrivals.schedule(plan.rate, settling, round * 2 + 1);
    let warm_up = &mut subject.warm_up;
    open_loop(client, &subject.call, &before, |attempt| {
        warm_up.calls += 1;
        warm_up.failed += u64::from(attempt.outcome.is_err());
    })
    .await?;
    let offsets = plan.arrivals.schedule(plan.rate, duration, round * 2);
    let recorder = &mut subject.warm;
    open_loop(client, &subject.call, &offsets, |attempt| recorder.record(attempt)).await?;
    recorder.end_round();
    Ok(())
}

async fn warm_up(client: &Client, subject: &mut Subject) {
    let record = &mut subject.warm_up;
    let (mut warm, mut failed) = (0, 0);
    for _ in 0..MOST_CALLS {
        let attempt = client.call(&subject.call, Instant::now()).await;
        record.calls += 1;
        match attempt.outcome {
            Ok(reply) => {
                remember_first(record, &reply);
                failed = 0;
                warm = if reply.start.family() == Family::Warm {
                    warm + 1
                } else {
                    0
                };
            }
            Err(_counted) => {
                record.failed += 1;
                failed += 1;
                warm = 0;
            }
        }
        if warm == ENOUGH_WARM {
            return;
        }
        if failed == HOPELESS {
            break;
        }
    }
    record.warm = false;
}

fn remember_first(record: &mut WarmUp, reply: &Reply) {
    if record.first_start.is_none() {
        record.first_start = Some(reply.start);
        record.first_ms = Some(reply.latency.as_secs_f64() * 1e3);
    }
}
