//! `loadtest churn`: evict and call without a break, on several functions or several connections at once.
//!
//! An eviction also ends calls that are running, so the connections of one function share it: evict, let each of them call
//! once, wait for the last reply, again. Functions don't wait for each other. Only replies from new processes count as
//! cold starts; when the connections of one function find each other's processes warm, that lowers the rate.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::fresh::Fresh;
use super::{HOPELESS, ScenarioError, Subject, admin, client, empty_report, problems, progress, settings};
use crate::admin::{Admin, Scope};
use crate::args::Plan;
use crate::census::Census;
use crate::client::{Call, Client, Failure, FailureKind};
use crate::pacer::Pacer;

use crate::report::{ChurnReport, Drift, FunctionReport, Growth, NamedRun, Report};
use crate::start::{Family, Start};

/// The kernel and the server clear up after themselves for a while after an eviction.
const SETTLE: Duration = Duration::from_secs(1);
/// What a server keeps ready follows the load of the last moments, so it is given this long to forget it.
const TO_FORGET: Duration = Duration::from_secs(30);
/// Fewer cold starts than this have no tenths.
const ENOUGH_FOR_TENTHS: usize = 100;

pub(super) async fn run(plan: &Plan) -> Result<Report, ScenarioError> {
    let (client, admin) = (client(plan).await?, admin(plan)?);
    let mut report = empty_report("churn");
    report.settings = Some(settings(plan, 1));
    let bar = progress(1);
    bar.set_message("churn");
    let (functions, churn) = churn(plan, &client, &admin, &plan.functions.join(", ")).await?;
    bar.finish_and_clear();
    for function in &functions {
        report.problems.extend(problems(function));
    }
    if churn.cold_starts == 0 {
        report.problems.push("no reply was a cold start".to_owned());
    }
    report.functions = functions;
    report.churns.push(churn);
    Ok(report)
}

/// One cold reply.
#[derive(Debug, Clone, Copy)]
struct Cold {
    start: Start,
    latency: Duration,
    /// When it ended, from the beginning of the churn.
    at: Duration,
}

/// Runs the whole churn of `plan`: its functions, its connections, until its cycles or its duration are over.
pub(super) async fn churn(
    plan: &Plan,
    client: &Client,
    admin: &Admin,
    what: &str,
) -> Result<(Vec<FunctionReport>, ChurnReport), ScenarioError> {
    // Not every server lets its caller see its process; the report then says so.
    let server = admin.server().await?;
    // The server's own side of these connections must not look like growth. One that can't be opened now is opened by its
    // call, which is a counted failure if that fails too.
    drop(client.open(plan.connections as usize).await);
    let groups = admin.cgroups().await?;
    let look = || Census::default().counts(server, &groups);
    settle(plan, admin).await?;
    let (before, mut unseen) = look();

    if plan.evict == Scope::Used {
        // What stays between the cycles was just evicted too. Making it again belongs to no cycle; if it fails, so do they.
        for name in &plan.functions {
            let call = Subject::new(plan, name).call;
            drop(client.call(&call, Instant::now()).await);
        }
    }

    let began = Instant::now();
    let left = Arc::new(AtomicU64::new(plan.cycles.unwrap_or(u64::MAX)));
    let mut groups = JoinSet::new();
    for (index, name) in plan.functions.iter().enumerate() {
        let subject = Subject::new(plan, name);
        let group = Group {
            plan: plan.clone(),
            client: client.clone(),
            admin: admin.clone(),
            call: subject.call.clone(),
            width: share(plan.connections, plan.functions.len(), index),
            left: left.clone(),
            began,
            subject,
            fresh: Fresh::default(),
            colds: Vec::new(),
        };
        groups.spawn(async move { (index, group.run().await) });
    }
    let (mut ended, mut colds) = (Vec::new(), Vec::new());
    while let Some(group) = groups.join_next().await {
        let (index, group) = group.expect("a group neither panics nor is aborted");
        let (subject, of_group) = group?;
        ended.push((index, subject));
        colds.extend(of_group);
    }
    let elapsed = began.elapsed();
    ended.sort_by_key(|(index, _)| *index);
    let functions = ended.iter().map(|(_, subject)| function(plan, subject)).collect();

    settle(plan, admin).await?;
    let forget_until = Instant::now() + TO_FORGET;
    let (after, not_seen) = loop {
        let (after, not_seen) = look();
        let grown = growth(&before, &after).iter().any(|growth| growth.change() > 0);
        if !grown || Instant::now() > forget_until {
            break (after, not_seen);
        }
        Pacer::new()?.until(Instant::now() + SETTLE).await?;
    };
    unseen.extend(not_seen);
    unseen.sort();
    unseen.dedup();
    colds.sort_by_key(|cold| cold.at);
    let report = ChurnReport {
        what: what.to_owned(),
        elapsed_s: elapsed.as_secs_f64(),
        connections: plan.connections,
        cold_starts: colds.len() as u64,
        per_s: colds.len() as f64 / elapsed.as_secs_f64(),
        slowest_tenth_per_s: slowest_tenth(&colds, elapsed),
        drift: drift(&colds),
        growth: growth(&before, &after),
        unseen,
    };
    Ok((functions, report))
}

/// How many of `connections` belong to the function at `index` of `functions`.
fn share(connections: u32, functions: usize, index: usize) -> u32 {
    let functions = u32::try_from(functions).unwrap_or(u32::MAX);
    connections / functions + u32::from(index < (connections % functions) as usize)
}

fn function(plan: &Plan, subject: &Subject) -> FunctionReport {
    let mut function = subject.report(None, None);
    function.more.push(NamedRun {
        scenario: "churn".to_owned(),
        how: format!(
            "closed loop: {}, call at once on each of its connections; only the calls are timed",
            plan.evict.words()
        ),
        per_s: None,
        stolen: None,
        run: subject.cold_report(),
    });
    function
}

async fn settle(plan: &Plan, admin: &Admin) -> Result<(), ScenarioError> {
    for name in &plan.functions {
        admin.evict(name, Scope::All).await?;
    }
    Ok(Pacer::new()?.until(Instant::now() + SETTLE).await?)
}

/// The connections of one function.
struct Group {
    plan: Plan,
    client: Client,
    admin: Admin,
    call: Call,
    width: u32,
    left: Arc<AtomicU64>,
    began: Instant,
    subject: Subject,
    fresh: Fresh,
    colds: Vec<Cold>,
}

impl Group {
    async fn run(mut self) -> Result<(Subject, Vec<Cold>), ScenarioError> {
        let mut pacer = Pacer::new()?;
        let mut failed_in_a_row = 0;
        while self.began.elapsed() < self.plan.duration && failed_in_a_row < HOPELESS {
            let calls = self.take();
            if calls == 0 {
                break;
            }
            if let Err(error) = self.admin.evict(&self.subject.name, self.plan.evict).await {
                self.subject.cold.fail(Failure {
                    kind: FailureKind::Evict,
                    detail: error.to_string(),
                });
                failed_in_a_row += 1;
                continue;
            }
            if !self.plan.pause.is_zero() {
                pacer.until(Instant::now() + self.plan.pause).await?;
            }
            let any = self.calls(calls).await;
            failed_in_a_row = if any { 0 } else { failed_in_a_row + 1 };
        }
        self.subject.cold.end_round();
        Ok((self.subject, self.colds))
    }

    /// Takes one cycle for each connection from those that are left.
    fn take(&self) -> u32 {
        let width = u64::from(self.width);
        let before = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            Some(left.saturating_sub(width))
        });
        u32::try_from(before.unwrap_or(0).min(width)).unwrap_or(self.width)
    }

    /// One call on each of `width` connections; whether any was answered.
    async fn calls(&mut self, width: u32) -> bool {
        let mut flying = JoinSet::new();
        let intended = Instant::now();
        for _ in 0..width {
            let (client, call) = (self.client.clone(), self.call.clone());
            flying.spawn(async move { client.call(&call, intended).await });
        }
        let mut any = false;
        while let Some(landed) = flying.join_next().await {
            let mut attempt = landed.expect("a call neither panics nor is aborted");
            self.fresh.check(&mut attempt);
            if let Ok(reply) = &attempt.outcome {
                any = true;
                if reply.start.family() == Family::Cold {
                    self.colds.push(Cold {
                        start: reply.start,
                        latency: reply.latency,
                        at: self.began.elapsed(),
                    });
                }
            }
            self.subject.cold.record(attempt);
        }
        any
    }
}

fn slowest_tenth(colds: &[Cold], elapsed: Duration) -> Option<f64> {
    if colds.len() < ENOUGH_FOR_TENTHS {
        return None;
    }
    let mut tenths = [0u64; 10];
    for cold in colds {
        let tenth = (cold.at.as_secs_f64() / elapsed.as_secs_f64() * 10.0) as usize;
        tenths[tenth.min(9)] += 1;
    }
    let least = tenths.into_iter().min()?;
    Some(least as f64 / (elapsed.as_secs_f64() / 10.0))
}

/// The p99 of the first and the last hundredth of each start type, in the order in which the calls ended.
fn drift(colds: &[Cold]) -> Vec<Drift> {
    let mut starts: Vec<Start> = colds.iter().map(|cold| cold.start).collect();
    starts.sort_unstable();
    starts.dedup();
    let of = |start: Start| {
        let times: Vec<Duration> = colds
            .iter()
            .filter(|cold| cold.start == start)
            .map(|cold| cold.latency)
            .collect();
        let hundredth = times.len().div_ceil(100);
        Drift {
            start,
            calls: hundredth as u64,
            first_p99_ms: p99_ms(&times[..hundredth]),
            last_p99_ms: p99_ms(&times[times.len() - hundredth..]),
        }
    };
    starts.into_iter().map(of).collect()
}

fn p99_ms(times: &[Duration]) -> f64 {
    let mut recorder = crate::series::Series::default();
    times.iter().for_each(|time| recorder.add(*time));
    recorder.end_round();
    recorder.summary().map_or(0.0, |summary| summary.p99_ms)
}

fn growth(before: &[(&'static str, u64)], after: &[(&'static str, u64)]) -> Vec<Growth> {
    let find = |what: &str| after.iter().find(|(name, _)| *name == what);
    before
        .iter()
        .filter_map(|(what, before)| {
            Some(Growth {
                what: (*what).to_owned(),
                before: *before,
                after: find(what)?.1,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cold(start: Start, at: u64, latency: u64) -> Cold {
        Cold {
            start,
            latency: Duration::from_millis(latency),
            at: Duration::from_millis(at),
        }
    }

    #[test]
    fn connections_are_shared_out() {
        assert_eq!((0..3).map(|index| share(7, 3, index)).collect::<Vec<_>>(), [3, 2, 2]);
        assert_eq!(share(2, 1, 0), 2);
    }

    #[test]
    fn drift_is_of_each_start_type() {
        let mut colds: Vec<Cold> = (0..200).map(|at| cold(Start::Forked, at, 1 + at / 100)).collect();
        colds.push(cold(Start::Cold, 300, 50));
        let drift = drift(&colds);
        assert_eq!(drift.len(), 2);
        assert_eq!((drift[0].start, drift[0].calls), (Start::Forked, 2));
        assert!((0.99..1.01).contains(&drift[0].first_p99_ms), "{drift:?}");
        assert!((1.99..2.01).contains(&drift[0].last_p99_ms), "{drift:?}");
        assert_eq!(drift[1].calls, 1);
    }

    #[test]
    fn a_stall_shows_in_the_slowest_tenth() {
        let elapsed = Duration::from_millis(1000);
        let steady: Vec<Cold> = (0..1000).map(|at| cold(Start::Cold, at, 1)).collect();
        let rate = slowest_tenth(&steady, elapsed).unwrap();
        assert!((990.0..1010.0).contains(&rate), "{rate}");
        let stalled: Vec<Cold> = steady
            .into_iter()
            .filter(|cold| cold.at.as_millis() / 100 != 4)
            .collect();
        assert_eq!(slowest_tenth(&stalled, elapsed), Some(0.0));
        assert_eq!(slowest_tenth(&stalled[..50], elapsed), None);
    }
}
