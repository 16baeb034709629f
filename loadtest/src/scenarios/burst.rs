//! `loadtest burst`: everything is evicted, then many calls leave at the same moment, each on a connection that is open
//! already.
//!
//! This client has one thread, so the last call leaves later than the first; latencies count from the common moment all
//! the same, and the report says how many left late. New processes are counted three ways: by `x-fn-start`, by different
//! `x-fn-instance`, and by the server's own counter, which also sees starts that no call waited for any more.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::fresh::Fresh;
use super::{ScenarioError, Subject, admin, client, empty_report, problems, progress, settings};
use crate::admin::Admin;
use crate::args::{BurstArgs, Plan};
use crate::client::{Client, Failure, FailureKind};
use crate::metrics;
use crate::pacer::Pacer;
use crate::report::{BurstReport, NamedRun, OneBurst, Report};
use crate::start::Family;

pub(super) async fn run(args: &BurstArgs) -> Result<Report, ScenarioError> {
    let plan = args.plan()?;
    let (client, admin) = (client(&plan).await?, admin(&plan)?);
    let mut report = empty_report("burst");
    report.settings = Some(settings(&plan, args.rounds));
    let mut bursts: Vec<Burst> = plan
        .functions
        .iter()
        .map(|name| Burst::new(&plan, name, args.size))
        .collect();
    for name in &plan.functions {
        // If not even this works, there is nothing to count.
        admin.evict(name, plan.evict).await?;
    }
    let bar = progress(u64::from(args.rounds) * bursts.len() as u64);
    for _ in 0..args.rounds {
        for burst in &mut bursts {
            bar.set_message(burst.subject.name.clone());
            burst.once(&plan, &client, &admin).await?;
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    for burst in bursts {
        if burst.subject.cold.count(Family::Cold) == 0 {
            let name = &burst.subject.name;
            report.problems.push(format!("{name}: no reply was a cold start"));
        }
        burst.report(&mut report);
    }
    Ok(report)
}

/// The bursts of one function.
#[derive(Debug)]
pub(super) struct Burst {
    subject: Subject,
    size: u32,
    fresh: Fresh,
    bursts: Vec<OneBurst>,
}

impl Burst {
    pub(super) fn new(plan: &Plan, name: &str, size: u32) -> Self {
        Self {
            subject: Subject::new(plan, name),
            size,
            fresh: Fresh::default(),
            bursts: Vec::new(),
        }
    }

    /// One burst; `client` needs as many connections as calls.
    pub(super) async fn once(&mut self, plan: &Plan, client: &Client, admin: &Admin) -> Result<(), ScenarioError> {
        if let Err(error) = admin.evict(&self.subject.name, plan.evict).await {
            self.subject.cold.fail(Failure {
                kind: FailureKind::Evict,
                detail: error.to_string(),
            });
            return Ok(());
        }
        let name = [self.subject.name.clone()];
        let started = async || metrics::read(&plan.target).await.ok()?.of(metrics::STARTED, &name);
        let before = started().await;
        // A connection that can't be opened now is opened by its call, which is then slower or a counted failure.
        drop(client.open(self.size as usize).await);
        if !plan.pause.is_zero() {
            Pacer::new()?.until(Instant::now() + plan.pause).await?;
        }
        let before_calls = self.fresh.count();
        let mut burst = self.calls(client).await;
        burst.instances = self.fresh.count() - before_calls;
        let after = started().await;
        // A function that was never started has no counter yet.
        burst.started = after.map(|after| (after - before.unwrap_or(0.0)).max(0.0) as u64);
        self.bursts.push(burst);
        Ok(())
    }

    async fn calls(&mut self, client: &Client) -> OneBurst {
        let mut flying = JoinSet::new();
        let intended = Instant::now();
        for _ in 0..self.size {
            let (client, call) = (client.clone(), self.subject.call.clone());
            flying.spawn(async move { client.call(&call, intended).await });
        }
        let (mut answered, mut new, mut first, mut last) = (0, 0, None::<Duration>, Duration::ZERO);
        while let Some(landed) = flying.join_next().await {
            let mut attempt = landed.expect("a call neither panics nor is aborted");
            self.fresh.check(&mut attempt);
            if let Ok(reply) = &attempt.outcome {
                answered += 1;
                new += u64::from(reply.start.family() == Family::Cold);
                first = Some(first.map_or(reply.latency, |first| first.min(reply.latency)));
                last = last.max(reply.latency);
            }
            self.subject.cold.record(attempt);
        }
        self.subject.cold.end_round();
        OneBurst {
            answered,
            span_ms: last.as_secs_f64() * 1e3,
            first_ms: first.map(|first| first.as_secs_f64() * 1e3),
            new,
            instances: 0,
            started: None,
        }
    }

    /// Adds what was found.
    pub(super) fn report(self, report: &mut Report) {
        let mut function = self.subject.report(None, None);
        function.more.push(NamedRun {
            scenario: "burst".to_owned(),
            how: format!(
                "{} calls at the same moment on open connections, after everything was evicted; timed from that moment",
                self.size
            ),
            per_s: None,
            stolen: None,
            run: self.subject.cold_report(),
        });
        report.problems.extend(problems(&function));
        report.functions.push(function);
        report.bursts.push(BurstReport {
            function: self.subject.name,
            calls: self.size,
            bursts: self.bursts,
        });
    }
}
